"""The optimisers of the recipes, from optax's parts."""

from __future__ import annotations

from typing import Any

import jax
from ml_collections import ConfigDict
import optax


def schedule(config: ConfigDict) -> optax.Schedule:
  """Linear warm-up from 0 to the peak, then cosine to a fraction of it."""
  peak = config.learning_rate
  if config.warmup_steps >= config.total_steps:
    raise ValueError(
      f"warmup_steps={config.warmup_steps} must be smaller than "
      f"total_steps={config.total_steps}."
    )
  return optax.warmup_cosine_decay_schedule(
    init_value=0.0 if config.warmup_steps else peak,
    peak_value=peak,
    warmup_steps=config.warmup_steps,
    decay_steps=config.total_steps,
    end_value=peak * config.final_learning_rate_ratio,
  )


def decayed(params: Any) -> Any:
  """Which parameters weight decay acts on: the kernels.

  Biases, norms' scales, class tokens, position embeddings and relative biases
  are left alone.
  """
  return jax.tree_util.tree_map_with_path(
    lambda path, _: getattr(path[-1], "key", None) == "kernel", params
  )


def create(config: ConfigDict) -> optax.GradientTransformation:
  """Returns the optimiser: clipping, then SGD with L2, or AdamW."""
  steps = []
  if config.grad_clip > 0.0:
    steps.append(optax.clip_by_global_norm(config.grad_clip))
  rate = schedule(config)
  if config.optimizer == "sgd":
    if config.weight_decay:
      steps.append(optax.add_decayed_weights(config.weight_decay, decayed))
    steps.append(optax.sgd(rate, momentum=config.momentum))
  else:
    steps.append(
      optax.adamw(
        rate,
        b1=config.b1,
        b2=config.b2,
        weight_decay=config.weight_decay,
        mask=decayed,
      )
    )
  return optax.chain(*steps)
