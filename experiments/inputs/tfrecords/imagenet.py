"""ImageNet, or any data set stored by tfds as it is: JPEGs in TFRecord files.

    from experiments import inputs
    from experiments.inputs.tfrecords import imagenet

    config = inputs.defaults()
    config.update(dataset="imagenet2012", batch_size=4096)
    config.seed = 0
    batches = imagenet.create(config).train(start_step=1000)

One process's records pass through, in this order: its lanes of the files; a
shuffle of still compressed records; the position, which numbers them; a crop,
flip and RandAugment whose randomness is a function of that position alone.

`pipeline` puts them together, `order` explains the shuffle, `lanes` how it is
divided, `crops` the crops.
"""

from __future__ import annotations

import jax
from ml_collections import ConfigDict
import numpy as np

from experiments.inputs import keys, scale
from experiments.inputs.dataset import Dataset, Spec
from experiments.inputs.tfrecords import order as order_lib
from experiments.inputs.tfrecords import pipeline, store

# Per channel, of ImageNet's training images in [0, 1]; the usual values.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
# Classes, training and validation images of the whole data set.
SIZES = {"imagenet2012": (1000, 1_281_167, 50_000)}


def create(
  config: ConfigDict, *, process_index: int = 0, process_count: int = 1
) -> Dataset:
  """Opens the data set and describes it; nothing is read yet.

  The order of the records, crops included, depends on the files and on the
  config (seed, batch_size, shuffle_buffer, shuffle_lanes) and not on the number
  of processes: a run may go on with another one. Where the number of lanes is a
  multiple of it, every process has records of its own, the same ones in every
  epoch (a host's page cache then holds them). The last records, fewer than
  there are lanes, are never shown. Batches span epochs.

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
  place = pipeline.place_of(config, process_index, process_count)
  builder = store.open_builder(config.dataset, config.data_dir)
  pieces = store.split_pieces(builder, "train_split", config.train_split)
  held_out = store.split_pieces(builder, "eval_split", config.eval_split)
  num_train = order_lib.count(pieces)
  parse = store.parser(builder)
  num_classes = builder.info.features["label"].num_classes
  reader = pipeline.Reader(parse, num_classes, config.max_unreadable_fraction)
  return Dataset(
    _spec(config, num_classes, num_train, order_lib.count(held_out)),
    pipeline.training(config, pieces, reader, place),
    pipeline.evaluation(config, held_out, reader, place),
    lambda: store.digest(builder, pieces + held_out),
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
