"""JAX's cache of compiled programs: a second start need not compile them."""

from __future__ import annotations

import hashlib
import os
import pathlib
import platform
import re
from typing import Any
import warnings

from absl import logging
import jax

from experiments.workdir import storage

# What takes less is compiled again: reading it would hardly be quicker.
_SECONDS = 0.2
_BYTES = 4 * 2**30


def keep(chosen: str | None, workdir: str | os.PathLike[str] | None) -> None:
  """Has JAX keep compiled programs, and look for them; call before it compiles.

  Programs are found by all that they are made from (the program, the devices,
  options and versions), and give the numbers that a compilation gives. Without
  a folder to use, or with a damaged one, they are compiled, after a warning.

  Args:
    chosen: folder or URL, "none", or None for the default:
      JAX_COMPILATION_CACHE_DIR; else a workdir's own where that is in a bucket,
      since a preempted machine's folders are gone; else `folder`.
    workdir: the run's, if there is one.
  """
  if chosen == "none":
    jax.config.update("jax_enable_compilation_cache", False)
    return
  chosen = chosen or os.environ.get("JAX_COMPILATION_CACHE_DIR")
  if not chosen and workdir and storage.is_remote(workdir):
    chosen = f"{os.fspath(workdir).rstrip('/')}/xla"
  target = str(storage.path(chosen)) if chosen else str(folder())
  if storage.is_remote(target):
    # XLA's own caches for GPUs would go below it, and XLA opens no URLs.
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
  else:
    problem = _unusable(pathlib.Path(target))
    if problem:
      logging.warning(
        "Compiled programs are not kept: %s. Choose another folder with "
        "--compilation_cache, or none.",
        problem,
      )
      jax.config.update("jax_enable_compilation_cache", False)
      return
    if pathlib.Path(target).is_relative_to(folder()):
      _shrink(pathlib.Path(target), _BYTES)
  jax.config.update("jax_compilation_cache_dir", target)
  if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _SECONDS)
  _warn_once(target)


def folder() -> pathlib.Path:
  """Returns the default: in the user's cache, one for each kind of machine.

  A CPU's programs are made of its own instructions, and JAX does not look at
  those: in a home that machines share, another's might end the process.
  """
  home = os.environ.get("XDG_CACHE_HOME", "")
  # By the standard, relative ones are to be ignored.
  root = home if os.path.isabs(home) else os.path.expanduser("~/.cache")
  return pathlib.Path(root) / "jaxmix" / "xla" / _machine()


def _machine() -> str:
  try:
    text = pathlib.Path("/proc/cpuinfo").read_text()
  except OSError:
    text = ""
  kinds = re.findall(r"^(?:model name|flags|Features)\s*:.*$", text, re.M)
  told = "\n".join([platform.machine(), platform.processor(), *kinds[:2]])
  return hashlib.sha256(told.encode()).hexdigest()[:12]


def _unusable(target: pathlib.Path) -> str:
  """Why no file can be made in a folder; "" where one can."""
  if not target.is_absolute():
    return f"{target} is nowhere without a home"
  probe = target / f".probe-{os.getpid()}"
  try:
    # Whoever can write here can have us run their programs.
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    probe.touch()
    probe.unlink()
  except OSError as error:
    return str(error)
  return ""


def _shrink(target: pathlib.Path, limit: int) -> None:
  """Removes the programs not read for longest, down to half of the limit.

  JAX could bound the folder itself, by a lock and a write at every read.
  """
  entries = []
  for path in target.glob("*-cache"):
    try:
      status = path.stat()
    except OSError:  # another process removes it, too
      continue
    entries.append((max(status.st_atime, status.st_mtime), status, path))
  size = sum(status.st_size for _, status, _ in entries)
  if size <= limit:
    return
  for _, status, path in sorted(entries, key=lambda entry: entry[0]):
    path.unlink(missing_ok=True)
    size -= status.st_size
    if size <= limit / 2:
      return


def _warn_once(target: str) -> None:
  """Says in one line what JAX says of each program that it cannot read."""
  show = warnings.showwarning
  said = False

  def show_less(message: Any, *rest: Any, **more: Any) -> None:
    nonlocal said
    if "persistent compilation cache entry" not in str(message):
      show(message, *rest, **more)
    elif not said:
      said = True
      reason = str(message).splitlines()[0][:300]
      logging.warning(
        "%s. What cannot be read in %s is compiled each time; if this comes "
        "again, remove that folder.",
        reason,
        target,
      )

  warnings.showwarning = show_less
