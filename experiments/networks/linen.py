"""Linen modules as networks: jaxmix's own by name, or anybody's factory.

`model=package.module:factory` calls factory(num_outputs, **model_options), with
dtype= and axis_name= where it takes them, for a module that is called as
module(x, train=...) and returns outputs [B, num_outputs]. Where it also takes
`parts` or `mask` (see `jaxmix.models.norm.BatchNorm`) or `tap` (see
`jaxmix.hidden`) it gets them. A module tells which of its parameters weight
decay acts on by `decayed` and `undecayed`, tuples of names beside those below.
"""

from __future__ import annotations

from collections.abc import Callable
import functools
import inspect
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments import registry
from experiments.inputs.dataset import Spec
from experiments.networks.network import Network
from jaxmix import models

# Last parts of parameters' names. Weight decay acts on kernels: biases, norms'
# scales, class tokens, position embeddings and relative biases are left alone.
DECAYED = frozenset({"kernel"})
UNDECAYED = frozenset(
  {"bias", "cls", "position_embedding", "relative_bias", "scale"}
)


def create(
  config: ConfigDict,
  spec: Spec,
  num_outputs: int,
  *,
  axis_name: str | None,
  dtype: str,
) -> Network:
  """Returns the network of a linen module, see `experiments.networks.create`.

  Raises:
    TypeError: if the model does not know an option.
    ValueError: if the model's name is unknown.
  """
  module = _module(config, num_outputs, axis_name, jnp.dtype(dtype))
  takes = inspect.signature(type(module).__call__).parameters

  def init(key):
    examples = jax.tree.map(
      lambda leaf: jnp.zeros((1, *leaf.shape), leaf.dtype), spec.inputs
    )
    inputs = spec.scale.to_float(examples, jnp.dtype(dtype))
    variables = module.init(key, inputs, train=False)
    return variables["params"], variables.get("batch_stats", {})

  def apply(
    params,
    state,
    inputs,
    *,
    train=False,
    key=None,
    parts=None,
    tap=None,
    mask=None,
  ):
    options = {}
    if parts is not None and "parts" in takes:
      options["parts"] = parts
    # Without batch statistics all clean passes are equal, and parts are moot.
    elif parts is not None and state:
      raise ValueError(
        f"model={config.model!r} has batch statistics but takes no `parts`: "
        "clean_pass='split' cannot give each part its own; use "
        "clean_pass='separate' or 'joint'."
      )
    if tap is not None:
      options["tap"] = tap
    if mask is not None and "mask" in takes:
      options["mask"] = mask
    elif mask is not None and state:
      raise ValueError(
        f"model={config.model!r} has batch statistics but takes no `mask`: "
        "rows that only pad a training batch would count in them; leave such "
        "rows out, or normalise by jaxmix.models.norm.BatchNorm."
      )
    variables = {"params": params, "batch_stats": state}
    if not train:
      return module.apply(variables, inputs, train=False, **options), state
    outputs, updated = module.apply(
      variables,
      inputs,
      train=True,
      mutable=["batch_stats"],
      rngs={"dropout": _dropout_key(key, config.dropout_prng)},
      **options,
    )
    return outputs, updated.get("batch_stats", {})

  return Network(
    init=init,
    apply=apply,
    decays=functools.partial(
      decays,
      decayed=DECAYED | set(getattr(module, "decayed", ())),
      undecayed=UNDECAYED | set(getattr(module, "undecayed", ())),
    ),
    stages=tuple(getattr(module, "stages", ("input",))),
  )


def decays(
  params: Any,
  *,
  decayed: frozenset[str] = DECAYED,
  undecayed: frozenset[str] = UNDECAYED,
) -> Any:
  """Which parameters weight decay acts on, by the last part of their names.

  Args:
    params: tree of parameters, or of their shapes.
    decayed: names that it acts on.
    undecayed: names that it leaves alone.

  Raises:
    ValueError: naming a parameter that is in neither.
  """

  def of_one(path, _):
    name = getattr(path[-1], "key", str(path[-1]))
    if name not in decayed | undecayed:
      raise ValueError(
        f"weight_decay: whether it acts on {jax.tree_util.keystr(path)} is not "
        f"known; name {name!r} in the module's `decayed` or `undecayed`."
      )
    return name in decayed

  return jax.tree_util.tree_map_with_path(of_one, params)


def _module(config, num_outputs, axis_name, dtype) -> nn.Module:
  options = dict(config.model_options)
  if ":" not in config.model:
    return models.create(
      config.model, num_outputs, dtype=dtype, axis_name=axis_name, **options
    )
  factory: Callable[..., Any] = registry.find("model", config.model, {})
  takes = inspect.signature(factory).parameters
  given = {"dtype": dtype, "axis_name": axis_name}
  given = {name: value for name, value in given.items() if name in takes}
  module = factory(num_outputs, **given, **options)
  if not isinstance(module, nn.Module):
    raise TypeError(
      f"model={config.model!r} must return a flax.linen.Module, got "
      f"{type(module).__name__}."
    )
  return module


def _dropout_key(key: jax.Array, impl: str) -> jax.Array:
  if impl == "threefry2x32":
    return key
  # The keys of rbg and unsafe_rbg, the hardware's generators, are four words.
  bits = jax.random.bits(key, (4,), jnp.uint32)
  return jax.random.wrap_key_data(bits, impl=impl)
