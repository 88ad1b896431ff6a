"""Gaps, factors and divergences: the numbers of four figures, and ink."""

import numpy as np
import pytest

from experiments.figures import (
  drawing,
  kimura_bregman,
  kimura_figure3,
  zhang_factors,
  zhang_generalization,
)

FIGURE = kimura_bregman


def test_divergences_are_the_known_ones(smoke):
  theta, other = np.asarray(smoke["theta"]), np.asarray(smoke["other"])
  log_cosh = lambda t: np.logaddexp(t, -t) - np.log(2.0)

  def divergence(theta, other):
    tangent = np.tanh(other) * (theta - other)
    return log_cosh(theta) - log_cosh(other) - tangent

  t, s = np.meshgrid(theta, other)
  np.testing.assert_allclose(smoke["plain"], divergence(t, s), rtol=1e-2)
  np.testing.assert_allclose(
    smoke["mixed"], divergence(t / 2, s / 2), rtol=1e-2
  )
  assert 0.2 < smoke["raised"] < 0.8 and not smoke["seen"]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
  def draw(module):
    result = module.compute(smoke=True)
    target = tmp_path_factory.mktemp("figure") / "figure.png"
    drawing.save(module.draw(result), result["caption"], target)
    assert target.stat().st_size > 10_000
    return result

  return draw


def test_logits_grow_by_their_factors(drawn):
  result = drawn(zhang_factors)
  for run in result["runs"]:
    grown = run["grown"]
    assert grown["logit"] != 0.0
    # |x_i| does not grow.
    total = grown["slope"] + grown["cosine"]
    assert total == pytest.approx(grown["logit"], abs=0.02)


def test_gaps_are_below_their_bounds(drawn):
  result = drawn(zhang_generalization)
  assert result["seen"] and result["settings"]["rank"] == 61
  for rows in result["rows"].values():
    for row in rows:
      assert 0.0 < row["gap"] <= row["quantile"] < row["monte_carlo"]
      assert row["complexity"] < row["monte_carlo"] < row["bound"]


def test_mixed_losses_grow_with_alpha(drawn):
  result = drawn(kimura_figure3)
  for one in result["curves"].values():
    assert np.shape(one) == (7, 2) and np.ptp(one) > 0.0
  losses = np.asarray(result["curves"]["test_loss"])
  assert np.all((losses > 0.5) & (losses < 4.0))
