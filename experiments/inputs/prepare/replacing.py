"""A data set written beside its place, and put there when it is complete."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import os
import signal
import socket

from experiments.inputs.tfrecords import records


@contextlib.contextmanager
def replacing(
  out: str, name: str, version: str, *, overwrite: bool
) -> Iterator[str]:
  """Yields a data_dir to write the data set to, which then takes its place.

  It is a hidden folder in `out` that ends with the context; what a killed
  process of this machine left there is removed, and a data set that it had set
  aside is put back. Until two renames at the end, the old one is untouched. In
  a bucket a rename copies object by object.

  Args:
    out: the data_dir that the data set is for.
    name: of the data set.
    version: of the data set.
    overwrite: whether it may be there already.

  Raises:
    FileExistsError: if it is there and `overwrite` is False.
    OSError: if it cannot be written.
  """
  tf, _ = records.import_tensorflow()
  files = tf.io.gfile
  path = os.path.join(out, name, version)
  aside = f"{path}.previous"
  with _named(out):
    _put_back(path, aside)
    _check_free(path, overwrite)
    files.makedirs(out)
    _remove_left(out, name)
    beside = f"{_prefix(out, name)}{os.getpid()}"
    files.makedirs(beside)
  print(f"Writing {path}", flush=True)
  try:
    with _named(out):
      yield beside
      _check_free(path, overwrite)  # another may have been faster
      files.makedirs(os.path.dirname(path))
      old = files.exists(path)
      if old:
        files.rename(path, aside)
      files.rename(os.path.join(beside, name, version), path)
      if old:
        files.rmtree(aside)
  finally:
    files.rmtree(beside)


@contextlib.contextmanager
def terminating() -> Iterator[None]:
  """Lets a SIGTERM end the context as an exception does, cleaning up."""

  def stop(signum, frame):
    del frame
    raise SystemExit(128 + signum)

  before = signal.signal(signal.SIGTERM, stop)
  try:
    yield
  finally:
    signal.signal(signal.SIGTERM, before)


def _check_free(path: str, overwrite: bool) -> None:
  tf, _ = records.import_tensorflow()
  if tf.io.gfile.exists(path) and not overwrite:
    raise FileExistsError(
      f"out: {path} exists already. Add --overwrite to replace it, or choose"
      " another --out or --name."
    )


def _put_back(path: str, aside: str) -> None:
  """Mends what a process left that was killed between the two renames."""
  tf, _ = records.import_tensorflow()
  files = tf.io.gfile
  if not files.exists(aside):
    return
  if files.exists(os.path.join(path, "dataset_info.json")):
    files.rmtree(aside)
    return
  if files.exists(path):
    files.rmtree(path)
  files.rename(aside, path)
  print(f"Put {path} back, which a killed process had set aside.", flush=True)


def _prefix(out: str, name: str) -> str:
  return os.path.join(out, f".{name}.{socket.gethostname()}.")


def _remove_left(out: str, name: str) -> None:
  """Removes what dead processes of this machine were writing."""
  tf, _ = records.import_tensorflow()
  prefix = _prefix(out, name)
  for path in tf.io.gfile.glob(f"{tf.io.gfile.join(out, '.' + name)}.*"):
    process = path.rstrip("/").removeprefix(prefix)
    if process.isdecimal() and not _lives(int(process)):
      tf.io.gfile.rmtree(path)
      print(f"Removed {path}, which a killed process left.", flush=True)
    else:
      print(
        f"{path} belongs to a process that may be writing it; remove it if"
        " there is none.",
        flush=True,
      )


def _lives(process: int) -> bool:
  if process == os.getpid():
    return False  # of an earlier process with this one's number
  try:
    os.kill(process, 0)
  except ProcessLookupError:
    return False
  except PermissionError:
    return True
  return True


@contextlib.contextmanager
def _named(out: str) -> Iterator[None]:
  """Turns TensorFlow's errors into ones that name the flag and a remedy."""
  tf, _ = records.import_tensorflow()
  remedies = {
    tf.errors.ResourceExhaustedError: "make room, and start the same command"
    " again",
    tf.errors.PermissionDeniedError: "choose another folder, or have it made"
    " writable for you",
    tf.errors.FailedPreconditionError: "a part of that path is a file; choose"
    " another",
  }
  try:
    yield
  except tf.errors.OpError as error:
    remedy = remedies.get(type(error), "choose another --out")
    raise OSError(
      f"out: {out} cannot be written: {error.message.splitlines()[0]};"
      f" {remedy}."
    ) from error
