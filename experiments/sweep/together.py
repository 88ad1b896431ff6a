"""Runs that differ in numbers alone, trained side by side by one program.

States are stacked and divided among the devices; the training examples lie on
each once, and a step takes its rows by number. The step itself is that of
`experiments.steps`, the order of the examples that of `inputs.memory`, so that
a run is the one that `experiments.train` makes of its config, up to rounding.

On a device an accelerator takes the runs as one batch. A CPU takes one after
the other: it is as fast there, needs less memory, and a branch of the model,
which a batch of runs would have to take both ways, stays a branch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
import functools
import math
import os
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from ml_collections import ConfigDict
import numpy as np

from experiments import methods, optimizers, programs
from experiments.inputs import memory
from experiments.inputs.dataset import Arrays, Spec
from experiments.state import TrainState
from experiments.steps import AXIS, Steps

RUNS = "runs"


def use_all_cores() -> None:
  """Makes each core of a CPU a device, which trains runs of its own.

  Before anything else asks JAX for its devices. Programs this small leave the
  other cores idle; XLA_FLAGS that say how many devices there are stay in force.
  """
  if "device_count" not in os.environ.get("XLA_FLAGS", ""):
    jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))


class Data(NamedTuple):
  """Data sets of one spec, on the devices.

  Attributes:
    train: {"inputs", "label"}, the training examples of all, one data set after
      another.
    starts: where each begins.
    sizes: how many each has.
    parts: "validation" and, if there is one, "test" -> evaluation batches,
      [data sets, batches, ...].
  """

  train: Any
  starts: list[int]
  sizes: list[int]
  parts: dict[str, Any]


class Group(NamedTuple):
  """Runs that share a program.

  Attributes:
    configs: resolved, one a run.
    which: the number of each run's data set in `data`.
    data: all their data sets.
    spec: of the first.
  """

  configs: list[ConfigDict]
  which: list[int]
  data: Data
  spec: Spec


def common(spec: Spec) -> Spec:
  """Returns what of a spec runs that share a program have in common."""
  return spec._replace(num_train=0, num_eval=0)


def gather(configs: Sequence[ConfigDict], loaded: Sequence[tuple]) -> Group:
  """Puts the data of runs on the devices, each data set once.

  Args:
    configs: resolved, of one program.
    loaded: (arrays, spec) of each, as `memory.load` returns them; those that
      runs share are the same objects, see `memory.Loaded`.
  """
  numbers: dict[int, int] = {}
  distinct: list[tuple[Arrays, Spec]] = []
  which = []
  for arrays, spec in loaded:
    if id(arrays) not in numbers:
      numbers[id(arrays)] = len(distinct)
      distinct.append((arrays, spec))
    which.append(numbers[id(arrays)])
  sizes = [spec.num_train for _, spec in distinct]
  size = configs[0].eval_batch_size
  parts: dict[str, list[tuple[Any, np.ndarray]]] = {
    "validation": [(a.eval_inputs, a.eval_labels) for a, _ in distinct],
    "test": [
      (a.test_inputs, a.test_labels)
      for a, _ in distinct
      if a.test_labels is not None
    ],
  }
  if not parts["test"]:
    del parts["test"]
  join = functools.partial(jax.tree.map, lambda *leaves: np.concatenate(leaves))
  train = join(
    *({"inputs": a.train_inputs, "label": a.train_labels} for a, _ in distinct)
  )
  everywhere = NamedSharding(_mesh(), P())
  data = Data(
    jax.device_put(train, everywhere),
    [0, *np.cumsum(sizes)[:-1].tolist()],
    sizes,
    {
      name: jax.device_put(_batches(part, size), everywhere)
      for name, part in parts.items()
    },
  )
  return Group(list(configs), which, data, loaded[0][1])


class Program:
  """The compiled steps of runs side by side, divided among the devices."""

  def __init__(self, config: ConfigDict, spec: Spec, scans: bool | None = None):
    """Builds the steps of a resolved config over a data set's spec.

    Args:
      config: of any of the runs.
      spec: of its data set.
      scans: whether the steps between evaluations are one program; None: unless
        the model convolves on a CPU, where loops make convolutions several
        times slower.
    """
    self.config = config
    self.steps = programs.functions(optimizers.rated(config)[0], spec)
    one = functools.partial(_steps, self.steps, config)
    self.devices = jax.local_device_count()
    each, everywhere = (NamedSharding(_mesh(), spec) for spec in (P(RUNS), P()))
    self.init = jax.jit(jax.vmap(self.steps.init), out_shardings=each)
    self._advance = jax.jit(
      self._divided(functools.partial(_each, one), shared=1),
      in_shardings=(each, everywhere, each, each, each),
      out_shardings=each,
      donate_argnums=0,
    )
    self.evaluate = jax.jit(
      self._divided(functools.partial(_evaluations, self.steps), shared=1)
    )
    self._scans = scans
    self._compiled: dict[tuple[Any, ...], jax.stages.Compiled] = {}

  def _divided(self, fun: Callable[..., Any], *, shared: int):
    """Divides the runs among the devices; `shared` is the argument of all."""
    if self.devices == 1:
      return fun

    def mapped(*args):
      specs = tuple(P() if i == shared else P(RUNS) for i in range(len(args)))
      return jax.shard_map(
        fun,
        mesh=_mesh(),
        in_specs=specs,
        out_specs=P(RUNS),
        check_vma=False,
      )(*args)

    return mapped

  def scans(self, group: Group) -> bool:
    """Whether steps are scanned over, see `__init__`."""
    if self._scans is None:
      given = self._arguments(group, self.devices, 1)
      self._scans = jax.default_backend() != "cpu" or not _convolves(
        jax.make_jaxpr(self._advance)(*given)
      )
    return self._scans

  def advance(self, group: Group, runs: int, steps: int) -> jax.stages.Compiled:
    """Returns the program that takes so many steps of runs, compiled once.

    It is called with their states, which it takes over, the group's training
    examples, rows [runs, steps, streams, B], keys and `_values`, and returns
    the states and which steps were finite.
    """
    shapes = [x.shape for x in jax.tree.leaves(group.data.train)]
    name = runs, steps, *shapes
    if name not in self._compiled:
      given = self._arguments(group, runs, steps)
      self._compiled[name] = self._advance.lower(*given).compile()
    return self._compiled[name]

  def _arguments(self, group: Group, runs: int, steps: int) -> tuple[Any, ...]:
    """The shapes of what `advance` is called with."""

    def many(tree, *sizes):
      return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((runs, *sizes, *x.shape), x.dtype), tree
      )

    key = jax.eval_shape(jax.random.key, 0)
    config = group.configs[0]
    values = jax.eval_shape(lambda: _values(config))
    streams = 2 if config.pairing == "between" else 1
    row = jax.ShapeDtypeStruct((streams, config.batch_size), np.int32)
    return (
      many(jax.eval_shape(self.steps.init, key)),
      jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), group.data.train
      ),
      many(row, steps),
      many(key),
      many(values),
    )


class Side(NamedTuple):
  """Runs of a group under way, side by side.

  Attributes:
    step: the number of steps taken.
    state: their states, stacked.
    diverged_at: by run, the first step with a metric that was not finite, or
      None.
  """

  step: int
  state: TrainState
  diverged_at: list[int | None]


def train(
  program: Program, group: Group, runs: Sequence[int], every: int
) -> Iterator[Side]:
  """Trains some of a group's runs, and yields every so many steps.

  Args:
    program: the group's.
    group: whose runs.
    runs: their numbers in it; as many as the devices divide.
    every: steps.
  """
  configs = [group.configs[i] for i in runs]
  which = [group.which[i] for i in runs]
  keys = jnp.stack([jax.random.key(config.seed) for config in configs])
  key_init, key_steps = jax.vmap(jax.random.split, out_axes=1)(keys)
  state = program.init(key_init)
  values = jax.tree.map(lambda *one: np.stack(one), *map(_values, configs))
  orders = [
    _orders(c, group.data, k) for c, k in zip(configs, which, strict=True)
  ]
  total, step = configs[0].total_steps, 0
  diverged_at: list[int | None] = [None] * len(runs)
  size = configs[0].batch_size
  while step < total:
    count = min(every - step % every, total - step)
    rows = np.stack([order(step * size, count) for order in orders])
    finite = []
    pieces = [rows] if program.scans(group) else np.split(rows, count, axis=1)
    advance = program.advance(group, len(runs), pieces[0].shape[1])
    for piece in pieces:
      state, flags = advance(state, group.data.train, piece, key_steps, values)
      finite.append(flags)
    flags = np.concatenate(jax.device_get(finite), axis=1)
    for i, bad in enumerate(~flags):
      if diverged_at[i] is None and bad.any():
        diverged_at[i] = step + int(np.argmax(bad)) + 1
    step += count
    yield Side(step, state, list(diverged_at))


def evaluate(
  program: Program, group: Group, runs: Sequence[int], side: Side
) -> list[dict[str, dict[str, float]]]:
  """Returns each run's "validation" and "test", what evaluation lines say."""
  which = np.array([group.which[i] for i in runs], np.int32)
  found = {
    name: jax.device_get(program.evaluate(side.state, batches, which))
    for name, batches in group.data.parts.items()
  }
  lines = []
  for i in range(len(runs)):
    sums = {
      name: jax.tree.map(lambda x, i=i: np.sum(x[i], 0, np.float64), parts)
      for name, parts in found.items()
    }
    held = sums["validation"]
    lines.append(
      {
        name: program.steps.means(own, held if name == "test" else None)
        for name, own in sums.items()
      }
    )
  return lines


