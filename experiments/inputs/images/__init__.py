"""Small image data sets that fit in memory, as uint8.

digits is embedded. The others are read from their official files in a folder,
or from the folder in which tfds has prepared them, whichever data_dir holds;
`files` says which files. `train_split` and `eval_split` name parts of them in
tfds' notation; where what is evaluated is not all of the test images, these are
tested on at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from absl import logging
import jax
from ml_collections import ConfigDict
import numpy as np

from experiments.inputs import scale
from experiments.inputs.dataset import Arrays, Spec
from experiments.inputs.images import files, known, prepared, splits
from experiments.inputs.images import tiny_imagenet as tiny
from experiments.inputs.images.digits import DIGITS as DIGITS
from experiments.inputs.images.digits import load_digits as load_digits
from experiments.inputs.images.formats import read_idx as read_idx

TINY = "tiny_imagenet"
NAMES = tuple(known.SETS)


class Parts(NamedTuple):
  """What of a data set is trained on, evaluated, and tested on at the end."""

  train: list[splits.Piece]
  evaluate: list[splits.Piece]
  test: list[splits.Piece]


def parts(config: ConfigDict) -> Parts:
  """Returns the pieces that train_split and eval_split name.

  "validation", the default of eval_split, is the test images of sets that have
  no images of that name, which are all but Tiny-ImageNet.

  Args:
    config: reads dataset, train_split and eval_split.

  Raises:
    ValueError: naming the key, if there are no such images.
  """
  sizes = known.SETS[config.dataset].sizes
  held = next(name for name in sizes if name != "train")
  train = splits.pieces("train_split", config.train_split, sizes)
  asked = config.eval_split
  if asked == "validation":
    asked = held
  evaluate = splits.pieces("eval_split", asked, sizes)
  whole = [(held, range(sizes[held]))]
  shown = splits.common(evaluate, whole)
  return Parts(train, evaluate, [] if shown else whole)


def describe(config: ConfigDict) -> Spec:
  """Returns a data set's spec, without its files.

  Args:
    config: reads dataset, train_split and eval_split.
  """
  own, which = known.SETS[config.dataset], parts(config)
  return Spec(
    inputs=jax.ShapeDtypeStruct(own.shape, np.uint8),
    num_classes=own.num_classes,
    num_train=splits.count(which.train),
    num_eval=splits.count(which.evaluate),
    scale=scale.pixels(own.mean, own.std),
  )


def load(config: ConfigDict) -> Arrays:
  """Returns a data set's images and labels, from official files or tfds'.

  Args:
    config: reads dataset, data_dir, train_split and eval_split.

  Raises:
    FileNotFoundError: if a file is missing, naming it and where it is from.
    ValueError: if one is not what was published, or a split is none.
  """
  name, data_dir = config.dataset, config.data_dir
  own, which = known.SETS[name], parts(config)
  both = splits.common(which.train, which.evaluate)
  if both:
    logging.warning(
      "%s: %d of the %d images that are evaluated are also trained on.",
      name,
      both,
      splits.count(which.evaluate),
    )
  wanted = [piece for part in which for piece in part]
  if name == TINY:
    piece_of = tiny.load(data_dir, wanted, dict(own.sizes))
  elif prepared.has(name, data_dir):
    piece_of = prepared.load(name, data_dir, own.sizes)
  else:
    piece_of = files.load(name, data_dir, wanted, own.num_classes)

  def joined(pieces: list[splits.Piece]) -> tuple[np.ndarray, np.ndarray]:
    found = [chunk for piece in pieces for chunk in piece_of(piece)]
    images, labels = zip(*found, strict=True)
    if len(found) == 1:
      return images[0], labels[0].astype(np.int32)
    return np.concatenate(images), np.concatenate(labels).astype(np.int32)

  train_inputs, train_labels = joined(which.train)
  eval_inputs, eval_labels = joined(which.evaluate)
  arrays = Arrays(
    train_inputs,
    train_labels,
    eval_inputs,
    eval_labels,
    own.num_classes,
    describe(config).scale,
  )
  if which.test:
    test_inputs, test_labels = joined(which.test)
    arrays = arrays._replace(test_inputs=test_inputs, test_labels=test_labels)
  return arrays


LOADERS: Mapping[str, Callable[[ConfigDict], Arrays]] = {
  "digits": load_digits,
  **dict.fromkeys(NAMES, load),
}
SPECS: Mapping[str, Spec | Callable[[ConfigDict], Spec]] = {
  "digits": DIGITS,
  **dict.fromkeys(NAMES, describe),
}
