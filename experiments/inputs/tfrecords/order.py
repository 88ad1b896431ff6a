"""Which record comes when: arithmetic on files' numbers of records.

An epoch is its files in a random order, cut into groups of whole files that fit
in memory, each group a full random permutation. File order and permutations
are NumPy's, functions of (seed, stream, epoch, group), so arithmetic maps a
position in the stream to its group, and resuming reads that one group. Skipping
through a sliding shuffle buffer would read the epoch up to the position: 140 GB
of ImageNet at worst. tfds shuffles examples when it writes files, so groups of
files are random samples to begin with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np


class Piece(NamedTuple):
  """Records skip .. skip + take - 1 of one file."""

  filename: str
  skip: int
  take: int


def count(pieces: Iterable[Piece]) -> int:
  """Returns how many records the pieces hold."""
  return sum(piece.take for piece in pieces)


def share(num: int, index: int, count: int, *, equal: bool) -> tuple[int, int]:
  """Returns (start, stop), the records of process `index` out of `count`.

  With `equal`, every process gets num // count records and the last
  num % count belong to nobody; otherwise every record has its process, and
  sizes differ by at most one.
  """
  if equal:
    size = num // count
    return index * size, (index + 1) * size
  return num * index // count, num * (index + 1) // count


def slice_pieces(
  pieces: Iterable[Piece],
  start: int,
  stop: int,
  longest: int,
) -> list[Piece]:
  """Returns pieces of at most `longest` records that hold start .. stop - 1.

  Records are numbered through `pieces`, in order.
  """
  result = []
  first = 0
  for filename, skip, take in pieces:
    low, high = max(start - first, 0), min(stop - first, take)
    for begin in range(low, high, longest):
      size = min(longest, high - begin)
      result.append(Piece(filename, skip + begin, size))
    first += take
  return result


def epoch_groups(
  pieces: list[Piece], entropy: tuple[int, ...], group_size: int
) -> list[list[Piece]]:
  """Returns the pieces in a random order, cut into groups.

  Args:
    pieces: none longer than `group_size`.
    entropy: non-negative integers that determine the order.
    group_size: most records in a group.
  """
  groups: list[list[Piece]] = [[]]
  size = 0
  for i in np.random.default_rng((*entropy, 0)).permutation(len(pieces)):
    if size + pieces[i].take > group_size:
      groups.append([])
      size = 0
    groups[-1].append(pieces[i])
    size += pieces[i].take
  return groups


def shuffled_groups(
  pieces: list[Piece],
  entropy: tuple[int, ...],
  group_size: int,
  position: int,
) -> Iterator[tuple[list[Piece], np.ndarray]]:
  """Iterates for ever over (group, order) from a position on.

  Args:
    pieces: one epoch's records, in pieces of at most `group_size`.
    entropy: non-negative integers that, with the epoch, determine everything.
    group_size: most records in a group.
    position: number of records, over all epochs, that come before.

  Yields:
    The pieces of a group and the order in which to emit its records, indices
    into them. Only the first group's order may leave out records: those before
    `position`.
  """
  epoch, before = divmod(position, count(pieces))
  while True:
    groups = epoch_groups(pieces, (*entropy, epoch), group_size)
    for number, group in enumerate(groups, start=1):
      size = count(group)
      if before >= size:
        before -= size
        continue
      rng = np.random.default_rng((*entropy, epoch, number))
      yield group, rng.permutation(size)[before:]
      before = 0
    epoch += 1


def locate(
  pieces: list[Piece],
  entropy: tuple[int, ...],
  group_size: int,
  position: int,
) -> tuple[Piece, int]:
  """Returns the piece with the record at a position, and its number there.

  Arguments are `shuffled_groups`'s.
  """
  group, order = next(shuffled_groups(pieces, entropy, group_size, position))
  return nth(group, int(order[0]))


def nth(pieces: list[Piece], number: int) -> tuple[Piece, int]:
  """Returns the piece that record `number` is of, and its number there."""
  for piece in pieces:
    if number < piece.take:
      return piece, number
    number -= piece.take
  raise IndexError("The pieces hold fewer records.")
