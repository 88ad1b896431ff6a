"""Turns a folder of labelled JPEGs into a data set that training reads.

    python -m experiments.inputs.prepare --folder=JPEGS --out=DATA_DIR

writes DATA_DIR/imagenet2012/1.0.0 in tfds's format (TFRecord files), with the
features of tfds's own imagenet2012, so that `--config.data_dir=DATA_DIR` is all
that a run needs. The JPEGs are stored byte for byte, unless

    --shorter_side=256

asks for smaller training images, which are read and decoded in less than half
the time: those whose shorter side is longer are resized to it and encoded
again (--jpeg_quality=90). Small random crops are then enlarged more. Validation
images stay as they are.

Labels are the names of the folders directly below --folder, as in an unpacked
ImageNet, or come from the file names:

    --pattern='(?P<label>n\\d+)_.*'   n01443537_goldfish.JPEG is n01443537

Classes are numbered in sorted order of their names, or as --classes says: a
text file with a line for each class, "name ..." in order, or "index name ...".

The validation split is one of: --eval_folder, labelled like --folder; a share
of the images (--eval_fraction=0.1, the default), which are those with the
smallest SHA-256 of their path below --folder, so the same images on every
machine and for any order of listing; or, with --eval_split=same, the training
images once more, when there are too few to spare any. Accuracy is then
training accuracy.
"""

import collections
from concurrent import futures
import functools
import hashlib
import os
import re
import time

from absl import flags, logging
import numpy as np

from experiments import cli
from experiments.inputs import records

VERSION = "1.0.0"
_EXTENSIONS = (".jpg", ".jpeg")
_SECONDS_UNTIL_PROGRESS = 10.0


def find_images(folder: str) -> dict[str, str]:
  """Returns {path below `folder`, with forward slashes: path}, sorted.

  Images are the files named *.jpg or *.jpeg, in any case, at any depth.

  Raises:
    FileNotFoundError: if `folder` is not a folder or holds no image.
  """
  if not os.path.isdir(folder):
    raise FileNotFoundError(f"folder: {folder!r} is not a folder.")
  images = {}
  others = 0
  for parent, _, names in os.walk(folder, followlinks=True):
    for name in names:
      if name.lower().endswith(_EXTENSIONS):
        path = os.path.join(parent, name)
        images[os.path.relpath(path, folder).replace(os.sep, "/")] = path
      else:
        others += 1
  if not images:
    raise FileNotFoundError(
      f"folder: no *.jpg or *.jpeg file in {folder!r} or below it ({others}"
      " files with other names). Other formats must be converted first."
    )
  return dict(sorted(images.items()))


def label_of(name: str, pattern: str) -> str:
  """Returns the label of the image `name` (its path below the folder).

  Args:
    name: path below the folder, with forward slashes.
    pattern: regular expression for the whole file name, with a group `label`;
      "" takes the topmost folder's name.

  Raises:
    ValueError: if the name has no label; the message names it.
  """
  if not pattern:
    folder, slash, _ = name.partition("/")
    if not slash:
      raise ValueError(
        f"folder: {name!r} lies in no class folder. Put every image in a"
        " folder named after its class, or give --pattern to read labels from"
        " file names."
      )
    return folder
  file_name = name.rpartition("/")[2]
  match = re.fullmatch(pattern, file_name)
  if not match or not match["label"]:
    raise ValueError(
      f"pattern: {pattern!r} does not match the whole of {name!r}. Correct"
      " the pattern, or move the file out of the folder."
    )
  return match["label"]


