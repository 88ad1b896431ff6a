"""Internal: label lookups and weighted sums that are right at their edges.

A label that is no class counts as NaN, wherever it is looked up, instead of as
another class (an index of -1) or as none (a one-hot row of zeros). What has no
weight counts as nothing, even if it is not finite.
"""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp

from jaxmix import checks


def class_index(
  labels: chex.Array, num_classes: int, ignore_label: int | None = None
) -> chex.Array:
  """Integer labels, those below 0 moved to num_classes, out of range as well.

  Raises:
    ValueError: if a label is known, and is neither a class nor ignore_label.
  """
  checks.label_range("labels", labels, num_classes, ignore_label)
  labels = jnp.asarray(labels)
  if labels.dtype.itemsize < 4:
    # int8 does not hold 1000 classes.
    labels = labels.astype(jnp.int32)
  # A gather counts negative indices from the end.
  return jnp.where(labels < 0, num_classes, labels)


def pick(values: chex.Array, labels: chex.Array) -> chex.Array:
  """values [..., K] at integer labels [...], NaN where that is no class."""
  index = class_index(labels, values.shape[-1])[..., None]
  return jnp.take_along_axis(values, index, axis=-1, mode="fill")[..., 0]


def one_hot(
  labels: chex.Array, num_classes: int, ignore_label: int | None = None
) -> chex.Array:
  """float32 rows [..., K], NaN where the label is no class, 0 if ignored."""
  index = class_index(labels, num_classes, ignore_label)
  known = index < num_classes
  if ignore_label is not None:
    known |= jnp.asarray(labels) == ignore_label
    index = jnp.where(jnp.asarray(labels) == ignore_label, num_classes, index)
  rows = jax.nn.one_hot(index, num_classes, dtype=jnp.float32)
  return jnp.where(known[..., None], rows, jnp.nan)


def probabilities(labels: chex.Array) -> chex.Array:
  """float32 labels of yes or no; integers but 0 and 1 are NaN.

  Raises:
    ValueError: if an integer is known and neither.
  """
  integer = jnp.issubdtype(jnp.result_type(labels), jnp.integer)
  if integer:
    checks.label_range("labels", labels, 2)
  labels = jnp.asarray(labels)
  floats = labels.astype(jnp.float32)
  if not integer:
    return floats
  return jnp.where((labels == 0) | (labels == 1), floats, jnp.nan)


def weighed(weight: chex.Numeric, value: chex.Array) -> chex.Array:
  """weight * value, and 0 where weight is 0, even if value is not finite.

  Finite values are multiplied as ever, so that the gradient in a weight of 0
  is still the value.
  """
  nothing = (weight == 0) & ~jnp.isfinite(value)
  return weight * jnp.where(nothing, jnp.zeros_like(value), value)


def blend(weight: chex.Array, own: chex.Array, other: chex.Array) -> chex.Array:
  """weight * own + (1 - weight) * other, what has no weight left out."""
  return weighed(weight, own) + weighed(1.0 - weight, other)
