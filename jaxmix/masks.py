"""Plans of a mask: how much of each pixel is the example's own.

CutMix (`boxes`), ResizeMix, FMix and GridMix (`patterns`) are masks drawn by
laws of their own; `mask_plan` takes any.
"""

from __future__ import annotations

from typing import Any

import chex
import flax.struct
import jax
import jax.numpy as jnp

from jaxmix import checks, meshes, mixing
from jaxmix.pairing import Local, Partners, Source, look_up


@flax.struct.dataclass
class MaskPlan:
  """One draw of masks and partners.

  Attributes:
    lam: float32 [B], the mean of each mask.
    weight: float32 [B], the label weight: the same, unless a policy says else.
    partner: int32 [B], the partner's position in the source.
    masks: [B, H, W], the weight of the example's own pixels: floats in [0, 1],
      or bool, True where the pixel stays.
    mean_shift: as in `MixPlan`; None on plans that never meet MixupE.
    mask: bool [B], True for real examples; None means all are.
    source: where partners are looked up.
    rows: int32 [B, H], which row of the partner is seen in each of these; None
      means the same. Likewise columns.
    columns: int32 [B, W], or None.
    channel_axis: -1, or 1 where channels come before height and width, static.

  Example:
    >>> masks = jnp.array([[[0.75, 0.25]], [[1.0, 1.0]]])
    >>> lam, partner = masks.mean((1, 2)), jnp.array([1, 0])
    >>> plan = jaxmix.MaskPlan(lam, lam, partner, masks)
    >>> plan.mix(jnp.array([[[0.0, 0.0]], [[8.0, 8.0]]])).tolist()
    [[[2.0, 6.0]], [[8.0, 8.0]]]
  """

  lam: chex.Array
  weight: chex.Array
  partner: chex.Array
  masks: chex.Array
  mean_shift: chex.Numeric | None = None
  mask: chex.Array | None = None
  source: Source = Local()
  rows: chex.Array | None = None
  columns: chex.Array | None = None
  channel_axis: int = flax.struct.field(pytree_node=False, default=-1)

  def mix(
    self, tree: chex.ArrayTree, *, partners: chex.ArrayTree | None = None
  ) -> chex.ArrayTree:
    """Returns m_i * x_i + (1 - m_i) * x_partner(i) for every leaf x.

    Boolean masks choose, whatever the dtype. Others blend, in float32 (or
    wider) and cast back; where a mask is 0 or 1 the pixel is one of the two
    exactly.

    Args:
      tree: pytree of [B, H, W, ...] arrays, floats unless masks are boolean;
        with channel_axis=1 of [B, C, H, W, ...] and [B, H, W].
      partners: pytree like `tree` in which partners are looked up; None means
        the plan's own source.

    Returns:
      The mixed tree, shapes and dtypes kept.

    Raises:
      TypeError: if a leaf is no array, or of a dtype that cannot be blended.
      ValueError: if a leaf is not [B, H, W, ...] for the plan's B, H and W.
    """
    if self.masks.dtype != jnp.bool_:
      tree = checks.floating("inputs", tree, mixed=True)
    return paste(self, self.masks, tree, partners, self.rows, self.columns)

  def targets(self, labels: Any) -> Any:
    """Returns the labels of the mixed examples, see `MixPlan.targets`."""
    return mixing.mixed_targets(self, labels)


def mask_plan(
  masks: chex.Array,
  partners: Partners | chex.Array,
  *,
  mean_shift: chex.Numeric | None = None,
  mask: chex.Array | None = None,
  channel_axis: int = -1,
) -> MaskPlan:
  """Returns the plan of any masks, their means for label weights.

  Args:
    masks: [B, H, W], the weight of the example's own pixels: floats in [0, 1],
      or bool, True where the pixel stays.
    partners: what a pairing returns, such as `pairing.flip(key, B, mask)`, or
      int32 [B], positions in the batch.
    mean_shift: of the law that masks are drawn from, MixupE's E[a_lambda]: E[2
      lam (1 - lam)] where lam is also the label's weight. None: MixupE refuses
      the plan.
    mask: bool [B], True for real examples.
    channel_axis: -1 for images [B, H, W, C], 1 for [B, C, H, W].

  Returns:
    The plan. Examples without a real partner keep all their pixels.

  Raises:
    TypeError: if masks are neither floats nor bool, or partners no integers.
    ValueError: if masks are not [B, H, W], or batch sizes differ.

  Example:
    >>> masks = jnp.broadcast_to(jnp.linspace(0, 1, 8), (4, 8, 8))
    >>> partners = jaxmix.pairing.flip(jax.random.key(0), 4)
    >>> plan = jaxmix.mask_plan(masks, partners)
    >>> plan.mix(jnp.ones((4, 8, 8, 3))).shape, plan.weight.tolist()
    ((4, 8, 8, 3), [0.5, 0.5, 0.5, 0.5])
  """
  masks = checks.arrays("masks", masks)
  if masks.ndim != 3:
    raise ValueError(f"masks must be [B, H, W], got shape {masks.shape}.")
  if masks.dtype != jnp.bool_ and not jnp.issubdtype(masks.dtype, jnp.floating):
    raise TypeError(
      f"masks must be floats in [0, 1], or bool, got {masks.dtype}."
    )
  if not isinstance(partners, Partners):
    partners = Partners(checks.arrays("partners", partners))
  if not jnp.issubdtype(jnp.result_type(partners.index), jnp.integer):
    raise TypeError(
      "partners must be integers, positions in the batch, got "
      f"{jnp.result_type(partners.index)}."
    )
  checks.batch_size(masks=masks, partners=partners.index)
  mask = checks.mask_array(mask, len(masks))
  if channel_axis not in (1, -1):
    raise ValueError(
      f"channel_axis must be 1, for [B, C, H, W], or -1, for [B, H, W, C]; got "
      f"{channel_axis!r}."
    )
  if partners.valid is not None:
    real = jnp.expand_dims(partners.valid, (1, 2))
    masks = jnp.where(real, masks, jnp.ones_like(masks))
  lam = masks.astype(jnp.float32).mean((1, 2))
  return MaskPlan(
    lam=lam,
    weight=lam,
    partner=jnp.asarray(partners.index, jnp.int32),
    masks=masks,
    mean_shift=mean_shift,
    mask=mask,
    source=partners.source,
    channel_axis=channel_axis,
  )


