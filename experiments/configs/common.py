"""What every config shares: each owner's keys, merged, and the loop's own."""

from __future__ import annotations

import math

from ml_collections import ConfigDict, config_dict

from experiments import inputs, methods, monitor, networks, optimizers, tasks

# Who reads which keys: defaults(), check(config), and FREE, the keys that leave
# a run's numbers as they are and so may change when it is resumed.
OWNERS = (inputs, networks, methods, tasks, optimizers, monitor)
_LOOP_FREE = frozenset(
  {
    "checkpoint_every",
    "keep_checkpoints",
    "log_every",
    "parallel",
    "steps_per_dispatch",
    "sweep",
    "sweep_seeds",
  }
)
# What is derived from the number of training examples.
_EPOCHS = {"epochs": "total_steps", "eval_every_epochs": "eval_every"}
FREE_KEYS = _LOOP_FREE.union(*(owner.FREE for owner in OWNERS))


def base() -> ConfigDict:
  """Returns every key with its default; a config file changes what it needs."""
  config = _loop()
  for owner in OWNERS:
    config.update(owner.defaults())
  return config


def _loop() -> ConfigDict:
  """The keys that the loop and the sweep read."""
  config = ConfigDict()
  config.seed = 0
  config.polyak_rate = 0.999
  config.total_steps = 1000
  # In place of total_steps and eval_every; see `in_steps`.
  config.epochs = config_dict.placeholder(float)
  config.eval_every_epochs = config_dict.placeholder(float)
  config.steps_per_dispatch = 1
  config.log_every = 50
  config.eval_every = 500
  config.checkpoint_every = 500
  config.keep_checkpoints = 3
  config.parallel = "pmap"
  # Several runs in one process: (name, overrides) pairs, each with every seed.
  config.sweep = ()
  config.sweep_seeds = (0,)
  return config


def resolve(config: ConfigDict) -> ConfigDict:
  """Returns a copy with every None filled in and every choice checked.

  Raises:
    ValueError: naming the key, what was expected and what came.
  """
  config = config.copy_and_resolve_references()
  for owner in OWNERS:
    owner.check(config)
  methods.resolve(config)
  _check_loop(config)
  return config


def in_steps(config: ConfigDict, num_train: int) -> ConfigDict:
  """Returns a copy whose total_steps and eval_every are those of its epochs.

  Both are rounded up to full steps, and to full dispatches of them. Where the
  config has no epochs they stay as they are.

  Args:
    config: resolved; its epochs and eval_every_epochs are kept.
    num_train: training examples of its data set.

  Raises:
    ValueError: if there are epochs and the number of examples is not known.
  """
  config = config.copy_and_resolve_references()
  for epochs, steps in _EPOCHS.items():
    if config[epochs] is None:
      continue
    if num_train < 1:
      raise ValueError(
        f"{epochs}: how many training examples dataset={config.dataset!r} has "
        f"is not known; use {steps}."
      )
    dispatch = config.batch_size * config.steps_per_dispatch
    # Less what rounding may have added: 0.1 of 30 examples are no fourth step.
    count = math.ceil(round(config[epochs] * num_train / dispatch, 9))
    config[steps] = max(count, 1) * config.steps_per_dispatch
  return config


def _check_loop(config: ConfigDict) -> None:
  if config.parallel not in ("pmap", "shard_map"):
    raise ValueError(
      f"parallel must be one of pmap, shard_map; got {config.parallel!r}."
    )
  every = ("log_every", "eval_every", "checkpoint_every", "total_steps")
  for key in (*every, "steps_per_dispatch", "keep_checkpoints"):
    if config[key] < 1:
      raise ValueError(f"{key} must be at least 1, got {config[key]}.")
  for key in every:
    if config[key] % config.steps_per_dispatch:
      raise ValueError(
        f"{key}={config[key]} must be a multiple of "
        f"steps_per_dispatch={config.steps_per_dispatch}."
      )
  for key in _EPOCHS:
    if config[key] is not None and not 0.0 < config[key] < math.inf:
      raise ValueError(f"{key} must lie in (0, inf), got {config[key]}.")
  if not 0.0 <= config.polyak_rate < 1.0:
    raise ValueError(
      f"polyak_rate must lie in [0, 1), got {config.polyak_rate}."
    )
