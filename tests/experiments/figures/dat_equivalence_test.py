"""Theorem 1 of the DAT paper, its lemmas, and the readings of Du."""

import numpy as np
import pytest

from experiments.figures import dat_equivalence

FIGURE = dat_equivalence


def test_losses_converge_within_the_bound(smoke):
  for name, one in smoke["schemes"].items():
    fitted, low, high = one["slope"]
    assert low < fitted < high and abs(fitted + 0.5) < 0.15, name
    untied, dat = one["expected"]
    assert untied == pytest.approx(dat, abs=1e-5)
    assert one["unequal_symmetric"] < 1e-4 < 1e-2 < one["unequal_single"]
    assert np.all(np.asarray(smoke["lemma"][name]) < smoke["bound"])


def test_one_reading_of_du_is_a_law(smoke):
  integrals = [one["integral"] for one in smoke["readings"].values()]
  np.testing.assert_allclose(integrals, [1.0, 1.5, 1.5], atol=1e-5)


def test_slope_is_that_of_a_power():
  sizes = np.array([4, 16, 64])
  rows = np.random.default_rng(0).normal(size=(50, 3)) * sizes**-0.5
  fitted, low, high = dat_equivalence.slope(sizes, rows, 0)
  assert low < -0.5 < high and low < fitted < high < low + 0.4
  exact = np.array([[1.0], [-1.0]]) * sizes[None] ** -0.75
  assert dat_equivalence.slope(sizes, exact, 0) == pytest.approx([-0.75] * 3)
