"""The sets of MixupE's section 3.2: from hand-made files, and the real ones."""

import gzip
import shutil

import numpy as np
import pytest

from experiments.inputs.tabular import named
from experiments.inputs.tabular.uci import SETS, Known


@pytest.fixture
def toy(monkeypatch):
  """A set of six rows: a letter in front, a number and a flag."""
  known = Known(
    rows=6,
    features=2,
    classes=2,
    target="class",
    openml=999,
    arff="to-y",
    files=("to-y.tra", "to-y.tes"),
    folder="to-y",
    uci=9,
    position=0,
    categories={1: ("0", "1")},
  )
  monkeypatch.setitem(SETS, "toy", known)
  return known


ROWS = ["b,3,0", "a,2,1", "a,1,1", "b,5,0", "b,4,1", "a,6,0"]
ARFF = (
  "@relation t\n@attribute 'class' {a,b,never}\n@attribute n real\n"
  "@attribute f integer\n@data\n"
)


def write(folder, rows, cut=4):
  folder.mkdir(parents=True, exist_ok=True)
  (folder / "to-y.tra").write_text("\n".join(rows[:cut]) + "\n")
  (folder / "to-y.tes").write_text("\n".join(rows[cut:]) + "\n")


def by_hand(table):
  assert table.classes == ("a", "b")
  number, flag = table.columns
  assert flag.categories == ("0", "1")
  # By flag, then by number.
  np.testing.assert_array_equal(flag.values, [0, 0, 0, 1, 1, 1])
  np.testing.assert_array_equal(number.values, [3, 5, 6, 1, 2, 4])
  np.testing.assert_array_equal(table.labels, [1, 1, 0, 0, 0, 1])


@pytest.mark.parametrize("place", ["", "toy", "to-y"])
def test_ucis_files_are_one_table_in_the_order_of_its_values(
  tmp_path, toy, place
):
  write(tmp_path / place, ROWS)
  by_hand(named.load("toy", str(tmp_path)))


@pytest.mark.parametrize("place", ["", "toy", "to-y", "openml-arff"])
def test_openmls_copy_is_the_same_table(tmp_path, toy, place):
  (tmp_path / place).mkdir(exist_ok=True)
  text = ARFF + "\n".join(reversed(ROWS))
  (tmp_path / place / "to-y.arff").write_text(text)
  by_hand(named.load("toy", str(tmp_path)))


def test_a_home_is_expanded(tmp_path, toy, monkeypatch):
  monkeypatch.setenv("HOME", str(tmp_path))
  write(tmp_path / "data", ROWS)
  by_hand(named.load("toy", "~/data"))


def test_labels_are_blocks_of_rows_where_the_files_have_none(
  tmp_path, monkeypatch, toy
):
  monkeypatch.setitem(SETS, "toy", toy._replace(position=None, delimiter=None))
  write(tmp_path, [" 1  0", " 3  1", " 2  0", " 6  0", " 5  1", " 4  1"])
  table = named.load("toy", str(tmp_path))
  assert table.classes == ("0", "1")
  numbers, labels = table.columns[0].values, table.labels
  assert sorted(numbers[labels == 0]) == [1, 2, 3]


def test_missing_files_say_which_and_where_from(tmp_path, toy):
  write(tmp_path, ROWS)
  (tmp_path / "to-y.tes").unlink()
  with pytest.raises(FileNotFoundError) as error:
    named.load("toy", str(tmp_path))
  told = str(error.value)
  for part in (
    "dataset='toy': no to-y.tra and to-y.tes, and no to-y.arff in any of ",
    f"{tmp_path}/toy, {tmp_path}/to-y, {tmp_path}/openml-arff. ",
    "archive.ics.uci.edu/dataset/9, or the last from openml.org/d/999, ",
    "--config.data_dir",
  ):
    assert part in told


@pytest.mark.parametrize(
  ("rows", "message"),
  [
    (ROWS[:-1], "toy has 6 rows, got 5; the file is cut short"),
    ([*ROWS, ROWS[0]], "toy has 6 rows, got 7"),
    ([*ROWS[:-1], "a,6"], "to-y.tes, line 2: expected 3 fields, got 2"),
    ([*ROWS[:-1], "a,6,2"], "to-y.tes, line 2: .* one of 0, 1; got '2'"),
    ([*ROWS[:-1], "a,six,1"], "to-y.tes, line 2: .*holds numbers, got 'six'"),
    ([*ROWS[:-1], "c,6,1"], "toy has 2 classes, got 3"),
    ([*ROWS[:-1], "?,6,1"], "to-y.tes, line 2: the target 'class' is missing"),
  ],
)
def test_what_is_not_the_whole_set_is_refused(tmp_path, toy, rows, message):
  write(tmp_path, rows)
  with pytest.raises(ValueError, match=message):
    named.load("toy", str(tmp_path))


