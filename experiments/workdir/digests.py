"""What tells a damaged checkpoint from a whole one: digest.json in its folder.

It names each file with its size and SHA-256, and ends with a digest of itself.
Orbax finds most damage to a checkpoint late, in words of its own, and a flipped
bit among the weights not at all.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from etils import epath

from experiments.workdir import storage

NAME = "digest.json"
_CHUNK = 1 << 20
# Orbax writes the time of committing into it after us. Of the rest, what it
# reads a checkpoint by is kept.
_LATE = "_CHECKPOINT_METADATA"


def write(folder: epath.Path) -> None:
  """Digests all files that a checkpoint has; it must not be committed yet.

  So a checkpoint appears together with its digest: no kill comes between.
  """
  names = [name for name in storage.files(folder) if name != NAME]
  files = {name: _digest(folder, name) for name in names}
  storage.write_json(folder / NAME, {"files": files, "self": _sha256(files)})


def exists(folder: epath.Path) -> bool:
  """Whether the checkpoint has one: it is not of before there were digests."""
  return (folder / NAME).exists()


def damage(folder: epath.Path) -> str:
  """Returns what is wrong with a checkpoint that has a digest, "" if nothing.

  Reads the whole checkpoint. Files that came after the digest do not count.
  """
  try:
    known = json.loads((folder / NAME).read_text())
    files = known["files"]
    if known["self"] != _sha256(files):
      return f"{NAME} was changed"
  except (ValueError, TypeError, KeyError):
    return f"{NAME} cannot be read"
  for name, expected in files.items():
    try:
      found = _digest(folder, name)
    except FileNotFoundError:
      return f"{name} is missing"
    except ValueError:
      return f"{name} cannot be read"
    if found["bytes"] != expected["bytes"]:
      return f"{name} has {found['bytes']:,} bytes of {expected['bytes']:,}"
    if found != expected:
      return f"{name} was changed"
  return ""


def _digest(folder: epath.Path, name: str) -> dict[str, Any]:
  if name == _LATE:
    read = json.loads((folder / name).read_text())
    if not isinstance(read, dict):
      raise ValueError(f"{name} is no object")
    kept = [sorted(read), read.get("item_handlers")]
    return {"bytes": 0, "sha256": _sha256(kept)}
  size, digest = 0, hashlib.sha256()
  with (folder / name).open("rb") as file:
    while chunk := file.read(_CHUNK):
      size += len(chunk)
      digest.update(chunk)
  return {"bytes": size, "sha256": digest.hexdigest()}


def _sha256(value: Any) -> str:
  text = json.dumps(value, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()
