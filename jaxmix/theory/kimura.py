"""Does mixup lower Rademacher complexity? Kimura's theorems, checked.

Kimura, "Why Mixup Improves the Model Performance", 2021,
https://arxiv.org/abs/2006.06231. The paper replaces a mixed example by its
mean over partners, x~_i = lam x_i + (1 - lam) xbar, lam a constant, and so do
these functions: they take one number lam, no policy, as nothing is drawn.
Theorems 2 and 3 compare upper bounds of two complexities.
"""

from __future__ import annotations

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxmix import checks
from jaxmix.theory import arguments
from jaxmix.theory.directions import length, root


class LinearGap(NamedTuple):
  """Theorem 2's two sides.

  gap: difference of the upper bounds of the two complexities.
  bound: what the theorem bounds it by.
  """

  gap: chex.Array
  bound: chex.Array


class NetworkGap(NamedTuple):
  """Theorem 3's sides.

  gap: difference of the upper bounds, max|x~_i| taken as it is.
  printed_gap: the paper's, with lam |x_i| + (1 - lam) |xbar| for |x~_i|.
  bound: with the constant of the proof, (1 - lam) 2^(L + 1/2) norm_bound.
  doubled_bound: with 2 (1 - 1/n) times that constant, right for any mean.
  """

  gap: chex.Array
  printed_gap: chex.Array
  bound: chex.Array
  doubled_bound: chex.Array


class Hessians(NamedTuple):
  """Theorem 4's sides, [d, d] each.

  mixed: Hessian of psi_lam at theta, by automatic differentiation.
  printed: lam^2 times the Hessian of psi at theta, eq. (26).
  corrected: lam^2 times the Hessian of psi at lam theta.
  """

  mixed: chex.Array
  printed: chex.Array
  corrected: chex.Array


class Divergences(NamedTuple):
  """Bregman divergences from theta' to theta, scalars.

  mixed: D_{psi_lam}[theta : theta'], by psi_lam itself.
  scaled: D_psi[lam theta : lam theta'], which it is.
  plain: D_psi[theta : theta'], without mixup.
  """

  mixed: chex.Array
  scaled: chex.Array
  plain: chex.Array


def kimura_linear_gap(
  x: chex.Array, lam: chex.Numeric, *, radius: chex.Numeric = 1.0
) -> LinearGap:
  """Theorem 2: how much mixup lowers the complexity of linear classifiers.

  Over {w . x : |w| <= radius} the complexity is at most U = (radius / n)
  sqrt(sum_i |x_i|^2), eq. (18), and U* is the same of x~. With m = |xbar| and
  the total variance s^2 = (1/n) sum_i |x_i - xbar|^2,

    U = radius / sqrt(n) sqrt(s^2 + m^2),
    U* = radius / sqrt(n) sqrt(lam^2 s^2 + m^2),
    U - U* <= radius (1 - lam) s / sqrt(n),

  with equality for centred data, since U - U* falls in m. The last line bounds
  R - R*, the difference of the complexities themselves, too: they are means of
  norms that differ by at most (radius / n) (1 - lam) |sum_i xi_i (x_i - xbar)|.
  And R - R* >= 0, as averaging over permutations of x shows.

  Departures from the paper: eq. (19) replaces |a + b|^2 by |a|^2 + |b|^2, which
  loses 2 lam (1 - lam) n m^2 and makes its U* no upper bound and its eq. (20)
  false where x_i = xbar != 0. The s^2 that it calls the sample variance of
  the norm |x| is the total variance: on a sphere the former is zero, the gap
  is not.

  Args:
    x: [n, d] floats.
    lam: weight of the example itself, in [0, 1]; may be traced.
    radius: bound on |w|, >= 0; may be traced.

  Returns:
    The `LinearGap`, in the dtype of x.

  Raises:
    TypeError: if x is not floating point.
    ValueError: if x is not [n, d] or a number is out of range.

  Example:
    >>> x = jnp.array([[-1.0], [1.0]])  # centred, so that both sides agree
    >>> sides = jaxmix.theory.kimura_linear_gap(x, 0.5)
    >>> round(float(sides.gap), 4), round(float(sides.bound), 4)  # 1 / sqrt(8)
    (0.3536, 0.3536)
  """
  x, lam = _check(x, lam)
  checks.scalar("radius", radius, low=0.0)
  scale = jnp.asarray(radius, x.dtype) / x.shape[0] ** 0.5
  mean = jnp.mean(x, axis=0, keepdims=True)
  shift = jnp.sum(mean**2)
  variance = jnp.sum((x - mean) ** 2) / x.shape[0]
  # (a - b) / (sqrt a + sqrt b), which does not cancel where the mean is large.
  whole = root(variance + shift)
  # The shift whole: eq. (19) has lam^2 + (1 - lam)^2 times it, too little.
  mixed = root(lam**2 * variance + shift)
  total = whole + mixed
  gap = (1.0 - lam**2) * variance / jnp.where(total > 0.0, total, 1.0)
  return LinearGap(scale * gap, scale * (1.0 - lam) * root(variance))


