"""Cells to columns and classes: what is found out, and what is refused."""

import numpy as np
import pytest

from experiments.inputs.tabular import table
from experiments.inputs.tabular.cells import Cells
from experiments.inputs.tabular.table import Column, Table


def cells(names, *rows, kinds=None):
  places = [f"f.csv, line {k + 2}" for k in range(len(rows))]
  return Cells("f.csv", names, [list(row) for row in rows], places, kinds or {})


def columns(*rows, **options):
  found = table.from_cells(cells(["x", "y"], *rows, **options), "y")
  return found.columns[0]


def test_a_table_by_hand():
  found = table.from_cells(
    cells(
      ["size", "y", "colour"],
      ["1.5", "b", "red"],
      [None, "a", "blue"],
      ["-2e1", "b", None],
    ),
    "y",
  )
  size, colour = found.columns
  assert (size.name, size.categories) == ("size", None)
  np.testing.assert_array_equal(size.values, [1.5, np.nan, -20.0])
  assert (colour.name, colour.categories) == ("colour", ("blue", "red"))
  np.testing.assert_array_equal(colour.values, [1, 0, -1])
  assert found.classes == ("a", "b")
  np.testing.assert_array_equal(found.labels, [1, 0, 1])
  assert found.labels.dtype == np.int32


def test_classes_are_in_the_order_of_numbers_if_all_are():
  found = table.from_cells(
    cells(["x", "y"], ["1", "10"], ["2", "9"], ["3", "9.0"], ["4", "-1"]), "y"
  )
  assert found.classes == ("-1", "9", "10")
  np.testing.assert_array_equal(found.labels, [2, 1, 1, 0])
  found = table.from_cells(
    cells(["x", "y"], ["1", "10"], ["2", "9"], ["3", "no"]), "y"
  )
  assert found.classes == ("10", "9", "no")


def test_words_among_codes_are_categories():
  column = columns(["1", "a"], ["2", "b"], ["3+", "a"], ["2", "a"])
  assert column.categories == ("1", "2", "3+")
  np.testing.assert_array_equal(column.values, [0, 1, 2, 1])
  codes = [str(k) for k in range(20)]
  column = columns(*([x, "ab"[x == "0"]] for x in [*codes, "more"]))
  assert set(column.categories) == {*codes, "more"}
  column = columns(["inf", "a"], ["sup", "b"], ["inf", "a"])
  assert column.categories == ("inf", "sup")
  # Most are words.
  column = columns(["1.5", "a"], ["x", "b"], ["y", "a"])
  assert column.categories == ("1.5", "x", "y")


@pytest.mark.parametrize(
  "numbers", [["1.5", "2", "3"], [str(k) for k in range(21)]]
)
def test_a_word_among_numbers_is_a_slip_and_named(numbers):
  rows = [[x, "ab"[k % 2]] for k, x in enumerate(numbers)]
  with pytest.raises(ValueError, match=r"f.csv, line 3: column 'x' .* '2,5'"):
    columns(rows[0], ["2,5", "a"], *rows[1:])


def test_a_kind_that_is_known_is_kept():
  column = columns(["1", "a"], ["0", "b"], kinds={"x": ("0", "1", "2")})
  assert column.categories == ("0", "1", "2")
  np.testing.assert_array_equal(column.values, [1, 0])
  with pytest.raises(ValueError, match="line 3: .* one of 0, 1; got '2'"):
    columns(["1", "a"], ["2", "b"], kinds={"x": ("0", "1")})
  with pytest.raises(ValueError, match="line 3: column 'x' holds numbers"):
    columns(["1", "a"], ["two", "b"], kinds={"x": None})


def test_a_column_of_nothing_is_one_of_numbers():
  column = columns([None, "a"], [None, "b"])
  assert column.categories is None and np.isnan(column.values).all()


@pytest.mark.parametrize("text", ["inf", "-Infinity", "1e999"])
def test_infinite_numbers_are_refused(text):
  with pytest.raises(ValueError, match="line 3: column 'x' must hold finite"):
    columns(["1", "a"], [text, "b"])


@pytest.mark.parametrize(
  ("names", "rows", "target", "message"),
  [
    ("xy", [["1", None], ["2", "b"]], "y", "line 2: the target 'y' is missing"),
    ("xy", [["1", "b"], ["2", "b"]], "y", "two classes or more, got b only"),
    ("xy", [["1", "1"], ["2", "1.0"]], "y", "two classes or more, got 1 only"),
    ("xy", [["1", "b"]], "z", "no column 'z'; it has x, y"),
    ("xy", [["1", "b"]], "", "target: name the column .*; it has x, y"),
    ("xx", [["1", "b"]], "x", "names must differ, got 'x' more than once"),
    ("xy", [], "y", "f.csv has no rows of data"),
    ("y", [["a"], ["b"]], "y", "no column beside the target 'y'"),
  ],
)
def test_what_is_no_table_of_classes_is_refused(names, rows, target, message):
  with pytest.raises(ValueError, match=message):
    table.from_cells(cells(list(names), *rows), target)


def test_classes_and_counts_are_told_and_ids_warned_of(caplog):
  n = 6
  kept = Column("kept", np.arange(n) / 7.0)
  sparse = Column("sparse", np.array([1.0, 9.0, 2.0, 3.0, np.nan, 4.0]))
  code = Column("code", np.array([4.0, 9.0, 1.0, 2.0, 2.0, 3.0]))
  row_id = Column("row_id", np.arange(n)[::-1].astype(float))
  names = Column("who", np.arange(n), tuple("abcdef"))
  labels = np.array([0, 1, 1, 1, 0, 1], np.int32)
  with caplog.at_level("INFO", logger="absl"):
    table.report(
      Table("t", (kept, sparse, code, row_id, names), labels, ("n", "y"))
    )
  told, *warned = [record.getMessage() for record in caplog.records]
  assert told == (
    "t: 6 rows, 5 columns (of categories: who); classes n: 2, y: 4."
  )
  assert [w.split("'")[1] for w in warned] == ["row_id", "who"]
