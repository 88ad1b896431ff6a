"""Grids of config keys: "alpha=0.1,1;eta=0,0.1;seed=0..4", all combinations."""

from __future__ import annotations

from collections.abc import Sequence
import copy
import itertools
import re
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from experiments.configs import arguments

_RANGE = re.compile(r"\s*(-?\d+)\.\.(-?\d+)\s*")


class Point(NamedTuple):
  """A run of a grid.

  Attributes:
    keys: the grid's keys and their values, typed as the config has them.
    config: with those values.
  """

  keys: dict[str, Any]
  config: ConfigDict


def points(grids: Sequence[str], config: ConfigDict) -> list[Point]:
  """Returns every point of every grid once, the last key innermost.

  Args:
    grids: each "key=value,value;key=first..last", whose combinations are meant;
      several are one after another, for methods that do not share all keys.
    config: what the points have in common.

  Raises:
    ValueError: naming a key that is unknown, repeated or without values, or a
      value of the wrong type.
  """
  found: dict[str, Point] = {}
  for text in grids:
    axes = [_axis(part) for part in text.split(";") if part.strip()]
    names = [name for name, _ in axes]
    if not names:
      raise ValueError(
        f"grid: expected key=value,value;key=first..last, got {text!r}."
      )
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
      raise ValueError(f"grid: {min(repeated)} stands twice in {text!r}.")
    for values in itertools.product(*(values for _, values in axes)):
      own = copy.deepcopy(config)  # a None keeps its type
      for name, value in zip(names, values, strict=True):
        arguments.assign(own, name, value)
      keys = {name: _read(own, name) for name in names}
      found.setdefault(repr(sorted(keys.items())), Point(keys, own))
  return list(found.values())


def _axis(part: str) -> tuple[str, list[str]]:
  name, equals, text = part.partition("=")
  values = []
  for item in arguments.outer(text):
    run = _RANGE.fullmatch(item)
    if run:
      first, last = int(run[1]), int(run[2])
      if last < first:
        raise ValueError(
          f"grid: {name.strip()}: a range goes upwards, got {item.strip()!r}."
        )
      values += [str(number) for number in range(first, last + 1)]
    elif item.strip():
      values.append(item.strip())
  if not equals or not values:
    raise ValueError(
      f"grid: expected key=value,value or key=first..last, got {part!r}."
    )
  return name.strip(), values


def _read(config: ConfigDict, name: str) -> Any:
  for part in name.split("."):
    config = config[part]
  return config
