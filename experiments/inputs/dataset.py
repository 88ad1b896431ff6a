"""What an input pipeline owes the training loop: the `Dataset` contract.

Nothing here imports TensorFlow, so that in-memory data sets train where it is
not installed.
"""

import collections.abc
import dataclasses

import numpy as np

# "image" [b, H, W, C] uint8 and "label" [b] int32; in evaluation also "mask"
# [b] bool, False where a row only pads the last batch.
Batch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Dataset:
  """A data set ready to train on, seen from one of `process_count` processes.

  Attributes:
    image_shape: (H, W, C) of one image.
    num_classes: number of classes; labels are 0 .. num_classes - 1.
    num_train: training examples, over all processes.
    num_eval: evaluation examples, over all processes.
    mean: [C], per channel, on the uint8 scale (0 .. 255). Images leave here as
      uint8; the step computes (x - mean) / std on the device.
    std: [C], as `mean`.
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

  image_shape: tuple[int, int, int]
  num_classes: int
  num_train: int
  num_eval: int
  mean: np.ndarray
  std: np.ndarray
  train: collections.abc.Callable[..., collections.abc.Iterator[Batch]]
  evaluate: collections.abc.Callable[[], collections.abc.Iterator[Batch]]
