"""Data sets that tfds has written: opened, described, or told how to get."""

from __future__ import annotations

from collections.abc import Callable
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
  tf = records.import_tensorflow()[0]
  for aside in tf.io.gfile.glob(os.path.join(where, base, "*.previous")):
    return FileNotFoundError(
      f"dataset: {name!r} is not in {where} (data_dir): a prepare --overwrite"
      f" that was killed left it as {aside}. Start that prepare again to put"
      " it back and replace it."
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


def digest(builder: Any, pieces: list[Piece]) -> str:
  """Returns what tells files from others, by what tfds noted of them.

  The same files elsewhere are described alike; files of other names, numbers,
  lengths or sizes, or of other classes, are not. Not by their bytes: ImageNet
  has 150 GB of them.

  Args:
    builder: see `open_builder`.
    pieces: of all splits that are read.
  """
  info = builder.info
  told = [
    [(os.path.basename(p.filename), p.skip, p.take) for p in pieces],
    {name: split.num_bytes for name, split in info.splits.items()},
    list(info.features["label"].names or ()),
  ]
  text = json.dumps(told, sort_keys=True)
  found = hashlib.sha256(text.encode()).hexdigest()
  records = sum(piece.take for piece in pieces)
  return f"{records} records in {len(pieces)} files, digest {found[:16]}"


def parser(builder: Any) -> Callable[[Any], tuple[Any, Any]]:
  """Returns record -> (encoded image, label), two scalar tensors.

  Raises:
    ValueError: if the data set's examples have no image, or no label that is
      one class.
  """
  tf, tfds = records.import_tensorflow()
  features = builder.info.features
  for name, kind in (
    ("image", tfds.features.Image),
    ("label", tfds.features.ClassLabel),
  ):
    _check_feature(builder.info, name, kind)

  def parse(record):
    example = features.deserialize_example(
      record, decoders={"image": tfds.decode.SkipDecoding()}
    )
    return example["image"], tf.cast(example["label"], tf.int32)

  return parse


def _check_feature(info: Any, name: str, kind: type) -> None:
  """Refuses a data set whose feature is missing, or not of its kind."""
  features = dict(info.features)
  found = features.get(name)
  if isinstance(found, kind):
    return
  what = f"is {found!r}" if found is not None else "is not there"
  others = [key for key, value in features.items() if isinstance(value, kind)]
  candidates = f" (it has {', '.join(others)})" if others else ""
  raise ValueError(
    f"dataset: the feature {name!r} of {info.full_name} {what}; expected a tfds"
    f" {kind.__name__}{candidates}. Store the data set again with one of that"
    " name, such as label=tfds.features.ClassLabel(num_classes=10), or make it"
    " of class folders with experiments.inputs.prepare."
  )
