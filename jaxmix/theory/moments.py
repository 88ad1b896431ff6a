"""The law of 1 - lam that the expansions integrate over."""

from __future__ import annotations

from typing import Any

import chex
import jax.numpy as jnp
import numpy as np

from jaxmix import checks, policies

# Of the quadrature, unless asked otherwise.
NODES = 16


def beta_moment(
  alpha: chex.Numeric, beta: chex.Numeric, j: int
) -> chex.Numeric:
  """E_D~[(1 - lam)^j] for D~ = a/(a+b) Beta(a+1, b) + b/(a+b) Beta(b+1, a).

  The weights of Lemma 3.1 of Zhang et al. and Theorem 1 of MixupE, as rising
  factorials; j = 1 gives 2ab / ((a+b)(a+b+1)), j = 2 always half of that, since
  E_D~[1 - lam] = 2 E[lam (1 - lam)] and E_D~[(1 - lam)^2] = E[lam (1 - lam)].

  Args:
    alpha: concentration, > 0; may be traced.
    beta: concentration, > 0; may be traced.
    j: power, >= 0.

  Returns:
    A float where both concentrations are known numbers, else a float32 scalar.

  Raises:
    ValueError: if j < 0 or a concentration is a number <= 0.

  Example:
    >>> [round(jaxmix.theory.beta_moment(1.0, 1.0, j), 4) for j in (0, 1, 2)]
    [1.0, 0.3333, 0.1667]
  """
  checks.count("j", j, 0)
  a = checks.concentration("alpha", alpha)
  b = checks.concentration("beta", beta)
  # Factor by factor: Gamma functions would overflow, or cancel as logs.
  kept: Any = a / (a + b)
  swapped: Any = b / (a + b)
  for k in range(j):
    kept = kept * (b + k) / (a + b + 1.0 + k)
    swapped = swapped * (a + k) / (a + b + 1.0 + k)
  return kept + swapped


def shift_moments(policy: policies.MixingPolicy, order: int) -> chex.Array:
  """E[(1 - lam)^j] under the policy's DAT equivalent, for j = 0..order.

  Exact for every policy of `jaxmix.policies` but `weighted`, whose own
  quadrature has a tolerance.

  Args:
    policy: see `jaxmix.policies`.
    order: the highest power, >= 0.

  Returns:
    [order + 1]; float64 NumPy where the policy's numbers are known.

  Raises:
    ValueError: if order < 0 or the policy has no quadrature.

  Example:
    >>> policy = jaxmix.policies.dat(3.0, 1.0)  # 1 - lam ~ Beta(1, 3)
    >>> print(np.round(jaxmix.theory.shift_moments(policy, 2), 4))
    [1.   0.25 0.1 ]
  """
  checks.count("order", order, 0)
  # m nodes are exact to degree 2 m - 1, and weight may add one to the power's.
  lam, weight, prob = quadrature(policy, max(NODES, order + 1))
  xp = np if isinstance(prob * weight, np.ndarray) else jnp
  powers = [
    xp.sum(prob * policies.shift_power(lam, weight, j))
    for j in range(order + 1)
  ]
  return xp.stack(powers)


def as_policy(
  alpha: chex.Numeric | None,
  beta: chex.Numeric | None,
  policy: policies.MixingPolicy | None,
) -> policies.MixingPolicy:
  """The policy that (alpha, beta) or policy= stand for, exactly one given.

  Example:
    >>> jaxmix.theory.moments.as_policy(0.5, None, None).mean_shift
    0.25
  """
  if (alpha is None) == (policy is None):
    raise ValueError(
      "Give either alpha (and beta) or policy, got "
      + ("neither." if policy is None else "both.")
    )
  if policy is None:
    assert alpha is not None
    return policies.mixup(alpha, beta)
  if beta is not None:
    raise ValueError("beta goes with alpha; a policy has its own.")
  return policy


def quadrature(
  policy: policies.MixingPolicy, num_nodes: int
) -> tuple[chex.Array, chex.Array, chex.Array]:
  """The policy's (lam, weight, prob); raises ValueError if it has none.

  Example:
    >>> policy = jaxmix.policies.mixup(1.0)
    >>> lam, weight, prob = jaxmix.theory.moments.quadrature(policy, 2)
    >>> print(np.round(lam, 4), np.round(prob, 4))
    [0.2113 0.7887] [0.5 0.5]
  """
  if policy.quadrature is None:
    raise ValueError(
      "policy.quadrature is None, but the theory integrates over it; make the "
      "policy by jaxmix.policies, or set it."
    )
  return policy.quadrature(num_nodes)