def kimura_network_gap(
  x: chex.Array,
  lam: chex.Numeric,
  *,
  norm_bound: chex.Numeric = 1.0,
  num_layers: int,
  mean: chex.Array | None = None,
) -> NetworkGap:
  """Theorem 3: outliers, and mixup's effect on the complexity of networks.

  Over ReLU networks of L layers with a product of Frobenius norms <=
  norm_bound, the complexity is at most c max_i |x_i|, c = 2^(L + 1/2)
  norm_bound / sqrt(n), eq. (23). With eps_i = x_i - xbar,

    c (max|x_i| - max|x~_i|) <= c (1 - lam) max|eps_i|

  at every n, the two norms of one example differing by at most
  (1 - lam) |eps_i|. So it is for the paper's smaller gap.

  The paper has eps_i = x_i - mu with the population's mean, for n sufficiently
  large, and leaves the constant of eq. (22) open. With the one of its proof,
  `bound`, it fails at any n >= 3: for x = 0 or 3, equally likely, mu = 3/2, and
  its gap exceeds the bound where some, but fewer than half, of a sample are 3.
  With 2 (1 - 1/n) times it, `doubled_bound`, it holds at every n and for any
  mean at all: x_i - xbar = (1 - 1/n) eps_i - (1/n) sum_{j != i} eps_j.

  A difference of two upper bounds, this says nothing about the difference of
  the complexities.

  Args:
    x: [n, d] floats.
    lam: weight of the example itself, in [0, 1]; may be traced.
    norm_bound: bound W_L on the product of the layers' norms, >= 0.
    num_layers: L, >= 1.
    mean: [d] centre of the noise eps; None means the sample's mean.

  Returns:
    The `NetworkGap`, in the dtype of x.

  Raises:
    TypeError: if x is not floating point.
    ValueError: if shapes disagree or a number is out of range.

  Example:
    >>> x = jnp.array([[0.0], [0.0], [3.0], [5.0]])
    >>> sides = jaxmix.theory.kimura_network_gap(x, 0.5, num_layers=1)
    >>> [round(float(side / 2**0.5), 4) for side in sides]  # 2^(3/2) / 2 apart
    [1.5, 1.5, 1.5, 2.25]
  """
  x, lam = _check(x, lam)
  checks.scalar("norm_bound", norm_bound, low=0.0)
  checks.count("num_layers", num_layers)
  scale = 2.0 ** (num_layers + 0.5) / x.shape[0] ** 0.5
  scale = scale * jnp.asarray(norm_bound, x.dtype)
  average = jnp.mean(x, axis=0, keepdims=True)
  center = average
  if mean is not None:
    center = arguments.shaped("mean", mean, x.shape[1:], "[d]", x.dtype)[None]
  largest = _largest_norm(x)
  gap = largest - _largest_norm(lam * x + (1.0 - lam) * average)
  # The triangle inequality's lam |x_i| + (1 - lam) |xbar| in place of |x~_i|.
  printed = (1.0 - lam) * (largest - length(average))
  bound = (1.0 - lam) * _largest_norm(x - center)
  n = x.shape[0]
  doubled = 2.0 * (1.0 - 1.0 / n) * bound
  return NetworkGap(*(scale * side for side in (gap, printed, bound, doubled)))


