"""CoAtNet: convolutions first, relative attention after."""

from collections.abc import Sequence
import functools
from typing import Any

import chex
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxmix.models import interface
from jaxmix.models.norm import BatchNorm
from jaxmix.models.transformer import (
  Dropout,
  DropPath,
  FeedForward,
  Implementation,
  SelfAttention,
  drop_path_rates,
  layer_norm,
)

# The paper is silent on initialization: as in our ResNet; for a depthwise
# kernel [3, 3, 1, C] its own fan-out is the computed fan-in.
_depthwise_init = nn.initializers.variance_scaling(2.0, "fan_in", "normal")


def _halve(x: chex.Array) -> chex.Array:
  """Max pooling 2 x 2 of stride 2; an odd last row or column stays."""
  return nn.max_pool(x, (2, 2), (2, 2), padding="SAME")


class SqueezeExcite(nn.Module):
  """Scales channels by gates from their means (Hu et al., 2018, 1709.01507).

  Attributes:
    hidden: width of the layer between means and gates.
    dtype: compute dtype.
  """

  hidden: int
  dtype: Any

  @nn.compact
  def __call__(self, x: chex.Array) -> chex.Array:
    """Maps [B, H, W, C] to the same shape."""
    # Summed in float32, over 3136 pixels in S1 of a 224 x 224 image.
    means = interface.pool(x).astype(self.dtype)
    # GELU as in the blocks around it; Hu et al. have ReLU, MaxViT's code SiLU.
    y = nn.gelu(nn.Dense(self.hidden, dtype=self.dtype, name="squeeze")(means))
    y = nn.Dense(x.shape[-1], dtype=self.dtype, name="excite")(y)
    return x * nn.sigmoid(y)[:, None, None, :]


class MBConv(nn.Module):
  """Inverted bottleneck with the norm first: shortcut(x) + branch(norm(x)).

  A block that halves the resolution does so in the branch's first convolution
  and in the shortcut: Proj(Pool(x)) + Conv(DepthConv(Conv(Norm(x), stride 2)))
  (Dai et al., appendix A.1, eq. (5)).

  Attributes:
    width: channels of the result.
    stride: 2, or 1 where x has `width` channels already.
    expansion: hidden channels per channel of the result.
    se_ratio: squeezed channels per channel of the result.
    drop_path: rate of dropping the branch.
    dtype: compute dtype.
    axis_name: see `BatchNorm`.
  """

  width: int
  stride: int
  expansion: int
  se_ratio: float
  drop_path: float
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
    """Maps [B, H, W, C] to [B, ceil(H / stride), ceil(W / stride), width]."""
    hidden = self.expansion * self.width

    def norm(y: chex.Array, name: str) -> chex.Array:
      layer = BatchNorm(
        use_running_average=not train,
        axis_name=self.axis_name,
        dtype=self.dtype,
        name=name,
      )
      return layer(y, parts=parts, mask=mask)

    conv = functools.partial(
      nn.Conv, dtype=self.dtype, kernel_init=interface.CONV_INIT
    )
    y = norm(x, "norm")
    # Strided, it drops three pixels of four, as eq. (5) has it. MobileNetV2
    # strides the depthwise one, which makes this one cost four times as much.
    y = conv(
      hidden,
      (1, 1),
      strides=(self.stride, self.stride),
      use_bias=False,
      name="expand",
    )(y)
    y = nn.gelu(norm(y, "norm_expand"))
    y = conv(
      hidden,
      (3, 3),
      feature_group_count=hidden,
      use_bias=False,
      kernel_init=_depthwise_init,
      name="depthwise",
    )(y)
    y = nn.gelu(norm(y, "norm_depthwise"))
    y = SqueezeExcite(
      hidden=max(1, int(self.se_ratio * self.width)),
      dtype=self.dtype,
      name="squeeze_excite",
    )(y)
    # With a bias, like the shortcut: no norm follows that would remove it.
    y = conv(self.width, (1, 1), name="project")(y)
    if self.stride > 1:
      x = conv(self.width, (1, 1), name="shortcut")(_halve(x))
    return x + DropPath(self.drop_path)(y, train)


