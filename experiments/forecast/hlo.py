"""What a compiled HLO module sends between devices, read from its text."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

KINDS = (
  "all-reduce",
  "all-gather",
  "reduce-scatter",
  "all-to-all",
  "collective-permute",
)

_BITS = {
  "pred": 8,
  **{f"{sign}{bits}": bits for sign in "su" for bits in (2, 4, 8, 16, 32, 64)},
  **{"bf16": 16, "f16": 16, "f32": 32, "f64": 64, "c64": 64, "c128": 128},
}
# NAME = SHAPE OPCODE(OPERANDS: a shape holds no quote and no equals sign, so
# that operands and metadata of the same name do not match.
_INSTRUCTION = re.compile(
  r'^\s*(?:ROOT )?%?[\w.\-]+ = ([^="]*?) '
  rf"({'|'.join(KINDS)})(-start)?\(",
  re.MULTILINE,
)
# Long tuples are numbered: /*index=5*/.
_COMMENT = re.compile(r"/\*.*?\*/")
_ARRAY = re.compile(r"\b([a-z]+\d*[a-z\d]*)\[([\d,<= ]*)\]")


class Collectives(NamedTuple):
  """All collectives of one kind.

  Attributes:
    number: of instructions.
    bytes: of their results on one device, summed.
  """

  number: int
  bytes: int


def collectives(text: str) -> dict[str, Collectives]:
  """Counts the collectives of a module by kind, those there are.

  An asynchronous pair counts once, by its start. An instruction in a loop's
  body counts once, however often it runs.

  Args:
    text: of the optimised module, `compiled.as_text()`.

  Returns:
    A value for each of `KINDS` that occurs.

  Raises:
    ValueError: for a type whose size is not known.
  """
  found: dict[str, Collectives] = {}
  for shape, kind, start in _INSTRUCTION.findall(_COMMENT.sub("", text)):
    # all-reduce-start has the shape of its result; the others have a tuple of
    # operands, results and, some of them, counters.
    if start and kind != "all-reduce":
      shape = _elements(shape)[1]
    number, total = found.get(kind, (0, 0))
    found[kind] = Collectives(number + 1, total + shape_bytes(shape))
  return {kind: found[kind] for kind in KINDS if kind in found}


def shape_bytes(shape: str) -> int:
  """Returns the bytes of an array's or a (nested) tuple's shape, unpadded.

  Raises:
    ValueError: for a type whose size is not known.
  """
  total = 0
  # Layouts, such as {1,0:T(8,128)}, hold no brackets.
  for kind, sides in _ARRAY.findall(shape):
    if kind not in _BITS and not kind.startswith("f8"):
      raise ValueError(f"Unknown type {kind!r} in the HLO shape {shape!r}.")
    lengths = [int(side.strip(" <=")) for side in sides.split(",") if side]
    total += math.ceil(math.prod(lengths) * _BITS.get(kind, 8) / 8)
  return total


def sent(found: dict[str, Collectives], replicas: int) -> float:
  """Returns the bytes that a device sends at least, each group all replicas.

  On a ring of n an all-reduce sends 2 (n-1)/n of its result, an all-gather or
  all-to-all (n-1)/n, a reduce-scatter n-1 times its (n times smaller) result, a
  permutation its result.
  """
  share = (replicas - 1) / replicas
  factors = {
    "all-reduce": 2 * share,
    "all-gather": share,
    "all-to-all": share,
    "reduce-scatter": replicas - 1,
    "collective-permute": 1.0,
  }
  return sum(factors[kind] * each.bytes for kind, each in found.items())


def _elements(shape: str) -> list[str]:
  """The elements of a tuple's shape; of an array's, twice the array."""
  if not shape.startswith("("):
    return [shape, shape]
  depth, parts = 0, [""]
  for letter in shape[1:-1]:
    depth += letter in "([{"
    depth -= letter in ")]}"
    if letter == "," and not depth:
      parts.append("")
    else:
      parts[-1] += letter
  return parts
