"""Derivatives of any order along a line, without Hessians or tensors.

Forward mode nested in itself gives them, but computes the lower ones again and
again: its cost doubles with each order. So fn is traced, and its equations are
followed one by one, each taking the derivatives of its inputs to those of its
output. Products have Leibniz's rule. Any other equation has its own rule of
forward mode, a custom one included, which is a program in the inputs and their
first derivatives, and is followed with one order less.

So all orders know the same primitives, and say the same at kinks and ties:
what `jax.jvp` says. A layer that is linear costs one application an order, and
none where a derivative is known to be zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
import math
import os
from typing import Any

import chex
import jax
import jax.extend.core as core
from jax.interpreters import ad
import jax.numpy as jnp

# Where functions with custom rules are defined whose rules can be trusted.
_OWN = os.path.dirname(jax.__file__)
# A value and its derivatives along the line, the first first; None is a zero.
_Series = list[Any]

# Calls that stand for the program inside them, and the parameter it is in.
_CALLS = {
  "closed_call": "call_jaxpr",
  "core_call": "call_jaxpr",
  "jit": "jaxpr",
  "pjit": "jaxpr",
}
# Linear in each of two inputs. By their own rule of forward mode the number of
# terms would double with each order.
_PRODUCTS = frozenset(["conv_general_dilated", "dot_general", "mul"])


def derivatives(
  fn: Callable[[chex.Array], chex.Array],
  x: chex.Array,
  direction: chex.Array,
  order: int,
) -> list[chex.Array]:
  """d^j/da^j fn(x + a direction) at a = 0, for j = 0..order.

  They are what nested forward mode gives, at kinks and under custom derivatives
  too. Loops and branches in fn do cost as nested forward mode, twice an order.

  Args:
    fn: maps an array to an array.
    x: where, any shape, floats.
    direction: shaped like x.
    order: the highest derivative, >= 0.

  Returns:
    order + 1 arrays shaped as fn's result, fn(x) itself first.

  Raises:
    TypeError: if x is not floating point, or fn has a custom_vjp, which forward
      mode cannot follow.
    ValueError: if order < 0 or shapes differ.

  Example:
    >>> derivatives = jaxmix.taylor.derivatives
    >>> cube = derivatives(lambda x: x**3, jnp.array(2.0), jnp.array(1.0), 3)
    >>> [round(float(term), 3) for term in cube]
    [8.0, 12.0, 12.0, 6.0]
  """
  if order < 0:
    raise ValueError(f"order must be at least 0, got {order}.")
  x = jnp.asarray(x)
  if not jnp.issubdtype(x.dtype, jnp.inexact):
    raise TypeError(f"x must be floating point, got {x.dtype}.")
  if jnp.shape(direction) != x.shape:
    raise ValueError(
      f"direction must be shaped like x, {x.shape}, got {jnp.shape(direction)}."
    )
  direction = jnp.asarray(direction, x.dtype)
  traced = jax.make_jaxpr(fn)(x)
  if any(map(_is_strange, _equations(traced.jaxpr))):
    return _nested(fn, x, direction, order)
  return _along(traced, [x, direction, *[None] * order][: order + 1])


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
  return _along(jax.make_jaxpr(fn)(x), [x, *series])[1:]


def _along(traced: core.ClosedJaxpr, series: _Series) -> list[chex.Array]:
  (found,) = _follow(traced, [series], len(series) - 1)
  return [_or_zero(term, found[0]) for term in found]


def _nested(fn, x, direction, order):
  """By a jvp of a jvp of ...: any rule, twice the cost per order."""
  if order == 0:
    return [fn(x)]
  below = lambda x: _nested(fn, x, direction, order - 1)
  values, moved = jax.jvp(below, (x,), (direction,))
  return [*values, moved[-1]]


def _is_strange(equation: core.JaxprEqn) -> bool:
  """Whether it has a custom rule of forward mode that is not JAX's own.

  Such a rule may return a value whose derivative is not what the rule says (a
  straight-through jnp.round(x), beside a tangent as it came). Then a value and
  its derivatives are no series: forward mode, nested, takes each in its turn.
  """
  if equation.primitive.name != "custom_jvp_call":
    return False
  return f" at {_OWN}{os.sep}" not in _source(equation)


def _source(equation: core.JaxprEqn) -> str:
  """The name and the place of a function with a custom rule."""
  info = equation.params["call_jaxpr"].jaxpr.debug_info.func_src_info
  return info or "a function"


def _equations(jaxpr: core.Jaxpr) -> Iterator[core.JaxprEqn]:
  for equation in jaxpr.eqns:
    yield equation
    for inner in core.jaxprs_in_params(equation.params):
      yield from _equations(inner)


def _follow(
  program: core.ClosedJaxpr, inputs: list[_Series], order: int
) -> list[_Series]:
  """Takes a program's inputs' series to its outputs'."""
  jaxpr = program.jaxpr
  still = [None] * order
  known: dict[Any, _Series] = {
    var: [const, *still]
    for var, const in zip(jaxpr.constvars, program.consts, strict=True)
  }
  known.update(zip(jaxpr.invars, inputs, strict=True))

  def read(atom):
    return [atom.val, *still] if isinstance(atom, core.Literal) else known[atom]

  for equation in _needed(jaxpr):
    found = _step(equation, [read(atom) for atom in equation.invars], order)
    known.update(zip(equation.outvars, found, strict=True))
  return [read(atom) for atom in jaxpr.outvars]


