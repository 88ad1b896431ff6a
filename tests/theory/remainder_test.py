"""The remainder of MixupE's Theorem 1, in both forms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmix import theory
from tests.theory.networks import data, network

pytestmark = pytest.mark.usefixtures("float64")
SHIFT = 0.02 * 2.0 ** -np.arange(3)


def slopes(left):
  return np.diff(np.log(np.asarray(left))) / np.log(0.5)


@pytest.mark.parametrize(
  "form, order, classes",
  [("taylor", 1, None), ("taylor", 3, None), ("composed", 2, 3)],
)
def test_falls_with_one_power_more_than_the_order(rng, form, order, classes):
  x, y = data(rng, n=4, classes=classes)
  logit_fn = network(rng, jnp.tanh, classes=classes)
  run = functools.partial(theory.taylor_remainder, logit_fn)
  run = jax.jit(functools.partial(run, order=order, form=form))
  left = run(x, y, SHIFT)
  assert np.all(np.asarray(left) > 1e-15)
  np.testing.assert_allclose(slopes(left), order + 1.0, atol=0.1)


def test_by_hand():
  """f = x^2 under least squares from 1 towards 2: psi = (1 + a)^4 / 2."""
  x, y = jnp.array([1.0, 2.0]), jnp.array([0.0, 0.0])
  options = {"order": 2, "log_partition": lambda f: 0.5 * f**2}
  of = functools.partial(theory.taylor_remainder, lambda x: x**2, x, y)
  a = 0.1
  # From 2 towards 1: (2 - a)^4 / 2; and twice to itself, without remainder.
  whole = 0.5 * (4 * a**3 + a**4), 0.5 * abs(-8 * a**3 + a**4)
  np.testing.assert_allclose(of([a], **options), [sum(whole) / 4], rtol=1e-9)
  # h(f + a Delta) is quadratic in Delta, and Delta without remainder: all.
  left = of([a], form="composed", **options)
  np.testing.assert_allclose(left, [0.0], atol=1e-14)


def test_the_theorem_asks_for_no_more_than_j_derivatives():
  """x^2.5 above 0 has two at 0: the remainder is o(a^2), and no O(a^3)."""

  def power(x):
    safe = jnp.where(x > 0.0, x, 1.0)
    return jnp.where(x > 0.0, safe**2.5, 0.0)

  x, y = jnp.array([0.0, 1.0]), jnp.array([0.0, 0.0])
  options = {"order": 2, "log_partition": lambda f: f}
  a = np.array([1e-2, 1e-4])
  left = theory.taylor_remainder(power, x, y, a, **options)
  # From 0 all of it; from 1 towards 0 what two derivatives leave.
  other = (1.0 - a) ** 2.5 - (1.0 - 2.5 * a + 1.875 * a**2)
  np.testing.assert_allclose(left, (a**2.5 + np.abs(other)) / 4, rtol=1e-6)
  np.testing.assert_allclose(slopes(left), 2.5 * np.log2(100.0), rtol=0.02)


def test_kinks_are_seen_from_where_they_are(rng):
  """A ReLU network's logits are linear up to its kink, at a = 1/2 here."""
  x, y = jnp.array([-1.0, 1.0]), jnp.array([0.0, 0.0])
  options = {"order": 1, "log_partition": lambda f: f}
  of = functools.partial(theory.taylor_remainder, jax.nn.relu, x, y)
  left = of([0.25, 0.5, 0.75], **options)
  # From -1: 0 up to 1/2, then 2 a - 1; from 1: 1 - 2 a, then 0.
  np.testing.assert_allclose(left, [0.0, 0.0, 2 * 0.5 / 4], atol=1e-12)


def test_errors(rng):
  x, y = data(rng)
  of = functools.partial(
    theory.taylor_remainder, network(rng, jnp.tanh), x, y, order=1
  )
  with pytest.raises(ValueError, match=r"shift must be \[m\], got shape \(\)"):
    of(0.5)
  with pytest.raises(ValueError, match="form must be one of"):
    of([0.5], form="printed")
  with pytest.raises(ValueError, match="order must be at least 1, got 0"):
    theory.taylor_remainder(network(rng, jnp.tanh), x, y, [0.5], order=0)
