"""Cross-validation's parts."""

import numpy as np
import pytest

from experiments.inputs.graphs import folds

LABELS = np.random.default_rng(0).permutation([0] * 31 + [1] * 64 + [2] * 12)


def split(fold=0, *, count=10, seed=0, validation=True, labels=LABELS):
  return folds.split(
    labels, folds=count, fold=fold, seed=seed, validation=validation
  )


@pytest.mark.parametrize("validation", [False, True])
def test_every_example_is_tested_once_and_in_one_part_at_a_time(validation):
  tested = np.zeros(len(LABELS), int)
  for fold in range(10):
    parts = split(fold, validation=validation)
    np.testing.assert_array_equal(
      np.sort(np.concatenate(parts)), np.arange(len(LABELS))
    )
    tested[parts.test] += 1
    assert len(parts.test) in (10, 11)
    assert len(parts.validation) in ((10, 11) if validation else (0,))
    for part in parts[1 if validation else 2 :]:
      counts = np.bincount(LABELS[part], minlength=3)
      assert (np.abs(counts - np.bincount(LABELS) / 10) < 1).all()
  assert (tested == 1).all()


def test_the_test_part_does_not_depend_on_the_validation():
  np.testing.assert_array_equal(split(3).test, split(3, validation=False).test)
  # Nine folds train against eight, whose validation is the next one's test.
  assert set(split(9).train) < set(split(9, validation=False).train)
  np.testing.assert_array_equal(split(9).validation, split(0).test)


def test_a_seed_is_a_division():
  np.testing.assert_array_equal(split(seed=4).train, split(seed=4).train)
  assert not np.array_equal(split(seed=4).test, split(seed=5).test)


@pytest.mark.parametrize(
  ("options", "message"),
  [
    (dict(fold=10), "fold must lie in 0 .. 9, got 10"),
    (dict(fold=-1), "fold must lie in 0 .. 9, got -1"),
    (dict(count=1, validation=False), "folds must be at least 2, .*got 1"),
    (dict(count=2), r"folds must be at least 3, .*inner_validation.*got 2"),
    (dict(count=13), "folds=13 and 12 examples of class 2"),
  ],
)
def test_errors(options, message):
  with pytest.raises(ValueError, match=message):
    split(**options)


def test_two_folds_without_a_validation():
  parts = split(count=2, validation=False)
  assert {len(parts.train), len(parts.test)} == {53, 54}
