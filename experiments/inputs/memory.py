"""Data sets in memory: order is a pure function of the step; no TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import functools
import hashlib
import math
from typing import Any

import jax
from ml_collections import ConfigDict
import numpy as np

from experiments.inputs import (
  augment,
  graphs,
  held,
  images,
  keys,
  scale,
  speech,
  tabular,
)
from experiments.inputs.dataset import (
  Arrays,
  Batch,
  Dataset,
  Spec,
  local_size,
)

# Open: whoever adds a name here, even from a test, has a data set of that name;
# one that ends with a colon, of all names that begin so.
LOADERS: dict[str, Callable[[ConfigDict], Arrays]] = {
  **images.LOADERS,
  **tabular.LOADERS,
  **dict.fromkeys((*graphs.NAMES, "tu:"), graphs.load),
  **speech.LOADERS,
}
# What is known of them, or of a config, without data; a name may be missing.
SPECS: dict[str, Spec | Callable[[ConfigDict], Spec]] = {**images.SPECS}


def create(
  config: ConfigDict,
  *,
  process_index: int = 0,
  process_count: int = 1,
  loaded: Loaded | None = None,
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
    loaded: to share arrays with other data sets.

  Raises:
    FileNotFoundError: if the files are missing, saying which and where from.
    ValueError: if processes do not divide a batch size, or the arrays are not
      what is known of them.
  """
  size = local_size("batch_size", config.batch_size, process_count)
  eval_size = local_size(
    "eval_batch_size", config.eval_batch_size, process_count
  )
  data, spec = load(config, loaded)

  def train(start_step: int = 0, stream: int = 0) -> Iterator[Batch]:
    order = Order(config.seed, stream, spec.num_train)
    position = start_step * config.batch_size + process_index * size
    while True:
      rows = order.take(position, size)
      yield {
        "inputs": jax.tree.map(lambda x, at=rows: x[at], data.train_inputs),
        "label": data.train_labels[rows],
      }
      position += config.batch_size

  def once(inputs: Any, labels: np.ndarray) -> Iterator[Batch]:
    for k in range(math.ceil(len(labels) / config.eval_batch_size)):
      start = k * config.eval_batch_size + process_index * eval_size
      rows = np.arange(start, start + eval_size)
      mask = rows < len(labels)
      rows = np.where(mask, rows, 0)

      def padded(values, rows=rows, mask=mask):
        real = mask.reshape(-1, *(1 for _ in values.shape[1:]))
        return np.where(real, values[rows], np.zeros((), values.dtype))

      yield {
        "inputs": jax.tree.map(padded, inputs),
        "label": padded(labels),
        "mask": mask,
      }

  def evaluate() -> Iterator[Batch]:
    return once(data.eval_inputs, data.eval_labels)

  test = None
  if data.test_labels is not None:
    test = functools.partial(once, data.test_inputs, data.test_labels)
  return Dataset(
    spec, train, evaluate, functools.cache(lambda: _digest(data)), test
  )


class Loaded:
  """Arrays that runs share, where they would load the same.

  A loader's arrays are another run's, too, if all that the loader read of the
  config is the same there.
  """

  def __init__(self) -> None:
    """Holds nothing yet."""
    self._known: list[tuple[Callable[..., Arrays], dict[str, Any], Arrays]] = []

  def get(self, config: ConfigDict) -> Arrays:
    """Returns the arrays of one of `LOADERS`.

    Raises:
      ValueError: for a key that is set, is of other kinds of data, and was not
        read.
    """
    load, values = loader(config.dataset), config.to_dict()
    for known, read, arrays in self._known:
      if known is load and read == {k: values.get(k) for k in read}:
        keys.refuse_unread(config, read)
        return arrays
    seen: Any = _Seen(config)
    arrays = held.apart(load(seen), seen)
    keys.refuse_unread(config, vars(seen)["read"])
    self._known.append((load, vars(seen)["read"], arrays))
    return arrays


