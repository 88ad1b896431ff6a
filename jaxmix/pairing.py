"""Pairings: whose partner each example is mixed with.

A pairing maps (key, batch_size, mask) to `Partners`. Partners are drawn over
the array that the calling code sees: the per-replica batch under `pmap` or
`shard_map`, the global batch (a cross-device gather) under `jit`. `ring` alone
looks beyond the replica. `optimal` and `by_label` choose by what the examples
hold, and are made for one batch, as `between` is.

With a mask, real examples (True) are paired among themselves; a padded example
is its own partner, so it is never mixed into a real one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import flax.struct
import jax
import jax.numpy as jnp

from jaxmix import checks, matching, meshes


@flax.struct.dataclass
class Local:
  """Partners come from the batch itself."""

  def inputs(self, tree: chex.ArrayTree) -> chex.ArrayTree:
    """Returns the tree that partner indices point into."""
    return tree

  def labels(self, labels: chex.Array) -> chex.Array:
    """Returns the labels that partner indices point into."""
    return labels


@flax.struct.dataclass
class Ring:
  """Partners come from the previous replica on a ring over `axis_name`."""

  axis_name: str = flax.struct.field(pytree_node=False)

  def inputs(self, tree: chex.ArrayTree) -> chex.ArrayTree:
    """Returns the previous replica's tree (one ppermute)."""
    size = jax.lax.axis_size(self.axis_name)
    ring = [(i, (i + 1) % size) for i in range(size)]
    return jax.tree.map(
      lambda x: jax.lax.ppermute(x, self.axis_name, ring), tree
    )

  def labels(self, labels: chex.Array) -> chex.Array:
    """Returns the previous replica's labels (one ppermute)."""
    return self.inputs(labels)


@flax.struct.dataclass
class Between:
  """Partners come from a second batch, held here."""

  held_inputs: Any
  held_labels: Any

  def inputs(self, tree: chex.ArrayTree) -> chex.ArrayTree:
    """Returns the second batch's inputs, checked to match `tree`.

    Raises:
      ValueError: if `tree` is not shaped like the inputs held, e.g. is a tree
        of hidden features.
    """
    held, given = _shapes(self.held_inputs), _shapes(tree)
    if held != given:
      raise ValueError(
        "pairing=between(partners) holds partners of structure and shapes "
        f"{held}, but the inputs to mix are {given}; to mix anything else "
        "(hidden features, say) pass plan.mix(x, partners=...)."
      )
    return self.held_inputs

  def labels(self, labels: chex.Array) -> chex.Array:
    """Returns the second batch's labels."""
    if _shapes(self.held_labels) != _shapes(labels):
      raise ValueError(
        "pairing=between(partners) holds labels of shape "
        f"{_shapes(self.held_labels)}, got {_shapes(labels)}."
      )
    return self.held_labels


Source = Local | Ring | Between


class Partners(NamedTuple):
  """Who is mixed with whom.

  Attributes:
    index: int32 [B], the position of each example's partner in the source.
    source: where that position is looked up.
    valid: bool [B], False where there is no real partner (such an example keeps
      lam = 1); None means there always is one.

  Example:
    >>> def twins(key, batch_size, mask=None):
    ...   return jaxmix.pairing.Partners(jnp.arange(batch_size) ^ 1)
    >>> policy = jaxmix.policies.mixup(1.0)
    >>> jaxmix.draw(jax.random.key(0), 4, policy=policy, pairing=twins).partner
    Array([1, 0, 3, 2], dtype=int32)
  """

  index: chex.Array
  source: Source = Local()
  valid: chex.Array | None = None


Pairing = Callable[[chex.PRNGKey, int, chex.Array | None], Partners]

# Rows up to which a TPU permutes by a product: its cost grows with the square,
# to 0.4 ms on v5e for this many images of 224 x 224.
_LARGEST_PRODUCT = 512


