"""Raw inputs to the model's floats, on the device, inside the step.

Batches travel to the device as they are stored, pixels as uint8: a quarter of
the bytes, and XLA fuses what is here with the mixing that follows.
"""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Scale(NamedTuple):
  """How a data set's raw inputs become floats.

  Scales compare by value where `to_float` does, so that data sets of one scale
  share compiled steps.

  Attributes:
    to_float: (tree of raw batches, dtype) -> tree of floats.
    bounds: the box, in raw units, in which attacks may move an input; None:
      attacks are refused.
  """

  to_float: Callable[..., Any]
  bounds: tuple[float, float] | None


@dataclasses.dataclass(frozen=True)
class Standardize:
  """(raw - mean) / std, one of each for every index of the last axis.

  Attributes:
    mean: in raw units; a single one stands for all indices.
    std: as `mean`, > 0.
  """

  mean: tuple[float, ...]
  std: tuple[float, ...]

  def __post_init__(self):
    """Checks what NaN and infinite inputs would otherwise come from."""
    if len(self.mean) != len(self.std):
      raise ValueError(
        "mean and std must be of one length, got "
        f"{len(self.mean)} and {len(self.std)}."
      )
    if not all(value > 0.0 for value in self.std):
      raise ValueError(
        f"std must be positive, got {self.std}; an index of the last axis that "
        "never changes tells nothing: leave it out."
      )

  def __call__(self, raw: Any, dtype: Any = jnp.float32) -> Any:
    """Returns `raw` standardised in float32, then cast to `dtype`."""

    def one(values):
      shape = (1,) * (jnp.ndim(values) - 1) + (-1,)
      mean, std = (
        jnp.asarray(np.asarray(numbers, np.float32).reshape(shape))
        for numbers in (self.mean, self.std)
      )
      # In float32 also where the model computes in bfloat16, which holds only
      # 8 bits: neighbouring grey levels would become one.
      values = jnp.asarray(values).astype(jnp.float32)
      return ((values - mean) / std).astype(dtype)

    return jax.tree.map(one, raw)


def pixels(mean: Any, std: Any) -> Scale:
  """Returns the scale of uint8 images: standardised, attacked within 0 .. 255.

  Args:
    mean: per channel, on the scale 0 .. 255.
    std: as `mean`.

  Example:
    >>> scale = pixels(mean=[127.5], std=[63.75])
    >>> scale.to_float(np.array([[[0], [255]]], np.uint8)).ravel().tolist()
    [-2.0, 2.0]
  """
  mean, std = (tuple(float(x) for x in numbers) for numbers in (mean, std))
  return Scale(Standardize(mean, std), (0.0, 255.0))
