"""A multilayer perceptron, for tabular data and for tests."""

from collections.abc import Sequence
from typing import Any

import chex
from flax import linen as nn
import jax.numpy as jnp

from jaxmix.models import interface


class MLP(nn.Module):
  """Dense layers with ReLU between them.

  With use_bias=False the logits are positively homogeneous in the input,
  f(c x) = c f(x) for c > 0, so that grad f(x) x = f(x): where MixupE's
  approximate and exact penalties agree.

  Attributes:
    num_classes: K.
    features: widths of the hidden layers.
    use_bias: whether layers, the head included, add a bias.
    dtype: compute dtype; parameters, head and logits are float32.
    axis_name: ignored, there are no batch statistics.
  """

  num_classes: int
  features: Sequence[int] = (128, 128)
  use_bias: bool = True
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @property
  def stages(self) -> tuple[str, ...]:
    """The names of the places at which the features can be tapped.

    The last hidden layer's are the read-out.
    """
    hidden = (f"dense{k + 1}" for k in range(len(self.features) - 1))
    return ("input", *hidden, "readout")

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
      x: [B, ...] floats, flattened to [B, D].
      train: ignored.
      parts: checked and ignored, there are no batch statistics.
      tap: called as x, parts = tap(place, x, parts) at every place of `stages`,
        to mix there; see `jaxmix.hidden`.
      mask: checked and ignored, like `parts`.

    Returns:
      [B, K] float32 logits.

    Raises:
      TypeError: if x is not floating point, `parts` is not static or `mask` is
        not boolean.
      ValueError: if `parts` or `mask` does not fit x.
    """
    del train
    if not jnp.issubdtype(x.dtype, jnp.floating):
      raise TypeError(f"x must be floats, got {x.dtype}: normalise it first.")
    x = x.astype(self.dtype)
    tapped, x, parts, mask = interface.enter(self.stages, tap, x, parts, mask)
    x = x.reshape(x.shape[0], -1)
    # He et al. (2015), https://arxiv.org/abs/1502.01852, eq. (10), for ReLU.
    for index, width in enumerate(self.features):
      layer = nn.Dense(
        width,
        use_bias=self.use_bias,
        kernel_init=nn.initializers.he_normal(),
        dtype=self.dtype,
        name=f"dense{index + 1}",
      )
      x = nn.relu(layer(x))
      if index < len(self.features) - 1:
        x, parts, mask = tapped(f"dense{index + 1}", x, parts, mask)
    # The head is small, and its logits would often tie in bfloat16.
    x, *_ = tapped("readout", x.astype(jnp.float32), parts, mask)
    # No ReLU follows: linen's own initialization, LeCun's, is for such a layer.
    return nn.Dense(self.num_classes, use_bias=self.use_bias, name="head")(x)
