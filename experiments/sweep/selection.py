"""What a grid's results say: the cell that validation picks, and how it tests.

A cell is a setting of all keys but the seed's; everything here is a function of
results.jsonl.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
import json
import math
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from experiments.sweep import results
from experiments.sweep.results import Result

Cell = dict[str, Any]
Metric = Callable[[Mapping[str, float]], float]


def error(part: Mapping[str, float]) -> float:
  """The share of examples that are told wrong; of a regression, its RMSE."""
  return part["rmse"] if "rmse" in part else 1.0 - part["accuracy"]


class Estimate(NamedTuple):
  """A mean over runs.

  Attributes:
    mean: of the runs' values.
    standard_error: of the mean; NaN of one run.
    low: of the interval of 95 % by Student's t; NaN of one run.
    high: likewise.
    runs: how many.
  """

  mean: float
  standard_error: float
  low: float
  high: float
  runs: int


def estimate(values: Sequence[float], level: float = 0.95) -> Estimate:
  """Returns the mean of values that are independent, with its interval.

  Args:
    values: one a run.
    level: of the interval.

  Example:
    >>> [round(x, 3) for x in estimate([1.0, 2.0, 3.0])]
    [2.0, 0.577, -0.484, 4.484, 3]
  """
  numbers = np.asarray(values, np.float64)
  count, mean = len(numbers), float(numbers.mean())
  if count < 2:
    return Estimate(mean, math.nan, math.nan, math.nan, count)
  spread = float(numbers.std(ddof=1)) / math.sqrt(count)
  reach = float(stats.t.ppf(0.5 + level / 2.0, count - 1)) * spread
  return Estimate(mean, spread, mean - reach, mean + reach, count)


def cells(
  found: Iterable[Result], over: str = "seed"
) -> list[tuple[Cell, dict[Any, Result]]]:
  """Groups results by all keys but one, in the order of their first runs.

  Args:
    found: results.
    over: the key that tells a cell's runs apart: seed, or fold.

  Returns:
    (cell, its results by the value of `over`).
  """
  groups: dict[str, tuple[Cell, dict[Any, Result]]] = {}
  for result in found:
    cell = results.keys(result)
    run = cell.pop(over, None)
    name = json.dumps(cell, sort_keys=True)
    groups.setdefault(name, (cell, {}))[1][run] = result
  return list(groups.values())


def select(
  found: Iterable[Result],
  *,
  over: str = "seed",
  metric: Metric = error,
  simplest: Sequence[str] = ("eta", "alpha"),
) -> tuple[Cell, dict[Any, Result]]:
  """Returns the cell of the least mean validation metric, and its results.

  Of cells that tie, the simpler: of less eta, then less alpha. A cell with a
  run that diverged cannot be picked.

  Args:
    found: results; those of one method, usually.
    over: see `cells`.
    metric: (a result's "validation") -> what should be small.
    simplest: the keys that decide between cells that tie, by their size.

  Raises:
    ValueError: if a cell lacks runs that others have, naming it, or there is
      none to pick.
  """
  groups = cells(found, over)
  runs: set[Any] = set().union(*(by_run for _, by_run in groups))
  ranked: list[Any] = []
  for cell, by_run in groups:
    if missing := runs - by_run.keys():
      raise ValueError(
        f"{cell} lacks {over} {min(missing)}, which other cells have: finish "
        "the sweep first."
      )
    if any(result.get("diverged_at") for result in by_run.values()):
      continue
    mean = float(np.mean([metric(r["validation"]) for r in by_run.values()]))
    # To what sums in another order agree: ties are ties.
    order = tuple(cell.get(key, 0.0) for key in simplest)
    ranked.append((round(mean, 12), order, len(ranked), cell, by_run))
  if not ranked:
    raise ValueError(
      "No cell to pick: every one has a run that diverged."
      if groups
      else "No cell to pick: no results."
    )
  *_, cell, by_run = min(ranked, key=lambda one: one[:3])
  return cell, by_run


def tested(by_run: Mapping[Any, Result], metric: Metric = error) -> Estimate:
  """Returns a cell's mean test metric over its runs."""
  return estimate([metric(result["test"]) for result in by_run.values()])


def paired(
  ours: Mapping[Any, Result],
  theirs: Mapping[Any, Result],
  metric: Metric = error,
  level: float = 0.95,
) -> Estimate:
  """Returns the mean of our test metric less theirs, run by run.

  Args:
    ours: results by seed, or fold.
    theirs: likewise, of the same ones.
    metric: of a result's "test".
    level: of the interval.

  Raises:
    ValueError: if the runs are not the same.
  """
  if ours.keys() != theirs.keys():
    raise ValueError(
      "Paired differences need the same runs on both sides, got "
      f"{sorted(ours)} and {sorted(theirs)}."
    )
  return estimate(
    [metric(ours[run]["test"]) - metric(theirs[run]["test"]) for run in ours],
    level,
  )
