"""A run's speed and the time left, in words."""

from __future__ import annotations

from collections.abc import Mapping
import time

from absl import logging


class Progress:
  """Speed and time left, the time of evaluations and checkpoints set apart."""

  def __init__(
    self,
    step: int,
    total_steps: int,
    batch_size: int,
    shown: Mapping[str, str],
  ):
    """Starts the clock; lines tell the values of `shown`, by its names."""
    self._total = total_steps
    self._shown = shown
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
    told = [
      f"{name} {values[k]:.4f}"
      for k, name in self._shown.items()
      if k in values
    ]
    logging.info(
      "step %d/%d  %s  %.0f images/s  ETA %s",
      step,
      self._total,
      "  ".join(told),
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
