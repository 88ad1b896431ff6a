"""Internal: the mixed and the clean examples through the model.

A pass follows a `Line`: inputs a point, and the direction from it in which the
penalty asks for derivatives.
"""

from __future__ import annotations

from collections.abc import Callable
import functools
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxmix import checks, taylor, terms
from jaxmix.holding import differentiate
from jaxmix.mixing import Plan
from jaxmix.penalties import Penalty


class Line(NamedTuple):
  """The model along point + a * direction.

  Attributes:
    call: maps inputs to (logits, aux).
    point: inputs, at a = 0.
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
    count: m, the first of the inputs make the clean part.
    clean_pass: "joint", "separate", "split", or "none": the penalty is taken at
      the first m of the mixed inputs.
    has_aux: whether a second pass takes the first one's aux as its state.

  Returns:
    The outputs.
  """
  if clean_pass == "none":
    logits, moved, aux = follow(mixed_line(apply_fn, x, plan, penalty), penalty)
    return Passes(logits, logits[:count], [m[:count] for m in moved], aux)
  clean = first(x, count)
  if clean_pass == "separate":
    logits, aux = apply_fn(plan.mix(x))
    state = {"state": aux} if has_aux else {}
    line = clean_line(apply_fn, clean, penalty, **state)
    return Passes(logits, *follow(line, penalty))
  parts = clean_pass == "split"
  line = both_line(apply_fn, x, clean, plan, penalty, parts)
  both, moved, aux = follow(line, penalty)
  size = len(both) - count
  return Passes(both[:size], both[size:], [m[size:] for m in moved], aux)


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


def mixed_line(apply_fn, x, plan, penalty) -> Line:
  """The mixed inputs, towards the mean."""
  mixed = plan.mix(x)
  return Line(apply_fn, mixed, _towards(mixed, penalty))


def clean_line(apply_fn, clean, penalty, **state) -> Line:
  """The clean inputs, towards the mean."""
  call = functools.partial(apply_fn, **state)
  return Line(call, clean, _towards(clean, penalty))


def both_line(apply_fn, x, clean, plan, penalty, parts) -> Line:
  """The mixed inputs, which stay, and the clean ones, which move."""
  mixed, direction = plan.mix(x), _towards(clean, penalty)
  if direction is not None:
    direction = _concatenate(jax.tree.map(jnp.zeros_like, mixed), direction)
  sizes = checks.batch_size(mixed=mixed), checks.batch_size(clean=clean)
  call = functools.partial(apply_fn, parts=sizes) if parts else apply_fn
  return Line(call, _concatenate(mixed, clean), direction)


def first(tree: chex.ArrayTree, count: int) -> chex.ArrayTree:
  """The first examples of every leaf."""
  return jax.tree.map(lambda leaf: leaf[:count], tree)


def _towards(inputs, penalty):
  return (
    terms.towards_mean(inputs, penalty.input_mean) if penalty.order else None
  )


def _concatenate(one, other):
  return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), one, other)
