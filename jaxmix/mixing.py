"""MixPlan: one draw of who is mixed with whom, and its application.

Drawing is apart from applying, so that one plan mixes images, masks, hidden
features or read-outs alike, and the deterministic half can be checked by hand.
"""

from __future__ import annotations

from typing import Any, Protocol

import chex
import flax.struct
import jax
import jax.numpy as jnp

from jaxmix import checks, losses, meshes, policies
from jaxmix.losses import MixedTargets
from jaxmix.pairing import Local, Pairing, Source, look_up, permutation


class Plan(Protocol):
  """What MixupE and hidden mixing ask of a plan; your own may be another class.

  `MixPlan` and `CutMixPlan` are plans.
  """

  @property
  def lam(self) -> chex.Array:
    """float32 [B], how much of the example itself is kept."""
    ...

  @property
  def weight(self) -> chex.Array:
    """float32 [B], the weight of its own label."""
    ...

  @property
  def mean_shift(self) -> chex.Numeric | None:
    """E[1 - lam] under the DAT equivalent; None if no penalty asks for it."""
    ...

  @property
  def mask(self) -> chex.Array | None:
    """bool [B], True for real examples; None means all are."""
    ...

  def mix(self, tree: chex.ArrayTree, /) -> chex.ArrayTree:
    """Returns the mixed tree, shapes and dtypes kept."""
    ...

  def targets(self, labels: Any, /) -> Any:
    """Returns `MixedTargets`, or a pytree of them for one of labels."""
    ...


@flax.struct.dataclass
class MixPlan:
  """One draw: lam, label weight and partner of every example.

  Attributes:
    lam: float32 [B], the weight of the example itself.
    weight: float32 [B], the weight of its own label.
    partner: int32 [B], its partner's position in the source.
    mean_shift: E[1 - lam] under the policy's DAT equivalent, MixupE's
      E[a_lambda]; None on plans made by hand that never meet MixupE.
    mask: bool [B], True for real examples; None means all are.
    source: where partners are looked up: in the batch itself, in the previous
      replica's, or in a second batch.

  Example:
    >>> lam, partner = jnp.array([0.75, 1.0]), jnp.array([1, 0])
    >>> plan = jaxmix.MixPlan(lam=lam, weight=lam, partner=partner)
    >>> plan.mix(jnp.array([0.0, 8.0]))
    Array([2., 8.], dtype=float32)
  """

  lam: chex.Array
  weight: chex.Array
  partner: chex.Array
  mean_shift: chex.Numeric | None = None
  mask: chex.Array | None = None
  source: Source = Local()

  def mix(
    self, tree: chex.ArrayTree, *, partners: chex.ArrayTree | None = None
  ) -> chex.ArrayTree:
    """Returns lam_i * x_i + (1 - lam_i) * x_partner(i) for every leaf x.

    Computed in float32 (or wider) and cast back: lam needs more than bfloat16's
    8 bits. Where lam = 1 the result is x exactly.

    Args:
      tree: pytree of [B, ...] floats.
      partners: pytree like `tree` in which partners are looked up; None means
        the plan's own source.

    Returns:
      The mixed tree, shapes and dtypes kept.

    Raises:
      TypeError: if a leaf is not floating point.
      ValueError: if a leaf's leading axis is not B, or partners are shaped
        otherwise.
    """
    tree = checks.floating("inputs", tree, mixed=True)
    checks.batch_size(plan=self.lam, inputs=tree)
    if partners is None:
      partners = self.source.inputs(tree)
    else:
      checks.same_shapes("partners", partners, tree)
    lam, partner = self.lam, meshes.whole(self.partner)

    def blend(x, other):
      wide = x.dtype if jnp.finfo(x.dtype).bits > 32 else jnp.float32
      own = losses.expand(meshes.like(lam, x), x.ndim).astype(wide)
      # Looked up before it is widened: bfloat16 rows are half the bytes,
      # and the only ones that a TPU permutes by a product.
      other = meshes.like(look_up(other, partner), x).astype(wide)
      # Two products, not x + (1 - lam) (other - x): at lam = 0 that sum rounds,
      # and this is the partner exactly.
      mixed = own * x.astype(wide) + (1.0 - own) * other
      # 0 * inf is nan: a partner of no weight must not count.
      return jnp.where(own == 1.0, x, mixed.astype(x.dtype))

    return jax.tree.map(blend, tree, partners)

  def targets(self, labels: Any) -> Any:
    """Returns the labels of the mixed examples, integers left integers.

    Args:
      labels: [B] integer classes or [B, K] probabilities, or a pytree of such
        arrays, one for each head of a model.

    Returns:
      `MixedTargets`; for a pytree of labels, the same pytree of them.

    Raises:
      TypeError: if labels are neither integers nor floats, or mixed already.
      ValueError: if a leading axis is not B.
    """
    return mixed_targets(self, labels)


