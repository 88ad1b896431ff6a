"""CutMix: pasting a box of the partner, by a plan like `MixPlan`."""

from __future__ import annotations

from typing import Any

import chex
import flax.struct
import jax
import jax.numpy as jnp

from jaxmix import checks, masks, meshes, mixing, policies
from jaxmix.pairing import Local, Pairing, Source, permutation


@flax.struct.dataclass
class CutMixPlan:
  """One draw of boxes and partners.

  Attributes:
    lam: float32 [B], the fraction of the image's area that is kept.
    weight: float32 [B], the label weight: the same.
    partner: int32 [B], the partner's position in the source.
    box: int32 [B, 4], (top, bottom, left, right) in pixels, ends excluded.
    size: (height, width) of the images the boxes were drawn for, static.
    channel_axis: -1, or 1 where channels come before height and width, static.
    mean_shift: as in `MixPlan`: the DAT equivalent's E[1 - lam] of the Beta law
      that the areas are drawn from (before clipping, which makes boxes
      smaller).
    mask: bool [B], True for real examples; None means all are.
    source: where partners are looked up.

  Example:
    >>> images = jnp.array([[[1, 2], [3, 4]], [[5, 6], [7, 8]]])
    >>> lam, partner = jnp.array([0.5, 1.0]), jnp.array([1, 0])
    >>> box = jnp.array([[0, 1, 0, 2], [0, 0, 0, 0]])  # a row, nothing
    >>> jaxmix.CutMixPlan(lam, lam, partner, box, (2, 2)).mix(images).tolist()
    [[[5, 6], [3, 4]], [[5, 6], [7, 8]]]
  """

  lam: chex.Array
  weight: chex.Array
  partner: chex.Array
  box: chex.Array
  size: tuple[int, int] = flax.struct.field(pytree_node=False)
  mean_shift: chex.Numeric | None = None
  mask: chex.Array | None = None
  source: Source = Local()
  channel_axis: int = flax.struct.field(pytree_node=False, default=-1)

  def mix(
    self, tree: chex.ArrayTree, *, partners: chex.ArrayTree | None = None
  ) -> chex.ArrayTree:
    """Returns each leaf with the partner's pixels inside the box.

    Args:
      tree: pytree of [B, H, W, ...] arrays, of any dtype (nothing is averaged);
        with channel_axis=1 of [B, C, H, W, ...] and [B, H, W].
      partners: pytree like `tree` in which partners are looked up; None means
        the plan's own source.

    Returns:
      The pasted tree, shapes and dtypes kept.

    Raises:
      TypeError: if a leaf is no array.
      ValueError: if a leaf is not [B, H, W, ...] for the plan's B, H and W.
    """
    # A mask, not slices: boxes are traced and differ between examples.
    kept = ~inside(meshes.whole(self.box), self.size)
    return masks.paste(self, kept, tree, partners)

  def targets(self, labels: Any) -> Any:
    """Returns the labels of the pasted examples, see `MixPlan.targets`."""
    return mixing.mixed_targets(self, labels)


