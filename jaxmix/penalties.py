"""MixupE's penalties as values: what is added, how, and what a pass must bring.

f are logits, g the link (softmax or sigmoid), y one-hot labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import dataclasses
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxmix import losses, meshes, policies, replicas
from jaxmix import terms as directional_terms
from jaxmix.losses import MixedTargets
from jaxmix.mixing import Plan


@dataclasses.dataclass(frozen=True)
class Penalty:
  """R = sum_j factor_j mean_i size(t_ij), of the signed terms t_ij.

  Made by `approximate`, `exact`, `taylor` and `release`, and given to
  `jaxmix.mixupe_loss`.

  Attributes:
    order: how many derivatives of the logits towards the mean the model's pass
      must bring, j = 1..order; 0: none, the logits stand for their first.
    size: signed terms [B] to what is averaged, [B]: at order 0 qbar_i, else the
      loss's own j-th derivatives towards the mean, of which q_i is the first.
    input_mean: xbar, as in `exact_directional_penalty`.
    detached: whether the residual g(f) - y is a constant of R's gradient; for
      orders 0 and 1.
    moments: E[(1 - lam)^j] for j = 0..order, or None: the plan's mean_shift
      for j = 1, and for higher j a mean over the plan.
  """

  order: int
  size: Callable[[chex.Array], chex.Array] = jnp.abs
  input_mean: chex.ArrayTree | chex.Numeric = 0.0
  moments: chex.Array | None = None
  detached: bool = False

  @classmethod
  def of(cls, penalty: Penalty | str) -> Penalty:
    """Returns the penalty that a value, or a short form's name, stands for."""
    if isinstance(penalty, cls):
      return penalty
    if isinstance(penalty, str) and penalty in _SHORT:
      return _SHORT[penalty]()
    raise ValueError(
      f"penalty must be one of {tuple(_SHORT)} or made by one of these "
      f"functions of jaxmix.penalties, got {penalty!r}."
    )

  def terms(
    self,
    logits: chex.Array,
    moved: list[chex.Array],
    labels: chex.Array | MixedTargets,
    link: directional_terms.Link,
  ) -> list[chex.Array]:
    """Returns what is averaged over examples, [B] for each order.

    Args:
      logits: f at the points of the penalty.
      moved: their derivatives towards the mean, the first first; at order 0
        the logits themselves.
      labels: as in `directional_penalty`.
      link: as in `directional_penalty`, or the loss, which R is then of.
    """
    # A single term has a closed form, which spares the Taylor series of the
    # log-partition: qbar_i, or with a derivative in place of f, -q_i.
    if len(moved) == 1:
      with losses.along_outputs(self.order == 0):
        term = directional_terms.residual_dot(
          logits, moved[0], labels, link, self.detached
        )
      signed = [-term if self.order else term]
    else:
      signed = directional_terms.loss_derivatives(logits, moved, labels, link)
    # Each example's, as in eq. (4): terms of both signs would cancel in a sum.
    return [self.size(term) for term in signed]

  def share(
    self, terms: list[chex.Array], plan: Plan, axis_name: str | None
  ) -> chex.Array:
    """Returns this replica's share of R.

    Args:
      terms: what `terms` returned, for the first of the plan's examples.
      plan: brings the factors and the mask.
      axis_name: mapped axis of the replicas, or None.
    """
    mask = plan.mask
    if mask is not None:
      mask = meshes.rows(mask, 0, len(terms[0]))
    factors = self._factors(plan, len(terms), axis_name)
    first, *higher = (
      factor * replicas.mean_share(values, mask, axis_name)
      for factor, values in zip(factors, terms, strict=True)
    )
    for more in higher:
      first += more
    return first

  def _factors(self, plan, count, axis_name) -> list[chex.Array]:
    """E[(1 - lam)^j] / j! for j = 1..count."""
    # Known for every policy: only higher factors need moments or an estimate.
    factors = [jnp.asarray(plan.mean_shift, jnp.float32)]
    for j in range(2, count + 1):
      if self.moments is not None:
        moment = jnp.asarray(self.moments[j]).astype(jnp.float32)
      else:
        powers = policies.shift_power(plan.lam, plan.weight, j)
        moment = replicas.mean_share(powers, plan.mask, axis_name)
        if axis_name is not None:
          # A product of shares does not average to the product of the means.
          moment = jax.lax.pmean(moment, axis_name)
      factors.append(moment / math.factorial(j))
    return factors


def approximate() -> Penalty:
  """|qbar_i|, MixupE (UAI 2023), eq. (2): no derivative, hence the cheapest.

  qbar_i = (y_i - g(f_i))^T f_i, see `directional_penalty`. The short form is
  penalty="approximate", which is the default.

  Example:
    >>> jaxmix.penalties.approximate().order
    0
  """
  return Penalty(order=0)