def look_up(x: chex.Array, index: chex.Array) -> chex.Array:
  """Returns x[index] along the first axis, indices clipped to it.

  On TPUs, bfloat16 arrays of up to 512 rows are permuted by a product with a
  one-hot matrix: the same values, but the product takes any layout, whereas the
  gather wants rows outermost and a convolution wants the batch innermost, so
  that images would be copied before and after.

  Where a mesh with explicit axes splits x or the index, the result's rows are
  split as the index, or as x where the index is whole, and the axes that follow
  as x's. Rows that are split are all-gathered, under automatic axes too: each
  device receives the whole batch (its part of the other axes) and keeps its own
  partners.

  Args:
    x: [B, ...] array.
    index: int32 [B'], rows of x.

  Returns:
    [B', ...], of x's dtype. On TPUs, a bfloat16 row with a value that is not
    finite comes as NaN throughout.

  Example:
    >>> jaxmix.pairing.look_up(jnp.array([5, 6, 7]), jnp.array([2, 0, 9]))
    Array([7, 5, 7], dtype=int32)
  """
  x, index = jnp.asarray(x), jnp.asarray(index)
  if meshes.is_split(x, index):
    return meshes.gather(x, index)
  # A TPU rounds a product's wider operands to bfloat16: exact for it alone.
  if x.dtype != jnp.bfloat16 or x.ndim < 2 or len(x) > _LARGEST_PRODUCT:
    return _gather(x, index)
  return jax.lax.platform_dependent(x, index, tpu=_product, default=_gather)


def _gather(x, index):
  # The default mode fills with nan, which costs a mask and a select.
  return jnp.take(x, index, axis=0, mode="clip")


def _product(x, index):
  """`look_up` by a product: a row times 1 plus all others times 0."""
  finite = jnp.isfinite(x)
  whole = finite.all(axis=tuple(range(1, x.ndim)))
  rows = jax.nn.one_hot(jnp.clip(index, 0, len(x) - 1), len(x), dtype=x.dtype)
  # 0 * inf is nan, in every other row.
  picked = jnp.einsum("ij,j...->i...", rows, jnp.where(finite, x, 0))
  whole = _gather(whole, index).reshape(-1, *(1,) * (x.ndim - 1))
  return jnp.where(whole, picked, jnp.nan)


def permutation(
  key: chex.PRNGKey, batch_size: int, mask: chex.Array | None = None
) -> Partners:
  """Each example's partner by a uniformly random permutation of the batch.

  Over the array the caller sees: the per-replica batch under `pmap` or
  `shard_map`, the global batch under `jit`. An example can be its own partner.

  Example:
    >>> mask = jnp.array([True, True, True, False])
    >>> partner = jaxmix.pairing.permutation(jax.random.key(0), 4, mask).index
    >>> sorted(partner[:3].tolist()), int(partner[3])
    ([0, 1, 2], 3)
  """
  order = jax.random.permutation(key, batch_size).astype(jnp.int32)
  if mask is None:
    return Partners(order)
  # A NumPy mask takes no traced index, and ranks need all of a split one.
  mask = meshes.whole(jnp.asarray(mask))
  ranks, _ = _ranks(mask)
  # The real examples in random order, then the padded ones in theirs.
  shuffled = order[jnp.argsort(~mask[order], stable=True)]
  return _among_real(mask, shuffled[jnp.where(mask, ranks, 0)])


def roll(
  key: chex.PRNGKey, batch_size: int, mask: chex.Array | None = None
) -> Partners:
  """Each example's partner is the next one; the last one's is the first.

  Deterministic, over the array the caller sees: the per-replica batch under
  `pmap` or `shard_map`, the global batch under `jit`. Needs batches already in
  random order.

  Example:
    >>> jaxmix.pairing.roll(jax.random.key(0), 4).index
    Array([1, 2, 3, 0], dtype=int32)
  """
  del key
  if mask is None:
    # Indices, not `jnp.roll`: labels and features are looked up by them, too.
    position = jnp.arange(batch_size, dtype=jnp.int32)
    return Partners((position + 1) % batch_size)
  mask = meshes.whole(jnp.asarray(mask))
  ranks, count = _ranks(mask)
  # The real examples first, in their order; a batch may hold none.
  nth = jnp.argsort(~mask, stable=True).astype(jnp.int32)
  return _among_real(mask, nth[(ranks + 1) % jnp.maximum(count, 1)])


def flip(
  key: chex.PRNGKey, batch_size: int, mask: chex.Array | None = None
) -> Partners:
  """Each example's partner is its mirror image in the batch, as timm mixes.

  Deterministic and symmetric, over the array the caller sees: the per-replica
  batch under `pmap` or `shard_map`, the global batch under `jit`. The middle
  example of an odd batch is its own partner. Needs batches already in random
  order.

  Example:
    >>> jaxmix.pairing.flip(jax.random.key(0), 5).index
    Array([4, 3, 2, 1, 0], dtype=int32)
  """
  del key
  if mask is None:
    return Partners(jnp.arange(batch_size - 1, -1, -1, dtype=jnp.int32))
  mask = meshes.whole(jnp.asarray(mask))
  ranks, count = _ranks(mask)
  nth = jnp.argsort(~mask, stable=True).astype(jnp.int32)
  return _among_real(mask, nth[jnp.maximum(count - 1 - ranks, 0)])


