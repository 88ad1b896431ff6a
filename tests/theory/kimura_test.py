"""Kimura's theorems 2, 3 and 4: what holds, and counterexamples."""

import math

import hypothesis
from hypothesis import strategies
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxmix.theory import kimura, rademacher

RNG = np.random.default_rng(0)
X = RNG.normal(size=(9, 3)) + [2.0, 0.0, -1.0]


def mixed(x, lam):
  return lam * x + (1 - lam) * x.mean(0)


def upper(x):
  """sqrt(sum |x_i|^2) / n, eq. (18) for radius 1."""
  return math.sqrt((x**2).sum()) / len(x)


@strategies.composite
def problems(draw, shape=None):
  """(x, lam) of any size, spread and distance from the origin."""
  rng = np.random.default_rng(draw(strategies.integers(0, 2**32 - 1)))
  sizes = strategies.tuples(
    strategies.integers(1, 12), strategies.integers(1, 5)
  )
  n, d = shape or draw(sizes)
  shift = draw(strategies.sampled_from([0.0, 1.0, 30.0]))
  tail = draw(strategies.sampled_from([1, 3]))
  x = rng.normal(size=(n, d)) ** tail + shift * rng.normal(size=d)
  return x, draw(strategies.floats(0.0, 1.0))


def double(function, x, *arguments, **options):
  """Runs in double precision, on JAX arrays; returns floats."""
  with jax.enable_x64(True):
    out = function(jnp.asarray(x), *arguments, **options)
    assert all(a.dtype == jnp.float64 for a in out)
    return type(out)(*(np.asarray(a) for a in out))


def test_linear_gap_by_hand():
  # x = 1, 7: mean 4, s = 3; lam = 1/2 gives 2.5, 5.5. n = 2, radius 2:
  # sqrt(50) - sqrt(36.5), and 2 * 1/2 * 3 / sqrt(2).
  x = jnp.array([[1.0], [7.0]])
  gap, bound = kimura.kimura_linear_gap(x, 0.5, radius=2.0)
  np.testing.assert_allclose(gap, 50**0.5 - 36.5**0.5, rtol=1e-6)
  np.testing.assert_allclose(bound, 3 / 2**0.5, rtol=1e-6)
  # Centred: -3, 3 against -1.5, 1.5, with equality.
  gap, bound = kimura.kimura_linear_gap(x - 4.0, 0.5, radius=2.0)
  np.testing.assert_allclose([gap, bound], 3 / 2**0.5, rtol=1e-6)


@hypothesis.given(problems())
@hypothesis.settings(max_examples=40, deadline=None)
def test_linear_gap_is_the_difference_of_the_bounds(problem):
  x, lam = problem
  gap, bound = double(kimura.kimura_linear_gap, x, lam)
  expected = upper(x) - upper(mixed(x, lam))
  np.testing.assert_allclose(gap, expected, rtol=1e-9, atol=1e-13)
  assert -1e-12 <= gap <= bound * (1 + 1e-12)
  np.testing.assert_allclose(
    bound, (1 - lam) * upper(x - x.mean(0)), rtol=1e-9, atol=1e-13
  )
  centred, limit = double(kimura.kimura_linear_gap, x - x.mean(0), lam)
  np.testing.assert_allclose(centred, limit, rtol=1e-9, atol=1e-13)


@hypothesis.given(problems())
@hypothesis.settings(max_examples=20, deadline=None)
def test_theorem_2_for_the_complexities_themselves(problem):
  # Exactly, over all signs. They fall, and by no more than the bound.
  x, lam = problem
  n = min(len(x), 8)
  x = x[:n]
  signs = 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
  complexity = lambda x: np.linalg.norm(signs @ x / n, axis=1).mean()
  difference = complexity(x) - complexity(mixed(x, lam))
  _, bound = double(kimura.kimura_linear_gap, x, lam)
  assert -1e-12 <= difference <= bound + 1e-12


