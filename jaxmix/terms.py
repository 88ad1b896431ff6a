"""Internal: derivatives of the loss in a direction, from those of the logits.

f are logits, g the link (softmax or sigmoid), y one-hot labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import chex
import jax
import jax.numpy as jnp

from jaxmix import checks, meshes, shares, taylor
from jaxmix.losses import MixedTargets


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


def loss_derivatives(
  logits: chex.Array,
  series: Sequence[chex.Array],
  labels: chex.Array | MixedTargets,
  link: str | None,
) -> list[chex.Array]:
  """Derivatives of h(f) - y f from those of f, float32 [B] each."""
  link = _link(logits, link)
  # In float32: h's and y f's derivatives nearly cancel where the model is sure.
  logits = logits.astype(jnp.float32)
  series = [term.astype(jnp.float32) for term in series]

  def partition(f):
    if link == "softmax":
      return jax.nn.logsumexp(f, axis=-1)
    # The paper's logistic loss has one output; those of K classes add up.
    return _sum_classes(jax.nn.softplus(f))

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
  # In x's own dtype, the only one that jvp takes for a tangent of x.
  return jax.tree.map(
    lambda leaf, mean: jnp.asarray(mean, leaf.dtype) - leaf, x, input_mean
  )


def residual_dot(logits, vectors, labels, link):
  """(y_i - g(f_i))^T v_i in float32, [B], without a one-hot."""
  link = _link(logits, link)
  logits = logits.astype(jnp.float32)
  vectors = vectors.astype(jnp.float32)
  # No stop_gradient on g(f): the paper's listing differentiates through it.
  softmax = link == "softmax"
  guess = jax.nn.softmax(logits) if softmax else jax.nn.sigmoid(logits)
  # A masked class has probability 0 and the logit -inf, whose product is NaN.
  # A maximum, as a select compiles to sums of another rounding.
  pulled = _sum_classes(guess * jnp.maximum(vectors, -1e30))
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
