"""What studies of tables of sweeps share: how they run, and their files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import json
from typing import Any

from absl import logging
from matplotlib.figure import Figure
from ml_collections import ConfigDict

from experiments import cli
from experiments.figures import drawing
from experiments.studies import options
from experiments.sweep import grid, results, together, training
from experiments.workdir import provenance, storage

Summary = Mapping[str, Any]


def run(
  name: str,
  sets: Sequence[str],
  *,
  sweeps: Callable[..., tuple[ConfigDict, list[str]]],
  summarize: Callable[[Sequence[results.Result], ConfigDict], dict[str, Any]],
  markdown: Callable[[Summary], str],
  caption: Callable[[Summary], str],
  draw: Callable[[Summary], Figure],
) -> None:
  """Trains a study's sweeps, data set by data set, and writes what they say.

  Resumable: what is trained is not trained again, and data sets that --out has
  already stay in the table.

  Args:
    name: of the module, and of the files written.
    sets: the data sets, in the table's order.
    sweeps: (data set, data_dir, smoke=) -> what its runs have in common, and
      their grids.
    summarize: (a data set's results, what the runs have in common) -> what the
      table says of it.
    markdown: data set -> summary, to the table.
    caption: likewise, to a sentence or two.
    draw: likewise, to the picture.
  """

  given = options.define()

  def main() -> None:
    logging.set_verbosity(logging.INFO)
    together.use_all_cores()
    folder = storage.path(given.out.value)
    folder.mkdir(parents=True, exist_ok=True)  # or fail, before the minutes
    target = folder / f"{name}.json"
    before = storage.read_json(target)["sets"] if target.exists() else {}
    for one in given.sets.value or sets:
      logging.info("%s", one)
      base, grids = sweeps(one, given.data_dir.value, smoke=given.smoke.value)
      points = grid.points(grids, base)
      found = training.run(
        points, base, storage.path(given.workdir.value) / one
      )
      before[one] = summarize(found, base)
      summary = {key: before[key] for key in (*sets, *before) if key in before}
      told = caption(summary)
      made_with = provenance.describe(f"experiments.studies.{name}")
      content = {"made_with": made_with, "caption": told, "sets": summary}
      storage.write(target, json.dumps(content, indent=1) + "\n")
      storage.write(folder / f"{name}.md", f"{markdown(summary)}\n{told}\n")
      with drawing.style():
        figure = draw(summary)
      drawing.save(figure, told, folder / f"{name}.png")
      logging.info("%s", told)

  cli.run(main, resumable=True)


def rounded(value: Any) -> float | None:
  """A number as JSON files hold it; None where it is not finite."""
  number = float(f"{float(value):.5g}")
  return number if abs(number) < float("inf") else None


def rows(lines: Sequence[Sequence[str]]) -> str:
  """A table's lines in Markdown, the second one its alignments."""
  return "".join(f"| {' | '.join(line)} |\n" for line in lines)