def ring(axis_name: str) -> Pairing:
  """Partners from the previous replica, randomly permuted there.

  Replica r mixes its examples with a random permutation of replica r - 1's (one
  ppermute of the inputs and one of the labels). For small per-replica batches,
  whose own pairs repeat. Over the neighbour's per-replica batch; needs `pmap`
  or `shard_map` and equal batch sizes. With masks, an example whose neighbour
  has no real example keeps lam = 1.

  Args:
    axis_name: the mapped axis to go around.

  Returns:
    The pairing.

  Raises:
    ValueError: when drawn where `axis_name` is not bound.

  Example:
    >>> labels = jnp.array([[0, 0], [1, 1], [2, 2]])  # three replicas of two
    >>> key, pairing = jax.random.key(0), jaxmix.pairing.ring("replica")
    >>> second = lambda x, y: jaxmix.mixup(key, x, y, pairing=pairing)[1].second
    >>> jax.vmap(second, axis_name="replica")(jnp.ones((3, 2)), labels).tolist()
    [[2, 2], [0, 0], [1, 1]]
  """

  def pair(key, batch_size, mask=None):
    checks.bound_axis(axis_name)
    source = Ring(axis_name)
    order = jax.random.permutation(key, batch_size).astype(jnp.int32)
    if mask is None:
      return Partners(order, source)
    mask = meshes.whole(jnp.asarray(mask))
    theirs = source.labels(mask)
    count = jnp.sum(theirs, dtype=jnp.int32)
    shuffled = order[jnp.argsort(~theirs[order], stable=True)]
    ranks, _ = _ranks(mask)
    # The neighbour may have fewer real examples than there are here: some are
    # then taken twice.
    index = shuffled[jnp.where(mask, ranks, 0) % jnp.maximum(count, 1)]
    return Partners(index, source, mask & (count > 0))

  return pair


def between(
  partners: tuple[chex.ArrayTree, chex.Array],
  mask: chex.Array | None = None,
) -> Pairing:
  """Partners from a second, independently drawn batch, position by position.

  The untied MixUp paper (2020, section 6.1) pairs two shuffled copies of the
  data set: closer to independent sampling than shuffling one batch.

  Args:
    partners: (inputs, labels) of the second batch, shaped like the first's.
    mask: bool [B], which of the second batch are real; None means all.

  Returns:
    The pairing. Its plan mixes inputs shaped like `partners`' only; for other
    trees use `plan.mix(x, partners=...)`.

  Raises:
    TypeError: if `partners` is not an (inputs, labels) pair.
    ValueError: if batch sizes differ.

  Example:
    >>> pairing = jaxmix.pairing.between((jnp.array([[8.0]]), jnp.array([5])))
    >>> policy = jaxmix.policies.mixup(1.0)
    >>> plan = jaxmix.draw(jax.random.key(0), 1, policy=policy, pairing=pairing)
    >>> plan.targets(jnp.array([2])).second.tolist()
    [5]
  """
  if not isinstance(partners, tuple) or len(partners) != 2:
    raise TypeError(
      "partners must be a pair (inputs, labels), got "
      f"{type(partners).__name__}."
    )
  held_inputs, held_labels = partners
  size = checks.batch_size(
    partner_inputs=held_inputs, partner_labels=held_labels
  )
  mask = checks.mask_array(mask, size)

  def pair(key, batch_size, own_mask=None):
    del key
    _same_size("partners", size, batch_size)
    valid = own_mask if mask is None else mask
    if own_mask is not None and mask is not None:
      valid = own_mask & mask
    position = jnp.arange(size, dtype=jnp.int32)
    return Partners(position, Between(held_inputs, held_labels), valid)

  return pair


