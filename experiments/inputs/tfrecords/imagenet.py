"""ImageNet, or any data set stored by tfds as it is: JPEGs in TFRecord files.

    import ml_collections
    from experiments.inputs.tfrecords import imagenet

    config = ml_collections.ConfigDict(dict(
        seed=0, dataset="imagenet2012", data_dir="", batch_size=4096,
        image_size=224, resize_size=256))
    batches = imagenet.create(config).train(start_step=1000)

One process's records pass through, in this order: its share of the files; a
shuffle of still compressed records; the position, which numbers them; a crop,
flip and RandAugment whose randomness is a function of that position alone.

`order` explains the shuffle, `crops` the crops.
"""

import ml_collections
import numpy as np

from experiments.inputs import dataset as dataset_lib
from experiments.inputs.tfrecords import order as order_lib
from experiments.inputs.tfrecords import records as records_lib
from experiments.inputs.tfrecords import skipping, store

# Per channel, of ImageNet's training images in [0, 1]; the usual values.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
# Two groups (the one in use, the next) of compressed records are in memory:
# about 1.8 GB of ImageNet for each stream.
SHUFFLE_BUFFER = 16 * 1024


def create(
  config: ml_collections.ConfigDict,
  *,
  process_index: int = 0,
  process_count: int = 1,
) -> dataset_lib.Dataset:
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
    config: with the keys
      seed: integer in 0 .. 2**32 - 1.
      dataset: name in tfds ("imagenet2012"), also "name/config:version".
      data_dir: folder that holds it, local or gs://; "" is tfds's default.
      batch_size: global batch size.
      eval_batch_size: the same in evaluation (batch_size).
      image_size: side of the images, in pixels (224).
      resize_size: shorter side before the evaluation crop, in pixels (256).
      interpolation: "bicubic" or "bilinear", which halves the resize's time
        ("bicubic").
      randaugment: "" or "num_layers,magnitude", such as "2,15" ("").
      shuffle_buffer: compressed records in memory, at most (16384): half of
        them are being used while the other half is being read.
      max_unreadable_fraction: share of the records that may be skipped because
        they cannot be read, of 10,000 or more (0.001). In training copies of
        others in the batch take their places; in evaluation they do not count.
      train_split, eval_split: tfds splits ("train", "validation"); slices such
        as "train[:99%]" work.
      All but seed and batch_size may be missing: defaults in parentheses.
    process_index: which process this is.
    process_count: how many processes share the data.

  Returns:
    The `Dataset`.

  Raises:
    ImportError: if TensorFlow or tfds is not installed.
    FileNotFoundError: if the data set has not been prepared; the message says
      how to.
    ValueError: if a key of `config` cannot be used; while iterating, if too
      many records cannot be read, or one has a label out of range.
  """
  seed = config.seed
  if not 0 <= seed < 2**32:
    raise ValueError(
      f"seed: expected an integer in 0 .. 2**32 - 1, got {seed}."
    )
  if not 0 <= process_index < process_count:
    raise ValueError(
      f"process_index: expected 0 .. process_count - 1 = {process_count - 1},"
      f" got {process_index}."
    )
  batch_size = _local_size("batch_size", config.batch_size, process_count)
  eval_batch_size = _local_size(
    "eval_batch_size",
    config.get("eval_batch_size", config.batch_size),
    process_count,
  )
  image_size = config.get("image_size", 224)
  resize_size = config.get("resize_size", 256)
  if not 0 < image_size <= resize_size:
    raise ValueError(
      "image_size: expected a positive size no larger than resize_size ="
      f" {resize_size}, the shorter side that evaluation crops from; got"
      f" {image_size}."
    )
  group_size = config.get("shuffle_buffer", SHUFFLE_BUFFER) // 2
  if group_size < 1:
    raise ValueError(
      "shuffle_buffer: expected at least 2 records, got"
      f" {config.shuffle_buffer}."
    )

  builder = store.open_builder(
    config.get("dataset", "imagenet2012"), config.get("data_dir", "")
  )
  train_pieces = store.split_pieces(
    builder, "train_split", config.get("train_split", "train")
  )
  eval_pieces = store.split_pieces(
    builder, "eval_split", config.get("eval_split", "validation")
  )
  num_train = sum(piece.take for piece in train_pieces)
  num_eval = sum(piece.take for piece in eval_pieces)
  if num_train < process_count:
    raise ValueError(
      f"train_split: {num_train} examples do not go round {process_count}"
      " processes; use a larger split or fewer processes."
    )
  randaugment = _parse_randaugment(config.get("randaugment", ""))
  interpolation = config.get("interpolation", "bicubic")
  if interpolation not in ("bicubic", "bilinear"):
    raise ValueError(
      f'interpolation: expected "bicubic" or "bilinear", got {interpolation!r}.'
    )
  parse = store.parser(builder)
  num_classes = builder.info.features["label"].num_classes
  limit = config.get("max_unreadable_fraction", 1e-3)
  if not 0 <= limit <= 1:
    raise ValueError(
      f"max_unreadable_fraction: expected a share in 0 .. 1, got {limit}."
    )
  # Imports TensorFlow, hence here and not at the top.
  from experiments.inputs.tfrecords import crops

  local_pieces = order_lib.slice_pieces(
    train_pieces,
    *order_lib.share(num_train, process_index, process_count, equal=True),
    longest=group_size,
  )

  def unbroken(read, example, locate, *, position, batch_size):
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
      num_classes=num_classes,
      unreadable=skipping.Unreadable(
        limit, locate, lambda record: example(0, record)
      ),
    )

  def train(start_step: int = 0, stream: int = 0):
    if start_step < 0:
      raise ValueError(f"start_step: expected 0 or more, got {start_step}.")
    if stream not in (0, 1):
      raise ValueError(f"stream: expected 0 or 1, got {stream!r}.")
    order = local_pieces, (seed, stream, process_index), group_size

    def example(position, record):
      image, label = parse(record)
      # Distinct over processes, so that no two examples share their draws.
      key = (2 * seed + stream, position * process_count + process_index)
      image = crops.random_crop(
        image, key, image_size, randaugment, interpolation
      )
      return {"image": image, "label": label}

    batches = unbroken(
      lambda position, tolerant: records_lib.read_shuffled(
        *order, position, tolerant=tolerant
      ),
      example,
      lambda position: order_lib.locate(*order, position),
      position=start_step * batch_size,
      batch_size=batch_size,
    )
    return (skipping.fill(*found) for found in batches)

  def evaluate():
    start, stop = order_lib.share(
      num_eval, process_index, process_count, equal=False
    )
    pieces = order_lib.slice_pieces(eval_pieces, start, stop, num_eval)
    # The process with most examples determines the number of batches of all.
    most = -(-num_eval // process_count)
    num_batches = -(-most // eval_batch_size)

    def example(position, record):
      del position
      image, label = parse(record)
      image = crops.centre_crop(image, image_size, resize_size, interpolation)
      return {"image": image, "label": label}

    def read(position, tolerant):
      rest = order_lib.slice_pieces(pieces, position, num_eval, num_eval)
      return records_lib.read(rest, tolerant=tolerant)

    batches = unbroken(
      read,
      example,
      lambda position: order_lib.nth(pieces, position),
      position=0,
      batch_size=eval_batch_size,
    )
    empty = {
      "image": np.zeros((0, image_size, image_size, 3), np.uint8),
      "label": np.zeros((0,), np.int32),
    }
    nothing = empty, np.zeros(0, bool)
    for _ in range(num_batches):
      batch, readable = next(batches, nothing)
      yield _pad(batch, readable, eval_batch_size)

  return dataset_lib.Dataset(
    image_shape=(image_size, image_size, 3),
    num_classes=num_classes,
    num_train=num_train,
    num_eval=num_eval,
    mean=255 * np.array(MEAN, np.float32),
    std=255 * np.array(STD, np.float32),
    train=train,
    evaluate=evaluate,
  )


def _local_size(name: str, size: int, process_count: int) -> int:
  if size <= 0 or size % process_count:
    raise ValueError(
      f"{name}: expected a positive multiple of the number of processes,"
      f" {process_count}, got {size}."
    )
  return size // process_count


def _pad(
  batch: dataset_lib.Batch, real: np.ndarray, size: int
) -> dataset_lib.Batch:
  """Appends rows of zeros up to `size`, and says in "mask" which are real."""
  missing = size - len(batch["label"])
  if missing:
    batch = {
      name: np.pad(x, [(0, missing)] + [(0, 0)] * (x.ndim - 1))
      for name, x in batch.items()
    }
  return {**batch, "mask": np.pad(real, (0, missing))}


def _parse_randaugment(text: str) -> tuple[int, float] | None:
  """Reads "num_layers,magnitude"; "" is None: no RandAugment."""
  if not text:
    return None
  try:
    first, second = text.split(",")
    layers, magnitude = int(first), float(second)
    if layers < 1 or not 0 <= magnitude <= 30:
      raise ValueError
  except ValueError:
    raise ValueError(
      'randaugment: expected "" or "num_layers,magnitude" with num_layers >='
      f' 1 and magnitude in 0 .. 30, such as "2,15"; got {text!r}.'
    ) from None
  return layers, magnitude
