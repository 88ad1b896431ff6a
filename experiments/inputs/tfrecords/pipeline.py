"""From pieces of files to one process's batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import functools
import math
from typing import Any, NamedTuple

from absl import logging
from ml_collections import ConfigDict
import numpy as np

from experiments.inputs import keys
from experiments.inputs.dataset import Batch, local_size
from experiments.inputs.tfrecords import lanes as lanes_lib
from experiments.inputs.tfrecords import order as order_lib
from experiments.inputs.tfrecords import records as records_lib
from experiments.inputs.tfrecords import skipping
from experiments.inputs.tfrecords.order import Piece


class Place(NamedTuple):
  """One process among several, and its shares of the batches."""

  process: int
  processes: int
  batch_size: int
  eval_batch_size: int


def place_of(
  config: ConfigDict, process_index: int, process_count: int
) -> Place:
  """Returns a process's place.

  Raises:
    ValueError: if there is no such process, it has no whole share of a batch,
      or the seed is too large for the crops' keys.
  """
  if not 0 <= config.seed < 2**32:
    raise ValueError(
      f"seed: expected an integer in 0 .. 2**32 - 1, got {config.seed}."
    )
  if not 0 <= process_index < process_count:
    raise ValueError(
      f"process_index: expected 0 .. process_count - 1 = {process_count - 1},"
      f" got {process_index}."
    )
  sizes = (
    local_size(name, config[name], process_count)
    for name in ("batch_size", "eval_batch_size")
  )
  return Place(process_index, process_count, *sizes)


class Reader(NamedTuple):
  """Reads batches, going on past a few records that cannot be read.

  Attributes:
    parse: record -> (encoded image, label).
    num_classes: labels are 0 .. num_classes - 1.
    limit: share of the records that may be skipped.
  """

  parse: Callable[[Any], tuple[Any, Any]]
  num_classes: int
  limit: float

  def batches(
    self,
    read: Callable[[int, bool], Any],
    decode: Callable[[Any, Any], Any],
    locate: Callable[[int], tuple[Piece, int]],
    *,
    position: int,
    batch_size: int,
  ) -> Iterator[tuple[Batch, np.ndarray]]:
    """Yields (batch, readable [b] bool); unreadable rows are zeros.

    Args:
      read: (position, tolerant) -> `tf.data.Dataset` of records from there on.
      decode: (position, encoded image) -> image.
      locate: position -> (piece, number in it).
      position: of the first record.
      batch_size: this process's.
    """

    def example(position, record):
      image, label = self.parse(record)
      return {"inputs": decode(position, image), "label": label}

    def open_batches(position, tolerant):
      return records_lib.batches(
        read(position, tolerant),
        example,
        position=position,
        batch_size=batch_size,
        tolerant=tolerant,
      )

    return skipping.unbroken(
      open_batches,
      position=position,
      num_classes=self.num_classes,
      unreadable=skipping.Unreadable(
        self.limit, locate, lambda record: example(0, record)
      ),
    )


def training(
  config: ConfigDict, pieces: list[Piece], reader: Reader, place: Place
) -> Callable[..., Iterator[Batch]]:
  """Returns `Dataset.train` of an epoch's records."""
  # Imports TensorFlow, hence here and not at the top.
  from experiments.inputs.tfrecords import crops

  seed, image_size = config.seed, config.image_size
  interpolation, randaugment = config.interpolation, keys.randaugment(config)
  # Two groups of each lane are in memory: the one in use, and the next.
  group_size = config.shuffle_buffer // 2
  lanes = lanes_lib.number(
    pieces, config.shuffle_lanes, group_size, config.batch_size
  )
  if lanes < place.processes <= len(pieces):
    logging.warning(
      "Records are read by several of the %d processes: they are in %d lanes."
      " A new run with shuffle_lanes=%d and shuffle_buffer=%d reads each once.",
      *(place.processes, lanes, place.processes),
      2 * place.processes * max(piece.take for piece in pieces),
    )
  group_size //= lanes
  first = place.process * place.batch_size

  def train(start_step: int = 0, stream: int = 0) -> Iterator[Batch]:
    if start_step < 0:
      raise ValueError(f"start_step: expected 0 or more, got {start_step}.")
    if stream not in (0, 1):
      raise ValueError(f"stream: expected 0 or 1, got {stream!r}.")
    own = lanes_lib.parts(
      pieces,
      (seed, stream),
      lanes=lanes,
      group_size=group_size,
      batch_size=config.batch_size,
      start=first,
      stop=first + place.batch_size,
    )

    def read(position, tolerant):
      step = position // place.batch_size
      return records_lib.read_groups(
        [functools.partial(part.groups, group_size, step) for part in own],
        rows=own[0].rows,
        tolerant=tolerant,
      )

    def locate(position):
      step, row = divmod(position, place.batch_size)
      part, row = divmod(row, own[0].rows)
      return own[part].locate(group_size, step, row)

    def decode(position, image):
      # The example's place among all processes': no two share their draws.
      step, row = position // place.batch_size, position % place.batch_size
      key = (2 * seed + stream, step * config.batch_size + first + row)
      return crops.random_crop(
        image, key, image_size, randaugment, interpolation
      )

    batches = reader.batches(
      read,
      decode,
      locate,
      position=start_step * place.batch_size,
      batch_size=place.batch_size,
    )
    return (skipping.fill(*found) for found in batches)

  return train


def evaluation(
  config: ConfigDict, pieces: list[Piece], reader: Reader, place: Place
) -> Callable[[], Iterator[Batch]]:
  """Returns `Dataset.evaluate` of the records to evaluate on."""
  from experiments.inputs.tfrecords import crops

  size, image_size = place.eval_batch_size, config.image_size
  resize_size, interpolation = config.resize_size, config.interpolation
  total = order_lib.count(pieces)
  start, stop = order_lib.share(
    total, place.process, place.processes, equal=False
  )
  own = order_lib.slice_pieces(pieces, start, stop, total)
  # The process with most examples determines the number of batches of all.
  num_batches = math.ceil(math.ceil(total / place.processes) / size)

  def decode(position, image):
    del position
    return crops.centre_crop(image, image_size, resize_size, interpolation)

  def read(position, tolerant):
    rest = order_lib.slice_pieces(own, position, total, total)
    return records_lib.read(rest, tolerant=tolerant)

  def evaluate() -> Iterator[Batch]:
    batches = reader.batches(
      read,
      decode,
      lambda position: order_lib.nth(own, position),
      position=0,
      batch_size=size,
    )
    empty = {
      "inputs": np.zeros((0, image_size, image_size, 3), np.uint8),
      "label": np.zeros((0,), np.int32),
    }
    nothing = empty, np.zeros(0, bool)
    for _ in range(num_batches):
      batch, readable = next(batches, nothing)
      yield _pad(batch, readable, size)

  return evaluate


def _pad(batch: Batch, real: np.ndarray, size: int) -> Batch:
  """Appends rows of zeros up to `size`, and says in "mask" which are real."""
  missing = size - len(batch["label"])
  if missing:
    batch = {
      name: np.pad(x, [(0, missing)] + [(0, 0)] * (x.ndim - 1))
      for name, x in batch.items()
    }
  return {**batch, "mask": np.pad(real, (0, missing))}
