"""The training step of a config, compiled for devices that are not here."""

from __future__ import annotations

import re
import time
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from ml_collections import ConfigDict
import numpy as np

from experiments import parallel, steps
from experiments import programs as programs_lib
from experiments.forecast import hlo
from experiments.inputs.dataset import Spec

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class Compiled(NamedTuple):
  """One device's program; None where it does not fit and so does not exist.

  Attributes:
    fits: whether the compiler could place it in the device's memory.
    argument_bytes: state, batch and key.
    donated_bytes: of these, what the step overwrites in place.
    temporary_bytes: activations and the like.
    peak_bytes: all memory the program needs.
    flops: operations of a step.
    bytes_accessed: of a step, by the compiler's own count, which does not tell
      memory from what is kept on the chip.
    traffic: the two of them, see `hlo.traffic`.
    collectives: by kind.
    text: the optimised HLO.
    seconds: that compiling took.
  """

  fits: bool
  argument_bytes: int
  donated_bytes: int | None
  temporary_bytes: int
  peak_bytes: int
  flops: float | None
  bytes_accessed: float | None
  traffic: hlo.Traffic | None
  collectives: dict[str, hlo.Collectives] | None
  text: str
  seconds: float


def compile_step(
  config: ConfigDict, spec: Spec, devices: list[Any]
) -> Compiled:
  """Compiles one training step, as `experiments.train` would dispatch it.

  Args:
    config: resolved. steps_per_dispatch is taken to be 1.
    spec: of the data set, see `experiments.inputs.describe`.
    devices: what to compile for.

  Raises:
    ValueError: if the batch does not divide among the devices.
  """
  parallel.check_batch_size(config.batch_size, len(devices))
  functions = steps.create(config, spec)
  programs = parallel.create(config.parallel, functions, devices)
  arguments = _arguments(config, spec, programs, devices)
  begun = time.monotonic()
  lowered = programs.train.lower(*arguments)  # type: ignore[attr-defined]
  own = sum(_device_bytes(leaf) for leaf in jax.tree.leaves(arguments))
  try:
    compiled = lowered.compile()
  except jax.errors.JaxRuntimeError as error:
    temporary = _exhausted(str(error), own)
    seconds = time.monotonic() - begun
    return Compiled(
      fits=False,
      argument_bytes=own,
      donated_bytes=None,
      temporary_bytes=temporary,
      peak_bytes=own + temporary,
      flops=None,
      bytes_accessed=None,
      traffic=None,
      collectives=None,
      text="",
      seconds=seconds,
    )
  seconds = time.monotonic() - begun
  memory, cost = compiled.memory_analysis(), compiled.cost_analysis()
  text = compiled.as_text()
  return Compiled(
    fits=True,
    argument_bytes=memory.argument_size_in_bytes,
    donated_bytes=memory.alias_size_in_bytes,
    temporary_bytes=memory.temp_size_in_bytes,
    peak_bytes=peak_bytes(memory),
    flops=cost["flops"],
    bytes_accessed=cost["bytes accessed"],
    traffic=hlo.traffic(text),
    collectives=hlo.collectives(text),
    text=text,
    seconds=seconds,
  )


def peak_bytes(memory: Any) -> int:
  """All memory that a program needs, from its `memory_analysis`."""
  return (
    memory.argument_size_in_bytes
    + memory.output_size_in_bytes
    - memory.alias_size_in_bytes
    + memory.temp_size_in_bytes
    + memory.generated_code_size_in_bytes
  )


def _arguments(config, spec, mapped, devices):
  """(state, batches, key, values) as shapes, placed as a run places them."""
  mesh = Mesh(np.array(devices), (steps.AXIS,))
  replicated = NamedSharding(mesh, P())
  divided = NamedSharding(mesh, P(steps.AXIS))
  config = config.copy_and_resolve_references()
  config.steps_per_dispatch = 1

  def placed(tree, sharding):
    return jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree
    )

  state, batches, key, values = programs_lib.arguments(
    config, spec, mapped, len(devices)
  )
  state, key, values = placed((state, key, values), replicated)
  return state, placed(batches, divided), key, values


def _device_bytes(leaf: jax.ShapeDtypeStruct) -> int:
  if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
    return 8
  shape = leaf.sharding.shard_shape(leaf.shape)
  return int(np.prod(shape)) * np.dtype(leaf.dtype).itemsize


def _exhausted(message: str, arguments: int) -> int:
  """The bytes of temporaries needed, from the compiler's refusal.

  It speaks of them alone, or of all memory, according to what it had found out
  when it gave up.
  """
  size = r"([\d.]+)([KMGT]?)"
  alone = re.search(rf"required for HLO temporaries \({size}\)", message)
  whole = re.search(rf"Used {size} of [\d.]+[KMGT]? hbm", message)
  found = alone or whole
  if "RESOURCE_EXHAUSTED" not in message or found is None:
    raise RuntimeError(f"The step does not compile: {message}")
  needed = round(float(found[1]) * _UNITS[found[2]])
  return needed if alone else needed - arguments