def read_classes(path: str) -> list[str]:
  """Returns the class names in order of their indices.

  Each line is "name ..." or, on all lines, "index name ..."; words after the
  name are ignored, and so are empty lines.

  Raises:
    ValueError: if indices are not 0, 1, 2, ... in some order, or a name comes
      twice.
  """
  with open(path, encoding="utf-8") as lines:
    rows = [line.split() for line in lines if line.strip()]
  if not rows:
    raise ValueError(f"classes: {path!r} is empty.")
  if all(len(row) > 1 and row[0].isdecimal() for row in rows):
    rows.sort(key=lambda row: int(row[0]))
    for i, row in enumerate(rows):
      if int(row[0]) != i:
        raise ValueError(
          f"classes: {path!r} should number its {len(rows)} classes from 0"
          f" to {len(rows) - 1}, each once; index {i} is missing."
        )
    names = [row[1] for row in rows]
  else:
    names = [row[0] for row in rows]
  for name, count in collections.Counter(names).items():
    if count > 1:
      raise ValueError(f"classes: {path!r} lists {name!r} more than once.")
  return names


def split_by_hash(names, fraction: float) -> tuple[list[str], list[str]]:
  """Splits names into (train, validation), deterministically.

  Validation is the round(fraction * len(names)) names with the smallest
  SHA-256, but at least one; the classes are not balanced.

  Raises:
    ValueError: if either part would be empty.
  """
  names = sorted(names)
  count = max(1, round(fraction * len(names)))
  if not 0 < fraction < 1 or count == len(names):
    raise ValueError(
      "eval_fraction: expected a number in (0, 1) that leaves at least one of"
      f" the {len(names)} images for training, got {fraction}. To validate on"
      " the training images, use --eval_split=same."
    )

  def digest(name):
    return hashlib.sha256(name.encode()).digest()

  chosen = set(sorted(names, key=digest)[:count])
  return [name for name in names if name not in chosen], sorted(chosen)


def read_jpeg(path: str, *, verify: bool) -> bytes:
  """Returns the file's bytes once sure that they are a JPEG.

  A PNG under a JPEG's name (ImageNet's n02105855_2933.JPEG is one) is accepted:
  training decodes it, if more slowly.

  Args:
    path: of the file.
    verify: whether to decode the image, which finds truncated files.

  Raises:
    ValueError: if the bytes are not a JPEG, or cannot be decoded; the message
      names the file.
  """
  with open(path, "rb") as file:
    data = file.read()
  if not data.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")):
    raise ValueError(
      f"folder: {path!r} is not a JPEG: expected it to begin with the bytes"
      f" ff d8 ff, got {data[:3].hex(' ') or 'an empty file'}. Download it"
      " again, convert it, or move it out of the folder."
    )
  if verify:
    _decode(data, path)
  return data


def _decode(data: bytes, path: str):
  """Returns the image of a file's bytes; an error names the file."""
  tf, _ = records.import_tensorflow()
  try:
    return tf.io.decode_image(data, channels=3, expand_animations=False)
  except tf.errors.InvalidArgumentError as error:
    reason = error.message.split("[Op:")[0].strip()
    raise ValueError(
      f"folder: {path!r} is damaged: {reason}. Download it again, or move"
      " it out of the folder."
    ) from error


def read_smaller(path: str, shorter_side: int, quality: int) -> bytes:
  """Returns the file's image as a JPEG whose shorter side is `shorter_side`.

  Resized with Lanczos's kernel of radius 3 and antialiasing. The bytes of an
  image that is no larger are returned as they are.

  Args:
    path: of the file.
    shorter_side: in pixels; the longer side is rounded to the nearest pixel.
    quality: of the JPEG, 1 .. 100.

  Raises:
    ValueError: as `read_jpeg`, which decodes an image to verify it.
  """
  tf, _ = records.import_tensorflow()
  data = read_jpeg(path, verify=False)
  image = _decode(data, path)
  shape = np.array(image.shape[:2])
  if shape.min() <= shorter_side:
    return data
  shape = np.rint(shape * shorter_side / shape.min()).astype(int)
  image = tf.image.resize(
    image, shape, method=tf.image.ResizeMethod.LANCZOS3, antialias=True
  )
  image = tf.saturate_cast(tf.round(image), tf.uint8)
  return tf.io.encode_jpeg(image, quality=quality).numpy()


