"""Columns to inputs: by hand, and what only the training rows may say."""

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from experiments.inputs.tabular.columns import encode
from experiments.inputs.tabular.table import Column

TRAIN = np.array([0, 1, 2, 3])


def numbers(*values):
  return Column("x", np.array(values, float))


def test_numbers_by_hand():
  inputs = encode([numbers(1, 1, 3, 3, 7, np.nan)], TRAIN)
  assert inputs.dtype == np.float32
  np.testing.assert_array_equal(inputs[:, 0], [-1, -1, 1, 1, 5, 0])


def test_a_missing_number_is_the_training_rows_mean():
  inputs = encode([numbers(0, 6, np.nan, 3, 100, np.nan)], TRAIN)
  # The mean of 0, 6 and 3 is 3; with it the variance is 18 / 4.
  unit = np.sqrt(4.5)
  np.testing.assert_allclose(
    inputs[:, 0], np.array([-3, 3, 0, 0, 97, 0]) / unit, rtol=1e-6
  )


def test_categories_by_hand():
  column = Column("c", np.array([0, 1, 1, -1, -1, 0]), ("a", "b", "never"))
  inputs = encode([column], TRAIN)
  # The mode is b: one a and three b to train on. Variance 3 / 16.
  a = (np.array([1, 0, 0, 0, 0, 1]) - 0.25) / np.sqrt(3 / 16)
  np.testing.assert_allclose(inputs[:, 0], a, rtol=1e-6)
  np.testing.assert_allclose(inputs[:, 1], -a, rtol=1e-6)
  np.testing.assert_array_equal(inputs[:, 2], 0)


def test_a_category_that_training_has_not_is_zero_everywhere():
  column = Column("c", np.array([0, 0, 1, 1, 2, 2]), ("a", "b", "c"))
  inputs = encode([column], TRAIN)
  np.testing.assert_array_equal(inputs[:, 2], np.zeros(6))
  np.testing.assert_array_equal(inputs[4], [-1, -1, 0])


@pytest.mark.parametrize(
  "values",
  [
    [0.1, 0.1, 0.1, 0.1, 5.0, np.nan],
    [0.1, np.nan, 0.1, 0.1, 5.0, 0.1],  # 3 * 0.1 / 3 is not 0.1
    [np.nan] * 4 + [5.0, np.nan],
  ],
)
def test_what_is_constant_in_training_is_zero_and_kept(values):
  inputs = encode([numbers(*values), numbers(1, 1, 3, 3, 5, 5)], TRAIN)
  assert inputs.shape == (6, 2)
  np.testing.assert_array_equal(inputs[:, 0], np.zeros(6))


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_no_magnitude_is_too_small_or_too_large(scale):
  inputs = encode([numbers(*(scale * np.array([1, 1, 3, 3, 3, 1])))], TRAIN)
  np.testing.assert_allclose(inputs[:, 0], [-1, -1, 1, 1, 1, -1], rtol=1e-6)


def test_outliers_stay_finite():
  inputs = encode([numbers(0, 0, 1e-300, 1e-300, 1e300, -1e300)], TRAIN)
  largest = np.finfo(np.float32).max
  np.testing.assert_array_equal(inputs[:, 0], [-1, -1, 1, 1, largest, -largest])


def test_columns_stand_in_their_order():
  column = Column("c", np.array([0, 0, 1, 1, 1, 0]), ("a", "b"))
  inputs = encode(
    [numbers(1, 1, 3, 3, 1, 1), column, numbers(*range(6))], TRAIN
  )
  assert inputs.shape == (6, 4)
  np.testing.assert_array_equal(
    inputs[:, :3],
    [[-1, 1, -1]] * 2 + [[1, -1, 1]] * 2 + [[-1, -1, 1], [-1, 1, -1]],
  )


@settings(deadline=None)
@given(
  values=st.lists(
    st.one_of(st.just(np.nan), st.floats(-1e6, 1e6)), min_size=6, max_size=6
  ),
  other=st.floats(-1e6, 1e6),
)
def test_only_training_rows_count(values, other):
  """Their inputs do not change with other rows, and have mean 0, variance 1."""
  inputs = encode([numbers(*values)], TRAIN)
  changed = encode([numbers(*values[:4], other, other)], TRAIN)
  np.testing.assert_array_equal(inputs[TRAIN], changed[TRAIN])
  trained = inputs[TRAIN].astype(float)
  known = [x for x in values[:4] if not np.isnan(x)]
  if not known or min(known) == max(known):
    np.testing.assert_array_equal(inputs, 0)
  else:
    np.testing.assert_allclose(trained.mean(), 0, atol=1e-6)
    np.testing.assert_allclose(trained.std(), 1, atol=1e-6)
