import numpy as np
import pytest

from experiments.inputs.tfrecords import order
from experiments.inputs.tfrecords.order import Piece

PIECES = [Piece("a", 0, 5), Piece("b", 2, 4), Piece("c", 0, 1)]


def listed(pieces):
  """Every (file, record) of the pieces, in order."""
  return [(name, skip + i) for name, skip, take in pieces for i in range(take)]


def stream(pieces, entropy, group_size, position, num):
  """The first `num` (file, record) from a position on."""
  result = []
  groups = order.shuffled_groups(pieces, entropy, group_size, position)
  while len(result) < num:
    group, rows = next(groups)
    group = listed(group)
    result += [group[i] for i in rows]
  return result[:num]


def test_share_by_hand():
  equal = [order.share(11, i, 3, equal=True) for i in range(3)]
  assert equal == [(0, 3), (3, 6), (6, 9)]
  every = [order.share(11, i, 3, equal=False) for i in range(3)]
  assert every == [(0, 3), (3, 7), (7, 11)]
  assert [order.share(1, i, 3, equal=False) for i in range(3)] == [
    (0, 0),
    (0, 0),
    (0, 1),
  ]


def test_slice_pieces_by_hand():
  assert order.slice_pieces(PIECES, 3, 8, longest=10) == [
    Piece("a", 3, 2),
    Piece("b", 2, 3),
  ]
  assert order.slice_pieces(PIECES, 0, 10, longest=3) == [
    Piece("a", 0, 3),
    Piece("a", 3, 2),
    Piece("b", 2, 3),
    Piece("b", 5, 1),
    Piece("c", 0, 1),
  ]
  assert order.slice_pieces(PIECES, 4, 4, longest=3) == []


@pytest.mark.parametrize("group_size", [5, 6, 100])
def test_groups_hold_every_piece_once_and_fit(group_size):
  groups = order.epoch_groups(PIECES, (0,), group_size)
  assert sorted(sum(groups, [])) == PIECES
  sizes = [sum(piece.take for piece in group) for group in groups]
  assert 0 < min(sizes) and max(sizes) <= group_size
  assert (len(groups) == 1) == (group_size == 100)


def test_file_order_changes_with_the_entropy():
  orders = {
    tuple(sum(order.epoch_groups(PIECES, (0, 0, 0, e), 5), []))
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
    drawn = tuple(epoch[:, 1])
    counts[drawn] = counts.get(drawn, 0) + 1
  # 4.5 standard errors of a share of 1/6.
  error = 4.5 * (num * 5 / 36) ** 0.5
  assert len(counts) == 6
  assert max(abs(count - num / 6) for count in counts.values()) < error


def test_locates_every_position_of_the_plan():
  drawn = stream(PIECES, (1, 0, 0), 6, 0, 30)
  for position, (name, number) in enumerate(drawn):
    piece, within = order.locate(PIECES, (1, 0, 0), 6, position)
    assert (piece.filename, piece.skip + within) == (name, number)


def test_nth_by_hand():
  found = [order.nth(PIECES, number) for number in (0, 4, 5, 8, 9)]
  a, b, c = PIECES
  assert found == [(a, 0), (a, 4), (b, 0), (b, 3), (c, 0)]
  with pytest.raises(IndexError):
    order.nth(PIECES, 10)
