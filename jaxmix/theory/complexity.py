"""Rademacher complexity of the classes that mixup's regulariser defines.

Zhang et al., 2021, https://arxiv.org/abs/2010.04819, Theorem 3.4 (generalised
linear models) and Theorem 3.5 with A.1 (two layers).
"""

from __future__ import annotations

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from jaxmix import checks
from jaxmix.theory import arguments, rademacher
from jaxmix.theory.directions import root

Curvature = Callable[[chex.Array], chex.Array]
# Of [0, 100] to 1e-16.
_BISECTIONS = 60
# exp(-12^2 / 2) is 5e-32: no A'' that grows like a power sees what is cut off.
_GAUSS_LIMIT = 12.0


def rademacher_mixup_class(
  key: chex.PRNGKey,
  x: chex.Array,
  covariance: chex.Array,
  *,
  gamma: chex.Numeric,
  curvature: Curvature,
  max_radius: float = 100.0,
  num_draws: int = 1000,
) -> rademacher.Estimate:
  """Empirical Rademacher complexity of W_gamma, the class mixup controls.

  W_gamma = {x -> theta . x : E[A''(theta . x)] theta^T Sigma theta <= gamma},
  for a population in which E[A''(theta . x)] depends on theta only through
  v = sqrt(theta^T Sigma theta), as it does for Gaussian x. Then W_gamma is a
  ball in the norm of Sigma, whose radius v_gamma is the largest v with
  curvature(v) v^2 <= gamma, and the supremum over it is
  v_gamma |Sigma^{+/2} (1/n) sum_i xi_i x_i|.

  Args:
    key: PRNG key of the signs.
    x: [n, p] floats, the sample. A part outside the range of Sigma, which a
      sample of the population never has, is dropped.
    covariance: [p, p] Sigma = E[x x^T], possibly of low rank.
    gamma: level of the class, >= 0; may be traced.
    curvature: v -> E[A''(theta . x)], elementwise: `gaussian_curvature`, or
      `jnp.ones_like` for linear regression. curvature(v) v^2 must increase; for
      Gaussian x and A'' >= 0 it always does, being v times the integral of
      A''(u) phi(u / v).
    max_radius: bound on v, for the bounded Theta of the paper.
    num_draws: number of sign vectors, >= 2.

  Returns:
    The `rademacher.Estimate`, in the dtype of x.

  Raises:
    TypeError: if x is not floating point.
    ValueError: if shapes disagree or a number is out of range.

  Example:
    >>> x = covariance = jnp.eye(4)  # |sum_i xi_i x_i| / 4 is 1/2 for all signs
    >>> found = jaxmix.theory.rademacher_mixup_class(
    ...   jax.random.key(0), x, covariance, gamma=4.0, curvature=jnp.ones_like
    ... )
    >>> round(float(found.value), 4), round(float(found.error), 4)
    (1.0, 0.0)
  """
  x = arguments.matrix("x", x)
  checks.scalar("gamma", gamma, low=0.0)
  checks.scalar("max_radius", max_radius, low=0.0, open_low=True)
  gamma = jnp.asarray(gamma, x.dtype)

  def halve(_, bounds):
    low, high = bounds
    middle = 0.5 * (low + high)
    inside = curvature(middle) * middle**2 <= gamma
    return jnp.where(inside, middle, low), jnp.where(inside, high, middle)

  top = jnp.asarray(max_radius, x.dtype)
  bounds = jnp.zeros_like(top), top
  # The lower end is always inside, so that the radius is never overstated.
  radius, _ = jax.lax.fori_loop(0, _BISECTIONS, halve, bounds)
  return rademacher.rademacher_ellipsoid(
    key, x, covariance, radius=radius, num_draws=num_draws
  )


