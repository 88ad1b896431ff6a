"""ARFF, the format of Weka and of OpenML: columns say what they hold."""

from __future__ import annotations

from collections.abc import Iterator
import io
import pathlib
import re

from experiments.inputs.tabular import delimited
from experiments.inputs.tabular.cells import Cell, Cells, Kind

_INTEGER = re.compile(r"^(\s*@attribute\s.*)\sinteger\s*$", re.IGNORECASE)


def read(path: pathlib.Path) -> Cells:
  """Reads an ARFF file, dense or sparse.

  Nominal columns have the categories that the file declares, also those that no
  row has; columns of strings are looked through as a CSV file's are.

  Args:
    path: the file.

  Raises:
    FileNotFoundError: if there is none.
    ValueError: if it is no ARFF file, naming the line.
  """
  # scikit-learn keeps liac-arff, whose own releases ended in 2020. SciPy's
  # reader knows no strings, no sparse rows and no quoted commas, and takes rows
  # that are too long.
  from sklearn.externals import _arff as liac

  lines = _Lines(delimited.read_text(path))
  numbers: list[int] = []
  rows: list[list[Cell]] = []
  try:
    decoded = liac.load(lines, return_type=liac.DENSE_GEN)
    for row in decoded["data"]:
      numbers.append(lines.number)
      # A number that is none is how some programs write that it is missing.
      rows.append(
        [None if x != x else x.strip() if type(x) is str else x for x in row]
      )
  except liac.ArffException as error:
    error.line = lines.number  # which rows that are read one by one leave unset
    raise ValueError(f"{path} is no ARFF file: {error}") from None
  kinds: dict[str, Kind] = {}
  for name, declared in decoded["attributes"]:
    if isinstance(declared, list):
      kinds[name] = tuple(value.strip() for value in declared)
    elif declared.upper() != "STRING":
      kinds[name] = None
  names = [name for name, _ in decoded["attributes"]]
  places = delimited.places(path, numbers)
  return Cells(str(path), names, rows, places, kinds)


class _Lines:
  """A file that says which line was read last."""

  def __init__(self, whole: str):
    self._file = io.StringIO(whole)
    self.number = 0

  def __iter__(self) -> Iterator[str]:
    for line in self._file:
      self.number += 1
      # The reader would cut the decimals of "integers", which are Weka's word
      # for any number.
      yield _INTEGER.sub(r"\1 REAL", line)
