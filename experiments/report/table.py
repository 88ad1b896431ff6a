"""The comparison table (table.md) and every number behind it (summary.json)."""

from __future__ import annotations

from collections.abc import Sequence
import json
import math
import os
import pathlib
import re
from typing import Any

import numpy as np

from experiments import tasks
from experiments.report import measures
from experiments.report.measures import Statistic
from experiments.report.runs import Group, in_a_line
from experiments.tasks import Measure, attacks


def markdown(groups: Sequence[Group], weights: str) -> str:
  """Returns the table, padded so that it also reads as text, and its notes."""
  shown = measures.measured(groups, weights)
  columns = [
    ["method", *(escaped(one.name) for one in groups)],
    ["runs", *(str(len(one.runs)) for one in groups)],
  ]
  for measure in shown:
    numbers = [measures.last(measure, one, weights) for one in groups]
    columns.append([measure.title, *_cells(numbers, measure)])
  baseline = _baseline(groups)
  if baseline:
    differences = [measures.paired(one, baseline, weights) for one in groups]
    first = baseline.measures[0]
    cells = _cells(differences, first, signed=True)
    for i, (one, number) in enumerate(zip(groups, differences, strict=True)):
      if number and len(number.per_seed) < len(one.runs):
        cells[i] += f" ({len(number.per_seed)} of {len(one.runs)} runs)"
    named = first._replace(
      name=f"{first.name.removeprefix('test ')} − {escaped(baseline.name)}, "
      "paired"
    )
    columns.append([named.title, *cells])

  widths = [max(map(len, column)) for column in columns]
  lines = [
    [row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]
    for row in zip(*columns, strict=True)
  ]
  rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
  lines.insert(1, rule)
  text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
  marked = "**" in text
  return f"{text}\n{_notes(groups, baseline, weights, shown, marked)}\n"


def escaped(text: str) -> str:
  """A text as Markdown shows it: no markup, HTML, formula or cell's end."""
  text = in_a_line(text)
  text = re.sub(r"&(?=#|\w+;)", "&amp;", text)
  text = text.replace("<", "&lt;").replace(">", "&gt;")
  # An underscore within a word is none to Markdown either.
  return re.sub(r"[\\`*|$\[\]~]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", text)


def _baseline(groups: Sequence[Group]) -> Group | None:
  """The first row of several that trained with plain mixup."""
  for one in groups:
    config = one.first.config
    if config["method"] == "mixup" and not config["eta"]:
      return one if len(groups) > 1 else None
  return None


def _cells(
  numbers: Sequence[Statistic | None],
  measure: Measure,
  *,
  signed: bool = False,
) -> list[str]:
  """Formats a column; bold is what shows the best mean, ties included.

  A signed column holds differences, of which only improvements can be bold.
  """
  decimals = measure.decimals
  sense = 1.0 if measure.better == "lower" else -1.0
  means = {
    round(number.mean, decimals)
    for number in numbers
    if number and math.isfinite(number.mean)
  }
  best = min(means, default=0.0, key=lambda mean: sense * mean)
  # Whatever is not the best, nan included; among equals nothing stands out.
  others = [n for n in numbers if n and round(n.mean, decimals) != best]
  to_choose = sense * best < 0.0 if signed else bool(others)
  cells = []
  for number in numbers:
    if number is None:
      cells.append("—")
      continue
    # Adding 0 turns a rounded -0 into 0.
    mean = round(number.mean, decimals) + 0.0
    sign = "+" if signed and mean else ""
    text = f"{mean:{sign}.{decimals}f}".replace("-", "−")
    if number.standard_error is not None:
      text += f" ± {number.standard_error:.{decimals}f}"
    cells.append(f"**{text}**" if to_choose and mean == best else text)
  return cells


