"""A run of seconds: an MLP on digits, ten steps, a checkpoint at five."""

from experiments.configs import digits


def config(**changes):
  """Its config, with some keys changed."""
  found = digits.get_config("model=mlp,total_steps=10,log_every=5,eval_every=5")
  found.batch_size = 64
  found.checkpoint_every = 5
  found.warmup_steps = 2
  found.model_options.features = (16,)
  found.update(changes)
  return found
