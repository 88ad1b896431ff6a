"""The host runs ahead of the device, and reads its metrics when they landed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
import itertools
from typing import Any

import jax
from ml_collections import ConfigDict
import numpy as np

from experiments.inputs.dataset import Dataset
from experiments.parallel import Mapped

# Dispatches in flight: enough to hide the host, few enough to bound the batches
# that wait in device memory.
AHEAD = 3

Row = dict[str, np.ndarray]


class NonFiniteError(FloatingPointError):
  """A metric of a training step stopped being finite."""


class Dispatches:
  """The training steps in flight, and the metrics of those not yet logged."""

  def __init__(self, steps_per_dispatch: int):
    """Nothing is in flight."""
    self._size = steps_per_dispatch
    self._step = 0
    self._flying: deque[Any] = deque()
    # Since the last line: what was fetched already, and what was not.
    self._fetched: list[Row] = []
    self._pending: list[Any] = []
    self._asked: deque[tuple[int, list[Row], list[Any]]] = deque()

  def add(self, step: int, metrics: Any) -> None:
    """Takes a dispatch's metrics, [steps] each, on the device.

    Args:
      step: the number of steps taken when it is done.
      metrics: its training steps'. Waits while too many are in flight.
    """
    self._step = step
    self._pending.append(metrics)
    self._flying.append(metrics)
    if len(self._flying) > AHEAD:
      jax.block_until_ready(self._flying.popleft())

  def ask(self) -> None:
    """Wants a line of everything since the last one."""
    self._asked.append((self._step, self._fetched, self._pending))
    self._fetched, self._pending = [], []

  def lines(self, *, settle: bool) -> Iterator[tuple[int, dict[str, float]]]:
    """Yields (step, means) of the lines wanted that need not be waited for.

    Args:
      settle: wait for all that is in flight, and check it.

    Raises:
      NonFiniteError: naming the first step with a metric that is not finite.
    """
    landed = self._step - len(self._flying) * self._size
    while self._asked and (settle or self._asked[0][0] <= landed):
      step, rows, chunks = self._asked.popleft()
      yield step, _mean(rows + finite(chunks, step))
    if settle:
      self._fetched += finite(self._pending, self._step)
      self._pending = []


def feed(
  dataset: Dataset, programs: Mapped, config: ConfigDict, step: int
) -> Iterator[Any]:
  """Yields what dispatches take, from a step on.

  Each transfer starts one dispatch early.

  Args:
    dataset: this process's; its batches get drawn partners if asked.
    programs: know where batches are placed.
    config: resolved.
    step: the number of steps taken.
  """
  batches = dataset.train(start_step=step)
  if config.pairing == "between":
    others = dataset.train(start_step=step, stream=1)
    batches = (
      batch | {"partner": partner}
      for batch, partner in zip(batches, others, strict=False)
    )
  groups = iter(
    lambda: list(itertools.islice(batches, config.steps_per_dispatch)), []
  )
  return behind(map(programs.place, groups), 1)


def behind(started: Iterable[Any], count: int) -> Iterator[Any]:
  """Yields items in order, each once `count` more have been started."""
  flying: deque[Any] = deque()
  for item in started:
    flying.append(item)
    if len(flying) > count:
      yield flying.popleft()
  yield from flying


def finite(chunks: list[Any], step: int) -> list[Row]:
  """Fetches metrics, [steps] each, a row a step.

  Args:
    chunks: of consecutive dispatches.
    step: the number of steps taken after the last of them.

  Raises:
    NonFiniteError: naming the first step with a metric that is not finite.
  """
  rows = []
  for chunk in jax.device_get(chunks):
    length = len(next(iter(chunk.values())))
    rows += [{k: v[i] for k, v in chunk.items()} for i in range(length)]
  for i, row in enumerate(rows):
    bad = {name: value for name, value in row.items() if not np.isfinite(value)}
    if bad:
      told = ", ".join(f"{name} is {value}" for name, value in bad.items())
      raise NonFiniteError(
        f"{told} at step {step - len(rows) + i + 1}; earlier checkpoints are "
        "kept. A smaller learning_rate, a longer warm-up or grad_clip usually "
        "helps."
      )
  return rows


def _mean(rows: list[Row]) -> dict[str, float]:
  return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
