"""CutMix: pasting a box of the partner, by a plan like `MixPlan`."""

from __future__ import annotations

from typing import Any

import chex
import flax.struct
import jax
import jax.numpy as jnp

from jaxmix import checks, meshes, mixing, policies
from jaxmix.pairing import Local, Pairing, Source, look_up, permutation


@flax.struct.dataclass
class CutMixPlan:
  """One draw of boxes and partners.

  Attributes:
    lam: float32 [B], the fraction of the image's area that is kept.
    weight: float32 [B], the label weight: the same.
    partner: int32 [B], the partner's position in the source.
    box: int32 [B, 4], (top, bottom, left, right) in pixels, ends excluded.
    size: (height, width) of the images the boxes were drawn for, static.
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

  def mix(
    self, tree: chex.ArrayTree, *, partners: chex.ArrayTree | None = None
  ) -> chex.ArrayTree:
    """Returns each leaf with the partner's pixels inside the box.

    Args:
      tree: pytree of [B, H, W, ...] arrays, of any dtype (nothing is averaged).
      partners: pytree like `tree` in which partners are looked up; None means
        the plan's own source.

    Returns:
      The pasted tree, shapes and dtypes kept.

    Raises:
      ValueError: if a leaf is not [B, H, W, ...] for the plan's B, H and W.
    """
    height, width = self.size
    for leaf in jax.tree.leaves(tree):
      if leaf.shape[:3] != (self.lam.shape[0], height, width):
        raise ValueError(
          f"inputs must be [{self.lam.shape[0]}, {height}, {width}, ...] "
          f"for this plan's boxes, got {leaf.shape}."
        )
    if partners is None:
      partners = self.source.inputs(tree)
    else:
      checks.same_shapes("partners", partners, tree)
    # A mask, not slices: boxes are traced and differ between examples.
    box, partner = meshes.whole(self.box), meshes.whole(self.partner)
    top, bottom, left, right = (box[:, i, None, None] for i in range(4))
    row = jnp.arange(height, dtype=jnp.int32)[None, :, None]
    column = jnp.arange(width, dtype=jnp.int32)[None, None, :]
    inside = (top <= row) & (row < bottom) & (left <= column) & (column < right)

    def paste(x, other):
      other = meshes.like(look_up(other, partner), x).astype(x.dtype)
      pasted = meshes.like(inside, x)
      return jnp.where(
        pasted.reshape(pasted.shape + (1,) * (x.ndim - 3)), other, x
      )

    return jax.tree.map(paste, tree, partners)

  def targets(self, labels: Any) -> Any:
    """Returns the labels of the pasted examples, see `MixPlan.targets`."""
    return mixing.mixed_targets(self, labels)


def draw_cutmix(
  key: chex.PRNGKey,
  image_shape: tuple[int, ...],
  *,
  alpha: chex.Numeric = 1.0,
  pairing: Pairing = permutation,
  mask: chex.Array | None = None,
) -> CutMixPlan:
  """Draws boxes of area fraction about 1 - lam, uniformly centred.

  Yun et al., 2019, https://arxiv.org/abs/1905.04899, section 3: a box of sides
  H sqrt(1 - lam) and W sqrt(1 - lam) around a uniform pixel, clipped at the
  border. lam and weight are then the area really kept, after rounding and
  clipping. A side of an odd number of pixels is pasted whole; the authors' code
  pastes 2 (side // 2) of it.

  Args:
    key: PRNG key; give every replica its own.
    image_shape: (B, H, W, ...), static.
    alpha: Beta concentration, > 0; the paper takes 1.
    pairing: with whom, over the array the caller sees.
    mask: bool [B], True for real examples.

  Returns:
    The plan.

  Raises:
    TypeError: if `mask` is not boolean.
    ValueError: if `image_shape` has fewer than three axes, or as `draw`.

  Example:
    >>> plan = jaxmix.draw_cutmix(jax.random.key(0), (4, 8, 8, 3))
    >>> top, bottom, left, right = plan.box.T
    >>> pasted = (bottom - top) * (right - left) / 64
    >>> bool(jnp.allclose(plan.lam, 1 - pasted))
    True
  """
  if len(image_shape) < 3:
    raise ValueError(
      f"image_shape must be (B, H, W, ...), got {tuple(image_shape)}."
    )
  size, height, width = image_shape[:3]
  key_plan, key_row, key_column = jax.random.split(key, 3)
  plan = mixing.draw(
    key_plan, size, policy=policies.mixup(alpha), pairing=pairing, mask=mask
  )
  # An example without a real partner has lam = 1, and so an empty box.
  side = jnp.sqrt(1.0 - plan.lam)

  def span(key, length):
    # The whole of an odd side, where Yun et al.'s code cuts 2 * (cut // 2).
    cut = jnp.floor(side * length).astype(jnp.int32)
    centre = jax.random.randint(key, (size,), 0, length, jnp.int32)
    start = jnp.clip(centre - cut // 2, 0, length)
    return start, jnp.clip(centre - cut // 2 + cut, 0, length)

  top, bottom = span(key_row, height)
  left, right = span(key_column, width)
  area = ((bottom - top) * (right - left)).astype(jnp.float32)
  # Not the lam drawn: labels say what is seen, after the border's clipping.
  kept = 1.0 - area / float(height * width)
  return CutMixPlan(
    lam=kept,
    weight=kept,
    partner=plan.partner,
    box=jnp.stack([top, bottom, left, right], axis=-1),
    size=(height, width),
    # Of the law drawn from: clipped areas depend on H and W, too.
    mean_shift=plan.mean_shift,
    mask=mask,
    source=plan.source,
  )


def cutmix(
  key: chex.PRNGKey,
  images: chex.ArrayTree,
  labels: Any,
  *,
  alpha: chex.Numeric = 1.0,
  pairing: Pairing = permutation,
  mask: chex.Array | None = None,
) -> tuple[chex.ArrayTree, Any]:
  """Pastes a random box of each image's partner into it (CutMix).

  Yun et al., 2019, https://arxiv.org/abs/1905.04899; see `draw_cutmix`. The
  label weight is the area really kept after clipping.

  Args:
    key: PRNG key; give every replica its own.
    images: pytree of [B, H, W, ...] arrays of any dtype (segmentation masks
      too).
    labels: [B] integer classes or [B, K] probabilities, or a pytree of them.
    alpha: Beta concentration, > 0.
    pairing: with whom, over the array this function sees.
    mask: bool [B], True for real examples.

  Returns:
    The pasted images, shapes and dtypes kept, and their `MixedTargets`.

  Raises:
    ValueError: if batch sizes differ, images are not [B, H, W, ...], or alpha
      is a number <= 0.

  Example:
    >>> images, labels = jnp.zeros((2, 8, 8)).at[1].set(1.0), jnp.array([0, 1])
    >>> mixed, targets = jaxmix.cutmix(
    ...   jax.random.key(0), images, labels, pairing=jaxmix.pairing.flip
    ... )
    >>> bool(jnp.allclose(mixed[0].mean(), 1 - targets.weight[0]))
    True
  """
  checks.batch_size(images=images, labels=labels)
  shape = jax.tree.leaves(images)[0].shape
  plan = draw_cutmix(key, shape, alpha=alpha, pairing=pairing, mask=mask)
  return plan.mix(images), plan.targets(labels)
