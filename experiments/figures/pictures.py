"""Digits and Fashion-MNIST as the figures take them: few, and as floats."""

from __future__ import annotations

import os
import pathlib
from typing import NamedTuple

import chex
from ml_collections import ConfigDict
import numpy as np

from experiments.configs import common
from experiments.inputs import images

NAMES = ("digits", "Fashion-MNIST")


class Pictures(NamedTuple):
  """Images [n, h, w, 1] in units of their standard deviation, labels [n]."""

  train: tuple[chex.Array, chex.Array]
  test: tuple[chex.Array, chex.Array]


def load(name: str, num_train: int, num_test: int = 0) -> Pictures:
  """The first examples of a data set's two parts.

  Fashion-MNIST's four files are looked for in the folder fashion-mnist of the
  one that the environment variable JAXMIX_SHARED_DATA names, else ../shared/
  data.

  Args:
    name: of NAMES.
    num_train: how many to train on; digits have 600.
    num_test: how many to test with; digits have 1,197.

  Returns:
    The pictures, less one mean and over one standard deviation of the training
    pixels, as the trainer scales them: the mean picture is not 0.

  Raises:
    FileNotFoundError: if Fashion-MNIST is not there.
  """
  if name == "digits":
    arrays = images.load_digits(ConfigDict())
  else:
    root = pathlib.Path(__file__).parents[2].parent / "shared" / "data"
    folder = os.environ.get("JAXMIX_SHARED_DATA", root)
    folder = pathlib.Path(folder) / "fashion-mnist"
    config = common.base()
    config.dataset, config.data_dir = "fashion_mnist", str(folder)
    arrays = images.load(config)
  x = np.asarray(arrays.train_inputs[:num_train], np.float32)
  test = np.asarray(arrays.eval_inputs[:num_test], np.float32)
  mean, deviation = np.mean(x), np.std(x)
  return Pictures(
    ((x - mean) / deviation, np.asarray(arrays.train_labels[: len(x)])),
    ((test - mean) / deviation, np.asarray(arrays.eval_labels[: len(test)])),
  )
