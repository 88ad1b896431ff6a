"""Cosines of gradients: by hand, and against MixupE's own penalty."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

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


@pytest.mark.parametrize("classes", [None, 4])
def test_signs_are_the_coefficients(rng, classes):
  x, y = data(rng, n=7, classes=classes)
  apply = network(rng, jax.nn.gelu, classes=classes)
  mean = jnp.asarray(rng.normal(size=3))
  run = jax.jit(
    lambda fn: fn(apply, x, y, input_mean=mean, examples_at_once=3),
    static_argnums=0,
  )
  signs = run(theory.direction_signs)
  assert np.all(signs != 0.0) and (classes is None or np.ptp(signs) == 2.0)
  np.testing.assert_array_equal(
    signs, np.sign(run(theory.direction_coefficients))
  )


def test_signs_survive_where_products_do_not():
  """f = (s x, 0), a slope s of 1e-30 and a residual of 1e-11 in float32."""
  x, y = jnp.array([[1.0]], jnp.float32), jnp.array([0])
  apply = lambda x: jnp.concatenate([1e-30 * x + 25.0, 0.0 * x], axis=1)
  at = {"input_mean": jnp.zeros(1, jnp.float32)}
  # Mixup's step lowers f_0, whose residual is negative: alpha_0 > 0.
  np.testing.assert_array_equal(
    theory.direction_signs(apply, x, y, **at), [[1.0, 0.0]]
  )


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
  two = jnp.asarray(rng.normal(size=(3, 2)))
  both = theory.cosines(lambda x: x @ two, x)
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


@pytest.mark.parametrize("labels", ["integers", "one-hot"])
def test_directions_survive_float32_at_any_margin(rng, labels):
  """Against double precision, where a positive factor is taken out by hand."""
  x, head = rng.normal(size=(5, 3)), rng.normal(size=(3, 3))
  x, head = (np.float64(np.float32(v)) for v in (x, head))
  y, hot = np.arange(5) % 3, np.eye(3)[np.arange(5) % 3]
  # Added to the own logit, with no gradient.
  gaps = jnp.array([0.0, 15.0, 30.0, 80.0, 900.0], jnp.float32)
  marks = gaps[:, None] * jnp.asarray(hot, jnp.float32)

  inputs = jnp.asarray(x, jnp.float32)

  def apply(x):
    # Each example is met by itself: its mark is found by its first number.
    at = jnp.argmin(jnp.abs(x[:, :1] - inputs[None, :, 0]), axis=1)
    return x @ jnp.asarray(head, jnp.float32) + marks[at]

  given = jnp.asarray(y if labels == "integers" else hot.astype(np.float32))
  pull = scipy.special.softmax(x @ head - 1e9 * hot, axis=1) - hot
  slope = pull @ head.T
  lengths = np.linalg.norm(slope, axis=1) * np.linalg.norm(x, axis=1)
  want = np.sum(slope * -x, axis=1) / lengths
  found = theory.loss_cosines(apply, inputs, given)
  assert found.dtype == jnp.float32
  np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-6)
  radius = theory.mixup_radius(apply, inputs, given, alpha=1.0)
  floor = np.linalg.norm(x, axis=1).min() / 3**0.5 / 3.0
  np.testing.assert_allclose(
    radius.per_example, np.maximum(want, 0.0) * floor, rtol=1e-5, atol=1e-6
  )
  # Coefficients have a size, which the label's own class shares to the digit.
  alpha = theory.direction_coefficients(
    apply, inputs, given, input_mean=jnp.zeros(3, jnp.float32)
  )
  logits = x @ head + np.asarray(marks, np.float64)
  behind = scipy.special.logsumexp(x @ head - 1e9 * hot, axis=1)
  off = scipy.special.expit(behind - np.sum(logits * hot, axis=1))
  lengths = np.linalg.norm(head, axis=0) * np.linalg.norm(x, axis=1)[:, None]
  want = off[:, None] * pull * (-(x @ head) / lengths)
  np.testing.assert_allclose(alpha[:4], want[:4], rtol=1e-4)


def test_a_binary_residual_survives_float32():
  """Slope, bend and loss of margin 30 have the double precision's digits."""
  x, y = jnp.array([[1.0, 0.0]], jnp.float32), jnp.array([1])
  # f = 30 there, and df = (30, 40).
  apply = lambda x: x @ jnp.array([30.0, 40.0], x.dtype)
  off = scipy.special.expit(-30.0)
  found = theory.loss_cosines(apply, x, y)
  np.testing.assert_allclose(found, [0.6], rtol=1e-6)
  mean = jnp.zeros(2, jnp.float32)
  found = theory.direction_coefficients(apply, x, y, input_mean=mean)
  np.testing.assert_allclose(found, [0.6 * off], rtol=1e-5)
  found = theory.quadratic_adversarial_loss(apply, x, y, 0.1)
  np.testing.assert_allclose(found, off * (1.0 + 5.0 + 12.5), rtol=1e-5)
  pair, labels = jnp.array([[1.0, 0.0], [-1.0, 0.0]], jnp.float32), [1, 0]
  terms = theory.regularizers(apply, pair, jnp.array(labels), alpha=1.0)
  np.testing.assert_allclose(terms.r1, 10.0 * off, rtol=1e-5)


