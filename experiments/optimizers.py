"""The optimisers of the recipes, from optax's parts."""

from __future__ import annotations

from collections.abc import Callable
import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import optax

FREE: frozenset[str] = frozenset()
OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULES = ("cosine", "constant", "steps")


def defaults() -> ConfigDict:
  """The keys that optimisers read, beside total_steps."""
  config = ConfigDict()
  config.optimizer = "sgd"
  config.learning_rate = 0.1  # peak
  config.schedule = "cosine"
  config.final_learning_rate_ratio = 1e-3  # cosine
  # steps: shares of total_steps, rising, at each of which the rate is
  # multiplied by the factor: for every 50 of 200 epochs (0.25, 0.5, 0.75).
  config.schedule_boundaries = ()
  config.schedule_factor = 0.5
  config.warmup_steps = 0
  config.momentum = 0.9  # sgd
  config.b1 = 0.9  # adam and adamw
  config.b2 = 0.999
  # L2 in the gradient for sgd and adam, decoupled for adamw.
  config.weight_decay = 0.0
  config.grad_clip = 0.0  # global norm; 0: none
  return config


def check(config: ConfigDict) -> None:
  """Raises ValueError for an optimiser or schedule that is none."""
  for key, known in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
    if config[key] not in known:
      raise ValueError(
        f"{key} must be one of {', '.join(known)}; got {config[key]!r}."
      )
  boundaries = tuple(config.schedule_boundaries)
  if (config.schedule == "steps") != bool(boundaries):
    raise ValueError(
      "schedule_boundaries and schedule='steps' go together, got "
      f"{boundaries} and {config.schedule!r}."
    )
  rising = all(a < b for a, b in itertools.pairwise((0.0, *boundaries, 1.0)))
  if boundaries and not rising:
    raise ValueError(
      "schedule_boundaries must be shares of total_steps in (0, 1), rising; "
      f"got {boundaries}."
    )
  if not 0.0 < config.schedule_factor < math.inf:
    raise ValueError(
      f"schedule_factor must lie in (0, inf), got {config.schedule_factor}."
    )


def schedule(config: ConfigDict) -> optax.Schedule:
  """Linear warm-up from 0 to the peak, then what `config.schedule` says.

  cosine ends at a fraction of the peak, constant stays there, and steps
  multiplies by a factor at each boundary.
  """
  peak = config.learning_rate
  if config.warmup_steps >= config.total_steps:
    raise ValueError(
      f"warmup_steps={config.warmup_steps} must be smaller than "
      f"total_steps={config.total_steps}."
    )
  if config.schedule == "cosine":
    return optax.warmup_cosine_decay_schedule(
      init_value=0.0 if config.warmup_steps else peak,
      peak_value=peak,
      warmup_steps=config.warmup_steps,
      decay_steps=config.total_steps,
      end_value=peak * config.final_learning_rate_ratio,
    )
  factors: dict[int, float] = {}
  for share in config.schedule_boundaries:
    # In a short run several boundaries may be one step.
    step = round(share * config.total_steps)
    factors[step] = factors.get(step, 1.0) * config.schedule_factor
  rate = optax.piecewise_constant_schedule(peak, factors)
  if not config.warmup_steps:
    return rate
  ramp = optax.linear_schedule(0.0, 1.0, config.warmup_steps)
  return lambda step: ramp(step) * rate(step)


def create(
  config: ConfigDict, decays: Callable[[Any], Any]
) -> optax.GradientTransformation:
  """Returns the optimiser: clipping, then SGD or Adam with L2, or AdamW.

  Args:
    config: resolved.
    decays: params -> which of them weight decay acts on; asked only where there
      is any.
  """
  steps = []
  if config.grad_clip > 0.0:
    steps.append(optax.clip_by_global_norm(config.grad_clip))
  rate = schedule(config)
  if config.optimizer == "adamw":
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
  if config.weight_decay:
    steps.append(optax.add_decayed_weights(config.weight_decay, decays))
  if config.optimizer == "sgd":
    steps.append(optax.sgd(rate, momentum=config.momentum))
  else:
    steps.append(optax.adam(rate, b1=config.b1, b2=config.b2))
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