def test_a_copy_of_other_columns_is_refused(tmp_path, toy):
  text = ARFF.replace("@data", "@attribute z real\n@data")
  rows = "\n".join(f"{row},0" for row in ROWS)
  (tmp_path / "to-y.arff").write_text(f"{text}{rows}\n")
  with pytest.raises(ValueError, match="toy has 2 columns .*, got 3"):
    named.load("toy", str(tmp_path))


def test_an_unknown_target_is_refused(tmp_path):
  with pytest.raises(ValueError, match="one of rings, rings3 .*got 'sex'"):
    named.load("abalone", str(tmp_path), "sex")
  with pytest.raises(ValueError, match="one of class for dataset='iris'"):
    named.load("iris", str(tmp_path), "species")


@pytest.mark.parametrize(
  "name", [name for name, known in SETS.items() if known.files]
)
def test_the_real_files_are_what_is_known_of_them(shared, name):
  table = named.load(name, str(shared / "uci"))
  known = SETS[name]
  assert len(table.labels) == known.rows
  assert len(table.columns) == known.features
  kinds = {
    k: column.categories
    for k, column in enumerate(table.columns)
    if column.categories is not None
  }
  assert kinds == known.categories
  copy = shared / "uci" / "openml-arff" / f"{known.arff}.arff"
  if copy.exists():
    other = named.load(name, str(copy.parent))
    np.testing.assert_array_equal(table.labels, other.labels)
    for a, b in zip(table.columns, other.columns, strict=True):
      np.testing.assert_array_equal(a.values, b.values)
      assert a.categories == b.categories


def test_the_real_files_have_the_published_counts(shared):
  folder = str(shared / "uci")

  def counts(*args):
    table = named.load(*args)
    return dict(zip(table.classes, np.bincount(table.labels), strict=True))

  assert counts("cmc", folder) == {"1": 629, "2": 333, "3": 511}
  assert counts("balance_scale", folder) == {"L": 288, "B": 49, "R": 288}
  assert counts("mfeat_zernike", folder) == {str(k): 200 for k in range(10)}
  rings = counts("abalone", folder)
  assert rings == counts("abalone", folder, "rings")
  assert (len(rings), rings["1"], rings["9"], rings["29"]) == (28, 1, 689, 1)
  # The cut of the set's documentation: 1-8, 9 and 10, 11 and more.
  assert counts("abalone", folder, "rings3") == {
    "below 9": 1407,
    "from 9 to below 11": 1323,
    "from 11": 1447,
  }
  arrhythmia = named.load("arrhythmia", folder)
  missing = [
    np.sum(np.isnan(c.values) if c.categories is None else c.values < 0)
    for c in arrhythmia.columns
  ]
  assert sum(missing) == 408


def test_mnist_as_a_table(shared):
  folder = shared / "mnist"
  if not folder.is_dir():
    pytest.skip("no mnist: set JAXMIX_SHARED_DATA to its parent")
  table = named.load_mnist(str(shared))
  assert len(table.columns) == 784
  assert table.classes == tuple("0123456789")
  # The published counts of the training and the test images together.
  assert np.bincount(table.labels).tolist() == [
    *(6903, 7877, 6990, 7141, 6824, 6313, 6876, 7293, 6825, 6958)
  ]
  first = np.array([column.values[0] for column in table.columns])
  with gzip.open(folder / "train-images-idx3-ubyte.gz") as file:
    np.testing.assert_array_equal(
      first, np.frombuffer(file.read(16 + 784)[16:], np.uint8)
    )


def test_mnist_that_is_missing_or_another_set_is_named(tmp_path):
  with pytest.raises(FileNotFoundError, match="t10k-labels-idx1-ubyte.gz in"):
    named.load_mnist(str(tmp_path))
  for name in named._MNIST_FILES:
    shape = (2, 28, 28) if "images" in name else (2,)
    head = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">i4").tobytes()
    with gzip.open(tmp_path / name, "wb") as file:
      file.write(head + bytes(int(np.prod(shape))))
  with pytest.raises(ValueError, match="mnist_784 has 70,000 images, got 4"):
    named.load_mnist(str(tmp_path))


def test_a_real_file_cut_short_is_refused(shared, tmp_path):
  shutil.copy(shared / "uci/iris/iris.data", tmp_path / "iris.data")
  whole = (tmp_path / "iris.data").read_text()
  lines = whole.rstrip().splitlines(keepends=True)
  (tmp_path / "iris.data").write_text("".join(lines[:-1]))
  with pytest.raises(ValueError, match="iris has 150 rows, got 149"):
    named.load("iris", str(tmp_path))
  (tmp_path / "iris.data").write_text(whole.rstrip()[:-1])
  with pytest.raises(ValueError, match="iris has 3 classes, got 4"):
    named.load("iris", str(tmp_path))
