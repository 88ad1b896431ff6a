"""Mixup's theory on a held-out batch while a run trains: monitor="theory".

Once an evaluation, on the live weights in evaluation mode, the terms of Lemma
3.1 of Zhang et al. (2021), the radius of their Theorems 3.1 and 3.3, and the
coefficients of MixupE's eq. (3), under the law of the run's own method.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments.inputs.dataset import Dataset
from experiments.state import TrainState
import jaxmix
from jaxmix import models, theory

# Examples at once, each with a second derivative of the whole network.
_BLOCK = 16
# Each class costs a backward pass an example: too many for a thousand.
_MAX_CLASSES = 100

Values = dict[str, jax.Array]


def create(
  config: ConfigDict,
  dataset: Dataset,
  policy: jaxmix.MixingPolicy,
  normalize: Callable[..., jax.Array],
  axis_name: str,
) -> Callable[[TrainState, dict[str, jax.Array]], Values]:
  """Returns (state, one replica's evaluation batch) -> float32 scalars.

  Every replica computes all of it, on the first config.monitor_examples of the
  replicas' batches together: the values do not depend on their number, and
  compare between runs. Distances are from the batch's mean, in units of the
  normalised input.

  theory_r1, theory_r2, theory_r3: the regularizers, in nats.
  theory_radius, theory_mean_radius: eps_mix, and the mean of eps_i.
  theory_min_coefficient, theory_negative_coefficients: the smallest of
    alpha_{k,i}, and the share of them below zero; up to 100 classes only.

  Args:
    config: resolved.
    dataset: for its numbers of classes and of examples.
    policy: the method's law of lam.
    normalize: (pixels, dtype) -> the model's input.
    axis_name: the mapped axis.
  """
  # Second derivatives are worth nothing in bfloat16.
  model = models.create(
    config.model, dataset.num_classes, axis_name=None, **config.model_options
  )
  size = min(config.monitor_examples, dataset.num_eval)

  def monitor(state, batch):
    batch = {
      name: jax.lax.all_gather(batch[name], axis_name, tiled=True)
      for name in ("image", "label", "mask")
    }
    # Padding is at the end of each process's share.
    first = jnp.argsort(~batch["mask"], stable=True)[:size]
    images = normalize(batch["image"][first], jnp.float32)
    labels = batch["label"][first]
    centre = jnp.mean(images, axis=0, keepdims=True)
    variables = {"params": state.params, "batch_stats": state.batch_stats}

    def logit_fn(moved):
      return model.apply(variables, moved + centre, train=False)

    data = logit_fn, images - centre, labels
    terms = theory.regularizers(*data, policy=policy, examples_at_once=_BLOCK)
    radius = theory.mixup_radius(*data, policy=policy)
    values = {
      "theory_r1": terms.r1,
      "theory_r2": terms.r2,
      "theory_r3": terms.r3,
      "theory_radius": radius.uniform,
      "theory_mean_radius": jnp.mean(radius.per_example),
    }
    if dataset.num_classes <= _MAX_CLASSES:
      alpha = theory.direction_coefficients(*data, examples_at_once=_BLOCK)
      values["theory_min_coefficient"] = jnp.min(alpha)
      values["theory_negative_coefficients"] = jnp.mean(
        (alpha < 0.0).astype(jnp.float32)
      )
    return values

  return monitor