def mixed_targets(plan: Any, labels: Any) -> Any:
  """The shared body of `MixPlan.targets` and `CutMixPlan.targets`.

  Args:
    plan: with lam, weight, partner and source, as `MixPlan` has.
    labels: [B] integer classes or [B, K] probabilities, or a pytree of them.

  Returns:
    The labels of the mixed examples, leaf by leaf.

  Example:
    >>> lam, partner = jnp.array([0.75, 1.0]), jnp.array([1, 0])
    >>> plan = jaxmix.MixPlan(lam=lam, weight=lam, partner=partner)
    >>> jaxmix.mixing.mixed_targets(plan, jnp.array([3, 5])).second
    Array([5, 3], dtype=int32)
  """
  is_mixed = lambda node: isinstance(node, MixedTargets)
  if any(map(is_mixed, jax.tree.leaves(labels, is_leaf=is_mixed))):
    raise TypeError(
      "labels are MixedTargets, mixed already; to mix them again pass "
      "targets.dense(num_classes)."
    )
  checks.batch_size(plan=plan.lam, labels=labels)
  jax.tree.map(lambda leaf: checks.label_array("labels", leaf), labels)
  labels = jax.tree.map(jnp.asarray, labels)

  def pair(own, others):
    checks.label_array("the partners' labels", others)
    kinds = [
      jnp.issubdtype(jnp.result_type(one), jnp.integer) for one in (own, others)
    ]
    if kinds[0] != kinds[1]:
      raise TypeError(
        "both batches' labels must be integer classes, or both probabilities, "
        f"got {own.dtype} and {jnp.result_type(others)}."
      )
    # Side by side, not blended: target-linear losses need no [B, K] one-hot.
    second = look_up(others, meshes.whole(plan.partner))
    return MixedTargets(
      own, meshes.like(second, own), meshes.like(plan.weight, own)
    )

  # Leaf by leaf, as the inputs: a model of several heads has several labels.
  return jax.tree.map(pair, labels, plan.source.labels(labels))


def draw(
  key: chex.PRNGKey,
  batch_size: int,
  *,
  policy: policies.MixingPolicy,
  pairing: Pairing = permutation,
  mask: chex.Array | None = None,
) -> MixPlan:
  """Draws a plan for one batch.

  Args:
    key: PRNG key; give every replica its own, e.g. by folding in the axis
      index.
    batch_size: B, static.
    policy: how much, see `jaxmix.policies`.
    pairing: with whom, see `jaxmix.pairing`; partners come from the array this
      call sees: the per-replica batch under `pmap` or `shard_map`, the global
      one under `jit`, where mixing a batch that a mesh splits all-gathers it.
    mask: bool [B], True for real examples; padded ones are never mixed into
      real ones, nor counted in means.

  Returns:
    The plan.

  Raises:
    TypeError: if key is no PRNG key, `batch_size` no static integer, policy or
      pairing none, or `mask` is not boolean.
    ValueError: if `batch_size` < 1 or `mask` is not [B].

  Example:
    >>> policy = jaxmix.policies.mixup(alpha=1.0)
    >>> plan = jaxmix.draw(jax.random.key(0), 4, policy=policy)
    >>> images, labels = jnp.ones((4, 8, 8, 3)), jnp.arange(4)
    >>> plan.mix(images).shape, plan.targets(labels).first.tolist()
    ((4, 8, 8, 3), [0, 1, 2, 3])
  """
  checks.static_size("batch_size", batch_size)
  checks.law(policy, pairing)
  mask = checks.mask_array(mask, batch_size)
  # A key each: plans that differ in their pairing alone share their lam.
  key_lam, key_pair = jax.random.split(checks.key(key))
  lam, weight = policy.sample(key_lam, (batch_size,))
  partners = pairing(key_pair, batch_size, mask)
  if partners.valid is not None:
    lam = jnp.where(partners.valid, lam, 1.0)
    # Else the label would be shared with a partner that is not in the input.
    weight = jnp.where(partners.valid, weight, 1.0)
  return MixPlan(
    lam=lam,
    weight=weight,
    partner=partners.index,
    # The law's, a constant as in MixupE's listing, not the mean of this draw's.
    mean_shift=policy.mean_shift,
    mask=mask,
    source=partners.source,
  )


