"""Lemmas 1 to 5 and Theorem 1 of "MixUp as Directional Adversarial Training".

Expected losses are sums over many nodes of lam's own law, so that neither side
of an equivalence is computed by way of the other.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

import jaxmix
from jaxmix import policies, quadrature, theory
from tests.theory.networks import data, network

pytestmark = pytest.mark.usefixtures("float64")


def beta_density(a, b):
  law = stats.beta(a, b)
  return lambda lam: jnp.asarray(law.pdf(np.asarray(lam)))


def integral(density):
  return integrate.quad(lambda lam: float(density(np.asarray(lam))), 0, 1)[0]


def softplus(z):
  return np.logaddexp(0.0, z)


def test_pair_losses_by_hand():
  x, y = jnp.array([[0.0], [4.0]]), jnp.array([0, 1])
  found = theory.pair_losses(
    lambda x: x[:, 0], x, y, [0, 1], [1, 0], [0.75, 0.75], [0.25, 1.0]
  )
  # f = 1 with the label 3/4, f = 3 with the label 1.
  by_hand = [softplus(1.0) - 0.75, softplus(3.0) - 3.0]
  np.testing.assert_allclose(found, by_hand, rtol=1e-6)


@pytest.mark.parametrize("classes", [None, 3])
def test_lemma_1(rng, classes):
  """For any pair, lam and gamma, the swapped pair's lam being 1 - lam."""
  x, _ = data(rng)
  y = jnp.arange(len(x)) % (classes or 2)
  of = functools.partial(
    theory.pair_losses, network(rng, jnp.tanh, classes=classes), x, y
  )
  first, second = rng.integers(0, len(x), (2, 50))
  lam, weight = rng.uniform(size=(2, 50))
  one = np.ones(50)
  untied = of(first, second, lam, weight)
  kept, swapped = (
    of(first, second, lam, one),
    of(second, first, 1.0 - lam, one),
  )
  assert np.ptp(kept - swapped) > 0.1
  np.testing.assert_allclose(
    untied, weight * kept + (1.0 - weight) * swapped, rtol=1e-12
  )
  # With the swapped pair's lam left as it is, which the misprint may be read
  # as, it is false.
  wrong = of(second, first, lam, one)
  assert np.max(np.abs(weight * kept + (1 - weight) * wrong - untied)) > 0.1


X, HIDDEN, HEAD = (
  np.random.default_rng(3).normal(size=size) for size in ((5, 3), (3, 5), 5)
)
Y = np.array([0, 1, 1, 0, 1])
PROBLEM = (lambda x: jnp.tanh(x @ HIDDEN) @ HEAD), X, Y
PAIRS = np.indices((5, 5)).reshape(2, -1)


@pytest.fixture(scope="module")
def losses_of_pairs():
  @jax.jit
  def losses(lam, weight):
    full = lambda value: jnp.full(PAIRS.shape[1], value)
    return jax.lax.map(
      lambda drawn: theory.pair_losses(*PROBLEM, *PAIRS, *map(full, drawn)),
      (lam, weight),
      batch_size=50,
    )

  def run(lam, weight):
    """l_UMix of all 25 pairs at each lam, [m, 25]."""
    with jax.enable_x64(True):
      return np.asarray(losses(np.asarray(lam), np.asarray(weight)))

  return run


@pytest.fixture(scope="module")
def expected(losses_of_pairs):
  """E[l] of every pair, [5, 5], the reverse pair's at its transpose."""
  return lambda lam, weight, prob: (
    prob @ losses_of_pairs(lam, weight)
  ).reshape(5, 5)


