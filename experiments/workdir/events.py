"""TensorBoard events beside a run's metrics, which never stop the run.

tensorboardX's own writer is a thread behind a queue of ten: an error, such as a
full disk's, ends the thread, and whoever writes next waits for ever. Of it only
the format is used here, and everything is written by who calls.
"""

from __future__ import annotations

import math
import secrets
import socket
import struct
import time
from typing import Any

from absl import logging
from etils import epath
from tensorboardX.proto import event_pb2, summary_pb2
from tensorboardX.record_writer import masked_crc32c

from experiments.workdir import storage

# Between two flushes, as TensorBoard's own writers.
_FLUSH_S = 120.0


class EventsWriter:
  """Writes scalars; what cannot be written is warned of and left.

  A local file that fails once is given up, as half a record ends what
  TensorBoard reads of it. An object is written whole at each flush, so that the
  next flush makes good for one that failed.
  """

  def __init__(self, folder: epath.Path, purge_step: int):
    """Begins a file of its own in `folder`.

    TensorBoard then shows nothing that was written before for steps from
    `purge_step` on.
    """
    # Nobody can foresee the name, and plant a link there.
    name = (
      f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}"
      f".{secrets.token_hex(4)}"
    )
    self._path = folder / name
    self._remote = storage.is_remote(folder)
    self._file: storage.Appended | None = None
    self._kept = bytearray()
    self._flushed = -math.inf
    self._given_up = False
    version = "brain.Event:2"
    restart = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    self._add(file_version=version)
    self._add(step=purge_step, file_version=version)
    self._add(step=purge_step, session_log=restart)

  def add_scalar(self, name: str, value: float, step: int) -> None:
    """Writes a value, at the latest with the first one two minutes later."""
    scalar = summary_pb2.Summary.Value(tag=name, simple_value=value)
    self._add(step=step, summary=summary_pb2.Summary(value=[scalar]))
    if time.monotonic() - self._flushed > _FLUSH_S:
      self.flush()

  def flush(self) -> None:
    """Writes what has been added."""
    self._flushed = time.monotonic()
    if self._given_up or not self._kept:
      return
    try:
      if self._remote:
        self._path.write_bytes(bytes(self._kept))
        return
      if self._file is None:
        self._file = storage.Appended(self._path, new=True)
      self._file.write(bytes(self._kept))
      self._kept.clear()
    except Exception as error:  # clients of buckets raise what they like
      self._given_up = not self._remote
      logging.warning(
        "TensorBoard's %s was not written (%s); %s.",
        self._path,
        error,
        "the next flush tries again"
        if self._remote
        else "there are no more events of this start, the run goes on",
      )

  def close(self) -> None:
    """Writes what is left."""
    self.flush()
    if self._file is not None:
      self._file.close()

  def _add(self, **fields: Any) -> None:
    if self._given_up:
      return
    event = event_pb2.Event(wall_time=time.time(), **fields)
    data = event.SerializeToString()
    header = struct.pack("<Q", len(data))
    self._kept += b"".join(
      part + struct.pack("<I", masked_crc32c(part)) for part in (header, data)
    )
