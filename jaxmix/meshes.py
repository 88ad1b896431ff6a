"""Internal: arrays that a mesh with explicit axes splits.

There JAX knows every array's sharding while it traces, and asks for the
result's wherever rows move between devices. Everywhere else (no mesh, automatic
or manual axes) nothing here leaves a trace in the program.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
import numpy as np


def is_split(*arrays: chex.Array) -> bool:
  """Whether explicit axes of a mesh split any of the arrays."""
  return any(entry is not None for x in arrays for entry in _entries(x))


def whole(x: chex.Array) -> chex.Array:
  """Returns x on every device: an all-gather where it is split."""
  return _placed(x, [None] * jnp.ndim(x))


def whole_classes(logits: chex.Array) -> chex.Array:
  """Returns [..., K] logits whose last axis is not split."""
  return _placed(logits, [*_entries(logits)[:-1], None])


def like(x: chex.Array, other: chex.Array) -> chex.Array:
  """Returns x with the leading axes that it shares with `other` split alike.

  Args:
    x: [B, ...] array.
    other: [B, ...] array, of x's rank or of another.

  Returns:
    x. Where `other` is whole it is whole, too: the gradient of an operation of
    a whole and a split array would be split, which JAX refuses.
  """
  if not is_split(x, other):
    return x
  own, theirs = _entries(x), _entries(other)
  entries = [*theirs[: len(own)], *own[len(theirs) :]]
  mesh = other if is_split(other) else x
  return _placed(x, _free(jnp.shape(x), entries, mesh), mesh)


def gather(x: chex.Array, index: chex.Array) -> chex.Array:
  """x[index], indices clipped, for arrays of which one is split.

  The result's rows are split as the index is, or else as x's, and the axes that
  follow as x's.
  """
  rows = _entries(index)
  if not is_split(index) and index.ndim == 1:
    rows = _entries(x)[:1]
  mesh = x if is_split(x) else index
  shape = (*index.shape, *x.shape[1:])
  entries = _free(shape, [*rows, *_entries(x)[1:]], mesh)
  sharding = NamedSharding(_mesh(mesh), PartitionSpec(*entries))
  return x.at[index].get(mode="clip", out_sharding=sharding)


def rows(x: chex.Array, start: int, stop: int) -> chex.Array:
  """x[start:stop], split as x is; whole rows if their number does not allow."""
  if not is_split(x):
    return x[start:stop]
  shape = (stop - start, *x.shape[1:])
  x = _placed(x, _free(shape, _entries(x), x))
  # Indexing is a gather where nothing is jitted, which explicit axes refuse.
  return jax.lax.slice_in_dim(x, start, stop)


def concatenate(arrays: Sequence[chex.Array]) -> chex.Array:
  """All rows of [B_i, ...] arrays, split as the first that is split."""
  split = next(filter(is_split, arrays), None)
  if split is None:
    return jnp.concatenate(arrays)
  entries = _entries(split)
  for x in arrays:
    # Every part must allow it, and then so does the sum.
    entries = _free(x.shape, entries, split)
  return jnp.concatenate([_placed(x, entries, split) for x in arrays])


def _entries(x: chex.Array) -> list[Any]:
  """What splits each axis: a mesh axis, several, or None."""
  # A list of numbers has no type of JAX's.
  x = x if hasattr(x, "dtype") else np.asarray(x)
  return list(jax.typeof(x).sharding.spec)


def _mesh(x: chex.Array) -> Any:
  sharding = jax.typeof(x).sharding
  if isinstance(x, jax.Array) and not isinstance(x, jax.core.Tracer):
    # Outside jit no mesh may be set, and reshard asks for the devices.
    sharding = x.sharding
  return sharding.mesh


def _free(
  shape: Sequence[int], entries: Sequence[Any], split: chex.Array
) -> list[Any]:
  """Entries without those whose mesh axes are used before, or do not divide."""
  sizes = _mesh(split).shape
  used: set[Any] = set()
  free: list[Any] = []
  for length, entry in zip(shape, entries, strict=True):
    axes = entry if isinstance(entry, tuple) else (entry,)
    parts = 1
    for axis in axes:
      parts *= sizes.get(axis, 1)
    if entry is None or used.intersection(axes) or length % parts:
      free.append(None)
    else:
      used.update(axes)
      free.append(entry)
  return free


def _placed(
  x: chex.Array, entries: Sequence[Any], split: chex.Array | None = None
) -> chex.Array:
  """x split by `entries`, axes of the mesh of x or of `split`."""
  if list(entries) == _entries(x):
    return x
  mesh = _mesh(x if split is None else split)
  spec = PartitionSpec(*entries)
  return jax.sharding.reshard(jnp.asarray(x), NamedSharding(mesh, spec))
