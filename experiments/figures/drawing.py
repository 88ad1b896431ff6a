"""What every figure shares: its flags, its files, its looks."""

from __future__ import annotations

from collections.abc import Callable
import textwrap
from typing import Any

from absl import flags, logging
import jax
import matplotlib
from matplotlib.figure import Figure
import numpy as np

from experiments import cli
from experiments.report import figures
from experiments.workdir import provenance, storage

Result = dict[str, Any]


def run(
  name: str,
  compute: Callable[..., Result],
  draw: Callable[[Result], Figure],
) -> None:
  """Computes and draws one figure as a program: flags, files, errors.

  Args:
    name: of the module, and of the files written.
    compute: called as compute(smoke=...); returns what goes into NAME.json:
      numbers, "seen" (a bool: whether the paper's statement is seen in them)
      and "caption" (a sentence or two that says so, with the figures).
    draw: maps compute's result to the picture.
  """

  # Here and not above: two modules of one process may not define one flag, and
  # tests import many.
  out = flags.DEFINE_string(
    "out", None, "Folder for the picture and its numbers.", required=True
  )
  smoke = flags.DEFINE_bool(
    "smoke", False, "Seconds instead of minutes: shows only that it runs."
  )

  def main() -> None:
    logging.set_verbosity(logging.INFO)
    folder = storage.path(out.value)
    folder.mkdir(parents=True, exist_ok=True)  # or fail, before the minutes
    result = compute(smoke=smoke.value)
    made_with = provenance.describe(f"experiments.figures.{name}")
    storage.write_json(
      folder / f"{name}.json", {"made_with": made_with} | result
    )
    save(draw(result), result["caption"], folder / f"{name}.png")
    print(textwrap.fill(result["caption"], 80))

  # Theory is checked in double precision: sums over all pairs, small gaps.
  jax.config.update("jax_enable_x64", True)
  cli.run(main)


def new(
  columns: int = 1, rows: int = 1, *, height: float = 3.4
) -> tuple[Figure, Any]:
  """Returns an empty figure and its panels, row by row; height is a row's."""
  figure = Figure(
    figsize=(max(4.5, 4.0 * columns), rows * height), layout="constrained"
  )
  return figure, figure.subplots(rows, columns, squeeze=False).flat


def numbers(values: Any, digits: int = 5) -> Any:
  """Nested lists of floats for JSON, to so many digits; not finite: None."""
  array = np.asarray(values, np.float64)
  if array.ndim:
    return [numbers(value, digits) for value in array]
  return float(f"{array:.{digits}g}") if np.isfinite(array) else None


def save(figure: Figure, caption: str, target: Any) -> None:
  """Writes the picture, its caption below it."""
  width = int(15 * figure.get_size_inches()[0])
  # Colours such as "C1" are looked up here, not when drawing was asked for.
  with style():
    figure.supxlabel(
      textwrap.fill(caption, width), fontsize=8, x=0.01, ha="left", color="0.3"
    )
    with target.open("wb") as file:
      figure.savefig(file, format="png")


def style() -> Any:
  """The report's looks, as a context to draw in."""
  return matplotlib.rc_context(figures.STYLE)
