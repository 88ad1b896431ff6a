"""Input pipelines: each room makes a `Dataset` of the kind it knows."""

from __future__ import annotations

import jax
from ml_collections import ConfigDict

from experiments.inputs import memory
from experiments.inputs.dataset import Dataset


def create(config: ConfigDict) -> Dataset:
  """Returns this process's view of the config's data set.

  In-memory data sets need no TensorFlow; any other name is a tfds data set of
  images.
  """
  where = dict(
    process_index=jax.process_index(), process_count=jax.process_count()
  )
  if config.dataset in memory.LOADERS:
    return memory.create(config, **where)
  from experiments.inputs.tfrecords import imagenet

  return imagenet.create(config, **where)