def mix_batch(
  key: chex.PRNGKey,
  inputs: chex.ArrayTree,
  labels: Any,
  *,
  policy: policies.MixingPolicy,
  pairing: Pairing = permutation,
  mask: chex.Array | None = None,
) -> tuple[chex.ArrayTree, Any]:
  """Mixes a batch and its labels by any policy: `draw`, then the plan's two.

  Returns lam_i * x_i + (1 - lam_i) * x_partner(i), with both labels and the
  weight of the example's own beside it. `mixup`, `untied_mixup` and `dat` are
  this function under the policies of their names, and share what follows.

  Partners come from the array this function sees: the per-replica batch under
  `pmap` or `shard_map`, the global batch (a cross-device gather) under `jit`.

  Args:
    key: PRNG key; give every replica its own, e.g. by folding in the axis
      index.
    inputs: pytree of [B, ...] floats on any affine scale (outputs stay in its
      range).
    labels: [B] integer classes or [B, K] probabilities, rows summing to 1; or
      a pytree of such arrays, one for each head of a model.
    policy: how much, see `jaxmix.policies`.
    pairing: with whom, see `jaxmix.pairing`.
    mask: bool [B], True for real examples; padded ones are never mixed into
      real ones.

  Returns:
    The mixed inputs, shapes and dtypes kept, and their `MixedTargets`: one, or
    for a pytree of labels the same pytree of them.

  Raises:
    TypeError: if a leaf of `inputs` is not floating point, `labels` are neither
      integers nor floats, or `mask` is not boolean.
    ValueError: if batch sizes differ.

  Example:
    >>> policy = jaxmix.policies.weighted(1.0, 1.0, jnp.sqrt)
    >>> x, y = jnp.ones((4, 3)), jnp.arange(4)
    >>> x, targets = jaxmix.mix_batch(jax.random.key(0), x, y, policy=policy)
    >>> x.shape, targets.weight.shape
    ((4, 3), (4,))
  """
  inputs = checks.floating("inputs", inputs, mixed=True)
  size = checks.batch_size(inputs=inputs, labels=labels)
  plan = draw(key, size, policy=policy, pairing=pairing, mask=mask)
  return plan.mix(inputs), plan.targets(labels)


def mixup(
  key: chex.PRNGKey,
  inputs: chex.ArrayTree,
  labels: Any,
  *,
  alpha: chex.Numeric = 1.0,
  beta: chex.Numeric | None = None,
  pairing: Pairing = permutation,
  mask: chex.Array | None = None,
  per_example: bool = True,
  stratified: bool = False,
) -> tuple[chex.ArrayTree, Any]:
  """Mixes each example, and its label, with a partner from the same batch.

  Draws lam_i ~ Beta(alpha, beta) per example and returns lam_i * x_i + (1 -
  lam_i) * x_partner(i), with both labels and the weight lam_i beside it (Zhang
  et al., 2018, https://arxiv.org/abs/1710.09412, section 2). The authors'
  released code draws a single lam for the whole batch: `per_example=False`.

  Args:
    key: this and what is not said here is as in `mix_batch`.
    inputs: pytree of [B, ...] floats.
    labels: [B] integer classes or [B, K] probabilities.
    alpha: Beta concentration, > 0. Larger values mix more strongly.
    beta: second concentration; None means alpha.
    pairing: with whom, over the array this function sees.
    mask: bool [B], True for real examples.
    per_example: one lam an example; False: one lam a call, and so a replica.
    stratified: one draw per equal-probability bucket.

  Returns:
    The mixed inputs, shapes and dtypes kept, and their `MixedTargets`.

  Raises:
    TypeError: as `mix_batch`.
    ValueError: as `mix_batch`, or if a concentration is a number <= 0.

  Example:
    >>> x, y = jnp.ones((4, 3)), jnp.arange(4)
    >>> x, targets = jaxmix.mixup(jax.random.key(0), x, y, alpha=0.2)
    >>> targets.dense(num_classes=10).shape
    (4, 10)
  """
  policy = policies.mixup(
    alpha, beta, per_example=per_example, stratified=stratified
  )
  return mix_batch(
    key, inputs, labels, policy=policy, pairing=pairing, mask=mask
  )


