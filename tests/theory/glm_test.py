"""Lemmas 3.3 and 3.4 against mixup losses computed over all pairs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats

from jaxmix.theory import glm

RNG = np.random.default_rng(0)
N, P = 12, 3
X = RNG.normal(size=(N, P)) + [1.0, -2.0, 0.5]
Y = RNG.integers(0, 2, N).astype(float)
THETA = np.array([0.6, -0.4, 0.9])
ones = jnp.ones_like


def logistic(u):
  return jax.nn.sigmoid(u) * jax.nn.sigmoid(-u)


def law(a, b):
  """Nodes and weights of D~, from SciPy's Gauss-Jacobi rule."""

  def nodes(p, q):
    t, w = scipy.special.roots_jacobi(24, q - 1.0, p - 1.0)
    return 0.5 * (t + 1.0), w / w.sum()

  lam_a, weight_a = nodes(a + 1.0, b)
  lam_b, weight_b = nodes(b + 1.0, a)
  weights = np.concatenate([a * weight_a, b * weight_b]) / (a + b)
  return np.concatenate([lam_a, lam_b]), weights


def added_loss(partition, theta, x, y, a, b):
  """Mixup loss at theta / E[lam] less the plain loss at theta: all pairs."""
  x = x - x.mean(0)
  u = x @ theta
  lam, weights = law(a, b)
  lam_bar = weights @ lam
  mixed = lam[:, None, None] * u[:, None] + (1 - lam)[:, None, None] * u
  mixed = mixed / lam_bar  # [lam, i, j]
  loss = partition(mixed) - y[:, None] * mixed
  return weights @ loss.mean((1, 2)) - (partition(u) - y * u).mean()


def regularizer(theta, second, a, b, **options):
  with jax.enable_x64(True):
    return float(
      glm.glm_regularizer(
        jnp.asarray(theta), jnp.asarray(X), second, alpha=a, beta=b, **options
      )
    )


def test_by_hand():
  # Beta(1, 1): q = 1/6, E[lam] = 2/3, Var(lam) = 1/18; u = -1, 1, A'' = 1:
  # (1/18 + 1/6) / (4/9) / 2 = 1/4.
  theta, x = jnp.array([1.0]), jnp.array([[4.0], [6.0]])
  assert glm.glm_regularizer(theta, x, ones, alpha=1.0) == pytest.approx(0.25)
  # Beta(2, 2): E[(1 - lam)^2 / lam^2] = (6 / 1 + 6 / 1) / 4 = 3.
  printed = glm.glm_regularizer(theta, x, ones, alpha=2.0, form="printed")
  assert printed == pytest.approx(1.5)
  # u_i^2 stays beside its own A'': x = -2, 1, 1, A'' = (1, 0, 0), u^2 = 4, and
  # theta^T Sigma theta = 2: (4/18 + 2/6) / (4/9) / 6 = 5/24.
  x = jnp.array([[-2.0], [1.0], [1.0]])
  first = lambda u: jnp.where(u < 0.0, 1.0, 0.0)
  np.testing.assert_allclose(
    glm.glm_regularizer(theta, x, first, alpha=1.0), 5 / 24, rtol=1e-6
  )


@pytest.mark.parametrize(
  "a, b", [(1, 1), (0.2, 0.2), (4, 4), (2, 0.5), (0.3, 7)]
)
def test_exact_for_a_quadratic(a, b):
  added = added_loss(lambda u: u * u / 2, THETA, X, Y, a, b)
  assert regularizer(THETA, ones, a, b) == pytest.approx(added, rel=1e-9)


@pytest.mark.parametrize("a, b", [(2.0, 2.0), (3.0, 1.5)])
def test_the_printed_form_is_a_moment_and_misses(a, b):
  u = (X - X.mean(0)) @ THETA
  first, second = scipy.stats.beta(a + 1, b), scipy.stats.beta(b + 1, a)
  density = lambda lam: (a * first.pdf(lam) + b * second.pdf(lam)) / (a + b)
  ratio, _ = scipy.integrate.quad(
    lambda lam: ((1 - lam) / lam) ** 2 * density(lam), 0, 1
  )
  printed = regularizer(THETA, ones, a, b, form="printed")
  assert printed == pytest.approx(0.5 * ratio * np.mean(u * u), rel=1e-6)
  # The counterexample: at Beta(2, 2) eq. (7) is 3 / (2/3) = 4.5 times too
  # large for linear regression, where the second order is everything.
  added = added_loss(lambda u: u * u / 2, THETA, X, Y, a, b)
  factor = {2.0: 4.5, 3.0: 10.0625}[a]
  assert printed / added == pytest.approx(factor, rel=1e-4)


def test_simulated_mixup():
  # Mixup as it is run: lam ~ Beta(a, b), mixed labels, 10^6 random pairs.
  a, b, size = 2.0, 2.0, 1_000_000
  x = X - X.mean(0)
  i, j = RNG.integers(0, N, (2, size))
  lam = RNG.beta(a, b, size)
  u = x @ THETA
  mixed = (lam * u[i] + (1 - lam) * u[j]) / 0.6  # E_D~[lam] = 1 - 2/5
  label = lam * Y[i] + (1 - lam) * Y[j]
  loss = mixed**2 / 2 - label * mixed
  added = loss.mean() - (u * u / 2 - Y * u).mean()
  error = loss.std() / size**0.5
  assert abs(regularizer(THETA, ones, a, b) - added) < 4 * error
  printed = regularizer(THETA, ones, a, b, form="printed")
  assert abs(printed - added) > 100 * error


