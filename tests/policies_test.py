"""Mixing policies: weights, sampled laws, the DAT equivalence, mean_shift."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats

from jaxmix import policies, theory

BETA = scipy.stats.beta
LAWS = [(0.01, 0.01), (0.05, 0.05), (0.2, 0.2), (1.0, 1.0), (4.0, 4.0)]
ASYMMETRIC = [(1.7, 0.8), (0.3, 2.0)]


def logit_cdf(t, a, b):
  """P(logit(lam) <= t), lam ~ Beta(a, b), in float64, exact in both tails."""

  def lower(t, a, b):  # t <= 0
    log_tail = a * t - np.log(a) - scipy.special.betaln(a, b)
    near = scipy.special.betainc(a, b, scipy.special.expit(t))
    return np.where(t < -30.0, np.exp(log_tail), near)

  t = np.asarray(t, np.float64)
  low, high = np.minimum(t, 0.0), np.minimum(-t, 0.0)
  return np.where(t <= 0.0, lower(low, a, b), 1.0 - lower(high, b, a))


def check_frequency(event, probability):
  """Checks a frequency within 4.5 standard errors and two counts.

  By chance 1 comparison in 150,000 fails; the counts are for rare events.
  """
  event = np.asarray(event)
  error = np.sqrt(probability * (1.0 - probability) / event.size)
  assert abs(event.mean() - probability) <= 4.5 * error + 2.0 / event.size


def check_lam_law(lam, cdf, lowest=1e-30):
  """Compares P(lam < t) with the law's, on both tails, where lam may round.

  float32 resolves lam down to 1e-38, but 1 - lam only to 6e-8.
  """
  levels = [1e-30, 1e-12, 1e-4, 0.02, 0.3, 0.5, 0.8, 0.98, 1.0 - 1e-5]
  for t in (t for t in levels if t >= lowest):
    check_frequency(lam < t, cdf(scipy.special.logit(t)))


def sample(policy, n=20_000, seed=0):
  lam, weight = policy.sample(jax.random.key(seed), (n,))
  assert lam.dtype == weight.dtype == jnp.float32
  assert lam.shape == weight.shape == (n,)
  for array in (lam, weight):
    assert bool(jnp.all((array >= 0.0) & (array <= 1.0)))
  return np.asarray(lam, np.float64), np.asarray(weight, np.float64)


@pytest.mark.parametrize("a, b", LAWS + ASYMMETRIC)
def test_mixup_law(a, b):
  lam, weight = sample(policies.mixup(a, b))
  check_lam_law(lam, lambda t: logit_cdf(t, a, b))
  np.testing.assert_array_equal(lam, weight)


def test_mixup_beta_defaults_to_alpha():
  for sampled in zip(
    sample(policies.mixup(0.7)), sample(policies.mixup(0.7, 0.7)), strict=True
  ):
    np.testing.assert_array_equal(*sampled)


@pytest.mark.parametrize("a, b", LAWS + ASYMMETRIC)
def test_dat_law(a, b):
  lam, weight = sample(policies.dat(a, b))
  check_lam_law(lam, lambda t: logit_cdf(t, a, b))
  np.testing.assert_array_equal(weight, 1.0)


@pytest.mark.parametrize("a, b", LAWS + ASYMMETRIC)
def test_untied_law(a, b):
  lam, _ = sample(policies.untied(a, b))
  # Density (p(lam) + p(1 - lam)) / 2 ("MixUp as DAT", eq. (5)).
  check_lam_law(lam, lambda t: 0.5 * (logit_cdf(t, a, b) + logit_cdf(t, b, a)))


@pytest.mark.parametrize("a, b", LAWS + ASYMMETRIC + [(0.02, 0.01)])
def test_untied_weight_is_the_density_ratio(a, b):
  lam, weight = sample(policies.untied(a, b))
  inner = (lam > 1e-6) & (lam < 1.0 - 1e-4)
  lam, weight = lam[inner], weight[inner]
  p, mirrored = BETA.pdf(lam, a, b), BETA.pdf(1.0 - lam, a, b)
  # lam near 1 keeps few digits of 1 - lam: 6e-8 / 1e-4, relatively.
  np.testing.assert_allclose(weight, p / (p + mirrored), rtol=2e-3, atol=1e-6)
  centre = np.abs(lam - 0.5) < 0.4
  np.testing.assert_allclose(
    weight[centre], (p / (p + mirrored))[centre], rtol=2e-5, atol=1e-6
  )


def test_untied_weight_by_hand():
  # p(lam) = 2 lam for Beta(2, 1): weight = lam. p = 3 lam^2 for Beta(3, 1):
  # weight = lam^2 / (lam^2 + (1 - lam)^2).
  lam, weight = sample(policies.untied(2.0, 1.0), 100)
  np.testing.assert_allclose(weight, lam, atol=1e-6)
  lam, weight = sample(policies.untied(3.0, 1.0), 100)
  np.testing.assert_allclose(
    weight, lam**2 / (lam**2 + (1.0 - lam) ** 2), atol=1e-6
  )


@pytest.mark.parametrize("stratified", [False, True])
@pytest.mark.parametrize("a, b", [(0.02, 0.01), (0.05, 0.1), (1.7, 0.8)])
def test_untied_weight_law_where_lam_rounds(a, b, stratified):
  n = 2_000 if stratified else 20_000
  policy = policies.untied(a, b, stratified=stratified)
  _, weight = sample(policy, n)
  # weight = sigmoid((a - b) t) keeps what lam rounds away.
  for w in [0.1, 0.3, 0.5, 0.7, 0.9]:
    t = scipy.special.logit(w) / (a - b)
    below = 0.5 * (logit_cdf(t, a, b) + logit_cdf(t, b, a))
    check_frequency(weight < w, below if a > b else 1.0 - below)


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0, 4.0])
def test_untied_contains_mixup(alpha):
  lam, weight = sample(policies.untied(alpha + 1.0, alpha))
  # The joint law: lam ~ Beta(alpha, alpha), and weight is lam.
  check_lam_law(lam, lambda t: logit_cdf(t, alpha, alpha))
  np.testing.assert_allclose(weight, lam, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("a, b", LAWS + ASYMMETRIC)
def test_as_dat_of_mixup_has_the_law_of_zhang_et_al(a, b):
  lam, weight = sample(policies.as_dat(policies.mixup(a, b)))
  np.testing.assert_array_equal(weight, 1.0)
  # D~ = a/(a+b) Beta(a+1, b) + b/(a+b) Beta(b+1, a).
  share = a / (a + b)
  check_lam_law(
    lam,
    lambda t: (
      share * logit_cdf(t, a + 1.0, b)
      + (1.0 - share) * logit_cdf(t, b + 1.0, a)
    ),
    lowest=1e-4,
  )


@pytest.mark.parametrize("a, b", [(0.2, 0.2), (1.7, 0.8), (0.3, 2.0)])
def test_as_dat_of_untied_is_dat(a, b):
  lam, weight = sample(policies.as_dat(policies.untied(a, b)))
  np.testing.assert_array_equal(weight, 1.0)
  # The swap is to 1 - lam in float32: below 6e-8 it is 0.
  check_lam_law(lam, lambda t: logit_cdf(t, a, b), lowest=1e-4)


def test_as_dat_of_dat_is_itself():
  lam, _ = sample(policies.as_dat(policies.dat(1.7, 0.8)))
  check_lam_law(lam, lambda t: logit_cdf(t, 1.7, 0.8))


def test_weighted_applies_the_function():
  lam, weight = sample(policies.weighted(1.7, 0.8, jnp.square))
  check_lam_law(lam, lambda t: logit_cdf(t, 1.7, 0.8))
  np.testing.assert_allclose(weight, lam**2, rtol=1e-6)


def test_erm_mixes_nothing():
  policy = policies.erm()
  lam, weight = sample(policy, 5)
  np.testing.assert_array_equal(lam, 1.0)
  np.testing.assert_array_equal(weight, 1.0)
  assert policy.mean_shift == 0.0
  assert policies.erm(0.25).mean_shift == 0.25


def test_mean_shift_by_hand():
  # alpha / (2 alpha + 1), the listing's 1 - (alpha + 1) / (2 alpha + 1).
  assert policies.mixup(1.0).mean_shift == pytest.approx(1.0 / 3.0)
  assert policies.mixup(0.2).mean_shift == pytest.approx(0.2 / 1.4)
  # D~ of (1, 3): 1/4 Beta(2, 3) + 3/4 Beta(4, 1), mean 1/10 + 6/10.
  assert policies.mixup(1.0, 3.0).mean_shift == pytest.approx(0.3)
  assert policies.untied(3.0, 1.0).mean_shift == pytest.approx(0.25)
  assert policies.dat(3.0, 1.0).mean_shift == pytest.approx(0.25)


GAMMAS = [
  (jnp.square, lambda t: t * t, 1e-6),
  (jnp.ones_like, lambda t: 1.0, 1e-6),
  (lambda t: t, lambda t: t, 1e-6),
  # Smooth, not a polynomial; then a jump, where quadrature is approximate.
  (lambda t: jax.nn.sigmoid(6.0 * t - 3.0), None, 1e-5),
  (lambda t: (t > 0.5).astype(jnp.float32), lambda t: float(t > 0.5), 2e-3),
]


@pytest.mark.parametrize("a, b", [(1.0, 1.0), (1.7, 0.8), (0.4, 2.0)])
@pytest.mark.parametrize("gamma", GAMMAS)
def test_weighted_mean_shift_by_integration(a, b, gamma):
  weight_fn, gamma_fn, tolerance = gamma
  gamma_fn = gamma_fn or (lambda t: scipy.special.expit(6.0 * t - 3.0))

  def shift(t):
    kept = gamma_fn(t)
    return (kept * (1.0 - t) + (1.0 - kept) * t) * BETA.pdf(t, a, b)

  expected = sum(
    scipy.integrate.quad(shift, *ends)[0] for ends in [(0, 0.5), (0.5, 1)]
  )
  policy = policies.weighted(a, b, weight_fn)
  np.testing.assert_allclose(policy.mean_shift, expected, atol=tolerance)


def power_moment(a, b, p, j):
  """E[gamma (1 - lam)^j + (1 - gamma) lam^j] for gamma = lam^p, by Betas."""
  beta = lambda x, y: np.exp(
    scipy.special.betaln(x, y) - scipy.special.betaln(a, b)
  )
  return beta(a + p, b + j) + beta(a + j, b) - beta(a + p + j, b)


@pytest.mark.parametrize(
  "a, b", [(1e-3, 1e-3), (0.05, 0.05), (0.05, 2.0), (5.0, 0.01), (1e3, 1e3)]
)
@pytest.mark.parametrize("p", [0.5, 0.1, 1.5])
def test_weighted_moments_in_closed_form(a, b, p):
  policy = policies.weighted(a, b, lambda lam: lam**p)
  by_hand = [power_moment(a, b, p, j) for j in range(6)]
  moments = theory.shift_moments(policy, 5)
  np.testing.assert_allclose(moments, by_hand, atol=5e-6)
  np.testing.assert_allclose(policy.mean_shift, by_hand[1], atol=5e-6)


def test_weighted_quadrature_of_a_loss():
  """Few nodes do, as gamma's share is in their weights."""
  a, b = 0.05, 0.3
  policy = policies.weighted(a, b, lambda lam: jnp.sqrt(1.0 - lam))
  lam, weight, prob = policy.quadrature(12)
  assert lam.shape == (12,)
  loss = lambda lam: np.log1p(np.exp(2.0 * lam - 1.0))
  whole = lambda t: (
    loss(t) * np.sqrt(1.0 - t) + loss(1 - t) * (1.0 - np.sqrt(1.0 - t))
  )
  # In logit(lam), where the integrand has no poles.
  density = lambda z: BETA.pdf(t := scipy.special.expit(z), a, b) * t * (1 - t)
  expected = scipy.integrate.quad(
    lambda z: whole(scipy.special.expit(z)) * density(z), -700, 30, limit=500
  )[0]
  np.testing.assert_array_equal(weight, 1.0)
  np.testing.assert_allclose(prob @ loss(lam), expected, atol=1e-4)


