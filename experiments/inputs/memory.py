"""Data sets in memory: order is a pure function of the step; no TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import math
from typing import Any

import jax
from ml_collections import ConfigDict
import numpy as np

from experiments.inputs import images, scale
from experiments.inputs.dataset import (
  Arrays,
  Batch,
  Dataset,
  Spec,
  local_size,
)

# Open: whoever adds a name here, even from a test, has a data set of that name.
LOADERS: dict[str, Callable[[ConfigDict], Arrays]] = {
  "digits": images.load_digits,
  "fashion_mnist": images.load_fashion_mnist,
}
# What is known of them without their data; a name may be missing here.
SPECS: dict[str, Spec] = {
  "digits": images.DIGITS,
  "fashion_mnist": images.FASHION_MNIST,
}


def create(
  config: ConfigDict, *, process_index: int = 0, process_count: int = 1
) -> Dataset:
  """Returns a `Dataset` of one of `LOADERS`.

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
    ValueError: if processes do not divide a batch size, or the arrays are not
      what is known of them.
  """
  size = local_size("batch_size", config.batch_size, process_count)
  eval_size = local_size(
    "eval_batch_size", config.eval_batch_size, process_count
  )
  data = LOADERS[config.dataset](config)
  spec = SPECS.get(config.dataset) or measure(data)
  _check_arrays(config.dataset, data, spec)

  def train(start_step: int = 0, stream: int = 0) -> Iterator[Batch]:
    order = _Order(config.seed, stream, spec.num_train)
    position = start_step * config.batch_size + process_index * size
    while True:
      rows = order.take(position, size)
      yield {
        "inputs": jax.tree.map(lambda x, at=rows: x[at], data.train_inputs),
        "label": data.train_labels[rows],
      }
      position += config.batch_size

  def evaluate() -> Iterator[Batch]:
    for k in range(math.ceil(spec.num_eval / config.eval_batch_size)):
      start = k * config.eval_batch_size + process_index * eval_size
      rows = np.arange(start, start + eval_size)
      mask = rows < spec.num_eval
      rows = np.where(mask, rows, 0)

      def padded(values, rows=rows, mask=mask):
        real = mask.reshape(-1, *(1 for _ in values.shape[1:]))
        return np.where(real, values[rows], np.zeros((), values.dtype))

      yield {
        "inputs": jax.tree.map(padded, data.eval_inputs),
        "label": padded(data.eval_labels),
        "mask": mask,
      }

  return Dataset(spec, train, evaluate)


def describe(config: ConfigDict) -> Spec:
  """Returns the spec of one of `LOADERS`, from its data if nothing else has it.

  Args:
    config: reads dataset, and what its loader reads.
  """
  if config.dataset in SPECS:
    return SPECS[config.dataset]
  return measure(LOADERS[config.dataset](config))


def measure(data: Arrays) -> Spec:
  """Returns what arrays say of themselves.

  Raises:
    ValueError: if they have no scale, and are not uint8 of one leaf.
  """
  leaves = jax.tree.leaves(data.train_inputs)
  own = data.scale
  if own is None:
    if len(leaves) != 1 or leaves[0].dtype != np.uint8 or leaves[0].ndim < 2:
      kinds = [f"{leaf.dtype}{list(leaf.shape)}" for leaf in leaves]
      raise ValueError(
        "scale: inputs that are not one array of uint8 [N, ..., C] need one "
        f"(see experiments.inputs.scale), got none for {', '.join(kinds)}."
      )
    own = scale.pixels(*pixel_moments(leaves[0]))
  return Spec(
    inputs=_one_example(data.train_inputs),
    num_classes=data.num_classes,
    num_train=len(data.train_labels),
    num_eval=len(data.eval_labels),
    scale=own,
    augment=data.augment,
    label=_one_example(data.train_labels),
  )


def pixel_moments(values: np.ndarray) -> tuple[list[float], list[float]]:
  """Returns the means and standard deviations of uint8, by the last axis.

  From histograms, in integers of any size: rounded once, and without a copy in
  float64, which is eight times the data.

  Args:
    values: [..., C] uint8.

  Example:
    >>> pixel_moments(np.array([[0, 7], [2, 7]], np.uint8))
    ([1.0, 7.0], [1.0, 0.0])
  """
  means, stds = [], []
  for k in range(values.shape[-1]):
    counts = np.bincount(values[..., k].ravel(), minlength=256).tolist()
    total = sum(counts)
    first = sum(count * value for value, count in enumerate(counts))
    second = sum(count * value**2 for value, count in enumerate(counts))
    means.append(first / total)
    stds.append(math.sqrt(total * second - first**2) / total)
  return means, stds


def _one_example(tree: Any) -> Any:
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), tree
  )


def _check_arrays(name: str, data: Arrays, spec: Spec) -> None:
  """Refuses arrays of which batches would be wrong, or those of another set."""
  for split, inputs, labels, count in (
    ("training", data.train_inputs, data.train_labels, spec.num_train),
    ("evaluation", data.eval_inputs, data.eval_labels, spec.num_eval),
  ):
    lengths = {len(x) for x in jax.tree.leaves((inputs, labels))}
    if lengths != {count} or not count:
      raise ValueError(
        f"dataset: {name!r} should have {count or 'some'} {split} examples, "
        f"inputs and labels alike; got {sorted(lengths)}."
      )
    if (found := _one_example(inputs)) != spec.inputs:
      raise ValueError(
        f"dataset: {name!r} should have {split} examples of {spec.inputs}, got "
        f"{found}."
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
