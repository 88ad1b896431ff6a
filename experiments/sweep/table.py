"""A sweep's table: each cell's errors, the one that validation picks marked."""

from __future__ import annotations

from collections.abc import Sequence
import math

import numpy as np

from experiments.sweep import results, selection
from experiments.sweep.selection import Estimate


def markdown(found: Sequence[results.Result], over: str = "seed") -> str:
  """Returns a table of all cells, the best by validation first.

  Args:
    found: results.
    over: the key that tells a cell's runs apart.
  """
  groups = selection.cells(found, over)
  names = list(dict.fromkeys(key for cell, _ in groups for key in cell))
  ranked = sorted(groups, key=lambda group: _validation(group[1]))
  numbers = any("rmse" in part for r in found for part in _parts(r))
  what, scale = ("RMSE", 1.0) if numbers else ("error (%)", 100.0)
  lines = [
    [*names, f"{over}s", f"validation {what}", f"test {what}", "diverged"]
  ]
  lines.append(["---"] * len(names) + ["--:"] * 4)
  for cell, by_run in ranked:
    whole = [r for r in by_run.values() if not r.get("diverged_at")]
    told = ["—", "—"]
    for k, part in enumerate(("validation", "test")):
      if whole and part in whole[0]:
        values = [scale * selection.error(r[part]) for r in whole]
        told[k] = _told(selection.estimate(values))
    lines.append(
      [
        *(str(cell.get(name, "")) for name in names),
        str(len(by_run)),
        *told,
        str(len(by_run) - len(whole)),
      ]
    )
  return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _parts(result):
  return [result[part] for part in ("validation", "test") if part in result]


def _validation(by_run) -> float:
  if any(result.get("diverged_at") for result in by_run.values()):
    return math.inf
  return float(
    np.mean([selection.error(r["validation"]) for r in by_run.values()])
  )


def _told(number: Estimate) -> str:
  if math.isnan(number.standard_error):
    return f"{number.mean:.2f}"
  return f"{number.mean:.2f} ± {number.standard_error:.2f}"
