"""Statistics of a batch, held still while a penalty is differentiated.

MixupE's q_i is the derivative of one example's logits in that example alone.
One forward-mode pass gives all q_i at once if no example's logits depend on
another's input. Batch norm in training breaks that: moving all examples towards
their mean shrinks the batch, its statistics undo the shrinking, and every q_i
comes out as zero. So the statistics are held: constants of the directional
derivative, and of nothing else. In particular the gradient of q_i in the
parameters goes through them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import chex
import jax
import jax.extend.core as core
from jax.interpreters import ad, batching, mlir
import jax.numpy as jnp

_T = TypeVar("_T")

# A context that keys JAX's caches: a function that its owner has jitted, and
# called before, is traced anew inside, where its statistics are held.
_differentiating = jax.make_user_context(False)

_hold_p = core.Primitive("hold")


def hold(statistic: chex.ArrayTree) -> chex.ArrayTree:
  """Marks a statistic that couples the examples of a batch; returns it as is.

  While an exact or a Taylor penalty takes its directional derivative the
  statistic counts as a constant of it, so that q_i = (g(f(x_i)) - y_i)^T
  df(x_i)(xbar - x_i), MixupE (UAI 2023), eq. (1), is the derivative in x_i
  alone. Everywhere else, the penalty's gradient in the parameters included,
  this is the identity and leaves no trace in the program.

  `jaxmix.models.BatchNorm` calls it. A model of your own calls it on whatever
  it computes over the batch axis, after any mean over replicas.

  Args:
    statistic: pytree of arrays, such as a batch's mean and variance.

  Returns:
    The same pytree.

  Example:
    >>> def norm(x):
    ...   mean, var = jaxmix.hold((x.mean(0), x.var(0)))
    ...   return (x - mean[None]) * jax.lax.rsqrt(var + 1e-5)[None]
    >>> x, labels = jnp.array([[0.0, 1.0], [2.0, 0.0]]), jnp.array([0, 1])
    >>> print(jaxmix.exact_directional_penalty(norm, x, labels).round(2))
    [-1.76 -1.76]
  """
  if not _differentiating.value:
    return statistic
  return jax.tree.map(lambda leaf: _hold_p.bind(jnp.asarray(leaf)), statistic)


def differentiate(derivative: Callable[[], _T]) -> _T:
  """Runs a function that differentiates, with what is marked `hold` held.

  Args:
    derivative: takes nothing, returns a pytree of arrays. Its own derivatives
      hold; a derivative taken of the result, by whoever called, does not.

  Returns:
    What it returned.
  """
  # Traced inside, evaluated outside. A mark that no tangent met in there (a
  # layer before a tap) outlives the tracing, and whoever differentiates the
  # result must find it a plain identity.
  with _differentiating(True):
    program, shapes = jax.make_jaxpr(derivative, return_shape=True)()
  outputs = core.jaxpr_as_fun(program)()
  return jax.tree.unflatten(jax.tree.structure(shapes), outputs)


def differentiating() -> bool:
  """Whether what is traced now is differentiated forward by `differentiate`.

  For a layer with two forms of which one, such as a kernel with its own reverse
  rule, has no forward mode. A jitted function is traced anew where this
  changes.
  """
  return _differentiating.value


def holds(fn: Callable[..., Any], *args: Any, axis_name: str | None) -> bool:
  """Whether a function marks anything by `hold`; nothing is computed.

  Args:
    fn: maps arrays to arrays, such as a model in training mode.
    *args: its arguments, or their shapes.
    axis_name: an axis that it takes means over, or None.

  Returns:
    True if it does.
  """
  axes = [] if axis_name is None else [(axis_name, 1)]
  with _differentiating(True):
    program = jax.make_jaxpr(fn, axis_env=axes)(*args)

  def found(jaxpr):
    return any(
      equation.primitive is _hold_p
      or any(map(found, core.jaxprs_in_params(equation.params)))
      for equation in jaxpr.eqns
    )

  return found(program.jaxpr)


def _jvp(primals, tangents):
  (x,), (tangent,) = primals, tangents
  if not _differentiating.value:
    return x, tangent
  # Marked again for the next of several nested derivatives.
  return _hold_p.bind(x), ad.Zero(jax.typeof(x).to_tangent_aval())


_hold_p.def_impl(lambda x: x)
_hold_p.def_abstract_eval(lambda x: x)
ad.primitive_jvps[_hold_p] = _jvp
batching.primitive_batchers[_hold_p] = lambda args, dims: (
  _hold_p.bind(*args),
  dims[0],
)
mlir.register_lowering(_hold_p, lambda context, x: [x])
