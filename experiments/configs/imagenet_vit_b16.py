"""ViT-B/16 on ImageNet, MixupE's recipe (UAI 2023, section 3.1).

  python -m experiments.main \
    --config=experiments/configs/imagenet_vit_b16.py:method=mixupe \
    --workdir=gs://BUCKET/vit_b16_mixupe --config.data_dir=gs://BUCKET/tfds

Global batch 4096, 100,000 steps, AdamW (0.9, 0.99), peak rate 1e-3, decay 0.3
on kernels, alpha 0.4, eta 5e-4, Polyak average 0.999. From the model's own
paper (Dosovitskiy et al., 2021, table 3, ImageNet): 10,000 steps of warm-up,
gradients clipped to norm 1, dropout 0.1.

Published: MixupE +0.7 top-1 over Mixup (table 3).

Cost: about 17.6 GMACs an image forward; MixupE runs two images for each of
Mixup's, clean_fraction=0.25 one and a quarter. `:smoke` is a tiny sibling on a
small prepared folder of JPEGs and ends on a CPU in about a minute.
"""

from ml_collections import ConfigDict

from experiments import methods
from experiments.configs import arguments, imagenet


def get_config(arg: str | None = None) -> ConfigDict:
  """Returns the config; arg: smoke and key=value items."""
  config = imagenet.base()
  config.model = "vit_b16"
  config.model_options.dropout = 0.1
  config.model_options.attention_implementation = "auto"
  config.recipe = methods.recipe(mixup_alpha=0.4, eta=5e-4)
  config.optimizer = "adamw"
  config.learning_rate = 1e-3
  config.b1, config.b2 = 0.9, 0.99
  config.weight_decay = 0.3
  config.grad_clip = 1.0
  config.warmup_steps = 10_000
  return arguments.with_argument(config, arg, {"smoke": imagenet.smoke})
