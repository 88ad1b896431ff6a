"""The numbers read off evaluations, and their statistics over seeds."""

from __future__ import annotations

from collections.abc import Sequence
import math
import re
from typing import NamedTuple

import numpy as np

from experiments import tasks
from experiments.report.runs import Group
from experiments.steps import PREFIXES as PREFIXES
from experiments.tasks import Measure


class Statistic(NamedTuple):
  """A number's mean over seeds.

  Attributes:
    mean: over the seeds.
    standard_error: sample standard deviation (ddof 1) / sqrt(number of seeds);
      None for a single seed.
    per_seed: seed -> value.
  """

  mean: float
  standard_error: float | None
  per_seed: dict[int, float]


def last(measure: Measure, group: Group, weights: str) -> Statistic | None:
  """Returns the last values; None where the group did not measure it."""
  field = PREFIXES[weights] + measure.field
  rows = {seed: run.last for seed, run in group.runs.items()}
  if measure not in group.measures:
    return None
  if any(field not in row for row in rows.values()):
    return None
  return statistic({s: measure.shown(row[field]) for s, row in rows.items()})


def curve(
  measure: Measure, group: Group, weights: str
) -> tuple[list[int], np.ndarray, np.ndarray]:
  """Returns the steps that all seeds evaluated, the means, the errors.

  A single seed's standard errors are 0.
  """
  field = PREFIXES[weights] + measure.field
  series = [
    {
      row["step"]: measure.shown(row[field])
      for row in run.evals
      if field in row
    }
    for run in group.runs.values()
  ]
  steps = sorted(set.intersection(*map(set, series)))
  values = np.array([[one[step] for step in steps] for one in series])
  return steps, *_over_seeds(values)


def measured(groups: Sequence[Group], weights: str) -> list[Measure]:
  """Returns what at least one group measured, in the order of the task."""
  asked = {measure for one in groups for measure in one.measures}
  keys = list(
    dict.fromkeys(
      measure.key for one in groups for measure in tasks.every(one.first.config)
    )
  )
  # One key has several measures where rows were attacked differently.
  ordered = sorted(asked, key=lambda m: (keys.index(m.key), _natural(m.name)))
  return [m for m in ordered if any(last(m, one, weights) for one in groups)]


def _natural(name: str) -> list[tuple[int, float, str]]:
  """A sort key by which PGD-20 comes before PGD-100."""
  parts = re.split(r"(\d+(?:\.\d+)?)", name.casefold())
  return [
    (1, float(part), "") if k % 2 else (0, 0.0, part)
    for k, part in enumerate(parts)
  ]


def statistic(per_seed: dict[int, float]) -> Statistic:
  """Returns the mean and its standard error over at least one seed."""
  mean, error = _over_seeds(np.array(list(per_seed.values()), np.float64))
  alone = len(per_seed) == 1
  return Statistic(float(mean), None if alone else float(error), per_seed)


def _over_seeds(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Means and standard errors over axis 0, which are 0 for a single seed."""
  seeds = len(values)
  with np.errstate(invalid="ignore"):  # a likelihood may be infinite
    errors = values.std(axis=0, ddof=min(1, seeds - 1)) / math.sqrt(seeds)
  return values.mean(axis=0), errors


def paired(one: Group, other: Group, weights: str) -> Statistic | None:
  """Returns the difference in the first measure by seed.

  None without a common seed.
  """
  own, base = (last(each.measures[0], each, weights) for each in (one, other))
  if own is None or base is None or one is other:
    return None
  common = [seed for seed in own.per_seed if seed in base.per_seed]
  differences = {s: own.per_seed[s] - base.per_seed[s] for s in common}
  return statistic(differences) if differences else None
