"""Moments of 1 - lam under the DAT equivalents, against scipy's laws."""

from hypothesis import given, settings
from hypothesis import strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

import jaxmix
from jaxmix import policies, theory
from jaxmix.theory import moments

CONCENTRATIONS = st.floats(0.05, 8.0)


def beta_power(p, q, j):
  """E[lam^j] under Beta(p, q), as a ratio of Beta functions."""
  return np.exp(scipy.special.betaln(p + j, q) - scipy.special.betaln(p, q))


def dat_moment(a, b, j):
  """E_D~[(1 - lam)^j], from the two Beta laws it is made of."""
  kept, swapped = beta_power(b, a + 1.0, j), beta_power(a, b + 1.0, j)
  return (a * kept + b * swapped) / (a + b)


@settings(max_examples=60, deadline=None)
@given(CONCENTRATIONS, CONCENTRATIONS, st.integers(1, 8))
def test_closed_form(a, b, j):
  np.testing.assert_allclose(
    theory.beta_moment(a, b, j), dat_moment(a, b, j), rtol=1e-9
  )


@settings(max_examples=20, deadline=None)
@given(CONCENTRATIONS, CONCENTRATIONS)
def test_the_second_is_half_the_first(a, b):
  second = theory.beta_moment(a, b, 2)
  np.testing.assert_allclose(second, theory.beta_moment(a, b, 1) / 2, rtol=1e-9)


def test_by_hand():
  # D~ of mixup(1) is Beta(2, 1): 1 - lam has density 2 (1 - a).
  assert theory.beta_moment(1.0, 1.0, 0) == 1.0
  np.testing.assert_allclose(theory.beta_moment(1.0, 1.0, 1), 1.0 / 3.0)
  np.testing.assert_allclose(theory.beta_moment(1.0, 1.0, 2), 1.0 / 6.0)
  shift = policies.mixup(0.3, 2.0).mean_shift
  np.testing.assert_allclose(theory.beta_moment(0.3, 2.0, 1), shift)


def test_traced_concentrations():
  found = jax.jit(jax.vmap(lambda a: theory.beta_moment(a, 2.0 * a, 3)))(
    jnp.array([0.2, 1.0])
  )
  expected = [dat_moment(0.2, 0.4, 3), dat_moment(1.0, 2.0, 3)]
  np.testing.assert_allclose(found, expected, rtol=1e-5)


POLICIES = {
  "mixup": policies.mixup(0.4, 1.5),
  "untied": policies.untied(1.7, 0.6),
  "dat": policies.dat(2.0, 0.8),
  "weighted": policies.weighted(0.7, 0.7, lambda lam: lam**2),
  "erm": policies.erm(),
}
POLICIES |= {
  f"as_dat({name})": jaxmix.as_dat(policy) for name, policy in POLICIES.items()
}


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_against_its_own_draws(name):
  policy = POLICIES[name]
  found = theory.shift_moments(policy, 4)
  lam, _ = jaxmix.as_dat(policy).sample(jax.random.key(1), (200_000,))
  for j in range(5):
    draws = (1.0 - np.asarray(lam, np.float64)) ** j
    error = draws.std() / len(draws) ** 0.5
    assert abs(draws.mean() - found[j]) <= 4.5 * error + 1e-7
  if name not in ("erm", "as_dat(erm)"):  # erm's mean_shift is the user's
    np.testing.assert_allclose(found[1], policy.mean_shift, rtol=1e-5)


@pytest.mark.parametrize("name", POLICIES)
def test_quadrature_is_a_law(name):
  lam, weight, prob = POLICIES[name].quadrature(9)
  assert lam.shape == weight.shape == prob.shape
  np.testing.assert_allclose(np.sum(prob), 1.0, rtol=1e-6)
  assert np.min(prob) >= 0.0
  for values in (lam, weight):
    assert np.min(values) >= 0.0 and np.max(values) <= 1.0


def test_errors():
  with pytest.raises(ValueError, match="j must be at least 0, got -1"):
    theory.beta_moment(1.0, 1.0, -1)
  with pytest.raises(ValueError, match="alpha must lie in"):
    theory.beta_moment(0.0, 1.0, 1)
  with pytest.raises(ValueError, match="order must be at least 0"):
    theory.shift_moments(policies.mixup(1.0), -1)
  bare = policies.MixingPolicy(policies.mixup(1.0).sample, 0.3)
  for policy in (bare, jaxmix.as_dat(bare)):
    with pytest.raises(ValueError, match="policy.quadrature is None"):
      theory.shift_moments(policy, 1)
  with pytest.raises(ValueError, match="got neither"):
    moments.as_policy(None, None, None)
  with pytest.raises(ValueError, match="got both"):
    moments.as_policy(1.0, None, policies.mixup(1.0))
  with pytest.raises(ValueError, match="beta goes with alpha"):
    moments.as_policy(None, 1.0, policies.mixup(1.0))
