"""Mixtures of methods: one of several plans for each batch, or each example.

As timm mixes, the usual recipe of vision transformers: Mixup or CutMix by
chance (its switch_prob), and neither with probability 1 - prob.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import chex
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from jaxmix import checks, losses, meshes
from jaxmix.losses import MixedTargets
from jaxmix.mixing import Plan
from jaxmix.pairing import Ring


@flax.struct.dataclass
class MixturePlan:
  """Several plans of one batch, and which of them mixes each example.

  Attributes:
    plans: of B examples each, of one mask.
    choice: int32 [B], or a scalar for all: the number of the plan that mixes an
      example; -1 for none, which leaves it as it is.
    mean_shift: as in `MixPlan`, the mean of the plans' under the law of the
      choice; None if no penalty asks for it.

  Example:
    >>> lam, partner = jnp.array([0.75, 0.5]), jnp.array([1, 0])
    >>> plan = jaxmix.MixPlan(lam, lam, partner)
    >>> mixture = jaxmix.MixturePlan((plan,), choice=jnp.array([0, -1]))
    >>> mixture.mix(jnp.array([0.0, 8.0])), mixture.weight
    (Array([2., 8.], dtype=float32), Array([0.75, 1.  ], dtype=float32))
  """

  plans: tuple[Plan, ...]
  choice: chex.Array
  mean_shift: chex.Numeric | None = None

  @property
  def lam(self) -> chex.Array:
    """float32 [B], the chosen plan's; 1 where there is none."""
    return self._chosen([plan.lam for plan in self.plans])

  @property
  def weight(self) -> chex.Array:
    """float32 [B], the chosen plan's; 1 where there is none."""
    return self._chosen([plan.weight for plan in self.plans])

  @property
  def mask(self) -> chex.Array | None:
    """bool [B], the plans'."""
    return self.plans[0].mask

  def mix(self, tree: chex.ArrayTree) -> chex.ArrayTree:
    """Returns each example as its plan mixes it.

    Of one choice a batch the other plans are not applied (under vmap they are);
    of a choice an example all are, and one is kept.

    Args:
      tree: pytree of arrays that every plan can mix.

    Returns:
      The mixed tree, shapes and dtypes kept.

    Raises:
      TypeError, ValueError: as the plans' own.
    """
    tree = checks.arrays("inputs", tree)
    if jnp.ndim(self.choice) == 0 and not any(map(communicates, self.plans)):
      # One branch more, the first: nothing is mixed.
      branches = [lambda tree: tree, *(plan.mix for plan in self.plans)]
      return jax.lax.switch(self.choice + 1, branches, tree)
    mixed = tree
    for number, plan in enumerate(self.plans):
      mixed = jax.tree.map(
        lambda own, other, number=number: self._where(number, own, other),
        plan.mix(tree),
        mixed,
      )
    return mixed

  def targets(self, labels: Any) -> Any:
    """Returns the labels of the mixed examples, see `MixPlan.targets`."""
    every = [plan.targets(labels) for plan in self.plans]
    is_targets = lambda node: isinstance(node, MixedTargets)

    def pick(first, *others):
      # Where none is chosen the second label has no weight, whatever it is.
      second = first.second
      for number, other in enumerate(others, start=1):
        second = self._where(number, other.second, second)
      return first.replace(
        second=second, weight=meshes.like(self.weight, first.first)
      )

    return jax.tree.map(pick, *every, is_leaf=is_targets)

  def _where(self, number, own, other):
    chosen = jnp.broadcast_to(self.choice == number, own.shape[:1])
    chosen = losses.expand(meshes.like(chosen, own), own.ndim)
    return jnp.where(chosen, own, other)

  def _chosen(self, values):
    found = jnp.ones_like(values[0])
    for number, own in enumerate(values):
      found = self._where(number, own, found)
    return found


def communicates(plan):
  """Whether replicas must all mix by it, or none: a branch is each one's own.

  Of a class of a user's own nobody knows.
  """
  if isinstance(plan, MixturePlan):
    return any(map(communicates, plan.plans))
  source = getattr(plan, "source", None)
  return source is None or isinstance(source, Ring)


