"""Compiled steps, shared by the runs that differ in nothing compiled."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from experiments import (
  inputs,
  methods,
  networks,
  optimizers,
  parallel,
  steps,
)
from experiments.configs import common
from experiments.inputs import memory
from experiments.inputs.dataset import Spec


class _Made(NamedTuple):
  spec: Spec
  programs: parallel.Mapped


class Cache:
  """Programs by what they are compiled from; its holder's, and gone with it.

  A sweep holds one over its runs: seeds share all of a method's programs,
  methods share their evaluation, and all share `arrays`, the data in memory.
  """

  def __init__(self) -> None:
    """Holds nothing yet."""
    self._made: dict[str, _Made] = {}
    self._evaluations: dict[str, _Made] = {}
    self.arrays = memory.Loaded()

  def __len__(self) -> int:
    return len(self._made)

  def get(self, config: ConfigDict, spec: Spec) -> parallel.Mapped:
    """Returns the mapped steps of a resolved config over a data set's spec.

    A training step is traced here: what is wrong with a config that only shows
    in its shapes, or in a model of the user's own, is raised now.
    """
    key, part = identities(config)
    made = self._made.get(key)
    if made is None or made.spec != spec:
      programs = parallel.create(config.parallel, functions(config, spec))
      _trace(config, spec, programs)
      other = self._evaluations.get(part)
      if other is None or other.spec != spec:
        other = self._evaluations[part] = _Made(spec, programs)
      # Compiled code belongs to a function: the older one has it already.
      programs = programs._replace(evaluate=other.programs.evaluate)
      made = self._made[key] = _Made(spec, programs)
    return made.programs


def identities(config: ConfigDict) -> tuple[str, str]:
  """Returns what of a resolved config its programs are compiled from, as text.

  Of the training step, and of the evaluation: configs of one text share it.
  """
  described = json.loads(config.to_json_best_effort())
  shared = {k: v for k, v in described.items() if k not in _free()}
  # Methods and optimisers differ in how they train, not in how they are
  # evaluated.
  owned = {*methods.KEYS, *optimizers.KEYS}
  evaluated = {k: v for k, v in shared.items() if k not in owned}
  trained = {k: v for k, v in shared.items() if k not in methods.KEYS}
  trained |= methods.compiled_from(config)
  if config.monitor:  # its program holds the law
    trained |= {k: described[k] for k in methods.VALUES}
  first, second = (json.dumps(k, sort_keys=True) for k in (trained, evaluated))
  return first, second


def functions(config: ConfigDict, spec: Spec) -> steps.Steps:
  """Returns the steps of a resolved config, blind to what is not compiled."""
  return steps.create(_without(config, _free()), spec)


def _free() -> set[str]:
  # What changes no number, less what may change a program all the same.
  free = common.free_keys() - {"parallel", "data_dir"}
  return {"seed", "eval_every"} | inputs.PARTITION | networks.INITIAL | free


def arguments(
  config: ConfigDict, spec: Spec, programs: parallel.Mapped, replicas: int
) -> tuple[Any, ...]:
  """Returns the shapes of what a training dispatch takes.

  Args:
    config: resolved.
    spec: of the data set.
    programs: for the state.
    replicas: how many the batch is divided among, all of them here.

  Returns:
    (state, batches, key, values), of jax.ShapeDtypeStruct.
  """
  key = jax.eval_shape(jax.random.key, 0)
  state = jax.eval_shape(programs.init, key)
  batch = {"inputs": spec.inputs, "label": spec.label}
  if config.pairing == "between":
    batch["partner"] = dict(batch)
  leading = replicas, config.steps_per_dispatch, config.batch_size // replicas
  batches = jax.tree.map(
    lambda one: jax.ShapeDtypeStruct((*leading, *one.shape), one.dtype), batch
  )
  values = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), methods.values(config)
  )
  return state, batches, key, values


def _trace(config, spec, programs) -> None:
  # Under pmap a process maps its own devices only.
  local = config.parallel == "pmap"
  replicas = jax.local_device_count() if local else jax.device_count()
  size = config.batch_size * replicas // jax.device_count()
  own = config.copy_and_resolve_references()
  own.batch_size = size
  jax.eval_shape(programs.train, *arguments(own, spec, programs, replicas))


def _without(config: ConfigDict, keys: set[str]) -> ConfigDict:
  """A copy without these keys: whoever read one would bake it in unseen."""
  config = config.copy_and_resolve_references()
  with config.unlocked():
    for key in keys:
      del config[key]
  return config
