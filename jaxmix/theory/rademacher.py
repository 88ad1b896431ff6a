"""Rademacher complexity of linear classes: balls and ellipsoids.

The supremum over such a class has a closed form, so only the signs are drawn.
"""

from __future__ import annotations

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxmix import checks
from jaxmix.theory import arguments
from jaxmix.theory.directions import length, root


class Estimate(NamedTuple):
  """A Monte Carlo estimate.

  value: the mean over draws.
  error: its standard error.
  """

  value: chex.Array
  error: chex.Array


def rademacher_linear(
  key: chex.PRNGKey,
  x: chex.Array,
  *,
  radius: chex.Numeric = 1.0,
  num_draws: int = 1000,
) -> Estimate:
  """Empirical Rademacher complexity of {w . x : |w|_2 <= radius}.

  By Cauchy and Schwarz it is (radius / n) E|sum_i xi_i x_i|_2 over
  independent signs xi (Kimura, 2021, eq. 18, where the norm before Jensen's
  inequality carries a stray square). The same key gives the same signs: a
  difference of two complexities is best estimated with one key.

  Args:
    key: PRNG key of the signs.
    x: [n, d] floats.
    radius: of the ball of w, >= 0; may be traced.
    num_draws: number of sign vectors, >= 2; the memory is num_draws * n floats.

  Returns:
    The `Estimate`, in the dtype of x.

  Raises:
    TypeError: if x is not floating point.
    ValueError: if x is not [n, d], radius is a number < 0 or num_draws < 2.

  Example:
    >>> found = jaxmix.theory.rademacher_linear(jax.random.key(0), jnp.eye(4))
    >>> round(float(found.value), 4)  # sqrt(4) / 4, whatever the signs
    0.5
  """
  x = arguments.matrix("x", x)
  checks.scalar("radius", radius, low=0.0)
  checks.count("num_draws", num_draws, 2)
  signs = jax.random.rademacher(key, (num_draws, x.shape[0]), x.dtype)
  # The supremum over the ball is this norm: nothing is optimised.
  norms = jax.vmap(length)(signs @ x / x.shape[0])
  norms = norms * jnp.asarray(radius, x.dtype)
  spread = root(jnp.var(norms, ddof=1))
  return Estimate(jnp.mean(norms), spread / num_draws**0.5)


def rademacher_ellipsoid(
  key: chex.PRNGKey,
  x: chex.Array,
  covariance: chex.Array,
  *,
  radius: chex.Numeric = 1.0,
  num_draws: int = 1000,
) -> Estimate:
  """Empirical Rademacher complexity of an ellipsoid of linear functions.

  Of {theta . x : theta^T Sigma theta <= radius^2}, namely radius times
  E|Sigma^{+/2} (1/n) sum_i xi_i x_i|_2 over independent signs xi.

  Args:
    key: PRNG key of the signs.
    x: [n, p] floats, in the range of the covariance. Outside it theta is
      unconstrained and the complexity infinite: that part of x is dropped.
    covariance: [p, p] Sigma, positive semidefinite, possibly of low rank.
    radius: of the ellipsoid in the norm of Sigma, >= 0; may be traced.
    num_draws: number of sign vectors, >= 2.

  Returns:
    The `Estimate`, in the dtype of x.

  Raises:
    TypeError: if x or covariance is not floating point.
    ValueError: if shapes disagree or a number is out of range.

  Example:
    >>> key, x, covariance = jax.random.key(0), jnp.eye(4), 4.0 * jnp.eye(4)
    >>> found = jaxmix.theory.rademacher_ellipsoid(key, x, covariance)
    >>> round(float(found.value), 4)  # half the ball's
    0.25
  """
  x = arguments.matrix("x", x)
  inverse, _ = inverse_root(covariance, x.shape[1])
  # theta = inverse u with |u| <= radius: the ball's complexity there.
  inverse = inverse.astype(x.dtype)
  return rademacher_linear(key, x @ inverse, radius=radius, num_draws=num_draws)


def inverse_root(
  covariance: chex.Array, size: int
) -> tuple[chex.Array, chex.Array]:
  """Returns W with W W^T the pseudo-inverse of a covariance, and its rank.

  Args:
    covariance: [p, p] positive semidefinite floats.
    size: the p that the other arguments have.

  Returns:
    ([p, p] W, scalar rank), both in the covariance's dtype.

  Raises:
    TypeError: if the covariance is not floating point.
    ValueError: if its shape is not (size, size).

  Example:
    >>> covariance = jnp.array([[4.0, 0.0], [0.0, 0.0]])
    >>> root, rank = jaxmix.theory.rademacher.inverse_root(covariance, 2)
    >>> bool(jnp.allclose(root @ root.T, covariance / 16)), float(rank)
    (True, 1.0)
  """
  covariance = arguments.listed(covariance)
  checks.floating("covariance", covariance)
  if jnp.shape(covariance) != (size, size):
    raise ValueError(
      f"covariance must be [p, p] = ({size}, {size}), got shape "
      f"{jnp.shape(covariance)}."
    )
  values, vectors = jnp.linalg.eigh(covariance)
  # A singular value this small is what rounding leaves of zero.
  tolerance = 10 * len(values) * jnp.finfo(values.dtype).eps
  kept = values > tolerance * jnp.max(jnp.abs(values))
  # Two wheres: rsqrt of what is dropped is inf or nan, in the gradient too.
  scale = jnp.where(kept, jax.lax.rsqrt(jnp.where(kept, values, 1.0)), 0.0)
  return vectors * scale[None, :], jnp.sum(kept).astype(values.dtype)
