"""Runs made longer, begun with another's weights, and their last evaluations.

One cache of programs for all: nothing of this is compiled into a step.
"""

import shutil

import jax
import numpy as np
import pytest

from experiments import programs, train
from experiments.configs import digits
from experiments.inputs import dataset, memory
from experiments.report import runs
from experiments.workdir import initial, metrics

CACHE = programs.Cache()


def make_config(**changes):
  config = digits.get_config("method=erm,model=mlp,schedule=constant")
  config.model_options.features = (6,)
  own = dict(batch_size=64, fgsm_epsilon=0.0, warmup_steps=0, total_steps=4)
  own |= dict(eval_every=2, checkpoint_every=2, log_every=4)
  config.update(own | changes)
  return config


def trained(workdir, **changes):
  return train.train_and_evaluate(make_config(**changes), workdir, CACHE)


@pytest.fixture(scope="module")
def short(tmp_path_factory):
  """A run of four steps, its last evaluation, and those before."""
  folder = tmp_path_factory.mktemp("short")
  trained(folder)
  return folder


def test_a_longer_run_equals_one_of_that_length(short, tmp_path):
  grown = shutil.copytree(short, tmp_path / "grown")
  result = trained(grown, total_steps=6)
  straight = trained(tmp_path / "straight", total_steps=6)
  assert result == straight and result["step"] == 6
  assert metrics.evaluations(grown) == metrics.evaluations(
    tmp_path / "straight"
  )
  assert result["loss"] != metrics.evaluations(short)[-1]["loss"]
  # And not shorter again.
  with pytest.raises(ValueError, match="total_steps: 6 there, 4 now.; choose"):
    trained(grown)


def test_in_epochs_too(short, tmp_path):
  del short  # its programs
  options = dict(eval_every_epochs=0.5)
  trained(tmp_path, epochs=0.5, **options)
  assert trained(tmp_path, epochs=1.0, **options)["step"] == 10


@pytest.mark.parametrize(
  ("changes", "reason"),
  [
    (
      {"schedule": "cosine"},
      "schedule='cosine' is of the whole run.*init_from",
    ),
    (
      {"schedule": "steps", "schedule_boundaries": (0.5,)},
      "schedule='steps' is of the whole run",
    ),
    ({"mix_off_after": 0.5}, "mix_off_after=0.5 is a share .*give the step, 4"),
  ],
)
def test_a_length_that_decides_its_steps_stays(tmp_path, changes, reason):
  """Of two steps; nothing is written for the refused longer run."""
  options = dict(changes, total_steps=2)
  trained(tmp_path, **options)
  before = (tmp_path / "config.json").read_text()
  with pytest.raises(
    ValueError, match=f"total_steps: 2 there, 8 now.*{reason}"
  ):
    trained(tmp_path, **options | {"total_steps": 8})
  assert (tmp_path / "config.json").read_text() == before


@pytest.mark.parametrize(
  ("place", "weights"),
  [("", "polyak"), ("checkpoints", "live"), ("checkpoints/4", "polyak")],
)
def test_a_run_begins_with_anothers_weights(short, tmp_path, place, weights):
  """At a rate of 0 it evaluates as the other did."""
  options = dict(init_weights=weights, learning_rate=0.0, total_steps=2)
  found = trained(tmp_path, init_from=str(short / place), **options)
  was = metrics.evaluations(short)[-1]
  prefix = "" if weights == "live" else "polyak_"
  for name in ("loss", "accuracy"):
    np.testing.assert_allclose(found[name], was[prefix + name], rtol=1e-5)
    np.testing.assert_allclose(
      found["polyak_" + name], was[prefix + name], rtol=1e-5
    )
  assert was["loss"] != was["polyak_loss"]


def test_a_run_that_was_begun_goes_on_by_its_own_checkpoints(short, tmp_path):
  """Also where the other's are gone by then."""
  source = shutil.copytree(short, tmp_path / "source")
  options = dict(init_from=str(source), seed=3)
  straight = trained(tmp_path / "straight", total_steps=4, **options)
  trained(tmp_path / "resumed", total_steps=2, **options)
  shutil.rmtree(source)
  assert trained(tmp_path / "resumed", total_steps=4, **options) == straight


