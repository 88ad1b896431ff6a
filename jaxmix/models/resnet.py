"""Residual networks: ResNet-50 and the CIFAR family."""

from collections.abc import Sequence
import functools
from typing import Any

import chex
from flax import linen as nn
import jax.numpy as jnp

from jaxmix.models import interface
from jaxmix.models.norm import BatchNorm

BLOCKS = ("bottleneck", "basic")
STEMS = ("imagenet", "small")

_Conv = functools.partial(
  nn.Conv, use_bias=False, kernel_init=interface.CONV_INIT
)


class ResidualBlock(nn.Module):
  """relu(shortcut(x) + branch(x)), the branch silent at the start.

  "basic" is two 3 x 3 convolutions; "bottleneck" is 1 x 1, 3 x 3 and 1 x 1,
  the last one four times as wide, with the stride on the 3 x 3 ("v1.5"; He et
  al., 2016, put it on the first 1 x 1, which drops three quarters of its
  input). The shortcut is projected where shapes change (their option B).

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
    strides = (self.stride, self.stride)

    def norm(y: chex.Array, name: str, **options: Any) -> chex.Array:
      layer = BatchNorm(
        use_running_average=not train,
        axis_name=self.axis_name,
        dtype=self.dtype,
        name=name,
        **options,
      )
      return layer(y, parts=parts, mask=mask)

    def conv(
      y: chex.Array, width: int, size: int, strides: Sequence[int], name: str
    ) -> chex.Array:
      # Padded alike on both sides, where "SAME" pads a strided 3 x 3 only at
      # the end: even images keep their centre.
      layer = _Conv(
        width,
        (size, size),
        strides,
        padding=size // 2,
        dtype=self.dtype,
        name=name,
      )
      return layer(y)

    if self.block == "bottleneck":
      features = 4 * self.width
      y = nn.relu(norm(conv(x, self.width, 1, (1, 1), "conv1"), "norm1"))
      y = nn.relu(norm(conv(y, self.width, 3, strides, "conv2"), "norm2"))
      y = conv(y, features, 1, (1, 1), "conv3")
      last = "norm3"
    else:
      features = self.width
      y = nn.relu(norm(conv(x, self.width, 3, strides, "conv1"), "norm1"))
      y = conv(y, features, 3, (1, 1), "conv2")
      last = "norm2"
    # As Goyal et al. (2017), section 5.1.
    y = norm(y, last, scale_init=nn.initializers.zeros)
    if x.shape != y.shape:
      x = conv(x, features, 1, strides, "conv_shortcut")
      x = norm(x, "norm_shortcut")
    return nn.relu(x + y)


class ResNet(nn.Module):
  """ResNet (He et al., 2016, https://arxiv.org/abs/1512.03385).

  The defaults are ResNet-50 v1.5 for ImageNet: 25,557,032 parameters with 1000
  classes. The CIFAR family of 6n+2 layers (section 4.2 there) is
  ResNet(10, stage_sizes=(n, n, n), width=16, block="basic", stem="small"), with
  projected shortcuts where the paper pads with zeros.

  Attributes:
    num_classes: K.
    stage_sizes: blocks in each stage; a stage doubles the width and, but for
      the first, halves the resolution.
    width: channels of the stem and of the first stage's 3 x 3 convolutions.
    block: "bottleneck" or "basic".
    stem: "imagenet" (7 x 7 of stride 2, then 3 x 3 max pooling of stride 2) or
      "small" (3 x 3 of stride 1).
    dtype: compute dtype; parameters, statistics, head and logits are float32.
    axis_name: mapped axis to take batch statistics over, see `BatchNorm`.
    remat: "none", or "blocks" to recompute each block in the backward pass.
  """

  num_classes: int
  stage_sizes: Sequence[int] = (3, 4, 6, 3)
  width: int = 64
  block: str = "bottleneck"
  stem: str = "imagenet"
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
        it, or `block`, `stem` or `remat` is unknown.
    """
    if self.block not in BLOCKS:
      raise ValueError(f"block must be one of {BLOCKS}, got {self.block!r}.")
    if self.stem not in STEMS:
      raise ValueError(f"stem must be one of {STEMS}, got {self.stem!r}.")
    block = interface.remat_block(ResidualBlock, self.remat)
    x = interface.as_images(x, self.dtype)
    tapped, x, parts, mask = interface.enter(self.stages, tap, x, parts, mask)

    conv = functools.partial(
      _Conv, self.width, dtype=self.dtype, name="conv_stem"
    )
    if self.stem == "imagenet":
      x = conv(kernel_size=(7, 7), strides=(2, 2), padding=3)(x)
    else:
      x = conv(kernel_size=(3, 3), padding=1)(x)
    x = BatchNorm(
      use_running_average=not train,
      axis_name=self.axis_name,
      dtype=self.dtype,
      name="norm_stem",
    )(x, parts=parts, mask=mask)
    x = nn.relu(x)
    if self.stem == "imagenet":
      x = nn.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))
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

    x, *_ = tapped("readout", interface.pool(x), parts, mask)
    head = nn.Dense(
      self.num_classes, kernel_init=interface.HEAD_INIT, name="head"
    )
    return head(x)
