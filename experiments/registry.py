"""Names to what they stand for: a table's entry, or package.module:attribute.

Tables are open: what is added to one, by a test or by code of a user's own, is
known everywhere. The other form needs no code of ours to run first.
"""

from __future__ import annotations

from collections.abc import Mapping
import importlib
from typing import Any


def find(key: str, name: str, table: Mapping[str, Any]) -> Any:
  """Returns what the config's `key` names.

  Args:
    key: the config key, for messages.
    name: of an entry of the table, or "package.module:attribute", looked up on
      Python's path (with `python -m`, the current folder is on it).
    table: what has a name of its own.

  Raises:
    ValueError: if there is no such entry, module or attribute; it says which.
  """
  if name in table:
    return table[name]
  if ":" not in name:
    raise ValueError(
      f"{key} must be one of {', '.join(table)}, or "
      f"package.module:attribute; got {name!r}."
    )
  module_name, _, attribute = name.partition(":")
  try:
    module = importlib.import_module(module_name)
  except ModuleNotFoundError as error:
    raise ValueError(
      f"{key}={name!r}: no module named {error.name!r}; run from the folder "
      "that holds it, or put that folder on PYTHONPATH."
    ) from error
  try:
    return getattr(module, attribute)
  except AttributeError:
    known = [n for n in vars(module) if not n.startswith("_")]
    raise ValueError(
      f"{key}={name!r}: {module_name} has no {attribute!r}; it has "
      f"{', '.join(known) or 'nothing'}."
    ) from None