@pytest.mark.parametrize("a, b", [(2.0, 1.0), (2.2, 0.9), (0.6, 1.7)])
def test_lemma_4(expected, a, b):
  """U(p) has p's expected loss on a pair and its reverse, not on one."""
  density = beta_density(a, b)
  lam, prob = quadrature.spread(a, b, 400)
  both = np.concatenate([lam, 1.0 - lam])
  weight = theory.untied_weight(density)(both)
  untied = expected(both, weight, 0.5 * np.concatenate([prob, prob]))
  dat = expected(lam, np.ones_like(lam), prob)
  np.testing.assert_allclose(untied + untied.T, dat + dat.T, rtol=1e-9)
  assert np.max(np.abs(untied - dat)) > 0.03
  # The law drawn is that of eq. (5).
  at = np.linspace(0.05, 0.95, 7)
  np.testing.assert_allclose(
    theory.untied_density(density)(at), 0.5 * (density(at) + density(1 - at))
  )


STEEP = lambda lam: lam**2 * (3.0 - 2.0 * lam)
POWER = lambda lam: lam**3  # gamma(lam) + gamma(1 - lam) is not 1
TIED = lambda lam: lam
SCHEMES = [(3.0, 1.0, TIED), (1.5, 2.5, POWER), (2.0, 2.0, STEEP)]


@pytest.mark.parametrize("a, b, gamma", SCHEMES)
def test_lemma_5(expected, a, b, gamma):
  density = theory.dat_density(beta_density(a, b), gamma)
  # Gauss-Legendre under the density itself: that it sums to one is a check.
  nodes, share = np.polynomial.legendre.leggauss(200)
  lam, share = 0.5 * (nodes + 1.0), 0.5 * share
  prob = share * np.asarray(density(lam))
  np.testing.assert_allclose(prob.sum(), 1.0, rtol=1e-6)
  dat = expected(lam, np.ones_like(lam), prob)
  lam, prob = quadrature.spread(a, b, 400)
  untied = expected(lam, gamma(lam), prob)
  np.testing.assert_allclose(untied + untied.T, dat + dat.T, rtol=1e-5)
  assert np.max(np.abs(untied - dat)) > 0.03


@pytest.mark.parametrize("a, b, gamma", SCHEMES)
def test_only_the_complement_at_the_other_end_integrates_to_one(a, b, gamma):
  p = beta_density(a, b)
  assert integral(theory.dat_density(p, gamma)) == pytest.approx(1.0, abs=1e-6)
  other = lambda lam: gamma(lam) * p(lam) + (1.0 - gamma(lam)) * p(1.0 - lam)
  mean = lambda h: integral(lambda lam: h(lam) * p(lam))
  expected = 1.0 + mean(gamma) - mean(lambda lam: gamma(1.0 - lam))
  assert integral(other) == pytest.approx(expected, abs=1e-6)
  if gamma is TIED:
    assert expected == pytest.approx(2.0 * a / (a + b)) == 1.5
  # Without any complement it is 2 E[gamma].
  plain = lambda lam: gamma(lam) * p(lam) + gamma(1.0 - lam) * p(1.0 - lam)
  assert integral(plain) == pytest.approx(2.0 * mean(gamma), abs=1e-6)


@pytest.mark.parametrize("a, b", [(2.0, 1.0), (0.7, 1.6)])
def test_du_undoes_u(a, b):
  p = beta_density(a, b)
  back = theory.dat_density(theory.untied_density(p), theory.untied_weight(p))
  at = np.linspace(0.02, 0.98, 9)
  np.testing.assert_allclose(back(at), p(at), rtol=1e-9)
  # U after Du does not: mixup(3, 1) comes back with a law that is symmetric.
  du = theory.dat_density(p, TIED)
  assert np.max(np.abs(theory.untied_density(du)(at) - p(at))) > 0.3


def test_lam_that_is_never_drawn_has_some_weight():
  halves = lambda lam: jnp.where(jnp.abs(lam - 0.5) < 0.25, 2.0, 0.0)
  gamma = theory.untied_weight(halves)
  np.testing.assert_array_equal(gamma(jnp.array([0.1, 0.5, 0.9])), 0.5)
  # Infinite at one end alone, as Beta(2, 1/2) is, and at both.
  for law, at_ends in (((2.0, 0.5), [0.0, 1.0]), ((0.5, 0.5), [0.5, 0.5])):
    gamma = theory.untied_weight(beta_density(*law))
    np.testing.assert_array_equal(gamma(jnp.array([0.0, 1.0])), at_ends)


