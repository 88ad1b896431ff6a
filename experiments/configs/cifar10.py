"""CIFAR-10 by any method and network, from the official files.

  python -m experiments.main --workdir=runs/cifar10 \
    --config=experiments/configs/cifar10.py:method=mixup,data_dir=FOLDER

FOLDER holds cifar-10-binary.tar.gz as it is unpacked (cs.toronto.edu/~kriz), or
CIFAR-10 as tfds prepares it. A recipe of today rather than a paper's: PreAct
ResNet-18 (model= wrn_28_10, preact_resnet50, resnet18_cifar, resnet20, ...),
batches of 128, SGD at 0.1 with a cosine over 200 epochs, L2 5e-4, crops and
flips; alpha = 1 for Mixup, eta = 1 for MixupE, which small nets here preferred
to the paper's 1e-3 (experiments/configs/digits.py); `cutout=16` adds Cutout.
`mixupe_images`, `umixup_images`, `kimura_images` and `zhang_images` are the
papers' own.

Variants: `:validate` keeps the last 5,000 training images to choose by, and the
test images for the end; `:first_batch` trains on the 10,000 images of
data_batch_1.bin, all that it needs beside test_batch.bin, by a ResNet-20;
`:compare` runs ERM, Mixup, MixupE, DAT and CutMix with three seeds in one
process; `:tiny` has one block a stage, of a width of 8; `:smoke` ends in under
a minute.

Published: for PreActResNet-18 the baselines of other papers are 5.48 % for ERM
and 4.20 % for Mixup (untied MixUp's table 1), with steps for the cosine.
Ours: not run at full size. Small and short (experiments.studies.cifar: 9,000
images, 12 epochs), in %: ERM 43.70, Mixup 50.23, MixupE 49.32, DAT 51.68,
CutMix 51.23: a network that underfits is not helped by mixing.

Cost: 0.56 G multiply-adds an image forward: 200 epochs of Mixup are about
3.4e16 floating point operations, of MixupE twice that.
"""

from ml_collections import ConfigDict

from experiments import methods
from experiments.configs import small_images


def get_config(arg: str | None = None) -> ConfigDict:
  """Returns the config; arg: variants, see above, and key=value items."""
  config = small_images.base("cifar10")
  config.batch_size = 128
  config.weight_decay = 5e-4
  config.schedule = "cosine"
  config.schedule_boundaries = ()
  config.final_learning_rate_ratio = 0.0
  config.recipe = methods.recipe(mixup_alpha=1.0, eta=1.0)
  small_images.augment(config)
  variants = {
    "validate": _validate,
    "first_batch": _first_batch,
    "compare": _compare,
    "tiny": small_images.tiny,
    "smoke": small_images.smoke,
  }
  return small_images.with_argument(config, arg, variants)


def _validate(config: ConfigDict) -> None:
  config.train_split = "train[:45000]"
  config.eval_split = "train[45000:]"


def _first_batch(config: ConfigDict) -> None:
  config.model = "resnet20"
  config.train_split = "train[:10000]"


def _compare(config: ConfigDict) -> None:
  config.sweep_seeds = (0, 1, 2)
  config.sweep = (
    ("ERM", {"method": "erm"}),
    ("Mixup", {"method": "mixup"}),
    ("MixupE", {"method": "mixupe"}),
    ("DAT", {"method": "dat"}),
    ("CutMix", {"method": "cutmix"}),
  )