def gaussian_curvature(
  second_derivative: Curvature, *, num_nodes: int = 2048
) -> Curvature:
  """E[A''(v Z)] as a function of v, Z standard normal.

  By the trapezoidal rule over |z| <= 12, which converges geometrically here
  and, unlike Gauss-Hermite, keeps nodes where A'' is as v grows: the logistic
  A'' is integrated to 1e-5 of its value up to v = 100.

  Args:
    second_derivative: A'', elementwise.
    num_nodes: number of nodes, >= 2.

  Returns:
    A function of v, of any shape, that keeps shape and dtype.

  Raises:
    ValueError: if num_nodes < 2.

  Example:
    >>> curvature = jaxmix.theory.gaussian_curvature(jnp.square)  # E[(v Z)^2]
    >>> print(np.asarray(curvature(jnp.array([1.0, 2.0]))).round(3))
    [1. 4.]
  """
  checks.count("num_nodes", num_nodes, 2)

  def curvature(v: chex.Array) -> chex.Array:
    v = jnp.asarray(v)
    if not jnp.issubdtype(v.dtype, jnp.floating):
      v = v.astype(float)
    z = jnp.linspace(-_GAUSS_LIMIT, _GAUSS_LIMIT, num_nodes, dtype=v.dtype)
    # Divided by its own sum: a constant A'' comes out exactly.
    density = jnp.exp(-0.5 * z * z)
    z = z.reshape((1,) * v.ndim + (-1,))
    return second_derivative(v[..., None] * z) @ (density / jnp.sum(density))

  return curvature


def retentiveness(
  curvature: Curvature, max_radius: float, *, num_points: int = 1000
) -> chex.Array:
  """The largest rho for which the population is rho-retentive.

  rho = min over v <= max_radius of curvature(v)^2 / min(1, v^2), capped at 1/2
  (Section 3.3). For Gaussian data it needs a bounded Theta: there the logistic
  curvature falls like 1 / v, so that over all of R^p rho is 0 and Theorem 3.4
  says nothing.

  Args:
    curvature: v -> E[A''(theta . x)], elementwise.
    max_radius: bound on v = sqrt(theta^T Sigma theta), > 0.
    num_points: of the grid searched, which holds v = max_radius (where the
      minimum is if the curvature falls) and v = 1, the corner.

  Returns:
    rho in [0, 1/2], a scalar in the default float dtype.

  Raises:
    ValueError: if max_radius is a number <= 0 or num_points < 1.

  Example:
    >>> curvature = lambda v: 1.0 / (1.0 + v)
    >>> print(jaxmix.theory.retentiveness(curvature, 3.0))  # (1/4)^2
    0.0625
  """
  checks.scalar("max_radius", max_radius, low=0.0, open_low=True)
  checks.count("num_points", num_points)
  top = jnp.asarray(max_radius, float)
  grid = top * jnp.arange(1, num_points + 1, dtype=top.dtype) / num_points
  grid = jnp.append(grid, jnp.minimum(top, 1.0))
  ratio = curvature(grid) ** 2 / jnp.minimum(1.0, grid**2)
  return jnp.minimum(jnp.min(ratio), 0.5)


