"""Examples held out of training: once each, by seed, and tested at the end."""

import json

from ml_collections import ConfigDict
import numpy as np
import pytest

from experiments import train
from experiments.configs import common, digits
from experiments.inputs import held, memory
from experiments.inputs.dataset import Arrays
from experiments.report import table
from experiments.report.runs import find, group
from experiments.workdir import metrics

X = np.arange(20 * 4, dtype=np.uint8).reshape(20, 2, 2, 1)
DATA = Arrays(X, np.arange(20, dtype=np.int32), X[:3], np.arange(3), 20)


def config(**changes):
  own = dict(dataset="d", validation_fraction=0.25, split_seed=None, seed=0)
  return ConfigDict(own | changes)


def test_each_example_trains_or_is_held_out():
  parts = held.apart(DATA, config())
  assert (len(parts.train_labels), len(parts.eval_labels)) == (15, 5)
  both = np.concatenate([parts.train_labels, parts.eval_labels])
  np.testing.assert_array_equal(np.sort(both), DATA.train_labels)
  for inputs, labels in (
    (parts.train_inputs, parts.train_labels),
    (parts.eval_inputs, parts.eval_labels),
  ):
    np.testing.assert_array_equal(inputs, X[labels])
  assert parts.test_inputs is DATA.eval_inputs
  assert parts.test_labels is DATA.eval_labels
  assert held.apart(DATA, config(validation_fraction=0.0)) is DATA


def test_the_splits_seed_decides_or_else_the_runs():
  parts = lambda **changes: held.apart(DATA, config(**changes)).eval_labels
  assert not np.array_equal(parts(seed=0), parts(seed=1))
  np.testing.assert_array_equal(
    parts(seed=0, split_seed=7), parts(seed=1, split_seed=7)
  )
  np.testing.assert_array_equal(parts(seed=3), parts(split_seed=3))


def test_a_description_needs_no_data():
  asked = digits.get_config("validation_fraction=0.1")
  asked = common.resolve(asked)
  spec = memory.describe(asked)
  assert (spec.num_train, spec.num_eval) == (540, 60)
  _, loaded = memory.load(asked)
  assert loaded == spec


def test_runs_share_arrays_that_are_held_out_alike():
  loaded = memory.Loaded()
  one, two, other = (
    common.resolve(digits.get_config(f"validation_fraction=0.1,{arg}"))
    for arg in ("split_seed=1,seed=0", "split_seed=1,seed=5", "split_seed=2")
  )
  first = loaded.get(one)
  assert loaded.get(two) is first and loaded.get(other) is not first


def test_what_has_a_validation_part_is_refused():
  both = DATA._replace(test_inputs=X, test_labels=DATA.train_labels)
  with pytest.raises(
    ValueError, match="validation_fraction must be 0 for .*'d'"
  ):
    held.apart(both, config())
  asked = digits.get_config(
    "dataset=imagenet2012,validation_fraction=0.1,batch_size=64"
  )
  with pytest.raises(ValueError, match="must be 0 for a tfds data set, .*99%"):
    train.build(common.resolve(asked))


def test_a_temperature_is_never_of_the_test_set(tmp_path):
  """Fitted on what is held out; without, the key is refused with the remedy."""
  options = "model=mlp,model_options.features=(6,),total_steps=4,eval_every=4,"
  options += "log_every=4,checkpoint_every=4,warmup_steps=0,fgsm_epsilon=0.0,"
  options += "batch_size=64,method=erm,temperature_scaling=True"
  with pytest.raises(ValueError, match="temperature_scaling needs a test part"):
    train.train_and_evaluate(digits.get_config(options), tmp_path)
  options += ",validation_fraction=0.2"
  train.train_and_evaluate(digits.get_config(options), tmp_path)
  rows = metrics.read(tmp_path / "metrics.jsonl")
  *_, validation, test = rows
  assert (validation["split"], validation["examples"]) == ("eval", 120)
  assert (test["split"], test["examples"]) == ("test", 1197)
  assert "temperature" not in validation and test["temperature"] > 0.0
  assert test["scaled_loss"] != test["loss"]
  text = table.markdown(group(find([tmp_path])), "live")
  assert "scaled negative log-likelihood (nats)" in text
  assert f"{test['scaled_loss']:.4f}" in text
  # And how sure it was, of all examples of either part.
  left = json.loads((tmp_path / "diagrams.json").read_text())
  for part, line in (("eval", validation), ("test", test)):
    for whose, prefix in (("live", ""), ("polyak", "polyak_")):
      own = left[part][whose]
      assert sum(own["count"]) == line["examples"]
      right = sum(own["correct"]) / line["examples"]
      assert right == pytest.approx(line[prefix + "accuracy"])
      gaps = np.abs(np.subtract(own["confidence"], own["correct"]))
      assert gaps.sum() / line["examples"] == pytest.approx(
        line[prefix + "calibration_error"], rel=1e-5
      )
