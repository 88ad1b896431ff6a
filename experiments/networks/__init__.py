"""Networks: how a model is run, whoever wrote it."""

from __future__ import annotations

import flax.traverse_util
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments import domains
from experiments.inputs.dataset import Spec
from experiments.networks import linen, options
from experiments.networks.network import Network as Network
from jaxmix import holding, models

FREE: frozenset[str] = frozenset()


KEYS = {
  "model": domains.entry("resnet50", models.names()),
  "model_options": options.KEY,
  # Of the computation; parameters are float32.
  "dtype": domains.choice("float32", ("float32", "bfloat16")),
  # Of dropout's bits. rbg, the hardware's generator, is much faster on a TPU;
  # its numbers may differ from one kind of device, or version, to the next.
  "dropout_prng": domains.choice(
    "threefry2x32", ("threefry2x32", "rbg", "unsafe_rbg")
  ),
  # What a new run begins with: a workdir, or one of its checkpoints. Weights
  # and batch statistics, no optimiser's state; "" draws them.
  "init_from": domains.folder(""),
  "init_weights": domains.choice("polyak", ("polyak", "live")),
  # new: what depends on the number of outputs is drawn all the same.
  "init_head": domains.choice("same", ("same", "new")),
}

# These decide what a run begins with, and no program.
INITIAL = frozenset({"init_from", "init_weights", "init_head"})


def check(config: ConfigDict) -> None:
  """Raises ValueError for options that the model does not have."""
  options.check(config)


def check_held(
  config: ConfigDict, spec: Spec, network: Network, axis_name: str
) -> None:
  """Raises ValueError if a penalty's derivative would move batch statistics.

  An exact or a Taylor penalty is a derivative in each example alone. A model
  with statistics of the batch marks them by `jaxmix.hold`, as jaxmix's own do;
  without, the penalty comes out near zero and says nothing.

  Args:
    config: resolved.
    spec: the inputs' shapes and scale.
    network: the config's.
    axis_name: its axis.
  """
  key = jax.random.key(0)
  params, state = jax.eval_shape(network.init, key)
  if ":" not in config.model or not jax.tree.leaves(state):
    return
  batch = jax.tree.map(
    lambda one: jax.ShapeDtypeStruct((2, *one.shape), one.dtype), spec.inputs
  )

  def train(params, state, batch):
    inputs = spec.scale.to_float(batch, jnp.dtype(config.dtype))
    return network.apply(params, state, inputs, train=True, key=key)

  if not holding.holds(train, params, state, batch, axis_name=axis_name):
    raise ValueError(
      f"penalty={config.penalty!r} is a derivative in each example alone, but "
      f"model={config.model!r} has batch statistics that move along: normalise "
      "by jaxmix.models.norm.BatchNorm, or mark them by jaxmix.hold; "
      "penalty='approximate' needs neither."
    )


def head(config: ConfigDict, spec: Spec, num_outputs: int) -> frozenset[str]:
  """Names, joined by slashes, of parameters shaped by the number of outputs.

  Args:
    config: resolved.
    spec: the inputs' shapes and scale.
    num_outputs: the task's.
  """
  own, other = (
    flax.traverse_util.flatten_dict(
      jax.eval_shape(
        create(config, spec, outputs, axis_name=None).init, jax.random.key(0)
      )[0],
      sep="/",
    )
    for outputs in (num_outputs, num_outputs + 1)
  )
  return frozenset(name for name in own if own[name].shape != other[name].shape)


def create(
  config: ConfigDict,
  spec: Spec,
  num_outputs: int,
  *,
  axis_name: str | None,
  dtype: str | None = None,
) -> Network:
  """Returns the config's network for a data set's inputs.

  Args:
    config: resolved.
    spec: the inputs' shapes and scale.
    num_outputs: the task's.
    axis_name: mapped axis to take batch statistics over, or None.
    dtype: of the computation; None is the config's.
  """
  return linen.create(
    config,
    spec,
    num_outputs,
    axis_name=axis_name,
    dtype=config.dtype if dtype is None else dtype,
  )
