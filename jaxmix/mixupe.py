"""MixupE: the loss enhancement by directional derivatives (UAI 2023).

L~ = kappa (L + eta R) with L the mixed loss, R = mean_shift * mean_i |q_i| and
kappa bringing the value back to |L|. f are logits, g the link (softmax or
sigmoid), y one-hot. eta may be relative to the loss, see `enhance_loss`.
"""

from __future__ import annotations

from collections.abc import Callable
import functools
import math
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxmix import checks, losses, passes, replicas, terms, weights
from jaxmix.losses import LossFn
from jaxmix.mixing import Plan
from jaxmix.penalties import Penalty

PENALTY_AT = ("clean", "mixed")
CLEAN_PASSES = ("joint", "separate", "split")
ETA_SCALES = weights.ETA_SCALES


class MixupEAux(NamedTuple):
  """What `mixupe_loss` computed on the way.

  L and R carry their gradients, kappa and eta have none: `scale * (mixup_loss +
  eta * penalty)` has the loss's value and gradient. With axis_name they behave
  as `jax.lax.pmean` of the replicas' shares does: the replicas' gradients
  average to those on the whole batch.

  Attributes:
    mixup_loss: L, the mixed loss, a mean over all replicas where axis_name is
      given.
    penalty: R, with its factor mean_shift, likewise.
    scale: kappa, a constant; 1 where rescale=False.
    logits: the model's outputs at the mixed inputs, [B, ...].
    aux: what `apply_fn` returned beside its logits in the last pass (has_aux),
      or None.
    eta: the weight that R had: eta itself, or with eta_scale="relative" eta_t.
  """

  mixup_loss: chex.Array
  penalty: chex.Array
  scale: chex.Array
  logits: chex.Array
  aux: Any
  eta: chex.Array


def enhance_loss(
  loss: chex.Array,
  penalty: chex.Array,
  eta: chex.Numeric,
  *,
  eta_scale: str = "absolute",
) -> chex.Array:
  """kappa (L + eta R), kappa = stop_gradient(|L| / |L + eta R|).

  MixupE (UAI 2023), eq. (5). The value is |L| (with the sign of L + eta R, for
  losses that can be negative) whatever eta is; only the gradient changes. Where
  L + eta R = 0 no scale exists and kappa is 1.

  eta_scale="relative" (ours, in no paper) puts eta_t = eta stop_gradient(|L R|
  / (L^2 + R^2)) in eta's place: near eta L / R where R is large, near eta R / L
  where it is small, at most eta / 2. With eta L / R throughout, logits of 0
  would attract: R vanishes there, and the weight has no bound. For L, R >= 0,
  kappa = 1 / (1 + eta R^2 / (L^2 + R^2)), which lies in [1 / (1 + eta), 1].

  Args:
    loss: L, scalar.
    penalty: R, scalar.
    eta: weight of the penalty; may be traced.
    eta_scale: "absolute" or "relative".

  Returns:
    The enhanced scalar loss.

  Raises:
    ValueError: if the loss or the penalty is not a scalar, eta is not finite,
      or eta_scale is unknown.

  Example:
    >>> enhanced = lambda w: jaxmix.enhance_loss(2.0 * w, 3.0 * w, eta=2.0)
    >>> value, slope = jax.value_and_grad(enhanced)(1.0)
    >>> print(value, slope)
    2.0 2.0
  """
  for name, value in (("loss", loss), ("penalty", penalty)):
    if jnp.ndim(value) != 0:
      raise ValueError(
        f"{name} must be a scalar (take its mean first), got shape "
        f"{jnp.shape(value)}."
      )
  eta = checks.scalar("eta", eta)
  eta = weights.of_penalty(loss, penalty, eta, eta_scale)
  return weights.kappa(loss, penalty, eta) * (loss + eta * penalty)


