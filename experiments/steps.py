"""train_step and eval_step: pure, per replica, over the mapped axis AXIS.

`parallel.py` maps them over devices. What inputs, outputs, mixing and weights
mean is known to the scale, the task, the method and the network that a resolved
config names; here they only meet. Nothing here knows how many replicas there
are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import optax

from experiments import methods, monitor, networks, optimizers, tasks
from experiments.inputs.dataset import Batch, Spec
from experiments.state import TrainState, polyak_update
from experiments.tasks import Measure

AXIS = "batch"
# Whose evaluation a field of metrics.jsonl is, by how its name begins.
PREFIXES = {"live": "", "polyak": "polyak_"}

Sums = dict[str, Any]


class Steps(NamedTuple):
  """The pure functions of one experiment.

  Attributes:
    init: key -> TrainState.
    train: (state, batch, key, values) -> (state, metrics), per replica; values
      are the method's, see `methods.values`, and may be those of
      `optimizers.rated`.
    evaluate: (state, batch) -> sums over the batch and over replicas.
    means: sums over all of the evaluation -> the fields of its line; of a test
      part, with the evaluation part's sums as `held`.
    measures: what is shown of them, the most important first.
    monitor: (state, evaluation batch) -> values, see `experiments.monitor`; or
      None.
    diagrams: sums over all of the evaluation -> what is drawn of them, of both
      weights; None draws nothing.
  """

  init: Callable[[jax.Array], TrainState]
  train: Callable[
    [TrainState, Batch, jax.Array, methods.Values], tuple[TrainState, Sums]
  ]
  evaluate: Callable[[TrainState, Batch], Sums]
  means: Callable[..., dict[str, float]]
  measures: tuple[Measure, ...]
  monitor: Callable[[TrainState, Batch], Sums] | None = None
  diagrams: Callable[[Sums], dict[str, Any]] | None = None


class Apply(NamedTuple):
  """The network in training, as methods call it.

  Attributes:
    network: what is run.
    state: the network's, before the first pass.
    key: of what it draws itself.
  """

  network: networks.Network
  state: Any
  key: jax.Array

  # `mask` by name: what asks for one is told it, where a batch has one.
  def __call__(
    self,
    params: Any,
    inputs: Any,
    state: Any = None,
    mask: jax.Array | None = None,
    **options: Any,
  ) -> tuple[Any, Any]:
    """Returns (outputs, new state); of a second pass if given a state."""
    if mask is not None:
      options["mask"] = mask
    key = self.key
    if state is None:
      state = self.state
    else:
      # It draws dropout of its own, as joint and split do.
      key = jax.random.fold_in(key, 1)
    return self.network.apply(
      params, state, inputs, train=True, key=key, **options
    )

  def part(self, number: jax.Array, state: Any) -> Apply:
    """The network for one of several parts of a batch, with dropout its own."""
    # 0 and 1 are taken: a part's key is split as the batch's is.
    return Apply(self.network, state, jax.random.fold_in(self.key, number + 2))


def create(config: ConfigDict, spec: Spec) -> Steps:
  """Builds the steps of a resolved config for a data set's spec."""
  task = tasks.create(config, spec)
  network = networks.create(config, spec, task.num_outputs, axis_name=AXIS)
  method = methods.create(config, task, AXIS, network.stages)
  if methods.differentiates(config):
    networks.check_held(config, spec, network, AXIS)
  optimizer = optimizers.create(config, network.decays)
  last_mixed = methods.last_mixed_step(config)

  def to_float(inputs):
    return spec.scale.to_float(inputs, jnp.dtype(config.dtype))

  def prepared(batch, key):
    """The batch, and its partners, as floats."""
    batch = dict(batch)
    if spec.augment is not None:
      batch["inputs"] = spec.augment(key, batch["inputs"])
    batch["inputs"] = to_float(batch["inputs"])
    if "partner" in batch:
      batch["partner"] = prepared(batch["partner"], jax.random.fold_in(key, 0))
    return batch

  def init(key):
    params, network_state = network.init(key)
    return TrainState.create(
      params=params, batch_stats=network_state, optimizer=optimizer
    )

  def train(state, batch, key, values):
    # By the step, not split off the last one's: a resumed run draws the same.
    key_shared = jax.random.fold_in(key, state.step)
    key = jax.random.fold_in(key_shared, jax.lax.axis_index(AXIS))
    key_plan, key_network = jax.random.split(key)
    # Those two are fold_in's 0 and 1.
    batch = prepared(batch, jax.random.fold_in(key, 2))
    together = {}
    if method.shares:
      first = jax.random.fold_in(key_shared, 0)
      together["shared_key"] = jax.random.split(first)[0]
    plan = method.draw(values, key_plan, batch, **together)

    if last_mixed is not None:
      plan = methods.ended(plan, state.step >= last_mixed)
    apply_fn = Apply(network, state.batch_stats, key_network)
    outcome, grads = method.gradient(
      values, key_shared, apply_fn, state.params, batch, plan
    )
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    if optimizers.RATE in values:  # the optimiser's is 1 then
      updates = optax.tree.scale(values[optimizers.RATE], updates)
    params = optax.apply_updates(state.params, updates)
    new_state = state.replace(
      step=state.step + 1,
      params=params,
      batch_stats=outcome.state,
      opt_state=opt_state,
      # Of the norms' running averages, too, as in MixupE's section 3.1.
      polyak=polyak_update(
        state.polyak, (params, outcome.state), state.step, config.polyak_rate
      ),
    )
    told = optimizers.describe(config, grads, state.step)
    return new_state, outcome.metrics | told

  def evaluate(state, batch):
    mask = batch["mask"]
    sums: Sums = {"count": jnp.sum(mask, dtype=jnp.float32)}
    weights = {"live": (state.params, state.batch_stats)}
    if config.polyak_rate > 0.0:
      weights["polyak"] = state.polyak
    for whose, (params, network_state) in weights.items():

      def predict(inputs, params=params, network_state=network_state):
        return network.apply(params, network_state, to_float(inputs))[0]

      sums[whose] = task.sums(predict, batch)
    # An average at rate 0 is the weights themselves.
    sums.setdefault("polyak", sums["live"])
    # Sums, not means: replicas may hold different numbers of real examples.
    return jax.lax.psum(sums, AXIS)

  def means(sums, held=None):
    count = float(sums["count"])
    fields = {"examples": count}
    for whose, prefix in PREFIXES.items():
      own = task.means(sums[whose], count)
      if task.scaled is not None and held is not None:
        own |= task.scaled(held[whose], sums[whose], count)
      fields |= {prefix + name: value for name, value in own.items()}
    return fields

  diagram = task.diagram

  def diagrams(sums):
    return {whose: diagram(sums[whose]) for whose in PREFIXES if diagram}

  watch = None
  if config.monitor:
    law = methods.law(config)
    watch = monitor.create(config, spec, task, law, AXIS)
  return Steps(init, train, evaluate, means, task.measures, watch, diagrams)