@pytest.fixture
def three_classes(monkeypatch):
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (64, 8, 8, 1)).astype(np.uint8)
  labels = (np.arange(64) % 3).astype(np.int32)
  arrays = dataset.Arrays(images, labels, images, labels, 3)
  monkeypatch.setitem(memory.LOADERS, "three", lambda config: arrays)


def test_a_head_for_other_classes_is_renewed_when_asked(
  short, tmp_path, three_classes
):
  options = dict(dataset="three", eval_batch_size=64, init_from=str(short))
  options |= dict(learning_rate=0.0, total_steps=2)
  with pytest.raises(ValueError) as error:
    trained(tmp_path, **options)
  assert "(3,), and the checkpoint's (10,)" in str(error.value)
  assert "init_head=new begins the head anew" in str(error.value)
  assert not (tmp_path / "config.json").exists()
  trained(tmp_path, init_head="new", **options)

  own, _ = initial.read(tmp_path, "live")
  other, _ = initial.read(short, "polyak")
  assert own.keys() == other.keys()
  same = jax.tree.map(
    lambda a, b: a.shape == b.shape and (a == b).all(), own, other
  )
  leaves = jax.tree.leaves(same)
  assert any(leaves) and not all(leaves)  # the layer below, and not the head


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (
      {"model_options": {"features": (5,)}},
      r"init_from: \S+ of the model is .*5.* checkpoint's .*6.*another model",
    ),
    (
      {"model_options": {"features": (6, 6)}},
      "init_from: .* it is of another model: give the one",
    ),
  ],
)
def test_another_models_weights_are_refused(short, tmp_path, changes, message):
  with pytest.raises(ValueError, match=message):
    trained(tmp_path, init_from=str(short), init_head="new", **changes)


def test_what_is_no_checkpoint_is_named(short, tmp_path):
  with pytest.raises(
    ValueError, match="init_from must be a workdir with .*none"
  ):
    trained(tmp_path / "run", init_from=str(tmp_path))
  broken = shutil.copytree(short, tmp_path / "broken")
  damaged = next((broken / "checkpoints" / "4" / "default").rglob("*METADATA*"))
  damaged.write_bytes(b"{}")
  with pytest.raises(
    ValueError, match="init_from: the checkpoint .*is damaged"
  ):
    trained(tmp_path / "run", init_from=str(broken))


def test_reports_average_the_last_evaluations(short, tmp_path):
  folder = tmp_path / "run"
  trained(folder, evaluation_mean=2, total_steps=6)
  (run,) = runs.find([folder])
  losses = [row["loss"] for row in metrics.evaluations(folder)]
  assert len(losses) == 3 and losses[1] != losses[2]
  np.testing.assert_allclose(run.last["loss"], np.mean(losses[1:]), rtol=1e-12)
  assert run.last["step"] == 6 and run.last["examples"] == 1197
  (once,) = runs.find([short])
  assert once.last == metrics.evaluations(short)[-1]


def test_a_test_part_is_seen_as_often_as_it_is_averaged(tmp_path, monkeypatch):
  data = memory.LOADERS["digits"](None)
  parts = data._replace(
    eval_inputs=data.eval_inputs[:100],
    eval_labels=data.eval_labels[:100],
    test_inputs=data.eval_inputs[100:300],
    test_labels=data.eval_labels[100:300],
  )
  monkeypatch.setitem(memory.LOADERS, "parted", lambda config: parts)
  options = dict(dataset="parted", eval_batch_size=104, total_steps=6)
  trained(tmp_path, evaluation_mean=2, temperature_scaling=True, **options)
  rows = metrics.read(tmp_path / "metrics.jsonl")
  tests = [row for row in rows if row["split"] == "test"]
  assert [row["step"] for row in tests] == [4, 6]
  (run,) = runs.find([tmp_path])
  for name in ("accuracy", "scaled_loss"):
    np.testing.assert_allclose(
      run.last[name], np.mean([row[name] for row in tests]), rtol=1e-12
    )


def test_more_evaluations_than_there_are_are_refused(tmp_path):
  with pytest.raises(
    ValueError, match="evaluation_mean must be at most 2, .*3"
  ):
    trained(tmp_path, evaluation_mean=3)