@pytest.mark.parametrize("a, b", [(1.0, 1.0), (0.4, 2.0)])
def test_second_order_for_logistic_regression(a, b):
  # What is left is of third order in theta or higher: halving theta divides
  # it by 8 at least, and would divide a wrong second order by 4.
  partition = lambda u: np.logaddexp(0.0, u)

  def rest(scale):
    theta = scale * THETA
    added = added_loss(partition, theta, X, Y, a, b)
    return added - regularizer(theta, logistic, a, b)

  small, large = rest(0.1), rest(0.2)
  assert abs(large / small) > 7.5
  assert abs(small) < 0.02 * regularizer(0.1 * THETA, logistic, a, b)


@pytest.mark.parametrize("a, b", [(1.0, 1.0), (1.0, 3.0), (3.0, 0.5)])
def test_the_printed_form_is_infinite(a, b):
  assert regularizer(THETA, ones, a, b, form="printed") == np.inf
  assert regularizer(0 * THETA, ones, a, b, form="printed") == 0.0


@pytest.mark.parametrize("a, b", [(1.0, 1.0), (0.3, 2.0), (3.0, 3.0)])
def test_two_layers_by_quadrature(a, b):
  # Squared loss with mixed labels and a bias: over pairs and lam ~ Beta(a, b).
  hidden = np.maximum(X @ RNG.normal(size=(P, 4)), 0.0)
  theta, bias = RNG.normal(size=4), 0.7
  nodes, weights = scipy.special.roots_jacobi(24, b - 1.0, a - 1.0)
  lam, weights = 0.5 * (nodes + 1.0), weights / weights.sum()
  d_lam, d_weights = law(a, b)
  mean = d_weights @ d_lam

  def added(theta):
    u = (hidden - hidden.mean(0)) @ theta
    pair = lambda v: (
      lam[:, None, None] * v[:, None] + ((1 - lam)[:, None, None] * v)
    )
    loss = (pair(Y) - pair(u) / mean - bias) ** 2
    return weights @ loss.mean((1, 2)) - ((Y - u - bias) ** 2).mean()

  with jax.enable_x64(True):
    arguments = jnp.asarray(theta), jnp.asarray(hidden)
    options = {"alpha": a, "beta": b}
    ours = float(glm.two_layer_regularizer(*arguments, **options))
    single = float(glm.glm_regularizer(*arguments, ones, **options))
    printed = float(
      glm.two_layer_regularizer(*arguments, **options, form="printed")
    )
  np.testing.assert_allclose(ours, added(theta) - added(0 * theta), rtol=1e-9)
  np.testing.assert_allclose(ours, 2 * single, rtol=1e-12)
  if a > 1:
    # Beta(3, 3): (12 / 2 + 12 / 2) / 6 = 2, times the variance along theta.
    np.testing.assert_allclose(printed, 2 * np.var(hidden @ theta), rtol=1e-12)
  else:
    assert printed == np.inf


def test_the_mean_does_not_matter():
  shifted = glm.glm_regularizer(
    jnp.asarray(THETA, jnp.float32),
    jnp.asarray(X + 5.0, jnp.float32),
    logistic,
    alpha=1.0,
  )
  assert shifted == pytest.approx(
    regularizer(THETA, logistic, 1.0, 1.0), rel=1e-5
  )


@pytest.mark.parametrize("form", ["corrected", "printed"])
def test_jit_and_vmap(form):
  theta = jnp.asarray(np.stack([THETA, 2 * THETA]), jnp.float32)
  x = jnp.asarray(X, jnp.float32)
  alphas = jnp.array([1.5, 3.0])

  def run(theta, a):
    one = glm.glm_regularizer(theta, x, logistic, alpha=a, beta=2.0, form=form)
    return one + glm.two_layer_regularizer(theta, x, alpha=a, form=form)

  each = [float(run(t, float(a))) for t, a in zip(theta, alphas, strict=True)]
  traced = jax.jit(jax.vmap(run))(theta, alphas)
  np.testing.assert_allclose(traced, each, rtol=1e-5)
  assert traced.dtype == jnp.float32


def test_keeps_double_precision():
  with jax.enable_x64(True):
    x = jnp.asarray(X)
    run = jax.jit(
      lambda a: glm.glm_regularizer(jnp.asarray(THETA), x, ones, alpha=a)
    )
    traced = run(jnp.asarray(0.3))
    assert traced.dtype == jnp.float64
    traced = float(traced)
    added = added_loss(lambda u: u * u / 2, THETA, X, Y, 0.3, 0.3)
    np.testing.assert_allclose(traced, added, rtol=1e-10)


@pytest.mark.parametrize(
  "change, error, message",
  [
    ({"x": jnp.ones((3, 2), int)}, TypeError, "x must be floating"),
    ({"theta": jnp.ones(3)}, ValueError, r"theta must be \[p\]"),
    ({"alpha": 0.0}, ValueError, "alpha must lie"),
    ({"beta": -1.0}, ValueError, "beta must lie"),
    ({"form": "exact"}, ValueError, "form must be one of"),
    ({"second_derivative": jnp.sum}, ValueError, "must be elementwise"),
  ],
)
def test_errors(change, error, message):
  arguments = {
    "theta": jnp.ones(2),
    "x": jnp.ones((3, 2)),
    "second_derivative": ones,
    "alpha": 1.0,
  } | change
  with pytest.raises(error, match=message):
    glm.glm_regularizer(**arguments)
  if "second_derivative" in change:
    return
  del arguments["second_derivative"]
  arguments["hidden"] = arguments.pop("x")
  with pytest.raises(error, match=message.replace("x must", "hidden must")):
    glm.two_layer_regularizer(**arguments)