def draw_cutmix(
  key: chex.PRNGKey,
  image_shape: tuple[int, ...],
  *,
  alpha: chex.Numeric | None = None,
  policy: policies.MixingPolicy | None = None,
  pairing: Pairing = permutation,
  mask: chex.Array | None = None,
  channel_axis: int | None = None,
) -> CutMixPlan:
  """Draws boxes of area fraction about 1 - lam, uniformly centred.

  Yun et al., 2019, https://arxiv.org/abs/1905.04899, section 3: a box of sides
  H sqrt(1 - lam) and W sqrt(1 - lam) around a uniform pixel, clipped at the
  border. lam and weight are then the area really kept, after rounding and
  clipping. A side of an odd number of pixels is pasted whole; the authors' code
  pastes 2 (side // 2) of it.

  A policy with per_example=False gives one box a batch, as the authors' code
  does: one lam and one centre, whose box holds each example's partner. Where a
  policy's label weight is not lam (untied MixUp, DAT) it stays the policy's, of
  the lam drawn: DAT keeps labels whole.

  Args:
    key: PRNG key; give every replica its own.
    image_shape: (B, H, W, ...), static; (B, C, H, W) with channel_axis=1.
    alpha: Beta concentration, > 0; None means the paper's 1.
    policy: any policy of `jaxmix.policies`, instead of alpha.
    pairing: with whom, over the array the caller sees.
    mask: bool [B], True for real examples.
    channel_axis: 1 for [B, C, H, W], -1 for [B, H, W, C]. None means -1, but
      refuses a shape that looks like [B, C, H, W].

  Returns:
    The plan.

  Raises:
    TypeError: if `mask` is not boolean.
    ValueError: if `image_shape` has fewer than three axes or looks like (B, C,
      H, W), both alpha and policy are given, or as `draw`.

  Example:
    >>> plan = jaxmix.draw_cutmix(jax.random.key(0), (4, 8, 8, 3))
    >>> top, bottom, left, right = plan.box.T
    >>> pasted = (bottom - top) * (right - left) / 64
    >>> bool(jnp.allclose(plan.lam, 1 - pasted))
    True
  """
  channel_axis = masks.settled_channel_axis(image_shape, channel_axis)
  first = masks.height_axis(len(image_shape), channel_axis)
  size, (height, width) = image_shape[0], image_shape[first : first + 2]
  if policy is None:
    policy = policies.mixup(1.0 if alpha is None else alpha)
  elif alpha is not None:
    raise ValueError("alpha must be None beside a policy, which has its own.")
  key_plan, key_row, key_column = jax.random.split(checks.key(key), 3)
  plan = mixing.draw(key_plan, size, policy=policy, pairing=pairing, mask=mask)
  boxes = size if policy.per_example else 1
  # An example without a real partner has lam = 1, and so an empty box.
  side = jnp.sqrt(1.0 - plan.lam)

  def span(key, length):
    # The whole of an odd side, where Yun et al.'s code cuts 2 * (cut // 2).
    cut = jnp.floor(side * length).astype(jnp.int32)
    centre = jax.random.randint(key, (boxes,), 0, length, jnp.int32)
    start = jnp.clip(centre - cut // 2, 0, length)
    return start, jnp.clip(centre - cut // 2 + cut, 0, length)

  top, bottom = span(key_row, height)
  left, right = span(key_column, width)
  area = ((bottom - top) * (right - left)).astype(jnp.float32)
  # Not the lam drawn: labels say what is seen, after the border's clipping.
  kept = 1.0 - area / float(height * width)
  return CutMixPlan(
    lam=kept,
    weight=masks.label_weight(plan, kept),
    partner=plan.partner,
    box=jnp.stack([top, bottom, left, right], axis=-1),
    size=(height, width),
    channel_axis=channel_axis,
    # Of the law drawn from: clipped areas depend on H and W, too.
    mean_shift=plan.mean_shift,
    mask=plan.mask,
    source=plan.source,
  )


def cutmix(
  key: chex.PRNGKey,
  images: chex.ArrayTree,
  labels: Any,
  *,
  alpha: chex.Numeric | None = None,
  policy: policies.MixingPolicy | None = None,
  pairing: Pairing = permutation,
  mask: chex.Array | None = None,
  channel_axis: int | None = None,
) -> tuple[chex.ArrayTree, Any]:
  """Pastes a random box of each image's partner into it (CutMix).

  Yun et al., 2019, https://arxiv.org/abs/1905.04899; see `draw_cutmix`. The
  label weight is the area really kept after clipping.

  Args:
    key: PRNG key; give every replica its own.
    images: pytree of [B, H, W, ...] arrays of any dtype (segmentation masks
      too); with channel_axis=1 of [B, C, H, W] and [B, H, W].
    labels: [B] integer classes or [B, K] probabilities, or a pytree of them.
    alpha: Beta concentration, > 0; None means the paper's 1.
    policy: any policy of `jaxmix.policies`, instead of alpha; one of
      per_example=False gives one box a batch.
    pairing: with whom, over the array this function sees.
    mask: bool [B], True for real examples.
    channel_axis: 1 for [B, C, H, W], -1 for [B, H, W, C]; None means -1, but
      refuses images that look like [B, C, H, W].

  Returns:
    The pasted images, shapes and dtypes kept, and their `MixedTargets`.

  Raises:
    TypeError: if a leaf of `images` is no array, or as `draw_cutmix`.
    ValueError: if batch sizes differ, images are not [B, H, W, ...], or as
      `draw_cutmix`.

  Example:
    >>> images, labels = jnp.zeros((2, 8, 8)).at[1].set(1.0), jnp.array([0, 1])
    >>> mixed, targets = jaxmix.cutmix(
    ...   jax.random.key(0), images, labels, pairing=jaxmix.pairing.flip
    ... )
    >>> bool(jnp.allclose(mixed[0].mean(), 1 - targets.weight[0]))
    True
  """
  images = checks.arrays("images", images)
  checks.batch_size(images=images, labels=labels)
  # Of a mask beside an image, the image tells where channels are.
  shape = max((leaf.shape for leaf in jax.tree.leaves(images)), key=len)
  plan = draw_cutmix(
    key,
    shape,
    alpha=alpha,
    policy=policy,
    pairing=pairing,
    mask=mask,
    channel_axis=channel_axis,
  )
  return plan.mix(images), plan.targets(labels)


def inside(box: chex.Array, size: tuple[int, int]) -> chex.Array:
  """bool [B, H, W], whether each pixel is in its example's box.

  Args:
    box: int32 [B, 4], (top, bottom, left, right), ends excluded.
    size: (H, W).

  Returns:
    The masks.
  """
  top, bottom, left, right = (box[:, i, None, None] for i in range(4))
  row = jnp.arange(size[0], dtype=jnp.int32)[None, :, None]
  column = jnp.arange(size[1], dtype=jnp.int32)[None, None, :]
  return (top <= row) & (row < bottom) & (left <= column) & (column < right)
