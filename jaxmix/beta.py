"""The Beta law: sampling, quantiles, moments, Gauss-Jacobi quadrature.

Everything works on logit(lam) = log lam - log(1 - lam) where it can. At small
concentrations most of the mass sits so close to 0 and 1 that float32 rounds lam
to exactly 0 or 1, while its logit stays finite and carries the lost digits.
"""

from __future__ import annotations

from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax.scipy.special import betainc, betaln
import numpy as np

from jaxmix import checks

# sigmoid(-104) is the smallest float32 denormal: beyond it lam is exactly 0.
_LOGIT_LIMIT = 104.0
# 2 * 104 / 2^40 is below the spacing of float32 logits above 0.01.
_BISECTIONS = 40
_LOGIT_TAIL = 30.0
# In place of the infinite logit of probability 0 or 1, so that 0 times it is 0.
_LOGIT_END = 1e6


def sample_logit(
  key: chex.PRNGKey,
  alpha: chex.Numeric,
  beta: chex.Numeric,
  shape: tuple[int, ...] = (),
) -> chex.Array:
  """Draws logit(lam) for lam ~ Beta(alpha, beta), as log-Gamma differences.

  lam = G_a / (G_a + G_b) for independent Gammas, so logit(lam) = log G_a - log
  G_b, finite at every concentration.

  Args:
    key: PRNG key.
    alpha: concentration of lam, > 0; may be traced.
    beta: concentration of 1 - lam, > 0; may be traced.
    shape: shape of the result.

  Returns:
    float32 logits of the given shape; `jax.nn.sigmoid` of them is lam.

  Raises:
    ValueError: if a concentration is a number <= 0, or not a scalar.

  Example:
    >>> logit = jaxmix.beta.sample_logit(jax.random.key(0), 0.001, 0.001, (99,))
    >>> lam = jax.nn.sigmoid(logit)  # some round to 0 or 1
    >>> bool(jnp.any((lam == 0) | (lam == 1))), bool(jnp.isfinite(logit).all())
    (True, True)
  """
  alpha = checks.concentration("alpha", alpha)
  beta = checks.concentration("beta", beta)
  # Both in one loop, which halves the program.
  log_a, log_b = jax.vmap(
    lambda key, c: jax.random.loggamma(key, c, shape, jnp.float32)
  )(jax.random.split(key), jnp.stack([alpha, beta]).astype(jnp.float32))
  return log_a - log_b


def quantile_logit(
  prob: chex.Array, alpha: chex.Numeric, beta: chex.Numeric
) -> chex.Array:
  """logit of the `prob`-quantile of Beta(alpha, beta), by bisection.

  Bisects the regularised incomplete beta function over the logits in which
  float32 tells lam from 0 and 1; beyond |logit| = 30 the law is a power, and
  its quantiles have a closed form.

  Args:
    prob: probabilities in [0, 1], any shape.
    alpha: concentration, > 0; may be traced.
    beta: concentration, > 0; may be traced.

  Returns:
    float32 logits shaped like `prob`.

  Example:
    >>> prob = jnp.array([0.25, 0.5, 0.75])
    >>> logit = jaxmix.beta.quantile_logit(prob, 1.0, 1.0)  # the uniform law
    >>> print(np.asarray(jax.nn.sigmoid(logit)).round(3))
    [0.25 0.5  0.75]
  """
  prob = jnp.asarray(prob, jnp.float32)
  a = jnp.full(prob.shape, checks.concentration("alpha", alpha), jnp.float32)
  b = jnp.full(prob.shape, checks.concentration("beta", beta), jnp.float32)

  def is_below(logit):
    # Each tail is evaluated from its own side: 1 - betainc near 1 would cancel.
    left = betainc(a, b, jax.nn.sigmoid(jnp.minimum(logit, 0.0)))
    right = betainc(b, a, jax.nn.sigmoid(-jnp.maximum(logit, 0.0)))
    return jnp.where(logit <= 0.0, left < prob, right > 1.0 - prob)

  def halve(_, bounds):
    low, high = bounds
    middle = 0.5 * (low + high)
    below = is_below(middle)
    return jnp.where(below, middle, low), jnp.where(below, high, middle)

  limit = jnp.full(prob.shape, _LOGIT_LIMIT, jnp.float32)
  low, high = jax.lax.fori_loop(0, _BISECTIONS, halve, (-limit, limit))
  # Far in a tail the law is a power: P(logit < t) = exp(a t) / (a B(a, b)),
  # up to a factor 1 + O(exp(t)), and solved in closed form.
  scale = betaln(a, b)
  left = (jnp.log(prob) + jnp.log(a) + scale) / a
  right = -(jnp.log1p(-prob) + jnp.log(b) + scale) / b
  middle = 0.5 * (low + high)
  middle = jnp.where(left < -_LOGIT_TAIL, left, middle)
  middle = jnp.where(right > _LOGIT_TAIL, right, middle)
  # Bisection ends somewhere even where the concentrations are nan.
  middle = jnp.where(jnp.isnan(left), left, middle)
  return jnp.clip(middle, -_LOGIT_END, _LOGIT_END)


