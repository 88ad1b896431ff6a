"""The directional terms of Mixup that MixupE penalises, as functions.

f are logits, g the link (softmax or sigmoid), y one-hot labels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp

from jaxmix import checks, losses, taylor, terms
from jaxmix.holding import differentiate
from jaxmix.losses import MixedTargets


def directional_penalty(
  logits: chex.Array,
  labels: chex.Array | MixedTargets,
  *,
  link: terms.Link = None,
) -> chex.Array:
  """qbar_i = (y_i - g(f_i))^T f_i, the approximate first-order term, signed.

  MixupE (UAI 2023), eq. (2): equals the exact q_i of eq. (1) where the inputs'
  mean is zero and the network positively homogeneous (bias-free ReLU).

  Args:
    logits: f, [B, K] with softmax, [B] (or [B, K]) with sigmoid; any float
      dtype.
    labels: [B] integers, [B, K] probabilities, or `MixedTargets` of either;
      with sigmoid, probabilities or 0/1 shaped like the logits, or [B]
      integers for [B, K] logits: each class against the rest.
    link: "softmax", "sigmoid", or None: sigmoid for [B] logits, softmax
      otherwise. Or any target-linear loss, (logits, labels) -> [B], whose
      derivative dl/df then stands for g(f) - y.

  Returns:
    float32 [B].

  Raises:
    TypeError: if labels are neither integers nor floats.
    ValueError: if shapes do not fit or the link is unknown.

  Example:
    >>> logits = jnp.array([[0.0, jnp.log(3.0)]])  # softmax (1/4, 3/4)
    >>> print(jaxmix.directional_penalty(logits, jnp.array([1])).round(3))
    [0.275]
  """
  logits = jnp.asarray(logits)
  # The second logits stand for df(x_i) x_i, which no pass has to compute.
  with losses.along_outputs(True):
    return terms.residual_dot(logits, logits, labels, link)


def exact_directional_penalty(
  apply_fn: Callable[..., Any],
  x: chex.ArrayTree,
  labels: chex.Array | MixedTargets,
  input_mean: chex.ArrayTree | chex.Numeric = 0.0,
  *,
  link: terms.Link = None,
) -> chex.Array:
  """q_i = (g(f(x_i)) - y_i)^T df(x_i)(xbar - x_i), the exact first-order term.

  MixupE (UAI 2023), eq. (1), by one forward-mode `jax.jvp`: no double backward
  when its gradient is taken. It is the derivative in x_i alone. So what couples
  the examples, batch norm's statistics in training, must be held still along
  it: `jaxmix.models` do so, models of your own by `jaxmix.hold`.

  Args:
    apply_fn: maps inputs to logits.
    x: pytree of [B, ...] float inputs.
    labels: as in `directional_penalty`.
    input_mean: xbar: a scalar, or a pytree like `x` whose leaves broadcast
      against x's (such as [1, C] or [1, H, W, C]; per-channel means as [1, 1,
      1, C]).
    link: as in `directional_penalty`.

  Returns:
    float32 [B].

  Raises:
    TypeError: if inputs are not floating point or labels make no sense.
    ValueError: if shapes do not fit or the link is unknown.

  Example:
    >>> x, labels = jnp.array([[0.0, jnp.log(3.0)]]), jnp.array([1])
    >>> print(jaxmix.exact_directional_penalty(lambda x: x, x, labels).round(3))
    [0.275]
  """
  x = checks.floating("x", x)
  checks.batch_size(x=x)
  direction = terms.towards_mean(x, input_mean)
  # One tangent moves all examples at once, see `jaxmix.hold`.
  logits, tangent = differentiate(lambda: jax.jvp(apply_fn, (x,), (direction,)))
  # residual_dot has the y - g of eq. (2), and eq. (1) has g - y.
  return -terms.residual_dot(logits, tangent, labels, link)


def taylor_penalty(
  apply_fn: Callable[..., Any],
  x: chex.ArrayTree,
  labels: chex.Array | MixedTargets,
  input_mean: chex.ArrayTree | chex.Numeric = 0.0,
  *,
  order: int,
  link: terms.Link = None,
) -> chex.Array:
  """d^j/da^j l(f(x_i + a (xbar - x_i)), y_i) at a = 0, for j = 1..order.

  The directional terms of MixupE's Theorem 1 along xbar - x_i; j = 1 is
  `exact_directional_penalty`. The paper enhances the first and names the others
  as future work. They come from one Taylor-mode pass where `jaxmix.taylor`
  knows every primitive of the model, else by nesting forward mode. Statistics
  of the batch are held, as there.

  Args:
    apply_fn: maps an array of inputs to logits.
    x: [B, ...] float inputs, one array.
    labels: as in `directional_penalty`.
    input_mean: xbar, as in `exact_directional_penalty`.
    order: J >= 1.
    link: as in `directional_penalty`.

  Returns:
    float32 [J, B].

  Raises:
    TypeError: if x is not one floating point array, or labels make no sense.
    ValueError: if shapes do not fit, the link is unknown or order < 1.

  Example:
    >>> x, labels = jnp.array([[0.0, jnp.log(3.0)]]), jnp.array([1])
    >>> terms = jaxmix.taylor_penalty(lambda x: x, x, labels, order=2)
    >>> print([round(float(term), 3) for term in terms[:, 0]])
    [0.275, 0.226]
  """
  x = checks.floating("x", x)
  checks.batch_size(x=x)
  terms.check_order(order)
  terms.check_single(x)
  direction = terms.towards_mean(x, input_mean)
  logits, *series = differentiate(
    lambda: taylor.derivatives(apply_fn, x, direction, order)
  )
  return jnp.stack(terms.loss_derivatives(logits, series, labels, link))
