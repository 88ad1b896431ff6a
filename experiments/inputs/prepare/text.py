"""Text files that a flag names, and paths as people write them."""

from __future__ import annotations

import os

from experiments.inputs.prepare import find


def expanded(path: str, flag: str) -> str:
  """Returns a path with the `~` that it may begin with expanded, once.

  Raises:
    ValueError: if it names a user that there is not, or is not UTF-8.
  """
  result = os.path.expanduser(path)
  if result.startswith("~"):
    raise ValueError(
      f"{flag}: {path!r} begins with a ~ and there is no such user; for a"
      f" folder of that name give ./{path}."
    )
  try:
    result.encode()
  except UnicodeEncodeError:
    raise ValueError(
      f"{flag}: {os.fsencode(path)!r} is not UTF-8; rename it."
    ) from None
  return result


def read_lines(path: str, flag: str) -> list[str]:
  """Returns the lines that are not empty, stripped, in Unicode's NFC.

  Args:
    path: of a text file in UTF-8.
    flag: that named it, for the errors.

  Raises:
    FileNotFoundError: if there is none.
    ValueError: if it is no regular file, not UTF-8, or empty.
  """
  if not os.path.exists(path):
    raise FileNotFoundError(f"{flag}: there is no file {path!r}.")
  if not os.path.isfile(path):
    raise ValueError(f"{flag}: {path!r} is no regular file.")
  try:
    # Windows's editors begin a file with a byte-order mark.
    with open(path, encoding="utf-8-sig") as file:
      lines = [line.strip() for line in file if line.strip()]
  except UnicodeDecodeError as error:
    raise ValueError(
      f"{flag}: {path!r} is not a text file in UTF-8 ({error.reason} at byte"
      f" {error.start}); convert it, such as with iconv -f latin1 -t utf8."
    ) from None
  if not lines:
    raise ValueError(f"{flag}: {path!r} is empty.")
  return [find.composed(line) for line in lines]
