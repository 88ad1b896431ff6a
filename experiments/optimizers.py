"""The optimisers of the recipes, from optax's parts."""

from __future__ import annotations

from collections.abc import Callable
import itertools
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import optax

from experiments import domains

FREE: frozenset[str] = frozenset()
RATE = "learning_rate"


def _share(name: str, value: Any) -> tuple[float, ...]:
  shares = _SHARES.read(name, value)
  if any(first >= second for first, second in itertools.pairwise(shares)):
    domains.refuse(name, f"{_SHARES.expected}, rising", value)
  return shares


_SHARES = domains.several((), domains.number(0.5, "(0, 1)"))
KEYS = {
  "optimizer": domains.choice("sgd", ("sgd", "adam", "adamw")),
  "learning_rate": domains.number(0.1, "[0, 1e6]"),  # peak
  "schedule": domains.choice("cosine", ("cosine", "constant", "steps")),
  "final_learning_rate_ratio": domains.number(1e-3, "[0, 1]"),  # cosine
  # steps: shares of total_steps, rising, at each of which the rate is
  # multiplied by the factor: for every 50 of 200 epochs (0.25, 0.5, 0.75).
  "schedule_boundaries": _SHARES._replace(read=_share),
  "schedule_factor": domains.number(0.5, "(0, 1e6]"),
  "warmup_steps": domains.integer(0, 0),
  "momentum": domains.number(0.9, "[0, 1)"),  # sgd
  "b1": domains.number(0.9, "[0, 1)"),  # adam and adamw
  "b2": domains.number(0.999, "[0, 1)"),
  # L2 in the gradient for sgd and adam, decoupled for adamw.
  "weight_decay": domains.number(0.0, "[0, 1e6]"),
  # Of the global norm; 0: none.
  "grad_clip": domains.number(0.0, "[0, inf)"),
}


def check(config: ConfigDict) -> None:
  """Raises ValueError for a schedule that is none, or begins after its end."""
  boundaries = config.schedule_boundaries
  if (config.schedule == "steps") != bool(boundaries):
    raise ValueError(
      "schedule_boundaries and schedule='steps' go together, got "
      f"{boundaries} and {config.schedule!r}."
    )
  if config.get("epochs") is None:
    _check_warmup(config)


def _check_warmup(config: ConfigDict) -> None:
  if config.warmup_steps >= config.total_steps:
    epochs = config.get("epochs")
    source = "" if epochs is None else f", which are epochs={epochs}"
    raise ValueError(
      f"warmup_steps={config.warmup_steps} must be smaller than "
      f"total_steps={config.total_steps}{source}."
    )


def bound(config: ConfigDict) -> str:
  """Says why total_steps may not grow, "" if it may: see `configs.common`."""
  if config.schedule == "constant":
    return ""
  return (
    f"schedule={config.schedule!r} is of the whole run: at another length the "
    "steps taken would have had other rates; train on in another workdir, with "
    "init_from, or with schedule='constant' from the beginning"
  )


def schedule(config: ConfigDict) -> optax.Schedule:
  """Linear warm-up from 0 to the peak, then what `config.schedule` says.

  cosine ends at a fraction of the peak, constant stays there, and steps
  multiplies by a factor at each boundary.
  """
  peak = config.learning_rate
  _check_warmup(config)  # known only now where there are epochs
  if config.schedule == "cosine":
    if not config.warmup_steps:
      return optax.cosine_decay_schedule(
        peak, config.total_steps, config.final_learning_rate_ratio
      )
    return optax.warmup_cosine_decay_schedule(
      init_value=0.0,
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


def rated(config: ConfigDict) -> tuple[ConfigDict, dict[str, np.float32]]:
  """Returns a config at a learning rate of 1, and its own as a step's value.

  What every optimiser here adds to the parameters is proportional to the peak
  rate, so that runs of any rates can share a program.
  """
  alike = config.copy_and_resolve_references()
  alike.learning_rate = 1.0
  return alike, {RATE: np.float32(config.learning_rate)}


def describe(
  config: ConfigDict, grads: Any, step: jax.Array
) -> dict[str, jax.Array]:
  """What a training line tells of a step's gradient and of its rate."""
  rate = schedule(config)(step)
  return {
    "gradient_norm": optax.tree.norm(grads),
    "learning_rate": jnp.asarray(rate, jnp.float32),
  }
