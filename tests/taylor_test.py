"""Derivatives along lines: by hand, by nesting, by finite differences."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmix import models, taylor
from jaxmix.taylor import derivatives


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


X, V = np.array([0.3, -0.2, 1.1]), np.array([1.0, 2.0, -0.7])


@pytest.mark.parametrize("order", range(5))
def test_a_cube_by_hand(order):
  found = derivatives(
    lambda x: x**3, jnp.asarray(2.0), jnp.asarray(10.0), order
  )
  by_hand = [8.0, 120.0, 1200.0, 6000.0, 0.0]
  np.testing.assert_allclose(found, by_hand[: order + 1], rtol=1e-12)


@pytest.mark.parametrize(
  "fn",
  [
    jnp.tanh,
    jax.nn.gelu,
    jax.nn.relu,
    jax.nn.silu,
    jax.nn.softplus,
    jax.nn.softmax,
    jax.nn.logsumexp,
    jax.nn.standardize,
    jax.jit(lambda x: jax.nn.relu(jnp.sin(x)) ** 2),
    jax.checkpoint(lambda x: jnp.exp(jax.nn.elu(x))),
  ],
)
def test_taylor_mode_equals_nested_forward_mode(fn):
  x, v = jnp.asarray(X), jnp.asarray(V)
  primitives = taylor._primitives(jax.make_jaxpr(fn)(x))
  assert all(taylor._known(p) for p in primitives)  # jet it is
  found = jax.jit(lambda x, v: derivatives(fn, x, v, 5))(x, v)
  nested = jax.jit(lambda x, v: taylor._nested(fn, x, v, 5))(x, v)
  np.testing.assert_allclose(found[0], nested[0], rtol=1e-12)
  for mine, other in zip(found, nested, strict=True):
    np.testing.assert_allclose(mine, other, rtol=1e-9, atol=1e-9)


def test_what_jet_gets_wrong_is_nested():
  found = derivatives(jax.nn.relu6, jnp.asarray(X), jnp.asarray(V), 3)
  np.testing.assert_allclose(found[0], [0.3, 0.0, 1.1])
  np.testing.assert_allclose(found[1], [1.0, 0.0, -0.7])
  np.testing.assert_allclose(found[2:], 0.0)


def test_what_jet_does_not_know_is_nested():
  pooled = lambda x: nn.max_pool(x[None, :, :, None] ** 3, (2, 2))[0, :, :, 0]
  x = jnp.arange(1.0, 5.0).reshape(2, 2)
  found = derivatives(pooled, x, jnp.ones_like(x), 4)
  np.testing.assert_allclose(np.ravel(found), [64.0, 48.0, 24.0, 6.0, 0.0])


@pytest.mark.parametrize("name", ["resnet8", "vit_b16_tiny"])
def test_the_projects_models(name, key):
  with jax.enable_x64(False):
    model = models.create(name, 3)
    x = jax.random.normal(key, (1, 16, 16, 3))
    variables = model.init(key, x, train=False)
    # Heads begin at zero, which would make the test vacuous.
    variables = jax.tree.map(
      lambda v: v + 0.05 * jax.random.normal(key, v.shape), variables
    )
    apply = lambda x: model.apply(variables, x, train=False)
    direction = jax.random.normal(jax.random.key(1), x.shape)
    line = jax.jit(
      lambda a: derivatives(apply, x + a * direction, direction, 2)
    )
    _, first, second = line(0.0)
    if name == "resnet8":  # piecewise linear
      assert float(jnp.min(jnp.abs(first))) > 1e-3
      np.testing.assert_array_equal(second, np.zeros_like(second))
      return
    before, after = line(-2e-3), line(2e-3)
    for found, k in ((first, 0), (second, 1)):
      slope = (after[k] - before[k]) / 4e-3
      scale = float(jnp.max(jnp.abs(slope)))
      np.testing.assert_allclose(found, slope, atol=0.05 * scale + 1e-4)


def test_can_be_differentiated_and_mapped():
  def third(weight, x):
    return derivatives(lambda x: jnp.sin(weight * x), x, jnp.ones_like(x), 3)[3]

  # -w^3 cos(w x); its derivative in w is -3 w^2 cos(w x) + w^3 x sin(w x).
  w, x = 1.3, jnp.asarray(X)
  mapped = jax.vmap(jax.jit(jax.grad(third)), (None, 0))(w, x)
  by_hand = -3 * w**2 * np.cos(w * X) + w**3 * X * np.sin(w * X)
  np.testing.assert_allclose(mapped, by_hand, rtol=1e-9)


def test_order_must_not_be_negative():
  with pytest.raises(ValueError, match="order must be at least 0, got -1"):
    derivatives(jnp.sin, jnp.ones(()), jnp.ones(()), -1)
