"""against.png: errors, and the gap, of rows that differ in alpha or eta alone.

The gap is the loss of the test part less that of the training examples, as they
are, where these are what was evaluated on the way: eval_split is train_split,
as in experiments/configs/kimura_images.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import json
import pathlib
from typing import Any, NamedTuple

import matplotlib
from matplotlib.figure import Figure
import numpy as np

from experiments.report import figures, measures
from experiments.report.runs import Group

NAME = "against.png"
CAPTION = (
  "Rows that differ in one key alone, by its value: means over seeds, with "
  "their standard errors."
)
KEYS = ("alpha", "eta")
_FEWEST = 3  # values: of two, results.png says as much


class Family(NamedTuple):
  """Rows that differ in one key alone.

  Attributes:
    key: of KEYS.
    rows: value -> row, by the value.
  """

  key: str
  rows: dict[float, Group]


def families(groups: Sequence[Group]) -> list[Family]:
  """Returns all families of enough rows, of which most are none."""
  found: dict[str, Family] = {}
  for key in KEYS:
    for one in groups:
      rest = dict(one.first.setting)
      value = rest.pop(key, None)
      # A method's recipe says what nobody gave: the values that hold are there.
      rest.pop("recipe", None)
      if key == "alpha" and rest.get("beta") == value:
        del rest["beta"]  # of one Beta(alpha, alpha)
      if isinstance(value, int | float):
        name = json.dumps([key, rest], sort_keys=True)
        found.setdefault(name, Family(key, {})).rows[float(value)] = one
  return [
    Family(one.key, dict(sorted(one.rows.items())))
    for one in found.values()
    if len(one.rows) >= _FEWEST
  ]


def gap(group: Group, weights: str) -> measures.Statistic | None:
  """Returns the gap at the end over a row's seeds; None where it has none."""
  field = f"{measures.PREFIXES[weights]}loss"
  per_seed = {}
  for seed, run in group.runs.items():
    seen, config = run.evals[-1], run.config
    own = config["eval_split"] == config["train_split"]
    if run.test is None or not own or not (field in seen and field in run.test):
      return None
    per_seed[seed] = run.test[field] - seen[field]
  return measures.statistic(per_seed)


def curve(
  axes: Any,
  values: Sequence[float],
  estimates: Sequence[Mapping[str, float | None]],
  *,
  level: Mapping[str, float | None] | None = None,
  color: str = "C0",
  label: str | None = None,
) -> Any:
  """Draws means with their intervals against a key such as alpha or eta.

  Args:
    axes: the panel; its x-axis becomes logarithmic, and linear around 0 where
      a value is 0.
    values: the key's, not negative.
    estimates: their "mean", "low" and "high"; None where there is no interval.
    level: of what lacks the key: a dashed line.
    color: of both.
    label: of the curve.

  Returns:
    What a legend takes for it.
  """
  order = np.argsort(values)
  x = np.asarray(values, np.float64)[order]
  found = [estimates[k] for k in order]
  mean = np.asarray([one["mean"] for one in found], np.float64)
  reach = np.asarray(
    [
      [
        0.0 if one[end] is None else abs(one[end] - one["mean"])
        for one in found
      ]
      for end in ("low", "high")
    ]
  )
  drawn = axes.errorbar(
    x, mean, yerr=reach, fmt="o-", markersize=3, color=color, label=label
  )
  if level is not None:
    axes.axhline(level["mean"], color=color, linestyle="--", linewidth=0.8)
  if x[0] > 0.0:
    axes.set_xscale("log")
  else:
    least = float(x[x > 0.0].min())
    axes.set_xscale("symlog", linthresh=least)
    axes.set_xlim(-0.3 * least, 1.3 * x[-1])  # else a decade below 0, too
  axes.set_xticks(x, [f"{value:g}" for value in x])
  axes.minorticks_off()
  return drawn


def draw(groups: Sequence[Group], weights: str, out: pathlib.Path) -> bool:
  """Writes against.png, and says whether there was anything to draw."""
  panels = _panels(groups, weights)
  if not panels:
    return False
  with matplotlib.rc_context(figures.STYLE | {"text.parse_math": False}):
    _figure(panels).savefig(out / NAME)
  return True


def _panels(groups: Sequence[Group], weights: str) -> dict[Any, list[Any]]:
  """(key, what is drawn) -> its curves: (name, value -> statistic)."""
  panels: dict[Any, list[Any]] = {}
  for family in families(groups):
    first = next(iter(family.rows.values()))
    measure = first.measures[0]
    for title, of in (
      (measure.title, lambda row, m=measure: measures.last(m, row, weights)),
      ("test − training loss", lambda row: gap(row, weights)),
    ):
      told = {value: of(row) for value, row in family.rows.items()}
      if all(told.values()):
        name = first.first.config["method"]
        panels.setdefault((family.key, title), []).append((name, told))
  return panels


def _figure(panels: dict[Any, list[Any]]) -> Figure:
  figure = Figure(
    figsize=(4.0 * max(2, len(panels)), 3.4), layout="constrained"
  )
  axes = figure.subplots(1, len(panels), squeeze=False)[0]
  for panel, ((key, title), curves) in zip(axes, panels.items(), strict=True):
    lines = [
      curve(
        panel,
        [*told],
        [
          {
            "mean": one.mean,
            "low": one.standard_error and one.mean - one.standard_error,
            "high": one.standard_error and one.mean + one.standard_error,
          }
          for one in told.values()
        ],
        color=f"C{number}",
      )
      for number, (_, told) in enumerate(curves)
    ]
    panel.set_xlabel(key)
    panel.set_ylabel(title)
    legend = panel.legend(lines, [*map(str, range(len(lines)))])
    for text, (name, _) in zip(legend.get_texts(), curves, strict=True):
      text.set_text(name)
  figure.suptitle("mean ± standard error over seeds", fontsize=10)
  return figure
