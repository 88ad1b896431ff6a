"""What a config's keys may hold: each with its default, its type, its range.

    KEYS = {
      "learning_rate": domains.number(0.1, "[0, 1e6]"),  # peak
      "optimizer": domains.choice("sgd", ("sgd", "adamw")),
    }

Whoever reads a key declares it so, and `configs.common` refuses what does not
belong there before anything starts. A domain of another kind is a `Key` with a
`read` of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
import math
import numbers
import reprlib
from typing import Any, NamedTuple, NoReturn

from ml_collections import ConfigDict, config_dict
import numpy as np

from experiments.workdir import storage

_MAPPINGS = (Mapping, ConfigDict)
_FLOAT32 = float(np.finfo(np.float32).max)


class Key(NamedTuple):
  """A key of a config.

  Attributes:
    default: what it holds unless it is set.
    expected: what it may hold, as the end of "KEY must be ...".
    read: (name, value) -> the value as programs take it; raises ValueError,
      see `refuse`.
    kind: the type of a default that is None.
  """

  default: Any
  expected: str
  read: Callable[[str, Any], Any]
  kind: type | None = None


def refuse(name: str, expected: str, value: Any) -> NoReturn:
  """Raises the ValueError of a key that holds something else."""
  raise ValueError(f"{name} must be {expected}, got {told(value)}.")


def told(value: Any) -> str:
  """A value in one line that is not too long."""
  short = reprlib.Repr()
  short.maxstring = short.maxother = short.maxlong = 100
  try:
    text = short.repr(value)
  except ValueError:  # Python prints no integers of thousands of digits
    text = f"a {type(value).__name__} too long to print"
  return " ".join(text.split())


def defaults(keys: Mapping[str, Key]) -> ConfigDict:
  """Returns a config of the keys' defaults."""
  config = ConfigDict()
  for name, key in keys.items():
    value = key.default
    if value is None:
      config[name] = config_dict.placeholder(key.kind)
    else:
      config[name] = (
        ConfigDict(value) if isinstance(value, _MAPPINGS) else value
      )
  return config


def settle(config: ConfigDict, keys: Mapping[str, Key]) -> None:
  """Puts every key's value in the form that programs take.

  Raises:
    ValueError: naming a key that is missing or holds what it may not.
  """
  with config.ignore_type():
    for name, key in keys.items():
      if name not in config:
        raise ValueError(
          f"{name} is missing in the config, and must be {key.expected}; start "
          "from experiments.configs.common.base(), which has every key."
        )
      value = key.read(name, config[name])
      config[name] = (
        ConfigDict(value) if isinstance(value, _MAPPINGS) else value
      )


def integer(default: int, low: int, high: int = 2**31 - 1) -> Key:
  """An integer from low to high, both included; True and 3.0 are none."""
  expected = f"an integer from {low:,} to {high:,}"

  def read(name, value):
    plain = isinstance(value, numbers.Integral)
    if not plain or isinstance(value, bool) or not low <= value <= high:
      refuse(name, expected, value)
    return int(value)

  return Key(default, expected, read)


def number(default: float, interval: str = "(-inf, inf)") -> Key:
  """A number in an interval such as "[0, 1)", finite in float32 too."""
  low, high = (float(end) for end in interval[1:-1].split(","))
  finite = "" if math.isfinite(high - low) else ", finite in float32"
  expected = f"a number in {interval}{finite}"

  def read(name, value):
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
      refuse(name, expected, value)
    try:
      result = float(value)
    except OverflowError:
      result = math.inf
    above = result >= low if interval[0] == "[" else result > low
    below = result <= high if interval[-1] == "]" else result < high
    if not (above and below and abs(result) <= _FLOAT32):
      refuse(name, expected, value)
    return result

  return Key(default, expected, read)


def boolean(default: bool) -> Key:
  """True or False, and not 1 or 0."""
  expected = "True or False"

  def read(name, value):
    if not isinstance(value, (bool, np.bool_)):
      refuse(name, expected, value)
    return bool(value)

  return Key(default, expected, read)


def text(default: str, *, empty: bool = False) -> Key:
  """A line of text."""
  expected = "a line of text" + (", or ''" if empty else "")

  def read(name, value):
    if not isinstance(value, str) or not (value or empty):
      refuse(name, expected, value)
    if value != value.strip() or any(ord(c) < 32 for c in value):
      refuse(name, f"{expected}, without spaces around it", value)
    return str(value)

  return Key(default, expected, read)


def folder(default: str) -> Key:
  """A local folder, whose ~ is expanded, or a URL; "" stays so."""
  own = text(default, empty=True)

  def read(name, value):
    value = own.read(name, value)
    return value and str(storage.path(value))

  return own._replace(expected="a folder, or ''", read=read)


def choice(default: str, options: Collection[str]) -> Key:
  """One of several names."""
  listed = ", ".join(option or "''" for option in options)
  expected = f"one of {listed}"

  def read(name, value):
    if not isinstance(value, str) or value not in options:
      refuse(name, expected, value)
    return str(value)

  return Key(default, expected, read)


def entry(default: str, table: Collection[str]) -> Key:
  """A name of an open table, or an address package.module:attribute.

  Addresses are looked up where they are used, see `experiments.registry`.
  """
  own = text(default)

  def expected():
    return f"one of {', '.join(table)}, or package.module:attribute"

  def read(name, value):
    if not isinstance(value, str) or not (value in table or ":" in value):
      refuse(name, expected(), value)
    return own.read(name, value)

  return Key(default, expected(), read)


def optional(key: Key, kind: type) -> Key:
  """What a key may hold, or None, its default: filled in later."""

  def read(name, value):
    return None if value is None else key.read(name, value)

  return Key(None, f"{key.expected}, or None", read, kind)


def several(default: tuple[Any, ...], each: Key, *, least: int = 0) -> Key:
  """A sequence of at least so many, which becomes a tuple."""
  expected = f"a sequence of {least or 'no'} or more, each {each.expected}"

  def read(name, value):
    if not isinstance(value, (tuple, list)) or len(value) < least:
      refuse(name, expected, value)
    return tuple(each.read(f"{name}[{i}]", one) for i, one in enumerate(value))

  return Key(default, expected, read)


def mapping(
  default: Mapping[str, Any], each: Callable[[str], Key | None], what: str
) -> Key:
  """Names to values.

  Args:
    default: what the key holds unless it is set.
    each: name -> what its value may be; None refuses the name.
    what: what is expected, as `Key.expected`.
  """

  def read(name, value):
    if not isinstance(value, _MAPPINGS):
      refuse(name, what, value)
    found = {}
    for part, own in value.items():
      key = each(part) if isinstance(part, str) else None
      if key is None:
        raise ValueError(f"{name} must be {what}, got {told(part)} in it.")
      found[part] = key.read(f"{name}.{part}", own)
    return found

  return Key(default, what, read)
