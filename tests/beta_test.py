"""The Beta law against scipy: sampling, quantiles, strata, quadrature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from jaxmix import beta, policies

LAWS = [(0.01, 0.01), (0.05, 0.05), (0.2, 0.2), (1.0, 1.0), (4.0, 4.0)]
ASYMMETRIC = [(1.7, 0.8), (0.05, 0.4), (6.0, 0.3)]


def logit_cdf(t, a, b):
  """P(logit(lam) <= t) in float64, exact in both tails of Beta(a, b)."""

  def lower(t, a, b):  # t <= 0
    log_tail = a * t - np.log(a) - scipy.special.betaln(a, b)
    near = scipy.special.betainc(a, b, scipy.special.expit(t))
    return np.where(t < -30.0, np.exp(log_tail), near)

  t = np.asarray(t, np.float64)
  low, high = np.minimum(t, 0.0), np.minimum(-t, 0.0)
  return np.where(t <= 0.0, lower(low, a, b), 1.0 - lower(high, b, a))


@pytest.mark.parametrize("a, b", LAWS + ASYMMETRIC)
def test_logit_law(a, b):
  logits = beta.sample_logit(jax.random.key(1), a, b, (20_000,))
  assert logits.dtype == jnp.float32
  assert bool(jnp.all(jnp.isfinite(logits)))
  # Kolmogorov-Smirnov at a fixed key; 1 key in 1,000 would fail by chance.
  test = scipy.stats.kstest(
    np.asarray(logits, np.float64), lambda t: logit_cdf(t, a, b)
  )
  assert test.pvalue > 1e-3


def test_logit_cdf_of_this_test_is_scipys():
  lam = np.array([1e-20, 1e-3, 0.3, 0.5, 0.9])
  for a, b in LAWS + ASYMMETRIC:
    np.testing.assert_allclose(
      logit_cdf(scipy.special.logit(lam), a, b),
      scipy.stats.beta.cdf(lam, a, b),
      rtol=1e-9,
    )


@pytest.mark.parametrize("make_key", [jax.random.key, jax.random.PRNGKey])
def test_typed_and_legacy_keys_draw_the_same(make_key):
  drawn = beta.sample_logit(make_key(3), 0.5, 0.5, (4,))
  expected = beta.sample_logit(jax.random.key(3), 0.5, 0.5, (4,))
  np.testing.assert_array_equal(drawn, expected)


def test_traced_concentrations_draw_the_same():
  alphas = jnp.array([0.2, 1.0])
  key = jax.random.key(0)
  swept = jax.vmap(lambda a: beta.sample_logit(key, a, 2.0, (5,)))(alphas)
  for row, alpha in zip(swept, [0.2, 1.0], strict=True):
    expected = beta.sample_logit(key, alpha, 2.0, (5,))
    np.testing.assert_allclose(row, expected, rtol=2e-6)


@pytest.mark.parametrize("a, b", LAWS[1:] + ASYMMETRIC)
def test_quantiles_are_scipys(a, b):
  prob = np.array([0.01, 0.05, 0.2, 0.5, 0.77, 0.95, 0.99])
  logits = np.asarray(beta.quantile_logit(prob, a, b), np.float64)
  # float32 betainc is good to about 1e-5 of the smaller tail.
  np.testing.assert_allclose(logit_cdf(logits, a, b), prob, rtol=2e-5)
  low = scipy.special.betaincinv(a, b, prob)
  high = scipy.special.betaincinv(b, a, 1.0 - prob)
  expected = np.log(low) - np.log(high)
  np.testing.assert_allclose(logits, expected, rtol=2e-4, atol=2e-4)


def test_quantiles_of_the_uniform_by_hand():
  logits = beta.quantile_logit(jnp.array([0.25, 0.5, 0.75]), 1.0, 1.0)
  np.testing.assert_allclose(
    logits, [-np.log(3.0), 0.0, np.log(3.0)], atol=1e-5
  )


def test_extreme_quantiles_are_finite_ends():
  logits = beta.quantile_logit(jnp.array([0.0, 1.0]), 1.0, 1.0)
  assert bool(jnp.all(jnp.isfinite(logits)))
  np.testing.assert_array_equal(jax.nn.sigmoid(logits), [0.0, 1.0])


def test_quantiles_far_in_the_tails():
  # P(logit < -100) = exp(-1) / 2 for Beta(0.01, 0.01): not a rare event.
  a, prob = 0.01, np.array([0.05, 0.1, 0.2, 0.5, 0.8, 0.9])
  logits = np.asarray(beta.quantile_logit(prob, a, a), np.float64)
  np.testing.assert_allclose(logit_cdf(logits, a, a), prob, rtol=1e-4)


@pytest.mark.parametrize(
  "a, b", [(0.2, 0.2), (1.0, 1.0), (4.0, 4.0), (1.7, 0.8)]
)
def test_one_draw_in_each_bucket(a, b):
  n = 64
  logits = beta.stratified_logit(jax.random.key(5), a, b, (8, 8))
  assert logits.shape == (8, 8)
  level = logit_cdf(np.ravel(logits), a, b)
  # A thousandth of a bucket for the rounding of float32 betainc.
  place = np.sort(level) * n - np.arange(n)
  assert np.all((place > -1e-3) & (place < 1.0 + 1e-3))
  # Buckets are dealt in random order, not in increasing order.
  assert np.any(np.diff(level) < 0.0)


@pytest.mark.parametrize("a, b", [(0.05, 0.05), (1.0, 1.0), (1.7, 0.8)])
def test_stratified_draws_alone_have_the_law(a, b):
  keys = jax.random.split(jax.random.key(6), 1_500)
  draw = jax.jit(jax.vmap(lambda k: beta.stratified_logit(k, a, b, (4,))))
  first = np.asarray(draw(keys)[:, 1], np.float64)
  # KS over independent keys, at one position; p > 1e-3.
  test = scipy.stats.kstest(first, lambda t: logit_cdf(t, a, b))
  assert test.pvalue > 1e-3


def test_stratification_lowers_the_variance_of_the_mean():
  keys = jax.random.split(jax.random.key(7), 200)
  means = {}
  for name, draw in (
    ("plain", beta.sample_logit),
    ("strata", beta.stratified_logit),
  ):
    lam = jax.nn.sigmoid(
      jax.jit(jax.vmap(lambda k, d=draw: d(k, 1.0, 1.0, (16,))))(keys)
    )
    means[name] = np.var(np.mean(np.asarray(lam), axis=1))
  # Uniform: variance 1 / (12 n) against 1 / (12 n^3), a factor n^2 = 256.
  assert means["strata"] < means["plain"] / 100.0


def test_mean_by_hand():
  assert beta.mean(1.0, 3.0) == 0.25


@pytest.mark.parametrize("num", [1, 2, 5, 16])
@pytest.mark.parametrize("a, b", [(0.3, 0.7), (1.0, 1.0), (4.0, 0.2)])
def test_nodes_are_scipys(a, b, num):
  lam, weight = beta.nodes(a, b, num)
  with np.errstate(invalid="ignore"):  # scipy's own 0 / 0 where a + b = 1
    t, w = scipy.special.roots_jacobi(num, b - 1.0, a - 1.0)
  assert isinstance(lam, np.ndarray) and lam.dtype == np.float64
  np.testing.assert_allclose(lam, 0.5 * (1.0 + t), rtol=1e-10, atol=1e-13)
  np.testing.assert_allclose(weight, w / w.sum(), rtol=1e-8)


@pytest.mark.parametrize("a, b", LAWS + ASYMMETRIC + [(0.25, 0.75)])
def test_nodes_give_exact_moments(a, b):
  num = 6
  lam, weight = beta.nodes(a, b, num)
  assert np.all(np.diff(lam) > 0.0) and np.all((lam >= 0.0) & (lam <= 1.0))
  exact = 1.0
  for power in range(2 * num):
    np.testing.assert_allclose(weight @ lam**power, exact, rtol=1e-10)
    exact *= (a + power) / (a + b + power)


@pytest.mark.parametrize("a, b", [(0.3, 0.7), (0.01, 0.01), (4.0, 0.2)])
def test_traced_nodes(a, b):
  lam, weight = jax.jit(lambda a, b: beta.nodes(a, b, 8))(a, b)
  expected_lam, expected_weight = beta.nodes(a, b, 8)
  assert lam.dtype == weight.dtype == jnp.float32
  np.testing.assert_allclose(lam, expected_lam, atol=3e-6)
  np.testing.assert_allclose(weight, expected_weight, atol=2e-5)
  half = jax.vmap(lambda a: beta.nodes(a, b, 8)[0])(jnp.array([a, 1.0]))
  np.testing.assert_allclose(half[0], expected_lam, atol=3e-6)


BAD = [
  (0.0, ValueError, r"alpha must lie in \(0, inf\), got 0.0"),
  (-1.0, ValueError, r"alpha must lie in \(0, inf\), got -1.0"),
  (float("nan"), ValueError, "alpha must lie in .* got nan"),
  (float("inf"), ValueError, "alpha must lie in .* got inf"),
  (np.array([1.0, 2.0]), ValueError, "alpha must be a scalar.*vmap"),
  (jnp.array([1.0, 2.0]), ValueError, "alpha must be a scalar.*vmap"),
  (True, TypeError, "alpha must be a real number, got True"),
  (None, TypeError, "alpha must be a real number, got None"),
  ("1", TypeError, "alpha must be a real number, got '1'"),
]


@pytest.mark.parametrize("alpha, error, message", BAD)
def test_refuses_bad_concentrations(key, alpha, error, message):
  calls = [
    lambda: beta.sample_logit(key, alpha, 1.0, (2,)),
    lambda: beta.quantile_logit(jnp.array([0.5]), alpha, 1.0),
    lambda: beta.stratified_logit(key, alpha, 1.0, (2,)),
    lambda: beta.mean(alpha, 1.0),
    lambda: beta.nodes(alpha, 1.0),
  ]
  for call in calls:
    with pytest.raises(error, match=message):
      call()
    with pytest.raises(error, match=message):
      jax.jit(call)()


def test_refuses_a_bad_second_concentration(key):
  with pytest.raises(ValueError, match="beta must lie in"):
    beta.sample_logit(key, 1.0, 0.0)


def test_refuses_traced_vectors(key):
  with pytest.raises(ValueError, match="alpha must be a scalar"):
    jax.jit(lambda a: beta.sample_logit(key, a, 1.0))(jnp.ones(2))


def test_refuses_no_nodes():
  with pytest.raises(ValueError, match="num_nodes must be at least 1, got 0"):
    beta.nodes(1.0, 1.0, 0)


@pytest.mark.parametrize("stratified", [False, True])
def test_a_traced_alpha_of_0_is_the_limit(stratified):
  def draw(alpha):
    policy = policies.mixup(alpha, stratified=stratified)
    return policy.sample(jax.random.key(0), (64,))[0], policy.mean_shift

  lam, shift = jax.jit(jax.vmap(draw))(jnp.array([0.0, 0.5, -1.0]))
  lam = np.asarray(lam)
  assert set(lam[0]) == {0.0, 1.0}
  assert abs(lam[0].mean() - 0.5) < 0.25  # four standard errors
  assert not np.isnan(lam[1]).any() and np.isnan(lam[2]).all()
  np.testing.assert_allclose(shift[:2], [0.0, 0.25], atol=1e-6)


def test_alpha_of_0_names_the_way_out():
  with pytest.raises(ValueError, match=r"got 0.0. For no mixing .*erm\(\)"):
    policies.mixup(0.0)
