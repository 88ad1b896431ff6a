"""A sweep's cells as the rows of a table, compared seed by seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import functools
import types
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from experiments.figures import drawing
from experiments.report import against as along
from experiments.studies import command, comparison
from experiments.sweep import results, selection

Summary = Mapping[str, Any]


class Rows(NamedTuple):
  """What a table's rows are, and what they are compared with.

  Attributes:
    keys: title -> what the row's runs have and the others' lack, by its key.
    against: short name -> the title of the row that the others are compared
      with, or title -> that of each one's own; in what `summarize` returns
      "minus_" and the name.
    asked: (title, short name): the differences that the caption tells.
    note: what the table's legend ends with.
    loss: the title of the losses' column.
    along: title -> eta, of rows that are drawn against it; none: no such panel.
    level: the title of the row that is a dashed line there.
  """

  keys: Mapping[str, Mapping[str, Any]]
  against: Mapping[str, str | Mapping[str, str]]
  asked: Sequence[tuple[str, str]]
  note: str = ""
  loss: str = "NLL (nats)"
  along: Mapping[str, float] = types.MappingProxyType({})
  level: str = "Mixup"

  def other(self, against: str, title: str) -> str | None:
    """The row that one is compared with, None where it is that row itself."""
    named = self.against[against]
    found = named if isinstance(named, str) else named.get(title)
    return None if found == title else found

  def grids(self, seeds: int, titles: Sequence[str] = ()) -> list[str]:
    """Returns the grids of some rows, all if none is named."""
    return [
      ";".join(
        [
          *(f"{key}={value}" for key, value in self.keys[title].items()),
          f"seed=0..{seeds - 1}",
        ]
      )
      for title in titles or self.keys
    ]


def run(
  name: str, sets: Sequence[str], rows: Rows, train: Callable[..., Any]
) -> None:
  """Runs a study of such rows as a program, see `command.run`.

  Args:
    name: of the module, and of the files written.
    sets: the data sets, in the table's order.
    rows: of each of them.
    train: (data set, data_dir, smoke=) -> the base of its runs, and its grids.
  """

  def trained(one, data_dir, folder, *, smoke):
    base, grids = train(one, data_dir, smoke=smoke)
    return summarize(rows, command.sweep(base, grids, folder))

  command.run(
    name,
    sets,
    train=trained,
    markdown=functools.partial(markdown, rows),
    caption=functools.partial(caption, rows),
    draw=functools.partial(draw, rows),
  )


def by_row(
  rows: Rows, found: Sequence[results.Result]
) -> dict[str, Mapping[Any, results.Result]]:
  """Returns each row's results by seed, of the rows that were trained."""
  cells = selection.cells(found)
  return {
    title: by_seed
    for title, row in rows.keys.items()
    for cell, by_seed in cells
    if cell == row
  }


def error(part: Mapping[str, float]) -> float:
  """In %."""
  return 100.0 * selection.error(part)


def summarize(rows: Rows, found: Sequence[results.Result]) -> dict[str, Any]:
  """Returns what the table says of one data set's results.

  Args:
    rows: the table's.
    found: results of all rows that were trained.

  Returns:
    "rows": title -> test "error" and "validation_error" in %, "loss", of
    classes "calibration_error" in %, and the paired differences of the test
    error from the rows in `against`, each with its p by Holm's correction over
    the rows; of a row with runs that diverged only how many did. And "seeds",
    "seconds" of all runs; a row's "seconds" are a run's.
  """
  groups = by_row(rows, found)
  whole = {
    title: runs
    for title, runs in groups.items()
    if not any(result.get("diverged_at") for result in runs.values())
  }
  told_rows: dict[str, Any] = {}
  for title, runs in groups.items():
    seconds = [result["seconds"] for result in runs.values()]
    own: dict[str, Any] = {
      "seconds": command.rounded(sum(seconds) / len(seconds))
    }
    told_rows[title] = own
    if title not in whole:
      own["diverged"] = sum("diverged_at" in r for r in runs.values())
      continue
    validation = [error(result["validation"]) for result in runs.values()]
    own |= {
      "error": command.told(selection.tested(runs, error)),
      "validation_error": command.told(selection.estimate(validation)),
      "loss": command.told(selection.tested(runs, lambda part: part["loss"])),
    }
    if all("calibration_error" in r["test"] for r in runs.values()):
      calibration = lambda part: 100.0 * part["calibration_error"]
      own["calibration_error"] = command.told(
        selection.tested(runs, calibration)
      )
  for name in rows.against:
    differences = {
      title: selection.paired(runs, whole[other], error)
      for title, runs in whole.items()
      if (other := rows.other(name, title)) in whole
    }
    corrected = comparison.holm(
      [comparison.p_value(one) for one in differences.values()]
    )
    for (title, one), p in zip(differences.items(), corrected, strict=True):
      told_rows[title][_field(name)] = command.told(one) | {
        "p": command.rounded(p)
      }
  return {
    "rows": told_rows,
    "seeds": len({result["seed"] for result in found}),
    "seconds": round(sum(result["seconds"] for result in found)),
  }


