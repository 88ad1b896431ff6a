"""Complexities of balls and ellipsoids against sums over all signs."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmix.theory import rademacher

RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 3)) + [0.5, 0.0, -1.0]


def exact(x):
  """E|(1/n) sum_i xi_i x_i| over all 2^n signs."""
  signs = np.array(list(itertools.product([-1.0, 1.0], repeat=len(x))))
  return np.linalg.norm(signs @ x / len(x), axis=1).mean()


def test_by_hand(key):
  # One example: |xi x| = 5. Two in one dimension: |+-1 +-3| / 2 is 2 or 1.
  one = rademacher.rademacher_linear(key, jnp.array([[3.0, 4.0]]), radius=2.0)
  np.testing.assert_allclose(one, [10.0, 0.0], rtol=1e-6)
  two = rademacher.rademacher_linear(
    key, jnp.array([[1.0], [3.0]]), num_draws=10_000
  )
  assert abs(two.value - 1.5) < 4 * 0.005
  assert two.error == pytest.approx(0.5 / 100, rel=0.01)


def test_against_all_signs(key):
  x = jnp.asarray(X, jnp.float32)
  ball = rademacher.rademacher_linear(key, x, radius=1.7, num_draws=20_000)
  assert abs(ball.value - 1.7 * exact(X)) < 4 * ball.error < 0.05
  factor = RNG.normal(size=(3, 3))
  covariance = factor @ factor.T
  whitened = X @ np.linalg.inv(factor).T
  ellipsoid = rademacher.rademacher_ellipsoid(
    key, x, jnp.asarray(covariance, jnp.float32), radius=0.3, num_draws=20_000
  )
  assert abs(ellipsoid.value - 0.3 * exact(whitened)) < 4 * ellipsoid.error


def test_the_supremum_is_over_the_ellipsoid(key):
  # One example: sup of theta . x over theta^T Sigma theta <= 4, Sigma of rank
  # 2. No theta of the ellipsoid does better, and one attains it.
  factor = RNG.normal(size=(3, 2))
  covariance, x = factor @ factor.T, factor @ [1.0, -2.0]
  with jax.enable_x64(True):
    value, error = rademacher.rademacher_ellipsoid(
      key, jnp.asarray(x[None]), jnp.asarray(covariance), radius=2.0
    )
    value, error = float(value), float(error)
  theta = RNG.normal(size=(100_000, 3))
  norms = np.sqrt(np.einsum("ti,ij,tj->t", theta, covariance, theta))
  values = (2.0 * theta / norms[:, None]) @ x
  assert values.max() <= value * (1 + 1e-9)
  assert values.max() == pytest.approx(value, rel=1e-3)
  assert error < 1e-12


@pytest.mark.parametrize("rank", [0, 1, 3, 5])
def test_inverse_root(rank):
  factor = RNG.normal(size=(5, rank)).astype(np.float32)
  covariance = factor @ factor.T
  root, counted = jax.jit(rademacher.inverse_root, static_argnums=1)(
    jnp.asarray(covariance), 5
  )
  assert counted == rank
  expected = np.linalg.pinv(covariance, rcond=1e-5, hermitian=True)
  np.testing.assert_allclose(root @ root.T, expected, rtol=1e-3, atol=1e-4)


def test_one_key_gives_one_set_of_signs(key):
  x = jnp.asarray(X, jnp.float32)
  first = rademacher.rademacher_linear(key, x)
  np.testing.assert_array_equal(first, rademacher.rademacher_linear(key, x))
  other = rademacher.rademacher_linear(jax.random.key(1), x)
  assert first.value != other.value


def test_jit_vmap_and_dtypes(key):
  x = jnp.asarray(X, jnp.float32)
  xs, covariance = jnp.stack([x, 2.0 * x]), jnp.eye(3)

  def run(x, radius):
    ball = rademacher.rademacher_linear(key, x, radius=radius)
    ellipsoid = rademacher.rademacher_ellipsoid(
      key, x, covariance, radius=radius
    )
    return ball.value, ellipsoid.value, ellipsoid.error

  traced = jax.jit(jax.vmap(run))(xs, jnp.array([1.0, 0.5]))
  for got, one, two in zip(traced, run(x, 1.0), run(2.0 * x, 0.5), strict=True):
    np.testing.assert_allclose(got, [one, two], rtol=1e-5)
  assert traced[0].dtype == jnp.float32
  with jax.enable_x64(True):
    wide = rademacher.rademacher_ellipsoid(
      key, jnp.asarray(X), covariance, radius=jnp.float32(0.5)
    )
    assert wide.value.dtype == wide.error.dtype == jnp.float64


@pytest.mark.parametrize(
  "change, error, message",
  [
    ({"x": jnp.ones((3, 2), int)}, TypeError, "x must be floating"),
    ({"x": jnp.ones(3)}, ValueError, r"x must be \[n, p\]"),
    ({"radius": -1.0}, ValueError, "radius must lie"),
    ({"num_draws": 1}, ValueError, "num_draws must be at least 2"),
    ({"covariance": jnp.eye(3)}, ValueError, r"covariance must be \[p, p\]"),
    ({"covariance": jnp.eye(2, dtype=int)}, TypeError, "covariance must be"),
  ],
)
def test_errors(key, change, error, message):
  arguments = {"x": jnp.ones((3, 2)), "covariance": jnp.eye(2)} | change
  with pytest.raises(error, match=message):
    rademacher.rademacher_ellipsoid(key, **arguments)
  if "covariance" not in change:
    del arguments["covariance"]
    with pytest.raises(error, match=message):
      rademacher.rademacher_linear(key, **arguments)
