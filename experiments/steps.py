"""train_step and eval_step: pure, per replica, over the mapped axis AXIS.

`parallel.py` maps them over devices. Everything a step does is decided by the
resolved config; nothing here knows how many replicas there are.
"""

from __future__ import annotations

from collections.abc import Callable
import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import optax

from experiments import monitor, optimizers
from experiments.configs import common
from experiments.inputs.dataset import Dataset
from experiments.state import TrainState, polyak_update
import jaxmix
from jaxmix import models

AXIS = "batch"
CALIBRATION_BINS = 15

Batch = dict[str, jax.Array]
Sums = dict[str, jax.Array]


class Steps(NamedTuple):
  """The pure functions of one experiment.

  Attributes:
    init: key -> TrainState.
    train: (state, batch, key) -> (state, metrics), per replica.
    evaluate: (state, batch) -> sums over the batch and over replicas.
    monitor: (state, evaluation batch) -> values, see `experiments.monitor`; or
      None.
  """

  init: Callable[[jax.Array], TrainState]
  train: Callable[[TrainState, Batch, jax.Array], tuple[TrainState, Sums]]
  evaluate: Callable[[TrainState, Batch], Sums]
  monitor: Callable[[TrainState, Batch], Sums] | None = None


def create(config: ConfigDict, dataset: Dataset) -> Steps:
  """Builds the steps of a resolved config for a dataset's shapes and scale."""
  dtype = jnp.dtype(config.dtype)
  model = models.create(
    config.model,
    dataset.num_classes,
    dtype=dtype,
    axis_name=AXIS,
    **config.model_options,
  )
  optimizer = optimizers.create(config)
  rate = optimizers.schedule(config)
  mean = jnp.asarray(dataset.mean, jnp.float32).reshape(1, 1, 1, -1)
  std = jnp.asarray(dataset.std, jnp.float32).reshape(1, 1, 1, -1)

  def normalize(pixels, dtype=dtype):
    """uint8 pixels to the model's input; fused with mixing by XLA."""
    return ((pixels.astype(jnp.float32) - mean) / std).astype(dtype)

  def init(key):
    shape = (1, *dataset.image_shape)
    variables = model.init(key, jnp.zeros(shape, dtype), train=False)
    return TrainState.create(
      params=variables["params"],
      batch_stats=variables.get("batch_stats", {}),
      optimizer=optimizer,
    )

  def train(state, batch, key):
    key = jax.random.fold_in(key, state.step)
    key = jax.random.fold_in(key, jax.lax.axis_index(AXIS))
    key_plan, key_dropout = jax.random.split(key)
    if config.dropout_prng != "threefry2x32":
      key_dropout = jax.random.wrap_key_data(
        jax.random.bits(key_dropout, (4,), jnp.uint32), impl=config.dropout_prng
      )
    images, labels = normalize(batch["image"]), batch["label"]
    plan = draw_plan(config, key_plan, images, batch, normalize)

    def apply_fn(params, inputs, state=state.batch_stats, parts=None):
      logits, updated = model.apply(
        {"params": params, "batch_stats": state},
        inputs,
        train=True,
        parts=parts,
        mutable=["batch_stats"],
        rngs={"dropout": key_dropout},
      )
      return logits, updated.get("batch_stats", {})

    aux, grads = loss_and_gradient(
      config, apply_fn, state.params, images, labels, plan
    )
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    new_state = state.replace(
      step=state.step + 1,
      params=params,
      batch_stats=aux.aux,
      opt_state=opt_state,
      polyak=polyak_update(
        state.polyak, (params, aux.aux), state.step, config.polyak_rate
      ),
    )
    guess = jnp.argmax(aux.logits, axis=-1)
    hit = jaxmix.mixed_loss(
      lambda g, y: (g == y).astype(jnp.float32), guess, plan.targets(labels)
    )
    metrics = {
      "loss": aux.scale * (aux.mixup_loss + config.eta * aux.penalty),
      "mixup_loss": aux.mixup_loss,
      "penalty": aux.penalty,
      "scale": aux.scale,
      "accuracy": jax.lax.pmean(jnp.mean(hit), AXIS),
      "gradient_norm": optax.tree.norm(grads),
      "learning_rate": jnp.asarray(rate(state.step), jnp.float32),
    }
    return new_state, metrics

  def evaluate(state, batch):
    images = batch["image"].astype(jnp.float32) / 255.0
    labels, mask = batch["label"], batch["mask"]
    sums = {"count": jnp.sum(mask, dtype=jnp.float32)}
    averages = {
      "": (state.params, state.batch_stats),
      "polyak_": state.polyak,
    }
    for prefix, (params, batch_stats) in averages.items():
      variables = {"params": params, "batch_stats": batch_stats}

      def apply_fn(pixels, variables=variables):
        return model.apply(variables, normalize(pixels * 255.0), train=False)

      logits = apply_fn(images)
      sums |= _evaluation_sums(prefix, logits, labels, mask)
      for name, attacked in _attacked(config, apply_fn, images, labels):
        hit = jnp.argmax(apply_fn(attacked), axis=-1) == labels
        sums[f"{prefix}{name}_correct"] = _count(hit & mask)
    return jax.lax.psum(sums, AXIS)

  watch = None
  if config.monitor:
    watch = monitor.create(
      config, dataset, _mixing_law(config), normalize, AXIS
    )
  return Steps(init, train, evaluate, watch)