def rademacher_bound(
  gamma: chex.Numeric,
  rho: chex.Numeric,
  rank: chex.Numeric,
  n: chex.Numeric,
  *,
  sharp: bool = False,
) -> chex.Array:
  """Theorem 3.4: a bound on the Rademacher complexity of W_gamma.

    max{(gamma / rho)^(1/4), (gamma / rho)^(1/2)} sqrt(rank / n)

  It bounds the expectation over samples; the theorem says "empirical", but one
  sample with large sum_i |Sigma^{+/2} x_i|^2 can exceed it. (The last line of
  the proof also drops the square root of the rank.) The proof's first step is
  loose: retentiveness gives v^2 <= max{t^(2/3), t} with t = gamma /
  sqrt(rho), hence the sharp form max{t^(1/3), t^(1/2)} sqrt(rank / n).

  Args:
    gamma: level of the class, >= 0.
    rho: retentiveness, in (0, 1/2].
    rank: of Sigma = E[x x^T], >= 0.
    n: sample size, > 0.
    sharp: whether to return the sharp form, never the larger one.

  Returns:
    The bound, a scalar in the default float dtype.

  Raises:
    ValueError: if a number is out of range.

  Example:
    >>> bound = jaxmix.theory.rademacher_bound(0.25, 0.25, rank=4, n=64)
    >>> float(bound)  # gamma / rho = 1, and sqrt(4 / 64)
    0.25
  """
  checks.scalar("gamma", gamma, low=0.0)
  checks.scalar("rho", rho, low=0.0, high=0.5, open_low=True)
  checks.scalar("rank", rank, low=0.0)
  checks.scalar("n", n, low=0.0, open_low=True)
  gamma, rho, rank, n = (jnp.asarray(a, float) for a in (gamma, rho, rank, n))
  level, power = (
    (gamma / jnp.sqrt(rho), 1 / 3) if sharp else (gamma / rho, 0.25)
  )
  # Two wheres: the slopes at 0 are inf, and 0 times them nan.
  safe = jnp.where(level > 0.0, level, 1.0)
  height = jnp.maximum(safe**power, jnp.sqrt(safe))
  return jnp.where(level > 0.0, height, 0.0) * root(rank / n)


def two_layer_bound(
  gamma: chex.Numeric, covariance: chex.Array, mean: chex.Array, n: int
) -> chex.Array:
  """Theorem A.1 (and 3.5): a bound on the complexity of W^NN_gamma.

    2 sqrt(gamma (rank(Sigma) + |Sigma^{+/2} mu|^2) / n)

  The class is {theta . hidden : theta^T Sigma theta <= gamma}, Sigma the
  centred covariance of the hidden features: `rademacher_ellipsoid` with radius
  sqrt(gamma). Three things are outside of it, and of the bound:

  The first layer W, which is fixed here, though the paper's theta includes it.
  With W free the bound fails: one unit finds a direction of each sign vector's
  own where the data have many dimensions (a test; p = 50, n = 20).

  The bias theta_0, which the constraint leaves free. In Theorem A.1 it makes
  the complexity infinite; in Theorem 3.5, whose Theta is bounded, it adds its
  largest size times E|(1/n) sum_i xi_i|, which at gamma = 0 is more than the
  bound's 0. The proof leaves it out of the supremum, as we do.

  A hidden feature that is a nonzero constant: it has no variance, and its
  coefficient is free as the bias is. So the mean must be in Sigma's range.

  It bounds the expectation over samples, whose second moment under
  Sigma^{+/2} is the bracket; Jensen's inequality on the whole gives it without
  the factor 2. The last line of the proof drops |Sigma^{+/2} mu|^2, without
  which it is false.

  Args:
    gamma: level of the class, >= 0; may be traced.
    covariance: [p, p] population covariance of the hidden features, floats.
    mean: [p] population mean mu of the hidden features.
    n: sample size, >= 1.

  Returns:
    The bound, a scalar in the covariance's dtype.

  Raises:
    TypeError: if covariance is not floating point.
    ValueError: if shapes disagree or a number is out of range.

  Example:
    >>> covariance, mean = jnp.eye(2), jnp.zeros(2)
    >>> bound = jaxmix.theory.two_layer_bound(1.0, covariance, mean, n=8)
    >>> round(float(bound), 4)  # 2 sqrt(2 / 8)
    1.0
  """
  covariance = checks.floating("covariance", covariance)
  checks.scalar("gamma", gamma, low=0.0)
  checks.scalar("n", n, low=1.0)
  mean = arguments.listed(mean)
  if jnp.ndim(mean) != 1:
    raise ValueError(f"mean must be [p], got shape {jnp.shape(mean)}.")
  inverse, rank = rademacher.inverse_root(covariance, jnp.shape(mean)[0])
  shift = jnp.sum((jnp.asarray(mean, inverse.dtype) @ inverse) ** 2)
  gamma = jnp.asarray(gamma, covariance.dtype)
  # The 2 is the theorem's; the expectation is bounded without it.
  return 2.0 * root(gamma * (rank + shift) / n)
