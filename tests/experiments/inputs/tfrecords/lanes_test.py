"""Lanes: whose rows are which records."""

import itertools

import pytest

from experiments.inputs.tfrecords import lanes, order
from experiments.inputs.tfrecords.order import Piece

PIECES = [Piece("a", 0, 5), Piece("b", 2, 4), Piece("c", 0, 4)]


def rows(part, group_size, step, num):
  """The first `num` (file, record) of a part from a batch on."""

  def listed():
    for group, drawn in part.groups(group_size, step):
      for i in drawn:
        piece, number = order.nth(group, int(i))
        yield piece.filename, piece.skip + number

  return list(itertools.islice(listed(), num))


def batches(count, *, lanes_of=2, batch_size=12, group_size=4, step=0, num=5):
  """Batches as lists of records, put together from `count` processes."""
  size = batch_size // count
  result = [[] for _ in range(num)]
  for process in range(count):
    own = lanes.parts(
      PIECES,
      (7, 0),
      lanes=lanes_of,
      group_size=group_size,
      batch_size=batch_size,
      start=process * size,
      stop=(process + 1) * size,
    )
    assert len({part.rows for part in own}) == 1
    read = [rows(part, group_size, step, num * part.rows) for part in own]
    for k in range(num):
      for part, drawn in zip(own, read, strict=True):
        result[k] += drawn[k * part.rows : (k + 1) * part.rows]
  return result


@pytest.mark.parametrize("count", [2, 3, 4, 6, 12])
@pytest.mark.parametrize("lanes_of", [1, 2, 3, 4])
def test_batches_are_those_of_one_process(count, lanes_of):
  one = batches(1, lanes_of=lanes_of)
  assert batches(count, lanes_of=lanes_of) == one
  assert batches(count, lanes_of=lanes_of, step=2) == (
    batches(1, lanes_of=lanes_of, step=2)
  )
  assert batches(count, lanes_of=lanes_of, step=2, num=3) == one[2:]


def test_an_epoch_of_lanes_shows_every_record_once():
  # 12 of 13 records are in two lanes.
  one = batches(1)
  for epoch in one:
    assert len(set(epoch)) == 12 and set(epoch) == set(one[0])
  assert one[0] != one[1]
  assert ("c", 3) not in one[0]
  assert {name for name, _ in one[0][:6]} == {"a", "b"}


def test_a_process_with_lanes_of_its_own_reads_no_other():
  own = lanes.parts(
    PIECES,
    (7, 0),
    lanes=4,
    group_size=8,
    batch_size=8,
    start=2,
    stop=4,
  )
  (part,) = own
  assert part.pieces == [Piece("a", 3, 2), Piece("b", 2, 1)]
  assert (part.width, part.first, part.rows) == (2, 0, 2)


def test_rows_are_located():
  for part in lanes.parts(
    PIECES, (3,), lanes=2, group_size=4, batch_size=12, start=4, stop=8
  ):
    drawn = rows(part, 4, 0, 8 * part.rows)
    for i, (name, number) in enumerate(drawn):
      piece, within = part.locate(4, *divmod(i, part.rows))
      assert (piece.filename, piece.skip + within) == (name, number)


def test_lanes_divide_a_batch_and_hold_whole_pieces():
  pieces = [Piece(str(i), 0, 10 + i % 3) for i in range(100)]

  def number(batch_size, asked=8, group_size=1000, pieces=pieces):
    return lanes.number(pieces, asked, group_size, batch_size)

  found = {size: number(size) for size in (1, 5, 7, 11, 12, 96, 4096)}
  assert found == {1: 1, 5: 5, 7: 7, 11: 1, 12: 6, 96: 8, 4096: 8}
  assert number(4096, asked=64, group_size=10_000) == 64
  assert number(4096, pieces=pieces[:3]) == 2
  assert number(4096, group_size=12 * 4) == 4
  assert number(4096, group_size=12 * 4 - 1) == 2
  assert number(4096, group_size=1) == 1
