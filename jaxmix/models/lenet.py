"""LeNet, for small images and for spectrograms."""

from collections.abc import Sequence
from typing import Any

import chex
from flax import linen as nn
import jax.numpy as jnp

from jaxmix.models import interface

_SIZE = 5  # of the kernels


class LeNet(nn.Module):
  """Convolutions with max pooling, then dense layers (LeCun et al., 1998).

  Each convolution is 5 x 5 without padding, with ReLU and 2 x 2 max pooling.
  The papers that train it on Speech Commands give no sizes. The defaults are
  those in common use there: two convolutions of 20 channels and one hidden
  layer of 1000, 16,321,570 parameters on spectrograms of 160 x 101 with 30
  words, without the dropout that some add. LeNet-5 of 61,706 parameters on 32 x
  32 with 10 classes is widths=(6, 16), features=(120, 84).

  Attributes:
    num_classes: K.
    widths: channels of the convolutions.
    features: widths of the hidden dense layers.
    dtype: compute dtype; parameters, head and logits are float32.
    axis_name: ignored, there are no batch statistics.
  """

  num_classes: int
  widths: Sequence[int] = (20, 20)
  features: Sequence[int] = (1000,)
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @property
  def stages(self) -> tuple[str, ...]:
    """The names of the places at which the features can be tapped.

    The last hidden layer's are the read-out.
    """
    convolutions = (f"conv{k + 1}" for k in range(len(self.widths)))
    hidden = (f"dense{k + 1}" for k in range(len(self.features) - 1))
    return ("input", *convolutions, *hidden, "readout")

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
      train: ignored.
      parts: checked and ignored, there are no batch statistics.
      tap: called as x, parts = tap(place, x, parts) at every place of `stages`,
        to mix there; see `jaxmix.hidden`.
      mask: checked and ignored, like `parts`.

    Returns:
      [B, K] float32 logits.

    Raises:
      TypeError: if x is not floating point, `parts` is not static or `mask` is
        not bool.
      ValueError: if x does not have four axes or is too small, or `parts` or
        `mask` does not fit it.
    """
    del train
    x = interface.as_images(x, self.dtype)
    interface.check_size(x, _smallest(len(self.widths)))
    tapped, x, parts, mask = interface.enter(self.stages, tap, x, parts, mask)
    # He et al. (2015), https://arxiv.org/abs/1502.01852, eq. (10), for ReLU.
    options = dict(kernel_init=nn.initializers.he_normal(), dtype=self.dtype)
    for index, width in enumerate(self.widths):
      name = f"conv{index + 1}"
      layer = nn.Conv(
        width, (_SIZE, _SIZE), padding="VALID", name=name, **options
      )
      x = nn.relu(interface.max_pool(layer(x)))  # the order costs less
      x, parts, mask = tapped(name, x, parts, mask)
    x = x.reshape(x.shape[0], -1)
    for index, width in enumerate(self.features):
      name = f"dense{index + 1}"
      x = nn.relu(nn.Dense(width, name=name, **options)(x))
      if index < len(self.features) - 1:
        x, parts, mask = tapped(name, x, parts, mask)
    x, *_ = tapped("readout", x.astype(jnp.float32), parts, mask)
    # No ReLU follows: linen's own initialization, LeCun's, is for such a layer.
    return nn.Dense(self.num_classes, name="head")(x)


def _smallest(convolutions: int) -> int:
  """The side of the images that come out of the convolutions as one pixel."""
  side = 1
  for _ in range(convolutions):
    side = 2 * side + _SIZE - 1
  return side
