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

from jaxmix import checks, losses, penalties, policies, taylor
from jaxmix.holding import differentiate
from jaxmix.losses import LossFn
from jaxmix.penalties import directional_penalty as directional_penalty
from jaxmix.penalties import (
  exact_directional_penalty as exact_directional_penalty,
)
from jaxmix.penalties import taylor_penalty as taylor_penalty


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
  order: int = 2,
  moments: chex.Array | None = None,
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

  The Taylor penalty (not in the paper, whose conclusion asks for it) takes the
  first J = order directional terms of Theorem 1 instead of one, each kept from
  cancelling as the first is: R = sum_j E[(1 - lam)^j] / j! mean_i |psi_i^(j)|,
  psi_i(a) = l(f(x_i + a (xbar - x_i)), y_i). At order 1 it is the exact one.

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
    penalty: "approximate" (eq. 2), "exact" (eq. 1) or "taylor" (see above).
    order: J >= 1, of penalty="taylor" only.
    moments: E[(1 - lam)^j] for j = 0..order, `theory.shift_moments(policy,
      order)`, of penalty="taylor" only; None takes the plan's mean_shift, and
      for j > 1 the mean over the plan, an unbiased estimate.
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
      sizes differ, the plan has no mean_shift, loss_fn reduces, order < 1, or
      axis_name is not bound.
  """
  _check_options(x, labels, plan, penalty, order, moments, form, axis_name)
  checks.choice("penalty_at", penalty_at, ("clean", "mixed"))
  checks.choice("clean_pass", clean_pass, ("joint", "separate", "split"))
  clean, labels_clean = _clean_part(x, labels, clean_fraction)
  eta = checks.scalar("eta", eta)
  targets = plan.targets(labels)
  out = _run_passes(
    lambda batch, **kwargs: _with_aux(apply_fn(batch, **kwargs), has_aux),
    plan.mix(x),
    clean,
    "none" if penalty_at == "mixed" else clean_pass,
    has_aux,
    None if penalty == "approximate" else input_mean,
    order if penalty == "taylor" else 1,
  )
  there = labels_clean
  if penalty_at == "mixed":
    there = jax.tree.map(lambda leaf: leaf[: len(out.logits_there)], targets)
  term = _term_share(
    *(out.logits_there, out.moved_there, there, plan, moments),
    *(form, threshold, link, axis_name),
  )
  loss = _loss_share(loss_fn, out.logits, targets, plan.mask, axis_name)
  return _enhanced(loss, term, eta, out.logits, out.aux, axis_name)


def mixupe_value_and_grad(
  apply_fn: Callable[..., Any],
  params: chex.ArrayTree,
  x: chex.ArrayTree,
  labels: chex.Array,
  plan: Any,
  *,
  eta: chex.Numeric,
  loss_fn: LossFn = losses.softmax_cross_entropy,
  clean_fraction: float = 1.0,
  penalty: str = "approximate",
  order: int = 2,
  moments: chex.Array | None = None,
  form: str = "absolute",
  threshold: float = 1.0,
  input_mean: chex.ArrayTree | chex.Numeric = 0.0,
  link: str | None = None,
  axis_name: str | None = None,
  has_aux: bool = False,
) -> tuple[tuple[chex.Array, MixupEAux], chex.ArrayTree]:
  """`mixupe_loss` of two separate passes and its gradient, one after the other.

  The gradient is kappa (grad L + eta grad R): kappa, a constant, multiplies
  the sum. So L's backward pass needs nothing of R and ends before the clean
  pass begins, and no more activations are alive at a time than Mixup's own.
  Differentiating `mixupe_loss` keeps those of both passes, as its backward pass
  begins with kappa, which needs both values. For the same reason replicas
  average the gradients before they multiply by kappa: L and R can travel with
  them, and no product of either backward pass waits for those.

  Args:
    apply_fn: maps (params, inputs) to logits, or to (logits, aux) with has_aux;
      then the clean pass is `apply_fn(params, clean, state=aux)`, aux the mixed
      one's.
    params: pytree of floats, what is differentiated.
    x: pytree of [B, ...] float inputs, not mixed. This and what follows is as
      in `mixupe_loss`.
    labels: [B] integers or [B, K] probabilities.
    plan: of B examples, with a mean_shift.
    eta: weight of the penalty; may be traced.
    loss_fn: target-linear, (logits, labels) -> [B].
    clean_fraction: share of the examples that the penalty is taken over.
    penalty: "approximate", "exact" or "taylor".
    order: of the Taylor penalty.
    moments: of the Taylor penalty, or None.
    form: "absolute" or "release".
    threshold: of form="release".
    input_mean: xbar of the exact and the Taylor penalty.
    link: "softmax", "sigmoid" or None.
    axis_name: mapped axis over whose replicas L and R in kappa and the
      gradients are averaged: one pmean of all.
    has_aux: whether `apply_fn` returns (logits, aux).

  Returns:
    ((loss, `MixupEAux`), gradients), those of
    `jax.value_and_grad(..., has_aux=True)` of mixupe_loss with clean_pass=
    "separate", up to rounding. With axis_name the loss is this replica's share,
    as there, and the gradients are those on the whole batch already, under
    every mapping.

  Raises:
    TypeError: as `mixupe_loss` does.
    ValueError: likewise.
  """
  _check_options(x, labels, plan, penalty, order, moments, form, axis_name)
  clean, labels_clean = _clean_part(x, labels, clean_fraction)
  eta = checks.scalar("eta", eta)
  targets = plan.targets(labels)

  def run(params):
    return lambda batch, **kwargs: _with_aux(
      apply_fn(params, batch, **kwargs), has_aux
    )

  def mixed_loss(params):
    logits, aux = run(params)(plan.mix(x))
    loss = _loss_share(loss_fn, logits, targets, plan.mask, axis_name)
    return loss, (logits, aux)

  def clean_term(params, clean, aux):
    state = {"state": aux} if has_aux else {}
    there, moved, aux = _forward(
      run(params),
      clean,
      None
      if penalty == "approximate"
      else penalties.towards_mean(clean, input_mean),
      order if penalty == "taylor" else 1,
      **state,
    )
    term = _term_share(
      *(there, moved, labels_clean, plan, moments),
      *(form, threshold, link, axis_name),
    )
    return term, aux

  first, second = (
    jax.value_and_grad(f, has_aux=True) for f in (mixed_loss, clean_term)
  )
  (loss, (logits, aux)), grads = first(params)
  # Else a compiler may run the two forward passes first. Only what differs from
  # replica to replica may go through: shard_map takes all that does for such.
  clean, _ = jax.lax.optimization_barrier((clean, grads))
  (term, aux), slopes = second(params, clean, aux)
  grads = jax.tree.map(
    lambda g, s: g + jnp.asarray(eta, g.dtype) * s, grads, slopes
  )
  if axis_name is not None:
    grads = _mean_gradients(grads, loss, axis_name)
  value, aux = _enhanced(loss, term, eta, logits, aux, axis_name)
  grads = jax.tree.map(lambda g: aux.scale.astype(g.dtype) * g, grads)
  return (value, aux), grads


def _mean_gradients(grads, loss, axis_name):
  """The replicas' mean, of own gradients or of what shard_map summed."""

  def varies(x):
    return axis_name in jax.typeof(x).manual_axis_type.varying

  if not varies(loss):
    return jax.lax.pmean(grads, axis_name)
  # check_vma=True: gradients of replicated parameters are sums already.
  count = jax.lax.axis_size(axis_name)
  return jax.tree.map(
    lambda g: jax.lax.pmean(g, axis_name) if varies(g) else g / count, grads
  )


