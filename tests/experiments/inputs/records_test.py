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


def test_read_shuffled_holds_what_the_plan_says(files):
  for position in (0, 7):
    read = records.read_shuffled(on_disk(files), (1, 0, 0), 6, position)
    read = list(read.take(40).as_numpy_iterator())
    drawn = records.read_shuffled(on_disk(files), (1, 0, 0), 6, position)
    assert read == list(drawn.take(40).as_numpy_iterator())
    # Within a group the files are read in turns, so only whole epochs and
    # the continuation can be compared with the plan.
    epoch = read[10 - position % 10 :][:10]
    assert sorted(epoch) == [f"{n}{i}".encode() for n, i in listed(PIECES)]
    if position == 0:
      whole = read
  assert read[:33] == whole[7:]


def test_a_short_file_is_an_error(files):
  pieces = [Piece(files["a"], 0, 6)]
  with pytest.raises(Exception, match="holds fewer records"):
    next(records.read_shuffled(pieces, (0,), 6, 0).as_numpy_iterator())


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


@pytest.mark.parametrize(
  "missing", ["tensorflow", "tensorflow_datasets", "importlib_resources"]
)
def test_missing_tensorflow_says_what_to_install(monkeypatch, missing):
  monkeypatch.setitem(sys.modules, missing, None)
  with pytest.raises(ImportError, match=r'pip install "jaxmix\[train\]"'):
    records.import_tensorflow()
