"""Internal: expectations under a Beta law of what is no polynomial.

Gauss-Jacobi quadrature (`beta.nodes`) is exact for polynomials, and slow where
a power or a jump meets the law's own mass at 0 and 1. In logit(lam) the law's
density is smooth and its tails are exponential, so that the trapezoidal rule
converges geometrically, for powers of lam and 1 - lam too. Of its many nodes
`compress` makes as few as a smooth integrand needs.
"""

from __future__ import annotations

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

# The mass that is cut off on either side is of this logarithm.
_TAIL = 40.0
# The law of logit(lam) falls from its centre to its tails within so much.
_SHOULDER = 8.0


def spread(
  alpha: chex.Numeric, beta: chex.Numeric, num_nodes: int
) -> tuple[chex.Array, chex.Array]:
  """(lam, prob) of many nodes, over which E[h(lam)] is a sum.

  Args:
    alpha: concentration, > 0; may be traced.
    beta: concentration, > 0; may be traced.
    num_nodes: number of nodes, >= 2.

  Returns:
    [num_nodes] each, float64 NumPy where both are known numbers, else float32.
  """
  known = isinstance(alpha, float) and isinstance(beta, float)
  xp: Any = np if known else jnp
  # The nodes stay under a gradient, which the weights bring: h may have none
  # at 0 and 1, where nodes round to.
  a, b = (alpha, beta) if known else jax.lax.stop_gradient((alpha, beta))
  centre = xp.log(a) - xp.log(b)
  # About the standard deviation of the logit, where it is small.
  width = xp.minimum(xp.sqrt(1.0 / a + 1.0 / b), np.pi)
  # Further apart the further out: a tail of 1 / alpha takes log(1 / alpha).
  left = -xp.arcsinh((_TAIL / a + _SHOULDER) / width)
  right = xp.arcsinh((_TAIL / b + _SHOULDER) / width)
  share = np.linspace(0.0, 1.0, num_nodes, dtype=None if known else np.float32)
  place = left + (right - left) * share
  logit = centre + width * xp.sinh(place)
  # log lam and log(1 - lam), neither of which cancels.
  log_lam = -xp.logaddexp(0.0, -logit)
  log_rest = -xp.logaddexp(0.0, logit)
  log_prob = alpha * log_lam + beta * log_rest + xp.log(xp.cosh(place))
  # Over their sum: no Beta function, and all nodes count alike.
  prob = xp.exp(log_prob - xp.max(log_prob))
  return xp.exp(log_lam), prob / xp.sum(prob)


def compress(
  lam: chex.Array, prob: chex.Array, num_nodes: int
) -> tuple[chex.Array, chex.Array]:
  """Gauss quadrature for a law that is given by many nodes.

  Exact for polynomials of degree up to 2 num_nodes - 1 under it, by Lanczos'
  recurrence and the eigenvalues of its matrix.

  Args:
    lam: [N] nodes in [0, 1].
    prob: [N], summing to one.
    num_nodes: of the result, 1 <= num_nodes <= N.

  Returns:
    (lam, prob), [num_nodes] each, in the arrays' own kind.
  """
  known = isinstance(lam, np.ndarray) and isinstance(prob, np.ndarray)
  xp: Any = np if known else jnp
  tiny = np.finfo(lam.dtype).tiny
  basis: list[Any] = [xp.sqrt(prob)]
  diagonal, off = [], []
  for _ in range(num_nodes):
    vector = lam * basis[-1]
    diagonal.append(xp.sum(vector * basis[-1]))
    # Against all of them, and twice: the recurrence alone forgets the first.
    for _ in range(2):
      for earlier in basis:
        vector = vector - xp.sum(vector * earlier) * earlier
    length = xp.sqrt(xp.sum(vector * vector))
    off.append(length)
    # A law of fewer points ends here, and the rest gets no weight.
    basis.append(vector / xp.maximum(length, tiny))
  matrix = xp.diag(xp.stack(diagonal))
  if num_nodes > 1:
    sides = xp.stack(off[: num_nodes - 1])
    matrix = matrix + xp.diag(sides, 1) + xp.diag(sides, -1)
  eigenvalues, vectors = xp.linalg.eigh(matrix)
  weight = vectors[0] ** 2
  return xp.clip(eigenvalues, 0.0, 1.0), weight / xp.sum(weight)


def known(value: chex.Array) -> chex.Array:
  """In float64 NumPy, if it is known."""
  if isinstance(value, jax.core.Tracer):
    return value
  return np.asarray(jax.device_get(value), np.float64)
