"""What the ImageNet recipes share (MixupE, UAI 2023, section 3.1)."""

from ml_collections import ConfigDict

from experiments.configs import common


def base() -> ConfigDict:
  """Returns the keys common to ResNet-50, ViT-B/16 and CoAtNet-0."""
  config = common.base()
  config.dataset = "imagenet2012"
  config.batch_size = 4096
  config.eval_batch_size = 4096
  config.dtype = "bfloat16"
  config.dropout_prng = "rbg"
  # Split's numbers (where there is dropout or drop path, another draw of
  # them); on TPUs less memory and less traffic.
  config.clean_pass = "separate"
  config.total_steps = 100_000
  config.polyak_rate = 0.999
  config.log_every = 100
  config.eval_every = 2_500
  config.checkpoint_every = 2_500
  return config


def smoke(config: ConfigDict) -> None:
  """The model's tiny sibling, 64 x 64, 30 steps of 16: a minute on a CPU.

  Reads whatever data_dir holds under the recipe's own data set name, such as a
  small folder of JPEGs prepared by experiments.inputs.prepare.
  """
  config.model = f"{config.model}_tiny"
  config.dtype = "float32"  # XLA's CPU bfloat16 convolutions are slow
  config.image_size = 64
  config.resize_size = 73
  config.shuffle_buffer = 256
  config.batch_size = 16
  config.eval_batch_size = 64
  config.total_steps = 30
  config.warmup_steps = 5
  config.log_every = 10
  config.eval_every = 15
  config.checkpoint_every = 15
