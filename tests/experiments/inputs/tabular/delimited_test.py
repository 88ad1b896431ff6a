"""CSV files as they come, and UCI's lines."""

import csv
import io
import math

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from experiments.inputs.tabular import delimited
from experiments.inputs.tabular.cells import MISSING


@pytest.fixture
def read(tmp_path):
  def write_and_read(content):
    raw = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "f.csv").write_bytes(raw)
    return delimited.read_csv(tmp_path / "f.csv")

  return write_and_read


def test_a_file_by_hand(read):
  cells = read('a,b,y\n1,"x, ""1""",u\n\n ?,  ,NaN\nNA, "two\nlines",v\n')
  assert cells.names == ["a", "b", "y"]
  assert cells.rows == [
    ["1", 'x, "1"', "u"],
    [None, None, None],
    [None, "two\nlines", "v"],
  ]
  assert [p.rpartition("f.csv, ")[2] for p in cells.places] == [
    "line 2",
    "line 4",
    "line 5",
  ]
  assert cells.kinds == {}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiters_marks_and_line_ends(read, delimiter, mark, end):
  lines = [["a b", '"c,;\td"', "y"], ["1", "", "u"], ["2", "w", "v"]]
  text = end.join(delimiter.join(line) for line in lines)
  cells = read(mark + text)  # no end after the last line
  assert cells.names == ["a b", "c,;\td", "y"]
  assert cells.rows == [["1", None, "u"], ["2", "w", "v"]]


def test_a_decimal_comma_is_one_between_semicolons_only(read):
  assert read("x;y\n1,5;a,b\n-,25;1,2,3\n").rows == [
    ["1.5", "a,b"],
    ["-.25", "1,2,3"],
  ]
  assert read('x,y\n"1,5",a\n').rows == [["1,5", "a"]]


def test_a_column_without_a_name_is_called_after_its_place(read):
  assert read(",x,\n0,1,2\n").names == ["column 1", "x", "column 3"]


@pytest.mark.parametrize(
  ("content", "message"),
  [
    ("", "f.csv is empty"),
    ("\ufeff\n \n", "f.csv is empty"),
    ("x y\n1 2\n", "line 1: expected a header of two names .* got 'x y'"),
    ("x,y\n1,2\n\n3\n", "line 4: expected 2 fields, got 1"),
    ("x,y\n1,2,3\n", "line 2: expected 2 fields, got 3"),
    ('x,y\n"1\n2",a\n1\n', "line 4: expected 2 fields, got 1"),
    ('x,y\n1,2\n3,"a\n4,b\n', "line 3: .*is a quote not closed"),
    (b"x,y\n1,a\n2,caf\xe9\n", "line 3: expected UTF-8, got the byte 0xe9"),
    ("x,y\n1,a\n".encode("utf-16"), "line 1: expected UTF-8"),
  ],
)
def test_what_is_no_csv_file_is_named(read, content, message):
  with pytest.raises(ValueError, match=message):
    read(content)


def test_a_missing_file_is_named(tmp_path):
  with pytest.raises(FileNotFoundError, match="none.csv is missing"):
    delimited.read_csv(tmp_path / "none.csv")
  with pytest.raises(FileNotFoundError, match="is no file"):
    delimited.read_csv(tmp_path)


# A lone surrogate has no UTF-8; what may be stripped is tested by hand.
WORDS = st.text(
  st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), max_size=6
)
NUMBERS = st.floats(allow_infinity=False).map(repr)


@settings(deadline=None)
@given(
  width=st.integers(2, 4),
  data=st.data(),
  delimiter=st.sampled_from([",", ";", "\t"]),
  end=st.sampled_from(["\n", "\r\n"]),
  mark=st.booleans(),
  quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_what_pythons_csv_writes_is_read(
  tmp_path_factory, width, data, delimiter, end, mark, quoting
):
  names = [f"column {k}" for k in range(width)]
  cell = st.one_of(WORDS, NUMBERS)
  rows = data.draw(
    st.lists(st.lists(cell, min_size=width, max_size=width), min_size=1)
  )
  file = io.StringIO()
  writer = csv.writer(
    file, delimiter=delimiter, lineterminator=end, quoting=quoting
  )
  writer.writerows([names, *rows])
  path = tmp_path_factory.getbasetemp() / "round_trip.csv"
  path.write_bytes(file.getvalue().encode("utf-8-sig" if mark else "utf-8"))
  cells = delimited.read_csv(path)
  assert cells.names == names

  def expected(text):
    if text in MISSING:
      return None
    number = delimiter == ";" and delimited._DECIMAL_COMMA.fullmatch(text)
    return text.replace(",", ".") if number else text

  assert cells.rows == [[expected(text) for text in row] for row in rows]
  for k, row in enumerate(rows):
    for text, read in zip(row, cells.rows[k], strict=True):
      if text == "nan":
        assert read is None and math.isnan(float(text))


def test_ucis_lines(tmp_path):
  path = tmp_path / "set.data"
  path.write_bytes(b" 47,100, a\r\n\n  0,  ?, b\n\n")
  cells = delimited.read_uci(path, ["u", "v", "y"], {"u": None})
  assert cells.rows == [["47", "100", "a"], ["0", None, "b"]]
  assert cells.places[1].endswith("set.data, line 3")
  path.write_text("  1.0   2.0\n -3.0  44.0\n")
  cells = delimited.read_uci(path, ["u", "v"], {}, delimiter=None)
  assert cells.rows == [["1.0", "2.0"], ["-3.0", "44.0"]]
  path.write_text("  1.0   2.0\n -3.0\n")
  with pytest.raises(ValueError, match="set.data, line 2: expected 2 f.* got"):
    delimited.read_uci(path, ["u", "v"], {}, delimiter=None)
