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

_RECIPE = "recipe"  # method -> its own values


def check(
  workdir: str | os.PathLike[str],
  config: Mapping[str, Any],
  *,
  free: Collection[str],
  defaults: Mapping[str, Any],
  grows: Mapping[str, str] | None = None,
) -> None:
  """Raises unless the workdir is new or holds a run of this config.

  Args:
    workdir: a run's folder, or one that may not exist yet.
    config: the resolved config as JSON has it, lists for tuples.
    free: the keys that may change from one start to the next.
    defaults: every key with its default. A key that config.json lacks is one
      that came later; its default is what that run did.
    grows: keys that may become larger, each with the reason if they may not.

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
  allowed = grows or {}
  grown = {
    key: reason
    for key, reason in allowed.items()
    if _is_larger(config.get(key), before.get(key, defaults.get(key)))
  }
  free = {*free, *(key for key, reason in grown.items() if not reason)}
  differing = differences(before, config, free=free, defaults=defaults)
  for i, text in enumerate(differing):
    reason = grown.get(text.partition(":")[0])
    if reason:
      differing[i] = f"{text}, where {reason}"
  if differing:
    raise ValueError(
      f"workdir {path.parent} holds a run of another config ("
      + "; ".join(differing)
      + "); choose another workdir, or remove this one."
    )


def _is_larger(now: Any, before: Any) -> bool:
  numbers = (int, float)
  both = isinstance(now, numbers) and isinstance(before, numbers)
  return both and now > before


def differences(
  before: Mapping[str, Any],
  now: Mapping[str, Any],
  *,
  free: Collection[str],
  defaults: Mapping[str, Any],
) -> list[str]:
  """Returns "KEY: ... there, ... now" for each key that decides the numbers."""
  before, now = {**defaults, **before}, {**defaults, **now}
  known, recipe = before.get(_RECIPE), now.get(_RECIPE)
  if isinstance(known, Mapping) and isinstance(recipe, Mapping):
    # A method that came later is none that the run has.
    now[_RECIPE] = {k: v for k, v in recipe.items() if k in known}
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
