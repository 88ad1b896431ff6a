"""What studies of tables of sweeps share: how they run, and their files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import json
from typing import Any

from absl import logging
from etils import epath
from matplotlib.figure import Figure
from ml_collections import ConfigDict

from experiments import cli
from experiments.figures import drawing
from experiments.studies import options
from experiments.sweep import grid, results, together, training
from experiments.sweep.selection import Estimate
from experiments.workdir import provenance, storage

Summary = Mapping[str, Any]


def run(
  name: str,
  sets: Sequence[str],
  *,
  train: Callable[..., Any],
  markdown: Callable[[Summary], str],
  caption: Callable[[Summary], str],
  draw: Callable[[Summary], Figure],
  derive: Callable[[Summary], Summary] = lambda summary: {},
) -> None:
  """Trains a study's sweeps, data set by data set, and writes what they say.

  Resumable: what is trained is not trained again, and data sets that --out has
  already stay in the table.

  Args:
    name: of the module, and of the files written.
    sets: the data sets, in the table's order.
    train: (data set, data_dir, folder of its sweep, smoke=) -> what the table
      says of it; trains what is missing, see `sweep`.
    markdown: data set -> what `train` returned, to the table.
    caption: likewise, to a sentence or two.
    draw: likewise, to the picture.
    derive: likewise, to what else the JSON file holds.
  """
  given = options.define()

  def main() -> None:
    logging.set_verbosity(logging.INFO)
    together.use_all_cores()
    folder = storage.path(given.out.value)
    folder.mkdir(parents=True, exist_ok=True)  # or fail, before the minutes
    target = folder / f"{name}.json"
    told = _before(target) if target.exists() else {}
    for one in given.sets.value or sets:
      logging.info("%s", one)
      made_with = provenance.describe(f"experiments.studies.{name}")
      told[one] = {"commit": made_with["commit"]} | train(
        one,
        given.data_dir.value,
        storage.path(given.workdir.value) / one,
        smoke=given.smoke.value,
      )
      summary = {key: told[key] for key in (*sets, *told) if key in told}
      text = caption(summary)
      content = {
        "made_with": made_with,
        "caption": text,
        "sets": summary,
        **derive(summary),
      }
      storage.write(target, json.dumps(content, indent=1) + "\n")
      storage.write(folder / f"{name}.md", f"{markdown(summary)}\n{text}\n")
      with drawing.style():
        figure = draw(summary)
      drawing.save(figure, text, folder / f"{name}.png")
      logging.info("%s", text)

  cli.run(main, resumable=True)


def _before(target: epath.Path) -> dict[str, Any]:
  """What a study's file says of each data set."""
  content = storage.read_json(target)
  commit = content["made_with"]["commit"]
  return {
    name: {"commit": commit} | one for name, one in content["sets"].items()
  }


def sweep(
  base: ConfigDict, grids: Sequence[str], folder: epath.Path
) -> list[results.Result]:
  """Trains what is missing of some grids, and returns all their results."""
  return training.run(grid.points(grids, base), base, folder)


def rounded(value: Any) -> float | None:
  """A number as JSON files hold it; None where it is not finite."""
  number = float(f"{float(value):.5g}")
  return number if abs(number) < float("inf") else None


def told(number: Estimate) -> dict[str, Any]:
  """An estimate as JSON files hold it."""
  return {
    name: value if isinstance(value, int) else rounded(value)
    for name, value in number._asdict().items()
  }


def shown(told: Mapping[str, Any], decimals: int) -> str:
  """A mean and its standard error as tables have them."""
  text = f"{told['mean']:.{decimals}f}"
  if told["standard_error"] is not None:
    text += f" ± {told['standard_error']:.{decimals}f}"
  return text.replace("-", "−")


def interval(told: Mapping[str, Any], decimals: int) -> str:
  """A difference's "mean", and "low" to "high" where they are known."""
  text = f"{told['mean']:+.{decimals}f}"
  if told["low"] is not None:
    text += f" ({told['low']:+.{decimals}f} to {told['high']:+.{decimals}f})"
  return text.replace("-", "−")


def rows(lines: Sequence[Sequence[str]]) -> str:
  """A table's lines in Markdown, the second one its alignments."""
  return "".join(f"| {' | '.join(line)} |\n" for line in lines)
