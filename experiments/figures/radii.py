"""How far a network's answers stand: by attack, and by its tangent."""

from __future__ import annotations

from typing import Any

import chex
import jax
import jax.numpy as jnp

import jaxmix

# PGD's, within each of the bisections of an example's radius.
STEPS = 20
STARTS = 2
BISECTIONS = 8
# Larger than any radius found, in deviations of a pixel.
FARTHEST = 16.0


def measured(
  key: chex.PRNGKey, logit_fn: Any, x: chex.Array, y: chex.Array, loss_fn: Any
) -> chex.Array:
  """The shortest l2 steps that PGD finds to a wrong answer, by bisection.

  Args:
    key: PRNG key of the starts.
    logit_fn: maps [n, d] to logits [n] or [n, K].
    x: [n, d] floats.
    y: [n] labels.
    loss_fn: that PGD raises.

  Returns:
    [n]: 0 where the answer is wrong already, FARTHEST where none was found.
  """
  wrong = lambda points, labels: ~right(logit_fn(points), labels)

  def one(key, point, label):
    repeated = jnp.broadcast_to(point, (STARTS, *point.shape))
    labels = jnp.broadcast_to(label, (STARTS,))

    def fooled(key, epsilon):
      found = jaxmix.pgd(
        key,
        logit_fn,
        repeated,
        labels,
        epsilon=epsilon,
        norm="l2",
        steps=STEPS,
        loss_fn=loss_fn,
      )
      return jnp.any(wrong(found, labels))

    def halve(ends, key):
      low, high = ends
      middle = 0.5 * (low + high)
      hit = fooled(key, middle)
      return (jnp.where(hit, low, middle), jnp.where(hit, middle, high)), None

    ends = jnp.zeros((), x.dtype), jnp.full((), FARTHEST, x.dtype)
    (_, high), _ = jax.lax.scan(halve, ends, jax.random.split(key, BISECTIONS))
    return jnp.where(wrong(point[None], label[None])[0], 0.0, high)

  return jax.vmap(one)(jax.random.split(key, len(x)), x, y)


def linear(logit_fn: Any, x: chex.Array, y: chex.Array) -> chex.Array:
  """The distance [n] to the boundary of the network's tangent at an example.

  Args:
    logit_fn: maps [n, d] to logits [n] or [n, K].
    x: [n, d] floats.
    y: [n] labels.

  Returns:
    min_k margin / |d margin|: 0 where the answer is wrong.
  """

  def one(point, label):
    logits_of = lambda point: jnp.atleast_1d(logit_fn(point[None])[0])
    logits, slopes = logits_of(point), jax.jacrev(logits_of)(point)
    if len(logits) == 1:
      margin = logits * (2.0 * label - 1.0)
    else:
      margin = logits[label] - logits
      slopes = slopes[label][None] - slopes
    length = jnp.linalg.norm(slopes, axis=1)
    away = jnp.where(length > 0.0, margin / jnp.maximum(length, 1e-30), jnp.inf)
    return jnp.maximum(jnp.min(away), 0.0)

  return jax.vmap(one)(x, y)


def right(logits: chex.Array, y: chex.Array) -> chex.Array:
  """Whether logits, [n] or [n, K], say the label, [n]."""
  if logits.ndim == 1:
    return (logits > 0.0) == (y > 0.5)
  return jnp.argmax(logits, axis=1) == y
