"""One pass over the evaluation examples, and how it is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from absl import logging
import jax
import numpy as np

from experiments import ahead, parallel
from experiments.inputs.dataset import Dataset
from experiments.state import TrainState
from experiments.tasks import Measure


def evaluate(
  programs: parallel.Mapped, state: TrainState, dataset: Dataset
) -> dict[str, float]:
  """Returns the means over every evaluation example, each counted once.

  And what the config's monitor says of the first batch.
  """
  sums: dict[str, Any] = {}
  monitored: dict[str, Any] = {}

  def dispatched():
    for batch in dataset.evaluate():
      placed = programs.place_one(batch)
      if programs.monitor and not monitored:
        monitored.update(programs.monitor(state, placed))
      yield programs.evaluate(state, placed)

  for part in ahead.behind(dispatched(), ahead.AHEAD):
    part = jax.device_get(part)
    part = jax.tree.map(lambda x: np.asarray(x, np.float64), part)
    sums = jax.tree.map(np.add, sums, part) if sums else part
  values = jax.tree.map(float, jax.device_get(monitored))
  return programs.means(sums) | values


def report(
  step: int, line: Mapping[str, float], measures: Sequence[Measure]
) -> None:
  """Logs an evaluation's most important two measures."""
  live, polyak = (
    "  ".join(one.told(line[prefix + one.field]) for one in measures[:2])
    for prefix in ("", "polyak_")
  )
  logging.info("step %d  eval  %s  (Polyak %s)", step, live, polyak)