def _clean_part(x, labels, clean_fraction):
  """The first ceil(clean_fraction * B) examples and their labels."""
  if isinstance(clean_fraction, jax.core.Tracer):
    raise TypeError(
      "clean_fraction must be a Python number: it sets the size of a batch."
    )
  checks.scalar(
    "clean_fraction", clean_fraction, low=0.0, high=1.0, open_low=True
  )
  size = checks.batch_size(x=x, labels=labels)
  # 0.07 * 100 is 7.000000000000001 in floating point.
  count = max(1, math.ceil(clean_fraction * size - 1e-6))
  return jax.tree.map(lambda leaf: leaf[:count], (x, labels))


def _loss_share(loss_fn, logits, targets, mask, axis_name):
  """This replica's share of L."""
  values = losses.mixed_loss(loss_fn, logits, targets)
  if values.ndim != 1:
    raise ValueError(
      f"loss_fn must return [B] = [{len(logits)}] losses, got {values.shape}."
    )
  return replica_mean(values.astype(jnp.float32), mask, axis_name)


def _term_share(
  logits, moved, labels, plan, moments, form, threshold, link, axis_name
):
  """This replica's share of R, from what the clean pass gave."""
  if len(moved) == 1:
    signed = [penalties.residual_dot(logits, moved[0], labels, link)]
  else:
    signed = penalties.loss_derivatives(logits, moved, labels, link)
  if form == "release":
    terms = [jnp.where(dot < threshold, -dot, 0.0) for dot in signed]
  else:
    terms = [jnp.abs(dot) for dot in signed]
  mask = None if plan.mask is None else plan.mask[: len(logits)]
  factors = _factors(plan, moments, len(terms), axis_name)
  term, *higher = (
    factor * replica_mean(values, mask, axis_name)
    for factor, values in zip(factors, terms, strict=True)
  )
  for more in higher:
    term += more
  return term


