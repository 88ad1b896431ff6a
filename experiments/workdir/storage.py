"""Where a run's files go: a local folder, or an object store such as gs://."""

from __future__ import annotations

from collections.abc import Callable
import itertools
import json
import os
import secrets
import time
from typing import Any, TypeVar

from absl import logging
from etils import epath

_T = TypeVar("_T")

# For which a bucket is asked again, in seconds.
PATIENCE = 120.0
_BUCKET = "gs://"
_SCHEMES = ("file", "gcs", "gs", "http", "https", "s3")


def path(name: str | os.PathLike[str]) -> epath.Path:
  """Returns a path, absolute where it is local; URLs stay as they are.

  The one place where `~` is expanded: shells leave it alone in --workdir=~/run.

  Raises:
    ValueError: if it is a URL of another kind than gs://BUCKET, or empty.
  """
  text = os.fspath(name)
  if not text:
    raise ValueError("A folder was named by an empty string; name it.")
  if is_remote(text):
    if not text.removeprefix(_BUCKET).partition("/")[0]:
      raise ValueError(f"{text!r} names no bucket; write gs://BUCKET/FOLDER.")
    return epath.Path(text)
  scheme, colon, rest = text.partition(":")
  url = rest.startswith("//") and scheme.isalnum()
  if colon and (url or scheme.lower() in _SCHEMES):
    rest = rest.lstrip("/")
    wanted = {"file": f"/{rest}", "gs": f"gs://{rest}", "gcs": f"gs://{rest}"}
    remedy = wanted.get(scheme.lower(), "a local path, or gs://BUCKET/FOLDER")
    raise ValueError(
      f"{text!r} is no folder that can be written to; write {remedy}."
    )
  return epath.Path(os.path.abspath(os.path.expanduser(text)))


def is_remote(name: str | os.PathLike[str]) -> bool:
  """Whether this is in a bucket, whose objects are only ever written whole."""
  return os.fspath(name).startswith(_BUCKET)


def patiently(act: Callable[[], _T], target: str | os.PathLike[str]) -> _T:
  """Returns `act()`, tried again for a while where it asks a bucket.

  Clients of buckets try again themselves, or not, and raise what they like.
  What will not change by waiting, such as a refusal, is not waited for.

  Args:
    act: may be called several times.
    target: what it reads or writes, for messages.

  Raises:
    FileNotFoundError: if `act` does.
    OSError: naming the target and the cause.
  """
  if not is_remote(target):
    return act()
  deadline = time.monotonic() + PATIENCE
  for wait in itertools.chain((0.5, 1.0, 2.0, 4.0), itertools.repeat(8.0)):
    try:
      return act()
    except FileNotFoundError:
      raise
    except Exception as error:
      cause = " ".join(f"{type(error).__name__}: {error}".split())[:300]
      name = os.fspath(target)
      if _is_final(error):
        raise OSError(
          f"{name} was refused ({cause}); check that the bucket exists, and "
          "that this machine's account may read and write its objects."
        ) from error
      if time.monotonic() + wait > deadline:
        raise OSError(
          f"{name} could not be reached for {PATIENCE:.0f} s ({cause}); start "
          "the same command again when it can."
        ) from error
      logging.warning("%s: trying again in %.1f s (%s).", name, wait, cause)
      time.sleep(wait)
  raise AssertionError


def _is_final(error: Exception) -> bool:
  """Whether the server will say the same later on."""
  if isinstance(error, PermissionError):
    return True
  # urllib, gcsfs and google.api_core give HTTP's number; TensorFlow its own,
  # of which 3 is an invalid argument, 5 not found, 7 denied, 9 precondition
  # failed and 16 not authenticated.
  code = getattr(error, "code", None) or getattr(error, "error_code", None)
  try:
    number = int(code)  # type: ignore[arg-type]  # None and texts are none
  except (TypeError, ValueError):
    return False
  too_often = number in (408, 429)
  return number in (3, 5, 7, 9, 16) or 400 <= number < 500 and not too_often


def make_folder(folder: epath.Path) -> None:
  """Makes a folder with its parents unless it is there.

  Raises:
    ValueError: if something else of that name is.
  """
  try:
    patiently(lambda: folder.mkdir(parents=True, exist_ok=True), folder)
  except FileExistsError:
    kind = "a file"
    if os.path.islink(folder) and not os.path.exists(folder):
      kind = f"a link to {os.readlink(folder)!r}, which is not there"
    raise ValueError(
      f"{folder} is {kind}, and no folder; choose another, or remove it."
    ) from None


def exists(file: epath.Path) -> bool:
  """Whether a file of that name is there."""
  if not is_remote(file):
    return file.exists()
  try:
    # Clients say of an object that it is not there where they got no answer.
    patiently(file.read_bytes, file)
    return True
  except FileNotFoundError:
    return False


def check_file(file: epath.Path) -> None:
  """Raises ValueError for what is there and no file, as a pipe, which waits."""
  if is_remote(file):
    return
  if os.path.exists(file) and not os.path.isfile(file):
    raise ValueError(f"{file} is no file; remove it, or choose another folder.")


def write(target: epath.Path, text: str) -> None:
  """Writes a file whole or not at all: others may be reading, or kill us."""
  if is_remote(target):
    # Appears when its upload is complete.
    try:
      patiently(lambda: target.write_text(text), target)
    except FileNotFoundError as error:
      raise OSError(
        f"{target} cannot be made: there is no such bucket."
      ) from error
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
  check_file(file)
  try:
    return json.loads(patiently(file.read_bytes, file).decode())
  except (ValueError, RecursionError) as error:  # of JSON, or of UTF-8
    raise ValueError(
      f"{file} is damaged ({error}); restore it, or remove it together with "
      "what it describes."
    ) from None
