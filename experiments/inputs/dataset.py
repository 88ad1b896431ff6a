"""What an input pipeline owes the training loop: `Spec` and `Dataset`.

Nothing here imports TensorFlow, so that in-memory data sets train where it is
not installed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from experiments.inputs.scale import Scale

# "inputs": a tree like the spec's, with a leading axis; "label" [b] int32; in
# evaluation also "mask" [b] bool, False where a row only pads the last batch.
# The loop adds "partner", a second batch, where pairs come from two.
Batch = dict[str, Any]


class Spec(NamedTuple):
  """What the steps need to know of a data set; compares by value.

  Attributes:
    inputs: tree of jax.ShapeDtypeStruct, one example's raw inputs.
    num_classes: number of classes; labels are 0 .. num_classes - 1.
    num_train: training examples, over all processes.
    num_eval: evaluation examples, over all processes.
    scale: raw inputs to floats.
    augment: (key, batch of raw inputs) -> the same, on the device, in training
      only; or None.
  """

  inputs: Any
  num_classes: int
  num_train: int
  num_eval: int
  scale: Scale
  augment: Callable[[Any, Any], Any] | None = None


class Dataset(NamedTuple):
  """A data set ready to train on, seen from one of `process_count` processes.

  Attributes:
    spec: its shapes, numbers and scale.
    train: `train(start_step=0, stream=0)` iterates for ever over this process's
      batches, each of batch_size // process_count examples. Batch k is a pure
      function of (seed, stream, k): an iterator started at k continues exactly
      as an uninterrupted one does. `stream` 0 or 1 picks one of two independent
      shuffles of the same data, for pairing two shuffled copies.
    evaluate: `evaluate()` iterates once over the evaluation examples; over all
      processes each appears exactly once with mask True. Every process yields
      the same number of batches, all of full size: the missing rows are zeros
      with mask False.
  """

  spec: Spec
  train: Callable[..., Iterator[Batch]]
  evaluate: Callable[[], Iterator[Batch]]
