"""A folder of labelled JPEGs, written in tfds's format."""

from __future__ import annotations

import collections
from collections.abc import Iterator
from concurrent import futures
import contextlib
import functools
import os
import re
import time
from typing import Any, NamedTuple

from experiments.inputs.prepare import jpeg
from experiments.inputs.prepare import labels as labels_lib
from experiments.inputs.tfrecords import records

VERSION = "1.0.0"
_SECONDS_UNTIL_PROGRESS = 10.0


class _Split(NamedTuple):
  """Which images, where they are, and the index of each one's class."""

  names: list[str]
  images: dict[str, str]
  labels: dict[str, int]


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
  shards: int = 0,
  verify: bool = True,
  overwrite: bool = False,
  shorter_side: int = 0,
  jpeg_quality: int = 90,
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
    eval_fraction: share of the images set apart for validation.
    eval_folder: where the validation images are, or "".
    shards: files for each split; 0 leaves it to tfds (64 MB to 1 GB each).
    verify: whether to decode each image once, to find truncated files now and
      not in the middle of a run. Takes about a millisecond an image.
    overwrite: whether to replace a data set of that name in `out`. The old one
      is removed when the new one is complete.
    shorter_side: of larger training images, in pixels, see `jpeg.read_smaller`;
      0 stores all as they are.
    jpeg_quality: of the training images made smaller, 1 .. 100.

  Returns:
    {"train": images, "validation": images, "classes": how many, "path": where}.

  Raises:
    FileNotFoundError: if a folder is missing or holds no images.
    FileExistsError: if the data set exists and `overwrite` is False.
    ValueError: if an argument, a file name, or a file is not as expected.
  """
  _check_options(name, eval_split, pattern, shorter_side, jpeg_quality)
  class_names, splits = _find_splits(
    folder,
    pattern=pattern,
    classes=classes,
    eval_split=eval_split,
    eval_fraction=eval_fraction,
    eval_folder=eval_folder,
  )
  fewest = min(len(split.names) for split in splits.values())
  if not 0 <= shards <= fewest:
    raise ValueError(
      f"shards: expected 0 .. {fewest}, the images in the smaller split; got"
      f" {shards}."
    )

  read_train = functools.partial(jpeg.read_jpeg, verify=verify)
  read_eval = functools.partial(
    read_train, flag="eval_folder" if eval_folder else "folder"
  )
  stored = "unchanged"
  if shorter_side:
    read_train = functools.partial(
      jpeg.read_smaller, shorter_side=shorter_side, quality=jpeg_quality
    )
    stored = (
      f"those for training with shorter sides of {shorter_side} pixels at most"
    )
  # What is wrong with the images is told without waiting for TensorFlow.
  _, tfds = records.import_tensorflow()
  out = os.path.expanduser(out)
  path = os.path.join(out, name, VERSION)
  with _replacing(path, overwrite):
    # Our own progress lines, which are also readable in a log file.
    tfds.disable_progress_bar()
    tfds.dataset_builders.store_as_tfds_dataset(
      name=name,
      version=VERSION,
      data_dir=out,
      features=tfds.features.FeaturesDict(
        {
          "image": tfds.features.Image(encoding_format="jpeg"),
          "label": tfds.features.ClassLabel(names=class_names),
          "file_name": tfds.features.Text(),
        }
      ),
      split_datasets={
        "train": _Examples(splits["train"], read_train),
        "validation": _Examples(splits["validation"], read_eval),
      },
      description=f"JPEGs stored by experiments.inputs.prepare, {stored}.",
      # Else tfds asks its public bucket for a data set of this name.
      download_config=tfds.download.DownloadConfig(
        try_download_gcs=False, num_shards=shards or None
      ),
    )
  return {
    **{key: len(split.names) for key, split in splits.items()},
    "classes": len(class_names),
    "path": path,
  }


def _check_options(name, eval_split, pattern, shorter_side, jpeg_quality):
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
  if pattern and "label" not in re.compile(pattern).groupindex:
    raise ValueError(
      "pattern: expected a regular expression with a group (?P<label>...),"
      f" got {pattern!r}."
    )
  if shorter_side < 0:
    raise ValueError(
      f"shorter_side: expected pixels, or 0 for none; got {shorter_side}."
    )
  if not 1 <= jpeg_quality <= 100:
    raise ValueError(f"jpeg_quality: expected 1 .. 100, got {jpeg_quality}.")


def _find_splits(
  folder: str,
  *,
  pattern: str,
  classes: str,
  eval_split: str,
  eval_fraction: float,
  eval_folder: str,
) -> tuple[list[str], dict[str, _Split]]:
  """Returns the names of the classes, and the splits; see `prepare`."""
  images = _find_images(folder, "folder")
  found = sorted({labels_lib.label_of(image, pattern) for image in images})
  class_names = labels_lib.read_classes(classes, found) if classes else found
  source = f"--classes={classes}" if classes else f"--folder={folder}"
  labels = labels_lib.index_labels(images, pattern, class_names, source)
  train = validation = _Split(list(images), images, labels)
  if eval_folder:
    flag = "eval_folder"
    images = _find_images(eval_folder, flag)
    labels = labels_lib.index_labels(images, pattern, class_names, source, flag)
    validation = _Split(list(images), images, labels)
  elif eval_split == "fraction":
    kept, held_out = labels_lib.split_by_hash(images, eval_fraction)
    train, validation = (
      train._replace(names=kept),
      train._replace(names=held_out),
    )
  return class_names, {"train": train, "validation": validation}


def _find_images(folder: str, flag: str) -> dict[str, str]:
  images, left_out = labels_lib.find_images(folder, flag)
  if left_out:
    print(f"Left out in {folder}: {labels_lib.summary(left_out)}", flush=True)
  return images


@contextlib.contextmanager
def _replacing(path: str, overwrite: bool) -> Iterator[None]:
  """Sets a data set at `path` aside until there is a new one in its place."""
  tf, _ = records.import_tensorflow()
  exists = tf.io.gfile.exists(path)
  if exists and not overwrite:
    raise FileExistsError(
      f"out: {path} exists already. Add --overwrite to replace it, or choose"
      " another --out or --name."
    )
  print(f"Writing {path}", flush=True)
  aside = path + ".previous"
  if exists:
    if tf.io.gfile.exists(aside):
      tf.io.gfile.rmtree(aside)
    tf.io.gfile.rename(path, aside)
  try:
    yield
  except BaseException:
    if exists:
      tf.io.gfile.rename(aside, path)
    raise
  if exists:
    tf.io.gfile.rmtree(aside)


class _Examples:
  """Iterates over (key, example) of one split, reporting on progress."""

  def __init__(self, split: _Split, read: Any):
    self._split = split
    self._read = read

  def _encoded(self):
    """Yields (name, bytes) in order; a few images are read ahead."""
    threads = os.cpu_count() or 1
    with futures.ThreadPoolExecutor(threads) as pool:
      waiting: collections.deque = collections.deque()
      for name in self._split.names:
        path = self._split.images[name]
        waiting.append((name, pool.submit(self._read, path)))
        if len(waiting) > 4 * threads:
          first, image = waiting.popleft()
          yield first, image.result()
      for name, image in waiting:
        yield name, image.result()

  def __iter__(self):
    start = last = time.monotonic()
    total = len(self._split.names)
    for done, (name, image) in enumerate(self._encoded(), 1):
      label = self._split.labels[name]
      yield name, {"image": image, "label": label, "file_name": name}
      now = time.monotonic()
      if now - last > _SECONDS_UNTIL_PROGRESS:
        last = now
        left = (now - start) / done * (total - done)
        print(
          f"  {done:,} of {total:,} images, about {left / 60:.1f} minutes left",
          flush=True,
        )
