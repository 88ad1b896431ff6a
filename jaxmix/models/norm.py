"""Batch normalisation that knows its batch may be several batches in one."""

from collections.abc import Sequence
import itertools
import operator
from typing import Any

import chex
from flax import linen as nn
import jax
import jax.numpy as jnp

from jaxmix import checks
from jaxmix.holding import hold


class BatchNorm(nn.Module):
  """Normalises each channel by its batch statistics, piece by piece.

  y = a * x + b with a = scale / sqrt(var + epsilon) and b = bias - a * mean
  (Ioffe and Szegedy, 2015, https://arxiv.org/abs/1502.03167, Algorithm 1),
  where mean and var = E[x^2] - mean^2 (never below 0) are taken over all axes
  but the last.

  `parts=(B, m)` says that the batch is a concatenation of pieces of these
  sizes. Each piece is then normalised by its own statistics, and the running
  averages move once per piece, the first piece first: up to rounding this is
  what consecutive calls with the separate pieces would do, at the cost of one
  call with all of them. MixupE's clean pass uses it (ours, in no paper).

  With `axis_name` the statistics are means over that `pmap` or `shard_map`
  axis, all of a layer in one all-reduce. `parts` are a replica's sizes, the
  same on all, so these are the statistics of the global pieces. While
  initialising there is no collective, and the running averages stay at 0 and 1.

  With `mask` statistics are those of the real examples alone, counted over all
  replicas, which may hold different numbers of them: rows that only pad a batch
  change nothing for the others. They are normalised like these. A piece without
  any real example is normalised by the running averages, and leaves them alone.
  One real row of [N, C] has the variance 0 and comes out as the bias.

  Variables and defaults are `flax.linen.BatchNorm`'s ("params": scale, bias;
  "batch_stats": mean, var; all float32 [C]; var is the biased variance), except
  for momentum 0.9 instead of 0.99.

  Attributes:
    use_running_average: normalise by the running averages, as in evaluation;
      may be given to the call instead.
    axis_name: mapped axis to take the statistics over, or None.
    momentum: weight of the old running average in the new one, in [0, 1].
    epsilon: added to the variance.
    dtype: dtype of the result; None keeps the input's.
    scale_init: initializer of scale.
    bias_init: initializer of bias.
  """

  use_running_average: bool | None = None
  axis_name: str | None = None
  momentum: float = 0.9
  epsilon: float = 1e-5
  dtype: Any = None
  scale_init: nn.initializers.Initializer = nn.initializers.ones
  bias_init: nn.initializers.Initializer = nn.initializers.zeros

  @nn.compact
  def __call__(
    self,
    x: chex.Array,
    use_running_average: bool | None = None,
    *,
    parts: Sequence[int] | None = None,
    mask: chex.Array | None = None,
  ) -> chex.Array:
    """Normalises x.

    Args:
      x: [N, ..., C] floats. Statistics and the normalisation are float32.
      use_running_average: see the attribute; exactly one of the two is given.
      parts: static sizes of the pieces, positive and summing to N; None is one
        piece. Running averages serve all pieces alike.
      mask: bool [N], True for real examples; None means all are.

    Returns:
      [N, ..., C] in `dtype`.

    Raises:
      TypeError: if a size in `parts` is not a static integer, or `mask` is not
        boolean.
      ValueError: if one is not positive, or they do not sum to N, `mask` is not
        [N], or `axis_name` is not bound while training.
    """
    use_running_average = nn.merge_param(
      "use_running_average", self.use_running_average, use_running_average
    )
    sizes = part_sizes(parts, x.shape[0])
    checks.mask_array(mask, x.shape[0])
    spec = ((x.shape[-1],), jnp.float32)
    ra_mean = self.variable("batch_stats", "mean", jnp.zeros, *spec)
    ra_var = self.variable("batch_stats", "var", jnp.ones, *spec)
    scale = self.param("scale", self.scale_init, *spec)
    bias = self.param("bias", self.bias_init, *spec)

    # Read in the input's dtype, widened in registers: XLA fuses the conversion
    # into the reductions and into the affine map, so that float32 costs no
    # memory traffic, and bfloat16 does not cancel in a * x + b.
    wide = x.astype(jnp.float32)
    if use_running_average:
      mean, var = ra_mean.value[None], ra_var.value[None]
      sizes = (x.shape[0],)
    else:
      mean, var, some = self._statistics(wide, sizes, mask)
      # Those before this batch, also where it is the second piece that is void.
      mean = _where(some, mean, ra_mean.value[None])
      var = _where(some, var, ra_var.value[None])
      if not self.is_initializing():
        for piece in range(len(sizes)):
          real = None if some is None else some[piece]
          for average, value in ((ra_mean, mean), (ra_var, var)):
            moved = self._moved(average.value, value[piece])
            average.value = _where(real, moved, average.value)

    a = scale[None] * jax.lax.rsqrt(var + self.epsilon)
    b = bias[None] - a * mean
    y = _per_example(a, sizes, x.ndim) * wide + _per_example(b, sizes, x.ndim)
    return y.astype(x.dtype if self.dtype is None else self.dtype)

  def _statistics(
    self, x: chex.Array, sizes: tuple[int, ...], mask: chex.Array | None
  ) -> tuple[chex.Array, chex.Array, chex.Array | None]:
    """Returns mean and variance [P, C] of the P pieces, and which have any."""
    if mask is not None:
      real = jnp.asarray(mask).reshape(-1, *(1 for _ in x.shape[1:]))
      x = jnp.where(real, x, 0.0)
    means = [_piece_means(x, sizes), _piece_means(x * x, sizes)]
    if mask is not None:
      # Sums' denominators beside them: one collective for all.
      share = _piece_means(real.astype(jnp.float32), sizes)
      means.append(jnp.broadcast_to(share, means[0].shape))
    moments = jnp.stack(means)
    if self.axis_name is not None and not self.is_initializing():
      try:
        moments = jax.lax.pmean(moments, self.axis_name)
      except NameError as error:
        raise ValueError(
          f"BatchNorm's axis_name={self.axis_name!r} is not bound here. Train"
          " under jax.pmap or jax.shard_map with an axis of this name, or"
          " create the model with axis_name=None."
        ) from error
    some = None
    if mask is not None:
      some = moments[2] > 0.0
      moments = moments[:2] / jnp.where(some, moments[2], 1.0)[None]
    mean = moments[0]
    # Rounding can leave E[x^2] - mean^2 below 0, and rsqrt would give NaN. Not
    # by jnp.maximum, see `jaxmix.models.interface.max_pool`.
    mean, var = hold((mean, nn.relu(moments[1] - mean * mean)))
    return mean, var, some

  def _moved(self, average: chex.Array, value: chex.Array) -> chex.Array:
    return self.momentum * average + (1 - self.momentum) * value


