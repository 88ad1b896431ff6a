"""ResNet-50 on ImageNet, MixupE's recipe (UAI 2023, section 3.1).

On every host of a TPU slice, or on a machine with GPUs:

  python -m experiments.main \
    --config=experiments/configs/imagenet_resnet50.py:method=mixupe \
    --workdir=gs://BUCKET/resnet50_mixupe --config.data_dir=gs://BUCKET/tfds

Global batch 4096, 100,000 steps (320 epochs), SGD with momentum 0.9, peak rate
1.6 after 5 epochs of warm-up (Goyal et al., 2017; the paper gives no length),
cosine to peak / 1000, L2 1e-4 on kernels, alpha 0.2, eta 1e-3, batch norm over
the global batch, Polyak average 0.999.

`clean_pass=separate` is not the paper's, which is `joint` (imagenet.py).

Published: MixupE +0.5 top-1 over Mixup (table 3). `method=` erm, mixup, mixupe,
untied, dat or cutmix; no ImageNet values are published for untied MixUp and
DAT, whose default is the equivalent of this Mixup: U(Beta(1.2, 0.2)) and
Beta(1.2, 0.2).

Cost per step and v5e chip at 32 chips: 3.1 TFLOP for Mixup, 6.2 for MixupE, 3.9
with clean_fraction=0.25. `:smoke` is a tiny sibling on a small prepared folder
of JPEGs and ends on a CPU in about a minute.
"""

from ml_collections import ConfigDict

from experiments import methods
from experiments.configs import arguments, imagenet


def get_config(arg: str | None = None) -> ConfigDict:
  """Returns the config; arg: smoke and key=value items."""
  config = imagenet.base()
  config.model = "resnet50"
  config.recipe = methods.recipe(mixup_alpha=0.2, eta=1e-3)
  config.optimizer = "sgd"
  config.learning_rate = 1.6
  config.momentum = 0.9
  config.weight_decay = 1e-4
  config.warmup_steps = 1_565
  return arguments.with_argument(config, arg, {"smoke": imagenet.smoke})
