"""What every config shares: the keys and their defaults."""

from __future__ import annotations

import math

from ml_collections import ConfigDict, config_dict

METHODS = ("erm", "mixup", "mixupe", "untied", "dat", "cutmix")
# What leaves a run's numbers as they are, and so may change when it is resumed.
FREE_KEYS = frozenset(
  {
    "checkpoint_every",
    "data_dir",
    "keep_checkpoints",
    "log_every",
    "max_unreadable_fraction",
    "parallel",
    "shuffle_buffer",
    "steps_per_dispatch",
    "sweep",
    "sweep_seeds",
  }
)


def base() -> ConfigDict:
  """Returns every key with its default; a config file changes what it needs."""
  config = ConfigDict()
  config.seed = 0
  # Data.
  config.dataset = "digits"
  config.data_dir = ""
  config.batch_size = 128  # global
  config.eval_batch_size = 512  # global
  config.image_size = 224
  config.resize_size = 256
  config.interpolation = "bicubic"  # or bilinear: less work for the host
  config.randaugment = ""  # "layers,magnitude"
  config.shuffle_buffer = 16_384
  config.max_unreadable_fraction = 1e-3  # of records, before the run stops
  config.train_split = "train"
  config.eval_split = "validation"
  # Model.
  config.model = "resnet50"
  config.model_options = ConfigDict()
  config.dtype = "float32"  # of the computation; parameters are float32
  # Of dropout's bits. rbg, the hardware's generator, is much faster on a TPU;
  # its numbers may differ from one kind of device, or version, to the next.
  config.dropout_prng = "threefry2x32"
  # Method. None is filled in from `recipe` for the method in force.
  config.method = "mixupe"
  config.alpha = config_dict.placeholder(float)
  config.beta = config_dict.placeholder(float)
  config.eta = config_dict.placeholder(float)
  config.recipe = recipe(mixup_alpha=1.0, eta=1e-3)
  config.pairing = "permutation"
  config.per_example = True
  config.stratified = False
  config.clean_fraction = 1.0
  config.penalty = "approximate"  # exact, or taylor: orders up to penalty_order
  config.penalty_order = 2
  config.penalty_at = "clean"
  config.penalty_form = "absolute"
  config.clean_pass = "split"
  config.label_smoothing = 0.0
  # Optimisation.
  config.optimizer = "sgd"
  config.learning_rate = 0.1  # peak
  config.final_learning_rate_ratio = 1e-3
  config.warmup_steps = 0
  config.momentum = 0.9  # sgd
  config.b1 = 0.9  # adamw
  config.b2 = 0.999
  config.weight_decay = 0.0  # L2 in the gradient for sgd, decoupled for adamw
  config.grad_clip = 0.0  # global norm; 0: none
  config.polyak_rate = 0.999
  # The loop.
  config.total_steps = 1000
  config.steps_per_dispatch = 1
  config.log_every = 50
  config.eval_every = 500
  config.checkpoint_every = 500
  config.keep_checkpoints = 3
  config.parallel = "pmap"
  # Attacks on the evaluated images; sizes are on the [0, 1] pixel scale, and 0
  # leaves the attack out.
  config.fgsm_epsilon = 0.0
  config.pgd_epsilon = 0.0  # in l2, of one image's whole
  config.pgd_norm = "linf"  # or l2
  config.pgd_steps = 20  # from the image itself, each of 2.5 epsilon / steps
  # Mixup's theory on the first examples of the evaluation set.
  config.monitor = ""  # or theory
  config.monitor_examples = 32
  # Several runs in one process: (name, overrides) pairs, each with every seed.
  config.sweep = ()
  config.sweep_seeds = (0,)
  return config


