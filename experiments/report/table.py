"""The comparison table, and how table.md writes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import math
import re
from typing import NamedTuple

from experiments.report import measures
from experiments.report.measures import Statistic
from experiments.report.runs import Group, in_a_line
from experiments.tasks import Measure


class Cell(NamedTuple):
  """A cell of the table.

  Attributes:
    text: what it shows.
    value: the number that it shows, None where it shows none.
    best: whether it is the column's best mean.
    note: what is said after it.
  """

  text: str
  value: float | None = None
  best: bool = False
  note: str = ""


class Table(NamedTuple):
  """The table, however it is written.

  Attributes:
    columns: (head, cells, a row each), the rows' names first.
    notes: sentences on what the numbers are.
  """

  columns: list[tuple[str, list[Cell]]]
  notes: list[str]


def compare(
  groups: Sequence[Group], weights: str, written: Callable[[str], str]
) -> Table:
  """Returns the table of some rows.

  Args:
    groups: the rows.
    weights: "polyak" or "live".
    written: puts a name, of which nobody knows what it holds, into a text.
  """
  shown = measures.measured(groups, weights)
  columns = [
    ("method", [Cell(written(one.name)) for one in groups]),
    ("runs", [Cell(str(len(one.runs)), len(one.runs)) for one in groups]),
  ]
  for measure in shown:
    numbers = [measures.last(measure, one, weights) for one in groups]
    columns.append((measure.title, _cells(numbers, measure)))
  baseline = baseline_of(groups)
  if baseline:
    differences = [measures.paired(one, baseline, weights) for one in groups]
    first = baseline.measures[0]
    cells = _cells(differences, first, signed=True)
    for i, (one, number) in enumerate(zip(groups, differences, strict=True)):
      if number and len(number.per_seed) < len(one.runs):
        note = f" ({len(number.per_seed)} of {len(one.runs)} runs)"
        cells[i] = cells[i]._replace(note=note)
    named = first._replace(
      name=f"{first.name.removeprefix('test ')} − {written(baseline.name)}, "
      "paired"
    )
    columns.append((named.title, cells))
  marked = any(cell.best for _, cells in columns for cell in cells)
  return Table(
    columns, _notes(groups, baseline, weights, shown, marked, written)
  )


def markdown(groups: Sequence[Group], weights: str) -> str:
  """Returns the table, padded so that it also reads as text, and its notes."""
  told = compare(groups, weights, escaped)
  columns = [
    [
      head,
      *(f"**{c.text}**{c.note}" if c.best else c.text + c.note for c in cells),
    ]
    for head, cells in told.columns
  ]
  widths = [max(map(len, column)) for column in columns]
  lines = [
    [row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]
    for row in zip(*columns, strict=True)
  ]
  rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
  lines.insert(1, rule)
  text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
  return f"{text}\n{' '.join(told.notes)}\n"


def escaped(text: str) -> str:
  """A text as Markdown shows it: no markup, HTML, formula or cell's end."""
  text = in_a_line(text)
  text = re.sub(r"&(?=#|\w+;)", "&amp;", text)
  text = text.replace("<", "&lt;").replace(">", "&gt;")
  # An underscore within a word is none to Markdown either.
  return re.sub(r"[\\`*|$\[\]~]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", text)


def baseline_of(groups: Sequence[Group]) -> Group | None:
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
) -> list[Cell]:
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
      cells.append(Cell("—"))
      continue
    # Adding 0 turns a rounded -0 into 0.
    mean = round(number.mean, decimals) + 0.0
    sign = "+" if signed and mean else ""
    text = f"{mean:{sign}.{decimals}f}".replace("-", "−")
    if number.standard_error is not None:
      text += f" ± {number.standard_error:.{decimals}f}"
    cells.append(Cell(text, number.mean, to_choose and mean == best))
  return cells


def _notes(
  groups: Sequence[Group],
  baseline: Group | None,
  weights: str,
  shown: Sequence[Measure],
  marked: bool,
  written: Callable[[str], str],
) -> list[str]:
  """What the table's numbers are, in sentences."""
  steps = {one.name: one.first.config["total_steps"] for one in groups}
  after = f"{max(steps.values()):,} steps"
  if len(set(steps.values())) > 1:
    each = ", ".join(
      f"{number:,} ({written(name)})" for name, number in steps.items()
    )
    after = f"training lengths that differ: {each} steps"
  which = {
    "polyak": "the Polyak average of the weights",
    "live": "the last step's weights",
  }[weights]
  run = groups[0].first
  notes = [
    f"On {run.last['examples']:,.0f} test examples of "
    f"{written(run.config['dataset'])}, after {after}, with {which}."
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
      f"of {written(baseline.name)} with the same seed: "
      f"{'below' if first.better == 'lower' else 'above'} 0, better."
    )
  return notes
