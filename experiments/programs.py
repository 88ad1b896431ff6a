"""Compiled steps, shared by the runs that differ in nothing compiled."""

from __future__ import annotations

import json
from typing import NamedTuple

from ml_collections import ConfigDict

from experiments import methods, optimizers, parallel, steps
from experiments.configs import common
from experiments.inputs.dataset import Spec


class _Made(NamedTuple):
  spec: Spec
  programs: parallel.Mapped


class Cache:
  """Programs by what they are compiled from; its holder's, and gone with it.

  A sweep holds one over its runs: seeds share all of a method's programs, and
  methods share their evaluation.
  """

  def __init__(self) -> None:
    """Holds nothing yet."""
    self._made: dict[str, _Made] = {}
    self._evaluations: dict[str, _Made] = {}

  def __len__(self) -> int:
    return len(self._made)

  def get(self, config: ConfigDict, spec: Spec) -> parallel.Mapped:
    """Returns the mapped steps of a resolved config over a data set's spec."""
    described = json.loads(config.to_json_best_effort())
    free = {"seed", "eval_every"}
    # What changes no number, less what may change a program all the same.
    free |= common.FREE_KEYS - {"parallel", "data_dir"}
    shared = {k: v for k, v in described.items() if k not in free}
    # Methods and optimisers differ in how they train, not in how they are
    # evaluated.
    owned = {*methods.defaults(), *optimizers.defaults()}
    evaluated = {k: v for k, v in shared.items() if k not in owned}
    trained = {k: v for k, v in shared.items() if k not in methods.defaults()}
    trained |= methods.compiled_from(config)
    if config.monitor:  # its program holds the law
      trained |= {k: described[k] for k in methods.VALUES}
    key, part = (json.dumps(k, sort_keys=True) for k in (trained, evaluated))
    made = self._made.get(key)
    if made is None or made.spec != spec:
      programs = parallel.create(config.parallel, steps.create(config, spec))
      other = self._evaluations.get(part)
      if other is None or other.spec != spec:
        other = self._evaluations[part] = _Made(spec, programs)
      # Compiled code belongs to a function: the older one has it already.
      programs = programs._replace(evaluate=other.programs.evaluate)
      made = self._made[key] = _Made(spec, programs)
    return made.programs
