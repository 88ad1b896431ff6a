"""Derivatives of any order along a line, without Hessians or tensors.

`jax.experimental.jet` does it in one pass whose cost grows with the square of
the order, but knows some hundred primitives and no custom derivatives (which
`jax.nn.relu` has). So the function is traced, its calls are inlined, and jet is
used where it knows every primitive that is left; elsewhere (max pooling, loops,
arrays that a mesh with explicit axes splits) forward mode is nested, at a cost
that doubles with each order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
import math
from typing import Any

import chex
import jax
from jax.experimental import jet
import jax.extend.core as core
import jax.numpy as jnp

from jaxmix import meshes

# Calls that stand for the program inside them. Custom derivatives are dropped:
# they restate the program's own, except at kinks (jax.nn.relu at 0).
_CALLS = frozenset(
  [
    "checkpoint",
    "closed_call",
    "core_call",
    "custom_jvp_call",
    "custom_vjp_call",
    "custom_vjp_call_jaxpr",
    "jit",
    "pjit",
    "remat",
    "remat2",
  ]
)
# jet's rule for it fails where one of the two is a scalar (jax.nn.relu6).
_BROKEN = frozenset(["min"])
_BODIES = ("call_jaxpr", "fun_jaxpr", "jaxpr")


def derivatives(
  fn: Callable[[chex.Array], chex.Array],
  x: chex.Array,
  direction: chex.Array,
  order: int,
) -> list[chex.Array]:
  """d^j/da^j fn(x + a direction) at a = 0, for j = 0..order.

  Args:
    fn: maps an array to an array.
    x: where, any shape, floats.
    direction: shaped like x.
    order: the highest derivative, >= 0.

  Returns:
    order + 1 arrays shaped as fn's result, fn(x) itself first.

  Raises:
    ValueError: if order < 0.

  Example:
    >>> derivatives = jaxmix.taylor.derivatives
    >>> cube = derivatives(lambda x: x**3, jnp.array(2.0), jnp.array(1.0), 3)
    >>> [round(float(term), 3) for term in cube]
    [8.0, 12.0, 12.0, 6.0]
  """
  if order < 0:
    raise ValueError(f"order must be at least 0, got {order}.")
  # Taylor mode fills in zeros that are whole, beside values that a mesh splits.
  if order > 2 and not meshes.is_split(x):
    traced = jax.make_jaxpr(fn)(x)
    if all(_known(primitive) for primitive in _primitives(traced)):
      inlined = lambda x: _evaluate(traced, x)[0]
      still = [jnp.zeros_like(x)] * (order - 1)
      value, rest = jet.jet(inlined, (x,), ([direction, *still],))
      return [value, *rest]
  return _nested(fn, x, direction, order)


def compose(
  fn: Callable[[chex.Array], chex.Array],
  x: chex.Array,
  series: Sequence[chex.Array],
) -> list[chex.Array]:
  """Derivatives of fn(x(a)) at a = 0 from those of x(a), by the chain rule.

  Args:
    fn: maps an array to an array.
    x: x(0).
    series: x', x'', ..., shaped like x.

  Returns:
    As many derivatives of fn(x(a)), the first first.
  """
  traced = jax.make_jaxpr(fn)(x)
  known = all(_known(primitive) for primitive in _primitives(traced))
  if known and not meshes.is_split(x):
    return jet.jet(fn, (x,), (list(series),))[1]
  # Inside shard_map with check_vma=True constants are marked as varying, by a
  # primitive that jet does not know; for a mesh's explicit axes see above.
  path = lambda a: (
    x + sum(a**j / math.factorial(j) * term for j, term in enumerate(series, 1))
  )
  start = jnp.zeros((), x.dtype)
  along = lambda a: fn(path(a))
  return _nested(along, start, jnp.ones_like(start), len(series))[1:]


def softplus(x: chex.Array) -> chex.Array:
  """log(1 + exp x), elementwise, as a sum over two classes.

  `jax.nn.softplus`, a maximum and a correction, loses its second derivative at
  0 in Taylor mode.

  Args:
    x: any shape, floats.

  Returns:
    Shaped like x.
  """
  return jax.nn.logsumexp(jnp.stack([jnp.zeros_like(x), x]), axis=0)


def _known(primitive: core.Primitive) -> bool:
  return primitive in jet.jet_rules and primitive.name not in _BROKEN


def _nested(fn, x, direction, order):
  """By a jvp of a jvp of ...: any primitive, twice the cost per order."""
  if order == 0:
    return [fn(x)]
  below = lambda x: _nested(fn, x, direction, order - 1)
  values, moved = jax.jvp(below, (x,), (direction,))
  return [*values, moved[-1]]


def _body(equation: core.JaxprEqn) -> core.ClosedJaxpr | None:
  """The program an equation calls, or None if it is no plain call."""
  if equation.primitive.name not in _CALLS:
    return None
  for name in _BODIES:
    body: Any = equation.params.get(name)
    if isinstance(body, core.ClosedJaxpr):
      return body
    if isinstance(body, core.Jaxpr):
      return core.ClosedJaxpr(body, ())
  return None


def _primitives(program: core.ClosedJaxpr) -> Iterator[core.Primitive]:
  for equation in program.jaxpr.eqns:
    body = _body(equation)
    if body is None:
      yield equation.primitive
    else:
      yield from _primitives(body)


def _evaluate(program: core.ClosedJaxpr, *args: Any) -> list[Any]:
  """Runs a program with its calls inlined."""
  jaxpr = program.jaxpr
  values: dict[Any, Any] = dict(
    zip(jaxpr.constvars, program.consts, strict=True)
  )
  values.update(zip(jaxpr.invars, args, strict=True))

  def read(atom):
    return atom.val if isinstance(atom, core.Literal) else values[atom]

  for equation in jaxpr.eqns:
    inputs = [read(atom) for atom in equation.invars]
    body = _body(equation)
    if body is not None:
      outputs = _evaluate(body, *inputs)
    else:
      outputs = equation.primitive.bind(*inputs, **equation.params)
      if not equation.primitive.multiple_results:
        outputs = [outputs]
    values.update(zip(equation.outvars, outputs, strict=True))
  return [read(atom) for atom in jaxpr.outvars]
