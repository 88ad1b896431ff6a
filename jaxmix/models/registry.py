"""Models by name."""

from collections.abc import Mapping
import dataclasses
from typing import Any, NamedTuple

from flax import linen as nn
import jax.numpy as jnp

from jaxmix.models.coatnet import CoAtNet
from jaxmix.models.gin import GIN
from jaxmix.models.lenet import LeNet
from jaxmix.models.mlp import MLP
from jaxmix.models.preact_resnet import PreActResNet
from jaxmix.models.resnet import ResNet
from jaxmix.models.vgg import VGG
from jaxmix.models.vit import VisionTransformer


class _Entry(NamedTuple):
  module: type[nn.Module]
  options: Mapping[str, Any]


def _coatnet(blocks: tuple[int, ...], widths: tuple[int, ...]) -> _Entry:
  """A network of table 3 of Dai et al. (2021); blocks are S2's and S3's."""
  options = {"stage_sizes": (2, 2, *blocks, 2), "widths": widths}
  return _Entry(CoAtNet, options)


def _cifar_resnet(n: int) -> _Entry:
  """The network of 6n + 2 layers of He et al. (2016), section 4.2."""
  options = {
    "stage_sizes": (n, n, n),
    "width": 16,
    "block": "basic",
    "stem": "small",
  }
  return _Entry(ResNet, options)


def _wide_resnet(depth: int, factor: int) -> _Entry:
  """WRN-depth-factor of Zagoruyko and Komodakis (2016)."""
  options = {
    "stage_sizes": ((depth - 4) // 6,) * 3,
    "width": 16 * factor,
    "stem_width": 16,
    "final_norm": True,
  }
  return _Entry(PreActResNet, options)


def _deep_preact_resnet(stage_sizes: tuple[int, ...]) -> _Entry:
  """A pre-activation ResNet of bottlenecks."""
  options = {"stage_sizes": stage_sizes, "block": "bottleneck"}
  return _Entry(PreActResNet, options)


# The tiny ones run the code of their siblings, block for block, at sizes whose
# train step compiles in seconds on a CPU.
_ENTRIES: Mapping[str, _Entry] = {
  "resnet50": _Entry(ResNet, {}),
  "resnet50_tiny": _Entry(ResNet, {"stage_sizes": (1, 1, 1, 1), "width": 8}),
  "vit_b16": _Entry(VisionTransformer, {}),
  "vit_b16_tiny": _Entry(
    VisionTransformer,
    {
      "patch_size": 8,
      "hidden_size": 32,
      "depth": 2,
      "num_heads": 2,
      "mlp_dim": 64,
    },
  ),
  "coatnet0": _Entry(CoAtNet, {}),
  "coatnet1": _coatnet((6, 14), (64, 96, 192, 384, 768)),
  "coatnet2": _coatnet((6, 14), (128, 128, 256, 512, 1024)),
  "coatnet3": _coatnet((6, 14), (192, 192, 384, 768, 1536)),
  "coatnet0_tiny": _Entry(
    CoAtNet,
    {
      "stage_sizes": (2, 1, 1, 1, 1),
      "widths": (8, 8, 16, 32, 32),
      "head_dim": 8,
    },
  ),
  "resnet8": _cifar_resnet(1),
  "resnet20": _cifar_resnet(3),
  # ImageNet's, with a stem for small images.
  "resnet18_cifar": _Entry(
    ResNet, {"stage_sizes": (2, 2, 2, 2), "block": "basic", "stem": "small"}
  ),
  "preact_resnet18": _Entry(PreActResNet, {}),
  "preact_resnet34": _Entry(PreActResNet, {"stage_sizes": (3, 4, 6, 3)}),
  "preact_resnet50": _deep_preact_resnet((3, 4, 6, 3)),
  "preact_resnet101": _deep_preact_resnet((3, 4, 23, 3)),
  "wrn_28_10": _wide_resnet(28, 10),
  "wrn_16_8": _wide_resnet(16, 8),
  "mlp": _Entry(MLP, {}),
  "gin": _Entry(GIN, {}),
  "lenet": _Entry(LeNet, {}),
  "vgg11": _Entry(VGG, {}),
  "vgg13": _Entry(VGG, {"stage_sizes": (2, 2, 2, 2, 2)}),
}


def names() -> tuple[str, ...]:
  """Returns the names that `create` knows, sorted."""
  return tuple(sorted(_ENTRIES))


def options(name: str) -> frozenset[str]:
  """Returns the options that `create` takes for a name.

  Raises:
    ValueError: if the name is unknown.
  """
  if name not in _ENTRIES:
    raise ValueError(f"name must be one of {', '.join(names())}; got {name!r}.")
  fields = {field.name for field in dataclasses.fields(_ENTRIES[name].module)}
  # linen gives every module the fields parent and name: not options of a model.
  return frozenset(fields - {"num_classes", "parent", "name"})


def create(name: str, num_classes: int, **options: Any) -> nn.Module:
  """Creates a model.

  Every model is called as (x, train=False, parts=None, tap=None, mask=None) and
  returns float32 logits [B, num_classes]; it draws from the rng collection
  "dropout" if it drops anything, and has the collection "batch_stats" if it has
  batch norm.
  Its `stages` name the places at which `tap` is called, from "input" to
  "readout", the features just before the head; see `jaxmix.hidden`.

  Args:
    name: one of `names()`.
    num_classes: K.
    **options: attributes of the model's class, in place of the named model's.
      All classes take `dtype` (a name such as "bfloat16" will do) and
      `axis_name`.

  Returns:
    A linen module.

  Raises:
    TypeError: if the model does not know an option.
    ValueError: if the name is unknown or num_classes is not positive.
  """
  known = _options(name)
  if num_classes < 1:
    raise ValueError(f"num_classes must be positive, got {num_classes}.")
  module, defaults = _ENTRIES[name]
  unknown = sorted(options.keys() - known)
  if unknown:
    raise TypeError(
      f"{name} does not know the option {', '.join(unknown)}. It knows"
      f" {', '.join(sorted(known))}."
    )
  if "dtype" in options:
    options["dtype"] = jnp.dtype(options["dtype"])
  return module(num_classes=num_classes, **{**defaults, **options})


_options = options  # `create` has an argument of that name