def stratified_logit(
  key: chex.PRNGKey,
  alpha: chex.Numeric,
  beta: chex.Numeric,
  shape: tuple[int, ...],
) -> chex.Array:
  """Draws logit(lam) with one draw in each of n equal-probability buckets.

  n is the number of elements of `shape`. Each draw alone is Beta(alpha, beta);
  the n together cover the law evenly, which lowers the variance of batch means.
  Buckets are dealt to positions in random order. Costs 40 evaluations of
  `betainc` an element.

  Args:
    key: PRNG key.
    alpha: concentration, > 0; may be traced.
    beta: concentration, > 0; may be traced.
    shape: shape of the result.

  Returns:
    float32 logits of the given shape.

  Example:
    >>> logit = jaxmix.beta.stratified_logit(jax.random.key(0), 1.0, 1.0, (4,))
    >>> lam = jax.nn.sigmoid(logit)  # uniform: one in each quarter of [0, 1]
    >>> sorted(jnp.floor(4 * lam).tolist())
    [0.0, 1.0, 2.0, 3.0]
  """
  n = int(np.prod(shape, dtype=np.int64))
  key_order, key_place = jax.random.split(key)
  bucket = jax.random.permutation(key_order, n).astype(jnp.float32)
  place = jax.random.uniform(key_place, (n,), jnp.float32)
  return quantile_logit((bucket + place) / n, alpha, beta).reshape(shape)


def mean(alpha: chex.Numeric, beta: chex.Numeric) -> Any:
  """E[lam] = alpha / (alpha + beta) under Beta(alpha, beta).

  Example:
    >>> jaxmix.beta.mean(1.0, 3.0)
    0.25
  """
  alpha = checks.concentration("alpha", alpha)
  beta = checks.concentration("beta", beta)
  return alpha / (alpha + beta)


def nodes(
  alpha: chex.Numeric, beta: chex.Numeric, num_nodes: int = 32
) -> tuple[chex.Array, chex.Array]:
  """Gauss-Jacobi quadrature for expectations under Beta(alpha, beta).

  E[h(lam)] = sum_k weight_k h(lam_k), exact for polynomials of degree up to 2
  num_nodes - 1, by the eigenvalues of the Jacobi matrix (Golub and Welsch,
  1969).

  Args:
    alpha: concentration, > 0; may be traced.
    beta: concentration, > 0; may be traced.
    num_nodes: number of nodes, >= 1.

  Returns:
    (lam, weight), each [num_nodes], lam increasing, weights summing to one:
    float64 NumPy arrays where both concentrations are known numbers, else
    float32.

  Raises:
    ValueError: if num_nodes < 1 or a concentration is a number <= 0.

  Example:
    >>> lam, weight = jaxmix.beta.nodes(1.0, 1.0, num_nodes=2)
    >>> print(np.round(lam, 4), np.round(weight, 4))
    [0.2113 0.7887] [0.5 0.5]
    >>> round(float(weight @ lam**3), 6)  # E[lam^3] of the uniform law
    0.25
  """
  if num_nodes < 1:
    raise ValueError(f"num_nodes must be at least 1, got {num_nodes}.")
  alpha = checks.concentration("alpha", alpha)
  beta = checks.concentration("beta", beta)
  known = isinstance(alpha, float) and isinstance(beta, float)
  xp: Any = np if known else jnp
  # Monic Jacobi recurrence for (1 - t)^p (1 + t)^q, t = 2 lam - 1.
  p, q = beta - 1.0, alpha - 1.0
  k: Any = np.arange(1.0, num_nodes, dtype=np.float64 if known else np.float32)
  s = 2.0 * k + p + q
  diagonal = xp.concatenate(
    [
      xp.reshape(xp.asarray((q - p) / (p + q + 2.0)), (1,)),
      (q * q - p * p) / (s * (s + 2.0)),
    ]
  )
  # k = 1 is written out: its factors (s - 1) and (k + p + q) cancel, both are
  # zero where alpha + beta = 1.
  first = 4.0 * (1.0 + p) * (1.0 + q) / ((2.0 + p + q) ** 2 * (3.0 + p + q))
  k, s = k[1:], s[1:]
  rest = 4.0 * k * (k + p) * (k + q) * (k + p + q) / (s * s * (s * s - 1.0))
  squares = xp.concatenate([xp.reshape(xp.asarray(first), (1,)), rest])
  off = xp.sqrt(squares[: num_nodes - 1])
  matrix = xp.diag(diagonal) + xp.diag(off, 1) + xp.diag(off, -1)
  eigenvalues, vectors = xp.linalg.eigh(matrix)
  weight = vectors[0] ** 2
  lam = xp.clip(0.5 * (1.0 + eigenvalues), 0.0, 1.0)
  return lam, weight / xp.sum(weight)
