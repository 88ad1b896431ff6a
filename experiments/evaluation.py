"""One pass over the evaluation examples, and how it is told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
import math
from typing import Any

from absl import logging
import jax
from ml_collections import ConfigDict
import numpy as np

from experiments import ahead, parallel
from experiments.inputs.dataset import Batch, Dataset
from experiments.state import TrainState
from experiments.tasks import Measure


def check(config: ConfigDict, dataset: Dataset) -> None:
  """Raises ValueError for what a run's evaluations cannot tell."""
  most = math.ceil(config.total_steps / config.eval_every)
  if config.evaluation_mean > most:
    raise ValueError(
      f"evaluation_mean must be at most {most}, the evaluations of "
      f"total_steps={config.total_steps} by eval_every={config.eval_every}; "
      f"got {config.evaluation_mean}."
    )
  if config.temperature_scaling and dataset.test is None:
    raise ValueError(
      "temperature_scaling needs a test part beside the evaluation part, which "
      f"chooses the temperature, and dataset={config.dataset!r} has none; "
      "validation_fraction=0.1 holds a part of its training examples out."
    )


def evaluate(
  programs: parallel.Mapped,
  state: TrainState,
  dataset: Dataset,
  *,
  tests: bool = False,
) -> tuple[dict[str, dict[str, float]], dict[str, Any]]:
  """Returns the means over every evaluation example, each counted once.

  And what the config's monitor says of the first batch.

  Args:
    programs: the run's.
    state: the run's.
    dataset: the run's.
    tests: whether its test part is looked at, too, if it has one.

  Returns:
    "eval", and maybe "test", to the fields of their lines; and to what is drawn
    of them.
  """
  monitored: dict[str, Any] = {}
  held = _sums(programs, state, dataset.evaluate(), monitored)
  values = jax.tree.map(float, jax.device_get(monitored))
  lines = {"eval": programs.means(held) | values}
  sums = {"eval": held}
  if tests and dataset.test is not None:
    own = _sums(programs, state, dataset.test(), None)
    lines["test"], sums["test"] = programs.means(own, held), own
  diagrams = programs.diagrams or (lambda sums: {})
  return lines, {split: diagrams(part) for split, part in sums.items()}


def _sums(
  programs: parallel.Mapped,
  state: TrainState,
  batches: Iterable[Batch],
  monitored: dict[str, Any] | None,
) -> dict[str, Any]:
  """Sums over a part's batches; `monitored` gets what is said of the first."""
  sums: dict[str, Any] = {}

  def dispatched():
    for batch in batches:
      placed = programs.place_one(batch)
      if programs.monitor and monitored is not None and not monitored:
        monitored.update(programs.monitor(state, placed))
      yield programs.evaluate(state, placed)

  for part in ahead.behind(dispatched(), ahead.AHEAD):
    part = jax.device_get(part)
    part = jax.tree.map(lambda x: np.asarray(x, np.float64), part)
    sums = jax.tree.map(np.add, sums, part) if sums else part
  return sums


def report(
  step: int,
  split: str,
  line: Mapping[str, float],
  measures: Sequence[Measure],
  *,
  validates: bool,
) -> None:
  """Logs a line's most important two measures.

  Args:
    step: of the line.
    split: "eval" or "test".
    line: the fields.
    measures: what they show.
    validates: whether evaluations are of a validation part, beside a test part.
  """
  live, polyak = (
    "  ".join(one.told(line[prefix + one.field]) for one in measures[:2])
    for prefix in ("", "polyak_")
  )
  text = f"step {step}  {split}  {live}  (Polyak {polyak})"
  if split == "eval" and validates:
    text = text.replace("test ", "validation ")
  logging.info("%s", text)
