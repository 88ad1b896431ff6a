"""Pre-activation residual networks: PreActResNet and WideResNet."""

from collections.abc import Sequence
import functools
from typing import Any

import chex
from flax import linen as nn
import jax.numpy as jnp

from jaxmix.models import interface
from jaxmix.models.norm import BatchNorm
from jaxmix.models.resnet import BLOCKS


def _conv(x: chex.Array, width: int, size: int, stride: int, **options: Any):
  """A convolution without a bias, of the module that calls this."""
  # Padded alike on both sides, see `jaxmix.models.resnet.ResidualBlock`.
  layer = nn.Conv(
    width,
    (size, size),
    (stride, stride),
    padding=size // 2,
    use_bias=False,
    kernel_init=interface.CONV_INIT,
    **options,
  )
  return layer(x)


def _norm_relu(
  module: nn.Module,
  x: chex.Array,
  train: bool,
  parts: tuple[int, ...] | None,
  mask: chex.Array | None,
  name: str,
) -> chex.Array:
  """relu(norm(x)), the norm one of the module's, which calls this."""
  norm = BatchNorm(
    use_running_average=not train,
    axis_name=module.axis_name,
    dtype=module.dtype,
    name=name,
  )
  return nn.relu(norm(x, parts=parts, mask=mask))


class PreActBlock(nn.Module):
  """shortcut + branch, each convolution after its norm and ReLU.

  "basic" is two 3 x 3 convolutions, the stride on the first; "bottleneck" is
  1 x 1, 3 x 3 and 1 x 1, the last one four times as wide, with the stride on
  the 3 x 3. The shortcut is the block's input; where the shape changes, a 1 x 1
  convolution, without a norm of its own, of the input's norm and ReLU (the
  branch's first ones).

  Attributes:
    width: channels of the 3 x 3 convolutions.
    stride: of the block.
    block: "bottleneck" or "basic".
    dtype: compute dtype.
    axis_name: see `BatchNorm`.
  """

  width: int
  stride: int
  block: str
  dtype: Any
  axis_name: str | None

  @nn.compact
  def __call__(
    self,
    x: chex.Array,
    train: bool,
    parts: tuple[int, ...] | None,
    mask: chex.Array | None = None,
  ) -> chex.Array:
    """Maps [B, H, W, C] to [B, ceil(H / stride), ceil(W / stride), C']."""
    conv = functools.partial(_conv, dtype=self.dtype)
    if self.block == "bottleneck":
      features = 4 * self.width
      layers = [(self.width, 1), (self.width, 3), (features, 1)]
    else:
      features = self.width
      layers = [(self.width, 3), (features, 3)]
    strided = [size for _, size in layers].index(3)
    y = x
    for k, (width, size) in enumerate(layers):
      y = _norm_relu(self, y, train, parts, mask, f"norm{k + 1}")
      if k == 0 and (self.stride != 1 or x.shape[-1] != features):
        x = conv(y, features, 1, self.stride, name="conv_shortcut")
      stride = self.stride if k == strided else 1
      y = conv(y, width, size, stride, name=f"conv{k + 1}")
    return x + y


class PreActResNet(nn.Module):
  """Pre-activation ResNet (He et al., 2016, https://arxiv.org/abs/1603.05027).

  For small images. The defaults are PreActResNet-18 as papers on mixup train
  it (github.com/kuangliu/pytorch-cifar): a 3 x 3 convolution for a stem, four
  stages, and a head on the mean of the last stage's sums, without the norm and
  ReLU that He et al. end with, and that final_norm=True adds. With 10 classes
  it has 11,171,146 parameters, 1,024 more with that norm.

  WideResNet-d-k (Zagoruyko and Komodakis, 2016,
  https://arxiv.org/abs/1605.07146) has three stages of n = (d - 4) / 6 blocks:
  PreActResNet(10, stage_sizes=(n,) * 3, width=16 * k, stem_width=16,
  final_norm=True); without dropout, and without biases under norms.

  Attributes:
    num_classes: K.
    stage_sizes: blocks in each stage; a stage doubles the width and, but for
      the first, halves the resolution.
    width: channels of the first stage's 3 x 3 convolutions.
    stem_width: channels of the stem; None: `width`.
    stem_stride: of the stem's 3 x 3 convolution; 2 for Tiny-ImageNet's 64 x 64.
    block: "bottleneck" or "basic".
    final_norm: whether a norm and ReLU come before the mean.
    dtype: compute dtype; parameters, statistics, head and logits are float32.
    axis_name: mapped axis to take batch statistics over, see `BatchNorm`.
    remat: "none", or "blocks" to recompute each block in the backward pass.
  """

  num_classes: int
  stage_sizes: Sequence[int] = (2, 2, 2, 2)
  width: int = 64
  stem_width: int | None = None
  stem_stride: int = 1
  block: str = "basic"
  final_norm: bool = False
  dtype: Any = jnp.float32
  axis_name: str | None = None
  remat: str = "none"

  @property
  def stages(self) -> tuple[str, ...]:
    """The names of the places at which the features can be tapped."""
    stages = (f"stage{k + 1}" for k in range(len(self.stage_sizes)))
    return ("input", "stem", *stages, "readout")

  @nn.compact
  def __call__(
    self,
    x: chex.Array,
    train: bool = False,
    parts: Sequence[int] | None = None,
    tap: interface.Tap | None = None,
    mask: chex.Array | None = None,
  ) -> chex.Array:
    """Computes logits.

    Args:
      x: [B, H, W, C] floats.
      train: normalise by batch statistics and update the running averages (make
        "batch_stats" mutable).
      parts: sizes of the pieces the batch is a concatenation of, each with its
        own batch statistics; see `BatchNorm`.
      tap: called as x, parts = tap(place, x, parts) at every place of `stages`,
        to mix there; see `jaxmix.hidden`.
      mask: bool [B], True for real examples: batch statistics are theirs; see
        `BatchNorm`. None means all are.

    Returns:
      [B, K] float32 logits.

    Raises:
      TypeError: if x is not floating point, `parts` is not static or `mask` is
        not boolean.
      ValueError: if x does not have four axes, `parts` or `mask` does not fit
        it, or `block` or `remat` is unknown.
    """
    if self.block not in BLOCKS:
      raise ValueError(f"block must be one of {BLOCKS}, got {self.block!r}.")
    block = interface.remat_block(PreActBlock, self.remat)
    x = interface.as_images(x, self.dtype)
    tapped, x, parts, mask = interface.enter(self.stages, tap, x, parts, mask)
    stem_width = self.width if self.stem_width is None else self.stem_width
    x = _conv(
      x,
      stem_width,
      3,
      self.stem_stride,
      dtype=self.dtype,
      name="conv_stem",
    )
    x, parts, mask = tapped("stem", x, parts, mask)
    for stage, size in enumerate(self.stage_sizes):
      for index in range(size):
        x = block(
          width=self.width * 2**stage,
          stride=2 if stage > 0 and index == 0 else 1,
          block=self.block,
          dtype=self.dtype,
          axis_name=self.axis_name,
          name=f"stage{stage + 1}_block{index + 1}",
        )(x, train, parts, mask)
      x, parts, mask = tapped(f"stage{stage + 1}", x, parts, mask)
    if self.final_norm:
      x = _norm_relu(self, x, train, parts, mask, "norm_final")
    x, *_ = tapped("readout", interface.pool(x), parts, mask)
    head = nn.Dense(
      self.num_classes, kernel_init=interface.HEAD_INIT, name="head"
    )
    return head(x)
