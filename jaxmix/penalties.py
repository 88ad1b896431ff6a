"""The directional terms of Mixup that MixupE penalises.

f are logits, g the link (softmax or sigmoid), y one-hot labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import chex
import jax
import jax.numpy as jnp

from jaxmix import checks, taylor
from jaxmix.holding import differentiate
from jaxmix.losses import MixedTargets


def directional_penalty(
  logits: chex.Array,
  labels: chex.Array | MixedTargets,
  *,
  link: str | None = None,
) -> chex.Array:
  """qbar_i = (y_i - g(f_i))^T f_i, the approximate first-order term, signed.

  MixupE (UAI 2023), eq. (2): equals the exact q_i of eq. (1) where the inputs'
  mean is zero and the network positively homogeneous (bias-free ReLU).

  Args:
    logits: f, [B, K] with softmax, [B] (or [B, K]) with sigmoid; any float
    dtype.
    labels: [B] integers, [B, K] probabilities, or `MixedTargets` of either;
      with sigmoid, probabilities or 0/1 shaped like the logits.
    link: "softmax", "sigmoid", or None: sigmoid for [B] logits, softmax
    otherwise.

  Returns:
    float32 [B].

  Raises:
    TypeError: if labels are neither integers nor floats.
    ValueError: if shapes do not fit or the link is unknown.
  """
  return residual_dot(logits, logits, labels, link)


def exact_directional_penalty(
  apply_fn: Callable[..., Any],
  x: chex.ArrayTree,
  labels: chex.Array | MixedTargets,
  input_mean: chex.ArrayTree | chex.Numeric = 0.0,
  *,
  link: str | None = None,
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
  """
  checks.floating("x", x)
  checks.batch_size(x=x)
  direction = towards_mean(x, input_mean)
  logits, tangent = differentiate(lambda: jax.jvp(apply_fn, (x,), (direction,)))
  return -residual_dot(logits, tangent, labels, link)


def taylor_penalty(
  apply_fn: Callable[..., Any],
  x: chex.ArrayTree,
  labels: chex.Array | MixedTargets,
  input_mean: chex.ArrayTree | chex.Numeric = 0.0,
  *,
  order: int,
  link: str | None = None,
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
  """
  checks.floating("x", x)
  checks.batch_size(x=x)
  check_order(x, order)
  direction = towards_mean(x, input_mean)
  logits, *series = differentiate(
    lambda: taylor.derivatives(apply_fn, x, direction, order)
  )
  return jnp.stack(loss_derivatives(logits, series, labels, link))


def check_order(x: chex.ArrayTree, order: int) -> None:
  """Raises what `taylor_penalty` says about x and order."""
  if not jax.tree_util.treedef_is_leaf(jax.tree.structure(x)):
    raise TypeError(
      f"x must be one array for a Taylor penalty, got {jax.tree.structure(x)}."
    )
  if order < 1:
    raise ValueError(f"order must be at least 1, got {order}.")


def loss_derivatives(
  logits: chex.Array,
  series: Sequence[chex.Array],
  labels: chex.Array | MixedTargets,
  link: str | None,
) -> list[chex.Array]:
  """Derivatives of h(f) - y f from those of f, float32 [B] each."""
  link = _link(logits, link)
  logits = logits.astype(jnp.float32)
  series = [term.astype(jnp.float32) for term in series]

  def partition(f):
    if link == "softmax":
      return jax.nn.logsumexp(f, axis=-1)
    return _sum_classes(taylor.softplus(f))

  return [
    curve - _target_dot(term, labels, link)
    for curve, term in zip(
      taylor.compose(partition, logits, series), series, strict=True
    )
  ]


def towards_mean(x, input_mean):
  """xbar - x, leaf by leaf; a scalar xbar stands for every leaf."""
  single = jax.tree_util.treedef_is_leaf(jax.tree.structure(input_mean))
  if single and jnp.ndim(input_mean) == 0:
    return jax.tree.map(
      lambda leaf: jnp.asarray(input_mean, leaf.dtype) - leaf, x
    )
  return jax.tree.map(
    lambda leaf, mean: jnp.asarray(mean, leaf.dtype) - leaf, x, input_mean
  )


def residual_dot(logits, vectors, labels, link):
  """(y_i - g(f_i))^T v_i in float32, [B], without a one-hot."""
  link = _link(logits, link)
  logits = logits.astype(jnp.float32)
  vectors = vectors.astype(jnp.float32)
  if link == "softmax":
    pulled = jnp.sum(jax.nn.softmax(logits) * vectors, axis=-1)
  else:
    pulled = _sum_classes(jax.nn.sigmoid(logits) * vectors)
  return _target_dot(vectors, labels, link) - pulled


def _link(logits, link):
  """The link in force, checked against the logits' shape."""
  if link is None:
    link = "sigmoid" if logits.ndim == 1 else "softmax"
  checks.choice("link", link, ("softmax", "sigmoid"))
  if logits.ndim not in (1, 2) or (link == "softmax" and logits.ndim != 2):
    raise ValueError(
      f"logits must be [B, K] (or [B] with link='sigmoid'), got shape "
      f"{logits.shape} with link={link!r}."
    )
  return link


def _target_dot(vectors, labels, link):
  """y_i^T v_i for labels or mixed targets, [B]."""
  if not isinstance(labels, MixedTargets):
    return _label_dot(vectors, labels, link)
  own = _label_dot(vectors, labels.first, link)
  other = _label_dot(vectors, labels.second, link)
  return labels.weight * own + (1.0 - labels.weight) * other


def _label_dot(vectors, labels, link):
  """y_i^T v_i for integer or dense labels, [B]."""
  checks.label_array("labels", labels)
  integer = jnp.issubdtype(jnp.result_type(labels), jnp.integer)
  if link == "softmax" and integer:
    if jnp.shape(labels) != vectors.shape[:1]:
      raise ValueError(
        f"integer labels must be [B] = {vectors.shape[:1]}, got "
        f"{jnp.shape(labels)}."
      )
    index = jnp.asarray(labels)[:, None]
    return jnp.take_along_axis(vectors, index, axis=-1)[:, 0]
  if jnp.shape(labels) != vectors.shape:
    raise ValueError(
      f"labels must have the logits' shape {vectors.shape}, got "
      f"{jnp.shape(labels)}."
    )
  return _sum_classes(jnp.asarray(labels).astype(jnp.float32) * vectors)


def _sum_classes(values):
  return values if values.ndim == 1 else jnp.sum(values, axis=-1)