def bregman_scaling(
  x: chex.Array, theta: chex.Array, lam: chex.Numeric
) -> Hessians:
  """Theorem 4: mixup's effect on the Hessian of a log-partition function.

  For the exponential family over the sample, psi(theta) = log (1/n) sum_i
  exp(theta . x_i), and psi_lam the same of x~,

    psi_lam(theta) = (1 - lam) theta . xbar + psi(lam theta),
    Hess psi_lam(theta) = lam^2 Hess psi(lam theta).

  Eq. (26) prints lam^2 Hess psi(theta), which agrees at theta = 0, where the
  Hessian is the covariance, and for Gaussians, whose Hessian is constant.
  Elsewhere mixup may raise the Hessian: for x = -1 or 1 and lam = 1/2 it does
  wherever |theta| > 1.67. With a random partner in place of xbar the factor at
  theta = 0 is lam^2 + (1 - lam)^2.

  Args:
    x: [n, d] floats.
    theta: [d] natural parameter.
    lam: weight of the example itself, in [0, 1]; may be traced.

  Returns:
    The `Hessians`, in the dtype of x.

  Raises:
    TypeError: if x is not floating point.
    ValueError: if shapes disagree or lam is a number out of range.

  Example:
    >>> x, theta = jnp.array([[-1.0], [1.0]]), jnp.array([2.0])
    >>> found = jaxmix.theory.bregman_scaling(x, theta, 0.5)
    >>> [round(side.item(), 4) for side in found]  # psi's own is 0.0707
    [0.105, 0.0177, 0.105]
  """
  x, lam = _check(x, lam)
  theta = arguments.shaped("theta", theta, x.shape[1:], "[d]", x.dtype)
  mixed = lam * x + (1.0 - lam) * jnp.mean(x, axis=0, keepdims=True)
  return Hessians(
    mixed=_hessian(mixed, theta),
    printed=lam**2 * _hessian(x, theta),
    corrected=lam**2 * _hessian(x, lam * theta),
  )


def bregman_divergence(
  x: chex.Array, theta: chex.Array, other: chex.Array, lam: chex.Numeric
) -> Divergences:
  """Section 7: mixup's effect on the divergence that psi defines.

  D_psi[theta : theta'] = psi(theta) - psi(theta') - dpsi(theta')(theta -
  theta'), definition 5. psi_lam(theta) = (1 - lam) theta . xbar + psi(lam
  theta), and what is linear in theta drops out, so that

    D_{psi_lam}[theta : theta'] = D_psi[lam theta : lam theta'].

  Mixup looks at parameters from nearer to 0. The paper concludes that it
  smooths, by lam^2 everywhere: so it is around 0, and far from it, where psi is
  nearly linear, mixup enlarges the divergence, without bound (for x = -1 or 1
  and lam = 1/2 by exp of the parameters' size).

  Args:
    x: [n, d] floats, the sample of the exponential family.
    theta: [d] natural parameter.
    other: [d] theta', where the tangent is.
    lam: weight of the example itself, in [0, 1]; may be traced.

  Returns:
    The `Divergences`, in the dtype of x.

  Raises:
    TypeError: if x is not floating point.
    ValueError: if shapes disagree or lam is a number out of range.

  Example:
    >>> x, theta, other = jnp.array([[-1.0], [1.0]]), [5.0], [4.0]
    >>> found = jaxmix.theory.bregman_divergence(x, theta, other, 0.5)
    >>> [round(float(side), 4) for side in found]  # larger by mixup
    [0.0066, 0.0066, 0.0004]
  """
  x, lam = _check(x, lam)
  theta, other = (
    arguments.shaped(name, value, x.shape[1:], "[d]", x.dtype)
    for name, value in (("theta", theta), ("other", other))
  )
  mixed = lam * x + (1.0 - lam) * jnp.mean(x, axis=0, keepdims=True)
  return Divergences(
    mixed=_bregman(mixed, theta, other),
    scaled=_bregman(x, lam * theta, lam * other),
    plain=_bregman(x, theta, other),
  )


def _check(x, lam):
  x = arguments.matrix("x", x)
  checks.scalar("lam", lam, low=0.0, high=1.0)
  return x, jnp.asarray(lam, x.dtype)


def _largest_norm(x):
  return jnp.max(jax.vmap(length)(x))


def _hessian(x, theta):
  # Without log n, which is constant.
  return jax.hessian(lambda t: jax.nn.logsumexp(x @ t))(theta)


def _bregman(x, theta, other):
  # psi(theta) - psi(theta') = log E[exp((theta - theta') x)] in the family at
  # theta', and dpsi(theta') is the mean there: no large numbers are subtracted.
  weight = jax.nn.softmax(x @ other)
  moved = (x - weight[None] @ x) @ (theta - other)
  return jax.nn.logsumexp(moved, b=weight)
