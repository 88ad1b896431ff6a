"""The optimisers of the recipes, from optax's parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import optax

from experiments import domains

FREE: frozenset[str] = frozenset()


KEYS = {
  "optimizer": domains.choice("sgd", ("sgd", "adamw")),
  "learning_rate": domains.number(0.1, "[0, 1e6]"),  # peak
  "final_learning_rate_ratio": domains.number(1e-3, "[0, 1]"),
  "warmup_steps": domains.integer(0, 0),
  "momentum": domains.number(0.9, "[0, 1)"),  # sgd
  "b1": domains.number(0.9, "[0, 1)"),  # adamw
  "b2": domains.number(0.999, "[0, 1)"),
  # L2 in the gradient for sgd, decoupled for adamw.
  "weight_decay": domains.number(0.0, "[0, 1e6]"),
  # Of the global norm; 0: none.
  "grad_clip": domains.number(0.0, "[0, inf)"),
}


def check(config: ConfigDict) -> None:
  """Raises ValueError for a warm-up that does not end before the run."""
  if config.warmup_steps >= config.total_steps:
    raise ValueError(
      f"warmup_steps={config.warmup_steps} must be smaller than "
      f"total_steps={config.total_steps}."
    )


def schedule(config: ConfigDict) -> optax.Schedule:
  """Linear warm-up from 0 to the peak, then cosine to a fraction of it."""
  peak = config.learning_rate
  return optax.warmup_cosine_decay_schedule(
    init_value=0.0 if config.warmup_steps else peak,
    peak_value=peak,
    warmup_steps=config.warmup_steps,
    decay_steps=config.total_steps,
    end_value=peak * config.final_learning_rate_ratio,
  )


def create(
  config: ConfigDict, decays: Callable[[Any], Any]
) -> optax.GradientTransformation:
  """Returns the optimiser: clipping, then SGD with L2, or AdamW.

  Args:
    config: resolved.
    decays: params -> which of them weight decay acts on; asked only where there
      is any.
  """
  steps = []
  if config.grad_clip > 0.0:
    steps.append(optax.clip_by_global_norm(config.grad_clip))
  rate = schedule(config)
  if config.optimizer == "sgd":
    if config.weight_decay:
      steps.append(optax.add_decayed_weights(config.weight_decay, decays))
    steps.append(optax.sgd(rate, momentum=config.momentum))
  else:
    steps.append(
      optax.adamw(
        rate,
        b1=config.b1,
        b2=config.b2,
        weight_decay=config.weight_decay,
        mask=decays if config.weight_decay else _none,
      )
    )
  return optax.chain(*steps)


def _none(params: Any) -> Any:
  # A mask, though there is nothing to mask: the state keeps its structure.
  return jax.tree.map(lambda _: False, params)


def describe(
  config: ConfigDict, grads: Any, step: jax.Array
) -> dict[str, jax.Array]:
  """What a training line tells of a step's gradient and of its rate."""
  rate = schedule(config)(step)
  return {
    "gradient_norm": optax.tree.norm(grads),
    "learning_rate": jnp.asarray(rate, jnp.float32),
  }
