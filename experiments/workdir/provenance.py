"""What a result was made with, so that it can be made again.

A run's provenance.json is a list, an entry for each start that took steps:
`describe`, and "from_step", the steps that were there before. Before there
were lists it was one such description.
"""

from __future__ import annotations

from importlib import metadata
import os
import pathlib
import shlex
import subprocess
import sys
from typing import Any

import jax

from experiments.workdir import storage

_PACKAGES = ("jaxmix", "jax", "jaxlib", "flax", "optax", "numpy")


def describe(module: str = "experiments.main") -> dict[str, Any]:
  """Returns the command, commit, devices and versions in force.

  Args:
    module: what was run as python -m.

  Returns:
    A dictionary ready for JSON.

  "commit" is None outside a git checkout, and ends in "+" where tracked files
  differ from it.
  """
  return {
    "command": f"python -m {module} " + shlex.join(sys.argv[1:]),
    "commit": commit(),
    "devices": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
    "processes": jax.process_count(),
    "python": sys.version.split()[0],
    "versions": versions(),
  }


def read(workdir: str | os.PathLike[str]) -> list[dict[str, Any]]:
  """Returns a run's entries, oldest first; none where there is no file.

  Raises:
    ValueError: if provenance.json is damaged, naming it.
  """
  path = storage.path(workdir) / "provenance.json"
  found = storage.read_json(path) if storage.exists(path) else []
  return found if isinstance(found, list) else [found]


def add(workdir: str | os.PathLike[str], step: int) -> None:
  """Adds the entry of a start that goes on from `step`."""
  folder = storage.path(workdir)
  entry = {"from_step": step} | describe()
  storage.write_json(folder / "provenance.json", [*read(folder), entry])


def versions() -> dict[str, str | None]:
  """Returns the versions of what decides the numbers, None for what is not."""
  return {name: _version(name) for name in _PACKAGES}


def _version(name: str) -> str | None:
  try:
    return metadata.version(name)
  except metadata.PackageNotFoundError:
    return None


def commit() -> str | None:
  """Returns the checkout's commit, see `describe`."""
  here = pathlib.Path(__file__).parent

  def git(*words: str) -> str:
    done = subprocess.run(
      ["git", "-C", str(here), *words],
      capture_output=True,
      text=True,
      check=True,
    )
    return done.stdout.strip()

  try:
    changed = git("status", "--porcelain", "--untracked-files=no")
    return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
  except (OSError, subprocess.CalledProcessError):
    return None
