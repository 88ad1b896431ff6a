"""A run of seconds: an MLP on digits, ten steps, a checkpoint at five."""

from experiments.configs import digits

# One to be killed on its way, as an argument of digits.py.
QUICK = (
  "model=mlp,total_steps=60,log_every=5,eval_every=5,checkpoint_every=10,"
  "fgsm_epsilon=0.0"
)


def config(arg="", **changes):
  """Its config, with an argument of digits.py, and some keys changed."""
  keys = "model=mlp,total_steps=10,log_every=5,eval_every=5"
  found = digits.get_config(f"{keys},{arg}" if arg else keys)
  found.batch_size = 64
  found.checkpoint_every = 5
  found.warmup_steps = 2
  found.fgsm_epsilon = 0.0  # compiles a third of all
  found.model_options.features = (16,)
  found.update(changes)
  return found
