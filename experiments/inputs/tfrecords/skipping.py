"""Records that cannot be read: counted, named, skipped, up to a rate.

The fast pipeline stops at the first such record. From that batch on a tolerant
one takes its place, which marks them; its positions are the same, so batch k
stays a function of (seed, stream, k) however often a run is resumed.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator
import re
from typing import Any

from absl import logging
import numpy as np

from experiments.inputs.dataset import Batch
from experiments.inputs.tfrecords import records as records_lib
from experiments.inputs.tfrecords.order import Piece

# The allowed share is of at least so many records: one bad record among the
# first hundred says little.
LEAST = 10_000
_NAMED = 20

Open = Callable[[int, bool], Iterator[Batch]]


class Unreadable:
  """What could not be read so far, in one pass over a data set."""

  def __init__(
    self,
    limit: float,
    locate: Callable[[int], tuple[Piece, int]],
    decode: Callable[[Any], Any],
  ):
    """Starts at none.

    Args:
      limit: share of the records that may be skipped, in [0, 1].
      locate: position -> (piece, number in it).
      decode: record -> anything, raising if it is unreadable.
    """
    self._limit = limit
    self._locate = locate
    self._decode = decode
    self._named: set[tuple[str, int]] = set()
    self._seen = 0
    self._skipped = 0

  def count(self, positions: np.ndarray, seen: int) -> None:
    """Takes note of `seen` more records, those at `positions` unreadable.

    Raises:
      ValueError: past the limit, naming one and what to do.
    """
    self._seen += seen
    self._skipped += len(positions)
    if not len(positions):
      return
    for position in positions:
      if len(self._named) == _NAMED:
        break
      place = self.place(position)
      if place not in self._named:
        self._named.add(place)
        logging.warning("Skipped: %s.", self.reason(position))
    logging.warning(
      "%d of %d records skipped so far.", self._skipped, self._seen
    )
    if self._skipped > self._limit * max(self._seen, LEAST):
      raise ValueError(
        f"{self._skipped} of {self._seen} records could not be read, the last "
        f"one being {self.reason(positions[-1])}. Prepare the data set anew, "
        "or let more be skipped: max_unreadable_fraction is "
        f"{self._limit:g} (of at least {LEAST:,} records)."
      )

  def place(self, position: int) -> tuple[str, int]:
    """Returns (file, number of the record in that file)."""
    piece, number = self._locate(int(position))
    return piece.filename, piece.skip + number

  def reason(self, position: int) -> str:
    """Returns "FILE, record N: what is wrong with it"."""
    tf, _ = records_lib.import_tensorflow()
    piece, number = self._locate(int(position))
    where = f"{piece.filename}, record {piece.skip + number}"
    records = tf.data.TFRecordDataset(piece.filename).skip(piece.skip)
    found = records.take(number + 1).as_numpy_iterator()
    numbered = collections.deque([(0, b"")], maxlen=1)
    try:
      numbered.extend(enumerate(found, 1))
      count, record = numbered[0]
      if count <= number:
        count += piece.skip
        return f"{where}: the file ends after {count} records"
      self._decode(record)
    except (tf.errors.OpError, ValueError) as error:
      return f"{where}: {_brief(error)}"
    return f"{where}: readable now; the storage may be failing"


def unbroken(
  open_batches: Open,
  *,
  position: int,
  num_classes: int,
  unreadable: Unreadable,
) -> Iterator[tuple[Batch, np.ndarray]]:
  """Yields (batch, readable [b] bool); unreadable rows are zeros.

  Args:
    open_batches: (position, tolerant) -> batches from there on, see
      `records.batches`.
    position: of the first record.
    num_classes: labels are 0 .. num_classes - 1.
    unreadable: counts them.

  Raises:
    ValueError: past `unreadable`'s limit, or at a label out of range.
  """
  tf, _ = records_lib.import_tensorflow()
  batches, tolerant = open_batches(position, False), False
  while True:
    try:
      batch = next(batches, None)
    except tf.errors.OpError:
      if tolerant:
        raise
      logging.warning(
        "A record cannot be read. Reading goes on with a check of each one, "
        "which takes a few tenths of a millisecond an image."
      )
      batches, tolerant = open_batches(position, True), True
      continue
    if batch is None:
      return
    size = len(batch["label"])
    readable = batch.pop("readable", np.ones(size, bool))
    unreadable.count(position + np.flatnonzero(~readable), size)
    labels = batch["label"]
    if labels.min() < 0 or labels.max() >= num_classes:
      row = np.flatnonzero((labels < 0) | (labels >= num_classes))[0]
      filename, number = unreadable.place(position + row)
      raise ValueError(
        f"{filename}, record {number}: its label is {labels[row]}, but the "
        f"data set says 0 .. {num_classes - 1}. Choose a split that has labels "
        "(tfds gives -1 to test sets that have none), or prepare it anew."
      )
    yield batch, readable
    position += size


def fill(batch: Batch, readable: np.ndarray) -> Batch:
  """Puts copies of readable rows, in turn, where none could be read.

  Raises:
    ValueError: if there is no readable row.
  """
  if readable.all():
    return batch
  good, bad = np.flatnonzero(readable), np.flatnonzero(~readable)
  if not len(good):
    raise ValueError(
      f"None of {len(bad)} records in a row could be read; the log says why. "
      "Prepare the data set anew."
    )
  rows = np.arange(len(readable))
  rows[bad] = np.resize(good, len(bad))
  return {name: values[rows] for name, values in batch.items()}


def _brief(error: Exception) -> str:
  """TensorFlow's message without the names of its operations."""
  text = str(error).splitlines()[0]
  return re.sub(r"\{\{.*?\}\} ?|\s*\[Op:.*", "", text).rstrip(". ")
