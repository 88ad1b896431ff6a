"""ImageNet, or any data set stored by tfds as it is: JPEGs in TFRecord files.

    from experiments import inputs
    from experiments.inputs.tfrecords import imagenet

    config = inputs.defaults()
    config.update(dataset="imagenet2012", batch_size=4096)
    config.seed = 0
    batches = imagenet.create(config).train(start_step=1000)

One process's records pass through, in this order: its share of the files; a
shuffle of still compressed records; the position, which numbers them; a crop,
flip and RandAugment whose randomness is a function of that position alone.

`order` explains the shuffle, `crops` the crops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import math
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict
import numpy as np

from experiments.inputs import keys, scale
from experiments.inputs.dataset import Batch, Dataset, Spec, local_size
from experiments.inputs.tfrecords import order as order_lib
from experiments.inputs.tfrecords import records as records_lib
from experiments.inputs.tfrecords import skipping, store
from experiments.inputs.tfrecords.order import Piece

# Per channel, of ImageNet's training images in [0, 1]; the usual values.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
# Classes, training and validation images of the whole data set.
SIZES = {"imagenet2012": (1000, 1_281_167, 50_000)}


def create(
  config: ConfigDict, *, process_index: int = 0, process_count: int = 1
) -> Dataset:
  """Opens the data set and describes it; nothing is read yet.

  Training shows every process its own num_train // process_count records of an
  epoch, the same ones in every epoch (a host's page cache then holds them); the
  last num_train % process_count records are never shown. Batches span epochs.
  Batch k depends on the number of processes, besides (seed, stream, k).

  Images are cut by a random resized crop (8 to 100 % of the area, aspect ratio
  3/4 to 4/3 uniform in its logarithm), resized to `image_size` by bicubic
  interpolation without antialiasing, as is usual in JAX code, and flipped with
  probability 1/2. Evaluation resizes the whole image in the same way until its
  shorter side is `resize_size`, then cuts out the centre.

  Args:
    config: reads seed, an integer in 0 .. 2**32 - 1, and all of `inputs.keys`.
    process_index: which process this is.
    process_count: how many processes share the data.

  Raises:
    ImportError: if TensorFlow or tfds is not installed.
    FileNotFoundError: if the data set has not been prepared; the message says
      how to.
    ValueError: if a key of `config` cannot be used; while iterating, if too
      many records cannot be read, or one has a label out of range.
  """
  keys.check(config)
  place = _place(config, process_index, process_count)
  builder = store.open_builder(config.dataset, config.data_dir)
  pieces = store.split_pieces(builder, "train_split", config.train_split)
  held_out = store.split_pieces(builder, "eval_split", config.eval_split)
  num_train = _count(pieces)
  if num_train < process_count:
    raise ValueError(
      f"train_split: {num_train} examples do not go round {process_count}"
      " processes; use a larger split or fewer processes."
    )
  parse = store.parser(builder)
  num_classes = builder.info.features["label"].num_classes
  reader = _Reader(parse, num_classes, config.max_unreadable_fraction)
  return Dataset(
    _spec(config, num_classes, num_train, _count(held_out)),
    _training(config, pieces, reader, place),
    _evaluation(config, held_out, reader, place),
  )


def describe(config: ConfigDict, num_classes: int | None = None) -> Spec:
  """Returns what a step needs to know of a data set, without its files.

  Args:
    config: reads dataset and image_size.
    num_classes: of a data set that is not in `SIZES`, whose numbers of examples
      are then 0.

  Raises:
    ValueError: if neither knows the number of classes.
  """
  sizes = SIZES.get(config.dataset)
  if sizes is None and num_classes is None:
    raise ValueError(
      f"The shapes of dataset={config.dataset!r} are not known without its "
      f"files (known: {', '.join(SIZES)}); for a folder of images give "
      "--num_classes."
    )
  classes, num_train, num_eval = sizes or (0, 0, 0)
  return _spec(config, num_classes or classes, num_train, num_eval)


def _spec(config, num_classes: int, num_train: int, num_eval: int) -> Spec:
  shape = config.image_size, config.image_size, 3
  return Spec(
    inputs=jax.ShapeDtypeStruct(shape, np.uint8),
    num_classes=num_classes,
    num_train=num_train,
    num_eval=num_eval,
    # Multiplied in float32, as these numbers always were.
    scale=scale.pixels(
      255 * np.array(MEAN, np.float32), 255 * np.array(STD, np.float32)
    ),
  )


class _Place(NamedTuple):
  """One process among several, and its shares of the batches."""

  process: int
  processes: int
  batch_size: int
  eval_batch_size: int


def _place(config, process_index: int, process_count: int) -> _Place:
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
  return _Place(process_index, process_count, *sizes)


class _Reader(NamedTuple):
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


def _training(config, pieces: list[Piece], reader: _Reader, place: _Place):
  """Returns `Dataset.train`."""
  # Imports TensorFlow, hence here and not at the top.
  from experiments.inputs.tfrecords import crops

  seed, image_size = config.seed, config.image_size
  interpolation, randaugment = config.interpolation, keys.randaugment(config)
  # Two groups are in memory: the one in use, and the next.
  group_size = config.shuffle_buffer // 2
  own = order_lib.slice_pieces(
    pieces,
    *order_lib.share(
      _count(pieces), place.process, place.processes, equal=True
    ),
    longest=group_size,
  )

  def train(start_step: int = 0, stream: int = 0) -> Iterator[Batch]:
    if start_step < 0:
      raise ValueError(f"start_step: expected 0 or more, got {start_step}.")
    if stream not in (0, 1):
      raise ValueError(f"stream: expected 0 or 1, got {stream!r}.")
    order = own, (seed, stream, place.process), group_size

    def decode(position, image):
      # Distinct over processes, so that no two examples share their draws.
      key = (2 * seed + stream, position * place.processes + place.process)
      return crops.random_crop(
        image, key, image_size, randaugment, interpolation
      )

    batches = reader.batches(
      lambda position, tolerant: records_lib.read_shuffled(
        *order, position, tolerant=tolerant
      ),
      decode,
      lambda position: order_lib.locate(*order, position),
      position=start_step * place.batch_size,
      batch_size=place.batch_size,
    )
    return (skipping.fill(*found) for found in batches)

  return train


def _evaluation(config, pieces: list[Piece], reader: _Reader, place: _Place):
  """Returns `Dataset.evaluate`."""
  from experiments.inputs.tfrecords import crops

  size, image_size = place.eval_batch_size, config.image_size
  resize_size, interpolation = config.resize_size, config.interpolation
  total = _count(pieces)
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


def _count(pieces: list[Piece]) -> int:
  return sum(piece.take for piece in pieces)


def _pad(batch: Batch, real: np.ndarray, size: int) -> Batch:
  """Appends rows of zeros up to `size`, and says in "mask" which are real."""
  missing = size - len(batch["label"])
  if missing:
    batch = {
      name: np.pad(x, [(0, missing)] + [(0, 0)] * (x.ndim - 1))
      for name, x in batch.items()
    }
  return {**batch, "mask": np.pad(real, (0, missing))}
