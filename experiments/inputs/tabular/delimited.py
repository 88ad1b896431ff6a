"""Files of delimited text: any CSV with a header, and UCI's without one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
import csv
import io
import pathlib
import re

from experiments.inputs.tabular.cells import MISSING, Cell, Cells, Kind

_DELIMITERS = (",", ";", "\t")
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")


def read_csv(path: pathlib.Path) -> Cells:
  """Reads a CSV file whose first line names the columns.

  UTF-8, with or without a mark; commas, semicolons or tabs, whichever divides
  the header into the most names; fields may be quoted, also over several lines,
  and are stripped. Between semicolons a decimal may have a comma. Empty lines
  are left out, and a column without a name is called after its place, "column
  1" (as the index that pandas writes).

  Args:
    path: the file.

  Raises:
    FileNotFoundError: if there is none.
    ValueError: if it is no such file; naming the line.
  """
  whole = read_text(path)
  delimiter = _delimiter(path, whole)
  lines, rows = [], []
  for line, fields in _records(path, whole, delimiter):
    lines.append(line)
    rows.append(fields)
  if not rows:
    raise ValueError(f"{path} is empty: expected a header and rows of data.")
  names = [name or f"column {k}" for k, name in enumerate(rows.pop(0), start=1)]
  first = lines.pop(0)
  if len(names) < 2:
    raise ValueError(
      f"{path}, line {first}: expected a header of two names or more, divided "
      f"by commas, semicolons or tabs; got {names[0]!r}."
    )
  _check_widths(path, rows, lines, len(names))
  comma = delimiter == ";"
  cells = [[_cell(field, comma) for field in row] for row in rows]
  return Cells(str(path), names, cells, places(path, lines), {})


def read_uci(
  path: pathlib.Path,
  names: Sequence[str],
  kinds: Mapping[str, Kind],
  *,
  delimiter: str | None = ",",
) -> Cells:
  """Reads a file in which every line is a row, as UCI publishes them.

  Args:
    path: the file.
    names: of its columns.
    kinds: of all of them.
    delimiter: None: any white space, as in columns of fixed width.

  Raises:
    ValueError: if a row has more or fewer fields; naming the line.
  """
  lines, rows = [], []
  for line, row in enumerate(io.StringIO(read_text(path)), start=1):
    if row.strip():
      lines.append(line)
      rows.append([field.strip() for field in row.split(delimiter)])
  _check_widths(path, rows, lines, len(names))
  cells = [[_cell(field) for field in row] for row in rows]
  return Cells(str(path), names, cells, places(path, lines), kinds)


def places(path: pathlib.Path, lines: Iterable[int]) -> list[str]:
  """Returns "FILE, line 7" for each line."""
  return [f"{path}, line {line}" for line in lines]


def read_text(path: pathlib.Path) -> str:
  """Returns a file's text, less the mark of UTF-8.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if it is not UTF-8; naming the line.
  """
  if not path.is_file():
    raise FileNotFoundError(f"{path} is missing, or is no file.")
  raw = path.read_bytes()
  try:
    return raw.decode("utf-8-sig")
  except UnicodeDecodeError as error:
    line = raw[: error.start].count(b"\n") + 1
    raise ValueError(
      f"{path}, line {line}: expected UTF-8, got the byte "
      f"0x{raw[error.start]:02x}; save the file as UTF-8."
    ) from None


def _delimiter(path: pathlib.Path, whole: str) -> str:
  head = next((line for line in io.StringIO(whole) if line.strip()), "")

  def fields(delimiter: str) -> int:
    try:
      ((_, found),) = _records(path, head, delimiter)
    except ValueError:  # a quoted name goes on in the next line
      return head.count(delimiter)
    return len(found)

  return max(_DELIMITERS, key=fields)


def _records(
  path: pathlib.Path, whole: str, delimiter: str
) -> Iterator[tuple[int, list[str]]]:
  """Yields each record that is not empty, with the line where it begins."""
  reader = csv.reader(
    io.StringIO(whole, newline=""),
    delimiter=delimiter,
    skipinitialspace=delimiter != "\t",
    strict=True,
  )
  line = 1
  try:
    for fields in reader:
      # A lone blank may be all that an empty line has.
      if any(field.strip() for field in fields) or len(fields) > 1:
        yield line, [field.strip() for field in fields]
      line = reader.line_num + 1
  except csv.Error as error:
    raise ValueError(
      f"{path}, line {line}: {error}; is a quote not closed?"
    ) from None


def _check_widths(
  path: pathlib.Path, rows: list[list[str]], lines: list[int], width: int
) -> None:
  for line, row in zip(lines, rows, strict=True):
    if len(row) != width:
      raise ValueError(
        f"{path}, line {line}: expected {width} fields, got {len(row)}."
      )


def _cell(field: str, decimal_comma: bool = False) -> Cell:
  if field in MISSING:
    return None
  if decimal_comma and _DECIMAL_COMMA.fullmatch(field):
    return field.replace(",", ".")
  return field