def draw_mixture(
  key: chex.PRNGKey,
  draws: Sequence[Callable[[chex.PRNGKey], Plan]],
  *,
  weights: Sequence[chex.Numeric] | chex.Array | None = None,
  prob: chex.Numeric = 1.0,
  per_example: bool = False,
  choice_key: chex.PRNGKey | None = None,
) -> MixturePlan:
  """Draws a plan of each kind, and which of them mixes.

  timm's Mixup(prob, switch_prob) of Mixup and CutMix is weights=(1 -
  switch_prob, switch_prob), a choice a batch (its mode "batch"; per_example is
  "elem"). Under every choice law the mixture is a mixing policy of its own, to
  which MixupE's mean_shift belongs: prob * sum_k weights_k mean_shift_k, as an
  example that is not mixed has none.

  A choice a batch is one a replica, where replicas have keys of their own;
  `choice_key` makes it one for all. The plans are drawn by `key` all the same.

  Args:
    key: PRNG key; give every replica its own.
    draws: functions key -> plan, of one batch: of its size and its mask.
    weights: [K], how likely each is beside the others, of any positive sum;
      None means alike. May be traced.
    prob: probability that anything is mixed, in [0, 1]. May be traced.
    per_example: whether every example has a choice of its own.
    choice_key: PRNG key of the choice, the same on all replicas; None takes
      `key`.

  Returns:
    The plan. Its mean_shift is None if one of the plans' is.

  Raises:
    ValueError: if there are no draws, weights are not one a draw, negative or
      all 0, prob is a number outside [0, 1], or batch sizes differ.

  Example:
    >>> images, policy = jnp.ones((4, 8, 8, 3)), jaxmix.policies.mixup(0.8)
    >>> mixup = lambda key: jaxmix.draw(key, 4, policy=policy)
    >>> cutmix = lambda key: jaxmix.draw_cutmix(key, images.shape)
    >>> plan = jaxmix.draw_mixture(jax.random.key(0), [mixup, cutmix], prob=0.9)
    >>> plan.mix(images).shape, plan.targets(jnp.arange(4)).first.tolist()
    ((4, 8, 8, 3), [0, 1, 2, 3])
  """
  draws = tuple(draws)
  if not draws:
    raise ValueError("draws must be at least one function, got none.")
  shares = _shares(weights, len(draws))
  prob = checks.scalar("prob", prob, low=0.0, high=1.0)
  key_choice, *keys = jax.random.split(checks.key(key), len(draws) + 1)
  plans = tuple(draw(own) for draw, own in zip(draws, keys, strict=True))
  sizes = [plan.lam.shape[0] for plan in plans]
  if len(set(sizes)) > 1:
    raise ValueError(f"draws must be of one batch size, got {sizes}.")
  if choice_key is not None:
    key_choice = choice_key
  shape = (sizes[0],) if per_example else ()
  key_mixes, key_which = jax.random.split(key_choice)
  which = jax.random.categorical(key_which, jnp.log(shares), shape=shape)
  # Strictly below, as draws are in [0, 1): never at 0, always at 1.
  mixes = jax.random.uniform(key_mixes, shape, jnp.float32) < prob
  choice = jnp.where(mixes, which.astype(jnp.int32), -1)
  shifts = [plan.mean_shift for plan in plans]
  mean_shift = None
  if all(shift is not None for shift in shifts):
    mean_shift = prob * sum(
      share * shift for share, shift in zip(shares, shifts, strict=True)
    )
  return MixturePlan(plans, choice, mean_shift)


def _shares(weights, count) -> chex.Array:
  """float32 [count], which sum to 1."""
  if weights is None:
    return jnp.full(count, 1.0 / count, jnp.float32)
  weights = [checks.scalar("weights", one, low=0.0) for one in weights]
  if len(weights) != count:
    raise ValueError(
      f"weights must be one a draw, {count}, got {len(weights)}."
    )
  if all(isinstance(one, float) for one in weights) and not np.sum(weights):
    raise ValueError(f"weights must not all be 0, got {weights}.")
  stacked = jnp.stack([jnp.asarray(one, jnp.float32) for one in weights])
  return stacked / jnp.sum(stacked)
