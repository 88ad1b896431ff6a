"""MixupE: the loss enhancement by directional derivatives (UAI 2023).

L~ = kappa (L + eta R) with L the mixed loss, R = mean_shift * mean_i |q_i| and
kappa bringing the value back to |L|. f are logits, g the link (softmax or
sigmoid), y one-hot.
"""

from __future__ import annotations

from collections.abc import Callable
import math
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxmix import checks, losses
from jaxmix.losses import LossFn, MixedTargets


class MixupEAux(NamedTuple):
  """What `mixupe_loss` computed on the way.

  Attributes:
    mixup_loss: L, the mixed loss, a mean over all replicas where axis_name is
    given.
    penalty: R, with its factor mean_shift, likewise.
    scale: kappa.
    logits: the model's outputs at the mixed inputs, [B, ...].
    aux: what `apply_fn` returned beside its logits in the last pass (has_aux),
      or None.
  """

  mixup_loss: chex.Array
  penalty: chex.Array
  scale: chex.Array
  logits: chex.Array
  aux: Any


def directional_penalty(
  logits: chex.Array,
  labels: chex.Array | MixedTargets,
  *,
  link: str | None = None,
) -> chex.Array:
  """qbar_i = (y_i - g(f_i))^T f_i, the approximate first-order term, signed.

  MixupE (UAI 2023), eq. (2): equals the exact q_i of eq. (1) where the inputs'
  mean is zero and the network positively homogeneous (bias-free ReLU).

  Args:
    logits: f, [B, K] with softmax, [B] (or [B, K]) with sigmoid; any float
    dtype.
    labels: [B] integers, [B, K] probabilities, or `MixedTargets` of either;
      with sigmoid, probabilities or 0/1 shaped like the logits.
    link: "softmax", "sigmoid", or None: sigmoid for [B] logits, softmax
    otherwise.

  Returns:
    float32 [B].

  Raises:
    TypeError: if labels are neither integers nor floats.
    ValueError: if shapes do not fit or the link is unknown.
  """
  return _residual_dot(logits, logits, labels, link)


def exact_directional_penalty(
  apply_fn: Callable[..., Any],
  x: chex.ArrayTree,
  labels: chex.Array | MixedTargets,
  input_mean: chex.ArrayTree | chex.Numeric = 0.0,
  *,
  link: str | None = None,
) -> chex.Array:
  """q_i = (g(f(x_i)) - y_i)^T df(x_i)(xbar - x_i), the exact first-order term.

  MixupE (UAI 2023), eq. (1), by one forward-mode `jax.jvp`: no double backward
  when its gradient is taken. An `apply_fn` that couples examples (batch norm in
  training mode) is differentiated with its coupling.

  Args:
    apply_fn: maps inputs to logits.
    x: pytree of [B, ...] float inputs.
    labels: as in `directional_penalty`.
    input_mean: xbar: a scalar, or a pytree like `x` whose leaves broadcast
      against x's (such as [1, C] or [1, H, W, C]; per-channel means as [1, 1,
      1, C]).
    link: as in `directional_penalty`.

  Returns:
    float32 [B].

  Raises:
    TypeError: if inputs are not floating point or labels make no sense.
    ValueError: if shapes do not fit or the link is unknown.
  """
  checks.floating("x", x)
  checks.batch_size(x=x)
  logits, tangent = jax.jvp(apply_fn, (x,), (_towards_mean(x, input_mean),))
  return -_residual_dot(logits, tangent, labels, link)


def enhance_loss(
  loss: chex.Array, penalty: chex.Array, eta: chex.Numeric
) -> chex.Array:
  """kappa (L + eta R), kappa = stop_gradient(|L| / |L + eta R|).

  MixupE (UAI 2023), eq. (5). The value is |L| (with the sign of L + eta R, for
  losses that can be negative) whatever eta is; only
  the gradient changes. Where L + eta R = 0 no scale exists and kappa is 1.

  Args:
    loss: L, scalar.
    penalty: R, scalar.
    eta: weight of the penalty; may be traced.

  Returns:
    The enhanced scalar loss.

  Raises:
    ValueError: if the loss or the penalty is not a scalar, or eta is not
    finite.
  """
  for name, value in (("loss", loss), ("penalty", penalty)):
    if jnp.ndim(value) != 0:
      raise ValueError(
        f"{name} must be a scalar (take its mean first), got shape "
        f"{jnp.shape(value)}."
      )
  eta = checks.scalar("eta", eta)
  return _scale(loss, penalty, eta) * (loss + eta * penalty)


