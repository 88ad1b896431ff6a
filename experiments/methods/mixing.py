"""Methods made of a plan: drawn, applied to a batch, and differentiated."""

from __future__ import annotations

from collections.abc import Callable
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments.inputs.dataset import Batch
from experiments.methods.method import Method, Outcome, Setting, Values
import jaxmix
from jaxmix import passes, replicas


class Told(NamedTuple):
  """What a loss tells beside its value.

  Attributes:
    metrics: of the training line, means over all replicas.
    outputs: at the mixed examples, [B, ...].
    state: the network's, after its passes.
  """

  metrics: dict[str, jax.Array]
  outputs: jax.Array
  state: Any


# (setting, values, apply_fn, batch, plan, params, place) -> (this replica's
# share of the loss, `Told`).
Loss = Callable[..., tuple[jax.Array, Told]]


def mixed_loss(
  setting, values, apply_fn, batch, plan, params, place, *, mixes=True
) -> tuple[jax.Array, Told]:
  """L, the loss at the mixed examples.

  Args:
    setting: and what follows, see `Loss`.
    values: none is read.
    apply_fn: the network.
    batch: not mixed.
    plan: mixes it.
    params: the network's.
    place: where the plan mixes; traced where the setting has several places.
    mixes: False leaves the inputs as they are, where lam is 1.
  """
  del values
  inputs, mask = batch["inputs"], batch.get("mask")
  own = functools.partial(apply_fn, params, mask=mask)
  if not mixes:
    outputs, state = own(inputs)
  elif setting.places == (0,):
    outputs, state = own(plan.mix(inputs))
  else:
    among = setting.places if len(setting.places) > 1 else None
    tap = jaxmix.hidden.at(plan, place, among=among)
    outputs, state = jaxmix.hidden.run(own, inputs, tap)
  loss, total = _mean(setting, batch, plan, outputs)
  metrics = {
    "loss": total,
    "mixup_loss": total,
    "penalty": jnp.zeros_like(total),
    "scale": jnp.ones_like(total),
  }
  return loss, Told(metrics, outputs, state)


def regmixup_loss(
  setting, values, apply_fn, batch, plan, params, place
) -> tuple[jax.Array, Told]:
  """RegMixup: the clean loss + eta * the mixed loss.

  Pinto et al. (2022, https://arxiv.org/abs/2206.14502, eq. (4)), who run both
  parts as one batch of 2 B: clean_pass=joint. By split, the default, batch norm
  takes statistics of each part by itself; by separate, in two passes.

  Args:
    setting: and what follows, see `Loss`.
    values: eta, the weight of the mixed loss.
    apply_fn: the network.
    batch: not mixed.
    plan: mixes it.
    params: the network's.
    place: where the plan mixes.
  """
  mask = batch.get("mask")
  out = passes.run(
    passes.masked(functools.partial(apply_fn, params), mask),
    *(batch["inputs"], plan, jaxmix.penalties.approximate()),
    place=place,
    count=len(plan.lam),
    clean_pass=setting.config.clean_pass,
    has_aux=True,
  )
  mixed, mixed_total = _mean(setting, batch, plan, out.logits)
  clean, clean_total = _mean(setting, batch, None, out.logits_there)
  eta = values["eta"]
  metrics = {
    "loss": clean_total + eta * mixed_total,
    "mixup_loss": mixed_total,
    "clean_loss": clean_total,
  }
  return clean + eta * mixed, Told(metrics, out.logits, out.aux)


def by_policy(
  policy: Callable[..., jaxmix.MixingPolicy], loss: Loss = mixed_loss
) -> Callable[[Setting], Method]:
  """Returns the `create` of a method that a policy makes.

  Args:
    policy: (alpha, beta, per_example=, stratified=) -> policy.
    loss: what is minimised where MixupE's penalty is not.
  """

  def build(setting):
    config = setting.config
    options = dict(per_example=config.per_example, stratified=config.stratified)

    def draw(values, key, batch, shared_key=None):
      size = len(jax.tree.leaves(batch["inputs"])[0])
      # Arrays, so that all alphas and betas of a sweep share one program.
      own = policy(values["alpha"], values["beta"], **options)
      if shared_key is not None:
        # As jaxmix.draw splits its own key: the first replica's lam, on all.
        own = jaxmix.policies.shared(jax.random.split(shared_key)[0], own)
      return jaxmix.draw(
        key,
        size,
        policy=own,
        pairing=make_pairing(setting, batch),
        mask=batch.get("mask"),
      )

    gradient = functools.partial(mixed_gradient, setting, loss)
    return Method(draw, gradient, shares=config.share_lam)

  return build


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
  if name == "optimal":
    block = setting.config.pairing_block
    return jaxmix.pairing.optimal(batch["inputs"], block=block)
  if name == "by_label":
    bandwidth = setting.config.pairing_bandwidth
    return jaxmix.pairing.by_label(batch["label"], bandwidth=bandwidth)
  return getattr(jaxmix.pairing, name)


