"""CoAtNet-0 on ImageNet, MixupE's recipe (UAI 2023, section 3.1).

  python -m experiments.main \
    --config=experiments/configs/imagenet_coatnet0.py:method=mixupe \
    --workdir=gs://BUCKET/coatnet0_mixupe --config.data_dir=gs://BUCKET/tfds

Global batch 4096, 100,000 steps, AdamW (0.9, 0.99), peak rate 1e-3, decay 0.05
on kernels, alpha 0.4, eta 5e-4, batch norm over the global batch, Polyak
average 0.999. From the model's own paper (Dai et al., 2021, appendix A.2,
ImageNet-1K): 10,000 steps of warm-up, gradients clipped to norm 1, stochastic
depth 0.2, RandAugment 2,15 (of the strengths of the released code; those of the
letter of RandAugment's paper: randaugment=paper:2,15), label smoothing 0.1.

`clean_pass=separate` is not the paper's, which is `joint` (imagenet.py).

Published: MixupE +0.8 top-1 over Mixup (table 3).

Cost: about 4.2 GMACs an image forward; MixupE runs two images for each of
Mixup's, clean_fraction=0.25 one and a quarter. `:smoke` is a tiny sibling on a
small prepared folder of JPEGs and ends on a CPU in about a minute.
"""

from ml_collections import ConfigDict

from experiments import methods
from experiments.configs import arguments, imagenet


def get_config(arg: str | None = None) -> ConfigDict:
  """Returns the config; arg: smoke and key=value items."""
  config = imagenet.base()
  config.model = "coatnet0"
  config.model_options.drop_path = 0.2
  config.model_options.attention_implementation = "auto"
  config.recipe = methods.recipe(mixup_alpha=0.4, eta=5e-4)
  config.optimizer = "adamw"
  config.learning_rate = 1e-3
  config.b1, config.b2 = 0.9, 0.99
  config.weight_decay = 0.05
  config.grad_clip = 1.0
  config.warmup_steps = 10_000
  config.label_smoothing = 0.1
  config.randaugment = "2,15"
  return arguments.with_argument(config, arg, {"smoke": imagenet.smoke})
