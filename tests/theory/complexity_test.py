"""Theorems 3.4 and 3.5 of Zhang et al., 2021: complexities below bounds."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.optimize

from jaxmix.theory import complexity, rademacher

RNG = np.random.default_rng(0)
SAMPLES = 64


def logistic(u):
  return jax.nn.sigmoid(u) * jax.nn.sigmoid(-u)


LOGISTIC = complexity.gaussian_curvature(logistic)


def mean_logistic(v):
  """E[A''(v Z)] by SciPy, in the variable in which A'' is narrow."""
  density = lambda u: np.exp(-0.5 * (u / v) ** 2) / np.sqrt(2 * np.pi) / v
  integrand = lambda u: density(u) / (2 * np.cosh(u / 2)) ** 2
  return 2 * scipy.integrate.quad(integrand, 0, min(60, 12 * v), limit=200)[0]


def gaussian(rank, p, n, samples=SAMPLES):
  """(covariance, [samples, n, p] draws) of a Gaussian of some rank."""
  factor = RNG.normal(size=(p, rank)) / np.sqrt(rank)
  x = RNG.normal(size=(samples, n, rank)) @ factor.T
  return [jnp.asarray(a, jnp.float32) for a in (factor @ factor.T, x)]


@functools.partial(
  jax.jit, static_argnames=("curvature", "max_radius", "num_draws")
)
def expected(key, x, covariance, *, gamma, **options):
  """Mean complexity over samples, and its standard error."""
  run = lambda key, x: complexity.rademacher_mixup_class(
    key, x, covariance, gamma=gamma, **options
  )
  values = jax.vmap(run)(jax.random.split(key, len(x)), x).value
  return values.mean(), values.std() / len(x) ** 0.5


@pytest.mark.parametrize("v", [0.1, 1.0, 5.0, 30.0, 100.0])
def test_logistic_curvature(v):
  np.testing.assert_allclose(LOGISTIC(v), mean_logistic(v), rtol=1e-5)


def test_curvature_of_a_polynomial():
  # E[1 + (v Z)^2] = 1 + v^2, of any shape and dtype.
  curvature = complexity.gaussian_curvature(lambda u: 1.0 + u**2)
  v = jnp.array([[0.0, 1.0], [2.0, 3.0]])
  np.testing.assert_allclose(jax.jit(curvature)(v), 1.0 + v**2, rtol=1e-5)
  assert float(curvature(2)) == pytest.approx(5.0)
  with jax.enable_x64(True):
    wide = curvature(jnp.asarray(1.5))
    assert wide.dtype == jnp.float64 and abs(float(wide) - 3.25) < 1e-13


def test_a_convex_loss_makes_the_class_a_ball():
  # curvature(v) v^2 increases for any A'' >= 0, here one far from log-concave.
  bumps = lambda u: jnp.exp(-20 * (u - 1.5) ** 2) + jnp.exp(-50 * (u + 4) ** 2)
  v = jnp.linspace(0.5, 8.0, 100)
  level = complexity.gaussian_curvature(bumps)(v) * v**2
  assert jnp.all(jnp.diff(level) > 0.0)


@pytest.mark.parametrize("gamma", [0.01, 0.3, 2.0])
def test_radius_of_the_logistic_class(key, gamma):
  # One example: the complexity is v_gamma |Sigma^{-1/2} x| with no noise.
  covariance, x = jnp.diag(jnp.array([4.0, 1.0])), jnp.array([[6.0, 4.0]])
  v = scipy.optimize.brentq(
    lambda v: mean_logistic(v) * v**2 - gamma, 1e-3, 50.0
  )
  run = lambda **options: complexity.rademacher_mixup_class(
    key, x, covariance, gamma=gamma, curvature=LOGISTIC, **options
  )
  np.testing.assert_allclose(run(), [5.0 * v, 0.0], rtol=1e-4, atol=1e-5)
  # A bounded Theta cuts the class off.
  cut = run(max_radius=v / 2).value
  np.testing.assert_allclose(cut, 5.0 * v / 2, rtol=1e-5)


def test_linear_regression_is_an_ellipsoid(key):
  covariance, x = gaussian(4, 4, 30, samples=1)
  ours = complexity.rademacher_mixup_class(
    key, x[0], covariance, gamma=0.7, curvature=jnp.ones_like
  )
  other = rademacher.rademacher_ellipsoid(
    key, x[0], covariance, radius=0.7**0.5
  )
  np.testing.assert_allclose(ours, other, rtol=1e-5)


@pytest.mark.parametrize("sharp", [False, True])
@pytest.mark.parametrize(
  "gamma, rho, slow, fast",
  # (g/r)^(1/4) and (g/r)^(1/2); (g/sqrt r)^(1/3) and (g/sqrt r)^(1/2).
  [(4, 1 / 4, (2, 4), (2, 8**0.5)), (1 / 64, 1 / 4, (1 / 2, 1 / 4), None)],
)
def test_bound_by_hand(gamma, rho, slow, fast, sharp):
  fast = fast or (32 ** (-1 / 3), 32**-0.5)
  bound = complexity.rademacher_bound(gamma, rho, 3, 12, sharp=sharp)
  np.testing.assert_allclose(bound, max(fast if sharp else slow) / 2, rtol=1e-6)


def test_retentiveness():
  assert complexity.retentiveness(jnp.ones_like, 10.0) == 0.5
  # min(1, v^2) = v^2 below the corner: 0.3^2 / 0.5^2.
  flat = complexity.retentiveness(lambda v: jnp.full_like(v, 0.3), 0.5)
  np.testing.assert_allclose(flat, 0.36, rtol=1e-6)
  # A corner in between: (0.1 + |v - 1|)^2 is least at v = 1.
  dip = complexity.retentiveness(lambda v: 0.1 + abs(v - 1.0), 7.77)
  np.testing.assert_allclose(dip, 0.01, rtol=1e-4)
  np.testing.assert_allclose(
    complexity.retentiveness(LOGISTIC, 5.0), mean_logistic(5.0) ** 2, rtol=1e-4
  )


def test_unbounded_logistic_regression_is_not_retentive():
  # curvature(v) v tends to phi(0) = 0.3989: rho falls like 0.159 / v^2.
  rho = [float(complexity.retentiveness(LOGISTIC, v)) for v in (20.0, 80.0)]
  np.testing.assert_allclose(rho, [0.1592 / 400, 0.1592 / 6400], rtol=0.02)


@pytest.mark.parametrize("gamma", [0.02, 0.3, 3.0])
@pytest.mark.parametrize(
  "rank, p, n", [(1, 1, 10), (5, 5, 40), (3, 20, 40), (20, 20, 15)]
)
@pytest.mark.parametrize("model", ["logistic", "linear"])
def test_theorem_3_4(key, model, rank, p, n, gamma):
  curvature = LOGISTIC if model == "logistic" else jnp.ones_like
  # Theta is bounded, and then the population is retentive.
  covariance, x = gaussian(rank, p, n)
  value, error = expected(
    key, x, covariance, gamma=gamma, curvature=curvature, max_radius=5.0,
    num_draws=200,
  )  # fmt: skip
  rho = complexity.retentiveness(curvature, 5.0)
  bound = complexity.rademacher_bound(gamma, rho, rank, n)
  sharp = complexity.rademacher_bound(gamma, rho, rank, n, sharp=True)
  assert value + 4 * error < sharp < bound
  # Not vacuously: for linear regression at gamma = 3 within a factor of 2.
  if model == "linear" and gamma == 3.0:
    assert value > 0.5 * bound


def test_the_sharp_bound_is_never_the_larger():
  gamma = jnp.logspace(-4, 4, 41)[:, None]
  rho = jnp.logspace(-6, np.log10(0.5), 30)[None, :]
  gamma, rho = jnp.broadcast_arrays(gamma, rho)
  both = lambda sharp: jax.vmap(
    lambda g, r: complexity.rademacher_bound(g, r, 2, 5, sharp=sharp)
  )(gamma.ravel(), rho.ravel())
  # Equal nowhere but at gamma = rho = 1, outside retentiveness' range.
  assert jnp.all(both(True) < both(False))


def test_a_sample_can_exceed_the_bound():
  # Theorem 3.4 says "empirical". x ~ N(0, 1), linear regression, gamma = 1,
  # n = 2: the bound is sqrt(2) sqrt(1/2) = 1, but the sample (3, 3) has
  # E|3 xi_1 + 3 xi_2| / 2 = 1.5.
  bound = complexity.rademacher_bound(1.0, 0.5, 1, 2)
  np.testing.assert_allclose(bound, 1.0, rtol=1e-6)
  sample = complexity.rademacher_mixup_class(
    jax.random.key(0),
    jnp.array([[3.0], [3.0]]),
    jnp.eye(1),
    gamma=1.0,
    curvature=jnp.ones_like,
    num_draws=10_000,
  )
  assert abs(sample.value - 1.5) < 4 * sample.error < 0.07


def test_complexity_follows_the_rank_not_the_dimension(key):
  # Remark 3.2. The same 3 dimensions, embedded in 20.
  _, small = gaussian(3, 3, 40)
  basis = np.linalg.qr(RNG.normal(size=(20, 3)))[0].astype(np.float32)
  covariance = jnp.asarray(basis @ basis.T)
  options = {"gamma": 0.5, "curvature": LOGISTIC, "num_draws": 100}
  inside = expected(key, small, jnp.eye(3), **options)
  embedded = expected(key, small @ basis.T, covariance, **options)
  np.testing.assert_allclose(inside, embedded, rtol=1e-4)
  full = jnp.asarray(RNG.normal(size=(SAMPLES, 40, 20)), jnp.float32)
  small = jnp.asarray(RNG.normal(size=(SAMPLES, 40, 3)), jnp.float32)
  # About sqrt(20 / 3) = 2.6; E|z| / sqrt(p) is 0.92 at p = 3, 0.99 at 20.
  ratio = (
    expected(key, full, jnp.eye(20), **options)[0]
    / expected(key, small, jnp.eye(3), **options)[0]
  )
  assert 2.6 < ratio < 2.9


def test_ridge_adapts_as_well(key):
  # Remark 3.2 sets sqrt(p / n) for the ridge class against sqrt(rank / n). The
  # ridge class itself follows the trace of Sigma: on a projection of rank 3 in
  # 20 dimensions the two classes are equally complex, though the remark's
  # bounds differ by sqrt(20 / 3).
  basis = np.linalg.qr(RNG.normal(size=(20, 3)))[0]
  x = jnp.asarray(RNG.normal(size=(40, 3)) @ basis.T, jnp.float32)
  covariance = jnp.asarray(basis @ basis.T, jnp.float32)
  mixup = complexity.rademacher_mixup_class(
    key, x, covariance, gamma=0.5, curvature=jnp.ones_like
  )
  ridge = rademacher.rademacher_linear(key, x, radius=0.5**0.5)
  np.testing.assert_allclose(mixup, ridge, rtol=1e-4)


def test_two_layer_bound_by_hand():
  # 2 sqrt(2 (2 + 1/4) / 3) with the third, dead unit in neither term.
  covariance, mean = jnp.diag(jnp.array([4.0, 1.0, 0.0])), jnp.zeros(3)
  bound = jax.jit(
    lambda g: complexity.two_layer_bound(g, covariance, mean.at[0].set(1.0), 3)
  )(2.0)
  np.testing.assert_allclose(bound, 2 * 1.5**0.5, rtol=1e-6)


@pytest.mark.parametrize("width, n", [(1, 10), (6, 30), (25, 50)])
def test_theorem_3_5(key, width, n):
  # Random ReLU layers; moments of the population from 200,000 draws.
  weights = RNG.normal(size=(5, width))
  hidden = lambda x: np.maximum(x @ weights, 0.0)
  many = hidden(RNG.normal(size=(200_000, 5)))
  covariance = jnp.asarray(np.cov(many.T).reshape(width, width), jnp.float32)
  mean = jnp.asarray(many.mean(0), jnp.float32)
  x = jnp.asarray(hidden(RNG.normal(size=(SAMPLES, n, 5))), jnp.float32)
  run = lambda key, x: rademacher.rademacher_ellipsoid(
    key, x, covariance, radius=0.8**0.5, num_draws=200
  )
  values = jax.vmap(run)(jax.random.split(key, SAMPLES), x).value
  value, error = values.mean(), values.std() / SAMPLES**0.5
  bound = complexity.two_layer_bound(0.8, covariance, mean, n)
  # Jensen's inequality needs no factor 2: half the bound holds, not vacuously.
  assert value < 0.5 * bound + 4 * error
  assert value > 0.3 * bound


def test_the_last_line_of_theorem_a1_forgets_the_mean(key):
  # It ends with sqrt(gamma rank / n) = 0.316. h ~ N(5, 1), gamma = 1, n = 10:
  # about sqrt(26 / 10) sqrt(2 / pi) = 1.29.
  x = jnp.asarray(RNG.normal(5.0, size=(SAMPLES, 10, 1)), jnp.float32)
  run = lambda x: rademacher.rademacher_ellipsoid(key, x, jnp.eye(1)).value
  assert 1.2 < jax.vmap(run)(x).mean() < 1.4
  bound = complexity.two_layer_bound(1.0, jnp.eye(1), jnp.array([5.0]), 10)
  np.testing.assert_allclose(bound, 2 * 2.6**0.5, rtol=1e-6)


def test_a_constant_feature_defeats_theorem_3_5(key):
  # hidden = (1, z): theta = (t, 0) has theta^T Sigma theta = 0 for every t, so
  # the complexity is at least t E|mean xi|, 0.246 t at n = 10: infinite.
  covariance, mean = jnp.diag(jnp.array([0.0, 1.0])), jnp.array([1.0, 0.0])
  bound = complexity.two_layer_bound(1.0, covariance, mean, 10)
  np.testing.assert_allclose(bound, 2 * 0.1**0.5, rtol=1e-6)
  t = 100.0
  theta = jnp.array([t, 0.0])
  assert theta @ covariance @ theta == 0.0
  line = rademacher.rademacher_linear(key, jnp.ones((10, 1)), radius=t)
  assert line.value == pytest.approx(24.6, abs=4 * float(line.error))
  assert line.value > 30 * bound


def test_a_bounded_bias_defeats_theorem_3_5_as_well(key):
  # At gamma = 0 the bound is 0, and a bias of at most 1 has E|mean xi|, which
  # at n = 20 is binom(20, 10) / 2^20 = 0.1762.
  line = rademacher.rademacher_linear(key, jnp.ones((20, 1)), radius=1.0)
  assert line.value == pytest.approx(0.1762, abs=4 * float(line.error))
  assert complexity.two_layer_bound(0.0, jnp.eye(1), jnp.ones(1), 20) == 0.0


def test_a_free_first_layer_defeats_theorem_3_5():
  # One unit max(w . x, 0) of Gaussian x: mean |w| / sqrt(2 pi), variance
  # |w|^2 (1/2 - 1 / (2 pi)), so that the bound is the same for every w.
  n, p = 20, 50
  variance = 0.5 - 0.5 / np.pi
  bound = complexity.two_layer_bound(
    1.0, jnp.full((1, 1), variance), jnp.array([(2.0 * np.pi) ** -0.5]), n
  )
  np.testing.assert_allclose(bound, 0.542, atol=1e-3)
  # A w of each sign vector's own, the sum of its positive examples: no
  # supremum, and above the bound for every w that is fixed.
  x = RNG.normal(size=(200, n, p))
  signs = RNG.choice([-1.0, 1.0], size=(200, n))
  w = np.einsum("sn,snp->sp", np.maximum(signs, 0.0), x)
  hidden = np.maximum(np.einsum("snp,sp->sn", x, w), 0.0)
  theta = 1.0 / np.sqrt(variance * np.sum(w**2, axis=1))
  below = np.abs(np.sum(signs * hidden, axis=1)) * theta / n
  assert below.mean() > 2.0 * bound


def test_jit_vmap_and_double_precision(key):
  covariance, x = gaussian(2, 3, 6, samples=2)
  run = lambda x, gamma: complexity.rademacher_mixup_class(
    key, x, covariance, gamma=gamma, curvature=LOGISTIC, num_draws=50
  )
  gammas = jnp.array([0.2, 1.0])
  traced = jax.jit(jax.vmap(run))(x, gammas)
  each = [run(x[0], 0.2), run(x[1], 1.0)]
  np.testing.assert_allclose(traced.value, [e.value for e in each], rtol=1e-4)
  np.testing.assert_allclose(traced.error, [e.error for e in each], rtol=1e-4)
  assert traced.value.dtype == jnp.float32
  with jax.enable_x64(True):
    # One example: no noise, and the signs of the two precisions differ.
    run = lambda x: complexity.rademacher_mixup_class(
      key, x, jnp.eye(1), gamma=0.2, curvature=LOGISTIC
    )
    wide, error = run(jnp.ones((1, 1), float))
    assert wide.dtype == error.dtype == jnp.float64
    v = float(wide)
    assert abs(mean_logistic(v) * v**2 - 0.2) < 1e-12
    bound = complexity.rademacher_bound(0.3, 0.1, 2, 5)
    assert bound.dtype == complexity.retentiveness(LOGISTIC, 3.0).dtype
    assert bound.dtype == jnp.float64


@pytest.mark.parametrize(
  "call, message",
  [
    (lambda c: c.rademacher_bound(-1.0, 0.1, 1, 1), "gamma must lie"),
    (lambda c: c.rademacher_bound(1.0, 0.6, 1, 1), "rho must lie"),
    (lambda c: c.rademacher_bound(1.0, 0.0, 1, 1), "rho must lie"),
    (lambda c: c.rademacher_bound(1.0, 0.1, -1, 1), "rank must lie"),
    (lambda c: c.rademacher_bound(1.0, 0.1, 1, 0), "n must lie"),
    (lambda c: c.retentiveness(jnp.ones_like, 0.0), "max_radius must lie"),
    (
      lambda c: c.retentiveness(jnp.ones_like, 1.0, num_points=0),
      "num_points must",
    ),
    (lambda c: c.gaussian_curvature(logistic, num_nodes=1), "num_nodes must"),
    (
      lambda c: c.two_layer_bound(1.0, jnp.eye(2), jnp.ones(3), 4),
      "covariance must be",
    ),
    (lambda c: c.two_layer_bound(1.0, jnp.eye(2), 0.0, 4), "mean must be"),
    (lambda c: c.two_layer_bound(-1.0, jnp.eye(1), jnp.ones(1), 4), "gamma"),
    (lambda c: c.two_layer_bound(1.0, jnp.eye(1), jnp.ones(1), 0), "n must"),
  ],
)
def test_errors(call, message):
  with pytest.raises(ValueError, match=message):
    call(complexity)


@pytest.mark.parametrize(
  "change, error, message",
  [
    ({"x": jnp.ones((3, 2), int)}, TypeError, "x must be floating"),
    ({"x": jnp.ones(2)}, ValueError, "x must be"),
    ({"covariance": jnp.eye(3)}, ValueError, "covariance must be"),
    ({"gamma": -0.1}, ValueError, "gamma must lie"),
    ({"max_radius": 0.0}, ValueError, "max_radius must lie"),
    ({"num_draws": 1}, ValueError, "num_draws must"),
  ],
)
def test_errors_of_the_class(key, change, error, message):
  arguments = {
    "x": jnp.ones((3, 2)),
    "covariance": jnp.eye(2),
    "gamma": 1.0,
    "curvature": jnp.ones_like,
  } | change
  with pytest.raises(error, match=message):
    complexity.rademacher_mixup_class(key, **arguments)
