"""metrics.jsonl: what a run measured, a line at a time."""

from __future__ import annotations

from collections.abc import Mapping
import json
from typing import Any

from absl import logging
from etils import epath

from experiments.workdir import loggers, storage

DIAGRAMS = "diagrams.json"
_SPLITS = ("train", "eval", "test")


class NullWriter(loggers.Nobody):
  """What every process but the first writes with: nothing."""

  def write_diagrams(self, step: int, diagrams: Mapping[str, Any]) -> None:
    """Drops them."""


class MetricsWriter:
  """Appends to DIR/metrics.jsonl and TensorBoard events, and tells a logger.

  One JSON object a line: "step", "split" ("train" or "eval"), then floats.
  Every line is on disk, or in the bucket, when `write` returns.
  """

  def __init__(
    self,
    workdir: epath.PathLike,
    resume_step: int,
    logger: loggers.Logger | None = None,
  ):
    """Drops lines after `resume_step`, which the resumed run writes again.

    Args:
      workdir: the run's folder.
      resume_step: that the run goes on from.
      logger: is told every line once it is written; the caller's to close.
    """
    # Half a second, a seventh of what a command takes to start.
    from experiments.workdir import events

    self._logger = logger or loggers.Nobody()
    folder = storage.path(workdir)
    self._path = folder / "metrics.jsonl"
    kept = [row for row in read(self._path) if row["step"] <= resume_step]
    self._text = "".join(json.dumps(row) + "\n" for row in kept)
    storage.write(self._path, self._text)
    # Objects cannot be appended to: there each line writes all of them again.
    self._file = None
    if not storage.is_remote(self._path):
      self._file = storage.Appended(self._path)
    self._events = events.EventsWriter(folder, resume_step + 1)

  def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
    """Writes one line and its events."""
    row = {"step": step, "split": split, **values}
    line = json.dumps(row) + "\n"
    if self._file is None:
      self._text += line
      storage.write(self._path, self._text)
    else:
      self._file.write(line.encode(), sync=True)
    for name, value in values.items():
      self._events.add_scalar(f"{split}/{name}", value, step)
    self._logger.write(step, split, values)

  def write_diagrams(self, step: int, diagrams: Mapping[str, Any]) -> None:
    """Writes DIR/diagrams.json: what reports draw of the last evaluation."""
    told = {"step": step, **diagrams}
    storage.write_json(self._path.parent / DIAGRAMS, told)

  def close(self) -> None:
    """Flushes the events."""
    if self._file is not None:
      self._file.close()
    self._events.close()


def read(path: epath.Path) -> list[dict[str, Any]]:
  """Returns a metrics.jsonl's rows, less a last line that a kill cut short.

  Such a line has no line break yet; all others were written whole.

  Raises:
    ValueError: if another line is damaged, naming the file and the line.
  """
  storage.check_file(path)
  if not storage.exists(path):
    return []
  *lines, last = storage.patiently(path.read_bytes, path).split(b"\n")
  rows = [_row(path, i + 1, line) for i, line in enumerate(lines)]
  if not last.strip():
    return rows
  try:
    return [*rows, _row(path, len(lines) + 1, last)]
  except ValueError:
    if not last.startswith(b"{") or _is_json(last):
      raise
    return rows


def _row(path: epath.Path, number: int, line: bytes) -> dict[str, Any]:
  try:
    row = json.loads(line.decode())
    if not isinstance(row, dict):
      raise ValueError(f"a {type(row).__name__} and no object")
    if type(row.get("step")) is not int:
      raise ValueError(f"step must be an integer, got {row.get('step')!r}")
    if row.get("split") not in _SPLITS:
      raise ValueError(
        f"split must be one of {', '.join(_SPLITS)}; got {row.get('split')!r}"
      )
    return row
  except (ValueError, RecursionError) as error:
    raise ValueError(
      f"{path}, line {number} is damaged ({error}); restore the file, or "
      "remove that line to go on without what it says."
    ) from None


def _is_json(line: bytes) -> bool:
  try:
    json.loads(line)
  except (ValueError, RecursionError):
    return False
  return True


def check(
  workdir: epath.PathLike, *, step: int, eval_every: int, total_steps: int
) -> dict[str, Any] | None:
  """Raises unless metrics.jsonl has what was measured before a checkpoint.

  An evaluation is on disk before the checkpoint of its step, so that none may
  be missing. Without the file a run goes on, with a warning: somebody took it
  away, where an empty one was damaged.

  Args:
    workdir: a run's folder.
    step: of the checkpoint that the run goes on from; 0 for none.
    eval_every: as in the config, likewise total_steps.
    total_steps: see above.

  Returns:
    The last evaluation of a finished run, else None.

  Raises:
    ValueError: if a line is damaged or missing, naming the file.
  """
  path = storage.path(workdir) / "metrics.jsonl"
  found = {row["step"]: row for row in read(path) if row["split"] == "eval"}
  due = [k for k in range(eval_every, step + 1, eval_every) if k <= total_steps]
  finished = step >= total_steps
  if finished:
    due.append(total_steps)
  missing = [k for k in due if k not in found]
  if missing and not finished and not storage.exists(path):
    logging.warning(
      "%s is not there: going on at step %d without what was measured before.",
      path,
      step,
    )
  elif missing:
    raise ValueError(
      f"{path} lacks the evaluation of step {missing[0]}, though there is a "
      f"checkpoint of step {step}; restore the file, or "
      + ("choose another workdir." if finished else "remove it to go on.")
    )
  return found[total_steps] if finished else None


def evaluations(workdir: epath.PathLike) -> list[dict[str, Any]]:
  """Returns the evaluation lines of a run, in the order written."""
  rows = read(storage.path(workdir) / "metrics.jsonl")
  return [row for row in rows if row["split"] == "eval"]
