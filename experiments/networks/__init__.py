"""Networks: how a model is run, whoever wrote it."""

from __future__ import annotations

from ml_collections import ConfigDict

from experiments.inputs.dataset import Spec
from experiments.networks import linen
from experiments.networks.network import Network as Network

FREE: frozenset[str] = frozenset()


def defaults() -> ConfigDict:
  """The keys that networks read."""
  config = ConfigDict()
  config.model = "resnet50"  # or package.module:factory
  config.model_options = ConfigDict()
  config.dtype = "float32"  # of the computation; parameters are float32
  # Of dropout's bits. rbg, the hardware's generator, is much faster on a TPU;
  # its numbers may differ from one kind of device, or version, to the next.
  config.dropout_prng = "threefry2x32"
  return config


def check(config: ConfigDict) -> None:
  """Raises ValueError for what no data set could make right."""
  for key, options in (
    ("dtype", ("float32", "bfloat16")),
    ("dropout_prng", ("threefry2x32", "rbg", "unsafe_rbg")),
  ):
    if config[key] not in options:
      raise ValueError(
        f"{key} must be one of {', '.join(options)}; got {config[key]!r}."
      )


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