def test_theorem_2_by_monte_carlo(key):
  x = jnp.asarray(X, jnp.float32)
  _, bound = kimura.kimura_linear_gap(x, 0.3)
  whole = rademacher.rademacher_linear(key, x, num_draws=5000)
  less = rademacher.rademacher_linear(
    key, 0.3 * x + 0.7 * x.mean(0, keepdims=True), num_draws=5000
  )
  noise = 4 * (whole.error + less.error)
  assert noise < whole.value - less.value < bound


def test_the_printed_sum_of_squares_is_no_upper_bound():
  # Eq. (19): |a + b|^2 <= |a|^2 + |b|^2. Four examples at 1, lam = 1/2: mixup
  # leaves them at 1, and sum |x~_i|^2 = 4, but the paper's is 4 / 4 + 4 / 4 =
  # 2. With it the gap is (2 - sqrt(2)) / 4 = 0.146, though eq. (20) bounds it
  # by s = 0 and nothing has changed.
  x, lam = np.ones((4, 1)), 0.5
  printed = math.sqrt(lam**2 * 4 + (1 - lam) ** 2 * 4) / 4
  assert printed < upper(mixed(x, lam)) == 0.5
  assert upper(x) - printed == pytest.approx(0.1464, abs=1e-4)
  gap, bound = kimura.kimura_linear_gap(jnp.asarray(x, jnp.float32), lam)
  assert gap == bound == 0.0


def test_the_variance_of_the_norm_is_not_the_total_variance():
  # On the unit circle |x| is constant and its variance zero, but the gap is
  # (1 - lam) / sqrt(n) = 0.25, for the centred points +-e_1, +-e_2.
  x = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
  assert np.var(np.linalg.norm(x, axis=1)) == 0.0
  gap, bound = kimura.kimura_linear_gap(jnp.asarray(x, jnp.float32), 0.5)
  np.testing.assert_allclose([gap, bound], 0.25, rtol=1e-6)


def test_network_gap_by_hand():
  # x = 0, 0, 3, mean 1, lam = 1/2: x~ = 0.5, 0.5, 2. L = 2, W = 3, n = 3:
  # c = 2^2.5 * 3 / sqrt(3) = 9.798; gap 3 - 2, printed (3 - 1) / 2, eps = 2.
  x = jnp.array([[0.0], [0.0], [3.0]])
  c = 2**2.5 * 3**0.5
  gaps = kimura.kimura_network_gap(x, 0.5, norm_bound=3.0, num_layers=2)
  np.testing.assert_allclose(gaps, [c, c, c, 4 / 3 * c], rtol=1e-6)
  # Two dimensions: x~ = 0.5, 0.5, 2; 5 - 2, 3/4 (5 - 1), 3/4 4.
  x = jnp.array([[-1.0, 0.0], [-1.0, 0.0], [5.0, 0.0]])
  gaps = kimura.kimura_network_gap(x, 0.25, num_layers=1)
  c = 2**1.5 / 3**0.5
  np.testing.assert_allclose(gaps, [c * 3, c * 3, c * 3, c * 4], rtol=1e-6)
  # The exact gap is the larger where x_i and the mean point apart.
  x = jnp.array([[-4.0], [3.0], [3.0], [3.0]])
  gaps = kimura.kimura_network_gap(x, 0.5, num_layers=1)
  c = 2**0.5
  # 4 - 2.125; (4 - 1.25) / 2; 5.25 / 2.
  np.testing.assert_allclose(
    gaps, np.multiply(c, [1.875, 1.375, 2.625, 1.5 * 2.625]), rtol=1e-6
  )


