"""Kimura's images ("Why Mixup Improves the Model Performance"), section 6.

  python -m experiments.sweep --workdir=DIR \
    --config=experiments/configs/kimura_images.py:cifar10,data_dir=FOLDER \
    --grid="method=mixup;alpha=0.1,0.2,0.4,0.8,1,2,4;seed=0..9"

Figure 3 and table 1: ResNet-18, rate 0.1, 200 epochs, alpha in the grid above,
means of ten seeds, on cifar10 (the default), cifar100, stl10 or svhn;
fashion_mnist, which is not the paper's, too. FOLDER holds the official files.
What is evaluated is the training images (`eval_split=train`), without mixing
and augmentation; results.jsonl has their loss as "validation", and the test
images' as "test", at every evaluation: their difference is the gap. A single
run by `experiments.main` has the test images' line at its end.

What it leaves open: batches (128), momentum 0.9, L2 1e-4, the schedule (a tenth
at epochs 100 and 150), augmentation (crops, and flips but of numerals), and
whether its training loss is that of mixed examples, which is `loss` in the
training lines. `:plain` has no augmentation, `:tiny` and `:smoke` are small.

Published gaps between training and test loss (table 1):

  alpha       0.1    0.2    0.4    0.8      1      2      4
  CIFAR-10   0.006  0.012  0.010  0.061  0.093  0.098  0.130
  CIFAR-100  0.182  0.259  0.277  0.292  0.348  0.596  0.695
  STL-10     0.013  0.022  0.029  0.090  0.121  0.120  0.169
  SVHN       0.049  0.050  0.057  0.062  0.087  0.133  0.182

Ours: not run at this size. Small, on Fashion-MNIST (experiments.studies.gap),
the gap of images as they are falls with alpha: 0.530 nats at 0.1, 0.241 at 4.

Cost: 3.4e16 floating point operations a run on CIFAR, 70 runs a data set.
"""

from ml_collections import ConfigDict

from experiments import methods
from experiments.configs import small_images

ALPHAS = (0.1, 0.2, 0.4, 0.8, 1.0, 2.0, 4.0)
SETS = {
  "cifar10": "cifar10",
  "cifar100": "cifar100",
  "stl10": "stl10",
  "svhn": "svhn_cropped",
  "fashion_mnist": "fashion_mnist",
}


def get_config(arg: str | None = None) -> ConfigDict:
  """Returns the config; arg: variants, see above, and key=value items."""
  config = small_images.base("cifar10")
  config.method = "mixup"
  config.model = "resnet18_cifar"
  config.batch_size = 128
  config.eval_every_epochs = 10.0
  config.recipe = methods.recipe(mixup_alpha=1.0, eta=1e-3)
  _use(config, "cifar10")
  variants = {
    **{name: _variant(name) for name in SETS},
    "plain": small_images.plain,
    "tiny": small_images.tiny,
    "smoke": _smoke,
  }
  return small_images.with_argument(config, arg, variants)


def _variant(name: str):
  return lambda config: _use(config, name)


def _use(config: ConfigDict, name: str) -> None:
  small_images.use(config, SETS[name])
  small_images.augment(config)
  config.eval_split = "train"


def _smoke(config: ConfigDict) -> None:
  small_images.smoke(config)
  config.eval_split = config.train_split
  config.eval_every_epochs = 1.0
