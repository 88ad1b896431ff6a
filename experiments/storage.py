"""Where a run's files go: a local folder, or an object store such as gs://."""

from __future__ import annotations

import json
import os
from typing import Any

from etils import epath


def path(name: str | os.PathLike[str]) -> epath.Path:
  """Returns a path, absolute where it is local; URLs stay as they are."""
  text = os.fspath(name)
  return epath.Path(text if is_remote(text) else os.path.abspath(text))


def is_remote(name: str | os.PathLike[str]) -> bool:
  """Whether this is a URL, whose objects are only ever written whole."""
  return "://" in os.fspath(name)


def write(target: epath.Path, text: str) -> None:
  """Writes a file whole or not at all: others may be reading, or kill us."""
  if is_remote(target):
    target.write_text(text)  # appears when its upload is complete
    return
  draft = target.with_suffix(".tmp")
  draft.write_text(text)
  draft.replace(target)


def write_json(target: str | os.PathLike[str], value: Any) -> None:
  """Writes a value as a JSON file, whole or not at all."""
  write(path(target), json.dumps(value, indent=2) + "\n")
