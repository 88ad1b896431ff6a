"""What an image's label is, and which number a class has."""

from __future__ import annotations

import collections
from collections.abc import Collection, Iterable
import re
import unicodedata

from experiments.inputs.prepare import find, text


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
      raise ValueError(f"{flag}: {name!r} lies in no class folder.")
    return folder
  file_name = name.rpartition("/")[2]
  match = re.fullmatch(pattern, file_name)
  if not match or not match["label"]:
    raise ValueError(
      f"pattern: {pattern!r} does not match the whole of {name!r}. Correct"
      " the pattern, or move the file out of the folder."
    )
  return match["label"]


def check_pattern(pattern: str) -> None:
  """Refuses what no label can be read with.

  Raises:
    ValueError: if it is no regular expression, or has no group `label`.
  """
  try:
    groups = re.compile(pattern).groupindex
  except re.error as error:
    raise ValueError(
      f"pattern: {pattern!r} is no regular expression: {error}."
    ) from None
  if pattern and "label" not in groups:
    raise ValueError(
      "pattern: expected a regular expression with a group (?P<label>...),"
      f" got {pattern!r}."
    )


def check_names(names: Iterable[str]) -> None:
  """Refuses class names that tfds, which stores one a line, would change.

  Raises:
    ValueError: naming them.
  """
  bad = [
    name
    for name in names
    if name != name.strip()
    or any(unicodedata.category(c) in ("Cc", "Zl", "Zp") for c in name)
  ]
  if bad:
    raise ValueError(
      "classes: a class name must not hold line breaks or control characters,"
      f" nor begin or end with a space; got {find.listed(bad)}. Rename the"
      " folders, or correct --pattern."
    )


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
  lines = text.read_lines(path, "classes")
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


def numbered(
  labels: dict[str, str], classes: list[str], source: str, flag: str
) -> dict[str, int]:
  """Returns {image: class index}.

  Args:
    labels: {image: label}.
    classes: the names, in order.
    source: of the classes, for the error.
    flag: that the images are from, for the error.

  Raises:
    ValueError: if a label is no class.
  """
  index = {label: i for i, label in enumerate(classes)}
  unknown = sorted(set(labels.values()) - index.keys())
  if unknown:
    name = next(name for name, label in labels.items() if label == unknown[0])
    raise ValueError(
      f"{flag}: labels {find.listed(unknown)}, the first of {name!r}, are not"
      f" in {source}, which has {len(classes)} classes such as {classes[0]!r}."
    )
  return {name: index[label] for name, label in labels.items()}
