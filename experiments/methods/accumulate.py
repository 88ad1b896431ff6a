"""A batch's gradient from several smaller passes, for what memory cannot hold.

The plan is drawn and applied to all of a replica's examples first, so that
partners are those of the large batch. Then every `accumulate_steps`-th example
makes a part; parts go through the network one after another, and the gradient,
kappa included, is the large batch's: L and R of eq. (5) are means over all
parts. Only what couples examples differs: batch norm normalises each part by
its own statistics (over all replicas), and its running averages move once a
part.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from experiments.methods import mixing
from experiments.methods.method import Outcome, Setting, Values
import jaxmix
from jaxmix import weights


@flax.struct.dataclass
class _Mixed:
  """A part's plan, which is applied already: see `jaxmix.Plan`."""

  lam: jax.Array
  weight: jax.Array
  mixed: Any
  mixed_labels: Any
  mean_shift: Any = None
  mask: None = None

  def mix(self, tree: Any) -> Any:
    del tree
    return self.mixed

  def targets(self, labels: Any) -> Any:
    del labels
    return self.mixed_labels


def gradient(
  setting: Setting,
  loss: mixing.Loss,
  values: Values,
  apply_fn: Any,
  params: Any,
  batch: Any,
  plan: Any,
) -> tuple[Outcome, Any]:
  """As `mixing.mixed_gradient`, of a method that mixes inputs.

  Args:
    setting: of accumulate_steps > 1.
    loss: what is minimised where MixupE's penalty is not.
    values: the method's.
    apply_fn: see `experiments.steps.Apply`.
    params: the network's.
    batch: all of the replica's.
    plan: of it.

  Raises:
    ValueError: if the parts would not be of one size, or rows are padded.
  """
  config, task, axis_name, enhanced, _ = setting
  count = config.accumulate_steps
  _check(config, batch, len(plan.lam), enhanced)
  whole = {
    "inputs": batch["inputs"],
    "label": batch["label"],
    "plan": _Mixed(
      plan.lam,
      plan.weight,
      plan.mix(batch["inputs"]),
      plan.targets(batch["label"]),
    ),
  }
  # Strided, so that the first examples, which the clean share is, are the first
  # of every part.
  split = jax.tree.map(
    lambda x: jnp.moveaxis(x.reshape(-1, count, *x.shape[1:]), 1, 0), whole
  )
  relative = enhanced and config.eta_scale == "relative"
  moments = values.get("moments")
  if config.penalty == "taylor" and moments is None:
    # Of the whole plan, as factors of means that are the whole batch's.
    powers = [
      jaxmix.policies.shift_power(plan.lam, plan.weight, j).mean()
      for j in range(config.penalty_order + 1)
    ]
    moments = jax.lax.pmean(jnp.stack(powers), axis_name)

  def part_of(state, number, part):
    own = part["plan"].replace(mean_shift=plan.mean_shift)
    call = apply_fn.part(number, state)

    def terms(params):
      if not enhanced:
        value, told = loss(setting, values, call, part, own, params, 0)
        return (value,), told
      _, aux = jaxmix.mixupe_loss(
        functools.partial(call, params),
        *(part["inputs"], part["label"], own),
        eta=values["eta"],
        loss_fn=task.loss_fn,
        clean_fraction=config.clean_fraction,
        penalty=mixing.make_penalty(config, moments),
        penalty_at=config.penalty_at,
        clean_pass=config.clean_pass,
        rescale=False,
        has_aux=True,
      )
      told = mixing.Told({}, aux.logits, aux.aux)
      return (aux.mixup_loss, aux.penalty), told

    found, pull, told = jax.vjp(terms, params, has_aux=True)
    # How much of each term a gradient is of; eta is known now, or after all.
    pulls: list[tuple[Any, ...]] = [(1.0, values["eta"])]
    if not enhanced:
      pulls = [(1.0,)]
    elif relative:
      pulls = [(1.0, 0.0), (0.0, 1.0)]
    cast = lambda pull_of: tuple(
      jnp.asarray(share, one.dtype)
      for share, one in zip(pull_of, found, strict=True)
    )
    grads = [pull(cast(one))[0] for one in pulls]
    hits = mixing.hit_shares(setting, told.outputs, own, part)
    return told.state, (grads, found, dict(told.metrics), hits)

  def body(carry, inputs):
    state, sums = carry
    state, found = part_of(state, *inputs)
    return (state, jax.tree.map(jnp.add, sums, found)), None

  state = apply_fn.state
  numbers = jnp.arange(count, dtype=jnp.int32)
  first = jax.tree.map(lambda x: x[0], split)
  shapes = jax.eval_shape(part_of, state, numbers[0], first)[1]
  zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
  (state, sums), _ = jax.lax.scan(body, (state, zeros), (numbers, split))
  mean = jax.tree.map(lambda x: x / count, sums)
  # One pmean of all, where every part's would wait for the other replicas.
  grads, found, metrics, hits = jax.lax.pmean(mean, axis_name)
  if not enhanced:
    return Outcome(state, metrics | hits), grads[0]
  mixup_loss, penalty = found
  eta = weights.of_penalty(
    mixup_loss, penalty, jnp.asarray(values["eta"]), config.eta_scale
  )
  scale = weights.kappa(mixup_loss, penalty, eta)
  if relative:
    grads = [jax.tree.map(lambda g, s: g + eta.astype(g.dtype) * s, *grads)]
  grads = jax.tree.map(lambda g: scale.astype(g.dtype) * g, grads[0])
  metrics = {
    "loss": scale * (mixup_loss + eta * penalty),
    "mixup_loss": mixup_loss,
    "penalty": penalty,
    "scale": scale,
  }
  return Outcome(state, metrics | hits), grads


def _check(config, batch, size, enhanced):
  count = config.accumulate_steps
  if size % count:
    raise ValueError(
      f"accumulate_steps must divide the {size} examples of a replica, of "
      f"batch_size={config.batch_size}; got {count}."
    )
  clean = max(1, math.ceil(config.clean_fraction * size - 1e-6))
  if enhanced and clean % count:
    raise ValueError(
      f"accumulate_steps must divide the {clean} examples of a replica that "
      f"clean_fraction={config.clean_fraction} takes the penalty over; got "
      f"{count}."
    )
  if "mask" in batch:
    raise ValueError(
      "accumulate_steps must be 1 for batches with rows that only pad them "
      f'("mask"), whose parts would count unequally; got {count}.'
    )