def optimal(inputs: chex.ArrayTree, *, block: int = 16) -> Pairing:
  """Partners near by: optimal assignment within blocks (k-mixup).

  k-mixup (Greenewald et al., 2021, https://arxiv.org/abs/2106.02933, section 3)
  draws two sets of k examples and matches them by the permutation sigma that
  minimises sum_i |x_i - x_sigma(i)|^2, so that the mixture stays closer to the
  data. Here the first sets are the batch, cut into blocks of k, the second ones
  a random permutation of it, cut likewise; where k does not divide B the last
  block is smaller. In blocks of 1 it is `permutation`, draw by draw. The
  paper's lam is one for all k: per_example=False makes it one a batch.

  Over the array the caller sees: the per-replica batch under `pmap` or
  `shard_map`, the global batch under `jit`. Exact, on the device, all
  blocks at once: some k^3 operations each, k^2 / 2 of them in sequence. Needs
  batches already in random order. An example can be its own partner, and is so
  more often the larger its block.

  Args:
    inputs: pytree of [B, ...] floats, the batch that will be mixed; distances
      are over all leaves. Values that are not finite count as 0.
    block: k >= 1, static.

  Returns:
    The pairing, of batches of B.

  Raises:
    TypeError: if a leaf of `inputs` is not floating point, or block no integer.
    ValueError: if block < 1, or the batch has not B examples.

  Example:
    >>> x = jnp.array([[0.0], [9.0], [1.0], [8.0]])
    >>> pairing = jaxmix.pairing.optimal(x, block=4)
    >>> pairing(jax.random.key(0), 4, None).index.tolist()  # nearest: oneself
    [0, 1, 2, 3]
  """
  inputs = checks.floating("inputs", inputs)
  size = checks.batch_size(inputs=inputs)
  block = checks.count("block", block)

  def pair(key, batch_size, mask=None):
    _same_size("inputs", size, batch_size)
    if block == 1:
      return permutation(key, batch_size, mask)
    mask = None if mask is None else meshes.whole(jnp.asarray(mask))
    rows = matching.points(jax.tree.map(meshes.whole, inputs), mask)
    order = jax.random.permutation(key, batch_size).astype(jnp.int32)
    if mask is None:
      own = jnp.arange(batch_size, dtype=jnp.int32)
      return Partners(matching.in_blocks(rows, own, order, block))
    # Real ones first: blocks are of their ranks, whatever lies between them.
    own = jnp.argsort(~mask, stable=True).astype(jnp.int32)
    others = order[jnp.argsort(~mask[order], stable=True)]
    found = matching.in_blocks(rows, own, others, block, mask[own])
    return _among_real(mask, jnp.zeros_like(found).at[own].set(found))

  return pair


def by_label(labels: chex.Array, *, bandwidth: chex.Numeric) -> Pairing:
  """Partners of similar labels, for targets that are numbers (C-Mixup).

  Example i's partner is j with probability proportional to exp(-|y_i - y_j|^2 /
  (2 bandwidth^2)), independently for every i (Yao et al., 2022,
  https://arxiv.org/abs/2210.05775, eq. (6)), j = i included, as in
  `permutation`. The paper weighs by the whole training set; here, as in its
  batch-wise form, by the array the caller sees: the per-replica batch under
  `pmap` or `shard_map`, the global batch under `jit`. One example can be the
  partner of several. A large bandwidth draws uniformly, with replacement.

  Args:
    labels: [B] integers or floats, or [B, d] floats: the batch's targets.
    bandwidth: > 0, in the labels' unit; may be traced.

  Returns:
    The pairing, of batches of B.

  Raises:
    TypeError: if labels are neither integers nor floats.
    ValueError: if bandwidth is not above 0, or the batch has not B examples.

  Example:
    >>> labels = jnp.array([0, 9, 0, 9])
    >>> pairing = jaxmix.pairing.by_label(labels, bandwidth=1.0)
    >>> index = pairing(jax.random.key(0), 4, None).index
    >>> (index % 2).tolist()  # as the labels
    [0, 1, 0, 1]
  """
  checks.label_array("labels", labels)
  labels = jnp.asarray(labels)
  size = checks.batch_size(labels=labels)
  bandwidth = checks.scalar("bandwidth", bandwidth, low=0.0, open_low=True)

  def pair(key, batch_size, mask=None):
    _same_size("labels", size, batch_size)
    mask = None if mask is None else meshes.whole(jnp.asarray(mask))
    index = matching.near(key, meshes.whole(labels), bandwidth, mask)
    return Partners(index) if mask is None else _among_real(mask, index)

  return pair


def _same_size(name: str, size: int, batch_size: int) -> None:
  if batch_size != size:
    raise ValueError(
      f"{name} hold {size} examples, but the batch has {batch_size}."
    )


def _shapes(tree: chex.ArrayTree) -> Any:
  return jax.tree.map(jnp.shape, tree)


def _ranks(mask: chex.Array) -> tuple[chex.Array, chex.Array]:
  """Each real example's rank among the real ones, and how many there are."""
  ranks = jnp.cumsum(mask, dtype=jnp.int32) - 1
  return ranks, ranks[-1] + 1


def _among_real(mask: chex.Array, index: chex.Array) -> Partners:
  """Keeps `index` for real examples and makes padded ones their own partner."""
  own = jnp.arange(mask.shape[0], dtype=jnp.int32)
  return Partners(jnp.where(mask, index, own))
