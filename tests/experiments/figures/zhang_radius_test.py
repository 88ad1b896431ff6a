"""The radius that PGD measures, and ranks' correlations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from experiments.figures import radii, varied, zhang_radius
import jaxmix

FIGURE = zhang_radius


def test_pgds_radius_is_the_distance_to_a_linear_boundary():
  """|f| / |theta|, and 0 of the example that is wrong."""
  x = jnp.array([[1.0, 2.0], [-3.0, 0.5], [2.0, 2.0]], jnp.float32)
  y, theta = jnp.array([1, 0, 0]), np.array([3.0, 4.0], np.float32)
  found = jax.jit(
    lambda key: radii.measured(
      key, lambda x: x @ theta, x, y, jaxmix.losses.logistic
    )
  )(jax.random.key(0))
  step = radii.FARTHEST / 2**radii.BISECTIONS
  # Bisection ends above the distance, by less than its last step.
  off = np.asarray(found) - [11.0 / 5.0, 7.0 / 5.0, 0.0]
  assert np.all(off[:2] > -1e-4) and np.all(off[:2] < 1.01 * step)
  assert off[2] == 0.0


def test_the_tangents_distance_of_a_linear_network_is_its_boundarys():
  """Of three classes, that to the nearest of the two others."""
  x = jnp.array([[1.0, 2.0], [-3.0, 0.5], [2.0, 2.0]])
  theta = np.array([3.0, 4.0])
  binary = radii.linear(lambda x: x @ theta, x, jnp.array([1, 0, 0]))
  np.testing.assert_allclose(binary, [11.0 / 5.0, 7.0 / 5.0, 0.0])
  # Logits (2, 1, 0), label 0: 1 / |(1, 0) - (0, 1)|, 2 / |(1, 0) - (-4, 0)|.
  weights = np.array([[1.0, 0.0, -4.0], [0.0, 1.0, 0.0]])
  one = jnp.array([[2.0, 1.0]])
  logit_fn = lambda x: x @ weights + np.array([[0.0, 0.0, 8.0]])
  (found,) = radii.linear(logit_fn, one, jnp.array([0]))
  np.testing.assert_allclose(found, min(1.0 / 2.0**0.5, 2.0 / 5.0))


def test_rank_correlation_is_scipys_and_its_interval_holds_it():
  rng = np.random.default_rng(0)
  a = rng.normal(size=60)
  b = a + rng.normal(size=60)
  strata = np.arange(60) % 2
  rho, low, high = zhang_radius.correlation(a, b, strata)
  assert rho == pytest.approx(stats.spearmanr(a, b)[0], abs=1e-3)
  assert low < rho < high < low + 0.5
  opposite = zhang_radius.correlation(a, -(a**3), strata)
  assert opposite == pytest.approx([-1.0, -1.0, -1.0])
  assert zhang_radius.correlation(a, np.ones(60), strata) == [0.0, 0.0, 0.0]


def test_draws_mix_one_half_only():
  drawn = varied.draws(np.random.default_rng(0), 2, n=5, most=3)
  assert drawn.mixed.tolist() == [False, False, True, True]
  assert np.all(drawn.lam[:2] == 1.0) and np.std(drawn.lam[2:]) > 0.1
  every = np.arange(varied.BATCH)
  assert all(sorted(one) == every.tolist() for one in drawn.partner[:, 0])
  assert drawn.index.max() == 4 and drawn.lam.dtype == np.float32


def test_its_networks_are_measured(smoke):
  """In the mean, eps_i is E[1 - lam] = 1/3 of a length times a cosine."""
  (rows,) = smoke["networks"].values()
  assert smoke["settings"]["networks"] == len(rows["measured"]) == 6
  smallest, mean = np.asarray(rows["smallest"]), np.asarray(rows["mean"])
  assert np.all(smallest < mean) and np.all(smallest >= 0.0)
  assert np.ptp(rows["measured"]) > 0.0
  found = smoke["correlations"]["binary, without biases"]
  assert found.keys() == {"all", "ERM", "Mixup"}