def relative_bias(table: chex.Array, height: int, width: int) -> chex.Array:
  """Lays a table of relative positions out as a bias for all pairs.

  bias[n, (i, j), (k, l)] = table[n, k - i + height - 1, l - j + width - 1]: the
  w_{j-i} of Dai et al., eq. (3), for query (i, j) and key (k, l), tokens in
  row-major order.

  Args:
    table: [N, 2 height - 1, 2 width - 1] floats, one table per head.
    height: rows of the grid of tokens.
    width: columns of the grid.

  Returns:
    [N, height width, height width], the table's dtype.
  """

  def selector(size: int) -> chex.Array:
    query, key = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    offset = key - query + size - 1
    one_hot = offset[..., None] == np.arange(2 * size - 1)
    return jnp.asarray(one_hot, table.dtype)

  # Two small products instead of one gather: a gather's gradient is a scatter
  # of (height width)^2 numbers, which accelerators do one by one. At highest
  # precision a product with one-hot rows copies float32 exactly.
  highest = jax.lax.Precision.HIGHEST
  bias = jnp.einsum("nab,ika->nikb", table, selector(height), precision=highest)
  bias = jnp.einsum("nikb,jlb->nijkl", bias, selector(width), precision=highest)
  return bias.reshape(table.shape[0], height * width, height * width)


class TransformerBlock(nn.Module):
  """Relative attention and a feed-forward layer, each with the norm first.

  A block that halves the resolution pools on both sides of its attention:
  Proj(Pool(x)) + Attention(Pool(Norm(x))) (Dai et al., appendix A.1, eq. (4)).

  Attributes:
    width: channels of the result.
    stride: 2, or 1 where x has `width` channels already.
    head_dim: channels of a head; must divide `width`.
    expansion: hidden channels of the feed-forward layer per channel.
    dropout: rate after every dense layer but those of q, k and v.
    drop_path: rate of dropping a branch.
    dtype: compute dtype.
    attention_implementation: see `SelfAttention`.
  """

  width: int
  stride: int
  head_dim: int
  expansion: int
  dropout: float
  drop_path: float
  dtype: Any
  attention_implementation: Implementation

  @nn.compact
  def __call__(
    self,
    x: chex.Array,
    train: bool,
    parts: tuple[int, ...] | None,
    mask: chex.Array | None = None,
  ) -> chex.Array:
    """Maps [B, H, W, C] to [B, ceil(H / stride), ceil(W / stride), width]."""
    del parts, mask  # Layer norm sees each example alone.
    if self.width % self.head_dim:
      raise ValueError(
        f"head_dim must divide the width {self.width}, got {self.head_dim}."
      )
    num_heads = self.width // self.head_dim
    drop_path = DropPath(self.drop_path)

    y = layer_norm(x, "norm_attention")
    if self.stride > 1:
      x, y = _halve(x), _halve(y)
      x = nn.Dense(self.width, dtype=self.dtype, name="shortcut")(x)
    batch, height, width, channels = y.shape
    # The paper is silent on its initialization; 0.02 is ViT's for positions.
    table = self.param(
      "relative_bias",
      nn.initializers.normal(0.02),
      (num_heads, 2 * height - 1, 2 * width - 1),
      jnp.float32,
    )
    y = SelfAttention(
      features=self.width,
      num_heads=num_heads,
      dtype=self.dtype,
      implementation=self.attention_implementation,
      name="attention",
    )(
      y.reshape(batch, height * width, channels),
      relative_bias(table, height, width),
    )
    y = Dropout(self.dropout)(y, train)
    x = x + drop_path(y.reshape(x.shape), train)

    y = layer_norm(x, "norm_mlp")
    y = FeedForward(
      hidden=self.expansion * self.width,
      dtype=self.dtype,
      dropout=self.dropout,
      name="mlp",
    )(y, train)
    return x + drop_path(y, train)


