"""What a compiled HLO module moves: between devices, and to and from memory."""

from __future__ import annotations

from collections.abc import Iterator
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
# Long tuples are numbered: /*index=5*/.
_COMMENT = re.compile(r"/\*.*?\*/")
# Type, sides, layout: bf16[128,197]{0,1:T(8,128)(2,1)S(1)}.
_ARRAY = re.compile(r"\b([a-z]+\d*[a-z\d]*)\[([\d,<= ]*)\](?:\{([^{}]*)\})?")
# NAME = SHAPE OPCODE(OPERANDS), ATTRIBUTES.
_INSTRUCTION = re.compile(
  r"^\s*(?:ROOT )?%?([\w.\-]+) = (.*?) ([a-z][\w\-]*)\((.*)$", re.MULTILINE
)
_COMPUTATION = re.compile(
  r"^(ENTRY )?%?([\w.\-]+)[^\n=]*\{\n(.*?)^\}", re.MULTILINE | re.DOTALL
)
# What names memory without touching it, or is counted where it starts or by
# the computation that it calls.
_IDLE = frozenset(
  {
    "after-all",
    "bitcast",
    "call",
    "conditional",
    "constant",
    "get-tuple-element",
    "parameter",
    "tuple",
    "while",
  }
)
_CALLED = re.compile(
  r"\b(?:body|to_apply|true_computation|false_computation)=%?([\w.\-]+)"
  r"|\bbranch_computations=\{([^}]*)\}"
)


class Collectives(NamedTuple):
  """All collectives of one kind.

  Attributes:
    number: of instructions.
    bytes: of their results on one device, summed.
  """

  number: int
  bytes: int


class Traffic(NamedTuple):
  """Bytes that instructions read and write.

  Attributes:
    memory: of arrays in the device's main memory.
    on_chip: of those that the compiler keeps in the chip's own memory.
  """

  memory: int
  on_chip: int


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
  for _, shape, opcode, _ in _INSTRUCTION.findall(_COMMENT.sub("", text)):
    kind = opcode.removesuffix("-start")
    if kind in KINDS:
      number, total = found.get(kind, (0, 0))
      size = shape_bytes(_results(opcode, shape))
      found[kind] = Collectives(number + 1, total + size)
  return {kind: found[kind] for kind in KINDS if kind in found}


def shape_bytes(shape: str) -> int:
  """Returns the bytes of an array's or a (nested) tuple's shape, unpadded.

  Raises:
    ValueError: for a type whose size is not known.
  """
  return sum(
    _bytes(kind, _lengths(sides)) for kind, sides, _ in _ARRAY.findall(shape)
  )


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


def traffic(text: str) -> Traffic:
  """Counts what a step's instructions read and write, by where it lies.

  An instruction reads its operands and writes its results once, whole tiles of
  them; a fusion is one instruction. Copies and slices move what they copy. What
  the compiler keeps on the chip (memory spaces other than 0) is no traffic of
  the memory, though its own count of bytes accessed holds both. A loop's body
  counts once, however often it runs.

  Args:
    text: of the optimised module, `compiled.as_text()`.

  Raises:
    ValueError: for a type whose size is not known, or if there is no entry.
  """
  bodies, entry = {}, None
  for first, name, body in _COMPUTATION.findall(_COMMENT.sub("", text)):
    bodies[name] = body
    entry = name if first else entry
  if entry is None:
    raise ValueError("The HLO text has no ENTRY computation.")
  memory = on_chip = 0
  waiting, seen = [entry], {entry}
  while waiting:
    shapes: dict[str, str] = {}
    for name, shape, opcode, rest in _INSTRUCTION.findall(
      bodies[waiting.pop()]
    ):
      shapes[name] = shape
      operands, attributes = _operands(rest)
      if opcode in ("while", "call", "conditional"):
        called = _called(attributes) - seen
        waiting += called
        seen |= called
      if opcode in _IDLE or opcode.endswith("-done"):
        continue
      for size, space in _touched(
        opcode, shape, [shapes.get(operand, "") for operand in operands]
      ):
        if space:
          on_chip += size
        else:
          memory += size
  return Traffic(memory, on_chip)


def _touched(
  opcode: str, shape: str, operands: list[str]
) -> Iterator[tuple[int, int]]:
  """Yields (bytes, memory space) of what an instruction reads and writes."""
  if opcode in ("copy-start", "slice-start", "async-start"):
    # (to, from, ...) for a copy, ((from, ...), to, ...) for the others.
    parts = [list(_placed(part)) for part in _elements(shape)[:2]]
    to, source = parts if opcode == "copy-start" else parts[::-1]
    for size, space in to:
      yield size, space
      yield size, source[0][1]
    return
  results = list(_placed(_results(opcode, shape)))
  yield from results
  reads = [list(_placed(operand)) for operand in operands]
  if opcode in ("slice", "dynamic-slice", "gather"):
    # No more of the first operand than comes out.
    reads[0] = [(results[0][0], space) for _, space in reads[0]]
  for read in reads:
    yield from read


def _results(opcode: str, shape: str) -> str:
  """The shape of what a collective, or anything synchronous, results in."""
  # all-reduce-start has the shape of its result; other collectives' starts have
  # a tuple of operands, results and, some of them, counters.
  if opcode.endswith("-start") and opcode != "all-reduce-start":
    return _elements(shape)[1]
  return shape


def _operands(rest: str) -> tuple[list[str], str]:
  """Splits "%a, f32[2]{0:T(8)} %b), attributes" into (names, attributes)."""
  depth, end = 1, 0
  while depth and end < len(rest):
    depth += (rest[end] == "(") - (rest[end] == ")")
    end += 1
  parts = _elements(f"({rest[:end]}") if rest[: end - 1].strip() else []
  return [part.split()[-1].lstrip("%") for part in parts], rest[end:]


def _called(attributes: str) -> set[str]:
  names = set()
  for one, several in _CALLED.findall(attributes):
    names |= {one} if one else {n.strip(" %") for n in several.split(",")}
  return names


def _placed(shape: str) -> Iterator[tuple[int, int]]:
  """Yields (bytes with the padding of tiles, memory space) of each array."""
  for kind, sides, layout in _ARRAY.findall(shape):
    lengths = _lengths(sides)
    order, _, details = layout.partition(":")
    # T(8,128): tiles of the two minor dimensions; finer tiles lie within.
    tile = re.match(r"T\(([\d,]+)\)", details)
    if tile and order:
      minor_first = [int(number) for number in order.split(",")]
      extents = [int(extent) for extent in tile[1].split(",")][::-1]
      for axis, extent in zip(minor_first, extents, strict=False):
        lengths[axis] = math.ceil(lengths[axis] / extent) * extent
    space = re.search(r"S\((\d+)\)", details)
    yield _bytes(kind, lengths), int(space[1]) if space else 0


def _lengths(sides: str) -> list[int]:
  return [int(side.strip(" <=")) for side in sides.split(",") if side]


def _bytes(kind: str, lengths: list[int]) -> int:
  if kind not in _BITS and not kind.startswith("f8"):
    raise ValueError(f"Unknown type {kind!r} in an HLO shape.")
  return math.ceil(math.prod(lengths) * _BITS.get(kind, 8) / 8)


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
