"""VGG-11 and VGG-13 with batch normalisation."""

from collections.abc import Sequence
import functools
from typing import Any

import chex
from flax import linen as nn
import jax.numpy as jnp
import numpy as np

from jaxmix.models import interface
from jaxmix.models.norm import BatchNorm

# Of a stage's width to the first one's; those beyond keep the last.
_GROWTH = (1, 2, 4, 8, 8)


class VGGBlock(nn.Module):
  """relu(norm(conv(x))), the convolution 3 x 3.

  Attributes:
    width: channels.
    dtype: compute dtype.
    axis_name: see `BatchNorm`.
  """

  width: int
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
    """Maps [B, H, W, C] to [B, H, W, width]."""
    x = nn.Conv(
      self.width,
      (3, 3),
      padding=1,
      use_bias=False,  # batch norm would take it away again
      kernel_init=interface.CONV_INIT,
      dtype=self.dtype,
      name="conv",
    )(x)
    norm = BatchNorm(
      use_running_average=not train,
      axis_name=self.axis_name,
      dtype=self.dtype,
      name="norm",
    )
    return nn.relu(norm(x, parts=parts, mask=mask))


class VGG(nn.Module):
  """VGG (Simonyan and Zisserman, 2015, https://arxiv.org/abs/1409.1556).

  With batch norm, as everybody trains it since. The defaults are VGG-11's
  convolutions and the head in use for small images, a global mean and one
  dense layer: 9,228,362 parameters with 10 classes. ImageNet's form, less its
  dropout, is VGG(1000, pool_size=7, features=(4096, 4096)): 132,866,088.

  Attributes:
    num_classes: K.
    stage_sizes: convolutions in each stage; 2 x 2 max pooling follows a stage,
      and widths are 1, 2, 4, 8 and 8 times the first. VGG-13 has (2,) * 5.
    width: channels of the first stage.
    pool_size: features are averaged to so many rows and columns for the dense
      layers, whatever the images' size.
    features: widths of hidden dense layers, with ReLU.
    dtype: compute dtype; parameters, statistics, head and logits are float32.
    axis_name: mapped axis to take batch statistics over, see `BatchNorm`.
    remat: "none", or "blocks" to recompute each convolution with its norm in
      the backward pass.
  """

  num_classes: int
  stage_sizes: Sequence[int] = (1, 1, 2, 2, 2)
  width: int = 64
  pool_size: int = 1
  features: Sequence[int] = ()
  dtype: Any = jnp.float32
  axis_name: str | None = None
  remat: str = "none"

  @property
  def stages(self) -> tuple[str, ...]:
    """The names of the places at which the features can be tapped.

    The head's inputs are the read-out: the last hidden layer's, or the means.
    """
    stages = (f"stage{k + 1}" for k in range(len(self.stage_sizes)))
    hidden = (f"dense{k + 1}" for k in range(len(self.features) - 1))
    return ("input", *stages, *hidden, "readout")

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
        `BatchNorm`.

    Returns:
      [B, K] float32 logits.

    Raises:
      TypeError: if x is not floating point, `parts` is not static or `mask` is
        not bool.
      ValueError: if x does not have four axes or is too small, `parts` or
        `mask` does not fit it, or `remat` is unknown.
    """
    block = interface.remat_block(VGGBlock, self.remat)
    x = interface.as_images(x, self.dtype)
    interface.check_size(x, 2 ** len(self.stage_sizes))
    tapped, x, parts, mask = interface.enter(self.stages, tap, x, parts, mask)
    for stage, size in enumerate(self.stage_sizes):
      growth = _GROWTH[min(stage, len(_GROWTH) - 1)]
      for index in range(size):
        x = block(
          width=growth * self.width,
          dtype=self.dtype,
          axis_name=self.axis_name,
          name=f"stage{stage + 1}_block{index + 1}",
        )(x, train, parts, mask)
      x = interface.max_pool(x)
      x, parts, mask = tapped(f"stage{stage + 1}", x, parts, mask)
    x = adaptive_pool(x, self.pool_size).reshape(x.shape[0], -1)
    dense = functools.partial(
      nn.Dense, kernel_init=nn.initializers.he_normal(), dtype=self.dtype
    )
    for index, width in enumerate(self.features):
      name = f"dense{index + 1}"
      x = nn.relu(dense(width, name=name)(x))
      if index < len(self.features) - 1:
        x, parts, mask = tapped(name, x, parts, mask)
    x, *_ = tapped("readout", x.astype(jnp.float32), parts, mask)
    head = nn.Dense(
      self.num_classes, kernel_init=interface.HEAD_INIT, name="head"
    )
    return head(x)


def adaptive_pool(x: chex.Array, size: int) -> chex.Array:
  """Averages images to size x size, as torch's AdaptiveAvgPool2d.

  Cell k of n averages rows floor(k H / n) to ceil((k + 1) H / n) - 1, so that
  cells may overlap, and columns alike.

  Args:
    x: [B, H, W, C] floats.
    size: n; 1 is the global average.

  Returns:
    [B, n, n, C] float32.

  Example:
    >>> row = jnp.arange(3.0)[None, None, :, None]
    >>> jaxmix.models.vgg.adaptive_pool(row, 2)[0, 0, :, 0]
    Array([0.5, 1.5], dtype=float32)
  """
  if size == 1:
    return interface.pool(x)[:, None, None]
  rows, columns = (jnp.asarray(_cells(n, size)) for n in x.shape[1:3])
  return jnp.einsum(
    "kh,lw,bhwc->bklc",
    rows,
    columns,
    x.astype(jnp.float32),
    precision="highest",
  )


def _cells(length: int, size: int) -> np.ndarray:
  """[size, length] float32: a row's entries are its cell's shares."""
  weights = np.zeros((size, length), np.float32)
  for k in range(size):
    start, end = k * length // size, -(-(k + 1) * length // size)
    weights[k, start:end] = 1 / (end - start)
  return weights
