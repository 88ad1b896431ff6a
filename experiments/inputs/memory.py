"""In-memory data sets: order is a pure function of the step; no TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import gzip
import math
import pathlib
from typing import NamedTuple

from ml_collections import ConfigDict
import numpy as np

from experiments.inputs.dataset import Batch, Dataset

DIGITS_TRAIN = 600


class Arrays(NamedTuple):
  """A data set in memory: uint8 images [N, H, W, C] and int32 labels [N]."""

  train_images: np.ndarray
  train_labels: np.ndarray
  eval_images: np.ndarray
  eval_labels: np.ndarray
  num_classes: int


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
    images, labels, train_size=DIGITS_TRAIN, random_state=0, stratify=labels
  )
  return Arrays(train_x, train_y, eval_x, eval_y, 10)


def load_fashion_mnist(config: ConfigDict) -> Arrays:
  """Fashion-MNIST from the four idx.gz files in config.data_dir, 28x28x1."""
  folder = pathlib.Path(config.data_dir)
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
      arrays.append(_read_idx(path))
  train_x, train_y, eval_x, eval_y = arrays
  return Arrays(
    train_x[..., None],
    train_y.astype(np.int32),
    eval_x[..., None],
    eval_y.astype(np.int32),
    10,
  )


LOADERS: dict[str, Callable[[ConfigDict], Arrays]] = {
  "digits": load_digits,
  "fashion_mnist": load_fashion_mnist,
}
_CACHE: dict[tuple[str, str], Arrays] = {}


def create(
  config: ConfigDict, *, process_index: int = 0, process_count: int = 1
) -> Dataset:
  """Returns a `Dataset` of one of `LOADERS`, normalised by its training pixels.

  Batches run through one endless sequence of epochs, each a permutation that
  (seed, stream, epoch) decide, so that batch k is a pure function of k and no
  example is dropped at an epoch's end.

  Args:
    config: reads dataset, data_dir, seed, batch_size, eval_batch_size.
    process_index: which of the processes this is.
    process_count: how many there are; they take consecutive slices of each
    batch.

  Raises:
    FileNotFoundError: if the files are missing, saying which and where from.
    ValueError: if processes do not divide a batch size.
  """
  for name in ("batch_size", "eval_batch_size"):
    if config[name] % process_count:
      raise ValueError(
        f"{name}={config[name]} cannot be divided among {process_count} "
        "processes."
      )
  cached = (config.dataset, config.data_dir)
  if cached not in _CACHE:
    _CACHE[cached] = LOADERS[config.dataset](config)
  data = _CACHE[cached]
  scale = data.train_images.astype(np.float64)
  axes = (0, 1, 2)
  size = config.batch_size // process_count
  eval_size = config.eval_batch_size // process_count
  num_train = len(data.train_labels)

  def train(start_step: int = 0, stream: int = 0) -> Iterator[Batch]:
    order = _Order(config.seed, stream, num_train)
    position = start_step * config.batch_size + process_index * size
    while True:
      rows = order.take(position, size)
      yield {
        "image": data.train_images[rows],
        "label": data.train_labels[rows],
      }
      position += config.batch_size

  def evaluate() -> Iterator[Batch]:
    total = len(data.eval_labels)
    for k in range(math.ceil(total / config.eval_batch_size)):
      start = k * config.eval_batch_size + process_index * eval_size
      rows = np.arange(start, start + eval_size)
      mask = rows < total
      rows = np.where(mask, rows, 0)
      shape = (-1,) + (1,) * (data.eval_images.ndim - 1)
      yield {
        "image": data.eval_images[rows] * mask.reshape(shape).astype(np.uint8),
        "label": data.eval_labels[rows] * mask.astype(np.int32),
        "mask": mask,
      }

  height, width, channels = data.train_images.shape[1:]
  return Dataset(
    image_shape=(height, width, channels),
    num_classes=data.num_classes,
    num_train=num_train,
    num_eval=len(data.eval_labels),
    mean=scale.mean(axes),
    std=scale.std(axes),
    train=train,
    evaluate=evaluate,
  )


class _Order:
  """The endless sequence of shuffled epochs, by position."""

  def __init__(self, seed: int, stream: int, size: int):
    self._seed, self._stream, self._size = seed, stream, size
    self._epochs: dict[int, np.ndarray] = {}

  def take(self, position: int, count: int) -> np.ndarray:
    positions = np.arange(position, position + count)
    epochs, offsets = np.divmod(positions, self._size)
    rows = np.empty(count, np.int64)
    for epoch in np.unique(epochs):
      here = epochs == epoch
      rows[here] = self._permutation(int(epoch))[offsets[here]]
    return rows

  def _permutation(self, epoch: int) -> np.ndarray:
    if epoch not in self._epochs:
      # A batch touches two epochs at most unless it is larger than one.
      self._epochs = {
        e: order for e, order in self._epochs.items() if e >= epoch - 1
      }
      seed = (self._seed, self._stream, epoch)
      self._epochs[epoch] = np.random.default_rng(seed).permutation(self._size)
    return self._epochs[epoch]


def _read_idx(path: pathlib.Path) -> np.ndarray:
  """Reads a gzipped idx file of uint8."""
  with gzip.open(path) as file:
    raw = file.read()
  rank = raw[3]
  if raw[:3] != b"\x00\x00\x08":
    raise ValueError(f"{path} is not an idx file of bytes.")
  shape = np.frombuffer(raw, ">i4", rank, 4)
  return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)