def markdown(rows: Rows, summary: Summary) -> str:
  """Returns the table, a line a row."""
  head = ["data set", "row", "test error (%)"]
  for name in rows.against:
    head += [f"− {name} (%)", "p"]
  head += [rows.loss, "seconds"]
  lines = [head, ["---", "---", *["--:"] * (len(head) - 2)]]
  for name, one in summary.items():
    for title, row in one["rows"].items():
      line = [name, title]
      if "diverged" in row:
        line.append(f"{row['diverged']} diverged")
        lines.append([*line, *["—"] * (len(head) - len(line))])
        continue
      line.append(command.shown(row["error"], 2))
      for against in rows.against:
        line += _difference(row.get(_field(against)))
      lines.append(
        [*line, command.shown(row["loss"], 3), f"{row['seconds']:.0f}"]
      )
  legend = (
    "± is the standard error over seeds; differences are paired by seed, with "
    "intervals of 95 % by Student's t and p by Holm's correction over the "
    f"rows. {rows.note}"
  )
  return f"{legend.strip()}\n\n{command.rows(lines)}"


def _field(against: str) -> str:
  return f"minus_{against.lower()}"


def _difference(one: Mapping[str, Any] | None) -> list[str]:
  if one is None:
    return ["—", "—"]
  return [command.interval(one, 2), f"{one['p']:.2g}"]


def caption(rows: Rows, summary: Summary) -> str:
  """Returns what the table shows in a sentence or two, from its numbers."""
  parts = []
  for name, one in summary.items():
    found = one["rows"]
    said = [
      f"{title} − {against} {command.interval(found[title][field], 2)}"
      for title, against in rows.asked
      if (field := _field(against)) in found.get(title, {})
    ]
    told = "; ".join(said) or "nothing to compare"
    parts.append(f"{name}, {one['seeds']} paired seeds: {told}.")
  return f"Points of test error. {' '.join(parts)}"


def draw(rows: Rows, summary: Summary) -> Figure:
  """Returns the differences as a picture, and the error against eta.

  A panel for each name in `rows.against`, and one for the error against eta.
  """
  lines = sum(len(one["rows"]) for one in summary.values())
  columns = len(rows.against) + bool(rows.along)
  figure, panels = drawing.new(columns, height=1.2 + 0.23 * lines)
  panels = list(panels)
  for panel, against in zip(panels, rows.against, strict=False):
    _differences(panel, rows, summary, against)
  if rows.along:
    _along(panels[-1], rows, summary)
  return figure


def _differences(
  panel: Any, rows: Rows, summary: Summary, against: str
) -> None:
  ticks: list[str] = []
  for name, one in summary.items():
    for title, row in one["rows"].items():
      if _field(against) not in row:
        continue
      value = row[_field(against)]
      low, high = (
        abs(value[end] - value["mean"]) if value[end] is not None else 0.0
        for end in ("low", "high")
      )
      panel.errorbar(
        value["mean"], len(ticks), xerr=[[low], [high]], fmt="o", color="C0"
      )
      ticks.append(title if len(summary) == 1 else f"{name}: {title}")
  panel.axvline(0.0, color="0.5", linewidth=0.8)
  panel.set_yticks(range(len(ticks)), ticks)
  panel.invert_yaxis()
  panel.set_xlabel(f"test error − {against} (%)")


def _along(panel: Any, rows: Rows, summary: Summary) -> None:
  for number, (name, one) in enumerate(summary.items()):
    found = {
      title: one["rows"][title]["error"]
      for title in rows.along
      if "error" in one["rows"].get(title, {})
    }
    if found:
      along.curve(
        panel,
        [rows.along[title] for title in found],
        [*found.values()],
        level=one["rows"].get(rows.level, {}).get("error"),
        color=f"C{number}",
        label=name,
      )
  panel.set_xlabel(f"η (dashed: {rows.level})")
  panel.set_ylabel("test error (%)")