@hypothesis.given(problems(), strategies.integers(1, 4))
@hypothesis.settings(max_examples=40, deadline=None)
def test_theorem_3_with_the_mean_of_the_sample(problem, num_layers):
  x, lam = problem
  options = {"norm_bound": 1.5, "num_layers": num_layers}
  gap, printed, bound, _ = double(kimura.kimura_network_gap, x, lam, **options)
  c = 1.5 * 2 ** (num_layers + 0.5) / math.sqrt(len(x))
  largest = lambda x: np.linalg.norm(x, axis=1).max()
  close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)
  close(gap, c * (largest(x) - largest(mixed(x, lam))))
  short = lam * largest(x) + (1 - lam) * np.linalg.norm(x.mean(0))
  close(printed, c * (largest(x) - short))
  close(bound, c * (1 - lam) * largest(x - x.mean(0)))
  assert printed - 1e-9 <= gap <= bound + 1e-9
  # With any other centre: what the triangle inequality leaves.
  mean = x.mean(0) + 0.3
  with jax.enable_x64(True):
    other = kimura.kimura_network_gap(
      jnp.asarray(x), lam, **options, mean=jnp.asarray(mean)
    )
    slack = c * (1 - lam) * np.linalg.norm(mean - x.mean(0))
    assert gap <= float(other.bound) + slack + 1e-9
    assert gap <= float(other.doubled_bound) + 1e-9
    close(other.doubled_bound, 2 * (1 - 1 / len(x)) * other.bound)
    close(other.bound, c * (1 - lam) * largest(x - mean))


@pytest.mark.parametrize("n", [3, 101, 10_001])
def test_the_proofs_constant_fails_with_the_mean_of_the_population(n):
  # x = 0 or 3 with probability 1/2, mu = 3/2: of n examples (n - 1) / 2 are 3,
  # as likely a sample as any. max|eps| is 3/2 but the gap (1 - lam) (3 - xbar)
  # with xbar < 3/2: at n = 3 it is 4/3 of the bound, and above it at any n.
  x = jnp.where(jnp.arange(n) < (n - 1) // 2, 3.0, 0.0)[:, None]
  run = jax.jit(
    lambda x, mean: kimura.kimura_network_gap(x, 0.5, num_layers=2, mean=mean)
  )
  gap, printed, bound, doubled = run(x, jnp.array([1.5]))
  excess = (3 - 1.5 * (n - 1) / n) / 1.5
  np.testing.assert_allclose([gap / bound, printed / bound], excess, rtol=1e-5)
  assert gap > bound and printed > bound
  assert gap <= doubled * (1 + 1e-6)


def test_twice_the_constant_is_enough_for_any_mean():
  x = jnp.asarray(RNG.normal(size=(500, 4, 3)), jnp.float32)
  means = jnp.asarray(2.0 * RNG.normal(size=(500, 3)), jnp.float32)
  sides = jax.vmap(
    lambda x, mean: kimura.kimura_network_gap(x, 0.4, num_layers=1, mean=mean)
  )(x, means)
  assert jnp.all(sides.gap <= sides.doubled_bound)


def test_two_examples_cannot_break_theorem_3():
  # Either is at least |x_1 - x_2| / 2 from any centre, and that is max|eps|.
  x = jnp.asarray(RNG.normal(size=(500, 2, 3)), jnp.float32)
  means = jnp.asarray(RNG.normal(size=(500, 3)), jnp.float32)
  gap, _, bound, _ = jax.vmap(
    lambda x, mean: kimura.kimura_network_gap(x, 0.4, num_layers=1, mean=mean)
  )(x, means)
  assert jnp.all(gap <= bound)


def reference_hessian(x, theta):
  """Covariance under weights proportional to exp(theta . x_i)."""
  weights = np.exp(x @ theta - (x @ theta).max())
  weights /= weights.sum()
  centred = x - weights @ x
  return (weights[:, None] * centred).T @ centred


def test_bregman_scaling_by_hand():
  # x = -1, 1: psi = log cosh, psi'' = sech^2. lam = 1/2, theta = 3: 0.0452
  # against 0.0025 printed; and mixup multiplies psi'' = 0.0099 by 4.6.
  x, theta = jnp.array([[-1.0], [1.0]]), jnp.array([3.0])
  mixed, printed, corrected = kimura.bregman_scaling(x, theta, 0.5)
  sech = lambda t: 1 / math.cosh(t) ** 2
  np.testing.assert_allclose(printed, [[sech(3.0) / 4]], rtol=1e-4)
  np.testing.assert_allclose(mixed, [[sech(1.5) / 4]], rtol=1e-4)
  np.testing.assert_allclose(corrected, mixed, rtol=1e-4)
  assert mixed[0, 0] > 4.5 * sech(3.0)
  # The two are equal at cosh(theta / 2) = (1 + sqrt(3)) / 2.
  theta = jnp.array([1.6629])
  mixed = kimura.bregman_scaling(x, theta, 0.5).mixed
  np.testing.assert_allclose(mixed, [[sech(1.6629)]], rtol=1e-4)


@hypothesis.given(problems(shape=(7, 3)))
@hypothesis.settings(max_examples=40, deadline=None)
def test_theorem_4(problem):
  x, lam = problem
  run = jax.jit(kimura.bregman_scaling)
  x = x / (1 + np.abs(x).max())
  theta = np.array([-2.0, 1.0, 3.0])
  ours = double(run, x, theta, lam)
  close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-13)
  close(ours.mixed, reference_hessian(mixed(x, lam), theta))
  close(ours.printed, lam**2 * reference_hessian(x, theta))
  close(ours.corrected, ours.mixed)
  still = double(run, x, 0 * theta, lam)
  close(still.printed, still.mixed)
  close(still.mixed, lam**2 * np.cov(x.T, bias=True))


