"""A config's argument, what stands after its file's colon."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
import re
from typing import Any

from ml_collections import ConfigDict

_KEY = re.compile(r"\s*([A-Za-z_][\w.]*)\s*=")
_NAME = re.compile(r"\s*[A-Za-z_]\w*\s*")
_CLOSING = {"(": ")", "[": "]", "{": "}"}
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
  owner = config
  *path, last = key.split(".")
  for part in path:
    if part not in owner or not isinstance(owner[part], ConfigDict):
      raise ValueError(f"Unknown config key {key!r}; {_known(config)}")
    owner = owner[part]
  # A model's options are its own, checked by `models.create`.
  if last not in owner and owner is not config.model_options:
    raise ValueError(f"Unknown config key {key!r}; {_known(config)}")
  current = owner.get(last)
  value = _value(text, current)
  # Where None stands for a number to come, its type is all there is to go by.
  if last in owner and owner.get_type(last) is float and type(value) is int:
    value = float(value)
  try:
    owner[last] = value
  except TypeError:
    raise ValueError(
      f"{key} must be a {type(current).__name__}, got {text!r}."
    ) from None


def _value(text: str, current: Any) -> Any:
  """A value's text as a literal, where the key does not hold a text."""
  try:
    value = ast.literal_eval(text.strip())
  except (SyntaxError, ValueError):
    return text
  if isinstance(current, str):
    # Quotes protect commas, and are not meant; 2,15 is a text here, too.
    return value if isinstance(value, str) else text
  if isinstance(current, tuple) and isinstance(value, list):
    return tuple(value)
  return value


def _known(config: ConfigDict) -> str:
  return f"known keys: {', '.join(sorted(config))}."