class CoAtNet(nn.Module):
  """CoAtNet (Dai et al., 2021, https://arxiv.org/abs/2106.04803).

  Five stages, each halving the resolution in its first layer: S0 convolutions,
  S1 and S2 MBConv, S3 and S4 transformer blocks with relative attention; then
  global average pooling, layer norm and the head. The defaults are CoAtNet-0
  (table 3 there): 25,036,884 parameters with 1000 classes at 224 x 224.

  The paper has no code, and leaves open of what a quarter is squeezed, what the
  head is and how stochastic depth grows. Here as in the later code of the same
  authors' MaxViT (Tu et al., 2022, https://arxiv.org/abs/2204.01697): a quarter
  of the block's output, and a hidden tanh layer in the head. With these
  CoAtNet-0 to 3 have 25.0, 42.2, 74.7 and 167.0 M parameters, against the 25,
  42, 75 and 168 M of the paper's table 4; with a quarter of the expanded
  channels and a plain head it would be 25.2, 43.1, 76.2 and 170.4.

  Attributes:
    num_classes: K.
    stage_sizes: layers of S0 and blocks of S1 to S4.
    widths: channels of S0 to S4.
    expansion: of MBConv and feed-forward layers.
    se_ratio: squeezed channels per channel of an MBConv's result.
    head_dim: channels of an attention head; must divide S3's and S4's widths.
    dropout: rate after the transformer blocks' dense layers but those of q, k
      and v.
    drop_path: rate of dropping a branch; block l = 0 .. L-1 of S1 to S4's L
      has drop_path * l / L, so that the last has a little less. The paper's
      CoAtNet-0 trains with 0.2 on ImageNet-1k.
    dtype: compute dtype; parameters, norm statistics, head and logits are
      float32.
    axis_name: mapped axis to take batch statistics over, see `BatchNorm`.
    attention_implementation: None, "auto", "xla" or "cudnn", see
      `SelfAttention`.
    remat: "none", or "blocks" to recompute each block in the backward pass.
  """

  num_classes: int
  stage_sizes: Sequence[int] = (2, 2, 3, 5, 2)
  widths: Sequence[int] = (64, 96, 192, 384, 768)
  expansion: int = 4
  se_ratio: float = 0.25
  head_dim: int = 32
  dropout: float = 0.0
  drop_path: float = 0.0
  dtype: Any = jnp.float32
  axis_name: str | None = None
  attention_implementation: Implementation = None
  remat: str = "none"

  @property
  def stages(self) -> tuple[str, ...]:
    """The names of the places at which the features can be tapped."""
    return ("input", "s0", "s1", "s2", "s3", "s4", "readout")

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
      x: [B, H, W, C] floats, H and W those of initialization.
      train: normalise by batch statistics and update the running averages (make
        "batch_stats" mutable), drop out and drop paths, drawing from the
        collection "dropout".
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
        it, `stage_sizes` or `widths` does not have five entries, `drop_path` is
        out of range, `head_dim` does not divide a width, or `remat` is unknown.
    """
    for name, value in (
      ("stage_sizes", self.stage_sizes),
      ("widths", self.widths),
    ):
      if len(value) != 5:
        raise ValueError(f"{name} must have 5 entries, S0 to S4, got {value}.")
    mbconv = interface.remat_block(MBConv, self.remat)
    transformer = interface.remat_block(TransformerBlock, self.remat)
    x = interface.as_images(x, self.dtype)
    tapped, x, parts, mask = interface.enter(self.stages, tap, x, parts, mask)

    for index in range(self.stage_sizes[0]):
      x = self._stem(x, index, train, parts, mask)
    x, parts, mask = tapped("s0", x, parts, mask)

    # The full rate is that of the block after the last.
    depth = sum(self.stage_sizes[1:])
    rates = iter(drop_path_rates(self.drop_path, depth + 1))
    for stage in range(1, 5):
      for index in range(self.stage_sizes[stage]):
        common: dict[str, Any] = {
          "width": self.widths[stage],
          "stride": 2 if index == 0 else 1,
          "expansion": self.expansion,
          "drop_path": next(rates),
          "dtype": self.dtype,
          "name": f"stage{stage}_block{index + 1}",
        }
        if stage < 3:
          block: nn.Module = mbconv(
            se_ratio=self.se_ratio, axis_name=self.axis_name, **common
          )
        else:
          block = transformer(
            head_dim=self.head_dim,
            dropout=self.dropout,
            attention_implementation=self.attention_implementation,
            **common,
          )
        x = block(x, train, parts, mask)
      x, parts, mask = tapped(f"s{stage}", x, parts, mask)

    x = layer_norm(interface.pool(x), "norm")
    hidden = nn.Dense(
      self.widths[4],
      kernel_init=nn.initializers.xavier_uniform(),
      name="head_hidden",
    )
    x, *_ = tapped("readout", nn.tanh(hidden(x)), parts, mask)
    # As in our ResNet (Goyal et al., 2017); the paper does not say.
    return nn.Dense(
      self.num_classes,
      kernel_init=nn.initializers.normal(0.01),
      name="head",
    )(x)

  def _stem(
    self,
    x: chex.Array,
    index: int,
    train: bool,
    parts: tuple[int, ...] | None,
    mask: chex.Array | None,
  ) -> chex.Array:
    """A layer of S0; all but the last are followed by norm and GELU.

    S1 starts with a norm of its own.
    """
    last = index == self.stage_sizes[0] - 1
    stride = 2 if index == 0 else 1
    x = nn.Conv(
      self.widths[0],
      (3, 3),
      strides=(stride, stride),
      # A norm would remove it; on S1's shortcut none follows the last one.
      use_bias=last,
      dtype=self.dtype,
      kernel_init=interface.CONV_INIT,
      name=f"stem_conv{index + 1}",
    )(x)
    if last:
      return x
    x = BatchNorm(
      use_running_average=not train,
      axis_name=self.axis_name,
      dtype=self.dtype,
      name=f"stem_norm{index + 1}",
    )(x, parts=parts, mask=mask)
    return nn.gelu(x)
