"""Internal: the mixed and the clean examples through the model.

A pass follows a `Line`: a point, and the direction from it in which the penalty
asks for derivatives. At the input (place 0) both are like the inputs. At a
hidden place the features are out of reach; there a tap moves them towards the
mean by a scalar, and the line is the scalar's.
"""

from __future__ import annotations

from collections.abc import Callable
import functools
import inspect
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxmix import checks, hidden, meshes, taylor, terms
from jaxmix.holding import differentiate
from jaxmix.mixing import Plan
from jaxmix.penalties import Penalty


class Line(NamedTuple):
  """The model along point + a * direction.

  Attributes:
    call: maps what `point` is to (logits, aux).
    point: where a = 0: inputs, or the scalar 0.
    direction: like `point`, or None where no derivative is asked for.
  """

  call: Callable[..., Any]
  point: chex.ArrayTree
  direction: chex.ArrayTree | None


class Passes(NamedTuple):
  """Outputs at the mixed inputs, and at the points where the penalty is taken.

  Attributes:
    logits: [B, ...], at the mixed inputs.
    logits_there: [m, ...], at the penalty's points.
    moved_there: [m, ...] each, their derivatives towards the mean, the first
      first; for a penalty of order 0 the logits themselves.
    aux: of the last pass.
  """

  logits: chex.Array
  logits_there: chex.Array
  moved_there: list[chex.Array]
  aux: Any


def run(
  apply_fn: Callable[..., Any],
  x: chex.ArrayTree,
  plan: Plan,
  penalty: Penalty,
  *,
  place: int,
  count: int,
  clean_pass: str,
  has_aux: bool,
) -> Passes:
  """Runs the model on the mixed and the clean inputs, as `clean_pass` says.

  Args:
    apply_fn: maps inputs to (logits, aux).
    x: pytree of [B, ...] inputs, not mixed.
    plan: mixes them.
    penalty: says which derivatives are wanted.
    place: where the plan mixes, and the derivatives start: 0 for the input.
    count: m, the first of the inputs make the clean part.
    clean_pass: "joint", "separate", "split", or "none": the penalty is taken at
      the first m of the mixed inputs.
    has_aux: whether a second pass takes the first one's aux as its state.

  Returns:
    The outputs.

  Raises:
    ValueError: if the model did not call its tap at the place.
  """
  if clean_pass == "none":
    line = mixed_line(apply_fn, x, plan, penalty, place)
    logits, moved, aux = follow(line, penalty)
    # All B are differentiated though m are kept: the rest share their pass.
    there, *moved = first([logits, *moved], count)
    return Passes(logits, there, moved, aux)
  clean = first(x, count)
  if clean_pass == "separate":
    logits, aux = mixed(apply_fn, x, plan, place)
    state = {"state": aux} if has_aux else {}
    line = clean_line(apply_fn, clean, penalty, place, **state)
    return Passes(logits, *follow(line, penalty))
  split = clean_pass == "split"
  line = both_line(apply_fn, x, clean, plan, penalty, place, split)
  both, moved, aux = follow(line, penalty)
  size = len(both) - count
  logits = meshes.rows(both, 0, size)
  there, *moved = (meshes.rows(m, size, len(m)) for m in (both, *moved))
  return Passes(logits, there, moved, aux)


def masked(
  apply_fn: Callable[..., Any], mask: chex.Array | None
) -> Callable[..., Any]:
  """Returns apply_fn, told which of its rows are real, where it asks.

  Args:
    apply_fn: maps inputs, and perhaps `mask`, to outputs.
    mask: bool [B], or None.
  """
  if mask is None or not _takes_mask(apply_fn):
    return apply_fn
  mask = jnp.asarray(mask)

  def call(inputs, **kwargs):
    # All B, the first of them, or all and behind them the first again.
    size, again = checks.batch_size(inputs=inputs), 0
    if size > len(mask):
      size, again = len(mask), size - len(mask)
    rows = meshes.rows(mask, 0, size)
    if again:
      rows = meshes.concatenate((rows, meshes.rows(mask, 0, again)))
    return apply_fn(inputs, mask=rows, **kwargs)

  return call


