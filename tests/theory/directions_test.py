"""Cosines of gradients: by hand, and against MixupE's own penalty."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmix
from jaxmix import theory
from tests.theory.networks import data, network

pytestmark = pytest.mark.usefixtures("float64")


def test_coefficients_by_hand():
  # f = 2 x_0 at (1, 1), label 0: gradient (2, 0); the mean lies at (0, 0).
  apply = lambda x: 2.0 * x[:, 0]
  x, y = jnp.array([[1.0, 1.0]]), jnp.array([0])
  found = theory.direction_coefficients(apply, x, y, input_mean=jnp.zeros(2))
  prob = 1.0 / (1.0 + np.exp(-2.0))
  np.testing.assert_allclose(found, [prob * -1.0 / np.sqrt(2.0)])


@pytest.mark.parametrize("classes", [None, 4])
def test_coefficients_make_up_mixupes_q(rng, classes):
  """MixupE's eq. (3): q_i = sum_k alpha_{k,i} |df_k(x_i)| |xbar - x_i|."""
  x, y = data(rng, n=7, classes=classes)
  apply = network(rng, jax.nn.gelu, classes=classes)
  mean = jnp.mean(x, axis=0)
  run = jax.jit(
    lambda x, y: theory.direction_coefficients(apply, x, y, examples_at_once=3)
  )
  alpha = run(x, y).reshape(7, -1)
  one = lambda point: jnp.atleast_1d(apply(point[None])[0])
  slopes = np.linalg.norm(jax.vmap(jax.jacfwd(one))(x), axis=-1)
  away = np.linalg.norm(np.asarray(mean) - np.asarray(x), axis=1)
  q = np.sum(np.asarray(alpha) * slopes, axis=1) * away
  labels = y if classes else y.astype(jnp.float64)
  expected = jaxmix.exact_directional_penalty(apply, x, labels, mean[None])
  np.testing.assert_allclose(q, expected, rtol=1e-5, atol=1e-6)


def test_cosines_of_a_linear_model(rng):
  x, _ = data(rng)
  theta = rng.normal(size=3)
  inputs = np.asarray(x)
  expected = inputs @ theta / np.linalg.norm(inputs, axis=1)
  expected = np.abs(expected) / np.linalg.norm(theta)
  found = theory.cosines(
    lambda x: x @ jnp.asarray(theta), x, examples_at_once=4
  )
  np.testing.assert_allclose(found, expected, rtol=1e-12)
  both = theory.cosines(lambda x: x @ jnp.asarray(rng.normal(size=(3, 2))), x)
  assert both.shape == (6, 2)
  assert np.all((both >= 0.0) & (both <= 1.0 + 1e-12))


def test_the_losss_cosines_are_signed(rng):
  x, _ = data(rng)
  apply = network(rng, jax.nn.relu)
  right = (apply(x) >= 0.0).astype(jnp.int32)
  found = theory.loss_cosines(apply, x, right)
  np.testing.assert_allclose(found, theory.cosines(apply, x), rtol=1e-9)
  wrong = theory.loss_cosines(apply, x, 1 - right)
  np.testing.assert_allclose(wrong, -found, rtol=1e-9)


def test_without_a_gradient_there_is_no_direction():
  x, y = jnp.zeros((2, 3)), jnp.zeros(2, jnp.int32)
  flat = lambda x: 0.0 * x[:, 0]
  for found in (
    theory.cosines(flat, x),
    theory.loss_cosines(flat, x, y),
    theory.direction_coefficients(flat, x, y),
  ):
    np.testing.assert_array_equal(found, [0.0, 0.0])


def test_errors(rng):
  x, y = data(rng)
  with pytest.raises(TypeError, match="x must be floating point"):
    theory.cosines(lambda x: x[:, 0], y[:, None])
  for fn in (theory.loss_cosines, theory.direction_coefficients):
    with pytest.raises(ValueError, match=r"y must be \[n\]"):
      fn(lambda x: x[:, 0], x, y[:-1])