def mixupe_loss(
  apply_fn: Callable[..., Any],
  x: chex.ArrayTree,
  labels: chex.Array,
  plan: Any,
  *,
  eta: chex.Numeric,
  loss_fn: LossFn = losses.softmax_cross_entropy,
  clean_fraction: float = 1.0,
  penalty: str = "approximate",
  penalty_at: str = "clean",
  clean_pass: str = "joint",
  form: str = "absolute",
  threshold: float = 1.0,
  input_mean: chex.ArrayTree | chex.Numeric = 0.0,
  link: str | None = None,
  axis_name: str | None = None,
  has_aux: bool = False,
) -> tuple[chex.Array, MixupEAux]:
  """MixupE's loss of one batch under any plan: L~ = kappa (L + eta R).

  MixupE (UAI 2023), eqs. (4) and (5), R = mean_shift * mean_i |q_i|. Every mean
  is over real examples (plan.mask). The loss to differentiate is returned
  first; its value is |L| on one replica.

  The mixed and the clean examples go through the model as `clean_pass` says:
    joint: one concatenated batch, as the paper runs ImageNet; batch norm's
      statistics are those of the mixture.
    separate: `apply_fn(mixed)`, then `apply_fn(clean)`, the paper's listing.
      With has_aux the second call is `apply_fn(clean, state=aux)`, aux the
      first's, so that running averages move twice, mixed first.
    split: one concatenated batch, `apply_fn(both, parts=(B, m))`; the model
      normalises each part by its own statistics. Equal to separate up to
      rounding, at joint's cost.
  Without batch norm all three are equal.

  With the exact penalty, joint and split push a zero tangent through the mixed
  part too; separate does not, and is cheaper.

  Args:
    apply_fn: maps inputs (and `parts` or `state`, see above) to logits, or to
      (logits, aux) with has_aux.
    x: pytree of [B, ...] float inputs, not mixed.
    labels: [B] integers or [B, K] probabilities.
    plan: a `MixPlan` or `CutMixPlan` of B examples with a mean_shift.
    eta: weight of the penalty; may be traced. At 0 the clean pass still runs:
      the control that every comparison under batch norm needs.
    loss_fn: target-linear, (logits, labels) -> [B].
    clean_fraction: rho in (0, 1]: the penalty is taken over the first ceil(rho
      B) examples, an unbiased estimate where batches are in random order.
    penalty: "approximate" (eq. 2) or "exact" (eq. 1).
    penalty_at: "clean", or "mixed": at the mixed points with the mixed labels,
      with no clean pass at all (not in the paper).
    clean_pass: "joint", "separate" or "split".
    form: "absolute", |q_i| as in the paper, or "release": the form of the
      authors' released code (its recommended version 3), which subtracts eta *
      qbar_i wherever qbar_i < threshold.
    threshold: for form="release" only; the release's README takes 1.
    input_mean: xbar of the exact penalty, see `exact_directional_penalty`.
    link: "softmax", "sigmoid" or None, see `directional_penalty`.
    axis_name: mapped axis over whose replicas L and R in kappa (and the counts
      of real examples) are averaged. The mean of the replicas' gradients is
      then the gradient on the whole batch, however it is divided.
    has_aux: whether `apply_fn` returns (logits, aux).

  Returns:
    (loss, `MixupEAux`). With axis_name the loss is this replica's share: the
    mean over replicas has the value |L|. Average the replicas' gradients, or
    differentiate `jax.lax.pmean(loss, axis_name)`; under shard_map with
    check_vma=True, which sums gradients of replicated parameters by itself, do
    the latter.

  Raises:
    TypeError: if inputs are not floating point or labels make no sense.
    ValueError: if an option is unknown, clean_fraction is outside (0, 1], batch
      sizes differ, the plan has no mean_shift, loss_fn reduces, or axis_name is
      not bound.
  """
  checks.floating("x", x)
  size = checks.batch_size(x=x, labels=labels, plan=plan.lam)
  checks.choice("penalty", penalty, ("approximate", "exact"))
  checks.choice("penalty_at", penalty_at, ("clean", "mixed"))
  checks.choice("clean_pass", clean_pass, ("joint", "separate", "split"))
  checks.choice("form", form, ("absolute", "release"))
  if isinstance(clean_fraction, jax.core.Tracer):
    raise TypeError(
      "clean_fraction must be a Python number: it sets the size of a batch."
    )
  checks.scalar(
    "clean_fraction", clean_fraction, low=0.0, high=1.0, open_low=True
  )
  if form == "release" and penalty == "exact":
    raise ValueError(
      'form="release" is defined for penalty="approximate" only.'
    )
  if plan.mean_shift is None:
    raise ValueError(
      "plan.mean_shift is None, but scales the penalty; draw the plan by "
      "jaxmix.draw, or set it, e.g. to policy.mean_shift."
    )
  if axis_name is not None:
    checks.bound_axis(axis_name)
  eta = checks.scalar("eta", eta)

  # 0.07 * 100 is 7.000000000000001 in floating point.
  count = max(1, math.ceil(clean_fraction * size - 1e-6))
  targets = plan.targets(labels)
  mixed = plan.mix(x)
  exact = penalty == "exact"

  def first(tree):
    return jax.tree.map(lambda leaf: leaf[:count], tree)

  def forward(inputs, tangents, **kwargs):
    """(logits, their tangent or the logits themselves, aux)."""
    run = lambda batch: _with_aux(apply_fn(batch, **kwargs), has_aux)
    if tangents is None:
      logits, aux = run(inputs)
      return logits, logits, aux
    return jax.jvp(run, (inputs,), (tangents,), has_aux=True)

  def towards(inputs):
    return _towards_mean(inputs, input_mean) if exact else None

  if penalty_at == "mixed":
    points, point_labels = mixed, targets
    logits, moved, aux = forward(mixed, towards(mixed))
    point_logits, point_moved = first(logits), first(moved)
    point_labels = first(targets)
  elif clean_pass == "separate":
    points, point_labels = first(x), labels[:count]
    logits, _, aux = forward(mixed, None)
    state = {"state": aux} if has_aux else {}
    point_logits, point_moved, aux = forward(points, towards(points), **state)
  else:
    points, point_labels = first(x), labels[:count]
    both = _concatenate(mixed, points)
    tangents = None
    if exact:
      still = jax.tree.map(jnp.zeros_like, mixed)
      tangents = _concatenate(still, towards(points))
    parts = {"parts": (size, count)} if clean_pass == "split" else {}
    both_logits, both_moved, aux = forward(both, tangents, **parts)
    logits = both_logits[:size]
    point_logits, point_moved = both_logits[size:], both_moved[size:]

  dot = _residual_dot(point_logits, point_moved, point_labels, link)
  if form == "release":
    terms = jnp.where(dot < threshold, -dot, 0.0)
  else:
    terms = jnp.abs(dot)

  mask = plan.mask
  values = losses.mixed_loss(loss_fn, logits, targets)
  if values.ndim != 1:
    raise ValueError(
      f"loss_fn must return [B] = [{size}] losses, got {values.shape}."
    )
  loss = replica_mean(values.astype(jnp.float32), mask, axis_name)
  point_mask = None if mask is None else mask[:count]
  shift = jnp.asarray(plan.mean_shift, jnp.float32)
  term = shift * replica_mean(terms, point_mask, axis_name)

  total_loss, total_term = jax.lax.stop_gradient((loss, term))
  if axis_name is not None:
    total_loss, total_term = jax.lax.pmean(
      jnp.stack([total_loss, total_term]), axis_name
    )
  scale = _scale(total_loss, total_term, eta)
  enhanced = scale * (loss + eta * term)
  return enhanced, MixupEAux(total_loss, total_term, scale, logits, aux)