def test_weighted_under_a_trace_and_its_gradient():
  shift = lambda a: policies.weighted(a, 1.0, jnp.sqrt).mean_shift
  np.testing.assert_allclose(
    jax.jit(shift)(0.05), power_moment(0.05, 1.0, 0.5, 1), atol=1e-5
  )
  step = 1e-4
  ends = (power_moment(0.5 + s, 1.0, 0.5, 1) for s in (step, -step))
  slope = (next(ends) - next(ends)) / (2.0 * step)
  np.testing.assert_allclose(jax.grad(shift)(0.5), slope, rtol=1e-3)
  exponent = jax.grad(
    lambda p: policies.weighted(0.5, 1.0, lambda lam: lam**p).mean_shift
  )
  ends = (power_moment(0.5, 1.0, 0.5 + s, 1) for s in (step, -step))
  slope = (next(ends) - next(ends)) / (2.0 * step)
  np.testing.assert_allclose(exponent(0.5), slope, rtol=1e-3)


def test_weighted_with_more_nodes_is_nearer_at_a_jump():
  exact = 0.7 * 0.35 + 0.3 * 0.15
  step = lambda lam: (lam > 0.3).astype(jnp.float32)
  for num_nodes in (64, 512, 4096):
    policy = policies.weighted(1.0, 1.0, step, num_nodes=num_nodes)
    assert abs(policy.mean_shift - exact) < 1.0 / num_nodes
  with pytest.raises(ValueError, match="num_nodes must be at least 64, got 32"):
    policies.weighted(1.0, 1.0, step, num_nodes=32)