class _Examples:
  """Iterates over (key, example) of one split, reporting on progress."""

  def __init__(self, names, images, labels, read):
    self._names = names
    self._images = images
    self._labels = labels
    self._read = read

  def _encoded(self):
    """Yields (name, bytes) in order; a few images are read ahead."""
    threads = os.cpu_count() or 1
    with futures.ThreadPoolExecutor(threads) as pool:
      waiting: collections.deque = collections.deque()
      for name in self._names:
        waiting.append((name, pool.submit(self._read, self._images[name])))
        if len(waiting) > 4 * threads:
          first, image = waiting.popleft()
          yield first, image.result()
      for name, image in waiting:
        yield name, image.result()

  def __iter__(self):
    start = last = time.monotonic()
    for done, (name, image) in enumerate(self._encoded()):
      yield (
        name,
        {"image": image, "label": self._labels[name], "file_name": name},
      )
      now = time.monotonic()
      if now - last > _SECONDS_UNTIL_PROGRESS:
        last = now
        left = (now - start) / (done + 1) * (len(self._names) - done - 1)
        print(
          f"  {done + 1:,} of {len(self._names):,} images, about"
          f" {left / 60:.1f} minutes left",
          flush=True,
        )


def _index_labels(images, pattern, classes, source):
  """Returns {name: class index}; unknown labels are errors."""
  index = {label: i for i, label in enumerate(classes)}
  labels = {}
  for name in images:
    label = label_of(name, pattern)
    if label not in index:
      raise ValueError(
        f"classes: the label {label!r} of {name!r} is not in {source}, which"
        f" has {len(classes)} classes such as {classes[0]!r}."
      )
    labels[name] = index[label]
  return labels


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
  """Writes the data set; see this module's docstring for what becomes what.

  Args:
    folder: where the training images are.
    out: the `data_dir` to write to, created if missing.
    pattern: see `label_of`.
    classes: text file with the classes, see `read_classes`; "" numbers the
      labels found in `folder` in sorted order.
    name: data set name: lower case letters, digits and underscores.
    eval_split: "fraction" or "same"; not read if `eval_folder` is given.
    eval_fraction: share of the images set apart for validation.
    eval_folder: where the validation images are, or "".
    shards: files for each split; 0 leaves it to tfds (64 MB to 1 GB each).
    verify: whether to decode each image once, to find truncated files now and
      not in the middle of a run. Takes about a millisecond an image.
    overwrite: whether to replace a data set of that name in `out`. The old one
      is removed when the new one is complete.
    shorter_side: of larger training images, in pixels, see `read_smaller`; 0
      stores all as they are.
    jpeg_quality: of the training images made smaller, 1 .. 100.

  Returns:
    {"train": images, "validation": images, "classes": how many, "path": where}.

  Raises:
    FileNotFoundError: if a folder is missing or holds no images.
    FileExistsError: if the data set exists and `overwrite` is False.
    ValueError: if an argument, a file name, or a file is not as expected.
  """
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
  train = find_images(folder)
  found = sorted({label_of(image, pattern) for image in train})
  class_names = read_classes(classes) if classes else found
  source = f"--classes={classes}" if classes else f"--folder={folder}"
  train_labels = _index_labels(train, pattern, class_names, source)
  validation, validation_labels = train, train_labels
  names = {"train": list(train), "validation": list(train)}
  if eval_folder:
    validation = find_images(eval_folder)
    validation_labels = _index_labels(validation, pattern, class_names, source)
    names["validation"] = list(validation)
  elif eval_split == "fraction":
    names["train"], names["validation"] = split_by_hash(train, eval_fraction)
  fewest = min(map(len, names.values()))
  if not 0 <= shards <= fewest:
    raise ValueError(
      f"shards: expected 0 .. {fewest}, the images in the smaller split; got"
      f" {shards}."
    )

  # What is wrong with the images is told without waiting for TensorFlow.
  tf, tfds = records.import_tensorflow()
  path = os.path.join(os.path.expanduser(out), name, VERSION)
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
  read = read_train = functools.partial(read_jpeg, verify=verify)
  if shorter_side:
    read_train = functools.partial(
      read_smaller, shorter_side=shorter_side, quality=jpeg_quality
    )
  stored = (
    f"those for training with shorter sides of {shorter_side} pixels at most"
    if shorter_side
    else "unchanged"
  )
  # Our own progress lines, which are also readable in a log file.
  tfds.disable_progress_bar()
  try:
    tfds.dataset_builders.store_as_tfds_dataset(
      name=name,
      version=VERSION,
      data_dir=os.path.expanduser(out),
      features=tfds.features.FeaturesDict(
        {
          "image": tfds.features.Image(encoding_format="jpeg"),
          "label": tfds.features.ClassLabel(names=class_names),
          "file_name": tfds.features.Text(),
        }
      ),
      split_datasets={
        "train": _Examples(names["train"], train, train_labels, read_train),
        "validation": _Examples(
          names["validation"], validation, validation_labels, read
        ),
      },
      description=f"JPEGs stored by {__name__}, {stored}.",
      # Else tfds asks its public bucket for a data set of this name.
      download_config=tfds.download.DownloadConfig(
        try_download_gcs=False, num_shards=shards or None
      ),
    )
  except BaseException:
    if exists:
      tf.io.gfile.rename(aside, path)
    raise
  if exists:
    tf.io.gfile.rmtree(aside)
  return {
    **{split: len(images) for split, images in names.items()},
    "classes": len(class_names),
    "path": path,
  }