def replica_mean(
  values: chex.Array, mask: chex.Array | None, axis_name: str | None
) -> chex.Array:
  """This replica's share of the mean of `values` over real examples.

  Shares are scaled so that their mean over replicas (what `pmean` of losses or
  gradients takes) is the mean over all real examples, even where replicas hold
  different numbers of them.

  Args:
    values: [B] floats.
    mask: bool [B], or None: all real.
    axis_name: mapped axis of the replicas, or None.

  Returns:
    Scalar.
  """
  if mask is None:
    return jnp.mean(values)
  count = jnp.sum(mask, dtype=values.dtype)
  if axis_name is not None:
    count = jax.lax.pmean(count, axis_name)
  # Below one only when there are no examples at all, or fewer than replicas.
  safe = jnp.where(count > 0.0, count, 1.0)
  return jnp.sum(jnp.where(mask, values, 0.0)) / safe


def _scale(loss, penalty, eta):
  """kappa of eq. (5), without gradient."""
  total = jnp.abs(loss + eta * penalty)
  safe = jnp.where(total > 0.0, total, 1.0)
  scale = jnp.where(total > 0.0, jnp.abs(loss) / safe, 1.0)
  return jax.lax.stop_gradient(scale)


def _with_aux(output, has_aux):
  return output if has_aux else (output, None)