@pytest.mark.parametrize(
  "policy",
  [
    policies.mixup(0.2),
    policies.mixup(1.7, 0.3),
    policies.untied(1.7, 0.8),
    policies.untied(0.02, 0.01),
    policies.dat(0.8, 1.7),
    policies.weighted(0.8, 1.7, jnp.square),
    policies.mixup(0.4, stratified=True),
    policies.as_dat(policies.mixup(0.4)),
  ],
)
def test_mean_shift_is_the_mean_under_the_dat_equivalent(policy):
  n = 2_000
  lam, _ = sample(policies.as_dat(policy), n, seed=4)
  # Five standard errors of the sampled mean.
  error = np.std(1.0 - lam) / np.sqrt(n)
  assert abs(np.mean(1.0 - lam) - float(policy.mean_shift)) < 5.0 * error


def test_dat_equivalence_of_expected_losses():
  """Lemma 5: equal expected losses of a symmetric pair, any policy."""
  f = np.random.default_rng(0).normal(size=(2, 3))  # rows: two inputs, linear

  def loss(lam, y):  # -y . log softmax(mixture), target-linear
    z = lam[:, None] * f[0] + (1.0 - lam[:, None]) * f[1]
    return -np.sum(y * scipy.special.log_softmax(z, axis=1), axis=1)

  one, two = np.eye(3)[:2]
  for policy in (policies.mixup(0.6, 1.5), policies.untied(1.7, 0.8)):
    lam, weight = sample(policy, 20_000)
    w = weight[:, None]
    mixed = loss(lam, w * one + (1 - w) * two)
    mixed += loss(1 - lam, w * two + (1 - w) * one)  # the pair the other way
    lam, _ = sample(policies.as_dat(policy), 20_000, seed=1)
    whole = loss(lam, one) + loss(1 - lam, two)
    error = np.sqrt((mixed.var() + whole.var()) / 20_000)
    assert abs(mixed.mean() - whole.mean()) < 5.0 * error


