"""Runs together: each is the run that it would be alone."""

import json
import subprocess
import sys
import types

import jax
import numpy as np
import pytest

from experiments import inputs
from experiments.configs import common, digits
from experiments.inputs import memory
from experiments.inputs.dataset import Arrays
from experiments.sweep import capacity, grid, together, training
from experiments.tasks import temperature
from experiments.workdir import metrics
from tests import quick

SMALL = (
  "model=mlp,model_options.features=(8,),batch_size=24,total_steps=12,"
  "eval_every=6,log_every=6,checkpoint_every=12,warmup_steps=2,fgsm_epsilon=0.0"
)


def make(grids, argument=SMALL):
  base = digits.get_config(argument)
  return grid.points(grids, base), base


def test_a_run_of_a_sweep_is_the_run_alone(tmp_path):
  """In processes of one device, as the two commands make them."""
  config = f"--config=experiments/configs/digits.py:{SMALL}"

  def call(module, name, *flags):
    subprocess.run(
      [sys.executable, "-m", module, *flags, f"--workdir={tmp_path / name}"],
      env=quick.environment(),
      check=True,
      capture_output=True,
    )

  call(
    "experiments.sweep",
    "sweep",
    config,
    "--grid=alpha=0.3,2;eta=0.5,1;learning_rate=0.05,0.2;seed=3..4",
  )
  lines = (tmp_path / "sweep" / "results.jsonl").read_text().splitlines()
  keys = "alpha", "eta", "learning_rate", "seed"
  found = {tuple(map(r.get, keys)): r for r in map(json.loads, lines)}
  assert len(lines) == len(found) == 16
  own = "alpha=2.0,eta=0.5,learning_rate=0.05,seed=4"
  call("experiments.main", "alone", f"{config},{own}")
  alone = metrics.evaluations(tmp_path / "alone")
  own = found[2.0, 0.5, 0.05, 4]
  last = {
    k: v for k, v in alone[-1].items() if k not in ("step", "split", "examples")
  }
  assert own["validation"] == pytest.approx(last, rel=2e-5)
  assert own["curve"]["validation"]["loss"] == pytest.approx(
    [line["loss"] for line in alone], rel=2e-5
  )
  assert own["curve"]["step"] == [6, 12]
  # And it is not that of another seed, alpha, eta or rate.
  losses = [r["validation"]["loss"] for r in found.values()]
  assert len(set(np.round(losses, 6))) == 16


TOO_LARGE = 13


@pytest.fixture
def parts(monkeypatch):
  """A data set with a test part, split by its seed."""

  def load(config):
    seed = config.seed if config.split_seed is None else config.split_seed
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(60, 3)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int32)
    x *= 1e30 if seed == TOO_LARGE else 1.0
    scale = inputs.dataset.Scale(lambda raw, dtype: raw.astype(dtype), None)
    return Arrays(
      x[:20],
      y[:20],
      x[20:35],
      y[20:35],
      2,
      scale=scale._replace(to_float=_as_it_is),
      test_inputs=x[35:],
      test_labels=y[35:],
    )

  monkeypatch.setitem(memory.LOADERS, "halves", load)


def _as_it_is(raw, dtype):
  return raw.astype(dtype)


PARTS = SMALL + ",dataset=halves,eval_batch_size=8"


def test_each_run_has_its_own_split_and_both_of_its_parts(parts, tmp_path):
  points, base = make(["seed=0..2"], PARTS)
  found = training.run(points, base, tmp_path)
  assert [r["seed"] for r in found] == [0, 1, 2]
  alone, base = make(["seed=1"], PARTS)
  (own,) = training.run(alone, base, tmp_path / "alone")
  for part in ("validation", "test"):
    assert found[1][part] == pytest.approx(own[part], rel=1e-5)
    assert found[1][part]["loss"] != pytest.approx(found[2][part]["loss"])
  assert own["validation"]["loss"] != pytest.approx(own["test"]["loss"])


def test_validation_chooses_the_temperature_of_the_test(parts, tmp_path):
  points, base = make(["seed=0"], PARTS + ",temperature_scaling=True")
  (found,) = training.run(points, base, tmp_path)
  assert "temperature" not in found["validation"]
  test = found["test"]
  assert test["temperature"] in temperature.TEMPERATURES
  assert test["scaled_loss"] != test["loss"]
  assert test["polyak_scaled_loss"] != test["scaled_loss"]


def test_what_is_done_is_skipped_and_a_larger_grid_adds(parts, tmp_path):
  points, base = make(["alpha=0.5;seed=0"], PARTS)
  (first,) = training.run(points, base, tmp_path)
  # What the first grid did not name is the config's own.
  points, base = make(["alpha=0.5,1;eta=1,2;seed=0..1"], PARTS)
  assert base.eta is None
  more, base = make(["alpha=0.5;eta=1,2;seed=0..1"], PARTS + ",eta=1.0")
  with pytest.raises(ValueError, match="holds a run of another config"):
    training.run(*make(["alpha=0.5;seed=1"], PARTS + ",eta=1.0"), tmp_path)
  points, base = make(["alpha=0.5,1;seed=0..1"], PARTS)
  again = training.run(points, base, tmp_path)
  assert again[0] == first  # with its seconds: it was not trained again
  lines = (tmp_path / "results.jsonl").read_text().splitlines()
  assert len(lines) == 4
  assert len(json.loads((tmp_path / "provenance.json").read_text())) == 2


def test_one_program_for_numbers_and_one_more_for_another_method(parts):
  points, _ = make(
    [
      "alpha=0.5,1;learning_rate=0,0.2;seed=0..1",
      "method=erm;seed=0..1",
    ],
    PARTS + ",method=mixupe",
  )
  configs = [common.resolve(point.config) for point in points]
  assert training._group(configs, [memory.load(c)[1] for c in configs]) == [
    list(range(8)),
    [8, 9],
  ]


