"""What a result was made with, so that it can be made again."""

from __future__ import annotations

from importlib import metadata
import pathlib
import shlex
import subprocess
import sys
from typing import Any

import jax

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
    "versions": {name: _version(name) for name in _PACKAGES},
  }


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
