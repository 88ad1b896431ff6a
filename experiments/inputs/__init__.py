"""Input pipelines: each room makes a `Dataset` of the kind it knows."""

from __future__ import annotations

import jax
from ml_collections import ConfigDict

from experiments.inputs import arrays
from experiments.inputs.dataset import Dataset


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
