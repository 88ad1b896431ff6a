"""Data sets that tfds has written: opened, described, or told how to get."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import difflib
import hashlib
import json
import os
from typing import Any

from experiments.inputs.tfrecords import records
from experiments.inputs.tfrecords.order import Piece


def open_builder(name: str, data_dir: str) -> Any:
  """Returns a tfds builder made from the prepared files alone.

  Files rather than registered code, so that a folder written by
  `experiments.inputs.prepare`, or by any version of tfds, opens alike.

  Args:
    name: of the data set, also "NAME/CONFIG:VERSION".
    data_dir: folder that holds it, local or gs://; "" is tfds's default.

  Raises:
    ImportError: if TensorFlow or tfds is not installed.
    FileNotFoundError: if the data set has not been prepared; the message says
      how to.
    ValueError: if there is no such data set, or not as TFRecord files.
  """
  _, tfds = records.import_tensorflow()
  from tensorflow_datasets.core import read_only_builder

  data_dir = os.path.expanduser(data_dir)
  try:
    builder = read_only_builder.builder_from_files(
      name, data_dir=data_dir or None
    )
  except tfds.core.DatasetNotFoundError:
    # No chained exception: tfds's message only repeats part of this one.
    raise _not_prepared(name, data_dir, tfds) from None
  if builder.info.file_format.value != "tfrecord":
    raise ValueError(
      f"dataset: {name!r} is stored as {builder.info.file_format.value}, but"
      " only tfrecord files can be read; prepare it with"
      " --file_format=tfrecord."
    )
  return builder


def _not_prepared(name: str, data_dir: str, tfds) -> Exception:
  base = name.split("/")[0].split(":")[0]
  where = data_dir or os.environ.get(
    "TFDS_DATA_DIR", os.path.expanduser("~/tensorflow_datasets")
  )
  flag = f"--data_dir={where}"
  own_images = (
    "For a folder of JPEGs of your own (or an ImageNet already unpacked):\n"
    "  python -m experiments.inputs.prepare --folder=JPEGS"
    f" --out={where} --name={base}"
  )
  if base == "imagenet2012":
    manual = os.path.join(where, "downloads", "manual")
    return FileNotFoundError(
      f"dataset: no prepared {name!r} was found in {where} (data_dir). To"
      " prepare it, once:\n"
      "  1. Register at https://image-net.org/download-images and download\n"
      "     ILSVRC2012_img_train.tar (138 GB) and ILSVRC2012_img_val.tar"
      " (6 GB)\n"
      f"  2. to {manual} (do not unpack them);\n"
      "  3. run, with 300 GB free (hours):\n"
      f"  tfds build imagenet2012 {flag} --manual_dir={manual}\n"
      f"{own_images}"
    )
  registered = tfds.list_builders()
  if base in registered:
    return FileNotFoundError(
      f"dataset: no prepared {name!r} was found in {where} (data_dir)."
      f" To prepare it:\n  tfds build {name} {flag}\n{own_images}"
    )
  close = difflib.get_close_matches(base, registered)
  hint = f" Did you mean {' or '.join(close)}?" if close else ""
  return ValueError(
    f"dataset: {name!r} is neither prepared in {where} (data_dir) nor a name"
    f" that tfds knows.{hint}\n{own_images}"
  )


def split_pieces(builder: Any, key: str, split: str) -> list[Piece]:
  """Returns the pieces of files that hold a split.

  Args:
    builder: see `open_builder`.
    key: the config's, for the error.
    split: a split of tfds, or a slice of one.

  Raises:
    ValueError: if there is no such split, or nothing in it.
  """
  known = sorted(builder.info.splits)
  try:
    files = builder.info.splits[split].file_instructions
  except (KeyError, ValueError) as error:
    raise ValueError(
      f"{key}: expected one of {known} or a slice of it, got {split!r}."
    ) from error
  if not files:
    sizes = {name: builder.info.splits[name].num_examples for name in known}
    raise ValueError(
      f"{key}: {split!r} of {builder.info.full_name} has no examples; the"
      f" splits' sizes are {sizes}."
    )
  return [Piece(str(f.filename), f.skip, f.take) for f in files]


def digest(builder: Any, splits: Sequence[list[Piece]]) -> str:
  """Returns what tells these files from others, wherever they lie.

  By the names and sizes that tfds noted, not by their bytes: ImageNet has 150
  GB of them.
  """
  info = builder.info
  told = [
    [
      [(os.path.basename(p.filename), *p[1:]) for p in pieces]
      for pieces in splits
    ],
    {name: split.num_bytes for name, split in sorted(info.splits.items())},
    list(info.features["label"].names or ()),
  ]
  return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:12]


def parser(builder: Any) -> Callable[[Any], tuple[Any, Any]]:
  """Returns record -> (encoded image, label), two scalar tensors.

  Raises:
    ValueError: if the data set's examples have no image or no label.
  """
  tf, tfds = records.import_tensorflow()
  features = builder.info.features
  missing = [name for name in ("image", "label") if name not in features]
  if missing:
    raise ValueError(
      f"dataset: {builder.info.full_name} has no feature {missing}; expected"
      f' "image" and "label", got {sorted(features)}.'
    )

  def parse(record):
    example = features.deserialize_example(
      record, decoders={"image": tfds.decode.SkipDecoding()}
    )
    return example["image"], tf.cast(example["label"], tf.int32)

  return parse
