"""Columns to what a network takes: numbers of mean 0 and variance 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from experiments.inputs.tabular.table import Column

_LARGEST = float(np.finfo(np.float32).max)


def encode(columns: Sequence[Column], train: np.ndarray) -> np.ndarray:
  """Returns the inputs of all rows, by what the training rows say of them.

  A missing number becomes the training rows' mean, a missing category their
  most frequent one (of several the first). Categories are one-hot, one input
  for each that the column knows, so that the width is that of the table and not
  of a split. Then every input is standardised by the training rows; one that is
  constant over them, such as a category that they have not, is 0 in all rows.

  Args:
    columns: of the table.
    train: the training rows.

  Returns:
    [n, d] float32.

  Example:
    >>> encode([Column("x", np.array([1.0, 3.0, np.nan, 4.0]))], np.arange(3))
    array([[-1.2247449],
           [ 1.2247449],
           [ 0.       ],
           [ 2.4494898]], dtype=float32)
  """
  width = sum(1 if c.categories is None else len(c.categories) for c in columns)
  # An input a row, as they are written one by one.
  inputs = np.empty((width, len(columns[0].values)), np.float32)
  at = 0
  for column in columns:
    if column.categories is None:
      inputs[at] = _standardized(_filled(column.values, train), train)
      at += 1
      continue
    codes = column.values
    present = codes[train][codes[train] >= 0]
    mode = np.bincount(present, minlength=len(column.categories)).argmax()
    codes = np.where(codes < 0, mode, codes)
    for k in range(len(column.categories)):
      inputs[at] = _standardized((codes == k).astype(float), train)
      at += 1
  return np.ascontiguousarray(inputs.T)


def _filled(values: np.ndarray, train: np.ndarray) -> np.ndarray:
  values = values.astype(float)
  present = values[train][~np.isnan(values[train])]
  mean = _mean(present) if len(present) else 0.0
  return np.where(np.isnan(values), mean, values)


def _standardized(values: np.ndarray, train: np.ndarray) -> np.ndarray:
  known = values[train]
  if known.min() == known.max():
    return np.zeros(len(values))
  # Of magnitude 1, so that no square is 0 or infinite. What lies farther out
  # than float32 reaches is at its end: it stays finite.
  scale = np.abs(known).max()
  with np.errstate(over="ignore"):
    values, known = values / scale, known / scale
    mean = known.mean()
    standard = (values - mean) / np.sqrt(np.square(known - mean).mean())
  return np.clip(standard, -_LARGEST, _LARGEST)


def _mean(values: np.ndarray) -> float:
  # Rounded, a mean of equal values may be another, and a column not constant.
  return float(np.clip(values.mean(), values.min(), values.max()))
