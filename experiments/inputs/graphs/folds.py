"""Cross-validation's parts: one fold to test on, another to choose by."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Parts(NamedTuple):
  """Rows of a data set, each in one of the three.

  Attributes:
    train: to train on.
    validation: to choose between runs by; empty without an inner validation.
    test: the fold that is left out.
  """

  train: np.ndarray
  validation: np.ndarray
  test: np.ndarray


def split(
  labels: np.ndarray, *, folds: int, fold: int, seed: int, validation: bool
) -> Parts:
  """Divides by scikit-learn's StratifiedKFold, shuffled.

  Every class is shared out evenly, to within an example, and so are the folds'
  sizes.

  Args:
    labels: [N] classes.
    folds: how many parts there are, each the test part of one of the runs.
    fold: which is left out, in 0 .. folds - 1.
    seed: of the shuffle.
    validation: whether the next fold, fold + 1 (0 after the last), is kept from
      training as well.

  Raises:
    ValueError: if there are too few folds, or too few examples of a class.

  Example:
    >>> labels = np.array([0, 1] * 6)
    >>> parts = split(labels, folds=3, fold=2, seed=0, validation=True)
    >>> [np.bincount(labels[part]).tolist() for part in parts]
    [[2, 2], [2, 2], [2, 2]]
  """
  from sklearn.model_selection import StratifiedKFold

  fewest = 3 if validation else 2
  if folds < fewest:
    raise ValueError(
      f"folds must be at least {fewest}, one to test on"
      + (", one to validate on (inner_validation=True)" if validation else "")
      + f" and one to train on; got {folds}."
    )
  if not 0 <= fold < folds:
    raise ValueError(f"fold must lie in 0 .. {folds - 1}, got {fold}.")
  counts = np.bincount(labels)
  if counts.min() < folds:
    raise ValueError(
      f"folds must not exceed the examples of any class, got folds={folds} and "
      f"{counts.min()} examples of class {counts.argmin()}."
    )
  kinds = StratifiedKFold(folds, shuffle=True, random_state=seed)
  tests = [test for _, test in kinds.split(np.zeros(len(labels)), labels)]
  held = [fold, (fold + 1) % folds] if validation else [fold]
  train = np.concatenate([tests[k] for k in range(folds) if k not in held])
  none = np.zeros(0, np.int64)
  return Parts(
    np.sort(train), tests[held[1]] if validation else none, tests[fold]
  )
