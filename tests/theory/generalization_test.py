"""Gaps from complexities: Lemma A.1, Kimura's Lemmas 1 and 2 and Theorem 1."""

import itertools

import numpy as np
import pytest
from scipy import stats

from jaxmix import theory

SIGNS = np.array(list(itertools.product([-1.0, 1.0], repeat=8)))


def rademacher(values):
  """Exact empirical complexity of a finite class, values [members, 8]."""
  return np.max(SIGNS @ values.T / 8, axis=1).mean()


def test_by_hand():
  found = theory.generalization_bound(
    0.1, 50, prob=0.02, lipschitz=3.0, size=2.0
  )
  np.testing.assert_allclose(
    found, 0.6 + 2.0 * np.sqrt(np.log(50.0) / 100.0), rtol=1e-6
  )
  found = theory.generalization_bound(0.1, 50, prob=0.02, empirical=True)
  np.testing.assert_allclose(
    found, 0.2 + 3.0 * np.sqrt(np.log(100.0) / 100.0), rtol=1e-6
  )


@pytest.mark.parametrize("empirical", [False, True])
def test_lemma_a1(empirical):
  """The largest gap of a ball of linear functions, over 4000 samples."""
  rng = np.random.default_rng(0)
  n, d, prob, radius = 20, 3, 0.1, 0.5
  x = rng.choice([-1.0, 1.0], size=(4000, n, d)) / np.sqrt(d)
  # sup_w E[w x] - mean w x, and the class's values are in [-1/2, 1/2].
  gap = radius * np.linalg.norm(x.mean(axis=1), axis=1)
  signs = rng.choice([-1.0, 1.0], size=(500, n))
  mean = radius * np.linalg.norm((signs[..., None] * x[:500]).mean(1), axis=1)
  if empirical:
    own = np.einsum("sn,knd->ksd", signs, x[:500]) / n
    complexity = radius * np.linalg.norm(own, axis=2).mean(axis=1)
    assert complexity.std() > 0.0
    bound = [
      theory.generalization_bound(c, n, prob=prob, empirical=True)
      for c in complexity[:40]
    ]
    assert np.mean(gap[:40] > np.array(bound)) <= prob
    return
  bound = theory.generalization_bound(mean.mean(), n, prob=prob)
  assert np.mean(gap > float(bound)) <= prob
  # And it is of the gap's own size.
  assert np.max(gap) > 0.4 * float(bound)


def test_a_loss_within_plus_and_minus_b_needs_twice_the_size():
  """A fair coin of +-1 has |loss| <= 1 and, alone in its class, no complexity.

  Its mean falls below 0 by the bound with B = 1 in more than 5 % of samples.
  """
  n, prob = 100, 0.05
  below = lambda bound: stats.binom(n, 0.5).cdf(np.floor(n * (1 - bound) / 2))
  printed = float(theory.generalization_bound(0.0, n, prob=prob, size=1.0))
  assert below(printed) == pytest.approx(0.0967, abs=1e-3)
  assert below(printed) > prob
  right = float(theory.generalization_bound(0.0, n, prob=prob, size=2.0))
  assert 0.0 < below(right) <= prob


def test_kimuras_lemma_2_is_of_classes_of_signs():
  rng = np.random.default_rng(1)
  y = rng.choice([-1.0, 1.0], size=8)
  members = rng.choice([-1.0, 1.0], size=(6, 8))
  losses = (members != y).astype(float)
  assert rademacher(members) > 0.3
  np.testing.assert_allclose(rademacher(losses), rademacher(members) / 2)
  # Real-valued: w x with |w| <= 1/2 at x = 1 is never +-1, and always wrong.
  lines = np.linspace(-0.5, 0.5, 11)[:, None] * np.ones(8)
  losses = (lines != y).astype(float)
  assert rademacher(losses) == 0.0
  np.testing.assert_allclose(rademacher(lines), 0.5 * 0.2734375)


def test_signs_keep_their_complexity_when_data_shrink():
  """Kimura's x~ is lam x of centred data: linear complexity lam times."""
  x = np.random.default_rng(2).normal(size=(8, 2))
  x = x - x.mean(axis=0)
  angle = np.linspace(0.0, 2.0 * np.pi, 400, endpoint=False)
  ways = np.stack([np.cos(angle), np.sin(angle)], axis=1)
  plain, mixed = (ways @ (lam * x).T for lam in (1.0, 0.4))
  np.testing.assert_allclose(rademacher(mixed), 0.4 * rademacher(plain))
  signs = rademacher(np.sign(plain))
  assert 0.2 < signs < 1.0
  assert rademacher(np.sign(mixed)) == signs


def test_kimuras_theorem_1_is_the_bound_with_half_the_lipschitz_constant():
  """All 16 functions from 4 points to +-1, drawn samples of 8."""
  rng = np.random.default_rng(3)
  members = np.array(list(itertools.product([-1.0, 1.0], repeat=4)))
  truth, prob = np.array([1.0, 1.0, -1.0, -1.0]), 0.2
  points = rng.integers(0, 4, size=(200, 8))
  complexity = np.mean([rademacher(members[:, own]) for own in points])
  bound = float(
    theory.generalization_bound(complexity, 8, prob=prob, lipschitz=0.5)
  )
  np.testing.assert_allclose(
    bound, complexity + np.sqrt(np.log(5.0) / 16.0), rtol=1e-6
  )
  wrong = (members != truth).astype(float)
  gap = np.max(wrong.mean(1) - wrong[:, points].mean(2).T, axis=1)
  assert 0.0 < np.mean(gap > 0.5 * bound) and np.mean(gap > bound) <= prob


@pytest.mark.parametrize(
  "change",
  [
    {"complexity": -1.0},
    {"n": 0},
    {"prob": 0.0},
    {"prob": 1.5},
    {"lipschitz": -1.0},
    {"size": -0.1},
  ],
)
def test_errors(change):
  given = {"complexity": 0.1, "n": 10, "prob": 0.1} | change
  (name,) = change
  with pytest.raises(ValueError, match=f"{name} must lie in"):
    theory.generalization_bound(
      given.pop("complexity"), given.pop("n"), **given
    )
