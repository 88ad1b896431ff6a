"""The small network and the short runs that studies of images share."""

from __future__ import annotations

from ml_collections import ConfigDict

# A pre-activation ResNet of three stages, of 28 x 28 pixels halved at the stem.
NETWORK = {"stage_sizes": (1, 1, 1), "width": 8, "stem_stride": 2}


def use(
  config: ConfigDict,
  data_dir: str,
  *,
  epochs: float = 50.0,
  examples: int = 2000,
  smoke: bool = False,
) -> None:
  """Makes an image recipe one of minutes: a small network, few images.

  Batches of 100, a cosine from the recipe's rate, L2 5e-4. The network is
  looked at once, at the end, on the last 5,000 training images, and tested.

  Args:
    config: of `experiments.configs.small_images`; changed in place.
    data_dir: the folder of the data set's files.
    epochs: how many.
    examples: how many training images, from the first one on.
    smoke: seconds for minutes: an MLP, two steps.
  """
  config.data_dir = data_dir
  config.train_split = f"train[:{100 if smoke else examples}]"
  config.eval_split = "train[-100:]" if smoke else "train[-5000:]"
  if smoke:  # most of its seconds would be the compilation of convolutions
    config.model = "mlp"
  config.model_options = ConfigDict({"features": (8,)} if smoke else NETWORK)
  config.batch_size = 50 if smoke else 100
  config.eval_batch_size = 1000
  config.weight_decay = 5e-4
  config.schedule = "cosine"
  config.schedule_boundaries = ()
  config.epochs = 1.0 if smoke else epochs
  config.eval_every_epochs = config.epochs
