"""Data sets with a test part: looked at once, and what reports tell."""

import jax.numpy as jnp
import numpy as np
import pytest

from experiments import report, train
from experiments.configs import digits
from experiments.inputs import memory, scale
from experiments.inputs.dataset import Arrays
from experiments.workdir import metrics


def as_it_is(raw, dtype=jnp.float32):
  return raw.astype(dtype)


@pytest.fixture
def config(monkeypatch):
  rng = np.random.default_rng(0)
  x = rng.normal(size=(120, 3)).astype(np.float32)
  y = (x[:, 0] + 0.5 * rng.normal(size=120) > 0).astype(np.int32)
  data = Arrays(
    x[:48],
    y[:48],
    x[48:80],
    y[48:80],
    2,
    scale.Scale(as_it_is, None),
    test_inputs=x[80:],
    test_labels=y[80:],
  )
  monkeypatch.setitem(memory.LOADERS, "halves", lambda config: data)
  return digits.get_config(
    "dataset=halves,model=mlp,model_options.features=(8,),batch_size=24,"
    "total_steps=8,eval_every=4,log_every=4,checkpoint_every=8,warmup_steps=2,"
    "fgsm_epsilon=0.0,eval_batch_size=16,temperature_scaling=True,method=mixup"
  )


def test_a_test_part_is_looked_at_once_and_reported(config, tmp_path, caplog):
  with caplog.at_level("INFO", logger="absl"):
    result = train.train_and_evaluate(config, tmp_path)
  rows = metrics.read(tmp_path / "metrics.jsonl")
  assert [(row["split"], row["step"]) for row in rows] == [
    ("train", 4),
    ("eval", 4),
    ("train", 8),
    ("eval", 8),
    ("test", 8),
  ]
  *_, held, test = rows
  assert result == held
  assert (held["examples"], test["examples"]) == (32, 40)
  # The test part's temperature is the evaluation part's.
  assert "temperature" not in held and test["temperature"] > 0.0
  assert "step 8  eval  validation error" in caplog.text
  assert "step 8  test  test error" in caplog.text
  table = report.write([tmp_path], tmp_path / "out")
  assert "On 40 test examples" in table
  error = 100.0 - 100.0 * test["polyak_accuracy"]
  assert f"{error:.2f}" in table
  assert held["polyak_accuracy"] != test["polyak_accuracy"]
  # A finished run, started again, is left as it is.
  assert train.train_and_evaluate(config, tmp_path) == held
