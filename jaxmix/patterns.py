"""ResizeMix, FMix and GridMix: masks of laws of their own (`masks.MaskPlan`).

For each a draw_NAME, whose plan mixes whatever it is given, and NAME, which
draws and mixes. Pixels are chosen, never blended, so that all take images of
any dtype, and label weights are the share of pixels really kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxmix import boxes, checks, masks, mixing, policies
from jaxmix.masks import MaskPlan
from jaxmix.pairing import Pairing, permutation


def draw_resizemix(
  key: chex.PRNGKey,
  image_shape: tuple[int, ...],
  *,
  policy: policies.MixingPolicy | None = None,
  pairing: Pairing = permutation,
  mask: chex.Array | None = None,
  channel_axis: int | None = None,
) -> MaskPlan:
  """Draws boxes as CutMix does; the whole partner is seen in each, resized.

  Qin et al., 2020, https://arxiv.org/abs/2012.11101: an object is never cut
  away, as it may be by CutMix. The sides are tau H and tau W around a uniform
  pixel, clipped at the border, and the partner is resized to what is left of
  them by its nearest pixels, as openmixup does. The label's weight is the area
  really kept. Released codes paste one box a batch: per_example=False of the
  policy.

  Args:
    key: PRNG key; give every replica its own.
    image_shape: (B, H, W, ...), static; (B, C, H, W) with channel_axis=1.
    policy: of lam = 1 - tau^2; None means policies.scaled(0.1, 0.8), the
      paper's.
    pairing: with whom, over the array the caller sees.
    mask: bool [B], True for real examples.
    channel_axis: as in `draw_cutmix`.

  Returns:
    The plan. Its mean_shift is the unclipped law's.

  Raises:
    TypeError, ValueError: as `draw_cutmix`.

  Example:
    >>> halves = jaxmix.policies.scaled(0.5, 0.5)  # sides
    >>> plan = jaxmix.draw_resizemix(
    ...   jax.random.key(0), (4, 8, 8, 3), policy=halves
    ... )
    >>> plan.masks.shape, bool((plan.lam >= 0.75).all())
    ((4, 8, 8), True)
  """
  policy = policies.scaled() if policy is None else policy
  cut = boxes.draw_cutmix(
    *(key, image_shape),
    policy=policy,
    pairing=pairing,
    mask=mask,
    channel_axis=channel_axis,
  )
  height, width = cut.size

  def source(start, stop, length):
    """Which of the partner's pixels stand at each place, inside the box."""
    place = jnp.arange(length, dtype=jnp.int32)[None] - start[:, None]
    seen = jnp.maximum(stop - start, 1)[:, None]
    return jnp.clip(place * length // seen, 0, length - 1)

  top, bottom, left, right = cut.box.T
  return _Drawn(cut, cut.size, cut.channel_axis).plan(
    ~boxes.inside(cut.box, cut.size),
    rows=source(top, bottom, height),
    columns=source(left, right, width),
  )


def draw_fmix(
  key: chex.PRNGKey,
  image_shape: tuple[int, ...],
  *,
  alpha: chex.Numeric | None = None,
  policy: policies.MixingPolicy | None = None,
  decay: chex.Numeric = 3.0,
  pairing: Pairing = permutation,
  mask: chex.Array | None = None,
  channel_axis: int | None = None,
) -> MaskPlan:
  """Draws masks of random shapes: where a low-frequency image is highest.

  Harris et al., 2020, https://arxiv.org/abs/2002.12047, section 4: complex
  Gaussian noise, divided by the frequency to the power of decay, is transformed
  back; of its real part the lam H W largest pixels stay. That number is
  rounded up or down with even chances, as in the authors' code, which draws one
  mask a batch (per_example=False of a policy) and takes the drawn lam for
  label weight, not the mask's mean. (It also fills two rows of the spectrum
  only.)

  An FFT and a sort a mask: on large images dearer than a box.

  Args:
    key: PRNG key; give every replica its own.
    image_shape: (B, H, W, ...), static; (B, C, H, W) with channel_axis=1.
    alpha: Beta concentration, > 0; None means the paper's 1.
    policy: any policy of `jaxmix.policies`, instead of alpha.
    decay: power of the frequency, > 0: larger values make rounder shapes.
    pairing: with whom, over the array the caller sees.
    mask: bool [B], True for real examples.
    channel_axis: as in `draw_cutmix`.

  Returns:
    The plan.

  Raises:
    TypeError: as `draw_cutmix`.
    ValueError: likewise, or if decay is a number <= 0.

  Example:
    >>> policy = jaxmix.policies.mixup(1.0)
    >>> plan = jaxmix.draw_fmix(jax.random.key(0), (4, 8, 8, 3), policy=policy)
    >>> bool((abs(plan.lam - plan.masks.mean((1, 2))) < 1e-6).all())
    True
  """
  decay = checks.scalar("decay", decay, low=0.0, open_low=True)
  key_plan, key_noise, key_round = jax.random.split(checks.key(key), 3)
  policy = _policy(alpha, policy)
  drawn = _draw(key_plan, image_shape, policy, pairing, mask, channel_axis)
  (height, width), lam = drawn.size, drawn.base.lam
  count = len(lam) if policy.per_example else 1
  shape = (2, count, height, width // 2 + 1)
  noise = jax.random.normal(key_noise, shape, jnp.float32)
  grey = low_frequency(noise, drawn.size, decay)
  grey = grey.reshape(count, -1)
  # How many pixels stay, and the lowest of them.
  pixels = height * width
  up = jax.random.bernoulli(key_round, 0.5, (count,))
  kept = jnp.where(up, jnp.ceil(lam * pixels), jnp.floor(lam * pixels))
  kept = kept.astype(jnp.int32)[:, None]
  lowest = jnp.clip(pixels - kept, 0, pixels - 1)
  lowest = jnp.take_along_axis(jnp.sort(grey, axis=1), lowest, axis=1)
  chosen = (grey >= lowest) & (kept > 0)
  return drawn.plan(chosen.reshape(len(lam), height, width))


def low_frequency(
  noise: chex.Array, size: tuple[int, int], decay: chex.Numeric
) -> chex.Array:
  """Images [N, H, W] of a spectrum that falls with the frequency.

  Args:
    noise: [2, N, H, W // 2 + 1], the real and the imaginary parts of a spectrum
      before it is divided by max(frequency, 1 / max(H, W))^decay.
    size: (H, W).
    decay: power of the frequency.

  Returns:
    Float32 images, on no scale of meaning.
  """
  rows, columns = np.fft.fftfreq(size[0])[:, None], np.fft.rfftfreq(size[1])
  frequency = np.maximum(np.hypot(rows, columns[None]), 1.0 / max(size))
  scale = jnp.asarray(frequency, jnp.float32) ** -decay
  scaled = noise * jnp.expand_dims(scale, (0, 1))
  return jnp.fft.irfft2(jax.lax.complex(*scaled), s=size)


def draw_gridmix(
  key: chex.PRNGKey,
  image_shape: tuple[int, ...],
  *,
  alpha: chex.Numeric | None = None,
  policy: policies.MixingPolicy | None = None,
  cells: tuple[int, int] = (2, 6),
  pairing: Pairing = permutation,
  mask: chex.Array | None = None,
  channel_axis: int | None = None,
) -> MaskPlan:
  """Draws grids of squares, in whose upper left corner the partner is seen.

  Baek et al., 2021, https://doi.org/10.1016/j.patcog.2020.107594, in the form
  that openmixup trains: `cells` squares fill the width, of ceil(W / cells)
  pixels a side, and a hole of floor(side sqrt(1 - lam)) of them, at least 1
  and at most side - 1, repeats in each. Its options that cut the grid out of
  the image are left out, as is the paper's loss of local patches.

  Args:
    key: PRNG key; give every replica its own.
    image_shape: (B, H, W, ...), static; (B, C, H, W) with channel_axis=1.
    alpha: Beta concentration, > 0; None means 1.
    policy: any policy of `jaxmix.policies`, instead of alpha.
    cells: the fewest and the most squares in a row, static; their number is
      uniform between. A square is at least two pixels wide.
    pairing: with whom, over the array the caller sees.
    mask: bool [B], True for real examples.
    channel_axis: as in `draw_cutmix`.

  Returns:
    The plan. Its mean_shift is that of the law of lam, which holes follow up to
    their rounding.

  Raises:
    TypeError: as `draw_cutmix`.
    ValueError: likewise, or if cells are not two rising integers in [1, W / 2].

  Example:
    >>> plan = jaxmix.draw_gridmix(jax.random.key(0), (4, 8, 8), cells=(2, 2))
    >>> bool((plan.masks[:, :4, :4] == plan.masks[:, 4:, 4:]).all())
    True
  """
  key_plan, key_cells = jax.random.split(checks.key(key))
  policy = _policy(alpha, policy)
  drawn = _draw(key_plan, image_shape, policy, pairing, mask, channel_axis)
  (height, width), lam = drawn.size, drawn.base.lam
  if len(cells) != 2 or not 1 <= cells[0] <= cells[1] <= width // 2:
    raise ValueError(
      f"cells must be two rising integers in [1, {width // 2}], half the "
      f"width of {width} pixels, got {cells}."
    )
  count = len(lam) if policy.per_example else 1
  number = jax.random.randint(key_cells, (count,), cells[0], cells[1] + 1)
  side = -(-width // number)
  hole = side.astype(jnp.float32) * jnp.sqrt(1.0 - lam)
  hole = jnp.floor(hole).astype(jnp.int32)
  # An example without a real partner, of lam = 1, has no hole at all.
  hole = jnp.where(lam == 1.0, 0, jnp.clip(hole, 1, side - 1))
  side, hole = (jnp.expand_dims(x, (1, 2)) for x in (side, hole))
  row = jnp.arange(height, dtype=jnp.int32)[None, :, None]
  column = jnp.arange(width, dtype=jnp.int32)[None, None, :]
  return drawn.plan(~((row % side < hole) & (column % side < hole)))


def resizemix(
  key: chex.PRNGKey,
  images: chex.ArrayTree,
  labels: Any,
  *,
  policy: policies.MixingPolicy | None = None,
  pairing: Pairing = permutation,
  mask: chex.Array | None = None,
  channel_axis: int | None = None,
) -> tuple[chex.ArrayTree, Any]:
  """Pastes a smaller copy of each image's partner into it (ResizeMix).

  Qin et al., 2020, https://arxiv.org/abs/2012.11101; see `draw_resizemix`.

  Args:
    key: PRNG key; give every replica its own.
    images: pytree of [B, H, W, ...] arrays of any dtype; with channel_axis=1 of
      [B, C, H, W] and [B, H, W].
    labels: [B] integer classes or [B, K] probabilities, or a pytree of them.
    policy: of lam = 1 - tau^2; None means policies.scaled(0.1, 0.8).
    pairing: with whom, over the array this function sees.
    mask: bool [B], True for real examples.
    channel_axis: as in `draw_cutmix`.

  Returns:
    The mixed images, shapes and dtypes kept, and their `MixedTargets`.

  Raises:
    TypeError, ValueError: as `draw_resizemix`, or if batch sizes differ.

  Example:
    >>> images, labels = jnp.zeros((2, 8, 8)).at[1].set(1.0), jnp.array([0, 1])
    >>> mixed, targets = jaxmix.resizemix(
    ...   jax.random.key(0), images, labels, pairing=jaxmix.pairing.flip
    ... )
    >>> bool(jnp.allclose(mixed[0].mean(), 1 - targets.weight[0]))
    True
  """
  common = dict(pairing=pairing, mask=mask, channel_axis=channel_axis)
  return _mix(draw_resizemix, key, images, labels, policy=policy, **common)


def fmix(
  key: chex.PRNGKey,
  images: chex.ArrayTree,
  labels: Any,
  *,
  alpha: chex.Numeric | None = None,
  policy: policies.MixingPolicy | None = None,
  decay: chex.Numeric = 3.0,
  pairing: Pairing = permutation,
  mask: chex.Array | None = None,
  channel_axis: int | None = None,
) -> tuple[chex.ArrayTree, Any]:
  """Mixes two images along random shapes (FMix).

  Harris et al., 2020, https://arxiv.org/abs/2002.12047; see `draw_fmix`.

  Args:
    key: PRNG key; give every replica its own.
    images: pytree of [B, H, W, ...] arrays of any dtype; with channel_axis=1 of
      [B, C, H, W] and [B, H, W].
    labels: [B] integer classes or [B, K] probabilities, or a pytree of them.
    alpha: Beta concentration, > 0; None means the paper's 1.
    policy: any policy of `jaxmix.policies`, instead of alpha.
    decay: power of the frequency, > 0.
    pairing: with whom, over the array this function sees.
    mask: bool [B], True for real examples.
    channel_axis: as in `draw_cutmix`.

  Returns:
    The mixed images, shapes and dtypes kept, and their `MixedTargets`.

  Raises:
    TypeError, ValueError: as `draw_fmix`, or if batch sizes differ.

  Example:
    >>> images, labels = jnp.zeros((2, 8, 8)).at[1].set(1.0), jnp.array([0, 1])
    >>> mixed, targets = jaxmix.fmix(
    ...   jax.random.key(0), images, labels, pairing=jaxmix.pairing.flip
    ... )
    >>> bool(jnp.allclose(mixed[0].mean(), 1 - targets.weight[0]))
    True
  """
  own = dict(alpha=alpha, policy=policy, decay=decay)
  common = dict(pairing=pairing, mask=mask, channel_axis=channel_axis)
  return _mix(draw_fmix, key, images, labels, **own, **common)


def gridmix(
  key: chex.PRNGKey,
  images: chex.ArrayTree,
  labels: Any,
  *,
  alpha: chex.Numeric | None = None,
  policy: policies.MixingPolicy | None = None,
  cells: tuple[int, int] = (2, 6),
  pairing: Pairing = permutation,
  mask: chex.Array | None = None,
  channel_axis: int | None = None,
) -> tuple[chex.ArrayTree, Any]:
  """Mixes two images by a grid of holes (GridMix).

  Baek et al., 2021, https://doi.org/10.1016/j.patcog.2020.107594; see
  `draw_gridmix`.

  Args:
    key: PRNG key; give every replica its own.
    images: pytree of [B, H, W, ...] arrays of any dtype; with channel_axis=1 of
      [B, C, H, W] and [B, H, W].
    labels: [B] integer classes or [B, K] probabilities, or a pytree of them.
    alpha: Beta concentration, > 0; None means 1.
    policy: any policy of `jaxmix.policies`, instead of alpha.
    cells: the fewest and the most squares in a row, static.
    pairing: with whom, over the array this function sees.
    mask: bool [B], True for real examples.
    channel_axis: as in `draw_cutmix`.

  Returns:
    The mixed images, shapes and dtypes kept, and their `MixedTargets`.

  Raises:
    TypeError, ValueError: as `draw_gridmix`, or if batch sizes differ.

  Example:
    >>> images, labels = jnp.zeros((2, 8, 8)).at[1].set(1.0), jnp.array([0, 1])
    >>> key, flip = jax.random.key(0), jaxmix.pairing.flip
    >>> both = jaxmix.gridmix(key, images, labels, cells=(2, 4), pairing=flip)
    >>> mixed, targets = both
    >>> bool(jnp.allclose(mixed[0].mean(), 1 - targets.weight[0]))
    True
  """
  own = dict(alpha=alpha, policy=policy, cells=cells)
  common = dict(pairing=pairing, mask=mask, channel_axis=channel_axis)
  return _mix(draw_gridmix, key, images, labels, **own, **common)


class _Drawn(NamedTuple):
  """A plan of (lam, weight, partner), for images of a size."""

  base: Any
  size: tuple[int, int]
  channel_axis: int

  def plan(self, kept: chex.Array, **places: chex.Array) -> MaskPlan:
    """The plan of boolean masks for it; places are rows= and columns=."""
    own = self.base
    lam = kept.astype(jnp.float32).mean((1, 2))
    return MaskPlan(
      lam=lam,
      weight=masks.label_weight(own, lam),
      partner=own.partner,
      masks=kept,
      mean_shift=own.mean_shift,
      mask=own.mask,
      source=own.source,
      channel_axis=self.channel_axis,
      **places,
    )


def _policy(alpha, policy):
  if policy is None:
    return policies.mixup(1.0 if alpha is None else alpha)
  if alpha is not None:
    raise ValueError("alpha must be None beside a policy, which has its own.")
  return policy


def _draw(key, image_shape, policy, pairing, mask, channel_axis) -> _Drawn:
  channel_axis = masks.settled_channel_axis(image_shape, channel_axis)
  first = masks.height_axis(len(image_shape), channel_axis)
  size = image_shape[first : first + 2]
  options = dict(policy=policy, pairing=pairing, mask=mask)
  return _Drawn(mixing.draw(key, image_shape[0], **options), size, channel_axis)


def _mix(draw: Callable[..., MaskPlan], key, images, labels, **options):
  images = checks.arrays("images", images)
  checks.batch_size(images=images, labels=labels)
  # Of a mask beside an image, the image tells where channels are.
  shape = max((leaf.shape for leaf in jax.tree.leaves(images)), key=len)
  plan = draw(key, shape, **options)
  return plan.mix(images), plan.targets(labels)
