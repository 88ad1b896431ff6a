"""results.jsonl: one object a finished run, written as runs end.

Each has the grid's keys; "validation" and "test", what an evaluation line says
of each part (a data set without a test part has none); "seconds", the run's
share of its program's time; "diverged_at", the first step whose loss was not
finite, where there was one: such a run has no numbers. "curve" holds the
evaluations on the way, where there were any.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
import json
import os
from typing import Any

from etils import epath

Result = dict[str, Any]

# What is no key of the grid.
FIELDS = frozenset(
  {"validation", "test", "seconds", "diverged_at", "step", "curve"}
)


def keys(result: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the grid's keys of a result."""
  return {key: value for key, value in result.items() if key not in FIELDS}


def read(path: str | os.PathLike[str]) -> list[Result]:
  """Returns all results, [] where there is no file.

  A last line that was cut by a kill does not count.

  Raises:
    ValueError: if another line is no object, naming file and line.
  """
  file = epath.Path(path)
  lines = file.read_bytes().split(b"\n") if file.exists() else [b""]
  found = []
  for number, line in enumerate(lines[:-1], 1):
    try:
      result = json.loads(line)
    except ValueError:
      result = None
    if not isinstance(result, dict):
      raise ValueError(
        f"{path}, line {number}, is damaged: no JSON object. Remove the line; "
        "its run will be trained again."
      )
    found.append(result)
  return found


def append(
  path: str | os.PathLike[str], results: Iterable[Mapping[str, Any]]
) -> None:
  """Adds results, each a line, after the last whole one."""
  with open(path, "ab+") as file:
    file.seek(0)
    whole = file.read().rfind(b"\n") + 1
    file.truncate(whole)
    for result in results:
      file.write(json.dumps(result).encode() + b"\n")
    file.flush()
    os.fsync(file.fileno())