def untied_mixup(
  key: chex.PRNGKey,
  inputs: chex.ArrayTree,
  labels: Any,
  *,
  alpha: chex.Numeric = 1.7,
  beta: chex.Numeric = 0.8,
  pairing: Pairing = permutation,
  mask: chex.Array | None = None,
  per_example: bool = True,
  stratified: bool = False,
) -> tuple[chex.ArrayTree, Any]:
  """Untied MixUp: inputs and labels mixed by different weights.

  "MixUp as Directional Adversarial Training", 2020, eq. (5); the defaults are
  the paper's for Fashion-MNIST (table 4). See `policies.untied`.

  Args:
    key: this and what is not said here is as in `mix_batch`.
    inputs: pytree of [B, ...] floats.
    labels: [B] integer classes or [B, K] probabilities.
    alpha: concentration of the kept example, > 0.
    beta: concentration of its partner, > 0.
    pairing: with whom, over the array this function sees.
    mask: bool [B], True for real examples.
    per_example: one lam an example; False: one lam a call, and so a replica.
    stratified: one draw per equal-probability bucket.

  Returns:
    The mixed inputs, shapes and dtypes kept, and their `MixedTargets`.

  Raises:
    TypeError, ValueError: as `mixup`.

  Example:
    >>> x, y = jnp.ones((4, 3)), jnp.arange(4)
    >>> x, targets = jaxmix.untied_mixup(jax.random.key(0), x, y, alpha=2.0)
    >>> loss_fn = jaxmix.losses.softmax_cross_entropy
    >>> jaxmix.mixed_loss(loss_fn, jnp.zeros((4, 10)), targets).shape
    (4,)
  """
  policy = policies.untied(
    alpha, beta, per_example=per_example, stratified=stratified
  )
  return mix_batch(
    key, inputs, labels, policy=policy, pairing=pairing, mask=mask
  )


def dat(
  key: chex.PRNGKey,
  inputs: chex.ArrayTree,
  labels: Any,
  *,
  alpha: chex.Numeric = 1.7,
  beta: chex.Numeric = 0.8,
  pairing: Pairing = permutation,
  mask: chex.Array | None = None,
  per_example: bool = True,
  stratified: bool = False,
) -> tuple[chex.ArrayTree, Any]:
  """Directional adversarial training: inputs are mixed, labels kept whole.

  "MixUp as Directional Adversarial Training", 2020, section 3. The defaults
  make it the equivalent of `untied_mixup`'s. See `policies.dat`.

  Args:
    key: this and what is not said here is as in `mix_batch`.
    inputs: pytree of [B, ...] floats.
    labels: [B] integer classes or [B, K] probabilities.
    alpha: concentration of the kept example, > 0.
    beta: concentration of its partner, > 0.
    pairing: with whom, over the array this function sees.
    mask: bool [B], True for real examples.
    per_example: one lam an example; False: one lam a call, and so a replica.
    stratified: one draw per equal-probability bucket.

  Returns:
    The mixed inputs, shapes and dtypes kept, and `MixedTargets` of weight 1.

  Raises:
    TypeError, ValueError: as `mixup`.

  Example:
    >>> x, y = jnp.ones((4, 3)), jnp.arange(4)
    >>> x, targets = jaxmix.dat(jax.random.key(0), x, y)
    >>> targets.weight.tolist()
    [1.0, 1.0, 1.0, 1.0]
  """
  policy = policies.dat(
    alpha, beta, per_example=per_example, stratified=stratified
  )
  return mix_batch(
    key, inputs, labels, policy=policy, pairing=pairing, mask=mask
  )