def _attacked(config, apply_fn, images, labels):
  """Yields the name and the images of each attack that the config asks for.

  They are deterministic, so that evaluation lines depend on the weights alone.
  """
  pixels = (0.0, 1.0)
  if config.fgsm_epsilon > 0.0:
    yield (
      "fgsm",
      jaxmix.fgsm(
        apply_fn,
        images,
        labels,
        epsilon=config.fgsm_epsilon,
        # Not the attack's own form of it: earlier runs were measured so.
        loss_fn=jaxmix.losses.softmax_cross_entropy,
        bounds=pixels,
      ),
    )
  if config.pgd_epsilon > 0.0:
    yield (
      "pgd",
      jaxmix.pgd(
        jax.random.key(0),  # unused: there is no random start
        apply_fn,
        images,
        labels,
        epsilon=config.pgd_epsilon,
        norm=config.pgd_norm,
        steps=config.pgd_steps,
        random_start=False,
        bounds=pixels,
      ),
    )


def draw_plan(
  config: ConfigDict,
  key: jax.Array,
  images: jax.Array,
  batch: Batch,
  normalize: Callable[[jax.Array], jax.Array],
) -> Any:
  """Draws the method's plan for this replica's batch."""
  if config.pairing == "ring":
    pairing = jaxmix.pairing.ring(AXIS)
  elif config.pairing == "between":
    second = normalize(batch["partner_image"]), batch["partner_label"]
    pairing = jaxmix.pairing.between(second)
  else:
    pairing = getattr(jaxmix.pairing, config.pairing)
  if config.method == "cutmix":
    return jaxmix.draw_cutmix(
      key, images.shape, alpha=config.alpha, pairing=pairing
    )
  return jaxmix.draw(
    key, len(images), policy=make_policy(config), pairing=pairing
  )


def make_policy(config: ConfigDict) -> jaxmix.MixingPolicy:
  """Returns the policy that a resolved config's method names."""
  alpha, beta = config.alpha, config.beta
  options = dict(per_example=config.per_example, stratified=config.stratified)
  mixup = jaxmix.policies.mixup(alpha, beta, **options)
  if config.method == "erm":
    # MixupE's table 7: ERM with the penalty takes mixup's factor.
    return jaxmix.policies.erm(mixup.mean_shift)
  if config.method == "untied":
    return jaxmix.policies.untied(alpha, beta, **options)
  if config.method == "dat":
    return jaxmix.policies.dat(alpha, beta, **options)
  return mixup


def loss_and_gradient(
  config: ConfigDict,
  apply_fn: Callable[..., Any],
  params: Any,
  images: jax.Array,
  labels: jax.Array,
  plan: Any,
) -> tuple[jaxmix.MixupEAux, Any]:
  """The parts of the method's loss, and its gradient, over all replicas.

  Parts, as a pmean of the loss itself would have to wait for that of L and R,
  which the scale holds.

  apply_fn maps (params, inputs), and state or parts, to (logits, new state).
  """

  def cross_entropy(logits, labels):
    return jaxmix.losses.softmax_cross_entropy(
      logits, labels, label_smoothing=config.label_smoothing
    )

  def plain(params):
    inputs = images if config.method == "erm" else plan.mix(images)
    logits, aux = apply_fn(params, inputs)
    loss = jnp.mean(
      jaxmix.mixed_loss(cross_entropy, logits, plan.targets(labels))
    )
    total = jax.lax.pmean(jax.lax.stop_gradient(loss), AXIS)
    return loss, jaxmix.MixupEAux(
      total, jnp.zeros_like(total), jnp.ones_like(total), logits, aux
    )

  def averaged(loss):
    (_, aux), grads = jax.value_and_grad(loss, has_aux=True)(params)
    return aux, jax.lax.pmean(grads, AXIS)

  if not common.is_enhanced(config):
    return averaged(plain)
  enhancement = dict(
    eta=config.eta,
    loss_fn=cross_entropy,
    clean_fraction=config.clean_fraction,
    penalty=_penalty(config),
    axis_name=AXIS,
    has_aux=True,
  )
  if config.clean_pass == "separate" and config.penalty_at == "clean":
    (_, aux), grads = jaxmix.mixupe_value_and_grad(
      apply_fn, params, images, labels, plan, **enhancement
    )
    return aux, grads

  def enhanced(params):
    return jaxmix.mixupe_loss(
      functools.partial(apply_fn, params),
      images,
      labels,
      plan,
      penalty_at=config.penalty_at,
      clean_pass=config.clean_pass,
      **enhancement,
    )

  return averaged(enhanced)


