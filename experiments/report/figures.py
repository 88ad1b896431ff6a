"""The two figures: curves.png over the steps, results.png at the last one."""

from __future__ import annotations

from collections.abc import Sequence
import pathlib
import textwrap
from typing import Any

from cycler import cycler
import matplotlib
from matplotlib import ticker
from matplotlib.figure import Figure
import numpy as np

from experiments.report import measures
from experiments.report.runs import Group

CAPTIONS = {
  "curves.png": "On the way: means over seeds by the training step. Bands are "
  "their standard errors.",
  "results.png": "At the end: a ring is a seed, a dot the mean over seeds, a "
  "bar its standard error.",
}
# Okabe and Ito's colours, less the yellow that white paper swallows.
_COLORS = "000000 E69F00 56B4E9 009E73 0072B2 D55E00 CC79A7"
STYLE: dict[Any, Any] = {
  "axes.grid": True,
  "axes.prop_cycle": cycler(linestyle=["-", "--", ":"])
  * cycler(color=[f"#{rgb}" for rgb in _COLORS.split()]),
  "axes.spines.right": False,
  "axes.spines.top": False,
  "font.size": 9,
  "grid.color": "0.9",
  "legend.frameon": False,
  "savefig.dpi": 150,
}


def draw(groups: Sequence[Group], weights: str, out: pathlib.Path) -> None:
  """Writes curves.png and results.png."""
  # Names are anybody's: a dollar in one begins no formula.
  with matplotlib.rc_context(STYLE | {"text.parse_math": False}):
    _curves(groups, weights).savefig(out / "curves.png")
    _results(groups, weights).savefig(out / "results.png")


def title(groups: Sequence[Group]) -> str:
  """Returns what all rows are about: the data set, and the models."""
  models = {one.first.config["model"] for one in groups}
  return ", ".join([groups[0].first.config["dataset"], *sorted(models)])


def _figure(groups: Sequence[Group], height: float) -> Figure:
  figure = Figure(figsize=(8.0, height), layout="constrained")
  of = title(groups)
  figure.suptitle(f"{of}: mean ± standard error over seeds", fontsize=10)
  return figure


def _curves(groups: Sequence[Group], weights: str) -> Figure:
  """The first two measures (of classes: error, likelihood) by the step."""
  figure = _figure(groups, height=max(3.3, 1.1 + 0.19 * len(groups)))
  shown = groups[0].measures[:2]
  panels = figure.subplots(1, len(shown), squeeze=False)[0]
  named: list[tuple[str, Any]] = []
  for axes, measure in zip(panels, shown, strict=True):
    positive = True
    for i, one in enumerate(groups):
      if measure not in one.measures:  # it was trained on another loss
        continue
      steps, means, errors = measures.curve(measure, one, weights)
      positive = positive and not np.any(means < 0.0)
      dots = {"marker": "o" if len(steps) < 25 else None, "markersize": 2.5}
      (line,) = axes.plot(steps, means, linewidth=1.4, **dots)
      if axes is panels[0]:
        named.append((one.name, line))
      band = (means - errors, means + errors)
      axes.fill_between(steps, *band, color=f"C{i}", alpha=0.15, linewidth=0)
    axes.set_xlabel("training step")
    # Where there is a test part, it was not looked at on the way.
    validated = groups[0].first.test is not None
    label = measure.title
    axes.set_ylabel(
      label.replace("test ", "validation ") if validated else label
    )
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,.0f}"))
    if positive:
      axes.set_yscale("log")
      axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 3, 5)))
      axes.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
      axes.yaxis.set_minor_locator(ticker.NullLocator())
  lines, numbers = [line for _, line in named], map(str, range(len(named)))
  legend = figure.legend(lines, [*numbers], loc="outside right center")
  for text, (name, _) in zip(legend.get_texts(), named, strict=True):
    text.set_text(name)  # as a label, one with a leading _ would be left out
  return figure


def _results(groups: Sequence[Group], weights: str) -> Figure:
  """Last values: a ring a seed, a dot their mean, a bar its standard error."""
  figure = _figure(groups, height=1.15 + 0.27 * len(groups))
  shown = measures.measured(groups, weights)
  panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
  for axes, measure in zip(panels, shown, strict=True):
    for i, one in enumerate(groups):
      number = measures.last(measure, one, weights)
      if number is None:
        continue
      mean, error, per_seed = number
      axes.errorbar(mean, i, xerr=error, fmt="o", color=f"C{i}", markersize=4)
      if len(per_seed) > 1:
        heights = [i + 0.22] * len(per_seed)
        axes.scatter([*per_seed.values()], heights, s=9, fc="none", ec=f"C{i}")
    label = measure.title.replace(" = ", "\u00a0=\u00a0")
    axes.set_xlabel(textwrap.fill(label, 24, break_on_hyphens=False))
    axes.xaxis.set_major_locator(ticker.MaxNLocator(3))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
  panels[0].set_yticks(range(len(groups)), [one.name for one in groups])
  panels[0].set_ylim(len(groups) - 0.5, -0.5)
  return figure