def _mesh() -> Mesh:
  return Mesh(np.array(jax.local_devices()), (RUNS,))


def _each(one: Callable[..., Any], state, data, *own):
  """Calls one(state, data, *own) for every run on a device."""
  if jax.default_backend() != "cpu":
    return jax.vmap(one, (0, None, *(0 for _ in own)))(state, data, *own)
  if jax.tree.leaves(state)[0].shape[0] == 1:  # without a loop, see `Program`
    args = jax.tree.map(lambda x: x[0], (state, *own))
    return jax.tree.map(lambda x: x[None], one(args[0], data, *args[1:]))
  return jax.lax.map(lambda args: one(args[0], data, *args[1:]), (state, *own))


def _steps(steps: Steps, config: ConfigDict, state, data, rows, key, values):
  """One run's steps, rows [S, streams, B]; which of them were finite, [S]."""
  # The steps' axis of replicas, of which a run has one.
  one = jax.vmap(
    steps.train,
    in_axes=(None, 0, None, None),
    axis_name=AXIS,
    axis_size=1,
  )

  def take(row):
    return jax.tree.map(lambda x: x[row], data)

  def step(state, row):
    batch = take(row[0])
    if config.pairing == "between":
      batch["partner"] = take(row[1])
    batch = jax.tree.map(lambda x: x[None], batch)
    state, metrics = jax.tree.map(
      lambda x: x[0], one(state, batch, key, values)
    )
    finite = [jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(metrics)]
    return state, jnp.all(jnp.stack(finite))

  if rows.shape[0] == 1:  # without a scan, see `Program`
    state, finite = step(state, rows[0])
    return state, finite[None]
  return jax.lax.scan(step, state, rows)


