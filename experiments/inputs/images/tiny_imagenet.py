"""Tiny-ImageNet from its folder: 200 classes of JPEGs, 64 x 64."""

from __future__ import annotations

from collections.abc import Callable
import pathlib

import numpy as np

from experiments.inputs.images import formats, official
from experiments.inputs.images.splits import Piece

SOURCE = official.Source(
  "Tiny-ImageNet",
  "cs231n.stanford.edu/tiny-imagenet-200.zip",
  ("tiny-imagenet-200", "tiny_imagenet"),
)
# Its list of classes and the labels of its validation images.
CLASSES = "wnids.txt"
LABELS = pathlib.Path("val") / "val_annotations.txt"
_SIDE = 64


def load(
  data_dir: str, wanted: list[Piece], sizes: dict[str, int]
) -> Callable[[Piece], list[formats.Examples]]:
  """Lists the folder's images, and reads those of the pieces that are wanted.

  Training images are taken in turn, one of each class, so that a part of them,
  such as "train[:10000]", has as many of each.

  Args:
    data_dir: the folder as it is unpacked, or one that holds it.
    wanted: the pieces that will be asked for.
    sizes: split -> images.

  Returns:
    piece -> its images and labels.

  Raises:
    FileNotFoundError: if a file is missing.
    ValueError: if the folder holds other numbers of images, or one cannot be
      read.
  """
  need = [official.File(name, 0) for name in (CLASSES, str(LABELS))]
  folder = official.place(data_dir, SOURCE, need)
  classes = (folder / CLASSES).read_text().split()
  listed = {
    "train": _training(folder, classes),
    "validation": _validation(folder, classes),
  }
  for split, files in listed.items():
    if len(files) != sizes[split]:
      raise ValueError(
        f"{folder} should hold {sizes[split]:,} {split} images, got "
        f"{len(files):,}; unpack it again: {SOURCE.title} ({SOURCE.address})."
      )
  labels = {
    split: np.array([label for _, label in files], np.int32)
    for split, files in listed.items()
  }

  def piece_of(piece: Piece) -> list[formats.Examples]:
    split, rows = piece
    images = np.empty((len(rows), _SIDE, _SIDE, 3), np.uint8)
    for k, row in enumerate(rows):
      images[k] = _image(listed[split][row][0])
    return [(images, labels[split][rows.start : rows.stop])]

  del wanted
  return piece_of


def _training(folder, classes) -> list[tuple[pathlib.Path, int]]:
  by_class = [
    sorted((folder / "train" / name / "images").glob("*.JPEG"))
    for name in classes
  ]
  longest = max(map(len, by_class), default=0)
  return [
    (files[k], label)
    for k in range(longest)
    for label, files in enumerate(by_class)
    if k < len(files)
  ]


def _validation(folder, classes) -> list[tuple[pathlib.Path, int]]:
  numbers = {name: label for label, name in enumerate(classes)}
  found = []
  for line, text in enumerate((folder / LABELS).read_text().splitlines(), 1):
    name, _, rest = text.partition("\t")
    kind = rest.partition("\t")[0]
    if kind not in numbers:
      raise ValueError(
        f"{folder / LABELS}, line {line}: expected an image's name and a class "
        f"of {CLASSES}, separated by tabs, got {text[:80]!r}."
      )
    found.append((folder / "val" / "images" / name, numbers[kind]))
  return found


def _image(path: pathlib.Path) -> np.ndarray:
  from PIL import Image, UnidentifiedImageError

  try:
    with Image.open(path) as image:
      values = np.asarray(image.convert("RGB"))
  except (OSError, UnidentifiedImageError) as error:
    raise ValueError(
      f"{path} cannot be read ({error}); unpack it again: {SOURCE.title} "
      f"({SOURCE.address})."
    ) from None
  if values.shape != (_SIDE, _SIDE, 3):
    raise ValueError(
      f"{path} should have {_SIDE} x {_SIDE} pixels, got "
      f"{values.shape[1]} x {values.shape[0]}."
    )
  return values
