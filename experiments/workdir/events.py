"""TensorBoard events beside a run's metrics, also in a bucket."""

from __future__ import annotations

from absl import logging
from etils import epath
import tensorboardX
from tensorboardX import record_writer


def writer(
  folder: epath.PathLike, purge_step: int
) -> tensorboardX.SummaryWriter:
  """Returns a writer of events into `folder`.

  TensorBoard then shows nothing that was written before for steps from
  `purge_step` on.
  """
  return tensorboardX.SummaryWriter(str(folder), purge_step=purge_step)


class _EventsObject:
  """TensorBoard events in a bucket, all of them written at each flush.

  tensorboardX's own writer uploads once more when it is collected, and without
  a network keeps a run that is to stop from ending for two minutes.
  """

  def __init__(self, path: str):
    self._path = epath.Path(path)
    self._events = b""

  def write(self, data: bytes) -> None:
    """Keeps the data for the next flush."""
    self._events += data

  def flush(self) -> None:
    """Writes the object."""
    try:
      self._path.write_bytes(self._events)
    except Exception as error:
      # An error would end tensorboardX's thread, and the run would wait for it
      # forever. The next flush writes these events too.
      logging.warning("TensorBoard events were not written: %s", error)

  def close(self) -> None:
    """Has nothing left to do: closing flushes first."""


class _EventsObjects:
  """What tensorboardX asks for such files."""

  def open(self, path: str) -> _EventsObject:
    """Begins an object."""
    return _EventsObject(path)

  def directory_check(self, path: str) -> None:
    """Has nothing to make: buckets have no folders."""


record_writer.register_writer_factory("gs", _EventsObjects())