def test_data_sets_of_different_shapes_do_not_share_a_program(
  parts, monkeypatch
):
  wider = lambda config: memory.LOADERS["halves"](config)._replace(
    **{
      name: np.ones((count, 5), np.float32)
      for name, count in (
        ("train_inputs", 20),
        ("eval_inputs", 15),
        ("test_inputs", 25),
      )
    }
  )
  monkeypatch.setitem(memory.LOADERS, "wider", wider)
  points, _ = make(["dataset=halves,wider;seed=0..1"], PARTS)
  configs = [common.resolve(point.config) for point in points]
  found = training._group(configs, [memory.load(c)[1] for c in configs])
  assert found == [[0, 1], [2, 3]]


def test_a_run_that_diverges_says_when_and_leaves_the_others(parts, tmp_path):
  points, base = make([f"split_seed=0,{TOO_LARGE};seed=0"], PARTS)
  well, ill = training.run(points, base, tmp_path)
  assert 1 <= ill["diverged_at"] <= 12 and "validation" not in ill
  assert "diverged_at" not in well
  alone, base = make(["split_seed=0;seed=0"], PARTS)
  (own,) = training.run(alone, base, tmp_path / "alone")
  assert well["test"] == pytest.approx(own["test"], rel=1e-5)


def test_a_wrong_run_is_named_before_any_trains(parts, tmp_path):
  points, base = make(["alpha=0.5,-1;seed=0"], PARTS)
  with pytest.raises(ValueError, match=r"'alpha': -1.0.*alpha must lie in"):
    training.run(points, base, tmp_path / "new")
  assert not (tmp_path / "new").exists()
  points, base = make(["mix_at=input,stage9;seed=0"], PARTS)
  with pytest.raises(ValueError, match="mix_at must be a stage of model='mlp'"):
    training.run(points, base, tmp_path / "new")
  assert not (tmp_path / "new").exists()
  points, base = make(["seed=0"], SMALL + ",dataset=imagenet2012")
  with pytest.raises(ValueError, match="dataset: runs are trained together"):
    training.run(points, base, tmp_path / "new")
  for key, value in ("evaluation_mean", 10), ("logger", "wandb"):
    points, base = make(["seed=0"], f"{PARTS},{key}={value}")
    with pytest.raises(ValueError, match=f"{key} must be .* together, got"):
      training.run(points, base, tmp_path / "new")


def test_steps_one_by_one_are_those_of_the_scan(parts):
  points, _ = make(["seed=0..7"], PARTS)
  configs = [common.resolve(point.config) for point in points]
  group = together.gather(configs, [memory.load(c) for c in configs])
  spec = together.common(group.spec)
  losses = []
  for scans in (True, False):
    program = together.Program(configs[0], spec, scans=scans)
    *_, side = together.train(program, group, range(8), 12)
    lines = together.evaluate(program, group, range(8), side)
    losses.append([line["test"]["loss"] for line in lines])
  np.testing.assert_allclose(*losses, rtol=1e-5)
  assert np.std(losses[0]) > 1e-3


def test_convolutions_on_a_cpu_are_not_scanned_over():
  for model, expected in (("mlp", True), ("resnet8", False)):
    argument = f"model={model},total_steps=12,warmup_steps=2,fgsm_epsilon=0.0"
    config = common.resolve(digits.get_config(argument))
    group = together.gather([config], [memory.load(config)])
    program = together.Program(config, together.common(group.spec))
    assert program.scans(group) is expected


def test_what_trains_is_compiled_once(parts, caplog):
  points, _ = make(["seed=0..7"], PARTS)
  configs = [common.resolve(point.config) for point in points]
  group = together.gather(configs, [memory.load(c) for c in configs])
  program = together.Program(configs[0], together.common(group.spec))
  with jax.log_compiles(True):
    capacity.choose(program, group)
    for side in together.train(program, group, range(8), 6):
      together.evaluate(program, group, range(8), side)
  compiled = [
    m for m in caplog.messages if m.startswith("Compiling jit(mapped")
  ]
  shapes = len(group.data.parts)
  assert side.step == 12
  assert len(compiled) == 1 + shapes, compiled


def test_memory_decides_how_many_run_together(parts, monkeypatch):
  points, _ = make(["seed=0..39"], PARTS)
  configs = [common.resolve(point.config) for point in points]
  group = together.gather(configs, [memory.load(c) for c in configs])
  program = together.Program(configs[0], together.common(group.spec))
  assert program.devices == 8
  assert capacity.choose(program, group) == 40
  few, many = (capacity.needs(program, group, n, 6) for n in (16, 40))
  assert few < many
  monkeypatch.setattr(capacity, "_free", lambda: few / capacity.SHARE)
  assert capacity.choose(program, group) == 16
  monkeypatch.setattr(capacity, "_free", lambda: 1000)
  with pytest.raises(MemoryError, match="One run a device takes"):
    capacity.choose(program, group)


def test_many_short_runs_are_a_line_in_ten_seconds(monkeypatch):
  now, lines = [0.0], []
  clock = types.SimpleNamespace(monotonic=lambda: now[0])
  monkeypatch.setattr(training, "time", clock)
  monkeypatch.setattr(
    training.logging, "info", lambda line, *args: lines.append(line % args)
  )
  clock = training._Clock(50)
  for _ in range(50):
    now[0] += 0.5
    clock.add(1, 10)
  assert lines == [
    "20/50 runs done  0:10, ETA 0:15",
    "40/50 runs done  0:20, ETA 0:05",
    "50/50 runs done  0:25, ETA 0:00",
  ]