CONSTRUCTORS = {
  "mixup": lambda **kw: policies.mixup(0.5, **kw),
  "untied": lambda **kw: policies.untied(1.5, 0.5, **kw),
  "dat": lambda **kw: policies.dat(1.5, 0.5, **kw),
  "weighted": lambda **kw: policies.weighted(1.5, 0.5, jnp.square, **kw),
}


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_per_batch_shares_one_draw(name):
  policy = CONSTRUCTORS[name](per_example=False)
  lam, weight = sample(policy, 6)
  np.testing.assert_array_equal(lam, lam[0])
  np.testing.assert_array_equal(weight, weight[0])
  again, _ = sample(policy, 6, seed=1)
  assert again[0] != lam[0]
  each, _ = sample(CONSTRUCTORS[name](), 6)
  assert len(set(each)) == 6


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_a_shared_policy_draws_by_its_own_key(name):
  """One lam and weight for all callers; of the law that it had."""
  one = CONSTRUCTORS[name](per_example=False)
  policy = policies.shared(jax.random.key(0), one)
  draws = [np.ravel(sample(policy, 3, seed=seed)) for seed in (1, 2)]
  np.testing.assert_array_equal(*draws)
  np.testing.assert_array_equal(draws[0], np.ravel(sample(one, 3, seed=0)))
  assert policy.mean_shift == one.mean_shift
  assert policy.quadrature is one.quadrature
  # Its DAT equivalent still swaps each example by itself.
  swapped = [
    sample(policies.as_dat(policies.shared(jax.random.key(5), one)), 64, seed)[
      0
    ]
    for seed in (1, 2)
  ]
  assert len(set(swapped[0].tolist())) <= 2
  if name != "dat":
    assert not np.array_equal(*swapped)