def _takes_mask(apply_fn):
  try:
    return "mask" in inspect.signature(apply_fn).parameters
  except ValueError:  # a builtin, which says nothing of its arguments
    return False


def follow(
  line: Line, penalty: Penalty
) -> tuple[chex.Array, list[chex.Array], Any]:
  """(logits, their derivatives, aux) of one pass; at order 0, logits twice."""
  call, point, direction = line
  if direction is None:
    logits, aux = call(point)
    return logits, [logits], aux
  if penalty.order == 1:
    logits, moved, aux = differentiate(
      lambda: jax.jvp(call, (point,), (direction,), has_aux=True)
    )
    return logits, [moved], aux
  # The pass that brings aux is the one inside the derivatives: the compiler
  # makes one of the two.
  _, aux = call(point)
  logits, *moved = differentiate(
    lambda: taylor.derivatives(
      lambda batch: call(batch)[0], point, direction, penalty.order
    )
  )
  return logits, moved, aux


def mixed(apply_fn, x, plan, place):
  """(logits, aux) of the mixed examples, without derivatives."""
  if place == 0:
    return apply_fn(plan.mix(x))
  return hidden.run(apply_fn, x, hidden.at(plan, place))


def mixed_line(apply_fn, x, plan, penalty, place) -> Line:
  """The mixed examples, towards the mean."""
  if place == 0:
    inputs = plan.mix(x)
    return Line(apply_fn, inputs, _towards(inputs, penalty))
  tap = lambda move: hidden.At(plan, place, move=move)
  return _tapped_line(apply_fn, x, penalty, tap)


def clean_line(apply_fn, clean, penalty, place, **state) -> Line:
  """The clean examples, towards the mean."""
  call = functools.partial(apply_fn, **state)
  # At order 0 nothing moves, and the model needs no tap.
  if place == 0 or penalty.order == 0:
    return Line(call, clean, _towards(clean, penalty))
  tap = lambda move: hidden.At(None, place, move=move)
  return _tapped_line(call, clean, penalty, tap)


def both_line(apply_fn, x, clean, plan, penalty, place, split) -> Line:
  """The mixed examples, which stay, and the clean ones, which move."""
  count = checks.batch_size(clean=clean)
  if place != 0:
    tap = lambda move: hidden.At(plan, place, count, split, move)
    return _tapped_line(apply_fn, x, penalty, tap)
  inputs, direction = plan.mix(x), _towards(clean, penalty)
  if direction is not None:
    # The mixed part's derivatives are zeros that cost as much as any: one batch
    # has one tangent.
    direction = _concatenate(jax.tree.map(jnp.zeros_like, inputs), direction)
  sizes = checks.batch_size(mixed=inputs), count
  call = functools.partial(apply_fn, parts=sizes) if split else apply_fn
  return Line(call, _concatenate(inputs, clean), direction)


def _tapped_line(apply_fn, x, penalty, tap) -> Line:
  """h + a (mean - h) at a tap, as a line of the scalar a; h itself at order 0.

  Args:
    apply_fn: maps inputs and a tap to (logits, aux).
    x: inputs, which stay.
    penalty: says whether there is a direction, and knows the mean.
    tap: maps how the penalty's points move to a tap.
  """
  if penalty.order == 0:
    return Line(lambda x: hidden.run(apply_fn, x, tap(None)), x, None)

  def call(a):
    def move(points):
      return jax.tree.map(
        lambda leaf, step: leaf + a.astype(leaf.dtype) * step,
        points,
        _towards(points, penalty),
      )

    return hidden.run(apply_fn, x, tap(move))

  return Line(call, jnp.zeros(()), jnp.ones(()))


def first(tree: chex.ArrayTree, count: int) -> chex.ArrayTree:
  """The first examples of every leaf."""
  return jax.tree.map(lambda leaf: meshes.rows(leaf, 0, count), tree)


def _towards(inputs, penalty):
  return (
    terms.towards_mean(inputs, penalty.input_mean) if penalty.order else None
  )


def _concatenate(one, other):
  return jax.tree.map(lambda *both: meshes.concatenate(both), one, other)