def recipe(
  *,
  mixup_alpha: float,
  eta: float,
  alpha: float | None = None,
  beta: float | None = None,
) -> ConfigDict:
  """Returns each method's own (alpha, beta, eta).

  Args:
    mixup_alpha: alpha of Mixup and MixupE.
    eta: MixupE's weight of the penalty.
    alpha: of untied MixUp and DAT; None means mixup_alpha + 1, which makes both
      the equivalents of Mixup's own policy.
    beta: likewise; None means mixup_alpha.
  """
  alpha = mixup_alpha + 1.0 if alpha is None else alpha
  beta = mixup_alpha if beta is None else beta
  tied = dict(alpha=mixup_alpha, beta=mixup_alpha)
  return ConfigDict(
    {
      "erm": dict(tied, eta=0.0),
      "mixup": dict(tied, eta=0.0),
      "mixupe": dict(tied, eta=eta),
      "untied": dict(alpha=alpha, beta=beta, eta=0.0),
      "dat": dict(alpha=alpha, beta=beta, eta=0.0),
      "cutmix": dict(alpha=1.0, beta=1.0, eta=0.0),
    }
  )


def resolve(config: ConfigDict) -> ConfigDict:
  """Returns a copy with every None filled in and every choice checked.

  Raises:
    ValueError: naming the key, what was expected and what came.
  """
  config = config.copy_and_resolve_references()
  _choice(config, "method", METHODS)
  _choice(config, "parallel", ("pmap", "shard_map"))
  _choice(config, "pairing", ("permutation", "roll", "flip", "ring", "between"))
  _choice(config, "penalty", ("approximate", "exact", "taylor"))
  _choice(config, "penalty_at", ("clean", "mixed"))
  _choice(config, "penalty_form", ("absolute", "release"))
  _choice(config, "clean_pass", ("joint", "split", "separate"))
  _choice(config, "optimizer", ("sgd", "adamw"))
  _choice(config, "dtype", ("float32", "bfloat16"))
  _choice(config, "dropout_prng", ("threefry2x32", "rbg", "unsafe_rbg"))
  _choice(config, "monitor", ("", "theory"))
  _choice(config, "pgd_norm", ("linf", "l2"))
  if config.method == "cutmix":
    for key, default in (("per_example", True), ("stratified", False)):
      if config[key] != default:
        raise ValueError(f"{key} does not apply to method='cutmix'.")
    if config.monitor:
      raise ValueError(
        "monitor='theory' does not apply to method='cutmix': its examples are "
        "no convex combinations."
      )
  own = config.recipe[config.method]
  with config.unlocked():
    if config.beta is None:
      # An alpha given without a beta means Beta(alpha, alpha) where lam is
      # tied.
      tied = config.method in ("erm", "mixup", "mixupe", "cutmix")
      given = config.alpha is not None
      config.beta = float(config.alpha) if tied and given else float(own.beta)
    if config.alpha is None:
      config.alpha = float(own.alpha)
    if config.eta is None:
      config.eta = float(own.eta)
  for key in (
    "batch_size",
    "eval_batch_size",
    "total_steps",
    "steps_per_dispatch",
    "log_every",
    "eval_every",
    "checkpoint_every",
    "keep_checkpoints",
    "monitor_examples",
    "penalty_order",
    "pgd_steps",
  ):
    if config[key] < 1:
      raise ValueError(f"{key} must be at least 1, got {config[key]}.")
  for key in ("log_every", "eval_every", "checkpoint_every", "total_steps"):
    if config[key] % config.steps_per_dispatch:
      raise ValueError(
        f"{key}={config[key]} must be a multiple of "
        f"steps_per_dispatch={config.steps_per_dispatch}."
      )
  for key in ("fgsm_epsilon", "pgd_epsilon"):
    if not 0.0 <= config[key] < math.inf:
      raise ValueError(f"{key} must lie in [0, inf), got {config[key]}.")
  if not 0.0 <= config.polyak_rate < 1.0:
    raise ValueError(
      f"polyak_rate must lie in [0, 1), got {config.polyak_rate}."
    )
  return config


def is_enhanced(config: ConfigDict) -> bool:
  """Whether the penalty's pass runs: always for mixupe, even at eta = 0."""
  return config.method == "mixupe" or config.eta != 0.0


def _choice(config: ConfigDict, key: str, options: tuple[str, ...]) -> None:
  if config[key] not in options:
    known = ", ".join(option or '""' for option in options)
    raise ValueError(f"{key} must be one of {known}; got {config[key]!r}.")