@pytest.mark.parametrize("name", CONSTRUCTORS)
@pytest.mark.parametrize("value", ["global", 1, None])
def test_per_example_is_a_bool(name, value):
  with pytest.raises(ValueError, match="per_example must be True or .*shared"):
    CONSTRUCTORS[name](per_example=value)


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_stratified_policies_have_one_draw_a_bucket(name):
  lam, _ = sample(CONSTRUCTORS[name](stratified=True), 32)
  if name == "untied":
    return  # its flips come after the strata
  b = 0.5
  a = 0.5 if name == "mixup" else 1.5
  level = logit_cdf(scipy.special.logit(lam), a, b)
  # A thousandth of a bucket for the rounding of float32 betainc.
  place = np.sort(level) * 32 - np.arange(32)
  assert np.all((place > -1e-3) & (place < 1.0 + 1e-3))


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_stratified_needs_per_example(name):
  with pytest.raises(ValueError, match="stratified=True needs per_example"):
    CONSTRUCTORS[name](stratified=True, per_example=False)


@pytest.mark.parametrize(
  "make",
  [
    policies.mixup,
    lambda a: policies.untied(a + 1.0, a),
    lambda a: policies.dat(a, 2.0),
    lambda a: policies.weighted(a, 2.0, jnp.square),
    lambda a: policies.mixup(a, stratified=True),
  ],
  ids=["mixup", "untied", "dat", "weighted", "stratified"],
)
def test_concentrations_can_be_swept(make):
  key = jax.random.key(0)

  def drawn(alpha):
    policy = make(alpha)
    return (*policy.sample(key, (3,)), policy.mean_shift)

  swept = jax.jit(jax.vmap(drawn))(np.array([0.2, 1.0], np.float32))
  for i, alpha in enumerate([0.2, 1.0]):
    for got, want in zip(swept, drawn(alpha), strict=True):
      np.testing.assert_allclose(got[i], want, rtol=1e-4, atol=1e-6)


def test_traced_mean_shift_has_a_gradient():
  # d/da a / (2a + 1) = 1 / (2a + 1)^2.
  slope = jax.grad(lambda a: policies.mixup(a).mean_shift)(1.0)
  np.testing.assert_allclose(slope, 1.0 / 9.0, rtol=1e-6)


@pytest.mark.parametrize("alpha", [0.0, -0.5])
@pytest.mark.parametrize(
  "make",
  [
    policies.mixup,
    lambda a: policies.untied(a, 1.0),
    lambda a: policies.dat(a, 1.0),
    lambda a: policies.weighted(a, 1.0, jnp.square),
  ],
)
def test_refuses_bad_concentrations(make, alpha):
  with pytest.raises(ValueError, match=r"alpha must lie in \(0, inf\)"):
    make(alpha)
  with pytest.raises(ValueError, match=r"alpha must lie in \(0, inf\)"):
    jax.jit(lambda: make(alpha).mean_shift)()


@pytest.mark.parametrize(
  "make",
  [
    lambda b: policies.mixup(1.0, b),
    lambda b: policies.untied(1.0, b),
    lambda b: policies.dat(1.0, b),
    lambda b: policies.weighted(1.0, b, jnp.square),
  ],
)
def test_refuses_a_bad_second_concentration(make):
  with pytest.raises(ValueError, match=r"beta must lie in \(0, inf\), got 0.0"):
    make(0.0)


def test_refuses_weight_fn_of_another_shape():
  with pytest.raises(ValueError, match=r"weight_fn must map.*\(512,\) -> \(\)"):
    policies.weighted(1.0, 1.0, jnp.mean)


def test_erm_refuses_a_negative_shift():
  with pytest.raises(ValueError, match=r"mean_shift must lie in \[0, inf\)"):
    policies.erm(-0.1)
  with pytest.raises(TypeError, match="mean_shift must be a real number"):
    policies.erm(None)
