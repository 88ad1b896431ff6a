"""What a table is: columns of numbers or of categories, and a target a row.

Readers make `Cells` of a file; `from_cells` makes a `Table` of them, and finds
out which columns hold numbers and which categories.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
import math
from typing import NamedTuple

from absl import logging
import numpy as np

from experiments.inputs.tabular.cells import Cell, Cells, Kind, number, text

# Up to so many different whole numbers beside words are codes: "3+", "none".
_CODES = 20


class Column(NamedTuple):
  """One column.

  Attributes:
    name: in the file.
    values: [n] numbers, NaN where missing; of categories their index, -1 where
      missing.
    categories: what the indices stand for; None: numbers.
  """

  name: str
  values: np.ndarray
  categories: Kind = None


class Table(NamedTuple):
  """A table with a class, or a number, to tell a row.

  Attributes:
    source: where it is from.
    columns: without the one to tell.
    labels: [n] int32, indices of `classes`; or float64.
    classes: the names of the classes, each of which some row has; () where the
      target is a number.
  """

  source: str
  columns: tuple[Column, ...]
  labels: np.ndarray
  classes: tuple[str, ...]


def from_cells(cells: Cells, target: str, *, numeric: bool = False) -> Table:
  """Returns the table whose classes are the values of one column.

  Args:
    cells: of a file.
    target: the column's name.
    numeric: whether its values are numbers, and no classes.

  Raises:
    ValueError: naming file, line and column.
  """
  index = _target(cells, target)
  columns = [_column(cells, k) for k in range(len(cells.names)) if k != index]
  values = [row[index] for row in cells.rows]
  # Of one kind throughout, so that 1 and 1.0 are one class.
  read = measure if numeric else classify
  labels, classes = read(cells.source, target, values, cells.places)
  return Table(cells.source, tuple(columns), labels, classes)


def classify(
  source: str, target: str, values: Sequence[Cell], places: Sequence[str]
) -> tuple[np.ndarray, tuple[str, ...]]:
  """Returns the classes' indices, and the classes: as numbers if all are.

  Args:
    source: for messages.
    target: the column's name.
    values: its cells.
    places: where each of them stands.

  Raises:
    ValueError: if a value is missing, or all are the same.
  """
  _check_present(target, values, places, "class")
  numbers = [number(value) for value in values]
  names: list[str] = [text(value) for value in values if value is not None]
  if all(value is not None for value in numbers):
    names = [text(value) for value in numbers if value is not None]
    classes = sorted(set(names), key=float)
  else:
    classes = sorted(set(names))
  if len(classes) < 2:
    raise ValueError(
      f"{source}: the target {target!r} must have two classes or more, got "
      f"{', '.join(classes) or 'no row'} only."
    )
  of = {name: k for k, name in enumerate(classes)}
  return np.array([of[name] for name in names], np.int32), tuple(classes)


def measure(
  source: str, target: str, values: Sequence[Cell], places: Sequence[str]
) -> tuple[np.ndarray, tuple[str, ...]]:
  """Returns a target's values as numbers, float64, and no classes.

  Args:
    source: for messages.
    target: the column's name.
    values: its cells.
    places: where each of them stands.

  Raises:
    ValueError: if a value is missing or no finite number, or all are the same.
  """
  _check_present(target, values, places, "number")
  found = [number(value) for value in values]
  for x, value, place in zip(found, values, places, strict=True):
    if x is None or not math.isfinite(x):
      raise ValueError(
        f"{place}: the target {target!r} must be a finite number for "
        f"task='regression', got {value!r}; of classes leave task at "
        "'classification'."
      )
  numbers = np.array(found, np.float64)
  if len(numbers) and numbers.min() == numbers.max():
    raise ValueError(
      f"{source}: the target {target!r} must have two values or more, got "
      f"{numbers[0]:g} only."
    )
  return numbers, ()


def _check_present(target, values, places, what):
  for value, place in zip(values, places, strict=True):
    if value is None:
      raise ValueError(
        f"{place}: the target {target!r} is missing; a row without a "
        f"{what} cannot be learned from: leave it out of the file."
      )


def report(table: Table) -> None:
  """Logs what the table holds, and warns of columns that may be IDs."""
  if table.classes:
    counts = np.bincount(table.labels, minlength=len(table.classes))
    pairs = zip(table.classes, counts, strict=True)
    target = f"classes {_some([f'{c}: {n}' for c, n in pairs])}"
  else:
    low, high = table.labels.min(), table.labels.max()
    target = f"a target from {low:g} to {high:g}"
  categorical = [c.name for c in table.columns if c.categories is not None]
  logging.info(
    "%s: %d rows, %d columns%s; %s.",
    table.source,
    len(table.labels),
    len(table.columns),
    f" (of categories: {_some(categorical, 10)})" if categorical else "",
    target,
  )
  for column in table.columns:
    if _numbers_its_rows(column):
      logging.warning(
        "%s: column %r has another value in every row, as an ID has; if it is "
        "one, leave it out of the file.",
        table.source,
        column.name,
      )


def _target(cells: Cells, target: str) -> int:
  known = f"it has {', '.join(cells.names)}"
  if not cells.rows:
    raise ValueError(f"{cells.source} has no rows of data.")
  twice = [name for name, count in Counter(cells.names).items() if count > 1]
  if twice:
    raise ValueError(
      f"{cells.source}: column names must differ, got {twice[0]!r} more than "
      "once."
    )
  if not target:
    raise ValueError(
      f"target: name the column of {cells.source} that is to be told; {known}."
    )
  if target not in cells.names:
    raise ValueError(
      f"target: {cells.source} has no column {target!r}; {known}."
    )
  if len(cells.names) < 2:
    raise ValueError(
      f"{cells.source} has no column beside the target {target!r}."
    )
  return list(cells.names).index(target)


def _column(cells: Cells, index: int) -> Column:
  name = cells.names[index]
  values = [row[index] for row in cells.rows]
  declared = name in cells.kinds
  if declared and cells.kinds[name] is None and str not in map(type, values):
    return _finite(cells, name, values, np.array(values, float))
  numbers = [number(value) for value in values]
  words = [
    k
    for k, value in enumerate(values)
    if value is not None and numbers[k] is None
  ]
  kind = cells.kinds[name] if declared else _found(values, numbers, bool(words))
  if kind is not None:
    codes = {category: k for k, category in enumerate(kind)}
    texts = [None if value is None else text(value) for value in values]
    for value, place in zip(texts, cells.places, strict=True):
      if value is not None and value not in codes:
        raise ValueError(
          f"{place}: column {name!r} must be one of "
          f"{', '.join(kind)}; got {value!r}."
        )
    indices = [-1 if value is None else codes[value] for value in texts]
    return Column(name, np.array(indices, np.int32), kind)
  if words:
    raise ValueError(
      f"{cells.places[words[0]]}: column {name!r} holds "
      f"numbers, got {values[words[0]]!r}; leave the cell empty if it is "
      "missing."
    )
  return _finite(cells, name, values, np.array(numbers, float))


def _finite(
  cells: Cells, name: str, values: Sequence[Cell], numbers: np.ndarray
) -> Column:
  # NumPy has None for NaN.
  infinite = np.flatnonzero(np.isinf(numbers))
  if len(infinite):
    raise ValueError(
      f"{cells.places[infinite[0]]}: column {name!r} must hold finite numbers, "
      f"got {values[infinite[0]]!r}."
    )
  return Column(name, numbers)


def _found(
  values: Sequence[Cell], numbers: Sequence[float | None], words: bool
) -> Kind:
  """The kind of a column of which nobody says it.

  Words make it one of categories. But one of numbers with a slip in it stays
  one of numbers, so that the slip is named: where they are at least half, and
  too many, or with too many decimals, to be codes.
  """
  present = [text(value) for value in values if value is not None]
  if not words:
    return None
  found = [x for x in numbers if x is not None and math.isfinite(x)]
  codes = len(set(found)) <= _CODES and all(x.is_integer() for x in found)
  if 2 * len(found) >= len(present) and found and not codes:
    return None
  return tuple(sorted(set(present)))


def _numbers_its_rows(column: Column) -> bool:
  values = column.values
  if column.categories is None:
    # Other than whole numbers often differ, and tell something.
    if np.isnan(values).any() or np.ptp(values) < len(values) - 1:
      return False
    if (values != np.round(values)).any():
      return False
  elif (values < 0).any() or len(column.categories) < len(values):
    return False
  return len(values) > 2 and len(np.unique(values)) == len(values)


def _some(texts: Sequence[str], count: int = 40) -> str:
  more = [f"and {len(texts) - count} more"] if len(texts) > count else []
  return ", ".join([*texts[:count], *more])