def _concatenate(first, second):
  return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), first, second)


def _towards_mean(x, input_mean):
  """xbar - x, leaf by leaf; a scalar xbar stands for every leaf."""
  single = jax.tree_util.treedef_is_leaf(jax.tree.structure(input_mean))
  if single and jnp.ndim(input_mean) == 0:
    return jax.tree.map(
      lambda leaf: jnp.asarray(input_mean, leaf.dtype) - leaf, x
    )
  return jax.tree.map(
    lambda leaf, mean: jnp.asarray(mean, leaf.dtype) - leaf, x, input_mean
  )


def _residual_dot(logits, vectors, labels, link):
  """(y_i - g(f_i))^T v_i in float32, [B], without a one-hot."""
  if link is None:
    link = "sigmoid" if logits.ndim == 1 else "softmax"
  checks.choice("link", link, ("softmax", "sigmoid"))
  if logits.ndim not in (1, 2) or (link == "softmax" and logits.ndim != 2):
    raise ValueError(
      f"logits must be [B, K] (or [B] with link='sigmoid'), got shape "
      f"{logits.shape} with link={link!r}."
    )
  logits = logits.astype(jnp.float32)
  vectors = vectors.astype(jnp.float32)
  if link == "softmax":
    pulled = jnp.sum(jax.nn.softmax(logits) * vectors, axis=-1)
  else:
    pulled = _sum_classes(jax.nn.sigmoid(logits) * vectors)
  if not isinstance(labels, MixedTargets):
    return _label_dot(vectors, labels, link) - pulled
  own = _label_dot(vectors, labels.first, link)
  other = _label_dot(vectors, labels.second, link)
  return labels.weight * own + (1.0 - labels.weight) * other - pulled


def _label_dot(vectors, labels, link):
  """y_i^T v_i for integer or dense labels, [B]."""
  checks.label_array("labels", labels)
  integer = jnp.issubdtype(jnp.result_type(labels), jnp.integer)
  if link == "softmax" and integer:
    if jnp.shape(labels) != vectors.shape[:1]:
      raise ValueError(
        f"integer labels must be [B] = {vectors.shape[:1]}, got "
        f"{jnp.shape(labels)}."
      )
    index = jnp.asarray(labels)[:, None]
    return jnp.take_along_axis(vectors, index, axis=-1)[:, 0]
  if jnp.shape(labels) != vectors.shape:
    raise ValueError(
      f"labels must have the logits' shape {vectors.shape}, got "
      f"{jnp.shape(labels)}."
    )
  return _sum_classes(jnp.asarray(labels).astype(jnp.float32) * vectors)


def _sum_classes(values):
  return values if values.ndim == 1 else jnp.sum(values, axis=-1)
