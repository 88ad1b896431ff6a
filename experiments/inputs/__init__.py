"""Input pipelines: each room makes a `Dataset` of the kind it knows."""

from __future__ import annotations

import jax
from ml_collections import ConfigDict

from experiments.inputs import augment, memory
from experiments.inputs.dataset import Dataset as Dataset
from experiments.inputs.dataset import Spec as Spec
from experiments.inputs.keys import FREE as FREE
from experiments.inputs.keys import KEYS as KEYS
from experiments.inputs.keys import OF_RECORDS, refuse_unread
from experiments.inputs.keys import PARTITION as PARTITION
from experiments.inputs.keys import check as check
from experiments.inputs.keys import defaults as defaults
from experiments.inputs.tfrecords import imagenet


def create(config: ConfigDict, loaded: memory.Loaded | None = None) -> Dataset:
  """Returns this process's view of the config's data set.

  In-memory data sets (`memory.LOADERS`) need no TensorFlow; any other name is a
  tfds data set of images.

  Args:
    config: resolved.
    loaded: what is in memory already, to be shared with other runs.
  """
  which = dict(
    process_index=jax.process_index(), process_count=jax.process_count()
  )
  if memory.has(config.dataset):
    return memory.create(config, loaded=loaded, **which)
  augment.refuse(config)
  refuse_unread(config, OF_RECORDS)
  if config.validation_fraction:
    raise ValueError(
      "validation_fraction must be 0 for a tfds data set, of which train_split="
      "'train[:99%]' and eval_split='train[99%:]' hold a part out; got "
      f"{config.validation_fraction}."
    )
  return imagenet.create(config, **which)


def describe(config: ConfigDict, num_classes: int | None = None) -> Spec:
  """Returns the config's `Spec`, without the data if it is a known one.

  Args:
    config: reads dataset and image_size.
    num_classes: in place of the data set's own, or of what nobody knows: that
      of a tfds data set that is not here.

  Raises:
    ValueError: if the number of classes is not known.
  """
  if not memory.has(config.dataset):
    augment.refuse(config)
    return imagenet.describe(config, num_classes)
  spec = memory.describe(config)
  return spec if num_classes is None else spec._replace(num_classes=num_classes)
