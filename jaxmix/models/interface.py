"""What the models share: how images come in and how logits go out."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

import chex
from flax import linen as nn
import jax
import jax.numpy as jnp

from jaxmix import checks
from jaxmix.models.norm import part_sizes

REMAT = ("none", "blocks")

# He et al. (2015), https://arxiv.org/abs/1502.01852, eq. (14): the variant that
# keeps the scale of gradients. Goyal et al. (2017),
# https://arxiv.org/abs/1706.02677, section 5.1, start ImageNet runs at batch
# 4096 from it, with the head's standard deviation 0.01.
CONV_INIT = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
HEAD_INIT = nn.initializers.normal(0.01)

Parts = tuple[int, ...] | None
# bool [B], True for real examples; None means all are.
Mask: TypeAlias = chex.Array | None
# (place, x, parts) -> (x, parts), see `jaxmix.hidden`.
Tap = Callable[[int, Any, Parts], tuple[Any, Parts]]

_Module = TypeVar("_Module", bound=type[nn.Module])


def as_images(images: chex.Array, dtype: Any) -> chex.Array:
  """Checks a model's input and casts it to the compute dtype.

  Args:
    images: [B, H, W, C] floats.
    dtype: the compute dtype.

  Returns:
    The images in `dtype`.

  Raises:
    TypeError: if the images are not floats.
    ValueError: if they do not have four axes.
  """
  if images.ndim != 4:
    raise ValueError(f"images must be [B, H, W, C], got shape {images.shape}.")
  if not jnp.issubdtype(images.dtype, jnp.floating):
    raise TypeError(
      f"images must be floats, got {images.dtype}: normalise them first."
    )
  return images.astype(dtype)


def max_pool(x: chex.Array) -> chex.Array:
  """Max pooling 2 x 2 of stride 2; an odd last row or column is left out.

  On a CPU it is a maximum of four strided slices, where XLA's window takes two
  to four times the time of a training step's forward and backward pass. TPUs
  keep the window, which moves half the bytes there.

  Args:
    x: [B, H, W, C].

  Returns:
    [B, H // 2, W // 2, C] of the same dtype. Where values tie, the gradient
    goes to one of them.
  """

  def slices(x: chex.Array) -> chex.Array:
    height, width = (side // 2 * 2 for side in x.shape[1:3])
    rows = larger(x[:, 0:height:2, :width], x[:, 1:height:2, :width])
    return larger(rows[:, :, 0::2], rows[:, :, 1::2])

  def larger(a: chex.Array, b: chex.Array) -> chex.Array:
    # The gradient of jnp.maximum goes to what equals the maximum: to none where
    # XLA computes that again, and rounds it otherwise.
    return jnp.where((a >= b) | jnp.isnan(a), a, b)

  def window(x: chex.Array) -> chex.Array:
    return nn.max_pool(x, (2, 2), (2, 2))

  return jax.lax.platform_dependent(x, cpu=slices, default=window)


def check_size(images: chex.Array, smallest: int) -> None:
  """Raises ValueError for images that pooling would leave nothing of.

  Args:
    images: [B, H, W, C].
    smallest: the least H, and the least W.
  """
  if min(images.shape[1:3]) < smallest:
    raise ValueError(
      f"images must be at least {smallest} x {smallest} for this model, got "
      f"{images.shape[1]} x {images.shape[2]}."
    )


def static_parts(
  parts: Sequence[int] | None, batch_size: int
) -> tuple[int, ...] | None:
  """Checks `parts` once per model; as a tuple it can key a remat cache.

  Args:
    parts: see `jaxmix.models.norm.BatchNorm`.
    batch_size: number of examples.

  Returns:
    None for None, else a tuple of ints.

  Raises:
    TypeError, ValueError: as `jaxmix.models.norm.part_sizes`.
  """
  return None if parts is None else part_sizes(parts, batch_size)


NamedTap = Callable[
  [str, chex.Array, Parts, Mask], tuple[chex.Array, Parts, Mask]
]


def enter(
  stages: Sequence[str],
  tap: Tap | None,
  x: chex.Array,
  parts: Sequence[int] | None,
  mask: Mask,
) -> tuple[NamedTap, chex.Array, Parts, Mask]:
  """Checks what a model was called with, and passes its first place.

  Args:
    stages: the names of the model's places, the first of them "input".
    tap: what the model was called with.
    x: [B, ...] in the compute dtype.
    parts: see `jaxmix.models.norm.BatchNorm`.
    mask: bool [B], or None.

  Returns:
    (the tap as of `named`, and x, parts and mask behind the input).

  Raises:
    TypeError, ValueError: as `static_parts` and `named`, or if the mask is not
      boolean or not of the batch.
  """
  tapped = named(tap, stages)
  own_parts = static_parts(parts, x.shape[0])
  checks.mask_array(mask, x.shape[0])
  return tapped, *tapped("input", x, own_parts, mask)


def named(tap: Tap | None, stages: Sequence[str]) -> NamedTap:
  """Returns the tap as models call it, by a place's name.

  Args:
    tap: what the model was called with; None is the identity.
    stages: the names of the model's places, in order.

  Returns:
    (name, x, parts, mask) -> (x, parts, mask).

  Raises:
    ValueError: if the tap is for a place that the model does not have, which
      would be left out without a word; or, where there is a mask, if it changes
      the batch's size and does not say which of the rows are real.
  """
  wanted = max(getattr(tap, "places", (0,)))
  if wanted >= len(stages):
    raise ValueError(
      f"tap is for place {wanted}, but the model's places are 0 to "
      f"{len(stages) - 1}: {', '.join(stages)}."
    )

  def call(
    name: str, x: chex.Array, parts: Parts, mask: Mask
  ) -> tuple[chex.Array, Parts, Mask]:
    if tap is None:
      return x, parts, mask
    before = x.shape[0]
    x, parts = tap(stages.index(name), x, parts)
    if mask is not None and x.shape[0] != before:
      follow = getattr(tap, "mask", None)
      if follow is None:
        raise ValueError(
          f"tap made a batch of {before} one of {x.shape[0]} at {name!r}, and "
          "the model has a mask: give the tap a method mask(mask), which "
          "returns that of the rows it made."
        )
      mask = follow(mask)
      checks.mask_array(mask, x.shape[0])
    return x, static_parts(parts, x.shape[0]), mask

  return call


def pool(x: chex.Array) -> chex.Array:
  """Global average: [B, H, W, C] of any float dtype to float32 [B, C]."""
  return jnp.mean(x, axis=(1, 2), dtype=jnp.float32)


def remat_block(block: _Module, remat: str) -> _Module:
  """Wraps a block called as block(x, train, parts, mask), by position.

  Args:
    block: linen module class.
    remat: "none", or "blocks" to keep only each block's input for the backward
      pass and compute the block again there. Batch norm's collectives run again
      too. Name the instances: the wrapper changes the class's automatic names.

  Returns:
    The class, wrapped or not.

  Raises:
    ValueError: if `remat` is neither.
  """
  if remat not in REMAT:
    raise ValueError(f"remat must be one of {REMAT}, got {remat!r}.")
  # Counted with self as 0, train and parts are arguments 2 and 3.
  return block if remat == "none" else nn.remat(block, static_argnums=(2, 3))
