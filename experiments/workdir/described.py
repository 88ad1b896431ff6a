"""What a run is: config.json, and who made it, provenance.json.

`check` only reads. `write` is for when everything is built and steps are about
to be taken: a command that fails before then leaves nothing behind that the
corrected one could be refused for, and a finished run that is started again
keeps its history.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
import os
from typing import Any

from experiments.workdir import provenance, storage


def check(
  workdir: str | os.PathLike[str],
  config: Mapping[str, Any],
  *,
  free: Collection[str],
  defaults: Mapping[str, Any],
) -> None:
  """Raises unless the workdir is new or holds a run of this config.

  Args:
    workdir: a run's folder, or one that may not exist yet.
    config: the resolved config as JSON has it, lists for tuples.
    free: the keys that may change from one start to the next.
    defaults: every key with its default. A key that config.json lacks is one
      that came later; its default is what that run did.

  Raises:
    ValueError: if config.json is damaged, or the run in `workdir` is of another
      config, naming each key.
  """
  path = storage.path(workdir) / "config.json"
  if not storage.exists(path):
    return
  before = storage.read_json(path)
  if not isinstance(before, dict):
    raise ValueError(
      f"{path} is damaged (a {type(before).__name__} and no object); restore "
      "it, or choose another workdir."
    )
  differing = differences(before, config, free=free, defaults=defaults)
  if differing:
    raise ValueError(
      f"workdir {path.parent} holds a run of another config ("
      + "; ".join(differing)
      + "); choose another workdir, or remove this one."
    )


def differences(
  before: Mapping[str, Any],
  now: Mapping[str, Any],
  *,
  free: Collection[str],
  defaults: Mapping[str, Any],
) -> list[str]:
  """Returns "KEY: ... there, ... now" for each key that decides the numbers."""
  before, now = {**defaults, **before}, {**defaults, **now}
  return [
    f"{key}: {before.get(key)!r} there, {now.get(key)!r} now"
    for key in sorted(before.keys() | now.keys())
    if key not in free and before.get(key) != now.get(key)
  ]


def write(
  workdir: str | os.PathLike[str], config: Mapping[str, Any], *, step: int
) -> None:
  """Writes config.json, and this start into provenance.json.

  Args:
    workdir: made if missing.
    config: as `check` takes it.
    step: the first step of this start, counted from 0: those before it are
      earlier entries'.
  """
  folder = storage.path(workdir)
  storage.make_folder(folder)
  storage.write_json(folder / "config.json", config)
  provenance.add(folder, step)
