"""Cells: a file as it was read, before anyone says what it means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

# What stands for a value that is not there.
MISSING = frozenset({"", "?", "NA", "NaN", "nan", "NAN"})

Cell = str | float | None  # None: missing
# None: numbers; else the categories, all that there are.
Kind = tuple[str, ...] | None


class Cells(NamedTuple):
  """A file as it was read.

  Attributes:
    source: the file, for messages.
    names: of its columns.
    rows: lists of cells, as long as `names`.
    places: where each row stands, "FILE, line 7".
    kinds: of the columns of which the file, or who reads it, says so; the
      others are found out.
  """

  source: str
  names: Sequence[str]
  rows: list[list[Cell]]
  places: list[str]
  kinds: Mapping[str, Kind]


def number(cell: Cell) -> float | None:
  """Returns a cell as a number; None: it is none, or not there.

  Example:
    >>> number(" 1e3"), number("1_000"), number("inf"), number(None)
    (1000.0, None, inf, None)
  """
  if cell is None or isinstance(cell, float):
    return cell
  try:
    # Python's own literals are not meant.
    return None if "_" in cell else float(cell)
  except ValueError:
    return None


def text(cell: str | float) -> str:
  """Returns a cell as text, whole numbers without a point.

  Example:
    >>> text(2.0), text(2.5), text("2.0")
    ('2', '2.5', '2.0')
  """
  if isinstance(cell, str):
    return cell
  return str(int(cell)) if float(cell).is_integer() else repr(float(cell))