def _notes(
  groups: Sequence[Group],
  baseline: Group | None,
  weights: str,
  shown: Sequence[Measure],
  marked: bool,
) -> str:
  """What the table's numbers are, as one paragraph."""
  steps = {one.name: one.first.config["total_steps"] for one in groups}
  after = f"{max(steps.values()):,} steps"
  if len(set(steps.values())) > 1:
    each = ", ".join(
      f"{number:,} ({escaped(name)})" for name, number in steps.items()
    )
    after = f"training lengths that differ: {each} steps"
  which = {
    "polyak": "the Polyak average of the weights",
    "live": "the last step's weights",
  }[weights]
  run = groups[0].first
  notes = [
    f"On {run.last['examples']:,.0f} test examples of "
    f"{escaped(run.config['dataset'])}, after {after}, with {which}."
  ]
  averaged = {one.first.config["evaluation_mean"] for one in groups}
  if averaged != {1}:
    several = " or ".join(map(str, sorted(averaged)))
    notes.append(
      f"Each run's numbers are means over its last {several} evaluations."
    )
  if any(len(one.runs) > 1 for one in groups):
    notes.append(
      "± is the standard error of the mean over seeds (sample standard "
      "deviation / √runs); a single run has none."
    )
  if marked:
    lower = all(measure.better == "lower" for measure in shown)
    notes.append(
      f"Bold is the {'lowest' if lower else 'best'} mean, whatever its "
      "standard error."
    )
  notes += dict.fromkeys(note for measure in shown for note in measure.notes)
  if baseline:
    first = baseline.measures[0]
    notes.append(
      f"The last column is the mean over seeds of the {first.name} less that "
      f"of {escaped(baseline.name)} with the same seed: "
      f"{'below' if first.better == 'lower' else 'above'} 0, better."
    )
  return " ".join(notes)


def summary(
  groups: Sequence[Group], warnings: Sequence[str], out: pathlib.Path
) -> str:
  """Returns every number, with both weights, as summary.json holds it.

  Strict JSON: null is what was not measured, or what is not finite. Folders are
  relative to `out`; "made_with" lists the runs' different provenances.
  """
  baseline, run = _baseline(groups), groups[0].first
  made_with: list[dict[str, Any]] = []
  for one in groups:
    for each in one.runs.values():
      for made in each.made_with:
        # Where a start began says nothing about what it was made with.
        made = {k: v for k, v in made.items() if k != "from_step"}
        if made not in made_with:
          made_with.append(made)
  told = {
    "dataset": run.config["dataset"],
    "examples": round(run.last["examples"]),
    "baseline": baseline.name if baseline else None,
    "made_with": made_with,
    "groups": [_described(one, baseline, out) for one in groups],
    "warnings": list(warnings),
  }
  finite = json.loads(json.dumps(told), parse_constant=lambda name: None)
  return json.dumps(finite, indent=2, ensure_ascii=False) + "\n"


def _described(
  one: Group, baseline: Group | None, out: pathlib.Path
) -> dict[str, Any]:
  config = one.first.config
  row: dict[str, Any] = {
    "name": one.name,
    "method": config["method"],
    "seeds": list(one.runs),
    "folders": [os.path.relpath(run.folder, out) for run in one.runs.values()],
    "total_steps": config["total_steps"],
    **attacks.setting(config),
  }
  own = {measure.key: measure for measure in one.measures}
  for weights in measures.PREFIXES:
    numbers = {
      m.key: measures.last(own.get(m.key, m), one, weights)
      for m in tasks.every(config)
    }
    if baseline:
      difference = measures.paired(one, baseline, weights)
      numbers[f"{one.measures[0].key}_less_baseline"] = difference
    row[weights] = {
      key: number and number._asdict() for key, number in numbers.items()
    }
  speeds = {s: run.speed for s, run in one.runs.items() if run.speed}
  row["images_per_second"] = {
    "median": float(np.median(list(speeds.values()))) if speeds else None,
    "per_seed": speeds,
  }
  return row
