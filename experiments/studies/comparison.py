"""Many comparisons at once: p-values, Holm's correction, ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import math

import numpy as np
from scipy import stats

from experiments.sweep.selection import Estimate


def p_value(difference: Estimate) -> float:
  """Returns Student's two-sided p of a paired difference; NaN of one run.

  Differences that are all the same have p = 0, or 1 where they are 0.

  Example:
    >>> round(p_value(Estimate(2.0, 1.0, -1.0, 5.0, 3)), 4)
    0.1835
  """
  if math.isnan(difference.standard_error):
    return math.nan
  if difference.standard_error == 0.0:
    return float(difference.mean == 0.0)
  ratio = abs(difference.mean) / difference.standard_error
  return float(2.0 * stats.t.sf(ratio, difference.runs - 1))


def holm(values: Sequence[float]) -> list[float]:
  """Returns p-values corrected for their number, in their order.

  Holm (1979): the i-th smallest of m, from i = 0, is multiplied by m - i; none
  may be below a smaller one's, nor above 1. Rejecting where the result is below
  5 % keeps the chance of any false rejection below 5 %. NaN counts as 1.

  Args:
    values: p-values.

  Example:
    >>> holm([0.04, 0.01, 0.03])
    [0.06, 0.03, 0.06]
  """
  known = np.nan_to_num(np.asarray(values, np.float64), nan=1.0)
  order = np.argsort(known, kind="stable")
  factors = len(known) - np.arange(len(known))
  corrected = np.empty(len(known))
  corrected[order] = np.minimum(
    np.maximum.accumulate(known[order] * factors), 1.0
  )
  return corrected.tolist()


def mean_ranks(errors: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
  """Returns each method's mean rank over data sets, 1 the best.

  Args:
    errors: data set -> method -> error; the same methods for all. Methods that
      tie share the mean of their ranks.

  Example:
    >>> mean_ranks({"a": {"x": 1.0, "y": 2.0}, "b": {"x": 3.0, "y": 3.0}})
    {'x': 1.25, 'y': 1.75}
  """
  names = list(next(iter(errors.values())))
  ranks = [
    stats.rankdata([row[name] for name in names]) for row in errors.values()
  ]
  return dict(zip(names, np.mean(ranks, axis=0).tolist(), strict=True))
