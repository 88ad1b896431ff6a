"""Folders as runs leave them, and readers of what the report wrote."""

import json

import pytest

from experiments.report import figures as figures_module


def _evaluation(step, error, live_error=50.0, **extra):
  """An evaluation line whose averaged weights have this error, in %."""
  line = {"step": step, "split": "eval", "examples": 1197.0}
  for prefix, percent in (("", live_error), ("polyak_", error)):
    line |= {
      f"{prefix}loss": percent / 100.0,
      f"{prefix}accuracy": 1.0 - percent / 100.0,
      f"{prefix}calibration_error": percent / 1000.0,
    }
  return line | extra


def _make_run(folder, error, *, evals=None, **config):
  """Writes a finished run with this final test error, in %."""
  config = {
    "seed": 0,
    "method": "mixup",
    "eta": 0.0,
    "total_steps": 300,
    "dataset": "digits",
    "eval_split": "validation",
    "model": "resnet8",
    "fgsm_epsilon": 0.0,
    "sweep_seeds": [config.get("seed", 0)],
  } | config
  if evals is None:
    evals = [_evaluation(100, 80.0), _evaluation(300, error)]
  lines = [
    {"step": step, "split": "train", "images_per_second": speed}
    for step, speed in ((20, 10.0), (40, 1000.0), (60, 2000.0))
  ]
  folder.mkdir(parents=True)
  (folder / "config.json").write_text(json.dumps(config))
  (folder / "metrics.jsonl").write_text(
    "".join(json.dumps(line) + "\n" for line in [*lines, *evals])
  )
  return folder


def _make_group(folder, errors, **config):
  """One finished run a seed; errors: seed -> test error in %."""
  for seed, error in errors.items():
    _make_run(folder / f"seed_{seed}", error, seed=seed, **config)


def _no_pictures(groups, weights, out):
  """Files in the figures' place, each holding its own name."""
  for name in figures_module.CAPTIONS:
    (out / name).write_text(name)


def _table(text):
  """The table's rows as {method: {column: cell}}."""
  rows = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in text.splitlines()
    if line.startswith("|")
  ]
  return {row[0]: dict(zip(rows[0], row, strict=True)) for row in rows[2:]}


def _not_json(name):
  raise AssertionError(f"{name} is not JSON")


def _summary(out):
  """summary.json, read strictly."""
  text = (out / "summary.json").read_text()
  return json.loads(text, parse_constant=_not_json)


@pytest.fixture
def evaluation():
  return _evaluation


@pytest.fixture
def make_run():
  return _make_run


@pytest.fixture
def make_group():
  return _make_group


@pytest.fixture
def table():
  return _table


@pytest.fixture
def summary():
  return _summary


@pytest.fixture
def two(tmp_path):
  """Mixup at 10, 12, 14 %; MixupE at 9, 12, 12 %."""
  _make_group(tmp_path / "mixup", {0: 10.0, 1: 12.0, 2: 14.0})
  _make_group(
    tmp_path / "mixupe", {0: 9.0, 1: 12.0, 2: 12.0}, method="mixupe", eta=1.0
  )
  return tmp_path


@pytest.fixture
def figures():
  """Asked for by the tests that need the figures drawn."""
  return figures_module


@pytest.fixture(autouse=True)
def no_figures(request, monkeypatch):
  """Elsewhere the figures, most of the time a report takes, are not drawn."""
  if "figures" not in request.fixturenames:
    monkeypatch.setattr(figures_module, "draw", _no_pictures)
