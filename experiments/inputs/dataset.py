"""What an input pipeline owes the training loop: `Spec` and `Dataset`.

Nothing here imports TensorFlow, so that in-memory data sets train where it is
not installed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.inputs.scale import Scale

# "inputs", a tree of [b, ...], and "label", for classes [b] int32, for numbers
# [b] float32; in evaluation also "mask" [b] bool, False where a row only pads
# the last batch.
# Training batches may have one, too: padded rows are then neither mixed into
# others nor counted in losses, penalties, metrics and batch norm's statistics.
Batch = dict[str, Any]


class Spec(NamedTuple):
  """What steps are compiled from; compares by value.

  Attributes:
    inputs: tree of `jax.ShapeDtypeStruct`, of one example as it leaves the
      host: ShapeDtypeStruct((8, 8, 1), uint8).
    num_classes: number of classes; labels are 0 .. num_classes - 1.
    num_train: training examples, over all processes; 0 where only the data
      would tell.
    num_eval: evaluation examples, as `num_train`.
    scale: from the host's inputs to the model's.
    augment: (key, tree of batches) -> the same, on the device, in training
      only; None: nothing.
    label: `jax.ShapeDtypeStruct` of one example's label.
    unit: of labels that are numbers: what a difference of 1 is in the target's
      own unit.
  """

  inputs: Any
  num_classes: int
  num_train: int
  num_eval: int
  scale: Scale
  augment: Callable[..., Any] | None = None
  label: jax.ShapeDtypeStruct = jax.ShapeDtypeStruct((), np.int32)
  unit: float = 1.0


class Dataset(NamedTuple):
  """A data set ready to train on, seen from one of `process_count` processes.

  Attributes:
    spec: its shapes and scale.
    train: `train(start_step=0, stream=0)` iterates for ever over this process's
      batches, each of batch_size // process_count examples. Batch k is a pure
      function of (seed, stream, k): an iterator started at k continues exactly
      as an uninterrupted one does. `stream` 0 or 1 picks one of two independent
      shuffles of the same data, for pairing two shuffled copies.
    evaluate: `evaluate()` iterates once over the evaluation examples; over all
      processes each appears exactly once with mask True. Every process yields
      the same number of batches, all of full size: the missing rows are zeros
      with mask False.
    digest: `digest()` tells, in words, the examples from others, wherever their
      files lie: of processes that read the same it is equal, and a run is not
      resumed on others.
    test: as `evaluate`, of examples looked at once, when a run is over;
      None: there are none, and what is evaluated is all there is.
  """

  spec: Spec
  train: Callable[..., Iterator[Batch]]
  evaluate: Callable[[], Iterator[Batch]]
  digest: Callable[[], str] = str
  test: Callable[[], Iterator[Batch]] | None = None


class Arrays(NamedTuple):
  """A data set in memory, as a loader of `memory.LOADERS` returns it.

  Attributes:
    train_inputs: tree of arrays [N, ...], any dtype.
    train_labels: [N], for classes int32 in 0 .. num_classes - 1.
    eval_inputs: as `train_inputs`.
    eval_labels: as `train_labels`.
    num_classes: see `Spec`.
    scale: see `Spec`; None: uint8 of one leaf, standardised by the training
      set's mean and standard deviation for each index of the last axis.
    augment: see `Spec`.
    test_inputs: as `train_inputs`, to test on beside the evaluation examples,
      which then choose between runs; None: there are none.
    test_labels: as `train_labels`.
    unit: see `Spec`.
  """

  train_inputs: Any
  train_labels: np.ndarray
  eval_inputs: Any
  eval_labels: np.ndarray
  num_classes: int
  scale: Scale | None = None
  augment: Callable[..., Any] | None = None
  test_inputs: Any = None
  test_labels: np.ndarray | None = None
  unit: float = 1.0


def local_size(name: str, size: int, process_count: int) -> int:
  """Returns one process's share of a global batch size.

  Args:
    name: the config's key, for the error.
    size: over all processes.
    process_count: how many share it.

  Raises:
    ValueError: if the share is no positive integer.
  """
  if size <= 0 or size % process_count:
    raise ValueError(
      f"{name}: expected a positive multiple of the number of processes,"
      f" {process_count}, got {size}."
    )
  return size // process_count
