"""Small image data sets that fit in memory: digits and Fashion-MNIST."""

from __future__ import annotations

import gzip
import math
import pathlib
import zlib

import jax
from ml_collections import ConfigDict
import numpy as np

from experiments.inputs import scale
from experiments.inputs.dataset import Arrays, Spec

# Means and standard deviations are those of the training pixels, as
# `memory.pixel_moments` gives them; they stand here so that a description needs
# no data and a start no pass over them.
DIGITS = Spec(
  inputs=jax.ShapeDtypeStruct((8, 8, 1), np.uint8),
  num_classes=10,
  num_train=600,
  num_eval=1197,
  scale=scale.pixels(mean=[77.71338541666667], std=[95.72552389513095]),
)
FASHION_MNIST = Spec(
  inputs=jax.ShapeDtypeStruct((28, 28, 1), np.uint8),
  num_classes=10,
  num_train=60_000,
  num_eval=10_000,
  scale=scale.pixels(mean=[72.94035223214286], std=[90.02118235130526]),
)


def load_digits(config: ConfigDict) -> Arrays:
  """scikit-learn's digits: 600 to train on, 1,197 to test, 8 x 8 x 1.

  The split is fixed, stratified and the same for every seed. Pixels go from
  0..16 to 0..255.
  """
  del config
  from sklearn.datasets import load_digits as load
  from sklearn.model_selection import train_test_split

  digits = load()
  images = np.round(digits.images * (255.0 / 16.0)).astype(np.uint8)[..., None]
  labels = digits.target.astype(np.int32)
  train_x, eval_x, train_y, eval_y = train_test_split(
    images,
    labels,
    train_size=DIGITS.num_train,
    random_state=0,
    stratify=labels,
  )
  return Arrays(train_x, train_y, eval_x, eval_y, DIGITS.num_classes)


def load_fashion_mnist(config: ConfigDict) -> Arrays:
  """Fashion-MNIST from the four idx.gz files in config.data_dir, 28x28x1."""
  folder = pathlib.Path(config.data_dir).expanduser()
  arrays = []
  for split in ("train", "t10k"):
    for kind in ("images-idx3", "labels-idx1"):
      path = folder / f"{split}-{kind}-ubyte.gz"
      if not path.exists():
        raise FileNotFoundError(
          f"{path} is missing. Download the four files of Fashion-MNIST "
          "(github.com/zalandoresearch/fashion-mnist: "
          "train-images-idx3-ubyte.gz, "
          "train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz, "
          "t10k-labels-idx1-ubyte.gz) into one folder and pass it as "
          "--config.data_dir."
        )
      arrays.append(read_idx(path))
  train_x, train_y, eval_x, eval_y = arrays
  return Arrays(
    train_x[..., None],
    train_y.astype(np.int32),
    eval_x[..., None],
    eval_y.astype(np.int32),
    FASHION_MNIST.num_classes,
  )


def read_idx(path: pathlib.Path) -> np.ndarray:
  """Reads a gzipped idx file of uint8, the format of MNIST's files.

  Raises:
    ValueError: if it is something else, or cut short.
  """
  try:
    with gzip.open(path) as file:
      raw = file.read()
  except (EOFError, gzip.BadGzipFile, zlib.error) as error:
    raise ValueError(
      f"{path} is damaged ({error}); download it again."
    ) from None
  if raw[:3] != b"\x00\x00\x08":
    raise ValueError(f"{path} is not an idx file of bytes.")
  rank = raw[3]
  shape = np.frombuffer(raw, ">i4", rank, 4)
  values = np.frombuffer(raw, np.uint8, offset=4 + 4 * rank)
  if values.size != math.prod(shape.tolist()):
    raise ValueError(
      f"{path} is damaged: expected {shape.tolist()} bytes, got {values.size}; "
      "download it again."
    )
  return values.reshape(shape)