def paste(
  plan: Any,
  kept: chex.Array,
  tree: chex.ArrayTree,
  partners: chex.ArrayTree | None,
  rows: chex.Array | None = None,
  columns: chex.Array | None = None,
) -> chex.ArrayTree:
  """The shared body of `MaskPlan.mix` and `CutMixPlan.mix`.

  Args:
    plan: with partner, source and channel_axis.
    kept: [B, H, W], bool or floats, of the example's own pixels.
    tree: of [B, H, W, ...] arrays.
    partners: likewise, or None.
    rows: see `MaskPlan`, likewise columns.
    columns: or None.

  Returns:
    The mixed tree.

  Example:
    >>> kept, x = jnp.array([[[True, False]]]), jnp.array([[[1, 2]]])
    >>> plan = jaxmix.mask_plan(kept, jnp.array([0]))
    >>> jaxmix.masks.paste(plan, kept, x, x + 10).tolist()
    [[[1, 12]]]
  """
  tree = checks.arrays("inputs", tree)
  size, height, width = kept.shape
  for leaf in jax.tree.leaves(tree):
    first = height_axis(leaf.ndim, plan.channel_axis)
    if leaf.shape[:1] + leaf.shape[first : first + 2] != kept.shape:
      channels = "C, " if first == 2 else ""
      raise ValueError(
        f"inputs must be [{size}, {channels}{height}, {width}, ...] for this "
        f"plan's masks, got {leaf.shape}; a plan of channel_axis=1 is for "
        f"channels before height and width."
      )
  if partners is None:
    partners = plan.source.inputs(tree)
  else:
    checks.same_shapes("partners", partners, tree)
  partner = meshes.whole(plan.partner)

  def pasted(x, other):
    other = meshes.like(look_up(other, partner), x).astype(x.dtype)
    first = height_axis(x.ndim, plan.channel_axis)
    for axis, index in ((first, rows), (first + 1, columns)):
      if index is not None:
        other = meshes.like(_resampled(other, index, axis), x)
    spatial = (0, first, first + 1)
    own = jnp.expand_dims(kept, [k for k in range(x.ndim) if k not in spatial])
    own = meshes.like(own, x)
    if own.dtype == jnp.bool_:
      return jnp.where(own, x, other)
    wide = x.dtype if jnp.finfo(x.dtype).bits > 32 else jnp.float32
    own = own.astype(wide)
    blended = own * x.astype(wide) + (1.0 - own) * other.astype(wide)
    # 0 * inf is nan: what has no weight must not count.
    ends = jnp.where(own == 0.0, other, blended.astype(x.dtype))
    return jnp.where(own == 1.0, x, ends)

  return jax.tree.map(pasted, tree, partners)


def _resampled(x, index, axis):
  """x along one of its axes by an index [B, length] of each example's own."""
  others = [k for k in range(x.ndim) if k not in (0, axis)]
  index = jnp.expand_dims(meshes.whole(index), others)
  return jnp.take_along_axis(meshes.whole(x), index, axis)


def height_axis(ndim: int, channel_axis: int) -> int:
  """Where height is, and width behind it; [B, H, W] has no channels."""
  return 2 if channel_axis == 1 and ndim > 3 else 1


def label_weight(drawn: Any, kept: chex.Array) -> chex.Array:
  """The own label's weight where `kept` of the pixels stayed.

  What is seen, not the lam drawn; of a policy that unties the two (untied
  MixUp, DAT) the policy's.

  Args:
    drawn: with the lam and the weight that were drawn, [B].
    kept: float32 [B].

  Returns:
    float32 [B].
  """
  return jnp.where(drawn.weight == drawn.lam, kept, drawn.weight)


def settled_channel_axis(
  image_shape: tuple[int, ...], given: int | None
) -> int:
  """The channels' axis as 1 or -1.

  Args:
    image_shape: (B, H, W, ...) or (B, C, H, W, ...).
    given: 1, -1, the same counted from the other end, or None.

  Returns:
    1 or -1.

  Raises:
    ValueError: for a shape that is too short, or doubtful where none is given.
  """
  shape = tuple(image_shape)
  if len(shape) < 3:
    raise ValueError(f"image_shape must be (B, H, W, ...), got {shape}.")
  if given is None:
    if _looks_channels_first(shape):
      raise ValueError(
        f"image_shape must be (B, H, W, C), got {shape}, which looks like (B, "
        f"C, H, W); pass channel_axis=1 if it is, else channel_axis=-1."
      )
    return -1
  if given in (1, 1 - len(shape)):
    return 1
  if given in (-1, len(shape) - 1):
    return -1
  raise ValueError(
    f"channel_axis must be 1, for (B, C, H, W), or -1, for (B, H, W, C); got "
    f"{given!r}."
  )


def _looks_channels_first(shape):
  """Whether the second axis would be channels, and the last would not."""
  if len(shape) != 4:
    return False
  _, second, third, last = shape
  small = second <= 4 < last
  square = second in (1, 3) and last not in (1, 3) and third == last
  return small or square