def test_without_a_gradient_there_is_no_direction():
  x, y = jnp.zeros((2, 3)), jnp.zeros(2, jnp.int32)
  flat = lambda x: 0.0 * x[:, 0]
  for found in (
    theory.cosines(flat, x),
    theory.loss_cosines(flat, x, y),
    theory.direction_coefficients(flat, x, y),
    theory.direction_signs(flat, x, y),
  ):
    np.testing.assert_array_equal(found, [0.0, 0.0])


def test_one_dead_example_leaves_the_others_their_gradients(rng):
  """In the weights, and in x where an example lies at the mean."""
  x = jnp.array([[1.0, 0.5], [-1.0, -0.5], [0.0, 0.0], [2.0, -1.0]])
  y, weights = jnp.array([1, 0, 1, 1]), jnp.array([[1.0, 0.5], [0.3, 0.2]])
  wide = jnp.asarray(rng.normal(size=(2, 3)))
  live = jnp.array([0, 3])

  def terms(weights, x, y):
    apply = lambda x: jnp.sum(jax.nn.relu(x @ weights), axis=1)
    many = lambda x: jax.nn.relu(x @ weights) @ wide
    mean = {"input_mean": jnp.zeros(2)}
    of_each = theory.quadratic_adversarial_loss
    return {
      "cosines": jnp.sum(theory.cosines(apply, x)),
      "loss_cosines": jnp.sum(theory.loss_cosines(many, x, y)),
      "coefficients": jnp.sum(
        theory.direction_coefficients(many, x, y, **mean)
      ),
      "attacked": len(x) * of_each(apply, x, y, 0.1),
      "radius": jnp.sum(
        theory.mixup_radius(apply, x, alpha=1.0, smallest_norm=1).per_example
      ),
    }

  slopes = jax.jit(jax.jacrev(terms, (0, 1)))
  every, alone = slopes(weights, x, y), slopes(weights, x[live], y[live])
  for name, (slope, slope_x) in every.items():
    np.testing.assert_allclose(slope, alone[name][0], atol=1e-12, err_msg=name)
    assert np.any(slope != 0.0), name
    assert np.all(np.isfinite(slope_x)), name
  sides = lambda weights, x: theory.robustness_bound(
    lambda x: jnp.sum(jax.nn.relu(x @ weights), axis=1), x, y, alpha=1.0
  )
  for slope in jax.tree.leaves(jax.jit(jax.jacrev(sides, (0, 1)))(weights, x)):
    assert np.all(np.isfinite(slope))


def test_errors(rng):
  x, y = data(rng)
  with pytest.raises(TypeError, match="x must be floating point"):
    theory.cosines(lambda x: x[:, 0], y[:, None])
  for fn in (
    theory.loss_cosines,
    theory.direction_coefficients,
    theory.direction_signs,
  ):
    with pytest.raises(ValueError, match=r"y must be \[n\]"):
      fn(lambda x: x[:, 0], x, y[:-1])
