"""metrics.jsonl: what a run measured, a line at a time."""

from __future__ import annotations

from collections.abc import Mapping
import json
import os
from typing import Any

from etils import epath

from experiments.workdir import events, storage


class NullWriter:
  """What every process but the first writes with: nothing."""

  def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
    """Drops the values."""

  def close(self) -> None:
    """Does nothing."""


class MetricsWriter:
  """Appends to DIR/metrics.jsonl and to TensorBoard events beside it.

  One JSON object a line: "step", "split" ("train" or "eval"), then floats.
  Every line is on disk, or in the bucket, when `write` returns.
  """

  def __init__(self, workdir: epath.PathLike, resume_step: int):
    """Drops lines after `resume_step`, which the resumed run writes again."""
    folder = storage.path(workdir)
    self._path = folder / "metrics.jsonl"
    kept = [row for row in read(self._path) if row["step"] <= resume_step]
    self._text = "".join(json.dumps(row) + "\n" for row in kept)
    storage.write(self._path, self._text)
    # Objects cannot be appended to: there each line writes all of them again.
    self._file = None
    if not storage.is_remote(self._path):
      self._file = self._path.open("a")
    self._events = events.writer(folder, resume_step + 1)

  def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
    """Writes one line and its events."""
    row = {"step": step, "split": split, **values}
    line = json.dumps(row) + "\n"
    if self._file is None:
      self._text += line
      storage.write(self._path, self._text)
    else:
      try:
        self._file.write(line)
        self._file.flush()
        os.fsync(self._file.fileno())
      except OSError as error:  # of a full disk, which does not say where
        error.filename = str(self._path)
        raise
    for name, value in values.items():
      self._events.add_scalar(f"{split}/{name}", value, step)

  def close(self) -> None:
    """Flushes the events."""
    if self._file is not None:
      self._file.close()
    self._events.close()


def read(path: epath.Path) -> list[dict[str, Any]]:
  """Returns a metrics.jsonl's rows, less a line that a kill cut short."""
  rows = []
  if path.exists():
    for line in path.read_text().splitlines():
      try:
        rows.append(json.loads(line))
      except json.JSONDecodeError:
        continue
  return rows


def evaluations(workdir: epath.PathLike) -> list[dict[str, Any]]:
  """Returns the evaluation lines of a run, in the order written."""
  rows = read(storage.path(workdir) / "metrics.jsonl")
  return [row for row in rows if row["split"] == "eval"]
