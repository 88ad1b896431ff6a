"""Several forecasts of --compare=method as one table: what MixupE costs.

python -m experiments.forecast.summary FILE.json [FILE.json ...]
"""

from __future__ import annotations

from collections.abc import Sequence
import json
import pathlib
import sys
from typing import Any

from experiments.forecast import model


def markdown(results: Sequence[dict[str, Any]]) -> str:
  """Returns a row for each forecast: Mixup's step, and the others' over it.

  Args:
    results: of `model.forecast`; rows that are missing stay empty, and
      comparisons of something else are passed over.
  """
  names = list(model.COMPARISONS["method"])
  header = ["model", "chips", "Mixup, ms at best", "hours at best"]
  header += [f"× {name.removeprefix('MixupE, ')}" for name in names[1:]]
  lines = [header, ["---", "---", *["--:"] * (len(header) - 2)]]
  for result in results:
    rows = {row["name"]: row for row in result["rows"]}
    if names[0] not in rows:
      continue
    first = rows[names[0]]
    cells = [result["model"], f"{result['topology']} ({result['chips']})"]
    if first["fits"]:
      cells += [f"{1e3 * first['seconds']['step']:.0f}"]
      cells += [f"{first['hours']:.1f}"]
    else:
      cells += ["does not fit", ""]
    cells += [_ratio(rows.get(name), first) for name in names[1:]]
    lines.append(cells)
  return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _ratio(row: dict[str, Any] | None, first: dict[str, Any]) -> str:
  if row is None:
    return ""
  if not row["fits"]:
    return "does not fit"
  if not first["fits"]:
    return f"{1e3 * row['seconds']['step']:.0f} ms"
  return f"{row['seconds']['step'] / first['seconds']['step']:.2f}"


if __name__ == "__main__":
  files = [pathlib.Path(name) for name in sys.argv[1:]]
  print(markdown([json.loads(file.read_text()) for file in files]))
