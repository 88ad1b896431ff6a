"""A config's argument, what stands after its file's colon."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
import re
from typing import Any

from ml_collections import ConfigDict

from experiments.configs import common

_KEY = re.compile(r"\s*([A-Za-z_][\w.]*)\s*=")
_NAME = re.compile(r"\s*[A-Za-z_]\w*\s*")
_CLOSING = {"(": ")", "[": "]", "{": "}"}
# Python has no literals of these.
_NUMBERS = {name: float(name) for name in ("nan", "inf", "-inf")}
_BEFORE_QUOTES = "=([{,: "  # elsewhere it is an apostrophe


def with_argument(
  config: ConfigDict,
  arg: str | None,
  variants: Mapping[str, Callable[[ConfigDict], Any]] | None = None,
) -> ConfigDict:
  """Applies a config's argument: "variant,key=value,key.sub=value".

  Variants apply in the order given, before the keys. A value may hold commas:
  those inside brackets or quotes are its own (sweep_seeds=(0,1)), and so is one
  that no key= and no name follows (randaugment=2,15).

  Args:
    config: changed in place.
    arg: what stands after the config file's colon, or None.
    variants: names a key-less item may have, and what each changes.

  Returns:
    The config.

  Raises:
    ValueError: for an unknown variant or key (listing the known ones), a value
      of the wrong type, or a bracket or quote that is not closed.
  """
  variants = variants or {}
  pairs = []
  for item in items(arg or ""):
    found = _KEY.match(item)
    if found:
      pairs.append((found[1], item[found.end() :]))
    elif item in variants:
      variants[item](config)
    else:
      raise ValueError(
        f"Unknown variant {item!r}; known variants: "
        f"{', '.join(variants) or 'none'}; keys are set as key=value."
      )
  for key, text in pairs:
    assign(config, key, text)
  return config


def items(arg: str) -> list[str]:
  """Splits an argument at its commas, less those that belong to a value.

  Raises:
    ValueError: if a bracket or a quote is not closed.
  """
  found: list[str] = []
  for part in filter(str.strip, outer(arg)):
    named = _KEY.match(part) or _NAME.fullmatch(part)
    if named or not found or not _KEY.match(found[-1]):
      found.append(part)
    else:
      found[-1] += f",{part}"
  return [item.strip() for item in found]


def outer(arg: str) -> list[str]:
  """Splits at the commas outside of brackets and quotes."""
  parts = [""]
  ends: list[str] = []  # of what is open, innermost last
  before = ""
  for character in arg:
    quoted = ends and ends[-1] in "'\""
    if ends and character == ends[-1]:
      ends.pop()
    elif not quoted and character in _CLOSING:
      ends.append(_CLOSING[character])
    elif not quoted and character in "'\"" and before in _BEFORE_QUOTES:
      ends.append(character)
    if character == "," and not ends:
      parts.append("")
    else:
      parts[-1] += character
    before = character
  if ends:
    raise ValueError(f"{ends[-1]} is missing in the config's argument {arg!r}.")
  return parts


def assign(config: ConfigDict, key: str, text: str) -> None:
  """Sets a key, such as "model_options.width", from its value's text."""
  current: Any = config
  for part in key.split("."):
    current = current.get(part) if isinstance(current, ConfigDict) else None
  common.put(config, key, _value(text, current))


def _value(text: str, current: Any) -> Any:
  """A value's text as a literal, where the key does not hold a text."""
  try:
    value = ast.literal_eval(text.strip())
  except (SyntaxError, ValueError, MemoryError, RecursionError):
    return _NUMBERS.get(text.strip().lower(), text)
  if isinstance(current, str):
    # Quotes protect commas, and are not meant; 2,15 is a text here, too.
    return value if isinstance(value, str) else text
  if isinstance(current, float) and type(value) is int:
    return _float(value)
  if isinstance(current, tuple) and not isinstance(value, tuple):
    return tuple(value) if isinstance(value, list) else (value,)
  return value


def _float(value: int) -> float | int:
  try:
    return float(value)
  except OverflowError:
    return value
