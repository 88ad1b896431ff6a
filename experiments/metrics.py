"""What a run writes: metrics.jsonl, TensorBoard events, progress."""

from __future__ import annotations

from collections.abc import Mapping
import json
import os
import time
from typing import Any

from absl import logging
from etils import epath
import tensorboardX
from tensorboardX import record_writer

from experiments import storage


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
    self._events = tensorboardX.SummaryWriter(
      str(folder), purge_step=resume_step + 1
    )

  def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
    """Writes one line and its events."""
    row = {"step": step, "split": split, **values}
    line = json.dumps(row) + "\n"
    if self._file is None:
      self._text += line
      storage.write(self._path, self._text)
    else:
      self._file.write(line)
      self._file.flush()
      os.fsync(self._file.fileno())
    for name, value in values.items():
      self._events.add_scalar(f"{split}/{name}", value, step)

  def close(self) -> None:
    """Flushes the events."""
    if self._file is not None:
      self._file.close()
    self._events.close()


class _EventsObject:
  """TensorBoard events in a bucket, all of them written at each flush.

  tensorboardX's own writer uploads once more when it is collected, and without
  a network keeps a run that is to stop from ending for two minutes.
  """

  def __init__(self, path: str):
    self._path = epath.Path(path)
    self._events = b""

  def write(self, data: bytes) -> None:
    """Keeps the data for the next flush."""
    self._events += data

  def flush(self) -> None:
    """Writes the object."""
    try:
      self._path.write_bytes(self._events)
    except Exception as error:
      # An error would end tensorboardX's thread, and the run would wait for it
      # forever. The next flush writes these events too.
      logging.warning("TensorBoard events were not written: %s", error)

  def close(self) -> None:
    """Has nothing left to do: closing flushes first."""


class _EventsObjects:
  """What tensorboardX asks for such files."""

  def open(self, path: str) -> _EventsObject:
    """Begins an object."""
    return _EventsObject(path)

  def directory_check(self, path: str) -> None:
    """Has nothing to make: buckets have no folders."""


record_writer.register_writer_factory("gs", _EventsObjects())


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


class Progress:
  """Speed and time left, the time of evaluations and checkpoints set apart."""

  def __init__(self, step: int, total_steps: int, batch_size: int):
    """Starts the clock at `step`."""
    self._total = total_steps
    self._batch_size = batch_size
    self._first = step
    self._step = step
    self._begun = self._mark = time.monotonic()
    self._aside = 0.0

  def set_aside(self, seconds: float) -> None:
    """Leaves `seconds` out of the next interval's speed."""
    self._aside += seconds

  def images_per_second(self, step: int) -> float:
    """Returns the training speed since the last call."""
    now = time.monotonic()
    seconds = max(now - self._mark - self._aside, 1e-9)
    speed = (step - self._step) * self._batch_size / seconds
    self._mark, self._step, self._aside = now, step, 0.0
    return speed

  def report(self, step: int, values: Mapping[str, float]) -> None:
    """Logs a line with what is left to do."""
    done = max(step - self._first, 1)
    seconds = time.monotonic() - self._begun
    logging.info(
      "step %d/%d  loss %.4f  accuracy %.4f  %.0f images/s  ETA %s",
      step,
      self._total,
      values["loss"],
      values["accuracy"],
      values["images_per_second"],
      duration(seconds / done * (self._total - step)),
    )


def duration(seconds: float) -> str:
  """Formats seconds as h:mm:ss or m:ss."""
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  if hours:
    return f"{hours}:{minutes:02d}:{seconds:02d}"
  return f"{minutes}:{seconds:02d}"
