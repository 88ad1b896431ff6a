"""What the configs of small images share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict

from experiments.configs import arguments, common

# Where a crop is of images of numerals and characters, a flip makes others.
_NO_FLIP = ("mnist", "kmnist", "svhn_cropped")
_CHANGES: dict[str, dict[str, int]] = {
  # As Tiny-ImageNet is usually trained: its 64 x 64 halved at the stem.
  "tiny_imagenet": {"stem_stride": 2},
}


def base(dataset: str) -> ConfigDict:
  """Returns the recipe that the papers' baselines have in common.

  SGD with momentum 0.9 at 0.1, divided by 10 after a half and three quarters of
  200 epochs, L2 1e-4, and no average of the weights.
  """
  config = common.base()
  config.model = "preact_resnet18"
  config.optimizer = "sgd"
  config.learning_rate = 0.1
  config.momentum = 0.9
  config.weight_decay = 1e-4
  config.schedule = "steps"
  config.schedule_boundaries = (0.5, 0.75)
  config.schedule_factor = 0.1
  config.epochs = 200.0
  config.eval_every_epochs = 1.0
  config.eval_batch_size = 1000
  config.log_every = 100
  config.checkpoint_every = 2000
  config.keep_checkpoints = 2  # should one be damaged
  config.polyak_rate = 0.0  # both evaluations are then of the model as it is
  use(config, dataset)
  return config


def use(config: ConfigDict, dataset: str) -> None:
  """Sets the data set, and what a network needs to know of its images."""
  config.dataset = dataset
  config.eval_split = "validation" if dataset == "tiny_imagenet" else "test"
  config.model_options = ConfigDict(_CHANGES.get(dataset, {}))


def augment(config: ConfigDict) -> None:
  """Crops of images padded by 4, and flips where they are no other images."""
  config.crop_padding = 4
  config.hflip = 0.0 if config.dataset in _NO_FLIP else 0.5


def plain(config: ConfigDict) -> None:
  """No augmentation."""
  config.crop_padding = 0
  config.hflip = 0.0


def tiny(config: ConfigDict) -> None:
  """The same code, one block a stage, at a width of 8."""
  stages = 3 if config.model.startswith(("wrn", "resnet20")) else 4
  config.model_options.stage_sizes = (1,) * stages
  config.model_options.width = 8


def smoke(config: ConfigDict) -> None:
  """`tiny`, a few steps of 40 images out of 200: under a minute on a CPU.

  Of CIFAR-10 it needs data_batch_1.bin and test_batch.bin alone.
  """
  tiny(config)
  config.train_split = "train[:200]"
  held = "validation" if config.dataset == "tiny_imagenet" else "test"
  config.eval_split = f"{held}[:200]"
  config.batch_size = 40
  config.epochs = 2.0
  config.eval_batch_size = 200
  config.log_every = 1
  config.checkpoint_every = 1000


def with_argument(
  config: ConfigDict,
  arg: str | None,
  variants: Mapping[str, Callable[[ConfigDict], Any]],
) -> ConfigDict:
  """Applies a config's argument, its variants in the order of their table.

  A data set then does not undo what `tiny` or `smoke` before it has changed.

  Args:
    config: changed in place.
    arg: what stands after the config file's colon, or None.
    variants: data sets first, `smoke` last.
  """
  order = list(variants)
  items = sorted(
    arguments.items(arg or ""),
    key=lambda item: order.index(item) if item in variants else len(order),
  )
  return arguments.with_argument(config, ",".join(items), variants)
