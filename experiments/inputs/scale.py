"""Raw inputs to the model's floats: on the device, inside the step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Scale(NamedTuple):
  """How raw inputs become floats.

  Attributes:
    to_float: (batch of raw inputs, dtype) -> the model's inputs.
    bounds: the box, in raw units, in which attacks move; None: there is none,
      and attacks are refused.
  """

  to_float: Callable[[Any, Any], Any]
  bounds: tuple[float, float] | None


@dataclasses.dataclass(frozen=True)
class Standardize:
  """(x - mean) / std along the last axis; fused with mixing by XLA.

  Compares by value, as compiled programs are shared by what they hold.

  Attributes:
    mean: a number a channel, in raw units.
    std: likewise.
  """

  mean: tuple[float, ...]
  std: tuple[float, ...]

  def __call__(self, raw: jax.Array, dtype: Any = jnp.float32) -> jax.Array:
    """Returns [B, ..., C] floats of `dtype`, computed in float32."""
    shape = (1,) * (raw.ndim - 1) + (-1,)
    mean = jnp.asarray(self.mean, jnp.float32).reshape(shape)
    std = jnp.asarray(self.std, jnp.float32).reshape(shape)
    return ((raw.astype(jnp.float32) - mean) / std).astype(dtype)


def pixels(mean: Sequence[float], std: Sequence[float]) -> Scale:
  """The scale of uint8 images: per channel, on 0 .. 255."""
  return Scale(Standardize(tuple(mean), tuple(std)), (0.0, 255.0))
