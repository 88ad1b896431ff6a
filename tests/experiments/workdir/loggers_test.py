"""A logger is told what metrics.jsonl is told, and never stops a run."""

import logging
import shutil
import sys

import pytest

from experiments import train
from experiments.configs import common
from experiments.workdir import described, loggers, metrics, storage
from tests.experiments import short


class Kept:
  """Tells a list, and fails from a step on."""

  def __init__(self, folder, config, step, fails_from=1000):
    self.began = folder.name, config["seed"], step
    self.fails_from = fails_from
    self.told = []
    MADE.append(self)

  def write(self, step, split, values):
    if step >= self.fails_from:
      raise ConnectionError("gone")
    self.told.append({"step": step, "split": split, **values})

  def close(self):
    self.told.append("closed")


MADE = []


def failing(folder, config, step):
  return Kept(folder, config, step, fails_from=10)


def run(workdir, **changes):
  MADE.clear()
  train.train_and_evaluate(short.config(**changes), workdir)
  return metrics.read(workdir / "metrics.jsonl")


def test_a_logger_is_told_every_line_and_closed(tmp_path):
  lines = run(tmp_path, logger=f"{__name__}:Kept", seed=3)
  (logger,) = MADE
  assert len(lines) == 4 and logger.told == [*lines, "closed"]
  assert logger.began == (tmp_path.name, 3, 0)


def test_a_logger_that_fails_is_told_no_more_and_the_run_goes_on(
  tmp_path, caplog
):
  with caplog.at_level(logging.WARNING, logger="absl"):
    lines = run(tmp_path, logger=f"{__name__}:failing")
  assert [line["step"] for line in lines] == [5, 5, 10, 10]
  (logger,) = MADE
  assert logger.told == lines[:2]  # nor closed
  (warned,) = (m for m in caplog.messages if "metrics.jsonl has" in m)
  assert warned.startswith("Kept is told nothing more: ConnectionError: gone")


def test_a_run_that_cannot_begin_closes_its_logger(tmp_path, monkeypatch):
  def full(path, value):
    raise OSError(28, "No space left on device", str(path))

  monkeypatch.setattr(described.storage, "write_json", full)
  with pytest.raises(OSError, match="No space left"):
    run(tmp_path, logger=f"{__name__}:Kept")
  (logger,) = MADE
  assert logger.told == ["closed"]


def test_a_run_goes_on_with_another_logger(tmp_path):
  run(tmp_path)
  shutil.rmtree(tmp_path / "checkpoints" / "10")
  lines = run(tmp_path, logger=f"{__name__}:Kept")
  (logger,) = MADE
  assert logger.began[2] == 5 and logger.told == [*lines[2:], "closed"]


@pytest.mark.parametrize(
  "name, message",
  [
    ("mlflow", "logger must be one of none, wandb, or package.module:attr"),
    (f"{__name__}:Absent", "logger='.*': .* has no 'Absent'"),
    ("absent_module:Logger", "logger='.*': no module named 'absent_module'"),
  ],
)
def test_a_logger_that_is_not_there_ends_before_anything(
  name, message, tmp_path
):
  with pytest.raises(ValueError, match=message):
    run(tmp_path / "w", logger=name)
  assert not (tmp_path / "w").exists()


def test_wandb_that_is_not_installed_is_named(monkeypatch):
  monkeypatch.setitem(sys.modules, "wandb", None)
  with pytest.raises(ValueError, match=r"needs Weights & .* '\.\[wandb\]'"):
    common.resolve(short.config(logger="wandb"))


@pytest.fixture
def offline(monkeypatch, tmp_path):
  pytest.importorskip("wandb", reason="the extra 'wandb' is not installed")
  for name, value in {
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_CONFIG_DIR": str(tmp_path / "settings"),
    "WANDB_CACHE_DIR": str(tmp_path / "cache"),
    "WANDB_DATA_DIR": str(tmp_path / "data"),
  }.items():
    monkeypatch.setenv(name, value)


def records(folder):
  """What an offline run has kept, of every file, in their order."""
  from wandb.proto import wandb_internal_pb2
  from wandb.sdk.internal import datastore

  for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
    store = datastore.DataStore()
    store.open_for_scan(str(path))
    while (data := store.scan_data()) is not None:
      yield wandb_internal_pb2.Record.FromString(data)


def test_wandb_offline_has_the_lines_and_one_run_a_workdir(offline, tmp_path):
  lines = run(tmp_path / "w", logger="wandb")
  history, ids = [], set()
  for record in records(tmp_path / "w"):
    if record.HasField("history"):
      history.append(
        {
          item.key or ".".join(item.nested_key): item.value_json
          for item in record.history.item
        }
      )
    if record.HasField("run"):
      ids.add(record.run.run_id)
  told = [
    {"step": int(row["step"])}
    | {k: float(v) for k, v in row.items() if "/" in k}
    for row in history
  ]
  assert told == [
    {"step": line["step"]}
    | {
      f"{line['split']}/{k}": v
      for k, v in line.items()
      if k not in ("step", "split")
    }
    for line in lines
  ]
  assert ids == {(tmp_path / "w" / "wandb_id").read_text()}


def test_wandb_goes_on_with_its_run_and_begins_another_one(offline, tmp_path):
  ids = []
  for step in (0, 5, 0):
    loggers.WandbLogger(storage.path(tmp_path), {}, step).close()
    ids.append((tmp_path / "wandb_id").read_text())
  assert ids[0] == ids[1] != ids[2]