def _step(equation, inputs: list[_Series], order: int) -> list[_Series]:
  """`_follow` for one equation."""
  name = equation.primitive.name
  moving = [i for i, series in enumerate(inputs) if _moves(series)]
  if name in _CALLS:
    return _follow(equation.params[_CALLS[name]], inputs, order)
  if moving and name in _PRODUCTS:
    return [_leibniz(equation, inputs[0], inputs[1], order)]
  if moving and name == "checkpoint":
    body = core.ClosedJaxpr(equation.params["jaxpr"], ())
    rerun = lambda inputs: _follow(body, inputs, order)
    options = {k: equation.params[k] for k in ("policy", "prevent_cse")}
    return jax.checkpoint(rerun, **options)(inputs)
  if moving and name.startswith("custom_vjp_call"):
    raise TypeError(
      f"Forward mode cannot follow the custom_vjp of {_source(equation)}; give "
      f"it a jax.custom_jvp instead."
    )
  values = [series[0] for series in inputs]
  outputs = _bind(equation, values)
  smooth = [_inexact(output) for output in outputs]
  still = [[output, *[None] * order] for output in outputs]
  if not moving or not any(smooth):
    return still

  def slopes(values_moving, tangents):
    def call(*values_moving):
      every = list(values)
      for i, value in zip(moving, values_moving, strict=True):
        every[i] = value
      return [out for out in _bind(equation, every) if _inexact(out)]

    return jax.jvp(call, values_moving, tangents)[1]

  # The derivatives of x'(a) are those of x(a), one order on. Forward mode wants
  # zeros where the first is zero, and later ones are not.
  lower = [inputs[i][:-1] for i in moving]
  raised = [[_or_zero(s[1], s[0]), *s[2:]] for s in (inputs[i] for i in moving)]
  starts = [tuple(s[0] for s in half) for half in (lower, raised)]
  program = jax.make_jaxpr(slopes)(*starts)
  rest = iter(_follow(program, lower + raised, order - 1))
  reached = iter(_reached(program.jaxpr, len(moving)))
  for series, moves in zip(still, smooth, strict=True):
    if moves:
      higher, moves = next(rest), next(reached)
    if moves:
      series[1:] = higher
  return still


def _leibniz(equation, one: _Series, other: _Series, order: int) -> _Series:
  """(f g)^(j) = sum_k binom(j, k) f^(k) g^(j - k)."""
  found = []
  for j in range(order + 1):
    total = None
    for k in range(j + 1):
      if one[k] is None or other[j - k] is None:
        continue
      (term,) = _bind(equation, [one[k], other[j - k]])
      if math.comb(j, k) > 1:
        term = math.comb(j, k) * term
      total = term if total is None else total + term
    found.append(total)
  return found


def _bind(equation, values) -> list[Any]:
  primitive = equation.primitive
  with equation.ctx.manager:
    found = primitive.bind(
      *values, **primitive.get_bind_params(equation.params)
    )
  return found if primitive.multiple_results else [found]


def _needed(jaxpr: core.Jaxpr) -> list[core.JaxprEqn]:
  """The equations that the outputs, or anything outside, depend on.

  A linear equation's rule does not use its value, to which forward mode
  computes it all the same: followed, it would double with each order.
  """
  live = set(_variables(jaxpr.outvars))
  kept = []
  for equation in reversed(jaxpr.eqns):
    if equation.effects or live.intersection(equation.outvars):
      kept.append(equation)
      live.update(_variables(equation.invars))
  return kept[::-1]


def _reached(jaxpr: core.Jaxpr, count: int) -> list[bool]:
  """Which outputs the last inputs reach: a slope that none does is zero."""
  touched = set(jaxpr.invars[-count:])
  for equation in jaxpr.eqns:
    if touched.intersection(_variables(equation.invars)):
      touched.update(equation.outvars)
  return [bool(touched.intersection(_variables([v]))) for v in jaxpr.outvars]


def _variables(atoms):
  return [atom for atom in atoms if not isinstance(atom, core.Literal)]


def _moves(series: _Series) -> bool:
  return any(term is not None for term in series[1:])


def _inexact(value) -> bool:
  return jnp.issubdtype(jax.typeof(value).dtype, jnp.inexact)


def _or_zero(term, like):
  # As a mesh splits it, which jnp.zeros_like may not.
  if term is not None:
    return term
  return ad.instantiate_zeros(ad.Zero(jax.typeof(like).to_tangent_aval()))