def _evaluations(steps: Steps, states, batches, which):
  """Sums of each batch, [runs, batches, ...]; one run after another."""
  # Not over a batch of one replica: where a model's branch depends on what is
  # batched, both ways would be computed.
  one = jax.vmap(
    steps.evaluate,
    in_axes=None,
    out_axes=None,
    axis_name=AXIS,
    axis_size=1,
  )

  def run(args):
    state, number = args
    own = jax.tree.map(lambda x: x[number], batches)

    return jax.lax.map(lambda batch: one(state, batch), own)

  return jax.lax.map(run, (states, which))


def _values(config: ConfigDict) -> dict[str, Any]:
  found = methods.values(config) | optimizers.rated(config)[1]
  return {k: np.asarray(v) for k, v in found.items()}


def _orders(config: ConfigDict, data: Data, number: int):
  """(position, steps) -> rows [steps, streams, B] of a run's examples."""
  streams = 2 if config.pairing == "between" else 1
  size, start = data.sizes[number], data.starts[number]
  orders = [memory.Order(config.seed, k, size) for k in range(streams)]

  def rows(position, steps):
    taken = [
      order.take(position, steps * config.batch_size) for order in orders
    ]
    shape = streams, steps, config.batch_size
    return np.moveaxis(np.reshape(taken, shape) + start, 0, 1).astype(np.int32)

  return rows


def _batches(parts: Sequence[tuple[Any, np.ndarray]], size: int):
  """Evaluation batches, [data sets, batches, ...], padded and masked.

  Of `size` examples at most; as alike as they go, lest padding be computed on.
  """
  longest = max(len(labels) for _, labels in parts)
  count = math.ceil(longest / size)
  size = math.ceil(longest / count)

  def padded(values):
    room = np.zeros((count * size, *values.shape[1:]), values.dtype)
    room[: len(values)] = values
    return room.reshape(count, size, *values.shape[1:])

  batches = [
    {
      "inputs": jax.tree.map(padded, inputs),
      "label": padded(labels),
      "mask": padded(np.ones(len(labels), bool)),
    }
    for inputs, labels in parts
  ]
  return jax.tree.map(lambda *one: np.stack(one), *batches)


def _convolves(jaxpr: Any) -> bool:
  return "conv_general_dilated" in str(jaxpr)
