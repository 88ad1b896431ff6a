"""Where a run's files go: a local folder, or an object store such as gs://."""

from __future__ import annotations

import json
import os
import secrets
from typing import Any

from etils import epath


def path(name: str | os.PathLike[str]) -> epath.Path:
  """Returns a path, absolute where it is local; URLs stay as they are.

  The one place where `~` is expanded: shells leave it alone in --workdir=~/run.
  """
  text = os.fspath(name)
  if not is_remote(text):
    text = os.path.abspath(os.path.expanduser(text))
  return epath.Path(text)


def is_remote(name: str | os.PathLike[str]) -> bool:
  """Whether this is a URL, whose objects are only ever written whole."""
  return "://" in os.fspath(name)


def write(target: epath.Path, text: str) -> None:
  """Writes a file whole or not at all: others may be reading, or kill us."""
  if is_remote(target):
    target.write_text(text)  # appears when its upload is complete
    return
  # A name that nobody can foresee, opened only if nothing is there: a link
  # planted in a shared folder would have us write to wherever it leads.
  draft = target.parent / f".{target.name}.{secrets.token_hex(8)}.tmp"
  flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
  try:
    with os.fdopen(os.open(draft, flags, 0o666), "w") as file:
      file.write(text)
    os.replace(draft, target)
  except BaseException as error:
    draft.unlink(missing_ok=True)
    if isinstance(error, OSError) and error.filename2 is None:
      error.filename = str(target)  # the file that the user knows
    raise


class Appended:
  """A local file that is added to, of which nothing waits in this process."""

  def __init__(self, target: epath.Path, *, new: bool = False):
    """Opens a file, no link; if `new`, only where nothing is yet."""
    self._name = str(target)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    exclusive = os.O_EXCL if new else 0
    self._file = os.open(self._name, flags | exclusive, 0o666)

  def write(self, data: bytes, *, sync: bool = False) -> None:
    """Returns when the system has all of it; with `sync`, when the disk has."""
    try:
      while data:  # a disk that gets full takes a part first
        data = data[os.write(self._file, data) :]
      if sync:
        os.fsync(self._file)
    except OSError as error:  # which does not say where
      error.filename = self._name
      raise

  def close(self) -> None:
    """Has nothing to write, so that no error comes twice."""
    os.close(self._file)


def files(folder: epath.Path, prefix: str = "") -> list[str]:
  """Returns the names of all files in a folder, those in folders as "a/b"."""
  names: list[str] = []
  for child in folder.iterdir():
    name = prefix + child.name
    names += files(child, f"{name}/") if child.is_dir() else [name]
  return sorted(names)


def move(folder: epath.Path, target: epath.Path) -> None:
  """Renames a folder; in a bucket, whose folders are only names, its objects.

  None is removed there before all are copied.
  """
  if not is_remote(folder):
    folder.rename(target)
    return
  names = files(folder)
  for name in names:
    (folder / name).copy(target / name, overwrite=True)
  for name in names:
    (folder / name).unlink()


def write_json(target: str | os.PathLike[str], value: Any) -> None:
  """Writes a value as a JSON file, whole or not at all."""
  write(path(target), json.dumps(value, indent=2) + "\n")


def read_json(target: str | os.PathLike[str]) -> Any:
  """Returns a JSON file's value.

  Raises:
    ValueError: if it is no JSON, naming the file.
  """
  file = path(target)
  try:
    return json.loads(file.read_text())
  except ValueError as error:  # of JSON, or of UTF-8
    raise ValueError(
      f"{file} is damaged ({error}); restore it, or remove it together with "
      "what it describes."
    ) from None
