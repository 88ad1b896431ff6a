"""Methods made of a plan: drawn, applied to a batch, and differentiated."""

from __future__ import annotations

from collections.abc import Callable
import functools
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments.inputs.dataset import Batch
from experiments.methods.method import Method, Outcome, Setting, Values
import jaxmix
from jaxmix import replicas


def by_policy(
  policy: Callable[..., jaxmix.MixingPolicy],
  *,
  mixes: bool = True,
) -> Callable[[Setting], Method]:
  """Returns the `create` of a method that a policy makes.

  Args:
    policy: (alpha, beta, per_example=, stratified=) -> policy.
    mixes: False leaves out the arithmetic of a policy whose lam is 1.
  """

  def build(setting):
    config = setting.config
    options = dict(per_example=config.per_example, stratified=config.stratified)

    def draw(values, key, batch):
      size = len(jax.tree.leaves(batch["inputs"])[0])
      return jaxmix.draw(
        key,
        size,
        # Arrays, so that all alphas and betas of a sweep share one program.
        policy=policy(values["alpha"], values["beta"], **options),
        pairing=make_pairing(setting, batch),
        mask=batch.get("mask"),
      )

    return Method(draw, functools.partial(mixed_gradient, setting, mixes))

  return build


def cutmix(setting: Setting) -> Method:
  """CutMix, whose boxes have no law of lam: they are clipped."""

  def draw(values, key, batch):
    inputs = batch["inputs"]
    if not hasattr(inputs, "shape"):
      raise ValueError(
        "method='cutmix' pastes boxes of images, and needs inputs that are one "
        f"array [B, H, W, C]; got {type(inputs).__name__}, of "
        f"dataset={setting.config.dataset!r}."
      )
    return jaxmix.draw_cutmix(
      key,
      inputs.shape,
      alpha=values["alpha"],
      pairing=make_pairing(setting, batch),
      mask=batch.get("mask"),
    )

  return Method(draw, functools.partial(mixed_gradient, setting, True))


def make_pairing(setting: Setting, batch: Batch) -> jaxmix.pairing.Pairing:
  """Returns the pairing that the config names."""
  name = setting.config.pairing
  if name == "ring":
    return jaxmix.pairing.ring(setting.axis_name)
  if name == "between":
    partner = batch["partner"]
    return jaxmix.pairing.between(
      (partner["inputs"], partner["label"]), mask=partner.get("mask")
    )
  return getattr(jaxmix.pairing, name)


def mixed_gradient(
  setting: Setting,
  mixes: bool,
  values: Values,
  key: jax.Array,
  apply_fn: Callable[..., Any],
  params: Any,
  batch: Batch,
  plan: Any,
) -> tuple[Outcome, Any]:
  """The gradient of the mixed loss, enhanced where the config says so.

  Of several places a step draws one, the same on all replicas: each is a branch
  of the program. The loss itself is put together from its parts, as a pmean of
  it would have to wait for that of L and R, which the scale holds.
  """
  config, task, axis_name, enhanced, places = setting
  inputs, labels = batch["inputs"], batch["label"]
  mask = batch.get("mask")

  def plain(params, place):
    own = functools.partial(apply_fn, params, mask=mask)
    if place:
      tap = jaxmix.hidden.at(plan, place)
      outputs, state = jaxmix.hidden.run(own, inputs, tap)
    else:
      outputs, state = own(plan.mix(inputs) if mixes else inputs)
    loss = replicas.mean_share(
      jaxmix.mixed_loss(task.loss_fn, outputs, plan.targets(labels)),
      mask,
      axis_name,
    )
    # Told, not differentiated: what replicas average is their gradients, below.
    total = jax.lax.pmean(jax.lax.stop_gradient(loss), axis_name)
    return loss, jaxmix.MixupEAux(
      total, jnp.zeros_like(total), jnp.ones_like(total), outputs, state
    )

  def averaged(loss):
    (_, aux), grads = jax.value_and_grad(loss, has_aux=True)(params)
    return aux, jax.lax.pmean(grads, axis_name)

  def enhance(place):
    options = dict(
      eta=values["eta"],
      loss_fn=task.loss_fn,
      clean_fraction=config.clean_fraction,
      penalty=make_penalty(config, values.get("moments")),
      mix_at=place,
      axis_name=axis_name,
      has_aux=True,
    )
    if config.clean_pass == "separate" and config.penalty_at == "clean":
      (_, aux), grads = jaxmix.mixupe_value_and_grad(
        apply_fn, params, inputs, labels, plan, **options
      )
      return aux, grads
    return averaged(
      lambda params: jaxmix.mixupe_loss(
        functools.partial(apply_fn, params),
        inputs,
        labels,
        plan,
        penalty_at=config.penalty_at,
        clean_pass=config.clean_pass,
        **options,
      )
    )

  def at(place):
    return enhance(place) if enhanced else averaged(lambda p: plain(p, place))

  branches = [functools.partial(at, place) for place in places]
  if len(branches) == 1:
    aux, grads = branches[0]()
  else:
    # Replicas fold their number into the same key: no number is so high.
    key_place = jax.random.fold_in(key, 2**32 - 1)
    drawn = jax.random.randint(key_place, (), 0, len(branches))
    aux, grads = jax.lax.switch(drawn, branches)
  metrics = {
    "loss": aux.scale * (aux.mixup_loss + values["eta"] * aux.penalty),
    "mixup_loss": aux.mixup_loss,
    "penalty": aux.penalty,
    "scale": aux.scale,
  }
  for name, hit in task.hits.items():
    # Weighted as the labels are: either of two even classes is half a hit.
    hits = jaxmix.mixed_loss(hit, aux.logits, plan.targets(labels))
    share = replicas.mean_share(hits, mask, axis_name)
    metrics[name] = jax.lax.pmean(share, axis_name)
  return Outcome(aux.aux, metrics), grads


def make_penalty(
  config: ConfigDict, moments: jax.Array | None
) -> jaxmix.Penalty:
  """Returns the penalty that a config's keys describe.

  Args:
    config: resolved.
    moments: of a Taylor penalty; None takes them from the plans drawn.
  """
  if config.penalty_form == "release":
    return jaxmix.penalties.release()
  if config.penalty == "taylor":
    return jaxmix.penalties.taylor(config.penalty_order, moments=moments)
  return jaxmix.penalties.Penalty.of(config.penalty)


def erm(alpha, beta, **options) -> jaxmix.MixingPolicy:
  """ERM, whose penalty takes Mixup's factor (MixupE, table 7)."""
  mixup = jaxmix.policies.mixup(alpha, beta, **options)
  return jaxmix.policies.erm(mixup.mean_shift)