def _define_flags():
  flags.DEFINE_string("folder", None, "Folder of training JPEGs.")
  flags.DEFINE_string("out", None, "The data_dir to write to.")
  flags.DEFINE_string(
    "pattern",
    "",
    "Regular expression for a whole file name, with a group (?P<label>...);"
    " without it labels are folder names.",
  )
  flags.DEFINE_string(
    "classes", "", 'Text file of lines "name ..." or "index name ...".'
  )
  flags.DEFINE_string("name", "imagenet2012", "Name of the data set.")
  flags.DEFINE_enum(
    "eval_split",
    "fraction",
    ["fraction", "same"],
    "Validate on a share of the images, or on the training images.",
  )
  flags.DEFINE_float("eval_fraction", 0.1, "Share of images to validate on.")
  flags.DEFINE_string("eval_folder", "", "Folder of validation JPEGs.")
  flags.DEFINE_integer("shards", 0, "Files for each split; 0: by size.")
  flags.DEFINE_bool("verify", True, "Decode each image once to check it.")
  flags.DEFINE_bool("overwrite", False, "Replace an existing data set.")
  flags.DEFINE_integer(
    "shorter_side", 0, "Make training images at most so large, pixels; 0: no."
  )
  flags.DEFINE_integer("jpeg_quality", 90, "Of images made smaller, 1 .. 100.")
  flags.mark_flags_as_required(["folder", "out"])


def _main():
  # tfds reports on every step of its own.
  logging.set_verbosity(logging.ERROR)
  values = flags.FLAGS
  done = prepare(
    values.folder,
    values.out,
    pattern=values.pattern,
    classes=values.classes,
    name=values.name,
    eval_split=values.eval_split,
    eval_fraction=values.eval_fraction,
    eval_folder=values.eval_folder,
    shards=values.shards,
    verify=values.verify,
    overwrite=values.overwrite,
    shorter_side=values.shorter_side,
    jpeg_quality=values.jpeg_quality,
  )
  print(
    f"{done['train']:,} training and {done['validation']:,} validation images"
    f" of {done['classes']:,} classes in {done['path']}\n"
    f"Use it with --config.data_dir={values.out}"
    f" --config.dataset={values.name}"
  )


if __name__ == "__main__":
  _define_flags()
  cli.run(_main)
