"""The laws of the split."""

import logging

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from experiments.inputs.tabular.split import split

SHARES = {"train": 0.6, "eval": 0.2, "test": 0.2}


@settings(deadline=None)
@given(
  counts=st.lists(st.integers(1, 23), min_size=1, max_size=6).filter(
    lambda counts: max(counts) >= 5
  ),
  order=st.randoms(use_true_random=False),
  seeds=st.lists(st.integers(0, 2**70), min_size=2, max_size=2),
)
def test_parts_are_disjoint_complete_stratified_and_of_one_size(
  counts, order, seeds
):
  labels = np.repeat(np.arange(len(counts)), counts)
  order.shuffle(labels)
  sizes = set()
  for seed in seeds:
    parts = split(labels, seed)
    np.testing.assert_array_equal(
      np.sort(np.concatenate(parts)), np.arange(len(labels))
    )
    sizes.add(tuple(len(rows) for rows in parts))
    for name, rows in parts._asdict().items():
      got = np.bincount(labels[rows], minlength=len(counts))
      for k, count in enumerate(counts):
        if count < 3:
          assert got[k] == (count if name == "train" else 0)
        else:
          assert abs(got[k] - SHARES[name] * count) < 1
  assert len(sizes) == 1


def test_sizes_by_hand():
  parts = split(np.repeat([0, 1, 2], 50), seed=0)
  assert [len(rows) for rows in parts] == [90, 30, 30]


def test_the_seed_decides():
  labels = np.repeat([0, 1], 40)
  first, again, other = (split(labels, seed) for seed in (3, 3, 4))
  for a, b, c in zip(first, again, other, strict=True):
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_rows_of_small_classes_are_trained_on_and_counted(caplog):
  with caplog.at_level(logging.WARNING):
    parts = split(np.array([0] * 9 + [1, 2, 2] + [3] * 3), 0, "t")
  assert {9, 10, 11} <= set(parts.train)
  assert [record.getMessage() for record in caplog.records] == [
    "t: 2 of 4 classes have less than 3 rows; their 3 rows are all in the "
    "training part."
  ]
  caplog.clear()
  split(np.array([0] * 9 + [3] * 3), 0)
  assert not caplog.records


def test_what_cannot_be_divided_is_refused():
  with pytest.raises(ValueError, match="t: .* largest of 3 classes has 4"):
    split(np.repeat([0, 1, 2], 4), 0, "t")
  with pytest.raises(ValueError, match="split_seed must be at least 0, got -1"):
    split(np.repeat([0, 1, 2], 9), -1)
