"""Which files of a folder are images, and what is left out, by reason."""

from __future__ import annotations

import collections
from collections.abc import Sequence
import os
from typing import NamedTuple
import unicodedata

# What `encoded` decodes, under the names that it usually goes by.
EXTENSIONS = frozenset(
  {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif"}
)
# Of macOS's archives, Synology's and Windows's disks, ext4 and Python.
_SYSTEM = frozenset(
  {
    "__MACOSX",
    "@eaDir",
    "$RECYCLE.BIN",
    "System Volume Information",
    "lost+found",
    "__pycache__",
  }
)
_NAMED = 20


class Found(NamedTuple):
  """The images of a folder.

  Attributes:
    images: {path below the folder, with forward slashes: path}, sorted. The
      keys are in Unicode's composed form (NFC): one name, one key, whichever
      form a file system keeps.
    left_out: how many files and folders were not looked at, by reason.
    empty: {folder directly below without any image: what was left out in it}.
  """

  images: dict[str, str]
  left_out: collections.Counter[str]
  empty: dict[str, collections.Counter[str]]


def find_images(folder: str, flag: str = "folder") -> Found:
  """Finds the images at any depth, by their names' endings in any case.

  What a file manager, a notebook or an archive leaves behind is no class and
  no image: names that begin with a dot, and folders like __MACOSX. Links are
  followed, but a folder that can be reached in several ways is looked into
  once, and not through a link if there is another way.

  Args:
    folder: where to look.
    flag: that named the folder, for the errors.

  Raises:
    FileNotFoundError: if `folder` is not a folder or holds no image.
    OSError: if a folder in it cannot be read.
    ValueError: if an image's or a folder's name is not UTF-8, or two differ in
      their Unicode form alone.
  """
  if not os.path.isdir(folder):
    hint = " Copy it to a disk: only --out may be a URL." * ("://" in folder)
    raise FileNotFoundError(f"{flag}: {folder!r} is not a folder.{hint}")
  paths: list[tuple[str, str]] = []
  left_out: dict[str, collections.Counter[str]] = {}  # by topmost folder
  seen: set[str] = set()
  folders: list[str] = [""]
  links: list[str] = []
  while folders or links:
    parent = folders.pop() if folders else links.pop()
    top = parent.partition("/")[0]
    counts = left_out.setdefault(top, collections.Counter())
    real = os.path.realpath(os.path.join(folder, parent))
    if real in seen:
      left_out[""]["links to folders seen already"] += 1
      if parent == top:
        del left_out[top]
      continue
    seen.add(real)
    # Which way leads first to a folder must not be the file system's choice.
    for entry in reversed(_listed(os.path.join(folder, parent), flag)):
      name = f"{parent}/{entry.name}".lstrip("/")
      is_folder, is_file, is_link = _kind(entry)
      if entry.name.startswith(".") or entry.name in _SYSTEM:
        counts["hidden or system files and folders"] += 1
      elif is_folder:
        (links if is_link else folders).append(name)
      elif (ending := _ending(entry.name)) not in EXTENSIONS:
        counts[
          f"files named *{ending}" if ending else "files without an ending"
        ] += 1
      elif not is_file:
        counts["pipes, sockets, devices and dangling links"] += 1
      else:
        paths.append((name, entry.path))
  images = _by_name(paths, folder, flag)
  total = sum(left_out.values(), collections.Counter())
  if not images:
    raise FileNotFoundError(
      f"{flag}: no image in {folder!r} or below it, which are"
      f" {', '.join(sorted('*' + e for e in EXTENSIONS))} in any case (left"
      f" out: {summary(total)}). Other formats must be converted first."
    )
  full = {name.partition("/")[0] for name, _ in paths} | {""}
  empty = {
    composed(top): counts
    for top, counts in sorted(left_out.items())
    if top not in full
  }
  return Found(images, total, empty)


def composed(name: str) -> str:
  """Returns a name in the one form that names are compared in: NFC."""
  return unicodedata.normalize("NFC", name)


def summary(left_out: collections.Counter[str]) -> str:
  """Returns "2 files named *.txt, 1 ..."."""
  reasons = [f"{count:,} {reason}" for reason, count in left_out.most_common()]
  if len(reasons) > _NAMED:
    reasons[_NAMED:] = [f"and {len(reasons) - _NAMED:,} other kinds"]
  return ", ".join(reasons) or "nothing"


def listed(names: Sequence[object]) -> str:
  """Returns the first of many names, quoted, and how many more there are."""
  more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
  return ", ".join(map(repr, names[:_NAMED])) + more


def _listed(path: str, flag: str) -> list[os.DirEntry[str]]:
  try:
    with os.scandir(path) as entries:
      return sorted(entries, key=lambda entry: entry.name)
  except PermissionError as error:
    raise OSError(
      f"{flag}: {path!r} cannot be looked into ({error.strerror}). Make it"
      " readable (chmod u+rx), or move it out of the folder."
    ) from None


def _kind(entry: os.DirEntry[str]) -> tuple[bool, bool, bool]:
  """Whether an entry is a folder, a regular file, and a link to it."""
  try:
    return entry.is_dir(), entry.is_file(), entry.is_symlink()
  except OSError:  # a link to itself
    return False, False, True


def _ending(name: str) -> str:
  ending = os.path.splitext(name)[1].lower()
  return ending.encode(errors="replace").decode()


def _by_name(paths, folder: str, flag: str) -> dict[str, str]:
  """{composed name: path}, sorted; names that no data set can hold end it."""
  unnamed = [os.fsencode(name) for name, _ in paths if not _is_text(name)]
  if unnamed:
    raise ValueError(
      f"{flag}: {len(unnamed):,} names in {folder!r} are not UTF-8, as the"
      f" names of a data set must be: {listed(unnamed)}. Rename them, such as"
      " with convmv -f latin1 -t utf8 -r --notest FOLDER."
    )
  images: dict[str, str] = {}
  for name, path in paths:
    other = images.setdefault(composed(name), path)
    if other != path:
      raise ValueError(
        f"{flag}: {ascii(other)} and {ascii(path)} are one name in two Unicode"
        " forms, composed and decomposed. Rename one, or remove it."
      )
  return dict(sorted(images.items()))


def _is_text(name: str) -> bool:
  try:
    name.encode()
  except UnicodeEncodeError:
    return False
  return True
