"""Internal: derivatives of the loss in a direction, from those of the logits.

f are logits, g the link (softmax or sigmoid), y one-hot labels. A link names
the loss h(f) - y f whose closed forms are taken; any other target-linear loss l
stands for itself, as what is differentiated: g(f) - y is dl/df.
"""

from __future__ import annotations

from collections.abc import Sequence
import math

import chex
import jax
import jax.numpy as jnp

from jaxmix import checks, losses, meshes, shares, taylor
from jaxmix.losses import LossFn, MixedTargets

Link = str | LossFn | None


def check_order(order: int) -> None:
  """Raises ValueError unless order >= 1."""
  if order < 1:
    raise ValueError(f"order must be at least 1, got {order}.")


def check_single(x: chex.ArrayTree) -> None:
  """Raises TypeError unless x is one array."""
  if not jax.tree_util.treedef_is_leaf(jax.tree.structure(x)):
    raise TypeError(
      f"x must be one array for a Taylor penalty, got {jax.tree.structure(x)}."
    )


def link_of(loss_fn: LossFn, link: str | None) -> Link:
  """The link whose penalty a loss has: the one named, or else the loss's own.

  Args:
    loss_fn: what is trained.
    link: "softmax", "sigmoid", or None.

  Returns:
    The loss itself, unless it is one whose closed form is known.
  """
  if link is not None:
    return link
  if loss_fn is losses.softmax_cross_entropy:
    return "softmax"
  return "sigmoid" if loss_fn is losses.logistic else loss_fn


def loss_derivatives(
  logits: chex.Array,
  series: Sequence[chex.Array],
  labels: chex.Array | MixedTargets,
  link: Link,
) -> list[chex.Array]:
  """Derivatives of h(f) - y f from those of f, float32 [B] each."""
  link = _link(logits, link)
  # In float32: h's and y f's derivatives nearly cancel where the model is sure.
  logits = logits.astype(jnp.float32)
  series = [term.astype(jnp.float32) for term in series]
  if callable(link):
    own = lambda f: _loss(link, f, labels)
    if meshes.is_split(logits):
      return taylor.compose(own, logits, series)
    # By the polynomial that has the series for derivatives: up to order 2 this
    # honours a loss's own derivatives, such as log-sigmoid's at 0.
    powers = [term / math.factorial(j) for j, term in enumerate(series, 1)]
    path = lambda a: logits + sum(a**j * p for j, p in enumerate(powers, 1))
    start, order = jnp.zeros((), jnp.float32), len(series)
    along = lambda a: own(path(a))
    return taylor.derivatives(along, start, jnp.ones_like(start), order)[1:]

  def partition(f):
    if link == "softmax":
      return jax.nn.logsumexp(f, axis=-1)
    # The paper's logistic loss has one output; those of K classes add up.
    return _sum_classes(taylor.softplus(f))

  return [
    curve - _target_dot(term, labels, link)
    for curve, term in zip(
      taylor.compose(partition, logits, series), series, strict=True
    )
  ]


def towards_mean(x, input_mean):
  """xbar - x, leaf by leaf; a scalar xbar stands for every leaf."""
  if jax.tree_util.treedef_is_leaf(jax.tree.structure(x)):
    # Of a mean a channel, say; beside several leaves it is a mean a leaf.
    input_mean = checks.array_of_list("input_mean", input_mean)
  single = jax.tree_util.treedef_is_leaf(jax.tree.structure(input_mean))
  if single and jnp.ndim(input_mean) == 0:
    return jax.tree.map(
      lambda leaf: jnp.asarray(input_mean, leaf.dtype) - leaf, x
    )
  # In x's own dtype, the only one that jvp takes for a tangent of x.
  return jax.tree.map(
    lambda leaf, mean: jnp.asarray(mean, leaf.dtype) - leaf, x, input_mean
  )


def residual_dot(logits, vectors, labels, link, detached=False):
  """(y_i - g(f_i))^T v_i in float32, [B], without a one-hot."""
  link = _link(logits, link)
  logits = logits.astype(jnp.float32)
  vectors = vectors.astype(jnp.float32)
  # The paper's listing differentiates through g(f).
  constant = jax.lax.stop_gradient if detached else lambda x: x
  if callable(link):
    slope = jax.grad(lambda f: jnp.sum(_loss(link, f, labels)))(logits)
    products = shares.weighed(constant(slope), vectors)
    return -jnp.sum(products, axis=tuple(range(1, products.ndim)))
  softmax = link == "softmax"
  guess = jax.nn.softmax(logits) if softmax else jax.nn.sigmoid(logits)
  guess = constant(guess)
  # A masked class has probability 0 and the logit -inf, whose product is NaN.
  # A maximum, as a select compiles to sums of another rounding.
  pulled = _sum_classes(guess * jnp.maximum(vectors, -1e30))
  return _target_dot(vectors, labels, link) - pulled


def _loss(loss_fn, logits, labels):
  """A loss at labels or at mixed targets, [B]."""
  if isinstance(labels, MixedTargets):
    return losses.mixed_loss(loss_fn, logits, labels)
  return loss_fn(logits, labels)


def _link(logits, link):
  """The link in force, checked against the logits' shape."""
  if callable(link):
    return link
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
  return shares.blend(meshes.like(labels.weight, own), own, other)


def _label_dot(vectors, labels, link):
  """y_i^T v_i for integer or dense labels, [B]."""
  checks.label_array("labels", labels)
  labels = meshes.like(labels, vectors)
  integer = jnp.issubdtype(jnp.result_type(labels), jnp.integer)
  # Under the sigmoid, [B] integers beside [B, K] logits are classes, too: one
  # of K logistic losses has the label 1. [B, K] integers are those 0s and 1s.
  classes = link == "softmax" or jnp.ndim(labels) < vectors.ndim
  if integer and classes:
    if jnp.shape(labels) != vectors.shape[:1]:
      raise ValueError(
        f"integer labels must be [B] = {vectors.shape[:1]}, got "
        f"{jnp.shape(labels)}"
        f"{checks.class_shape_hint(labels, vectors.shape)}."
      )
    return shares.pick(meshes.whole_classes(vectors), labels)
  if jnp.shape(labels) != vectors.shape:
    raise ValueError(
      f"labels must have the logits' shape {vectors.shape}, got "
      f"{jnp.shape(labels)}."
    )
  return _sum_classes(shares.weighed(shares.probabilities(labels), vectors))


def _sum_classes(values):
  return values if values.ndim == 1 else jnp.sum(values, axis=-1)
