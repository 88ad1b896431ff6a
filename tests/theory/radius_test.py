"""Theorem B.1 of Zhang et al., the factors of a logit, and other losses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmix
from jaxmix import theory
from tests.theory.networks import data, network

pytestmark = pytest.mark.usefixtures("float64")
SQUARE = lambda f: 0.5 * f**2  # least squares
POISSON = jnp.exp


def test_one_slope_is_theorem_3_2():
  given = {"tau": 0.8, "curvature": 0.1, "residual": (0.2, 0.6)}
  found = theory.constant_radius(0.5, **given)
  first = 0.5 * 0.2 / (1.2 - 0.5 * 0.4)
  second = np.sqrt(0.2 / (1.5 + 0.2))
  np.testing.assert_allclose(found, 0.8 * min(first, second))
  same = theory.constant_radius(0.5, slopes=(3.0, 3.0), **given)
  np.testing.assert_allclose(same, found, rtol=1e-12)


@pytest.mark.parametrize("curvature, smaller", [(0.1, 0), (1e-4, 1)])
def test_two_slopes_by_the_papers_formula(curvature, smaller):
  p, low, high, t1, t2 = 0.4, 0.3, 0.7, 0.5, 2.0
  paper = (
    p * low * t1 / (p * low * t1 + (2 - p) * high * t2),
    np.sqrt(
      p * curvature * t1**2 / ((2 - p) / 4 * t2**2 + p * curvature * t1**2)
    ),
  )
  assert np.argmin(paper) == smaller
  found = theory.constant_radius(
    p, tau=0.9, curvature=curvature, residual=(low, high), slopes=(t1, t2)
  )
  np.testing.assert_allclose(found, 0.9 * min(paper), rtol=1e-12)


def test_theorem_b1(rng):
  """The constant radius is protected in ReLU networks, in all of 200."""
  n, d = 40, 3

  @jax.jit
  @jax.vmap
  def sides(x, hidden, head):
    apply = lambda x: jax.nn.relu(x @ hidden) @ head
    y = (apply(x) > 0.0).astype(jnp.int32)
    slope = jnp.median(theory.logit_factors(apply, x).slope)
    constants = theory.radius_constants(apply, x, y, tau=0.4, slope=slope)
    tilde = theory.constant_radius(**constants._asdict())
    smallest = jnp.min(jnp.linalg.norm(x, axis=1))
    radius = (
      tilde.astype(x.dtype) * smallest * jaxmix.policies.mixup(1.0).mean_shift
    )
    attacked = theory.quadratic_adversarial_loss(apply, x, y, radius)
    mixup = theory.quadratic_mixup_loss(apply, x, y, alpha=1.0)
    worst = theory.mixup_radius(apply, x, alpha=1.0).uniform * d**0.5
    return mixup - attacked, radius, worst, constants

  x = rng.normal(size=(200, n, d))
  x -= x.mean(axis=1, keepdims=True)
  margin, radius, worst, constants = map(
    lambda part: jax.device_get(part),
    sides(x, rng.normal(size=(200, d, 6)), rng.normal(size=(200, 6))),
  )
  assert np.all(margin >= 0.0) and np.all(radius[constants.prob > 0] > 0.0)
  # Half of the examples are at least as steep as the median.
  assert np.all(constants.prob <= 1.0) and np.mean(constants.prob) > 0.3
  # And worth having: larger than the worst cosine's in many of them.
  assert np.mean(radius > worst) > 0.2


def test_constants_by_hand():
  x, y = (
    jnp.array([[2.0, 0.0], [-1.0, 1.0], [-1.0, -1.0]]),
    jnp.array([1, 0, 1]),
  )
  found = theory.radius_constants(lambda x: 2.0 * x[:, 0], x, y, tau=0.8)
  g = 1.0 / (1.0 + np.exp(-np.array([4.0, -2.0, -2.0])))
  np.testing.assert_allclose(found.prob, 2.0 / 3.0)  # one of three, doubled
  np.testing.assert_allclose(found.curvature, np.min(g * (1.0 - g)))
  pull = np.abs(g - np.array([1, 0, 1]))
  np.testing.assert_allclose(found.residual, (pull.min(), pull.max()))
  np.testing.assert_allclose(found.slopes, (0.0, 2.0))
  steep = theory.radius_constants(lambda x: x[:, 0], x, y, tau=0.8, slope=2.0)
  assert steep.prob == 0.0


def test_factors_multiply_to_the_logit_of_a_homogeneous_network(rng):
  x, _ = data(rng)
  relu = network(rng, jax.nn.relu, classes=3)
  logit, slope, norm, cosine = theory.logit_factors(relu, x)
  norm = norm[:, None]
  assert logit.shape == slope.shape == cosine.shape and np.all(logit > 0.0)
  np.testing.assert_allclose(logit, slope * norm * cosine, rtol=1e-9)
  np.testing.assert_allclose(cosine, theory.cosines(relu, x), rtol=1e-12)
  # tanh is not homogeneous.
  logit, slope, _, cosine = theory.logit_factors(
    network(rng, jnp.tanh, classes=3), x
  )
  assert np.max(np.abs(logit - slope * norm * cosine)) > 0.01


def test_linf_is_the_worst_corner_of_the_parabola(rng):
  x, y = data(rng, n=4)
  theta = rng.normal(size=3)
  f = np.asarray(x) @ theta
  g = 1.0 / (1.0 + np.exp(-f))
  corners = np.stack(np.meshgrid(*[[-1.0, 1.0]] * 3), -1).reshape(-1, 3)
  move = 0.3 * corners @ theta
  parabola = (g - np.asarray(y))[:, None] * move
  parabola += 0.5 * (g * (1.0 - g))[:, None] * move**2
  clean = np.logaddexp(0.0, f) - np.asarray(y) * f
  logit_fn = lambda x: x @ theta
  of = lambda radius, norm: theory.quadratic_adversarial_loss(
    logit_fn, x, y, radius, norm=norm
  )
  found = of(0.3, "linf")
  np.testing.assert_allclose(found, np.mean(clean + parabola.max(axis=1)))
  # Remark 3.1: l2 steps of eps sqrt(d) hold them.
  assert of(0.3, "l2") < found < of(0.3 * 3**0.5, "l2")


def test_fgsm_takes_the_linf_step(rng):
  """Its loss is the quadratic one up to the third order of eps."""
  x, y = data(rng)
  theta = jnp.asarray(rng.normal(size=3))
  logit_fn = lambda x: x @ theta
  gaps = []
  for eps in (0.2, 0.1):
    moved = jaxmix.fgsm(
      logit_fn, x, y, epsilon=eps, loss_fn=jaxmix.losses.logistic
    )
    truth = theory.standard_loss(logit_fn, moved, y)
    near = theory.quadratic_adversarial_loss(logit_fn, x, y, eps, norm="linf")
    gaps.append(abs(float(near - truth)))
  assert 0.0 < gaps[1] < gaps[0] / 6.0


@pytest.mark.parametrize("h, hidden", [(SQUARE, False), (POISSON, True)])
def test_theorems_hold_for_every_convex_h(rng, h, hidden):
  @jax.jit
  @jax.vmap
  def sides(x, first, second, outwards):
    apply = lambda x: jax.nn.relu(x @ first) @ second if hidden else x @ second
    f = apply(x)
    # (h'(f) - y) f <= 0: the label lies beyond h'(f), away from 0.
    y = jax.vmap(jax.grad(h))(f) + jnp.sign(f) * outwards
    given = theory.robustness_assumptions(apply, x, y, log_partition=h)
    of = lambda norm: theory.robustness_bound(
      apply, x, y, alpha=1.0, norm=norm, log_partition=h
    )
    return given.right, of("l2"), of("linf")

  x = 0.5 * rng.normal(size=(100, 8, 3))
  x -= x.mean(axis=1, keepdims=True)
  second = 0.5 * rng.normal(size=(100, 5 if hidden else 3))
  outwards = rng.exponential(size=(100, 8))
  right, l2, linf = jax.device_get(
    sides(x, rng.normal(size=(100, 3, 5)), second, outwards)
  )
  assert np.all(right)
  slack = 1e-9 * (1.0 + np.abs(l2.mixup))
  assert np.all(l2.mixup >= l2.per_example - slack)
  assert np.all(l2.per_example >= l2.uniform - slack)
  # Remark 3.1, and the attack is one.
  assert np.all(l2.per_example >= linf.per_example - slack)
  assert np.mean(l2.uniform - linf.uniform) > 1e-4
  np.testing.assert_array_equal(l2.mixup, linf.mixup)


def test_directions_of_another_loss(rng):
  """Least squares: the residual is f - y, at any size."""
  x, _ = data(rng)
  theta, y = jnp.asarray(rng.normal(size=3)), jnp.asarray(rng.normal(size=6))
  logit_fn = lambda x: x @ theta
  towards = -np.asarray(x)
  cosine = towards @ theta / np.linalg.norm(towards, axis=1)
  cosine = cosine / np.linalg.norm(theta)
  residual = np.asarray(logit_fn(x) - y)
  found = theory.direction_coefficients(
    logit_fn, x, y, input_mean=jnp.zeros(3), log_partition=SQUARE
  )
  np.testing.assert_allclose(found, residual * cosine, rtol=1e-9)
  found = theory.loss_cosines(logit_fn, x, y, log_partition=SQUARE)
  np.testing.assert_allclose(found, np.sign(residual) * cosine, rtol=1e-9)


def test_errors(rng):
  x, y = data(rng)
  many = network(rng, jnp.tanh, classes=3)
  with pytest.raises(ValueError, match=r"binary logits \[n\] = \(6,\)"):
    theory.radius_constants(many, x, y, tau=0.5)
  with pytest.raises(ValueError, match="slope must lie in"):
    theory.radius_constants(network(rng, jnp.tanh), x, y, tau=0.5, slope=-1.0)
  with pytest.raises(ValueError, match="norm must be one of"):
    theory.quadratic_adversarial_loss(
      network(rng, jnp.tanh), x, y, 0.1, norm="l1"
    )
  good = {"tau": 0.5, "curvature": 0.1, "residual": (0.1, 0.9)}
  with pytest.raises(ValueError, match=r"t1 <= t2, got \(2.0, 1.0\)"):
    theory.constant_radius(0.5, slopes=(2.0, 1.0), **good)
