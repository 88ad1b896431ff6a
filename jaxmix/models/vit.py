"""The vision transformer."""

from collections.abc import Sequence
from typing import Any

import chex
from flax import linen as nn
import jax.numpy as jnp

from jaxmix.models import interface
from jaxmix.models.transformer import (
  Dropout,
  DropPath,
  FeedForward,
  Implementation,
  SelfAttention,
  drop_path_rates,
  layer_norm,
)


class EncoderBlock(nn.Module):
  """x + attention(norm(x)), then x + mlp(norm(x)).

  Attributes:
    num_heads: of the attention.
    mlp_dim: hidden width of the MLP.
    dtype: compute dtype.
    dropout: rate after every dense layer but those of q, k and v.
    drop_path: rate of dropping a branch.
    attention_implementation: see `SelfAttention`.
  """

  num_heads: int
  mlp_dim: int
  dtype: Any
  dropout: float
  drop_path: float
  attention_implementation: Implementation

  @nn.compact
  def __call__(self, x: chex.Array, train: bool, parts: None) -> chex.Array:
    """Maps [B, T, D] to [B, T, D]."""
    del parts
    drop_path = DropPath(self.drop_path)
    y = layer_norm(x, "norm_attention")
    y = SelfAttention(
      features=x.shape[-1],
      num_heads=self.num_heads,
      dtype=self.dtype,
      implementation=self.attention_implementation,
      name="attention",
    )(y)
    y = Dropout(self.dropout)(y, train)
    x = x + drop_path(y, train)
    y = layer_norm(x, "norm_mlp")
    y = FeedForward(
      hidden=self.mlp_dim,
      dtype=self.dtype,
      dropout=self.dropout,
      # In the authors' code these biases alone do not start at 0.
      bias_init=nn.initializers.normal(1e-6),
      name="mlp",
    )(y, train)
    return x + drop_path(y, train)


class VisionTransformer(nn.Module):
  """ViT (Dosovitskiy et al., 2021, https://arxiv.org/abs/2010.11929).

  Equations (1) to (4): patches, a class token and learned position embeddings;
  blocks with the normalisation first; the head on the class token's last state.
  The defaults are ViT-B/16: 86,567,656 parameters with 1000 classes at 224 x
  224. Initialization is that of the authors' JAX code, as are the epsilon of
  1e-6 and the tanh form of GELU; the head is one zero-initialized layer (the
  paper adds a hidden tanh layer in pre-training only).

  Attributes:
    num_classes: K.
    patch_size: side of the square patches, in pixels.
    hidden_size: width D of the tokens.
    depth: number of blocks.
    num_heads: heads per attention; must divide `hidden_size`.
    mlp_dim: hidden width of the blocks' MLPs.
    dropout: rate after every dense layer but those of q, k and v, and after
      adding position embeddings (appendix B.1).
    drop_path: rate of dropping a branch in the last block; in the others it
      grows linearly from 0. Not in the paper.
    dtype: compute dtype; parameters, norm statistics, head and logits are
      float32.
    attention_implementation: None, "auto", "xla" or "cudnn", see
      `SelfAttention`.
    remat: "none", or "blocks" to recompute each block in the backward pass.
    axis_name: ignored, there are no batch statistics.
  """

  num_classes: int
  patch_size: int = 16
  hidden_size: int = 768
  depth: int = 12
  num_heads: int = 12
  mlp_dim: int = 3072
  dropout: float = 0.0
  drop_path: float = 0.0
  dtype: Any = jnp.float32
  attention_implementation: Implementation = None
  remat: str = "none"
  axis_name: str | None = None

  @property
  def stages(self) -> tuple[str, ...]:
    """The names of the places at which the features can be tapped."""
    blocks = (f"block{k + 1}" for k in range(self.depth))
    return ("input", "embedding", *blocks, "readout")

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
      x: [B, H, W, C] floats; `patch_size` divides H and W, which are those of
        initialization.
      train: drop out and drop paths, drawing from the collection "dropout".
      parts: checked and ignored, there are no batch statistics.
      tap: called as x, parts = tap(place, x, parts) at every place of `stages`,
        to mix there; see `jaxmix.hidden`.
      mask: checked and ignored, like `parts`.

    Returns:
      [B, K] float32 logits.

    Raises:
      TypeError: if x is not floating point, `parts` is not static or `mask` is
        not boolean.
      ValueError: if x does not have four axes or does not divide into patches,
        `parts` or `mask` does not fit it, `drop_path` is out of range, or
        `remat` is unknown.
    """
    block = interface.remat_block(EncoderBlock, self.remat)
    x = interface.as_images(x, self.dtype)
    tapped, x, parts, mask = interface.enter(self.stages, tap, x, parts, mask)
    batch, height, width, _ = x.shape
    if height % self.patch_size or width % self.patch_size:
      raise ValueError(
        f"patch_size must divide the image size, got patch_size"
        f" {self.patch_size} for images of {height} x {width}."
      )

    patch = (self.patch_size, self.patch_size)
    # Eq. (1)'s dense layer over flattened patches; to cut those out first would
    # transpose the images.
    x = nn.Conv(
      self.hidden_size,
      patch,
      strides=patch,
      padding="VALID",
      dtype=self.dtype,
      name="embedding",
    )(x)
    x = x.reshape(batch, -1, self.hidden_size)
    cls = self.param(
      "cls", nn.initializers.zeros, (1, 1, self.hidden_size), jnp.float32
    )
    cls = jnp.broadcast_to(cls.astype(self.dtype), (batch, 1, self.hidden_size))
    x = jnp.concatenate([cls, x], axis=1)
    position = self.param(
      "position_embedding",
      nn.initializers.normal(0.02),
      (1, x.shape[1], self.hidden_size),
      jnp.float32,
    )
    x = x + position.astype(self.dtype)
    x = Dropout(self.dropout)(x, train)
    x, parts, mask = tapped("embedding", x, parts, mask)

    for index, rate in enumerate(drop_path_rates(self.drop_path, self.depth)):
      # `remat_block` counts arguments: parts keep their place, though unused.
      x = block(
        num_heads=self.num_heads,
        mlp_dim=self.mlp_dim,
        dtype=self.dtype,
        dropout=self.dropout,
        drop_path=rate,
        attention_implementation=self.attention_implementation,
        name=f"block{index + 1}",
      )(x, train, None)
      x, parts, mask = tapped(f"block{index + 1}", x, parts, mask)

    # The norm works on each token alone: only the class token needs it.
    x = layer_norm(x[:, 0].astype(jnp.float32), "norm")
    x, *_ = tapped("readout", x, parts, mask)
    # Logits start at exactly 0, the uniform distribution.
    return nn.Dense(
      self.num_classes, kernel_init=nn.initializers.zeros, name="head"
    )(x)
