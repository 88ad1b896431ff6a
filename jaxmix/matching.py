"""Internal: partners by what examples hold, as positions among them."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp


def in_blocks(
  rows: chex.Array,
  own: chex.Array,
  others: chex.Array,
  block: int,
  real: chex.Array | None = None,
) -> chex.Array:
  """Matches own[r] with others[s], r and s of one block of `block` positions.

  Of each block the matching of the least sum of squared distances.

  Args:
    rows: float32 [B, D], the examples.
    own: int32 [B], positions in `rows`, in the order that is cut into blocks.
    others: likewise; a permutation of the same.
    block: static; what is left over makes a last, smaller block.
    real: bool [B], which of own, and of others, are real; these are matched
      among themselves. None means all.

  Returns:
    int32 [B], for each r the one of `others` that own[r] is matched with.
  """
  size, found = len(own), []
  whole = size - size % block
  if real is None:
    real = jnp.ones(size, bool)
  for start, stop, width in ((0, whole, block), (whole, size, size - whole)):
    if start == stop:
      continue
    cut = lambda x, a=start, b=stop, w=width: x[a:b].reshape(-1, w)
    theirs = cut(others)
    costs = _costs(rows, cut(own), theirs, cut(real))
    chosen = jax.vmap(_assign)(costs)
    found.append(jnp.take_along_axis(theirs, chosen, axis=-1).reshape(-1))
  return jnp.concatenate(found)


def _assign(costs):
  """The column of each row, [k], that together cost least of all, [k, k].

  By shortest augmenting paths (the Hungarian method), a row at a time. Rows and
  columns are counted from 1, as column 0 holds the row that is being added. As
  `optax.assignment`, but for carries that vary over a mesh as the costs do:
  shard_map refuses others.
  """
  size = len(costs)
  zeros = jnp.zeros(size + 1, costs.dtype) + 0.0 * costs[0, 0]
  nobody = zeros.astype(jnp.int32)

  def add_row(carry, row):
    row_prices, prices, owner = carry
    owner = owner.at[0].set(row + 1)

    def grow(state):
      row_prices, prices, seen, least, way, column = state
      seen = seen.at[column].set(True)
      own = owner[column]
      reduced = costs[own - 1] - row_prices[own] - prices[1:]
      nearer = ~seen[1:] & (reduced < least)
      least = jnp.where(nearer, reduced, least)
      way = jnp.where(nearer, column, way)
      ahead = jnp.where(seen[1:], jnp.inf, least)
      step = jnp.min(ahead)
      # The rows of the columns seen; others' additions fall out of the array.
      rows = jnp.where(seen, owner, size + 1)
      row_prices = row_prices.at[rows].add(step, mode="drop")
      prices = jnp.where(seen, prices - step, prices)
      least = jnp.where(seen[1:], least, least - step)
      column = jnp.argmin(ahead).astype(jnp.int32) + 1
      return row_prices, prices, seen, least, way, column

    far = zeros[1:] + jnp.inf
    start = row_prices, prices, nobody > 0, far, nobody[1:], nobody[0]
    row_prices, prices, _, _, way, column = jax.lax.while_loop(
      lambda state: owner[state[-1]] != 0, grow, start
    )

    def back(state):
      owner, column = state
      before = way[column - 1]
      return owner.at[column].set(owner[before]), before

    owner, _ = jax.lax.while_loop(
      lambda state: state[1] != 0, back, (owner, column)
    )
    return (row_prices, prices, owner), None

  rows = jnp.arange(size, dtype=jnp.int32)
  (_, _, owner), _ = jax.lax.scan(add_row, (zeros, zeros, nobody), rows)
  return jnp.argsort(owner[1:])


def _costs(rows, own, others, real):
  """Costs [blocks, k, k] with the least total where distances' squares have."""
  # |a|^2 and |b|^2 are in every matching's total; centred, products round less.
  costs = -jnp.einsum(
    "nid,njd->nij",
    rows[own],
    rows[others],
    precision=jax.lax.Precision.HIGHEST,
  )
  both = real[:, :, None] & real[:, None, :]
  # More than any matching of real ones among themselves can save.
  dear = 1.0 + 2.0 * costs.shape[-1] * jnp.max(
    jnp.abs(costs), axis=(1, 2), keepdims=True
  )
  mixed = real[:, :, None] ^ real[:, None, :]
  return jnp.where(both, costs, jnp.where(mixed, dear, 0.0))


def points(tree: chex.ArrayTree, real: chex.Array | None) -> chex.Array:
  """Examples as points, float32 [B, D], centred and of magnitude 1.

  A value that is not finite counts as 0: a search for a matching among NaN
  would not end.
  """
  leaves = [
    jax.lax.stop_gradient(x).astype(jnp.float32).reshape(len(x), -1)
    for x in jax.tree.leaves(tree)
  ]
  rows = jnp.concatenate(leaves, axis=1)
  keep = jnp.isfinite(rows)
  if real is not None:
    keep &= real[:, None]
  rows = jnp.where(keep, rows, 0.0)
  # Scaled before anything is squared, and after, as the mean may be large.
  rows = _scaled(rows)
  return _scaled(
    jnp.where(keep, rows - jnp.mean(rows, axis=0, keepdims=True), 0.0)
  )


def _scaled(rows):
  largest = jnp.max(jnp.abs(rows), initial=0.0)
  return rows / jnp.where(largest > 0.0, largest, 1.0)


def near(
  key: chex.PRNGKey,
  labels: chex.Array,
  bandwidth: chex.Numeric,
  real: chex.Array | None,
) -> chex.Array:
  """Draws j for each i by exp(-|y_i - y_j|^2 / (2 bandwidth^2)), int32 [B].

  Args:
    key: PRNG key.
    labels: [B] or [B, d] numbers.
    bandwidth: > 0.
    real: bool [B], which may be drawn; None means all.
  """
  values = jax.lax.stop_gradient(labels).astype(jnp.float32)
  values = values.reshape(len(labels), -1)
  # A bandwidth that float32 rounds to 0 draws equal labels, as its limit does.
  smallest = jnp.finfo(jnp.float32).tiny
  bandwidth = jnp.maximum(jnp.asarray(bandwidth, jnp.float32), smallest)
  apart = (values[:, None] - values[None]) / bandwidth
  logits = -0.5 * jnp.sum(jnp.square(apart), axis=-1)
  if real is not None:
    logits = jnp.where(real, logits, -jnp.inf)
  return jax.random.categorical(key, logits, axis=-1).astype(jnp.int32)