def mixed_gradient(
  setting: Setting,
  loss: Loss,
  values: Values,
  key: jax.Array,
  apply_fn: Callable[..., Any],
  params: Any,
  batch: Batch,
  plan: Any,
) -> tuple[Outcome, Any]:
  """The gradient of a loss, or of MixupE's where the config says so.

  Of several places a step draws one, the same on all replicas. Where the batch
  grows at its place, by what stays unmixed, each is a branch of the program.
  """
  config, task, axis_name, enhanced, places = setting
  if config.accumulate_steps > 1:
    # It imports this module for what parts and whole batches share.
    from experiments.methods import accumulate

    return accumulate.gradient(
      setting, loss, values, apply_fn, params, batch, plan
    )
  inputs, labels = batch["inputs"], batch["label"]

  def averaged(loss):
    (_, told), grads = jax.value_and_grad(loss, has_aux=True)(params)
    return told, jax.lax.pmean(grads, axis_name)

  def enhance(place):
    options = dict(
      eta=values["eta"],
      loss_fn=task.loss_fn,
      clean_fraction=config.clean_fraction,
      penalty=make_penalty(config, values.get("moments")),
      mix_at=place,
      eta_scale=config.eta_scale,
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
    if enhanced:
      aux, grads = enhance(place)
      return _told(aux), grads
    own = functools.partial(loss, setting, values, apply_fn, batch, plan)
    return averaged(lambda params: own(params, place))

  if len(places) == 1:
    told, grads = at(places[0])
  else:
    # Replicas fold their number into the same key: no number is so high.
    key_place = jax.random.fold_in(key, 2**32 - 1)
    drawn = jax.random.randint(key_place, (), 0, len(places))
    if enhanced or loss is regmixup_loss:
      branches = [functools.partial(at, place) for place in places]
      told, grads = jax.lax.switch(drawn, branches)
    else:
      told, grads = at(jnp.array(places)[drawn])
  hits = hit_shares(setting, told.outputs, plan, batch)
  return Outcome(
    told.state, dict(told.metrics) | jax.lax.pmean(hits, axis_name)
  ), grads


def hit_shares(
  setting: Setting, outputs: jax.Array, plan: Any, batch: Batch
) -> dict[str, jax.Array]:
  """This replica's shares of what training lines tell beside the loss."""
  found = {}
  for name, hit in setting.task.hits.items():
    # Weighted as the labels are: either of two even classes is half a hit.
    hits = jaxmix.mixed_loss(hit, outputs, plan.targets(batch["label"]))
    found[name] = replicas.mean_share(
      hits, batch.get("mask"), setting.axis_name
    )
  return found


def _mean(setting, batch, plan, outputs):
  """(This replica's share of a loss, the mean): mixed, or without a plan."""
  labels, loss_fn = batch["label"], setting.task.loss_fn
  if plan is None:
    losses = loss_fn(outputs, labels)
  else:
    losses = jaxmix.mixed_loss(loss_fn, outputs, plan.targets(labels))
  share = replicas.mean_share(losses, batch.get("mask"), setting.axis_name)
  # Told, not differentiated: what replicas average is their gradients.
  return share, jax.lax.pmean(jax.lax.stop_gradient(share), setting.axis_name)


def _told(aux: jaxmix.MixupEAux) -> Told:
  metrics = {
    # From its parts, as a pmean of it would have to wait for L's and R's.
    "loss": aux.scale * (aux.mixup_loss + aux.eta * aux.penalty),
    "mixup_loss": aux.mixup_loss,
    "penalty": aux.penalty,
    "scale": aux.scale,
  }
  return Told(metrics, aux.logits, aux.aux)


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
