"""One run at a time in a workdir."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import contextlib
import errno
import fcntl
import json
import os
import pathlib
import secrets
import socket
import threading
import time
from typing import Any

from absl import logging
from etils import epath

from experiments.workdir import storage

# In a bucket: a holder's object is written anew every _REFRESH seconds, and one
# that has not changed for _STALE is taken over. The margin is for slow uploads.
_REFRESH = 15.0
_STALE = 60.0
# Between writing the object and looking whether another wrote it, too.
_SETTLE = 2.0
# Network file systems look for new names that often, at most.
_SEEN = 60.0
# How long those who wait for the holder's word need to wait at most.
PATIENCE = 3 * _STALE
_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)


class HeldError(RuntimeError):
  """Another process writes to the workdir."""


@contextlib.contextmanager
def hold(workdir: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
  """Holds a workdir, made if missing, for as long as the context lasts.

  Of several processes of one run, process 0 alone takes it: it writes.

  In a folder it is a lock of the kernel's (flock) on DIR/lock, which ends with
  its holder however that dies; the file's text only says who it is. A file
  system that has no locks is used without, with a warning. Over NFS it holds
  between hosts if the mount keeps locks on the server (not `nolock`).

  A bucket has no locks. There, DIR/lock is an object with the holder's host,
  process and time that it keeps writing anew:
  - one whose process is known to be dead (on this very machine) is taken over
    at once, one that has not changed for a minute after that minute. So a run
    killed elsewhere (SIGKILL, a lost machine) waits for a minute;
  - of two that start within the same two seconds the last to write goes on;
  - not excluded: a holder that cannot reach the bucket for a minute, such as a
    suspended machine, loses it to another; it says so when it finds out, and
    both have written meanwhile.

  Args:
    workdir: folder or gs:// URL.

  Yields:
    What DIR/lock says of the holder, for `check_seen`.

  Raises:
    HeldError: if another process holds it, naming its host and process id.
  """
  folder = storage.path(workdir)
  storage.make_folder(folder)
  kind = _object if storage.is_remote(folder) else _file
  with kind(folder / "lock") as mine:
    yield mine


def check_seen(
  workdir: str | os.PathLike[str], holder: Mapping[str, Any]
) -> None:
  """Raises unless this process's workdir is the one that `holder` holds.

  Each of a run's processes writes its part of a checkpoint, and reads what it
  goes on from, so that all must see one workdir.

  Args:
    workdir: as this process was given it.
    holder: what `hold` yielded elsewhere.

  Raises:
    ValueError: if the folders are different ones.
  """
  folder = storage.path(workdir)
  # Another host's directory cache may be behind.
  patience = 0.0 if holder.get("machine") == _machine() else _SEEN
  deadline = time.monotonic() + patience
  while _read(folder / "lock").get("token") != holder["token"]:
    if time.monotonic() >= deadline:
      raise ValueError(
        f"workdir {folder} on host {socket.gethostname()} is not the folder "
        f"that process {holder['pid']} on host {holder['host']} writes to; "
        "give all processes one workdir: a folder that their hosts share, or "
        "a gs:// URL."
      )
    time.sleep(1.0)


def _refused(path: os.PathLike[str], holder: dict[str, Any]) -> HeldError:
  return HeldError(
    f"workdir {os.fspath(path).removesuffix('/lock')} is in use by process "
    f"{holder.get('pid', 'unknown')} on host {holder.get('host', 'unknown')}; "
    "wait until it ends, stop it, or choose another workdir."
  )


def _myself() -> dict[str, Any]:
  return {
    "host": socket.gethostname(),
    "pid": os.getpid(),
    "machine": _machine(),
    "time": time.time(),
    "token": secrets.token_hex(8),  # this holding, and no other
  }


def _parsed(text: str) -> dict[str, Any]:
  """Who a lock's text names; {} where it was written by no holder."""
  try:
    found = json.loads(text)
  except ValueError:
    return {}
  return found if isinstance(found, dict) else {}


@contextlib.contextmanager
def _file(path: epath.Path) -> Iterator[dict[str, Any]]:
  # The file stays when it is let go: were it removed, one process could lock
  # the removed file while another locks a new one.
  flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
  file = os.open(path, flags, 0o666)
  try:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      holder = _read(path)
      if not holder:  # taken this very moment: its text is being written
        time.sleep(0.2)
        holder = _read(path)
      raise _refused(path, holder) from None
    except OSError as error:
      if error.errno not in _WITHOUT_LOCKS:
        raise
      logging.warning(
        "The file system of %s has no locks (%s): start no second run in it.",
        path.parent,
        error.strerror,
      )
    mine = _myself()
    os.ftruncate(file, 0)
    try:
      os.pwrite(file, json.dumps(mine).encode() + b"\n", 0)
    except OSError as error:  # of a full disk, which does not say where
      error.filename = str(path)
      raise
    try:
      yield mine
    finally:
      os.ftruncate(file, 0)
  finally:
    os.close(file)


@contextlib.contextmanager
def _object(path: epath.Path) -> Iterator[dict[str, Any]]:
  _wait_until_free(path)
  mine = _myself()
  storage.write(path, json.dumps(mine))
  time.sleep(_SETTLE)
  holder = _read(path)
  if holder.get("token") != mine["token"]:
    raise _refused(path, holder)
  ended = threading.Event()
  thread = threading.Thread(
    target=_refresh, args=(path, mine, ended), daemon=True
  )
  thread.start()
  try:
    yield mine
  finally:
    ended.set()
    thread.join()
    # The workdir is whole without this: a stale lock is only waited for.
    with contextlib.suppress(Exception):
      if _read(path).get("token") == mine["token"]:
        path.unlink()


def _wait_until_free(path: epath.Path) -> None:
  """Returns once nobody holds the object; raises as soon as one shows life."""
  seen = _read(path)
  if not seen or _is_dead(seen):
    return
  logging.info(
    "Waiting %.0f s for a sign of process %s on host %s, who held %s.",
    _STALE,
    seen.get("pid"),
    seen.get("host"),
    path.parent,
  )
  # Only changes are looked at, no times: clocks differ.
  deadline = time.monotonic() + _STALE
  while time.monotonic() < deadline:
    time.sleep(min(1.0, _REFRESH))
    now = _read(path)
    if not now:
      return
    if now != seen:
      raise _refused(path, now)


def _refresh(
  path: epath.Path, mine: dict[str, Any], ended: threading.Event
) -> None:
  while not ended.wait(_REFRESH):
    try:
      holder = _read(path)
      if holder and holder.get("token") != mine["token"]:
        logging.error("Lost the workdir: %s", _refused(path, holder))
        return
      path.write_text(json.dumps(mine | {"time": time.time()}))
    except Exception as error:  # clients of buckets raise what they like
      logging.warning("%s was not refreshed: %s", path, error)


def _read(path: epath.Path) -> dict[str, Any]:
  try:
    return _parsed(storage.patiently(path.read_text, path))
  except FileNotFoundError:
    return {}


def _is_dead(holder: dict[str, Any]) -> bool:
  """Whether the holder ran on this machine and does no more."""
  if not holder.get("machine") or holder["machine"] != _machine():
    return False
  try:
    os.kill(int(holder["pid"]), 0)
  except ProcessLookupError:
    return True
  except (KeyError, ValueError, TypeError, OSError):
    return False
  return False


def _machine() -> str:
  """Where a process id means one process: a boot, and its space of ids.

  Names of hosts are not enough: containers may share one.
  """
  try:
    boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {os.readlink('/proc/self/ns/pid')}"
  except OSError:
    return ""
