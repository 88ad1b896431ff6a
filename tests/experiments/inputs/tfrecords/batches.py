"""What the tests of batches share."""

import itertools

import numpy as np


def take(batches, num):
  return list(itertools.islice(batches, num))


def labels(batches):
  return [int(label) for batch in batches for label in batch["label"]]


def assert_same(batches, expected):
  assert len(batches) == len(expected)
  for batch, other in zip(batches, expected, strict=True):
    assert batch.keys() == other.keys()
    for name in other:
      np.testing.assert_array_equal(batch[name], other[name])