def test_theorem_4_is_right_for_gaussians():
  # N(0, 1) by its quantiles: psi'' is 1 at any theta, up to the tails cut off.
  x = scipy.stats.norm.ppf((np.arange(100_000) + 0.5) / 100_000)[:, None]
  ours = double(kimura.bregman_scaling, x, np.array([0.4]), 0.5)
  np.testing.assert_allclose(ours, np.full((3, 1, 1), 0.25), rtol=1e-3)


def test_divergences_by_hand():
  # psi = log cosh for x = -1 or 1.
  x, theta, other = jnp.array([[-1.0], [1.0]]), [1.0], [-0.5]
  psi, slope = lambda t: math.log(math.cosh(t)), math.tanh
  of = lambda t, s: psi(t) - psi(s) - slope(s) * (t - s)
  found = kimura.bregman_divergence(x, theta, other, 0.4)
  expected = [of(0.4, -0.2), of(0.4, -0.2), of(1.0, -0.5)]
  np.testing.assert_allclose(found, expected, rtol=1e-5)


@hypothesis.given(problems(shape=(7, 3)))
@hypothesis.settings(max_examples=40, deadline=None)
def test_divergences_are_those_of_nearer_parameters(problem):
  x, lam = problem
  x = x / (1 + np.abs(x).max())
  theta, other = np.array([-2.0, 1.0, 3.0]), np.array([1.0, 0.5, -1.0])
  ours = double(jax.jit(kimura.bregman_divergence), x, theta, other, lam)
  close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-13)
  close(ours.mixed, ours.scaled)
  psi = lambda x, t: np.log(np.mean(np.exp(x @ t)))
  mean = lambda x, t: np.exp(x @ t) @ x / np.exp(x @ t).sum()
  for side, data in ((ours.mixed, mixed(x, lam)), (ours.plain, x)):
    tangent = mean(data, other) @ (theta - other)
    close(side, psi(data, theta) - psi(data, other) - tangent)


def test_mixup_lowers_divergences_near_the_origin_and_raises_them_far_off():
  x = np.array([[-1.0], [1.0]])
  for size, low, high in ((0.01, 0.249, 0.251), (8.0, 50.0, 5000.0)):
    places = np.array([1.25 * size]), np.array([size])
    found = double(kimura.bregman_divergence, x, *places, 0.5)
    assert low < found.mixed / found.plain < high