def _where(
  condition: chex.Array | None, value: chex.Array, other: chex.Array
) -> chex.Array:
  """The value where the condition holds, or is None; elsewhere the other."""
  return value if condition is None else jnp.where(condition, value, other)


def part_sizes(parts: Sequence[int] | None, batch_size: int) -> tuple[int, ...]:
  """Checks `parts` against the batch and returns them as a tuple of ints.

  Args:
    parts: sizes of consecutive pieces of the batch; None is one piece.
    batch_size: number of examples in the batch.

  Returns:
    The sizes; (batch_size,) for None.

  Raises:
    TypeError: if a size is not a static integer.
    ValueError: if a size is not positive, or they do not sum to batch_size.
  """
  if parts is None:
    return (batch_size,)
  try:
    sizes = tuple(operator.index(size) for size in parts)
  except TypeError as error:
    raise TypeError(
      f"parts must be a tuple of static integers, got {parts}. Under jax.jit"
      " close over it or list it in static_argnames."
    ) from error
  if any(size <= 0 for size in sizes):
    raise ValueError(f"parts must be positive, got {sizes}.")
  if sum(sizes) != batch_size:
    raise ValueError(
      f"parts must sum to the batch size {batch_size}, got {sizes}, which"
      f" sum to {sum(sizes)}."
    )
  return sizes


def _piece_means(x: chex.Array, sizes: tuple[int, ...]) -> chex.Array:
  """Means of [N, ..., C] over all axes but the last, per piece: [P, C]."""
  if len(sizes) == 1:
    return jnp.mean(x, axis=tuple(range(x.ndim - 1)))[None]
  # First per example, over the whole batch in one go; what is then sliced per
  # piece is only [N, C], so the activations are neither cut nor read twice.
  examples = jnp.mean(x, axis=tuple(range(1, x.ndim - 1)))
  stops = tuple(itertools.accumulate(sizes))
  return jnp.stack(
    [
      jnp.mean(examples[stop - size : stop], axis=0)
      for size, stop in zip(sizes, stops, strict=True)
    ]
  )


def _per_example(
  values: chex.Array, sizes: tuple[int, ...], ndim: int
) -> chex.Array:
  """Lays [P, C] out to multiply [N, ..., C]: [N or 1, 1, ..., C]."""
  if len(sizes) > 1:
    # Broadcast and concatenate instead of indexing by example: the transpose
    # is then a sum over slices, not a scatter.
    values = jnp.concatenate(
      [
        jnp.broadcast_to(values[piece : piece + 1], (size, values.shape[1]))
        for piece, size in enumerate(sizes)
      ]
    )
  return values.reshape(values.shape[0], *(1,) * (ndim - 2), values.shape[1])