@pytest.mark.parametrize("a", [0.3, 1.0, 2.5])
def test_symmetric_laws_suffice_for_mixup(a):
  """mixup(a + 1, a) is mixup(a, a), and any law its symmetric part."""
  at = np.linspace(0.02, 0.98, 9)
  of = lambda p: theory.dat_density(p, TIED)(at)
  lopsided, tied = beta_density(a + 1.0, a), beta_density(a, a)
  np.testing.assert_allclose(of(lopsided), of(tied), rtol=1e-9)
  symmetric = theory.untied_density(lopsided)
  np.testing.assert_allclose(of(symmetric), of(lopsided), rtol=1e-9)
  lopsided, tied = (
    theory.shift_moments(policies.mixup(*law), 4)
    for law in ((a + 1.0, a), (a, a))
  )
  np.testing.assert_allclose(lopsided, tied, rtol=1e-9)


def test_beta_laws_of_one_parameter_do_not_suffice():
  """mixup(3, 1) and the one mixup(a) of its first moment differ in the third.

  Section 6.2 concludes from the symmetry that Beta(a, a) may stand for all.
  """
  given = theory.shift_moments(policies.mixup(3.0, 1.0), 3)
  same = theory.shift_moments(policies.mixup(0.75), 3)
  np.testing.assert_allclose(given[:3], same[:3], rtol=1e-12)
  # E[q] - 2 E[q^2], q = lam (1 - lam): 0.15 - 2 / 35 against 0.15 - 7 / 120.
  np.testing.assert_allclose(given[3], 0.15 - 2.0 / 35.0, rtol=1e-12)
  np.testing.assert_allclose(same[3], 0.15 - 7.0 / 120.0, rtol=1e-12)


def test_lemmas_2_and_3(rng):
  """McDiarmid's bound holds, and is met where a loss has two values."""
  n, prob, draws = 40, 0.1, 4000
  first, second = rng.integers(0, 5, (2, n))
  lam, node_prob = quadrature.spread(1.0, 1.0, 200)
  for gamma in (jnp.ones_like, POWER):
    of = jax.jit(
      jax.vmap(functools.partial(theory.pair_losses, *PROBLEM, first, second))
    )
    tile = np.broadcast_to(lam[:, None], (len(lam), n))
    mean = np.mean(node_prob @ np.asarray(of(tile, gamma(tile))))
    drawn = rng.uniform(size=(draws, n))
    sampled = np.mean(of(drawn, gamma(drawn)), axis=1)
    size = theory.loss_range(*PROBLEM, weight_fn=gamma)
    eps = theory.concentration(size, n, prob=prob)
    away = np.abs(np.asarray(sampled) - mean) / float(eps)
    beyond = np.mean(away > 1.0)
    assert beyond <= prob + 4.0 * np.sqrt(prob / draws)
    # And the bound is not idle: a sixth of it is exceeded often.
    assert np.mean(away > 1.0 / 6.0) > 0.05
  # The uniform's bound, at a coin's: Pr(|mean| >= 1) = 2^(1 - n) <= prob.
  for n in (2, 5):
    eps = theory.concentration(2.0, n, prob=2.0 ** (1 - n))
    assert eps >= 1.0


