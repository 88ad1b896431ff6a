"""TFRecord files as `tf.data` streams of records, in order or in `order`'s."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
import contextlib
import os
import sys

import numpy as np

from experiments.inputs.tfrecords.order import Piece, shuffled_groups

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

    with _keras_when_it_is_used():
      import tensorflow as tf
    import tensorflow_datasets as tfds
  except ImportError as error:
    raise ImportError(
      "Reading or preparing tfds data sets needs TensorFlow,"
      " tensorflow_datasets and importlib_resources, and one is missing"
      f" ({error}). Install them in the checkout: pip install -e '.[tfds]'"
      " (with Python 3.13 or older: TensorFlow has no wheel for 3.14)."
    ) from error
  for kind in ("GPU", "TPU"):
    try:
      tf.config.set_visible_devices([], kind)
    except RuntimeError:
      # TensorFlow already runs on it: someone else's decision, too late to
      # change, and harmless here since every op below is placed on the CPU.
      pass
  return tf, tfds


@contextlib.contextmanager
def _keras_when_it_is_used():
  """Lets TensorFlow be imported without Keras, in little over half the time.

  It imports the Keras that this variable names, and goes on where that one is
  missing, as the old Keras is. Whoever takes `tf.keras` has it look again.
  """
  name = "TF_USE_LEGACY_KERAS"
  # All readers ask for the module; the environment is changed for the first.
  if name in os.environ or "tensorflow" in sys.modules:
    yield
    return
  os.environ[name] = "1"
  try:
    yield
  finally:
    del os.environ[name]


def read(pieces: list[Piece], *, tolerant: bool = False):
  """Returns a `tf.data.Dataset` of the pieces' serialized records, in order.

  A record that a file has lost is ""; if tolerant, also where that is an error.
  """
  if not pieces:
    tf, _ = import_tensorflow()
    return tf.data.Dataset.from_tensor_slices(tf.constant([], tf.string))
  numbered = _read(*_columns(pieces, tolerant), parallel=1, tolerant=tolerant)
  return numbered.map(lambda number, record: record)


def read_shuffled(
  pieces: list[Piece],
  entropy: tuple[int, ...],
  group_size: int,
  position: int,
  *,
  tolerant: bool = False,
):
  """Returns the endless `tf.data.Dataset` that `shuffled_groups` describes.

  Lost records are as in `read`.
  """
  return read_groups(
    [lambda: shuffled_groups(pieces, entropy, group_size, position)],
    rows=1,
    tolerant=tolerant,
  )


def read_groups(
  parts: Sequence[Callable[[], Iterator[tuple[list[Piece], np.ndarray]]]],
  *,
  rows: int,
  tolerant: bool = False,
):
  """Returns the `tf.data.Dataset` of several endless orders, in turn.

  Lost records are as in `read`.

  Args:
    parts: each opens one (group, order) after the other.
    rows: how many records one gives before it is the next one's turn.
    tolerant: as in `read`.
  """
  tf, _ = import_tensorflow()
  strings = tf.TensorSpec([None], tf.string)
  integers = tf.TensorSpec([None], tf.int64)

  def generate(part):
    for group, order in parts[part]():
      yield *_columns(group, tolerant), order

  def load(filenames, skips, takes, firsts, order):
    records = _read(
      *(filenames, skips, takes, firsts),
      parallel=_PARALLEL_READS,
      tolerant=tolerant,
    )
    return records.batch(tf.reduce_sum(takes)).map(
      lambda numbers, group: (group, tf.gather(tf.argsort(numbers), order))
    )

  def emit(group, order):
    # One by one: gathering them would hold the whole group twice.
    return tf.data.Dataset.from_tensor_slices(order).map(lambda i: group[i])

  def read_part(part):
    groups = tf.data.Dataset.from_generator(
      generate,
      args=(part,),
      output_signature=(strings, integers, integers, integers, integers),
    )
    # The prefetched group is read while the one before it is being used.
    return groups.flat_map(load).prefetch(1).flat_map(emit)

  if len(parts) == 1:
    return read_part(0)
  return tf.data.Dataset.range(len(parts)).interleave(
    read_part,
    cycle_length=len(parts),
    block_length=rows,
    num_parallel_calls=len(parts),
    deterministic=True,
  )


def _columns(pieces: list[Piece], tolerant: bool):
  """(filenames, skips, takes, numbers of the pieces' first records).

  If tolerant, the name of a file that does not open is "".
  """
  filenames, skips, takes = map(list, zip(*pieces, strict=True))
  if tolerant:
    opens = {name: _opens(name) for name in set(filenames)}
    filenames = [name if opens[name] else "" for name in filenames]
  return filenames, skips, takes, np.cumsum((0, *takes[:-1]))


def _opens(filename: str) -> bool:
  tf, _ = import_tensorflow()
  try:
    with tf.io.gfile.GFile(filename, "rb") as file:
      file.read(1)
  except tf.errors.OpError:
    return False
  return True


def _read(filenames, skips, takes, firsts, *, parallel: int, tolerant: bool):
  """(number, record) of every record, "" where there is none."""
  import tensorflow as tf

  def read_piece(filename, skip, take, first):
    # Ignoring the error of a file that does not open would try it for ever.
    names = tf.boolean_mask([filename], [filename != ""])
    found = tf.data.TFRecordDataset(names).skip(skip)
    if tolerant:
      found = found.ignore_errors()
    lost = tf.data.Dataset.from_tensors("").repeat()
    return found.concatenate(lost).take(take).enumerate(first)

  whole = [tf.cast(column, tf.int64) for column in (skips, takes, firsts)]
  files = tf.data.Dataset.from_tensor_slices((filenames, *whole))
  return files.interleave(
    read_piece,
    cycle_length=parallel,
    num_parallel_calls=parallel,
    deterministic=True,
  )


def batches(
  records,
  example_fn,
  *,
  position: int,
  batch_size: int,
  tolerant: bool = False,
):
  """Maps records to examples, in parallel but in order, and batches them.

  Args:
    records: `tf.data.Dataset` of scalar strings.
    example_fn: (int64 position, record) -> dict of tensors of known shapes.
    position: number of the first record.
    batch_size: examples in a batch; the last batch may be smaller.
    tolerant: whether an example that raises becomes zeros. It costs a few
      tenths of a millisecond an example.

  Returns:
    An iterator over dicts of NumPy arrays; if tolerant, with "readable" [b]
    bool.
  """
  tf, _ = import_tensorflow()
  dataset = records.enumerate(start=position)
  dataset = dataset.map(
    _tolerant(example_fn) if tolerant else example_fn,
    num_parallel_calls=tf.data.AUTOTUNE,
  )
  dataset = dataset.batch(batch_size).prefetch(2)
  options = tf.data.Options()
  options.deterministic = True
  return dataset.with_options(options).as_numpy_iterator()


def _tolerant(example_fn):
  import tensorflow as tf

  def attempt(position, record):
    # TensorFlow's graphs cannot catch; its data sets can leave out.
    found = tf.data.Dataset.from_tensors((position, record)).map(
      lambda *args: {**example_fn(*args), "readable": True}
    )
    zeros = tf.nest.map_structure(
      lambda spec: tf.zeros(spec.shape, spec.dtype), found.element_spec
    )
    nothing = tf.data.Dataset.from_tensors(zeros)
    either = found.ignore_errors().concatenate(nothing).take(1)
    return either.get_single_element()

  return attempt
