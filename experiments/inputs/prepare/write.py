"""A folder of labelled images, written in tfds's format."""

from __future__ import annotations

import functools
import os
import re

from experiments.inputs.prepare import (
  encoded,
  examples,
  find,
  labels,
  plan,
  replacing,
  split,
  summary,
  text,
)
from experiments.inputs.tfrecords import records

VERSION = "1.0.0"


def prepare(
  folder: str,
  out: str,
  *,
  pattern: str = "",
  classes: str = "",
  name: str = "imagenet2012",
  eval_split: str = "fraction",
  eval_fraction: float = 0.1,
  eval_folder: str = "",
  eval_labels: str = "",
  eval_numbers: str = "",
  allow_empty: bool = False,
  shards: int = 0,
  verify: bool = True,
  max_unreadable: float = 0.0,
  overwrite: bool = False,
  shorter_side: int = 0,
  jpeg_quality: int = 90,
  apply_orientation: bool = False,
) -> dict[str, int | str]:
  """Writes the data set; see this package's docstring for what becomes what.

  Args:
    folder: where the training images are.
    out: the `data_dir` to write to, created if missing.
    pattern: see `labels.label_of`.
    classes: text file with the classes, see `labels.read_classes`; "" numbers
      the labels found in `folder` in sorted order.
    name: data set name: lower case letters, digits and underscores.
    eval_split: "fraction" or "same"; not read if `eval_folder` is given.
    eval_fraction: share of the images set apart for validation, see
      `split.split_by_hash`.
    eval_folder: where the validation images are, or "".
    eval_labels: file with the labels of `eval_folder`'s images, see
      `eval_labels`; "" labels them like `folder`'s.
    eval_numbers: file that says what numbers in `eval_labels` mean, or "".
    allow_empty: whether class folders without images are classes.
    shards: files for each split; 0 leaves it to tfds (64 MB to 1 GB each).
    verify: whether to decode each image once, to find truncated files now and
      not in the middle of a run. Takes about a millisecond an image.
    max_unreadable: share of the images that may be left out because they cannot
      be read. Past it nothing is written, and all of them are listed.
    overwrite: whether to replace a data set of that name in `out`. The new one
      is written beside it, and takes its place when it is complete.
    shorter_side: of larger training images, in pixels, see `encoded.read`;
      0 stores all as they are.
    jpeg_quality: of the images that are encoded anew as JPEGs, 1 .. 100.
    apply_orientation: whether to turn images as their EXIF orientation says,
      which training does not look at.

  Returns:
    {"train": images, "validation": images, "classes": how many, "path": where}.

  Raises:
    ImportError: if TensorFlow, tfds or Pillow is not installed.
    FileNotFoundError: if a folder or a file is missing, or a folder holds no
      images.
    FileExistsError: if the data set exists and `overwrite` is False.
    OSError: if something cannot be read or written.
    ValueError: if an argument, a file name, or a file is not as expected.
  """
  encoded.check_pillow()
  _check_options(name, eval_split, shorter_side, jpeg_quality, max_unreadable)
  labels.check_pattern(pattern)
  split.check_fraction(eval_fraction)
  paths = {
    "folder": folder,
    "out": out,
    "classes": classes,
    "eval_folder": eval_folder,
    "eval_labels": eval_labels,
    "eval_numbers": eval_numbers,
  }
  paths = {flag: text.expanded(path, flag) for flag, path in paths.items()}
  for flag, needed in (
    ("eval_labels", "eval_folder"),
    ("eval_numbers", "eval_labels"),
  ):
    if paths[flag] and not paths[needed]:
      raise ValueError(f"{flag}: expected {needed} beside it, got none.")
  out = paths.pop("out")
  planned = plan.make(
    plan.Options(
      **paths,
      pattern=pattern,
      eval_split=eval_split,
      eval_fraction=eval_fraction,
      allow_empty=allow_empty,
    )
  )
  fewest = min(len(images.names) for images in planned.splits.values())
  if not 0 <= shards <= fewest:
    raise ValueError(
      f"shards: expected 0 .. {fewest}, the images in the smaller split; got"
      f" {shards}."
    )
  for path, left_out in planned.left_out.items():
    if left_out:
      print(f"Left out in {path}: {find.summary(left_out)}", flush=True)

  evaluating = encoded.Options(
    verify=verify, quality=jpeg_quality, apply_orientation=apply_orientation
  )
  options = {
    "train": evaluating._replace(shorter_side=shorter_side),
    "validation": evaluating,
  }
  reading = examples.Reading(
    planned.splits,
    {
      key: functools.partial(encoded.read, options=values)
      for key, values in options.items()
    },
    max_unreadable,
  )
  with replacing.replacing(out, name, VERSION, overwrite=overwrite) as beside:
    _store(planned, reading, beside, name, shards)
    summary.check_classes(planned, reading)
    described = summary.describe(planned, reading)
    summary.store(described, os.path.join(beside, name, VERSION))
  path = os.path.join(out, name, VERSION)
  print(summary.show(described, path), flush=True)
  return {
    **{key: counts.total() for key, counts in reading.written.items()},
    "classes": len(planned.classes),
    "path": path,
  }


def _store(
  planned: plan.Plan,
  reading: examples.Reading,
  data_dir: str,
  name: str,
  shards: int,
) -> None:
  _, tfds = records.import_tensorflow()
  # Our own progress lines, which are also readable in a log file.
  tfds.disable_progress_bar()
  tfds.dataset_builders.store_as_tfds_dataset(
    name=name,
    version=VERSION,
    data_dir=data_dir,
    features=tfds.features.FeaturesDict(
      {
        "image": tfds.features.Image(encoding_format="jpeg"),
        "label": tfds.features.ClassLabel(names=planned.classes),
        "file_name": tfds.features.Text(),
      }
    ),
    split_datasets={key: reading.examples(key) for key in planned.splits},
    description="Images stored by experiments.inputs.prepare, see"
    f" {summary.FILE}.",
    # Else tfds asks its public bucket for a data set of this name.
    download_config=tfds.download.DownloadConfig(
      try_download_gcs=False, num_shards=shards or None
    ),
  )


def _check_options(name, eval_split, shorter_side, jpeg_quality, unreadable):
  """Refuses what is wrong whatever the images are."""
  if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
    raise ValueError(
      "name: expected lower case letters, digits and underscores, beginning"
      f" with a letter; got {name!r}."
    )
  if eval_split not in ("fraction", "same"):
    raise ValueError(
      f'eval_split: expected "fraction" or "same", got {eval_split!r}.'
    )
  if shorter_side < 0:
    raise ValueError(
      f"shorter_side: expected pixels, or 0 for none; got {shorter_side}."
    )
  if not 1 <= jpeg_quality <= 100:
    raise ValueError(f"jpeg_quality: expected 1 .. 100, got {jpeg_quality}.")
  if not 0 <= unreadable < 1:
    raise ValueError(
      "max_unreadable: expected a share of the images in [0, 1), got"
      f" {unreadable}."
    )
