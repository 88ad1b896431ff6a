"""A radius that one example near the boundary does not take to zero.

Theorems 3.2 and B.1 of Zhang et al. (ICLR 2021,
https://arxiv.org/abs/2010.04819): R = min_i R_i of Theorems 3.1 and 3.3 shrinks
as examples come; a share of them with large cosines can carry the others.
"""

from __future__ import annotations

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxmix import checks
from jaxmix.theory import arguments, directions, likelihood
from jaxmix.theory.likelihood import LogitFn


class RadiusConstants(NamedTuple):
  """What `constant_radius` takes, as a sample has it.

  Attributes:
    prob: twice the share of examples with |cos| >= tau and |df| >= t1, at most
      1: the theorem counts on half of p.
    tau: as given.
    curvature: k, the smallest g(f) (1 - g(f)).
    residual: (k1, k2), the smallest and the largest |g(f) - y|.
    slopes: (t1, t2), as given and the largest |df|.
  """

  prob: chex.Array
  tau: chex.Numeric
  curvature: chex.Array
  residual: tuple[chex.Array, chex.Array]
  slopes: tuple[chex.Numeric, chex.Array]


def radius_constants(
  logit_fn: LogitFn,
  x: chex.Array,
  y: chex.Array,
  *,
  tau: chex.Numeric,
  slope: chex.Numeric = 0.0,
) -> RadiusConstants:
  """Assumptions 3.1 and B.1 measured on a sample.

  The assumptions are of a population and of all minimisers at once. For one
  network and one sample the theorems need no probability: what they use is that
  a share p/2 of the examples has large cosines, and this counts it.
  `constant_radius(**constants._asdict())` is then a radius for this sample.

  Args:
    logit_fn: maps [n, ...] to binary logits [n].
    x: [n, ...] floats, centred.
    y: [n], 0 or 1.
    tau: the cosine asked for, in [0, 1].
    slope: t1, the |df| asked for, >= 0; 0 gives the radius 0.

  Returns:
    The constants.

  Raises:
    TypeError: as `standard_loss`.
    ValueError: as `standard_loss`, or if logits are not [n].

  Example:
    >>> x, y = jnp.array([[1.0, 0.0], [-1.0, 0.0]]), jnp.array([1, 0])
    >>> logit_fn = lambda x: x @ jnp.array([3.0, 4.0])
    >>> found = jaxmix.theory.radius_constants(logit_fn, x, y, tau=0.5, slope=5)
    >>> float(found.prob), [float(bound) for bound in found.slopes]
    (1.0, [5.0, 5.0])
  """
  x, y, (n, *classes) = likelihood.check_data(logit_fn, x, y)
  if classes:
    raise ValueError(
      f"The theorem is for binary logits [n] = ({n},), got shape "
      f"{(n, *classes)}."
    )
  tau = checks.scalar("tau", tau, low=0.0, high=1.0)
  slope = checks.scalar("slope", slope, low=0.0)
  factors = directions.logit_factors(logit_fn, x)
  logits = jax.vmap(likelihood.single(logit_fn))(x)
  pull = jnp.abs(jax.vmap(likelihood.residual)(logits, y))
  steep = factors.slope >= jnp.asarray(slope, factors.slope.dtype)
  close = factors.cosine >= jnp.asarray(tau, factors.cosine.dtype)
  share = jnp.mean((steep & close).astype(logits.dtype))
  return RadiusConstants(
    prob=jnp.minimum(2.0 * share, 1.0),
    tau=tau,
    curvature=jnp.min(jax.vmap(likelihood.curvature)(logits)),
    residual=(jnp.min(pull), jnp.max(pull)),
    slopes=(slope, jnp.max(factors.slope)),
  )


def constant_radius(
  prob: chex.Numeric,
  *,
  tau: chex.Numeric,
  curvature: chex.Numeric,
  residual: tuple[chex.Numeric, chex.Numeric],
  slopes: tuple[chex.Numeric, chex.Numeric] = (1.0, 1.0),
) -> chex.Numeric:
  """R~ of Theorems 3.2 and B.1: a radius that does not shrink with n.

  With s = t1 / t2, the ratio of the bounds on |df|,
  min{p k1 s / (p k1 s + (2 - p) k2), sqrt(4 k p s^2 / (2 - p + 4 k p s^2))} tau
  takes the place of R = min_i R_i, with probability at least 1 - exp(-n p^2 /
  2): p/2 of the examples have |cos| >= tau and |df| >= t1, and carry the
  others, whose |df| <= t2. For a linear model |df| is one number, s = 1, and
  Theorem B.1's is Theorem 3.2's.

  Theorem B.1 does not say what its tau'' is: an upper bound on |df(x_i)|, as
  the proof needs. Its probability has a factor 2 too many, and in assumptions
  3.1 and B.1 delta_n is to go to 0 as n grows, not "as n -> 0".

  Args:
    prob: p, the probability of |cos(x, df)| >= tau, and of |df| >= t1, in (0,
      1].
    tau: the cosine, in [0, 1]; Assumption 3.1 has (0, 1), and 0 gives R~ = 0.
    curvature: k, a lower bound on g(f) (1 - g(f)) over the examples, in [0,
      1/4]; 0 gives R~ = 0.
    residual: (k1, k2), bounds on |g(f) - y| over the examples, k1 in [0, 1] and
      k2 in (0, 1].
    slopes: (t1, t2), tau' and tau'': bounds on |df|, t1 >= 0 of the examples
      counted in p, t2 > 0 of all, t1 <= t2. Only their ratio counts.

  Returns:
    R~.

  Raises:
    ValueError: if a known number is out of its range, or known k1 > k2 or t1
      > t2.

  Example:
    >>> radius = jaxmix.theory.constant_radius(
    ...   1.0, tau=0.5, curvature=0.25, residual=(0.5, 0.5)
    ... )
    >>> float(radius)  # min{1/2, sqrt(1/2)} tau
    0.25
  """
  p = checks.scalar("prob", prob, low=0.0, high=1.0, open_low=True)
  tau = checks.scalar("tau", tau, low=0.0, high=1.0)
  k = checks.scalar("curvature", curvature, low=0.0, high=0.25)
  low = checks.scalar("residual[0]", residual[0], low=0.0, high=1.0)
  high = checks.scalar(
    "residual[1]", residual[1], low=0.0, high=1.0, open_low=True
  )
  smallest, largest = (arguments.known(bound) for bound in (low, high))
  if smallest is not None and largest is not None and smallest > largest:
    raise ValueError(
      f"residual must be (k1, k2) with k1 <= k2, got {tuple(residual)}."
    )
  least = checks.scalar("slopes[0]", slopes[0], low=0.0)
  most = checks.scalar("slopes[1]", slopes[1], low=0.0, open_low=True)
  small, large = (arguments.known(bound) for bound in (least, most))
  if small is not None and large is not None and small > large:
    raise ValueError(
      f"slopes must be (t1, t2) with t1 <= t2, got {tuple(slopes)}."
    )
  ratio = least / most
  first = p * low * ratio / (p * low * ratio + (2.0 - p) * high)
  steep = 4.0 * k * p * ratio**2
  second = directions.root(jnp.asarray(steep / (2.0 - p + steep)))
  return jnp.minimum(first, second) * tau