def mixupe_loss(
  apply_fn: Callable[..., Any],
  x: chex.ArrayTree,
  labels: chex.Array,
  plan: Plan,
  *,
  eta: chex.Numeric,
  loss_fn: LossFn = losses.softmax_cross_entropy,
  clean_fraction: float = 1.0,
  penalty: Penalty | str = "approximate",
  penalty_at: str = "clean",
  clean_pass: str = "joint",
  mix_at: int = 0,
  link: str | None = None,
  rescale: bool = True,
  eta_scale: str = "absolute",
  axis_name: str | None = None,
  has_aux: bool = False,
) -> tuple[chex.Array, MixupEAux]:
  """MixupE's loss of one batch under any plan: L~ = kappa (L + eta R).

  MixupE (UAI 2023), eqs. (4) and (5), R = mean_shift * mean_i |q_i|. Every mean
  is over real examples (plan.mask). The loss to differentiate is returned
  first; its value is |L| on one replica. rescale=False leaves kappa out: the
  loss is L + eta R itself, and so is its value.

  The mixed and the clean examples go through the model as `clean_pass` says:
    joint: one concatenated batch, as the paper runs ImageNet; batch norm's
      statistics are those of the mixture.
    separate: `apply_fn(mixed)`, then `apply_fn(clean)`, the paper's listing.
      With has_aux the second call is `apply_fn(clean, state=aux)`, aux the
      first's, so that running averages move twice, mixed first.
    split: one concatenated batch, `apply_fn(both, parts=(B, m))`; the model
      normalises each part by its own statistics. Equal to separate up to
      rounding, and to what the model draws itself, at joint's cost.
  Without batch norm, and without dropout or drop path, all three are equal.
  What the model draws itself it draws for B + m examples in joint and split,
  each part its own; in separate both calls draw by the key that apply_fn holds,
  the same masks if it holds one and m = B: with has_aux, `state=` tells the
  second, for a key of its own.

  Where the plan has a mask and `apply_fn` an argument of the name, every call
  is given `mask=`, bool, of its rows: batch norm must not count padded ones
  (`jaxmix.models` take one). Without, its statistics hold them.

  With mix_at > 0 the plan mixes features instead of inputs (manifold mixup, see
  `jaxmix.hidden`), and what follows the place is the network that MixupE sees:
  an exact or a Taylor penalty is the derivative in the features there, towards
  input_mean. joint and split are one call `apply_fn(x, tap=tap)`, in which the
  batch grows to B + m at the place only; separate is `apply_fn(x, tap=tap)`,
  then a clean pass from the input on. Inputs may then be integers.

  With an exact or a Taylor penalty, joint and split push a zero tangent through
  the mixed part too; separate does not, and is cheaper. Statistics that batch
  norm takes over the batch are held along it, see `jaxmix.hold`.

  Args:
    apply_fn: maps inputs (and `parts`, `state`, `tap` or `mask`, see above) to
      logits, or to (logits, aux) with has_aux.
    x: pytree of [B, ...] float inputs, not mixed.
    labels: [B] integers or [B, K] probabilities.
    plan: a `MixPlan` or `CutMixPlan` of B examples with a mean_shift.
    eta: weight of the penalty; may be traced. At 0 the clean pass still runs:
      the control that every comparison under batch norm needs.
    loss_fn: target-linear, (logits, labels) -> [B].
    clean_fraction: rho in (0, 1]: the penalty is taken over the first ceil(rho
      B) examples, an unbiased estimate where batches are in random order.
    penalty: a value made by `jaxmix.penalties`: approximate(), eq. (2),
      exact(input_mean), eq. (1), taylor(order, ...) or release(threshold); or
      the name of one of these, for its defaults.
    penalty_at: "clean", or "mixed": at the mixed points with the mixed labels,
      with no clean pass at all (not in the paper).
    clean_pass: "joint", "separate" or "split".
    mix_at: where the plan mixes: 0, the input, or a later place of the model's,
      `model.stages.index(name)` (see above).
    link: None takes the penalty of loss_fn itself, whatever it is: dl/df stands
      for g(f) - y, with label smoothing, class weights and all. "softmax" and
      "sigmoid" name h(f) - y f instead, see `directional_penalty`.
    rescale: whether kappa brings the value back to |L|. Without it a step is
      longer, by the factor 1 / kappa.
    eta_scale: "absolute", or "relative": eta_t of `enhance_loss` in eta's
      place, of L and R over all replicas.
    axis_name: mapped axis over whose replicas L and R in kappa (and the counts
      of real examples) are averaged. The mean of the replicas' gradients is
      then the gradient on the whole batch, however it is divided.
    has_aux: whether `apply_fn` returns (logits, aux).

  Returns:
    (loss, `MixupEAux`). With axis_name the loss is this replica's share: the
    mean over replicas has the value |L| (or L + eta R). Average the replicas'
    gradients, or differentiate `jax.lax.pmean(loss, axis_name)`; under
    shard_map with check_vma=True, which sums gradients of replicated parameters
    by itself, do the latter.

  Raises:
    TypeError: if inputs are not floating point, labels make no sense, or the
      plan is none.
    ValueError: if an option is unknown, clean_fraction is outside (0, 1], batch
      sizes differ, the plan has no mean_shift, loss_fn reduces, or axis_name is
      not bound.

  Example:
    >>> lam, partner = jnp.array([0.75, 0.5]), jnp.array([1, 0])
    >>> plan = jaxmix.MixPlan(lam, lam, partner, mean_shift=0.25)
    >>> model, batch = lambda x: x, (jnp.eye(2), jnp.array([0, 1]), plan)
    >>> loss, aux = jaxmix.mixupe_loss(model, *batch, eta=1.0, penalty="exact")
    >>> print(loss.round(4), aux.penalty.round(4))
    0.6461 0.0672
  """
  penalty, x = _checked(x, labels, plan, penalty, mix_at, axis_name)
  own = terms.link_of(loss_fn, link)
  checks.choice("penalty_at", penalty_at, PENALTY_AT)
  checks.choice("clean_pass", clean_pass, CLEAN_PASSES)
  count = _clean_count(len(plan.lam), clean_fraction)
  eta = checks.scalar("eta", eta)
  targets = plan.targets(labels)
  call = passes.masked(apply_fn, plan.mask)
  out = passes.run(
    lambda inputs, **kwargs: _with_aux(call(inputs, **kwargs), has_aux),
    *(x, plan, penalty),
    place=mix_at,
    count=count,
    clean_pass="none" if penalty_at == "mixed" else clean_pass,
    has_aux=has_aux,
  )
  there = passes.first(labels if penalty_at == "clean" else targets, count)
  sizes = penalty.terms(out.logits_there, out.moved_there, there, own)
  term = penalty.share(sizes, plan, axis_name)
  loss = _loss_share(loss_fn, out.logits, targets, plan.mask, axis_name)
  came = out.logits, out.aux
  return _enhanced(loss, term, eta, rescale, eta_scale, axis_name, *came)


