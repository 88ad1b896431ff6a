"""Parts of a data set by tfds' notation, as in "train[:45000]+test"."""

from __future__ import annotations

from collections.abc import Mapping
import re

from experiments import domains

_PIECE = re.compile(
  r"\s*(?P<name>\w+)\s*(?:\[(?P<start>-?\d+%?)?:(?P<stop>-?\d+%?)?\])?\s*"
)

Piece = tuple[str, range]


def pieces(key: str, text: str, sizes: Mapping[str, int]) -> list[Piece]:
  """Returns (split, numbers of its examples) of each piece of a text.

  Args:
    key: the config's, for the error.
    text: splits, or slices of them, joined by "+". Numbers below 0 count from
      the end; per cent are rounded to the nearest example, as in tfds.
    sizes: split -> examples.

  Raises:
    ValueError: if there is no such split, or nothing in it.

  Example:
    >>> pieces("train_split", "train[:25%]+test[-2:]", {"train": 8, "test": 4})
    [('train', range(0, 2)), ('test', range(2, 4))]
  """
  expected = (
    f"splits of {', '.join(f'{k} ({n:,})' for k, n in sizes.items())}, or "
    "slices such as 'train[:5000]' or 'train[:90%]', joined by '+'"
  )
  found: list[Piece] = []
  for part in text.split("+"):
    match = _PIECE.fullmatch(part)
    if match is None or match["name"] not in sizes:
      domains.refuse(key, expected, text)
    size = sizes[match["name"]]
    rows = range(
      _position(match["start"], size, 0), _position(match["stop"], size, size)
    )
    if not rows:
      raise ValueError(f"{key}: {part.strip()!r} has no examples.")
    found.append((match["name"], rows))
  taken: set[tuple[str, int]] = set()
  for name, rows in found:
    if not taken.isdisjoint(own := {(name, row) for row in rows}):
      raise ValueError(f"{key}: {text!r} has examples twice.")
    taken |= own
  return found


def count(parts: list[Piece]) -> int:
  """Returns the number of examples of pieces."""
  return sum(len(rows) for _, rows in parts)


def common(one: list[Piece], other: list[Piece]) -> int:
  """Returns how many examples of pieces are in others, too."""
  return sum(
    len(range(max(a.start, b.start), min(a.stop, b.stop)))
    for name, a in one
    for same, b in other
    if name == same
  )


def _position(text: str | None, size: int, missing: int) -> int:
  if text is None:
    return missing
  if text.endswith("%"):
    number = round(int(text[:-1]) * size / 100)
  else:
    number = int(text)
  return min(max(number + size if number < 0 else number, 0), size)
