"""Derivatives along lines: by hand, by nesting, by finite differences."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmix import models
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


def nested(fn, x, v, order):
  """By a jvp of a jvp of ..., which is the definition."""
  if order == 0:
    return [fn(x)]
  values, moved = jax.jvp(lambda x: nested(fn, x, v, order - 1), (x,), (v,))
  return [*values, moved[-1]]


def same_as_nested(fn, x, v, order):
  found = jax.jit(lambda x, v: derivatives(fn, x, v, order))(x, v)
  expected = jax.jit(lambda x, v: nested(fn, x, v, order))(x, v)
  for mine, other in zip(found, expected, strict=True):
    np.testing.assert_allclose(mine, other, rtol=1e-9, atol=1e-9)
  return found


def straight_through(value):
  """round(x) with the slope 1, whose rule returns value(x)."""

  @jax.custom_jvp
  def rounded(x):
    return jnp.round(x)

  @rounded.defjvp
  def _(primals, tangents):
    return value(rounded, primals[0]), tangents[0]

  return rounded


TWICE = straight_through(lambda rounded, x: rounded(x))
ONCE = straight_through(lambda _, x: jnp.round(x))
SMOOTH = [
  jnp.tanh,
  jax.nn.gelu,
  jax.nn.silu,
  jax.nn.softmax,
  jax.nn.logsumexp,
  jax.nn.standardize,
  lambda x: x**5 / (2.0 + x**2),
  lambda x: jnp.outer(x, x) @ x,
  jax.checkpoint(lambda x: jnp.exp(jax.nn.elu(x))),
  lambda x: jax.lax.scan(lambda c, _: (jnp.sin(c) * x, None), x, None, 2)[0],
  lambda x: jax.lax.cond(x[2] > 0.0, jnp.sin, jnp.cos, x),
  jax.grad(lambda x: jnp.sum(jnp.tanh(x) ** 2)),
  lambda x: jax.lax.stop_gradient(x) * jnp.sin(x),
  lambda x: TWICE(3.0 * jnp.sin(x)) ** 3,
  lambda x: ONCE(3.0 * jnp.sin(x)) ** 3,
]


@pytest.mark.parametrize("fn", SMOOTH)
def test_equals_nested_forward_mode(fn):
  found = same_as_nested(fn, jnp.asarray(X), jnp.asarray(V), 4)
  assert np.abs(found[1]).max() > 0.01


# Zeros of both signs, ties, and other kinks, beside ordinary numbers.
KINKS = np.array([0.0, -0.0, 3.0, 6.0, -3.0, 1.0, -1.0, 0.3, -0.2])


@pytest.mark.parametrize(
  "fn",
  [
    jax.nn.relu,
    jax.nn.relu6,
    jax.nn.leaky_relu,
    jax.nn.softplus,
    jax.nn.log_sigmoid,
    jax.nn.mish,
    jax.nn.elu,
    jax.nn.hard_silu,
    jax.nn.squareplus,
    jax.nn.sparse_plus,
    lambda x: jax.nn.gelu(x, approximate=False),
    jnp.sinc,
    jnp.abs,
    lambda x: jnp.logaddexp(x, -x),
    lambda x: jax.nn.logsumexp(jnp.stack([x, -x, 0.0 * x]), axis=0),
    lambda x: jnp.maximum(x, x**2),
    lambda x: jnp.clip(x**3, -1.0, 1.0),
    lambda x: jnp.where(x > 0.0, x**3, jnp.sin(x)),
    jnp.sort,
    lambda x: jax.nn.relu(x) ** 2,
  ],
)
def test_equals_nested_forward_mode_at_kinks_and_ties(fn):
  v = jnp.linspace(-2.0, 1.7, len(KINKS))
  same_as_nested(fn, jnp.asarray(KINKS), v, 4)


def test_softplus_at_zero_by_hand():
  # log 2 + a/2 + a^2/8 - a^4/192 + ...
  zero, one = jnp.zeros(()), jnp.ones(())
  found = derivatives(jax.nn.softplus, zero, one, 4)
  by_hand = [np.log(2.0), 1 / 2, 1 / 4, 0.0, -1 / 8]
  np.testing.assert_allclose(found, by_hand, atol=1e-15)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_relus_slope_at_zero_is_jaxs_at_every_order(order):
  square = lambda x: jax.nn.relu(x) + x**2
  found = derivatives(square, jnp.zeros(()), jnp.ones(()), order)
  np.testing.assert_array_equal(found, [0.0, 0.0, 2.0, 0.0][: order + 1])


@pytest.mark.parametrize("order", [1, 2, 3])
def test_a_custom_vjp_is_refused(order):
  @jax.custom_vjp
  def rounded(x):
    return jnp.round(x)

  rounded.defvjp(lambda x: (jnp.round(x), None), lambda _, g: (g,))
  with pytest.raises(TypeError, match="custom_vjp .*rounded.* jax.custom_jvp"):
    derivatives(
      lambda x: rounded(x) ** 2, jnp.asarray(X), jnp.asarray(V), order
    )
  # Where nothing moves it is a function like any other.
  found = derivatives(lambda x: x * rounded(2.2), jnp.ones(()), 1.0, order)
  np.testing.assert_array_equal(found, [2.0, 2.0, 0.0, 0.0][: order + 1])


def test_max_pooling():
  pooled = lambda x: nn.max_pool(x[None, :, :, None] ** 3, (2, 2))[0, :, :, 0]
  x = jnp.arange(1.0, 5.0).reshape(2, 2)
  found = derivatives(pooled, x, jnp.ones_like(x), 4)
  np.testing.assert_allclose(np.ravel(found), [64.0, 48.0, 24.0, 6.0, 0.0])


def test_linear_layers_are_applied_once_an_order():
  w = jnp.asarray(np.outer(X, V))
  layer = lambda x: jnp.tanh(w @ x)
  program = jax.make_jaxpr(lambda x, v: derivatives(layer, x, v, 4))(X, V)
  matmuls = str(program).count("dot_general")
  # The value and the first derivative: along a line the others are zero.
  assert matmuls == 2
  two = lambda x: w @ layer(x)
  program = jax.make_jaxpr(lambda x, v: derivatives(two, x, v, 4))(X, V)
  assert str(program).count("dot_general") == 2 + 5


@pytest.mark.parametrize("name", ["resnet8", "vit_b16_tiny"])
def test_the_projects_models(name, key):
  with jax.enable_x64(False):
    model = models.create(name, 3)
    x = jax.random.normal(key, (1, 16, 16, 3))

    @jax.jit
    def init(key):
      # Heads begin at zero, which would make the test vacuous.
      return jax.tree.map(
        lambda v: v + 0.05 * jax.random.normal(key, v.shape),
        model.init(key, x, train=False),
      )

    variables = init(key)
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


def test_arguments_are_checked():
  with pytest.raises(ValueError, match=r"like x, \(3,\), got \(2,\)"):
    derivatives(jnp.sin, X, np.ones(2), 1)
  with pytest.raises(TypeError, match="x must be floating point, got int"):
    derivatives(jnp.sin, np.arange(3), np.ones(3), 1)
