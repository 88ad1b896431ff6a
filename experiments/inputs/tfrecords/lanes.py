"""One order of the records, whichever number of processes reads it.

An epoch is divided into lanes: equal shares of neighbouring records, each with
a shuffle of its own. A batch takes the same number of rows of each, lane after
lane. A process has neighbouring rows of every batch, and so lanes of its own
where their number is a multiple of the processes'; a host's page cache then
holds its share. Where it is not, a lane is read by each of the processes that
have rows of it, which leave out the others'.
"""

from __future__ import annotations

from collections.abc import Iterator
import math
from typing import NamedTuple

import numpy as np

from experiments.inputs.tfrecords import order
from experiments.inputs.tfrecords.order import Piece


class Part(NamedTuple):
  """Some of the rows that batches take of one lane.

  Attributes:
    pieces: of the lane.
    entropy: non-negative integers that determine the lane's order.
    width: rows that a batch takes of the lane.
    first: the first of them that is this part's.
    rows: how many are.
  """

  pieces: list[Piece]
  entropy: tuple[int, ...]
  width: int
  first: int
  rows: int

  def groups(
    self, group_size: int, step: int
  ) -> Iterator[tuple[list[Piece], np.ndarray]]:
    """Iterates as `order.shuffled_groups` does, over this part's rows alone.

    Args:
      group_size: most records in a group.
      step: number of batches that come before.
    """
    position = step * self.width
    for group, rows in order.shuffled_groups(
      self.pieces, self.entropy, group_size, position
    ):
      at = (position + np.arange(len(rows))) % self.width - self.first
      yield group, rows[(0 <= at) & (at < self.rows)]
      position += len(rows)

  def locate(self, group_size: int, step: int, row: int) -> tuple[Piece, int]:
    """Returns the piece with a row of batch `step`, and its number there."""
    position = step * self.width + self.first + row
    return order.locate(self.pieces, self.entropy, group_size, position)


def number(
  pieces: list[Piece], asked: int, group_size: int, batch_size: int
) -> int:
  """Returns how many lanes there are: as many as are asked for, at most.

  Fewer where there are fewer pieces; where groups would be smaller than a
  piece, and each would read it from its beginning; and as many as divide a
  batch evenly.

  Args:
    pieces: an epoch's.
    asked: the number that is asked for.
    group_size: most records in a group of each lane, taken together.
    batch_size: over all processes.
  """
  most = group_size // max(piece.take for piece in pieces)
  most = max(1, min(asked, len(pieces), most))
  return max(n for n in range(1, most + 1) if batch_size % n == 0)


def parts(
  pieces: list[Piece],
  entropy: tuple[int, ...],
  *,
  lanes: int,
  group_size: int,
  batch_size: int,
  start: int,
  stop: int,
) -> list[Part]:
  """Returns the parts, of one size, that hold rows start .. stop - 1.

  The last count(pieces) % lanes records are in no lane.

  Args:
    pieces: an epoch's.
    entropy: with the lane's number, determines its order.
    lanes: their number, which divides `batch_size`.
    group_size: most records in a group.
    batch_size: rows of a batch.
    start: the first row of a batch.
    stop: the row after the last.
  """
  width = batch_size // lanes
  size = math.gcd(width, stop - start, start)
  total = order.count(pieces)
  return [
    Part(
      order.slice_pieces(
        pieces,
        *order.share(total, row // width, lanes, equal=True),
        longest=group_size,
      ),
      (*entropy, row // width),
      width,
      row % width,
      size,
    )
    for row in range(start, stop, size)
  ]
