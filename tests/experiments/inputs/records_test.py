import sys

import numpy as np
import pytest

from experiments.inputs import records
from experiments.inputs.records import Piece

PIECES = [Piece("a", 0, 5), Piece("b", 2, 4), Piece("c", 0, 1)]


def listed(pieces):
  """Every (file, record) of the pieces, in order."""
  return [(name, skip + i) for name, skip, take in pieces for i in range(take)]


def stream(pieces, entropy, group_size, position, num):
  """The first `num` (file, record) from a position on."""
  result = []
  groups = records.shuffled_groups(pieces, entropy, group_size, position)
  while len(result) < num:
    group, order = next(groups)
    group = listed(group)
    result += [group[i] for i in order]
  return result[:num]


def test_share_by_hand():
  equal = [records.share(11, i, 3, equal=True) for i in range(3)]
  assert equal == [(0, 3), (3, 6), (6, 9)]
  every = [records.share(11, i, 3, equal=False) for i in range(3)]
  assert every == [(0, 3), (3, 7), (7, 11)]
  assert [records.share(1, i, 3, equal=False) for i in range(3)] == [
    (0, 0),
    (0, 0),
    (0, 1),
  ]


def test_slice_pieces_by_hand():
  assert records.slice_pieces(PIECES, 3, 8, longest=10) == [
    Piece("a", 3, 2),
    Piece("b", 2, 3),
  ]
  assert records.slice_pieces(PIECES, 0, 10, longest=3) == [
    Piece("a", 0, 3),
    Piece("a", 3, 2),
    Piece("b", 2, 3),
    Piece("b", 5, 1),
    Piece("c", 0, 1),
  ]
  assert records.slice_pieces(PIECES, 4, 4, longest=3) == []


@pytest.mark.parametrize("group_size", [5, 6, 100])
def test_groups_hold_every_piece_once_and_fit(group_size):
  groups = records.epoch_groups(PIECES, (0,), group_size)
  assert sorted(sum(groups, [])) == PIECES
  sizes = [sum(piece.take for piece in group) for group in groups]
  assert 0 < min(sizes) and max(sizes) <= group_size
  assert (len(groups) == 1) == (group_size == 100)


def test_file_order_changes_with_the_entropy():
  orders = {
    tuple(sum(records.epoch_groups(PIECES, (0, 0, 0, e), 5), []))
    for e in range(40)
  }
  assert len(orders) == 6  # all 3!, each of probability 1/6


@pytest.mark.parametrize("group_size", [5, 6, 100])
@pytest.mark.parametrize("position", [1, 5, 9, 10, 17, 31])
def test_stream_from_a_position_is_the_stream_from_there(group_size, position):
  whole = stream(PIECES, (3, 0, 0), group_size, 0, position + 25)
  part = stream(PIECES, (3, 0, 0), group_size, position, 25)
  assert part == whole[position:]


def test_every_epoch_is_a_permutation_of_its_own():
  drawn = stream(PIECES, (0, 0, 0), 6, 0, 50)
  epochs = [tuple(drawn[i : i + 10]) for i in range(0, 50, 10)]
  for epoch in epochs:
    assert sorted(epoch) == listed(PIECES)
  assert len(set(epochs)) == 5


def test_order_within_a_group_is_uniform():
  piece = [Piece("a", 0, 3)]
  counts = {}
  num = 1200
  for epoch in np.reshape(stream(piece, (0, 0, 0), 3, 0, 3 * num), (num, 3, 2)):
    order = tuple(epoch[:, 1])
    counts[order] = counts.get(order, 0) + 1
  # 4.5 standard errors of a share of 1/6.
  error = 4.5 * (num * 5 / 36) ** 0.5
  assert len(counts) == 6
  assert max(abs(count - num / 6) for count in counts.values()) < error


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
  assert read == [f"{n}{i}".encode() for n, i in listed(PIECES)]


def test_no_pieces_hold_no_records():
  pytest.importorskip("tensorflow")
  assert list(records.read([]).as_numpy_iterator()) == []


@pytest.mark.parametrize("position", [0, 7, 13])
def test_read_shuffled_is_the_plan(files, position):
  order = on_disk(files), (1, 0, 0), 6
  read = records.read_shuffled(*order, position).take(30).as_numpy_iterator()
  drawn = stream(PIECES, (1, 0, 0), 6, position, 30)
  assert list(read) == [f"{name}{i}".encode() for name, i in drawn]


def test_locates_every_position_of_the_plan():
  drawn = stream(PIECES, (1, 0, 0), 6, 0, 30)
  for position, (name, number) in enumerate(drawn):
    piece, within = records.locate(PIECES, (1, 0, 0), 6, position)
    assert (piece.filename, piece.skip + within) == (name, number)


def test_nth_by_hand():
  found = [records.nth(PIECES, number) for number in (0, 4, 5, 8, 9)]
  a, b, c = PIECES
  assert found == [(a, 0), (a, 4), (b, 0), (b, 3), (c, 0)]
  with pytest.raises(IndexError):
    records.nth(PIECES, 10)


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
  _, order = next(records.shuffled_groups(pieces, (2,), 20, 0))
  group = records.epoch_groups(pieces, (2, 0), 20)[0]
  if group[0].filename == files["a"]:
    names = names[6:] + names[:6]
  assert list(shuffled.as_numpy_iterator()) == [names[i] for i in order]


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


@pytest.mark.parametrize(
  "missing", ["tensorflow", "tensorflow_datasets", "importlib_resources"]
)
def test_missing_tensorflow_says_what_to_install(monkeypatch, missing):
  monkeypatch.setitem(sys.modules, missing, None)
  with pytest.raises(ImportError, match=r"pip install -e '\.\[tfds\]'"):
    records.import_tensorflow()