def _penalty(config: ConfigDict) -> jaxmix.Penalty:
  """The penalty that a resolved config's keys describe."""
  penalties = jaxmix.penalties
  if config.penalty_form == "release":
    if config.penalty != "approximate":
      raise ValueError('penalty_form="release" takes penalty="approximate".')
    return penalties.release()
  if config.penalty != "taylor":
    return getattr(penalties, config.penalty)()
  moments = None
  if config.method != "cutmix":
    # CutMix has no law of lam: its boxes are clipped.
    moments = jnp.asarray(
      jaxmix.theory.shift_moments(_mixing_law(config), config.penalty_order),
      jnp.float32,
    )
  return penalties.taylor(config.penalty_order, moments=moments)


def _mixing_law(config: ConfigDict) -> jaxmix.MixingPolicy:
  """The method's policy; for ERM, as for its mean_shift, that of mixup."""
  if config.method == "erm":
    return jaxmix.policies.mixup(config.alpha, config.beta)
  return make_policy(config)


def summarize(sums: dict[str, Any]) -> dict[str, float]:
  """Turns an evaluation's sums into means.

  Returns, for the live weights and (prefix polyak_) their average: loss
  (negative log-likelihood, nats), accuracy, calibration_error (expected
  calibration error over 15 equal bins of confidence, Guo et al., 2017), and
  fgsm_accuracy, pgd_accuracy, accuracy_top5 where they were measured.
  """
  count = float(sums["count"])
  means: dict[str, float] = {"examples": count}
  for prefix in ("", "polyak_"):
    gaps = jnp.abs(
      sums[f"{prefix}bin_confidence"] - sums[f"{prefix}bin_correct"]
    )
    means[f"{prefix}loss"] = float(sums[f"{prefix}loss"]) / count
    means[f"{prefix}accuracy"] = float(sums[f"{prefix}correct"]) / count
    means[f"{prefix}calibration_error"] = float(jnp.sum(gaps)) / count
    for key, name in (
      ("top5_correct", "accuracy_top5"),
      ("fgsm_correct", "fgsm_accuracy"),
      ("pgd_correct", "pgd_accuracy"),
    ):
      if f"{prefix}{key}" in sums:
        means[f"{prefix}{name}"] = float(sums[f"{prefix}{key}"]) / count
  return means


def _evaluation_sums(prefix, logits, labels, mask) -> Sums:
  losses = jaxmix.losses.softmax_cross_entropy(logits, labels)
  correct = (jnp.argmax(logits, axis=-1) == labels) & mask
  confidence = jnp.max(nn.softmax(logits), axis=-1)
  bins = jnp.clip(
    jnp.ceil(confidence * CALIBRATION_BINS).astype(jnp.int32) - 1,
    0,
    CALIBRATION_BINS - 1,
  )
  empty = jnp.zeros(CALIBRATION_BINS, jnp.float32)
  sums = {
    "loss": jnp.sum(jnp.where(mask, losses, 0.0)),
    "correct": _count(correct),
    "bin_confidence": empty.at[bins].add(jnp.where(mask, confidence, 0.0)),
    "bin_correct": empty.at[bins].add(correct.astype(jnp.float32)),
  }
  if logits.shape[-1] > 20:
    _, best = jax.lax.top_k(logits, 5)
    sums["top5_correct"] = _count(jnp.any(best == labels[:, None], -1) & mask)
  return {f"{prefix}{name}": value for name, value in sums.items()}


def _count(claims: jax.Array) -> jax.Array:
  return jnp.sum(claims, dtype=jnp.float32)