def test_a_random_partner_gives_another_factor():
  # All pairs lam x_i + (1 - lam) x_j: at theta = 0 the covariance is scaled by
  # lam^2 + (1 - lam)^2, not lam^2.
  lam = 0.3
  pairs = lam * X[:, None] + (1 - lam) * X[None]
  hessian = reference_hessian(pairs.reshape(-1, 3), np.zeros(3))
  factor = lam**2 + (1 - lam) ** 2
  np.testing.assert_allclose(
    hessian, factor * np.cov(X.T, bias=True), rtol=1e-12
  )


def test_extremes_of_lam():
  x, theta = jnp.asarray(X, jnp.float32), jnp.array([0.1, -0.2, 0.3])
  for gap in (
    kimura.kimura_linear_gap(x, 1.0),
    kimura.kimura_network_gap(x, 1.0, num_layers=3),
  ):
    np.testing.assert_allclose(gap, np.zeros(len(gap)), atol=1e-6)
  same = kimura.bregman_scaling(x, theta, 1.0)
  np.testing.assert_allclose(same.mixed, same.printed, rtol=1e-5)
  none = kimura.bregman_scaling(x, theta, 0.0)
  np.testing.assert_allclose(none, np.zeros((3, 3, 3)), atol=1e-6)


def test_no_cancellation_far_from_the_origin():
  # In float32 sqrt(1e8 + 1) - sqrt(1e8 + 1/4) by subtraction is 0.
  x = jnp.array([[1e4, 1.0], [1e4, -1.0]])
  gap, _ = kimura.kimura_linear_gap(x, 0.5)
  np.testing.assert_allclose(gap, 0.75 / 2e4 / 2**0.5, rtol=1e-5)


def test_jit_and_vmap():
  x = jnp.asarray(RNG.normal(size=(2, 5, 3)) + 1.0, jnp.float32)
  lam, theta = jnp.array([0.3, 0.8]), jnp.array([0.5, -1.0, 0.2])

  def run(x, lam):
    return (
      kimura.kimura_linear_gap(x, lam, radius=lam),
      kimura.kimura_network_gap(x, lam, norm_bound=lam, num_layers=2),
      kimura.bregman_scaling(x, theta, lam),
    )

  traced = jax.jit(jax.vmap(run))(x, lam)
  for i in range(2):
    each = run(x[i], float(lam[i]))
    for one, all_ in zip(
      jax.tree.leaves(each), jax.tree.leaves(traced), strict=True
    ):
      assert all_.dtype == jnp.float32
      np.testing.assert_allclose(all_[i], one, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
  "call, error, message",
  [
    (
      lambda x: kimura.kimura_linear_gap(x.astype(int), 0.5),
      TypeError,
      "x must be floating",
    ),
    (lambda x: kimura.kimura_linear_gap(x[0], 0.5), ValueError, "x must be"),
    (lambda x: kimura.kimura_linear_gap(x, 1.5), ValueError, "lam must lie"),
    (
      lambda x: kimura.kimura_linear_gap(x, 0.5, radius=-1.0),
      ValueError,
      "radius must lie",
    ),
    (
      lambda x: kimura.kimura_network_gap(x, 0.5, num_layers=0),
      ValueError,
      "num_layers must be at least 1",
    ),
    (
      lambda x: kimura.kimura_network_gap(
        x, 0.5, num_layers=1, norm_bound=-1.0
      ),
      ValueError,
      "norm_bound must lie",
    ),
    (
      lambda x: kimura.kimura_network_gap(
        x, 0.5, num_layers=1, mean=jnp.zeros(3)
      ),
      ValueError,
      "mean must be",
    ),
    (
      lambda x: kimura.bregman_scaling(x, jnp.zeros(3), 0.5),
      ValueError,
      "theta must be",
    ),
    (
      lambda x: kimura.bregman_scaling(x, jnp.zeros(2), -0.1),
      ValueError,
      "lam must lie",
    ),
  ],
)
def test_errors(call, error, message):
  with pytest.raises(error, match=message):
    call(jnp.ones((4, 2)))
