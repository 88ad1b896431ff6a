"""Where: a plan applied between the layers of a model, at one of its taps.

A model that can be mixed inside calls `x, parts = tap(place, x, parts)` at its
places: 0, 1, 2, ... in order, 0 at the input. All `jaxmix.models` do, and name
their places in `model.stages`. `parts` are the sizes of the batches that x is a
concatenation of, for what normalises by a batch's statistics; None means one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import dataclasses
from typing import Any

import chex
import jax
import jax.numpy as jnp

from jaxmix import checks, meshes, mixture
from jaxmix.mixing import Plan

Parts = tuple[int, ...] | None
Tap = Callable[[int, chex.ArrayTree, Parts], tuple[chex.ArrayTree, Parts]]


def at(
  plan: Plan,
  place: chex.Numeric,
  *,
  among: Sequence[int] | None = None,
  count: int = 0,
  split: bool = True,
) -> At | AtDrawn:
  """Returns the tap that mixes a model's features at one place.

  Manifold mixup (Verma et al., 2019, https://arxiv.org/abs/1806.05236, section
  2) draws a place k and a plan for each batch, and gives the layers above lam_i
  h_k(x_i) + (1 - lam_i) h_k(x_partner(i)). The layers below run once, on the
  batch as it is. At place 0 it is Mixup.

  A place drawn inside `jit` is one `among` some: the program holds the model
  once, and at each of them asks whether to mix there. (Partners who come from
  another replica come at each of them, as that one may have drawn another.)

  With count > 0 the batch grows at the place: behind the B mixed examples come
  the first `count` ones as they are, which MixupE's penalty is taken at (ours,
  in no paper).

  Args:
    plan: of B examples, a `MixPlan` for instance.
    place: which, static; `model.stages.index(name)` finds it by name. With
      `among` an integer scalar, which may be traced; replicas that take batch
      statistics together need the same.
    among: static, the places that `place` is one of; a traced one that is not
      cannot be told, and mixes labels alone.
    count: how many examples follow unmixed, in 0..B; 0 with `among`, as sizes
      are static.
    split: whether batch norm above the place takes statistics of the mixed and
      the unmixed part apart; of no meaning at count 0.

  Returns:
    A function (place, x, parts) -> (x, parts), the identity at other places.

  Raises:
    TypeError: if place, or one of `among`, is not a static integer; if with
      `among` place is no integer scalar; or if the plan is none.
    ValueError: if a place is < 0, `among` is empty or misses a place that is
      known, or count is not in 0..B, or not 0 with `among`.

  Example:
    >>> model, key = jaxmix.models.create("mlp", 10), jax.random.key(0)
    >>> x, policy = jnp.ones((4, 3)), jaxmix.policies.mixup(alpha=2.0)
    >>> plan = jaxmix.draw(key, 4, policy=policy)
    >>> tap = jaxmix.hidden.at(plan, model.stages.index("dense1"))
    >>> model.apply(model.init(key, x), x, tap=tap).shape
    (4, 10)
  """
  checks.plan(plan)
  size = plan.lam.shape[0]
  if not 0 <= count <= size:
    raise ValueError(f"count must lie in 0..B = {size}, got {count}.")
  if among is None:
    checks.place("place", place)
    return At(plan, place, count, split)
  place = checks.drawn_place(place, among)
  if count:
    raise ValueError(f"count must be 0 with among, got {count}.")
  return AtDrawn(plan, place, tuple(among))


def run(
  apply_fn: Callable[..., Any], x: chex.ArrayTree, tap: At | AtDrawn
) -> Any:
  """Calls apply_fn(x, tap=tap), which must not pass the tap's place by.

  Else labels would be mixed, and nothing else.

  Args:
    apply_fn: maps inputs and a tap to whatever.
    x: pytree of [B, ...] inputs, not mixed.
    tap: made by `at`.

  Returns:
    What apply_fn returned.

  Raises:
    ValueError: if apply_fn did not call the tap at its place.

  Example:
    >>> double = lambda x, tap: 2.0 * tap(0, x, None)[0]
    >>> lam, partner = jnp.array([0.75, 1.0]), jnp.array([1, 0])
    >>> tap = jaxmix.hidden.at(jaxmix.MixPlan(lam, lam, partner), 0)
    >>> jaxmix.hidden.run(double, jnp.array([0.0, 8.0]), tap)
    Array([ 4., 16.], dtype=float32)
  """
  met = []

  def watched(place, x, parts):
    met.append(place)
    return tap(place, x, parts)

  # Models that know their places look for it, and for the rows' mask.
  watched.places = tap.places  # type: ignore[attr-defined]
  watched.mask = tap.mask  # type: ignore[attr-defined]
  outputs = apply_fn(x, tap=watched)
  for place in tap.places:
    if place not in met:
      raise ValueError(
        f"mix_at must be a place of the model, got {place}; apply_fn called "
        f"its tap at {met}, as x, parts = tap(place, x, parts)."
      )
  return outputs


@dataclasses.dataclass(frozen=True, eq=False)
class At:
  """The tap that `at` returns, and MixupE's, which moves features as well.

  Attributes:
    plan: mixes; None leaves the features as they are.
    place: where.
    count: how many examples follow unmixed.
    split: whether they are a part of their own.
    move: applied to the points of MixupE's penalty, the unmixed examples if
      there are any, else all: along which it takes its derivative.
  """

  plan: Plan | None
  place: int
  count: int = 0
  split: bool = True
  move: Callable[[chex.ArrayTree], chex.ArrayTree] | None = None

  @property
  def places(self) -> tuple[int, ...]:
    """Those at which it can mix."""
    return (self.place,)

  def __call__(
    self, place: int, x: chex.ArrayTree, parts: Parts
  ) -> tuple[chex.ArrayTree, Parts]:
    """Returns (x, parts), of mixed features at the tap's place."""
    if place != self.place:
      return x, parts
    mixed = x if self.plan is None else self.plan.mix(x)
    move = self.move or (lambda points: points)
    if not self.count:
      return move(mixed), parts
    clean = jax.tree.map(lambda leaf: meshes.rows(leaf, 0, self.count), x)
    x = jax.tree.map(lambda *both: meshes.concatenate(both), mixed, move(clean))
    size = jax.tree.leaves(mixed)[0].shape[0]
    return x, (size, self.count) if self.split else parts

  def mask(self, mask: chex.Array) -> chex.Array:
    """Returns which rows are real above the place, from which are below."""
    return meshes.concatenate((mask, meshes.rows(mask, 0, self.count)))


@dataclasses.dataclass(frozen=True, eq=False)
class AtDrawn:
  """The tap that `at` returns for a place that may be traced.

  Attributes:
    plan: mixes.
    place: where, an integer scalar.
    places: static, those at which it can mix.
  """

  plan: Plan
  place: chex.Array
  places: tuple[int, ...]

  def __call__(
    self, place: int, x: chex.ArrayTree, parts: Parts
  ) -> tuple[chex.ArrayTree, Parts]:
    """Returns (x, parts), of mixed features at the tap's place."""
    if place not in self.places:
      return x, parts
    here = self.place == place
    if not mixture.communicates(self.plan):
      return jax.lax.cond(here, self.plan.mix, lambda x: x, x), parts
    choose = lambda own, other: jnp.where(here, own, other)
    return jax.tree.map(choose, self.plan.mix(x), x), parts

  def mask(self, mask: chex.Array) -> chex.Array:
    """Returns which rows are real above the place: the same."""
    return mask
