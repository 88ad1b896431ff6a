"""TFRecord files as an endless, exactly resumable, shuffled stream.

An epoch is its files in a random order, cut into groups of whole files that fit
in memory, each group a full random permutation. File order and permutations
are NumPy's, functions of (seed, stream, epoch, group), so arithmetic maps a
position in the stream to its group, and resuming reads that one group. Skipping
through a sliding shuffle buffer would read the epoch up to the position: 140 GB
of ImageNet at worst. tfds shuffles examples when it writes files, so groups of
files are random samples to begin with.
"""

import collections.abc
import os
from typing import NamedTuple

import numpy as np

_PARALLEL_READS = 8


def import_tensorflow():
  """Returns the modules (tensorflow, tensorflow_datasets), on CPUs only.

  Raises:
    ImportError: if one is missing, with what to install.
  """
  # TensorFlow's start-up messages would bury ours; the user's choice wins.
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
  try:
    import importlib_resources  # noqa: F401  (tfds needs but omits it)
    import tensorflow as tf
    import tensorflow_datasets as tfds
  except ImportError as error:
    raise ImportError(
      "Reading or preparing tfds data sets needs TensorFlow,"
      " tensorflow_datasets and importlib_resources, and one is missing"
      f' ({error}). Install them with: pip install "jaxmix[train]"'
    ) from error
  for kind in ("GPU", "TPU"):
    try:
      tf.config.set_visible_devices([], kind)
    except RuntimeError:
      # TensorFlow already runs on it: someone else's decision, too late to
      # change, and harmless here since every op below is placed on the CPU.
      pass
  return tf, tfds


class Piece(NamedTuple):
  """Records skip .. skip + take - 1 of one file."""

  filename: str
  skip: int
  take: int


def share(num: int, index: int, count: int, *, equal: bool) -> tuple[int, int]:
  """Returns (start, stop), the records of process `index` out of `count`.

  With `equal`, every process gets num // count records and the last
  num % count belong to nobody; otherwise every record has its process, and
  sizes differ by at most one.
  """
  if equal:
    size = num // count
    return index * size, (index + 1) * size
  return num * index // count, num * (index + 1) // count


def slice_pieces(
  pieces: collections.abc.Iterable[Piece],
  start: int,
  stop: int,
  longest: int,
) -> list[Piece]:
  """Returns pieces of at most `longest` records that hold start .. stop - 1.

  Records are numbered through `pieces`, in order.
  """
  result = []
  first = 0
  for filename, skip, take in pieces:
    low, high = max(start - first, 0), min(stop - first, take)
    for begin in range(low, high, longest):
      size = min(longest, high - begin)
      result.append(Piece(filename, skip + begin, size))
    first += take
  return result


def epoch_groups(
  pieces: list[Piece], entropy: tuple[int, ...], group_size: int
) -> list[list[Piece]]:
  """Returns the pieces in a random order, cut into groups.

  Args:
    pieces: none longer than `group_size`.
    entropy: non-negative integers that determine the order.
    group_size: most records in a group.
  """
  groups: list[list[Piece]] = [[]]
  size = 0
  for i in np.random.default_rng((*entropy, 0)).permutation(len(pieces)):
    if size + pieces[i].take > group_size:
      groups.append([])
      size = 0
    groups[-1].append(pieces[i])
    size += pieces[i].take
  return groups


def shuffled_groups(
  pieces: list[Piece],
  entropy: tuple[int, ...],
  group_size: int,
  position: int,
) -> collections.abc.Iterator[tuple[list[Piece], np.ndarray]]:
  """Iterates for ever over (group, order) from a position on.

  Args:
    pieces: one epoch's records, in pieces of at most `group_size`.
    entropy: non-negative integers that, with the epoch, determine everything.
    group_size: most records in a group.
    position: number of records, over all epochs, that come before.

  Yields:
    The pieces of a group and the order in which to emit its records, indices
    into them. Only the first group's order may leave out records: those before
    `position`.
  """
  epoch, before = divmod(position, sum(piece.take for piece in pieces))
  while True:
    groups = epoch_groups(pieces, (*entropy, epoch), group_size)
    for number, group in enumerate(groups, start=1):
      size = sum(piece.take for piece in group)
      if before >= size:
        before -= size
        continue
      rng = np.random.default_rng((*entropy, epoch, number))
      yield group, rng.permutation(size)[before:]
      before = 0
    epoch += 1


def read(pieces: list[Piece]):
  """Returns a `tf.data.Dataset` of the pieces' serialized records, in order."""
  filenames, skips, takes = zip(*pieces, strict=True)
  return _read(list(filenames), list(skips), list(takes), parallel=1)


def read_shuffled(
  pieces: list[Piece],
  entropy: tuple[int, ...],
  group_size: int,
  position: int,
):
  """Returns the endless `tf.data.Dataset` that `shuffled_groups` describes."""
  tf, _ = import_tensorflow()

  def generate():
    groups = shuffled_groups(pieces, entropy, group_size, position)
    for group, order in groups:
      yield *zip(*group, strict=True), order

  def load(filenames, skips, takes, order):
    size = tf.reduce_sum(takes)
    records = _read(filenames, skips, takes, parallel=_PARALLEL_READS)
    return records.batch(size).map(lambda group: (check(group, size), order))

  def check(group, size):
    complete = tf.debugging.assert_equal(
      tf.size(group, out_type=tf.int64),
      size,
      "A TFRecord file holds fewer records than its dataset_info.json says;"
      " prepare the data set anew.",
    )
    with tf.control_dependencies([complete]):
      return tf.identity(group)

  def emit(group, order):
    # One by one: gathering them would hold the whole group twice.
    return tf.data.Dataset.from_tensor_slices(order).map(lambda i: group[i])

  strings = tf.TensorSpec([None], tf.string)
  integers = tf.TensorSpec([None], tf.int64)
  groups = tf.data.Dataset.from_generator(
    generate, output_signature=(strings, integers, integers, integers)
  )
  # The prefetched group is read while the one before it is being used.
  return groups.flat_map(load).prefetch(1).flat_map(emit)


def _read(filenames, skips, takes, *, parallel: int):
  import tensorflow as tf

  def read_piece(filename, skip, take):
    return tf.data.TFRecordDataset(filename).skip(skip).take(take)

  files = tf.data.Dataset.from_tensor_slices(
    (filenames, tf.cast(skips, tf.int64), tf.cast(takes, tf.int64))
  )
  return files.interleave(
    read_piece,
    cycle_length=parallel,
    num_parallel_calls=parallel,
    deterministic=True,
  )


def batches(records, example_fn, *, position: int, batch_size: int):
  """Maps records to examples, in parallel but in order, and batches them.

  Args:
    records: `tf.data.Dataset` of scalar strings.
    example_fn: (int64 position, record) -> dict of tensors.
    position: number of the first record.
    batch_size: examples in a batch; the last batch may be smaller.

  Returns:
    An iterator over dicts of NumPy arrays.
  """
  tf, _ = import_tensorflow()
  dataset = records.enumerate(start=position)
  dataset = dataset.map(example_fn, num_parallel_calls=tf.data.AUTOTUNE)
  dataset = dataset.batch(batch_size).prefetch(2)
  options = tf.data.Options()
  options.deterministic = True
  return dataset.with_options(options).as_numpy_iterator()
