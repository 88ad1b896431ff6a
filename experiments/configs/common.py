"""What every config shares: each owner's keys, merged, and the loop's own."""

from __future__ import annotations

from collections.abc import Mapping
import difflib
import math
from typing import Any

from ml_collections import ConfigDict

from experiments import (
  domains,
  inputs,
  methods,
  monitor,
  networks,
  optimizers,
  tasks,
)
from experiments.domains import Key
from experiments.workdir import loggers

_MAPPINGS = (Mapping, ConfigDict)

# Who reads which keys: KEYS, check(config) for what two keys together may not
# be, and FREE, the keys that leave a run's numbers as they are and so may
# change when it is resumed. Open: see `register`.
OWNERS: list[Any] = [
  inputs,
  networks,
  methods,
  tasks,
  optimizers,
  monitor,
  loggers,
]

_PAIR = "a (name, overrides) pair of a text and a dict"


def _pair(name: str, value: Any) -> tuple[str, dict[str, Any]]:
  if not isinstance(value, (tuple, list)) or len(value) != 2:
    domains.refuse(name, _PAIR, value)
  run, overrides = value
  if not isinstance(run, str) or not isinstance(overrides, _MAPPINGS):
    domains.refuse(name, _PAIR, value)
  return run, dict(overrides.items())


# Of the loop and the sweep.
_KEYS = {
  "seed": domains.integer(0, 0, 2**32 - 1),
  "polyak_rate": domains.number(0.999, "[0, 1)"),
  "total_steps": domains.integer(1000, 1),
  # In place of total_steps and eval_every; see `in_steps`.
  "epochs": domains.optional(domains.number(1.0, "(0, 1e9)"), float),
  "eval_every_epochs": domains.optional(domains.number(1.0, "(0, 1e9)"), float),
  "steps_per_dispatch": domains.integer(1, 1),
  "log_every": domains.integer(50, 1),
  "eval_every": domains.integer(500, 1),
  # How many of the last evaluations reports average, of the test part, too,
  # which is then looked at so often: UMixUp's protocol is 10.
  "evaluation_mean": domains.integer(1, 1),
  "checkpoint_every": domains.integer(500, 1),
  "keep_checkpoints": domains.integer(3, 1),
  "parallel": domains.choice("pmap", ("pmap", "shard_map")),
  # Several runs in one process: (name, overrides) pairs, each with every seed.
  "sweep": domains.several((), Key((), _PAIR, _pair)),
  "sweep_seeds": domains.several((0,), domains.integer(0, 0, 2**32 - 1)),
}
_FREE = frozenset(
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


def register(owner: Any) -> None:
  """Adds an owner of keys, such as a module of a user's own.

  Called before `base`, at the top of a config file, it makes the owner's keys
  ones like all others: set and checked alike.

  Args:
    owner: has KEYS (see `experiments.domains`), and FREE and check(config)
      where it needs them. One of the same name takes the place of another.
  """
  for i, other in enumerate(OWNERS):
    if other.__name__ == owner.__name__:
      OWNERS[i] = owner
      return
  OWNERS.append(owner)


def keys() -> dict[str, Key]:
  """Returns every key by its name.

  Raises:
    ValueError: if a key has two owners.
  """
  found = dict(_KEYS)
  for owner in OWNERS:
    twice = found.keys() & owner.KEYS.keys()
    if twice:
      raise ValueError(
        f"{owner.__name__}.KEYS must not have {', '.join(sorted(twice))}, "
        "which another owner has."
      )
    found |= owner.KEYS
  return found


def by_owner() -> dict[str, Mapping[str, Key]]:
  """Returns every owner's keys, by its name: the loop's own come first."""
  owners = {owner.__name__.rpartition(".")[2]: owner.KEYS for owner in OWNERS}
  return {"train": _KEYS, **owners}


def free_keys() -> frozenset[str]:
  """Returns the keys that may change when a run is resumed."""
  return _FREE.union(*(getattr(owner, "FREE", ()) for owner in OWNERS))


def bound(config: ConfigDict) -> str:
  """Says why a run of this config may not be made longer; "" if it may.

  Where steps that were taken would be others under the new length.
  """
  reasons = (getattr(one, "bound", lambda _: "")(config) for one in OWNERS)
  return next(filter(None, reasons), "")


def base() -> ConfigDict:
  """Returns every key with its default; a config file changes what it needs."""
  return domains.defaults(keys())


def resolve(config: ConfigDict) -> ConfigDict:
  """Returns a copy with every None filled in and every value checked.

  Raises:
    ValueError: naming the key, what was expected and what came.
  """
  config = config.copy_and_resolve_references()
  known = keys()
  for name in config:
    if name not in known:
      raise ValueError(unknown(name))
  domains.settle(config, known)
  for owner in OWNERS:
    getattr(owner, "check", _nothing)(config)
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
    total = max(count, 1) * config.steps_per_dispatch
    config[steps] = _KEYS[steps].read(
      f"{epochs}={config[epochs]}: {steps}", total
    )
  return config


def put(config: ConfigDict, name: str, value: Any) -> None:
  """Sets a key, such as "model_options.width", to a value that it may hold.

  Raises:
    ValueError: naming the key: unknown, or not to hold this.
  """
  first, *path = name.split(".")
  known = keys()
  if first not in config:
    raise ValueError(unknown(name))
  if not path:
    if first in known:
      value = known[first].read(name, value)
    with config.ignore_type():
      config[first] = (
        ConfigDict(value) if isinstance(value, _MAPPINGS) else value
      )
    return
  owner, last = config[first], path[-1]
  for part in path[:-1]:
    owner = owner.get(part) if isinstance(owner, ConfigDict) else None
  # A model's options are its own, and not there until they are set.
  if not isinstance(owner, ConfigDict) or (
    last not in owner and owner is not config.get("model_options")
  ):
    raise ValueError(unknown(name))
  with owner.ignore_type():
    owner[last] = value
  if first in known:
    known[first].read(first, config[first])


def override(config: ConfigDict, changes: Mapping[str, Any]) -> None:
  """Sets several keys; a mapping's own are set one by one, as `update` does.

  Raises:
    ValueError: as `put`.
  """
  for name, value in changes.items():
    if not isinstance(name, str):
      raise ValueError(unknown(name))
    if isinstance(value, _MAPPINGS):
      override(config, {f"{name}.{part}": v for part, v in value.items()})
    else:
      put(config, name, value)


def unknown(name: Any) -> str:
  """Says of a key that there is none of that name, and which there are."""
  known = sorted(keys())
  near = difflib.get_close_matches(str(name).split(".")[0], known, 1)
  hint = f" Did you mean {near[0]}?" if near and near[0] != name else ""
  return f"Unknown config key {name!r}; known keys: {', '.join(known)}.{hint}"


def _nothing(config: ConfigDict) -> None:
  del config


def _check_loop(config: ConfigDict) -> None:
  for key in ("log_every", "eval_every", "checkpoint_every", "total_steps"):
    if config[key] % config.steps_per_dispatch:
      raise ValueError(
        f"{key}={config[key]} must be a multiple of "
        f"steps_per_dispatch={config.steps_per_dispatch}."
      )