def test_loss_range_by_hand():
  x, y = jnp.array([[0.0], [2.0]]), jnp.array([0, 1])
  of = functools.partial(theory.loss_range, lambda x: x[:, 0], x, y)
  # Label 0 from 0 to 2, softplus(2) - log 2; label 1 from 2 to 0 is
  # log 2 - softplus(-2).
  np.testing.assert_allclose(of(), softplus(2.0) - np.log(2.0), rtol=1e-12)
  np.testing.assert_allclose(of(evaluations_at_once=1), of(), rtol=1e-12)
  # MixUp's label moves along: every grid point by hand.
  lam = np.linspace(0.0, 1.0, 65)
  # From 0 (label 0) to 2 (label 1), and back.
  line = softplus(2.0 - 2.0 * lam) - (1.0 - lam) * (2.0 - 2.0 * lam)
  np.testing.assert_allclose(of(weight_fn=TIED), np.ptp(line), rtol=1e-12)


def test_theorem_1(losses_of_pairs, key):
  """L_UMix - L_DAT is a mean of n terms: its variance is theirs over n."""
  a, b, gamma = 1.0, 2.0, POWER
  policy = policies.weighted(a, b, gamma)
  n, draws = 64, 400
  logit_fn, x, y = PROBLEM
  one = lambda key: theory.dat_gap(
    key, logit_fn, x, y, policy=policy, num_pairs=n
  )
  gap = jax.jit(jax.vmap(one))(jax.random.split(key, draws))
  difference = np.asarray(gap.untied - gap.dat)
  error = np.std(difference) / np.sqrt(draws)
  assert 0.0 < abs(np.mean(difference)) < 4.0 * error

  lam, prob = quadrature.spread(a, b, 400)
  untied = losses_of_pairs(lam, gamma(lam))
  nodes, share = np.polynomial.legendre.leggauss(200)
  lam = 0.5 * (nodes + 1.0)
  density = theory.dat_density(beta_density(a, b), gamma)
  share = 0.5 * share * np.asarray(density(lam))
  dat = losses_of_pairs(lam, np.ones_like(lam))
  mean = lambda prob, values: prob @ values
  square = mean(prob, untied**2) + mean(share, dat**2)
  both = mean(prob, untied) * mean(share, dat)
  variance = np.mean(square - 2.0 * both)
  # 400 squares: 3.5 % a root mean square.
  found = np.sqrt(n * np.mean(difference**2))
  assert found == pytest.approx(np.sqrt(variance), rel=0.15)


def test_another_law_is_no_equivalent():
  """dat(3, 1) is not mixup(3, 1), and its own expected loss is another."""
  loss = lambda policy: float(theory.mixup_loss(*PROBLEM, policy=policy))
  given = loss(policies.mixup(3.0, 1.0))
  equivalent = loss(jaxmix.as_dat(policies.mixup(3.0, 1.0)))
  assert equivalent == pytest.approx(given, abs=1e-9)
  assert abs(loss(policies.dat(3.0, 1.0)) - given) > 0.005


def test_errors(rng, key):
  x, y = data(rng)
  logit_fn = network(rng, jnp.tanh)
  index, lam = jnp.zeros(4, int), jnp.ones(4)
  of = functools.partial(theory.pair_losses, logit_fn, x, y)
  with pytest.raises(ValueError, match=r"first must be \[m\], got shape \(\)"):
    of(0, 1, 0.5, 0.5)
  with pytest.raises(ValueError, match=r"weight must be \[m\] = \(4,\)"):
    of(index, index, lam, jnp.ones(3))
  with pytest.raises(ValueError, match="num_pairs must be at least 1, got 0"):
    theory.dat_gap(key, logit_fn, x, y, policy=policies.mixup(1.0), num_pairs=0)
  with pytest.raises(ValueError, match="num_points must be at least 2, got 1"):
    theory.loss_range(logit_fn, x, y, num_points=1)
  for name, change in (
    ("loss_range", {"loss_range": -1.0}),
    ("num_pairs", {"num_pairs": 0}),
    ("prob", {"prob": 0.0}),
  ):
    given = {"loss_range": 1.0, "num_pairs": 10, "prob": 0.1} | change
    prob = given.pop("prob")
    with pytest.raises(ValueError, match=f"{name} must lie in"):
      theory.concentration(*given.values(), prob=prob)
