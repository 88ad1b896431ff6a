"""reliability.png: how often the network is right, by how sure it says it is.

Guo et al. (2017), https://arxiv.org/abs/1706.04599, figure 1: in each of equal
bins of confidence, the share of right answers against the mean confidence. On
the diagonal a network is calibrated; below it, overconfident.
"""

from __future__ import annotations

from collections.abc import Sequence
import pathlib

import matplotlib
from matplotlib.figure import Figure
import numpy as np

from experiments.report import figures
from experiments.report.runs import Group

NAME = "reliability.png"
CAPTION = (
  "The share of right answers by confidence, over all seeds: calibrated on the "
  "diagonal, overconfident below it."
)
_FEWEST = 10  # examples that a bin is drawn of, over all seeds


def curve(
  group: Group, weights: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
  """Returns (confidence, accuracy, examples) of a group's bins, empty ones out.

  Over all its seeds: of the test part where there is one, else of the
  evaluation part. None where a run left nothing to draw.
  """
  sums = []
  for run in group.runs.values():
    part = "test" if "test" in run.diagrams else "eval"
    own = run.diagrams.get(part, {}).get(weights, {})
    if not {"confidence", "correct", "count"} <= own.keys():
      return None
    sums.append([own[name] for name in ("confidence", "correct", "count")])
  confidence, correct, count = np.sum(sums, axis=0)
  there = count > 0
  count = count[there]
  return confidence[there] / count, correct[there] / count, count


def draw(groups: Sequence[Group], weights: str, out: pathlib.Path) -> bool:
  """Writes reliability.png, and says whether there was anything to draw."""
  drawn = [(one, curve(one, weights)) for one in groups]
  if not any(found for _, found in drawn):
    return False
  with matplotlib.rc_context(figures.STYLE | {"text.parse_math": False}):
    _figure(drawn).savefig(out / NAME)
  return True


def _figure(drawn) -> Figure:
  figure = Figure(figsize=(8.0, 4.2), layout="constrained")
  axes = figure.subplots()
  axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="-")
  lines, names = [], []
  for i, (group, found) in enumerate(drawn):
    if found is None:
      continue
    confidence, accuracy, count = found
    # A bin of a few examples is noise, which catches the eye most.
    seen = count >= _FEWEST
    (line,) = axes.plot(
      *(confidence[seen], accuracy[seen]),
      marker="o",
      markersize=3,
      linewidth=1.4,
      color=f"C{i}",
    )
    lines.append(line)
    names.append(group.name)
  axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
  axes.set_xlabel("confidence")
  axes.set_ylabel("share of right answers (below the line: overconfident)")
  legend = figure.legend(
    lines, [*map(str, range(len(lines)))], loc="outside right center"
  )
  for text, name in zip(legend.get_texts(), names, strict=True):
    text.set_text(name)
  return figure