def mixupe_value_and_grad(
  apply_fn: Callable[..., Any],
  params: chex.ArrayTree,
  x: chex.ArrayTree,
  labels: chex.Array,
  plan: Plan,
  *,
  eta: chex.Numeric,
  loss_fn: LossFn = losses.softmax_cross_entropy,
  clean_fraction: float = 1.0,
  penalty: Penalty | str = "approximate",
  mix_at: int = 0,
  link: str | None = None,
  rescale: bool = True,
  eta_scale: str = "absolute",
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
    penalty: a value made by `jaxmix.penalties`, or its name.
    mix_at: where the plan mixes.
    link: None, "softmax" or "sigmoid".
    rescale: whether kappa multiplies loss and gradient, as in `mixupe_loss`.
    eta_scale: "absolute" or "relative". A relative one needs L and R of all
      replicas before the gradients are added: one more pmean, of two numbers.
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

  Example:
    >>> model, params = lambda w, x: x @ w, jnp.ones((3, 2))
    >>> policy = jaxmix.policies.mixup(1.0)
    >>> plan = jaxmix.draw(jax.random.key(0), 4, policy=policy)
    >>> batch = jnp.ones((4, 3)), jnp.array([0, 1, 0, 1]), plan
    >>> jaxmix.mixupe_value_and_grad(model, params, *batch, eta=1.0)[1].shape
    (3, 2)
  """
  penalty, x = _checked(x, labels, plan, penalty, mix_at, axis_name)
  own = terms.link_of(loss_fn, link)
  params = checks.arrays("params", params)
  count = _clean_count(len(plan.lam), clean_fraction)
  clean, labels_clean = passes.first((x, labels), count)
  eta = checks.scalar("eta", eta)
  targets = plan.targets(labels)

  def run(params):
    call = passes.masked(functools.partial(apply_fn, params), plan.mask)
    return lambda inputs, **kwargs: _with_aux(call(inputs, **kwargs), has_aux)

  def mixed_loss(params):
    logits, aux = passes.mixed(run(params), x, plan, mix_at)
    loss = _loss_share(loss_fn, logits, targets, plan.mask, axis_name)
    return loss, (logits, aux)

  def clean_term(params, clean, aux):
    state = {"state": aux} if has_aux else {}
    line = passes.clean_line(run(params), clean, penalty, mix_at, **state)
    logits, moved, aux = passes.follow(line, penalty)
    sizes = penalty.terms(logits, moved, labels_clean, own)
    return penalty.share(sizes, plan, axis_name), aux

  first, second = (
    jax.value_and_grad(f, has_aux=True) for f in (mixed_loss, clean_term)
  )
  (loss, (logits, aux)), grads = first(params)
  # Else a compiler may run the two forward passes first. Only what differs from
  # replica to replica may go through: shard_map takes all that does for such.
  clean, _ = jax.lax.optimization_barrier((clean, grads))
  (term, aux), slopes = second(params, clean, aux)
  value, aux = _enhanced(
    *(loss, term, eta, rescale, eta_scale, axis_name, logits, aux)
  )
  # A traced eta is float32, which would widen bfloat16 gradients.
  grads = jax.tree.map(
    lambda g, s: g + jnp.asarray(aux.eta, g.dtype) * s, grads, slopes
  )
  if axis_name is not None:
    grads = replicas.mean_gradients(grads, loss, axis_name)
  grads = jax.tree.map(lambda g: aux.scale.astype(g.dtype) * g, grads)
  return (value, aux), grads


def _clean_count(size, clean_fraction):
  """ceil(clean_fraction * B), how many examples the penalty is taken over."""
  if isinstance(clean_fraction, jax.core.Tracer):
    raise TypeError(
      "clean_fraction must be a Python number: it sets the size of a batch."
    )
  checks.scalar(
    "clean_fraction", clean_fraction, low=0.0, high=1.0, open_low=True
  )
  # 0.07 * 100 is 7.000000000000001 in floating point.
  return max(1, math.ceil(clean_fraction * size - 1e-6))


def _loss_share(loss_fn, logits, targets, mask, axis_name):
  """This replica's share of L."""
  values = losses.mixed_loss(loss_fn, logits, targets)
  if values.ndim != 1:
    raise ValueError(
      f"loss_fn must return [B] = [{len(logits)}] losses, got {values.shape}."
    )
  # The mean of bfloat16 losses would keep 8 bits, and kappa with it.
  return replicas.mean_share(values.astype(jnp.float32), mask, axis_name)


def _enhanced(
  loss, term, eta, rescale, eta_scale, axis_name, logits, aux
) -> tuple[chex.Array, MixupEAux]:
  """kappa (L + eta R) of this replica's shares, and what came with it."""
  mean_loss, mean_term = loss, term
  if axis_name is not None:
    # With a kappa of each replica's own the gradient would depend on how many
    # there are. Stacked: one collective costs less than two.
    mean_loss, mean_term = jax.lax.pmean(jnp.stack([loss, term]), axis_name)
  # L and R keep their gradients, which cost nothing where nobody takes them.
  eta = weights.of_penalty(mean_loss, mean_term, eta, eta_scale)
  scale = jnp.ones_like(mean_loss)
  if rescale:
    scale = weights.kappa(mean_loss, mean_term, eta)
  value = scale * (loss + eta * term)
  eta = jnp.asarray(eta, jnp.float32)
  return value, MixupEAux(mean_loss, mean_term, scale, logits, aux, eta)


def _checked(
  x, labels, plan, penalty, mix_at, axis_name
) -> tuple[Penalty, chex.ArrayTree]:
  """(penalty, x) as a value and as JAX arrays; raises what is documented."""
  penalty = Penalty.of(penalty)
  checks.plan(plan)
  checks.batch_size(x=x, labels=labels, plan=plan.lam)
  checks.place("mix_at", mix_at)
  if mix_at == 0:
    # Elsewhere inputs are neither mixed nor moved, and may be tokens.
    x = checks.floating("x", x, mixed=True)
    if penalty.order > 1:
      terms.check_single(x)
  if plan.mean_shift is None:
    raise ValueError(
      "plan.mean_shift is None, but scales the penalty; draw the plan by "
      "jaxmix.draw, or set it, e.g. to policy.mean_shift."
    )
  if axis_name is not None:
    checks.bound_axis(axis_name)
  return penalty, checks.arrays("x", x)


def _with_aux(output, has_aux):
  return output if has_aux else (output, None)
