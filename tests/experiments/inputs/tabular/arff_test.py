"""ARFF files, dense and sparse, and what is wrong with them."""

import pytest

from experiments.inputs.tabular import arff


@pytest.fixture
def read(tmp_path):
  def write_and_read(content):
    (tmp_path / "f.arff").write_bytes(content.encode())
    return arff.read(tmp_path / "f.arff")

  return write_and_read


HEAD = """% a comment
@RELATION 'a b'

@attribute x numeric
@ATTRIBUTE 'k %' INTEGER
@attribute note string
@attribute 'the class' {'b, 1', "it's", c }
@DATA
"""


def test_a_file_by_hand(read):
  cells = read(
    HEAD
    + "1.5, 2.5,'hi, there','b, 1'\r\n% between\n\n"
    + '?,?,?,"it\'s"\nnan,1e1,q,c\n'
  )
  assert cells.names == ["x", "k %", "note", "the class"]
  assert cells.kinds == {
    "x": None,
    "k %": None,
    "the class": ("b, 1", "it's", "c"),
  }
  assert cells.rows == [
    [1.5, 2.5, "hi, there", "b, 1"],
    [None, None, None, "it's"],
    [None, 10.0, "q", "c"],
  ]
  assert [place.rpartition(" ")[2] for place in cells.places] == [
    "9",
    "12",
    "13",
  ]


def test_sparse_rows_have_zeros_and_first_categories(read):
  cells = read(
    "@relation r\n@attribute x numeric\n@attribute k {no,yes}\n"
    "@attribute y {a,b}\n@data\n{0 3, 2 b}\n{}\n{1 yes}\n"
  )
  assert cells.rows == [[3.0, "no", "b"], [0.0, "no", "a"], [0.0, "yes", "a"]]


def test_a_byte_order_mark_is_none_of_the_file(read):
  cells = read("\ufeff@relation r\n@attribute x real\n@data\n1\n")
  assert cells.rows == [[1.0]]


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (HEAD + "1,2,a,c\n1,2,a\n", "f.arff is no ARFF file: .* line 10"),
    (HEAD + "1,2,a,c\n1,2,a,c,5\n", "f.arff is no ARFF file: .* line 10"),
    (HEAD + "\n%\n1,two,a,c\n", "Invalid numerical value, at line 11"),
    (HEAD + "1,2,a,d\n", "value d not found in nominal .* at line 9"),
    (HEAD.replace("note", "x"), "name x at line 6, .* in use in line 4"),
    (HEAD.replace("@DATA", ""), "Invalid layout .* line 8"),
    (HEAD.replace("string", "date"), "Bad @ATTRIBUTE type, at line 6"),
    ("", "Invalid layout"),
    ("x,y\n1,2\n", "Invalid layout"),
  ],
)
def test_what_is_no_arff_file_is_named(read, content, message):
  with pytest.raises(ValueError, match=message):
    read(content)


def test_a_missing_file_is_named(tmp_path):
  with pytest.raises(FileNotFoundError, match="none.arff is missing"):
    arff.read(tmp_path / "none.arff")
