"""Internal: means over all replicas' real examples, share by share."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp

from jaxmix import meshes


def mean_share(
  values: chex.Array, mask: chex.Array | None, axis_name: str | None
) -> chex.Array:
  """This replica's share of the mean of `values` over real examples.

  Shares are scaled so that their mean over replicas (what `pmean` of losses or
  gradients takes) is the mean over all real examples, even where replicas hold
  different numbers of them.

  Args:
    values: [B] floats.
    mask: bool [B], or None: all real.
    axis_name: mapped axis of the replicas, or None.

  Returns:
    Scalar.
  """
  values = jnp.asarray(values)
  if mask is None:
    return jnp.mean(values)
  mask = meshes.like(mask, values)
  count = jnp.sum(mask, dtype=values.dtype)
  if axis_name is not None:
    count = jax.lax.pmean(count, axis_name)
  # Below one only when there are no examples at all, or fewer than replicas.
  safe = jnp.where(count > 0.0, count, 1.0)
  return jnp.sum(jnp.where(mask, values, 0.0)) / safe


def mean_gradients(
  grads: chex.ArrayTree, loss: chex.Array, axis_name: str
) -> chex.ArrayTree:
  """The replicas' mean, of own gradients or of what shard_map summed.

  Args:
    grads: pytree of gradients of the loss.
    loss: this replica's.
    axis_name: mapped axis of the replicas.

  Returns:
    The averaged gradients, the same on all replicas.
  """

  def varies(x):
    return axis_name in jax.typeof(x).manual_axis_type.varying

  if not varies(loss):
    return jax.lax.pmean(grads, axis_name)
  # check_vma=True: gradients of replicated parameters are sums already.
  count = jax.lax.axis_size(axis_name)
  return jax.tree.map(
    lambda g: jax.lax.pmean(g, axis_name) if varies(g) else g / count, grads
  )
