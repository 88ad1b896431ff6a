"""Input pipelines: each room makes a `Dataset` of the kind it knows."""

from __future__ import annotations

import jax
from ml_collections import ConfigDict

from experiments.inputs import arrays
from experiments.inputs.dataset import Dataset

FREE = frozenset({"data_dir", "max_unreadable_fraction", "shuffle_buffer"})


def defaults() -> ConfigDict:
  """The keys that input pipelines read."""
  config = ConfigDict()
  config.dataset = "digits"
  config.data_dir = ""
  config.batch_size = 128  # global
  config.eval_batch_size = 512  # global
  config.image_size = 224
  config.resize_size = 256
  config.interpolation = "bicubic"  # or bilinear: less work for the host
  config.randaugment = ""  # "layers,magnitude"
  config.shuffle_buffer = 16_384
  config.max_unreadable_fraction = 1e-3  # of records, before the run stops
  config.train_split = "train"
  config.eval_split = "validation"
  return config


def check(config: ConfigDict) -> None:
  """Raises ValueError for batches of less than one example."""
  for key in ("batch_size", "eval_batch_size"):
    if config[key] < 1:
      raise ValueError(f"{key} must be at least 1, got {config[key]}.")


def create(config: ConfigDict) -> Dataset:
  """Returns this process's view of the config's data set.

  In-memory data sets need no TensorFlow; any other name is a tfds data set of
  images.
  """
  where = dict(
    process_index=jax.process_index(), process_count=jax.process_count()
  )
  if config.dataset in arrays.LOADERS:
    return arrays.create(config, **where)
  from experiments.inputs import imagenet  # TensorFlow, only where it is used

  return imagenet.create(config, **where)
