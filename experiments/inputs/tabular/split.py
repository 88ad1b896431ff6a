"""Training, validation and test parts of a table that comes in one piece."""

from __future__ import annotations

from typing import NamedTuple
import warnings

from absl import logging
import numpy as np

# What each fifth of the rows is for, fifths of one class in turn: of any run of
# rows each part then has its share, 60, 20 and 20 %, to within one row.
FIFTHS = ("train", "eval", "train", "test", "train")
# A class of fewer rows cannot be in all three parts.
SMALLEST_CLASS = 3


class Parts(NamedTuple):
  """Rows of a table, in their order; disjoint, and all rows together."""

  train: np.ndarray
  eval: np.ndarray
  test: np.ndarray


def strata(values: np.ndarray, count: int = 10) -> np.ndarray:
  """Classes of equally many rows, by their rank, to divide numbers by.

  Args:
    values: [n] numbers.
    count: of classes, fewer where they would have less than five rows.

  Example:
    >>> strata(np.array([3.0, 1.0, 2.0, 9.0] * 3)).tolist()
    [1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1]
  """
  count = max(1, min(count, len(values) // len(FIFTHS)))
  classes = np.empty(len(values), np.int32)
  order = np.argsort(values, kind="stable")
  classes[order] = np.arange(len(values)) * count // len(values)
  return classes


def split(labels: np.ndarray, seed: int, source: str = "the table") -> Parts:
  """Divides rows 60 : 20 : 20, stratified by class.

  Every part has as many rows of each class as its share, to within one, and the
  same number for every seed: runs of several seeds have arrays of the same
  shapes. All rows of a class of less than three are training rows.

  Args:
    labels: [n] classes.
    seed: decides which rows go where; >= 0.
    source: for messages.

  Raises:
    ValueError: if no class has five rows, or the seed is negative.

  Example:
    >>> parts = split(np.repeat([0, 1], [50, 10]), seed=1)
    >>> [len(rows) for rows in parts]
    [36, 12, 12]
  """
  from sklearn.model_selection import StratifiedKFold

  if seed < 0:
    raise ValueError(f"split_seed must be at least 0, got {seed}.")
  _, classes, counts = np.unique(
    labels, return_inverse=True, return_counts=True
  )
  if counts.max() < len(FIFTHS):
    raise ValueError(
      f"{source}: some class must have {len(FIFTHS)} rows or more, to be "
      "divided into training, validation and test rows; the largest of "
      f"{len(counts)} classes has {counts.max()}. Is the target a class?"
    )
  small = counts[classes] < SMALLEST_CLASS
  if small.any():
    logging.warning(
      "%s: %d of %d classes have less than %d rows; their %d rows are all in "
      "the training part.",
      source,
      (counts < SMALLEST_CLASS).sum(),
      len(counts),
      SMALLEST_CLASS,
      small.sum(),
    )
  rows = np.flatnonzero(~small)
  # A generator of its own takes seeds of any size; scikit-learn's end at 2^32.
  generator = np.random.RandomState(
    np.random.MT19937(np.random.SeedSequence(seed))
  )
  folds = StratifiedKFold(len(FIFTHS), shuffle=True, random_state=generator)
  part = np.full(len(labels), "train")
  with warnings.catch_warnings():
    # Of classes with less than five rows, which are not in every fifth.
    warnings.simplefilter("ignore", UserWarning)
    divided = folds.split(np.zeros(len(rows)), labels[rows])
    for name, (_, fold) in zip(FIFTHS, divided, strict=True):
      part[rows[fold]] = name
  return Parts(*(np.flatnonzero(part == name) for name in Parts._fields))
