"""What Mixup's loss asks for, when any function may be learnt.

Chidambaram et al., "Towards Understanding the Data Dependency of Mixup-style
Training" (ICLR 2022, https://arxiv.org/abs/2110.07647), sections 2.1 to 2.4:
the Mixup-optimal classifier in closed form, a data set on which it is wrong at
a training example, and when it is not. Rebuilt from what the paper's abstract
and its published experiments say of them; its statements' numbers and wording
were not at hand.
"""

from __future__ import annotations

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax.scipy import special

from jaxmix import checks
from jaxmix.theory import arguments


class MixupOptimal(NamedTuple):
  """The Mixup-optimal classifier at some points.

  Attributes:
    prob: of the classes, [m, K]; 0 where no mixed example comes near, of which
      the loss says nothing.
    mass: how probable a mixed example within the radius is, [m].
  """

  prob: chex.Array
  mass: chex.Array


def mixup_optimal(
  x: chex.Array,
  y: chex.Array,
  points: chex.Array,
  *,
  radius: chex.Numeric,
  alpha: chex.Numeric,
  beta: chex.Numeric | None = None,
  self_pairs: bool = True,
) -> MixupOptimal:
  """The minimiser of Mixup's cross-entropy over all functions, closed form.

  A function that is constant within `radius` of a point z has there the least
  loss at h_k(z) = xi_k(z) / sum_k xi_k(z), where xi_k(z) is the label's weight
  of class k among the mixed examples that fall within it,
    xi_k(z) = mean_ij E_lam[1{|lam x_i + (1 - lam) x_j - z| <= radius}
                            (lam y_ik + (1 - lam) y_jk)].
  By the DAT equivalent the label may be left whole, so that
  xi_k(z) = mean_ij y_ik P_D~(within), and the lam within are an interval:
  incomplete Beta functions, no sampling.

  Where mixed examples of another class come near a training example, h may
  contradict its label: on the line 0, 1, 2 with classes 0, 1, 0, wherever
  P(|lam - 1/2| <= radius / 2) outweighs the pair of 1 with itself, as it does
  under Beta(128, 128) at radius 0.1. Where none does, h has the label at every
  training example. For a fixed law and radius -> 0 the pair with itself wins;
  without such pairs (`pairing.roll`, say) the line fails under every Beta(a, a)
  with a > 1.

  Args:
    x: [n, p] floats.
    y: [n, K] probabilities, such as one-hot labels.
    points: [m, p], where h is asked for.
    radius: >= 0, in units of x; 0 counts the mixed examples that fall on the
      point with a probability of their own, as an example's pair with itself.
    alpha: Beta concentration of Mixup's law, > 0.
    beta: its second concentration; None means alpha.
    self_pairs: whether an example may be its own partner, as in
      `pairing.permutation`.

  Returns:
    The classifier.

  Raises:
    TypeError: if x or points are not floating point.
    ValueError: if shapes do not fit, or a number is out of range.

  Example:
    >>> x = jnp.array([[0.0], [1.0], [2.0]])
    >>> y = jax.nn.one_hot(jnp.array([0, 1, 0]), 2)
    >>> at = lambda **law: jaxmix.theory.mixup_optimal(x, y, x[1:2], **law)
    >>> print(at(radius=0.25, alpha=1.0).prob.round(4))  # right at x = 1
    [[0.25 0.75]]
    >>> print(at(radius=0.1, alpha=128.0).prob.argmax(-1))  # and wrong
    [0]
  """
  x = arguments.matrix("x", x)
  points = arguments.matrix("points", points)
  n, width = x.shape
  if points.shape[1] != width:
    raise ValueError(
      f"points must be [m, p] with p = {width} as x, got shape {points.shape}."
    )
  y = arguments.listed(y)
  if jnp.ndim(y) != 2 or len(y) != n:
    raise ValueError(
      f"y must be [n, K] probabilities with n = {n}, got shape {jnp.shape(y)}; "
      "of integer classes, jax.nn.one_hot(y, K)."
    )
  y = jnp.asarray(y, x.dtype)
  radius = jnp.asarray(checks.scalar("radius", radius, low=0.0), x.dtype)
  a = checks.concentration("alpha", alpha)
  b = a if beta is None else checks.concentration("beta", beta)
  a, b = jnp.asarray(a, x.dtype), jnp.asarray(b, x.dtype)
  if not self_pairs and n < 2:
    raise ValueError("self_pairs=False needs two examples or more, got one.")
  pairs = jnp.ones((n, n), x.dtype)
  if not self_pairs:
    pairs = pairs - jnp.eye(n, dtype=x.dtype)
  pairs = pairs / jnp.sum(pairs)
  # Of x_i itself, whose label is kept whole.
  towards = x[:, None] - x[None]
  squares = jnp.sum(jnp.square(towards), axis=-1)

  def at(point):
    away = (point[None] - x)[None]
    along = jnp.sum(away * towards, axis=-1)
    safe = jnp.where(squares > 0.0, squares, 1.0)
    nearest = along / safe
    # The distance from the pair's line, not a difference of large squares.
    off = jnp.sum(jnp.square(away - nearest[..., None] * towards), axis=-1)
    half = jnp.sqrt(jnp.maximum(radius**2 - off, 0.0) / safe)
    ends = jnp.stack([nearest - half, nearest + half])
    low, high = _cumulative(jnp.clip(ends, 0.0, 1.0), a, b)
    between = high - low
    # Two examples at one place: the mixed one is there whatever lam is.
    here = (squares == 0.0) & (off <= radius**2)
    within = jnp.where(squares > 0.0, between, here.astype(x.dtype))
    weight = jnp.sum(pairs * within, axis=1) @ y
    mass = jnp.sum(pairs * within)
    safe_mass = jnp.where(mass > 0.0, mass, 1.0)
    return MixupOptimal(weight / safe_mass, mass)

  return jax.lax.map(at, points)


def _cumulative(lam, a, b):
  """P(lam' <= lam) under D~ = a/(a+b) Beta(a+1, b) + b/(a+b) Beta(b+1, a)."""
  first, second, weight = (
    jnp.stack(pair).reshape(2, *(1,) * lam.ndim)
    for pair in ((a + 1.0, b + 1.0), (b, a), (a / (a + b), b / (a + b)))
  )
  # At once: the function is long, and compiled wherever it stands.
  both = special.betainc(first, second, lam[None])
  return jnp.sum(weight * both, axis=0)
