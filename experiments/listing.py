"""What --help lists: the configs with a line each, and the keys by owner."""

from __future__ import annotations

import ast
from collections.abc import Iterable
import pathlib
import sys
import textwrap

_CONFIGS = pathlib.Path(__file__).parent / "configs"
_WANTED = ("help", "helpshort", "helpfull", "?")


def is_asked(words: Iterable[str] = sys.argv) -> bool:
  """Whether a command line asks for help."""
  return any(
    word.startswith("-") and word.lstrip("-") in _WANTED for word in words
  )


def text() -> str:
  """The list, in lines of at most 80 columns."""
  # Not before it is asked for: it knows every owner, which takes a second.
  from experiments.configs import common

  lines = ["Configs:"]
  for path in sorted(_CONFIGS.glob("*.py")):
    tree = ast.parse(path.read_text())
    functions = {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}
    if "get_config" in functions and not path.stem.startswith("_"):
      doc = ast.get_docstring(tree) or ""
      lines += [f"  experiments/configs/{path.name}", f"    {_first(doc)}"]
  lines += ["", "Keys by who reads them (--config.KEY=VALUE), with defaults:"]
  for owner, keys in common.by_owner().items():
    listed = ", ".join(
      name if key.default is None else f"{name}={_short(key.default)}"
      for name, key in sorted(keys.items())
    )
    lines += [f"  {owner}:"]
    lines += textwrap.wrap(
      *(listed, 76),
      initial_indent="    ",
      subsequent_indent="    ",
      break_long_words=False,
      break_on_hyphens=False,
    )
  return "\n".join(lines)


def _first(doc: str) -> str:
  return doc.partition("\n")[0].rstrip(".:")


def _short(value: object) -> str:
  if hasattr(value, "to_dict"):
    value = value.to_dict()
  told = str(value) if value != "" else "''"
  return told if len(told) <= 24 else f"{told[:21]}..."
