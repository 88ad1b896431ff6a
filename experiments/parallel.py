"""The per-replica steps mapped over all devices, by pmap or shard_map.

Both give the same numbers: each is the same step under the same axis name.
State is one replicated tree (no leading device axis), so a checkpoint does not
depend on the mapping, nor on the number of devices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
import numpy as np

from experiments.inputs.dataset import Batch
from experiments.state import TrainState
from experiments.steps import AXIS, Steps
from experiments.tasks import Measure


class Mapped(NamedTuple):
  """Steps over all devices.

  Attributes:
    init: key -> replicated TrainState.
    train: (state, batches, key, values) -> (state, metrics stacked over the
      batches); donates the state.
    evaluate: (state, batch) -> sums.
    monitor: (state, batch) -> values, or None.
    means: see `Steps`, likewise diagrams.
    measures: what is shown of them, the most important first.
    place: one or more host batches -> what `train` takes, on the devices.
    place_one: a host batch -> what `evaluate` takes.
    to_global: state as `train` returns it -> as checkpoints hold it.
    from_global: the way back.
  """

  init: Callable[[jax.Array], TrainState]
  train: Callable[..., tuple[TrainState, Any]]
  evaluate: Callable[[TrainState, Any], Any]
  monitor: Callable[[TrainState, Any], Any] | None
  means: Callable[..., dict[str, float]]
  measures: tuple[Measure, ...]
  place: Callable[[Sequence[Batch]], Any]
  place_one: Callable[[Batch], Any]
  to_global: Callable[[TrainState], TrainState]
  from_global: Callable[[TrainState], TrainState]
  diagrams: Callable[..., dict[str, Any]] | None = None


def check_batch_size(
  batch_size: int, replicas: int, name: str = "batch_size"
) -> None:
  """Raises ValueError, naming sizes that work, unless replicas divide it."""
  if batch_size % replicas:
    below = batch_size // replicas * replicas
    sizes = [str(size) for size in (below, below + replicas) if size]
    raise ValueError(
      f"{name}={batch_size} cannot be divided among {replicas} replicas; the "
      f"nearest sizes that work: {', '.join(sizes)}."
    )


def create(
  kind: str, steps: Steps, devices: Sequence[jax.Device] | None = None
) -> Mapped:
  """Maps `steps` over all devices.

  Args:
    kind: "pmap" or "shard_map".
    steps: per replica.
    devices: None is all there are; others, which need not be here, to compile
      for them (`experiments.forecast`).

  Returns:
    The mapped steps.
  """
  # Under pmap every process handles its own devices' arrays, under shard_map
  # the global ones; with one process they are the same.
  own = jax.local_devices() if kind == "pmap" else jax.devices()
  mesh = Mesh(np.array(devices or own), (AXIS,))
  whole = Mesh(np.array(jax.devices()), (AXIS,))
  replicated = NamedSharding(mesh, P())
  divided = NamedSharding(mesh, P(AXIS))
  wrap = _pmap(devices) if kind == "pmap" else _shard_map(mesh)
  settled = (lambda fun: fun) if devices else _settled

  def train(state, batches, key, values):
    length = jax.tree.leaves(batches)[0].shape[0]
    if length == 1:
      # Without a scan: on CPUs one makes convolutions several times slower.
      batch = jax.tree.map(lambda x: x[0], batches)
      state, metrics = steps.train(state, batch, key, values)
      return state, jax.tree.map(lambda x: x[None], metrics)
    return jax.lax.scan(
      lambda carry, batch: steps.train(carry, batch, key, values),
      state,
      batches,
    )

  def place(host):
    return jax.make_array_from_process_local_data(
      divided, _per_replica(host, jax.local_device_count())
    )

  def stack(*rows):
    # A single batch, the usual case, is not copied.
    return np.stack(rows) if len(rows) > 1 else rows[0][None]

  def place_many(batches):
    return jax.tree.map(lambda *rows: place(stack(*rows)), *batches)

  def on_one(step):
    def call(state, batches):
      return step(state, jax.tree.map(lambda x: x[0], batches))

    return settled(wrap(call, (None, 0), None, ()))

  def to_global(state):
    if kind == "pmap" and jax.process_count() > 1:
      return multihost_utils.host_local_array_to_global_array(state, whole, P())
    return state

  def from_global(state):
    if kind == "pmap" and jax.process_count() > 1:
      return multihost_utils.global_array_to_host_local_array(state, whole, P())
    return state

  return Mapped(
    init=jax.jit(steps.init, out_shardings=replicated),
    train=settled(wrap(train, (None, 0, None, None), (None, None), (0,))),
    evaluate=on_one(steps.evaluate),
    monitor=on_one(steps.monitor) if steps.monitor else None,
    means=steps.means,
    measures=steps.measures,
    place=place_many,
    place_one=lambda batch: place_many([batch]),
    to_global=to_global,
    from_global=from_global,
    diagrams=steps.diagrams,
  )


def _per_replica(host: np.ndarray, replicas: int) -> np.ndarray:
  """[steps, batch, ...] to [replicas, steps, batch / replicas, ...]."""
  steps, size = host.shape[:2]
  parts = host.reshape(steps, replicas, size // replicas, *host.shape[2:])
  return np.ascontiguousarray(np.moveaxis(parts, 1, 0))


def _pmap(devices):
  def wrap(fun, in_axes, out_axes, donate):
    return jax.pmap(
      fun,
      axis_name=AXIS,
      in_axes=in_axes,
      out_axes=out_axes,
      devices=devices,
      donate_argnums=donate,
    )

  return wrap


def _shard_map(mesh):
  def wrap(fun, in_axes, out_axes, donate):
    def per_device(*args):
      own = [
        arg if axis is None else jax.tree.map(lambda x: x[0], arg)
        for arg, axis in zip(args, in_axes, strict=True)
      ]
      return fun(*own)

    specs = tuple(P() if axis is None else P(AXIS) for axis in in_axes)
    # check_vma=False is pmap's meaning of a gradient: each replica's own.
    mapped = jax.shard_map(
      per_device,
      mesh=mesh,
      in_specs=specs,
      out_specs=jax.tree.map(
        lambda _: P(), out_axes, is_leaf=lambda x: x is None
      ),
      check_vma=False,
    )
    return jax.jit(mapped, donate_argnums=donate)

  return wrap


def _settled(fun):
  """On several CPU devices, waits for each call.

  They share one pool of threads: programs in flight together can hold all of it
  while each waits in a collective for the other's replicas.
  """
  if jax.default_backend() != "cpu" or jax.device_count() == 1:
    return fun
  return lambda *args: jax.block_until_ready(fun(*args))