def _enhanced(loss, term, eta, logits, aux, axis_name):
  """kappa (L + eta R) of this replica's shares, and what came with it."""
  total_loss, total_term = jax.lax.stop_gradient((loss, term))
  if axis_name is not None:
    total_loss, total_term = jax.lax.pmean(
      jnp.stack([total_loss, total_term]), axis_name
    )
  scale = _scale(total_loss, total_term, eta)
  value = scale * (loss + eta * term)
  return value, MixupEAux(total_loss, total_term, scale, logits, aux)


def _factors(plan, moments, order, axis_name) -> list[chex.Array]:
  """E[(1 - lam)^j] / j! for j = 1..order."""
  factors = [jnp.asarray(plan.mean_shift, jnp.float32)]
  for j in range(2, order + 1):
    if moments is not None:
      moment = jnp.asarray(moments[j]).astype(jnp.float32)
    else:
      powers = policies.shift_power(plan.lam, plan.weight, j)
      moment = replica_mean(powers, plan.mask, axis_name)
      if axis_name is not None:
        moment = jax.lax.pmean(moment, axis_name)
    factors.append(moment / math.factorial(j))
  return factors


def _check_options(x, labels, plan, penalty, order, moments, form, axis_name):
  """Raises what is documented of the options that both functions have."""
  checks.batch_size(x=x, labels=labels, plan=plan.lam)
  checks.floating("x", x)
  checks.choice("penalty", penalty, ("approximate", "exact", "taylor"))
  checks.choice("form", form, ("absolute", "release"))
  if penalty == "taylor":
    penalties.check_order(x, order)
    if moments is not None and jnp.shape(moments) != (order + 1,):
      raise ValueError(
        f"moments must be [order + 1] = ({order + 1},), got shape "
        f"{jnp.shape(moments)}."
      )
  if form == "release" and penalty != "approximate":
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


class _Passes(NamedTuple):
  """Outputs at the mixed inputs, and at the points where the penalty is taken.

  Attributes:
    logits: [B, ...], at the mixed inputs.
    logits_there: [m, ...], at the penalty's points.
    moved_there: [m, ...] each, their derivatives towards the mean, the first
      first; for the approximate penalty the logits themselves.
    aux: of the last pass.
  """

  logits: chex.Array
  logits_there: chex.Array
  moved_there: list[chex.Array]
  aux: Any


def _run_passes(
  run, mixed, clean, clean_pass, has_aux, input_mean, order
) -> _Passes:
  """Runs the model on the mixed and the clean inputs, as `clean_pass` says.

  clean_pass "none" takes the penalty at the first of the mixed inputs. An
  input_mean of None stands for the approximate penalty: no derivatives.
  """
  size = checks.batch_size(mixed=mixed)
  count = checks.batch_size(clean=clean)

  def forward(inputs, tangents, **kwargs):
    return _forward(run, inputs, tangents, order, **kwargs)

  def towards(inputs):
    return (
      None if input_mean is None else penalties.towards_mean(inputs, input_mean)
    )

  if clean_pass == "none":
    logits, moved, aux = forward(mixed, towards(mixed))
    return _Passes(logits, logits[:count], [m[:count] for m in moved], aux)
  if clean_pass == "separate":
    logits, _, aux = forward(mixed, None)
    state = {"state": aux} if has_aux else {}
    there, moved, aux = forward(clean, towards(clean), **state)
    return _Passes(logits, there, moved, aux)
  tangents = None
  if input_mean is not None:
    still = jax.tree.map(jnp.zeros_like, mixed)
    tangents = _concatenate(still, towards(clean))
  parts = {"parts": (size, count)} if clean_pass == "split" else {}
  both, moved, aux = forward(_concatenate(mixed, clean), tangents, **parts)
  return _Passes(both[:size], both[size:], [m[size:] for m in moved], aux)


def _forward(run, inputs, tangents, order, **kwargs):
  """(logits, their derivatives, aux) of one pass; without tangents, logits."""
  call = lambda batch: run(batch, **kwargs)
  if tangents is None:
    logits, aux = call(inputs)
    return logits, [logits], aux
  if order == 1:
    logits, moved, aux = differentiate(
      lambda: jax.jvp(call, (inputs,), (tangents,), has_aux=True)
    )
    return logits, [moved], aux
  # The pass that brings aux is the one inside the derivatives: the compiler
  # makes one of the two.
  _, aux = call(inputs)
  logits, *moved = differentiate(
    lambda: taylor.derivatives(
      lambda batch: call(batch)[0], inputs, tangents, order
    )
  )
  return logits, moved, aux


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
