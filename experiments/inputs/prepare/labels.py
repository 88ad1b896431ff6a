"""Which images there are, what their labels are, and which are held out."""

from __future__ import annotations

import collections
from collections.abc import Collection
import hashlib
import os
import re
from typing import NamedTuple

_EXTENSIONS = (".jpg", ".jpeg")
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


class Found(NamedTuple):
  """The images of a folder.

  Attributes:
    images: {path below the folder, with forward slashes: path}, sorted.
    left_out: how many files and folders were not looked at, by reason.
  """

  images: dict[str, str]
  left_out: collections.Counter[str]


def find_images(folder: str, flag: str = "folder") -> Found:
  """Finds the files named *.jpg or *.jpeg, in any case, at any depth.

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
  """
  if not os.path.isdir(folder):
    raise FileNotFoundError(f"{flag}: {folder!r} is not a folder.")
  images: dict[str, str] = {}
  left_out: collections.Counter[str] = collections.Counter()
  seen: set[str] = set()
  folders = [folder]
  links: list[str] = []
  while folders or links:
    parent = folders.pop() if folders else links.pop()
    real = os.path.realpath(parent)
    if real in seen:
      left_out["links to folders seen already"] += 1
      continue
    seen.add(real)
    with os.scandir(parent) as entries:
      # Which way leads first to a folder must not be the file system's choice.
      for entry in sorted(entries, key=lambda entry: entry.name, reverse=True):
        if entry.name.startswith(".") or entry.name in _SYSTEM:
          left_out["hidden or system files and folders"] += 1
        elif entry.is_dir():
          (links if entry.is_symlink() else folders).append(entry.path)
        elif not entry.name.lower().endswith(_EXTENSIONS):
          left_out["files with other names"] += 1
        elif not entry.is_file():
          left_out["pipes, devices and dangling links"] += 1
        else:
          name = os.path.relpath(entry.path, folder).replace(os.sep, "/")
          images[name] = entry.path
  if not images:
    raise FileNotFoundError(
      f"{flag}: no *.jpg or *.jpeg file in {folder!r} or below it (left out:"
      f" {summary(left_out)}). Other formats must be converted first."
    )
  return Found(dict(sorted(images.items())), left_out)


def summary(left_out: collections.Counter[str]) -> str:
  """Returns "2 files with other names, 1 ..."."""
  reasons = (f"{count:,} {reason}" for reason, count in left_out.most_common())
  return ", ".join(reasons) or "nothing"


def label_of(name: str, pattern: str, flag: str = "folder") -> str:
  """Returns the label of the image `name` (its path below the folder).

  Args:
    name: path below the folder, with forward slashes.
    pattern: regular expression for the whole file name, with a group `label`;
      "" takes the topmost folder's name.
    flag: that named the folder, for the error.

  Raises:
    ValueError: if the name has no label; the message names it.
  """
  if not pattern:
    folder, slash, _ = name.partition("/")
    if not slash:
      raise ValueError(
        f"{flag}: {name!r} lies in no class folder. Put every image in a"
        " folder named after its class, or give --pattern to read labels from"
        " file names."
      )
    return folder
  file_name = name.rpartition("/")[2]
  match = re.fullmatch(pattern, file_name)
  if not match or not match["label"]:
    raise ValueError(
      f"pattern: {pattern!r} does not match the whole of {name!r}. Correct"
      " the pattern, or move the file out of the folder."
    )
  return match["label"]


def read_classes(path: str, found: Collection[str]) -> list[str]:
  """Returns the class names in order of their indices.

  Each line is "name" or, on all lines, "index name", where a name may have
  spaces; or the same with other words after a name without any. It is what the
  labels say: the first of these readings that has them all.

  Args:
    path: of a text file in UTF-8; empty lines are ignored.
    found: the labels of the images.

  Raises:
    ValueError: if indices are not 0, 1, 2, ... in some order, or a name comes
      twice.
  """
  # Windows's editors begin a file with a byte-order mark.
  with open(path, encoding="utf-8-sig") as file:
    lines = [line.strip() for line in file if line.strip()]
  if not lines:
    raise ValueError(f"classes: {path!r} is empty.")
  if set(found) <= set(lines):
    names = lines
  else:
    names = _without_indices(lines, path)
    if not set(found) <= set(names):
      names = [line.split()[0] for line in names]
  for name, count in collections.Counter(names).items():
    if count > 1:
      raise ValueError(f"classes: {path!r} lists {name!r} more than once.")
  return names


def _without_indices(lines: list[str], path: str) -> list[str]:
  """Returns the lines in order of the numbers they begin with, if all do."""
  rows = [line.split(maxsplit=1) for line in lines]
  if not all(len(row) > 1 and row[0].isdecimal() for row in rows):
    return lines
  rows.sort(key=lambda row: int(row[0]))
  for i, row in enumerate(rows):
    if int(row[0]) != i:
      raise ValueError(
        f"classes: {path!r} should number its {len(rows)} classes from 0"
        f" to {len(rows) - 1}, each once; index {i} is missing."
      )
  return [row[1] for row in rows]


def index_labels(images, pattern, classes, source, flag="folder"):
  """Returns {name: class index}; unknown labels are errors."""
  index = {label: i for i, label in enumerate(classes)}
  labels = {}
  for name in images:
    label = label_of(name, pattern, flag)
    if label not in index:
      raise ValueError(
        f"classes: the label {label!r} of {name!r} is not in {source}, which"
        f" has {len(classes)} classes such as {classes[0]!r}."
      )
    labels[name] = index[label]
  return labels


def split_by_hash(names, fraction: float) -> tuple[list[str], list[str]]:
  """Splits names into (train, validation), deterministically.

  Validation is the round(fraction * len(names)) names with the smallest
  SHA-256, but at least one; the classes are not balanced.

  Raises:
    ValueError: if either part would be empty.
  """
  names = sorted(names)
  count = max(1, round(fraction * len(names)))
  if not 0 < fraction < 1 or count == len(names):
    raise ValueError(
      "eval_fraction: expected a number in (0, 1) that leaves at least one of"
      f" the {len(names)} images for training, got {fraction}. To validate on"
      " the training images, use --eval_split=same."
    )

  def digest(name):
    return hashlib.sha256(name.encode()).digest()

  chosen = set(sorted(names, key=digest)[:count])
  return [name for name in names if name not in chosen], sorted(chosen)