class _Seen:
  """A config that notes which of its keys are read, and what they hold."""

  def __init__(self, config: ConfigDict) -> None:
    self.config = config
    self.read: dict[str, Any] = {}

  def __getitem__(self, key: str) -> Any:
    self.read[key] = self.config.to_dict()[key]
    return self.config[key]

  def __getattr__(self, name: str) -> Any:
    if name in self.config:
      return self[name]
    # A method, which may look at every key.
    self.read |= self.config.to_dict()
    return getattr(self.config, name)

  def __iter__(self) -> Iterator[str]:
    self.read |= self.config.to_dict()
    return iter(self.config)

  def __contains__(self, name: str) -> bool:
    self.read |= self.config.to_dict()
    return name in self.config


def load(
  config: ConfigDict, loaded: Loaded | None = None
) -> tuple[Arrays, Spec]:
  """Returns a data set's arrays, and what is known of them.

  Args:
    config: reads dataset, what its loader reads, and the keys of `augment`.
    loaded: what is in memory already, to be shared with other runs.

  Raises:
    ValueError: if they are not that.
  """
  data = (Loaded() if loaded is None else loaded).get(config)
  spec = _known(config) or measure(data)
  _check_arrays(config.dataset, data, spec)
  return data, augment.augmented(config, spec)


def loader(name: str) -> Callable[[ConfigDict], Arrays]:
  """Returns the loader of a data set: `name`'s own, or of its kind.

  Args:
    name: of an entry of `LOADERS`, or "KIND:WHICH" where it has "KIND:".

  Raises:
    KeyError: if there is none.
  """
  kind, colon, _ = name.partition(":")
  return LOADERS[name if name in LOADERS else kind + colon]


def has(name: str) -> bool:
  """Whether a data set of this name is one in memory."""
  kind, colon, _ = name.partition(":")
  return name in LOADERS or (bool(colon) and kind + colon in LOADERS)


def describe(config: ConfigDict) -> Spec:
  """Returns the spec of one of `LOADERS`, from its data if nothing else has it.

  Args:
    config: reads dataset, and what its loader reads.
  """
  spec = _known(config) or measure(
    held.apart(loader(config.dataset)(config), config)
  )
  return augment.augmented(config, spec)


def _known(config: ConfigDict) -> Spec | None:
  known = SPECS.get(config.dataset)
  spec = known(config) if callable(known) else known
  return spec and held.described(spec, config)


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
    unit=data.unit,
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


def _digest(data: Arrays) -> str:
  """Of labels and of integers; floats differ between kinds of processors."""
  leaves = jax.tree.leaves(data._replace(scale=None, augment=None))
  digest = hashlib.sha256()
  for leaf in map(np.asarray, leaves):
    digest.update(f"{leaf.dtype}{leaf.shape}".encode())
    if not np.issubdtype(leaf.dtype, np.floating):
      digest.update(np.ascontiguousarray(leaf).view(np.uint8).data)
  return (
    f"{len(data.train_labels)} and {len(data.eval_labels)} examples, digest "
    f"{digest.hexdigest()[:16]}"
  )


def _one_example(tree: Any) -> Any:
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), tree
  )


def _check_arrays(name: str, data: Arrays, spec: Spec) -> None:
  """Refuses arrays of which batches would be wrong, or those of another set."""
  parts = [
    ("training", data.train_inputs, data.train_labels, spec.num_train),
    ("evaluation", data.eval_inputs, data.eval_labels, spec.num_eval),
  ]
  if data.test_labels is not None:
    size = len(data.test_labels)
    parts.append(("test", data.test_inputs, data.test_labels, size))
  for split, inputs, labels, count in parts:
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


class Order:
  """The endless sequence of shuffled epochs, by position."""

  def __init__(self, seed: int, stream: int, size: int):
    """Permutes `size` examples anew each epoch, by seed and stream."""
    self._seed, self._stream, self._size = seed, stream, size
    self._epochs: dict[int, np.ndarray] = {}

  def take(self, position: int, count: int) -> np.ndarray:
    """Returns the numbers of `count` examples, from a position on."""
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