def exact(input_mean: chex.ArrayTree | chex.Numeric = 0.0) -> Penalty:
  """|q_i|, MixupE (UAI 2023), eq. (1), by one forward-mode pass.

  q_i = (g(f(x_i)) - y_i)^T df(x_i)(xbar - x_i), see
  `exact_directional_penalty`. The short form penalty="exact" takes a mean of 0.

  Args:
    input_mean: xbar, a scalar or a pytree that broadcasts against the inputs
      (or, with mix_at, against that layer's features).

  Returns:
    The penalty.

  Example:
    >>> jaxmix.penalties.exact(input_mean=0.5).order
    1
  """
  return Penalty(order=1, input_mean=input_mean)


def taylor(
  order: int = 2,
  *,
  input_mean: chex.ArrayTree | chex.Numeric = 0.0,
  moments: chex.Array | None = None,
) -> Penalty:
  """sum_j E[(1 - lam)^j] / j! |psi_i^(j)|: MixupE of a higher order.

  Not in the paper, whose conclusion asks for it: the first J = order
  directional terms of its Theorem 1 instead of one, each kept from cancelling
  as the first is, psi_i(a) = l(f(x_i + a (xbar - x_i)), y_i). At order 1 it is
  `exact`. The short form penalty="taylor" is of order 2.

  Args:
    order: J >= 1.
    input_mean: xbar, as in `exact`.
    moments: [order + 1], E[(1 - lam)^j] for j = 0..order, which
      `theory.shift_moments(policy, order)` gives; None takes the plan's
      mean_shift, and for j > 1 the mean over the plan, an unbiased estimate.

  Returns:
    The penalty.

  Raises:
    ValueError: if order < 1, or moments are not [order + 1].

  Example:
    >>> policy = jaxmix.policies.mixup(alpha=1.0)
    >>> moments = jaxmix.theory.shift_moments(policy, 3)
    >>> jaxmix.penalties.taylor(3, moments=moments).order
    3
  """
  directional_terms.check_order(order)
  if moments is not None and np.shape(moments) != (order + 1,):
    raise ValueError(
      f"moments must be [order + 1] = ({order + 1},), got shape "
      f"{np.shape(moments)}."
    )
  return Penalty(order=order, input_mean=input_mean, moments=moments)


def release(
  threshold: chex.Numeric | None = None,
  *,
  version: int = 3,
  input_mean: chex.ArrayTree | chex.Numeric = 0.0,
) -> Penalty:
  """The penalties of the code that the authors of MixupE released.

  That code has four versions of R (`--mixupe_version`), none of which is the
  paper's; its README trains version 3 with a threshold of 1:
    1: q_i wherever q_i < threshold, g(f) - y a constant of the gradient;
    2: |q_i|, g(f) - y a constant;
    3: -qbar_i wherever qbar_i < threshold, differentiated through g(f) - y, as
      the paper does: its |qbar_i| becomes -qbar_i;
    4: -qbar_i, g(f) - y a constant.
  The short form penalty="release" is version 3 at a threshold of 1.

  Args:
    threshold: of versions 1 and 3; None takes the release's own, -1 and 1.
    version: 1, 2, 3 or 4.
    input_mean: xbar of versions 1 and 2, as in `exact`.

  Returns:
    The penalty.

  Raises:
    ValueError: if the version is unknown, or has no threshold and one is given.

  Example:
    >>> jaxmix.penalties.release(0.5).size(jnp.array([-2.0, 0.25, 3.0]))
    Array([ 2.  , -0.25,  0.  ], dtype=float32)
  """
  thresholds = {1: -1.0, 2: None, 3: 1.0, 4: None}
  if version not in thresholds:
    raise ValueError(
      f"version must be one of {tuple(thresholds)}, got {version!r}."
    )
  if threshold is None:
    threshold = thresholds[version]
  elif thresholds[version] is None:
    raise ValueError(
      f"threshold must be None for version={version}, which takes every "
      f"example; got {threshold!r}."
    )

  def kept(term):
    return jnp.where(term < threshold, term, 0.0)

  size: Callable[[chex.Array], chex.Array]
  size = {
    1: kept,
    2: jnp.abs,
    3: lambda dot: jnp.where(dot < threshold, -dot, 0.0),
    4: jnp.negative,
  }[version]
  return Penalty(
    order=1 if version < 3 else 0,
    size=size,
    input_mean=input_mean,
    detached=version != 3,
  )


_SHORT: Mapping[str, Callable[[], Penalty]] = {
  "approximate": approximate,
  "exact": exact,
  "taylor": taylor,
  "release": release,
}
