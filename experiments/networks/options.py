"""The options of jaxmix's own models: what `model_options` may hold.

A model from elsewhere knows its own, and checks them when it is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from experiments import domains
from experiments.domains import Key
from jaxmix import models
from jaxmix.models import interface, resnet

_SIZE = domains.integer(1, 1, 2**16)
_RATE = domains.number(0.0, "[0, 1)")

# By the names of the modules' fields; `model` decides which of them it has.
OPTIONS: Mapping[str, Key] = {
  "attention_implementation": domains.optional(
    domains.choice("xla", ("auto", "xla", "cudnn")), str
  ),
  "block": domains.choice("bottleneck", resnet.BLOCKS),
  "depth": domains.integer(12, 1, 1000),
  "drop_path": _RATE,
  "dropout": _RATE,
  "expansion": domains.integer(4, 1, 1000),
  "features": domains.several((128, 128), _SIZE),
  "final_norm": domains.boolean(False),
  "head_dim": _SIZE,
  "head_features": domains.several((64,), _SIZE),
  "hidden_size": _SIZE,
  "learn_epsilon": domains.boolean(False),
  "mlp_dim": _SIZE,
  "num_heads": _SIZE,
  "num_layers": domains.integer(5, 1, 1000),
  "patch_size": _SIZE,
  "pool_size": domains.integer(1, 1, 100),
  "readout_scale": domains.number(1.0, "(0, 1e6]"),
  "remat": domains.choice("none", interface.REMAT),
  "se_ratio": domains.number(0.25, "(0, 1]"),
  "stage_sizes": domains.several(
    (3, 4, 6, 3), domains.integer(1, 1, 1000), least=1
  ),
  "stem": domains.choice("imagenet", resnet.STEMS),
  "stem_stride": domains.integer(1, 1, 4),
  "stem_width": domains.optional(_SIZE, int),
  "use_bias": domains.boolean(True),
  "width": _SIZE,
  "widths": domains.several((64, 96, 192, 384, 768), _SIZE, least=1),
}

# What config.json can hold, and a resumed run find to be the same.
_PLAIN = (
  "a number, a text, True, False or None, or a sequence or mapping of them"
)


def _plain(name: str, value: Any) -> Any:
  if isinstance(value, (list, tuple)):
    return tuple(_plain(f"{name}[{i}]", one) for i, one in enumerate(value))
  if isinstance(value, (Mapping, ConfigDict)):
    return KEY.read(name, value)
  known = value is None or isinstance(value, (bool, int, float, str))
  if not known or value != value:
    domains.refuse(name, _PLAIN, value)
  return value


KEY = domains.mapping(
  {},
  lambda name: Key(None, _PLAIN, _plain) if name.isidentifier() else None,
  "a mapping of options' names",
)


def check(config: ConfigDict) -> None:
  """Puts the options of a model of ours in the form that it takes.

  Raises:
    ValueError: naming an option that the model does not have, or what it may
      be.
  """
  if ":" in config.model:
    return
  # The config has keys of its own for these.
  known = models.options(config.model) - {"axis_name", "dtype"}
  own = domains.mapping(
    {},
    lambda name: OPTIONS[name] if name in known else None,
    f"a mapping of model={config.model!r}'s options, "
    f"{', '.join(sorted(known))}",
  )
  domains.settle(config, {"model_options": own})
