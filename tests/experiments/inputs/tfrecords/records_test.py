import subprocess
import sys

import pytest

from experiments.inputs.tfrecords import order, records
from experiments.inputs.tfrecords.order import Piece

PIECES = [Piece("a", 0, 5), Piece("b", 2, 4), Piece("c", 0, 1)]


@pytest.fixture
def files(tmp_path):
  """Three files with records "a0" .. "a4", "b0" .. "b5", "c0"."""
  tf = pytest.importorskip("tensorflow")
  paths = {}
  for name, size in {"a": 5, "b": 6, "c": 1}.items():
    paths[name] = str(tmp_path / name)
    with tf.io.TFRecordWriter(paths[name]) as writer:
      for i in range(size):
        writer.write(f"{name}{i}".encode())
  return paths


def on_disk(files):
  return [piece._replace(filename=files[piece.filename]) for piece in PIECES]


def test_read_keeps_the_order(files):
  read = list(records.read(on_disk(files)).as_numpy_iterator())
  assert read == [
    *(b"a0", b"a1", b"a2", b"a3", b"a4"),
    *(b"b2", b"b3", b"b4", b"b5"),
    b"c0",
  ]


def test_no_pieces_hold_no_records():
  pytest.importorskip("tensorflow")
  assert list(records.read([]).as_numpy_iterator()) == []


@pytest.mark.parametrize("position", [0, 7, 13])
def test_read_shuffled_is_the_plan(files, position):
  entropy, size = (1, 0, 0), 6
  read = records.read_shuffled(on_disk(files), entropy, size, position)
  for at, record in enumerate(read.take(30).as_numpy_iterator(), position):
    piece, number = order.locate(PIECES, entropy, size, at)
    assert record == f"{piece.filename}{piece.skip + number}".encode()


def cut(path, size):
  with open(path, "rb") as file:
    whole = file.read()
  with open(path, "wb") as file:
    file.write(whole[:size])


# A record is a header of 12 bytes, 2 of ours, and a checksum of 4.
@pytest.mark.parametrize(
  "size, left", [(0, 0), (7, 0), (18, 1), (18 + 11, 1), (2 * 18 + 15, 2)]
)
def test_records_lost_with_a_files_end_are_empty_and_in_their_places(
  files, size, left
):
  cut(files["b"], size)
  pieces = [Piece(files[n], s, t) for n, s, t in [("b", 0, 6), ("a", 0, 5)]]
  names = [f"b{i}".encode() if i < left else b"" for i in range(6)]
  names += [f"a{i}".encode() for i in range(5)]
  read = records.read(pieces, tolerant=True)
  assert list(read.as_numpy_iterator()) == names
  shuffled = records.read_shuffled(pieces, (2,), 20, 0, tolerant=True).take(11)
  _, drawn = next(order.shuffled_groups(pieces, (2,), 20, 0))
  group = order.epoch_groups(pieces, (2, 0), 20)[0]
  if group[0].filename == files["a"]:
    names = names[6:] + names[:6]
  assert list(shuffled.as_numpy_iterator()) == [names[i] for i in drawn]


def test_records_of_a_missing_file_are_empty(files, tmp_path):
  pieces = [Piece(str(tmp_path / "none"), 0, 2), Piece(files["c"], 0, 1)]
  read = records.read(pieces, tolerant=True).as_numpy_iterator()
  assert list(read) == [b"", b"", b"c0"]
  with pytest.raises(Exception, match="none; No such file"):
    next(records.read(pieces).as_numpy_iterator())


def test_batches_number_their_records_in_order(files):
  def example(position, record):
    return {"position": position, "record": record}

  batches = list(
    records.batches(
      records.read(on_disk(files)), example, position=40, batch_size=4
    )
  )
  assert [list(batch["position"]) for batch in batches] == [
    [40, 41, 42, 43],
    [44, 45, 46, 47],
    [48, 49],
  ]
  assert list(batches[1]["record"]) == [b"a4", b"b2", b"b3", b"b4"]


def test_a_tolerant_batch_marks_what_raises(files):
  import tensorflow as tf

  def example(position, record):
    number = tf.strings.to_number(tf.strings.substr(record, 1, 1), tf.int32)
    with tf.control_dependencies([tf.debugging.assert_none_equal(number, 3)]):
      return {"position": position, "number": tf.identity(number)}

  def batches(tolerant):
    return records.batches(
      records.read([Piece(files["a"], 0, 5)]),
      example,
      position=7,
      batch_size=5,
      tolerant=tolerant,
    )

  (batch,) = batches(True)
  assert list(batch["readable"]) == [True, True, True, False, True]
  assert list(batch["number"]) == [0, 1, 2, 0, 4]
  assert list(batch["position"]) == [7, 8, 9, 0, 11]
  with pytest.raises(tf.errors.InvalidArgumentError):
    next(batches(False))


def test_tensorflow_is_imported_without_keras_which_is_there_when_used():
  code = """
import os, sys
from experiments.inputs.tfrecords import records
tf, _ = records.import_tensorflow()
assert "keras" not in sys.modules
assert "TF_USE_LEGACY_KERAS" not in os.environ
assert tf.keras.version().startswith("3.")
"""
  subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
  "missing", ["tensorflow", "tensorflow_datasets", "importlib_resources"]
)
def test_missing_tensorflow_says_what_to_install(monkeypatch, missing):
  monkeypatch.setitem(sys.modules, missing, None)
  with pytest.raises(ImportError, match=r"pip install -e '\.\[tfds\]'"):
    records.import_tensorflow()
