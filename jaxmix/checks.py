"""Trace-time checks shared by the public functions: fail early, say how."""

from __future__ import annotations

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np


def concentration(name: str, value: chex.Numeric) -> Any:
  """Returns a Beta concentration as a Python float or a float32 scalar.

  Python and NumPy numbers, and concrete arrays, are checked for being positive;
  a traced value cannot be. Traced, 0 stands for the law's limit, lam in {0, 1},
  and what is negative becomes nan.
  """
  if isinstance(value, jax.core.Tracer):
    number = scalar(name, value)
    limit = jnp.where(number == 0.0, jnp.float32(1e-30), jnp.nan)
    return jnp.where(number > 0.0, number, limit)
  try:
    return scalar(name, value, low=0.0, open_low=True)
  except ValueError as error:
    if np.ndim(value) == 0 and float(value) == 0.0:
      raise ValueError(
        f"{error} For no mixing use jaxmix.policies.erm() (method=erm)."
      ) from None
    raise


def scalar(
  name: str,
  value: chex.Numeric,
  *,
  low: float | None = None,
  high: float | None = None,
  open_low: bool = False,
) -> Any:
  """Returns a real scalar, its range checked when the value is known.

  Args:
    name: the argument's name, for the message.
    value: Python number, NumPy scalar or (possibly traced) scalar array.
    low: smallest value allowed; None means no bound.
    high: largest value allowed; None means no bound.
    open_low: whether `low` itself is refused.

  Returns:
    A Python float where the value is known, otherwise a float32 tracer.

  Raises:
    TypeError: if the value is not a real number.
    ValueError: if it is not a scalar, or known and out of range or not finite.
  """
  # float() below would take True for 1.0, and "0.5" for 0.5.
  if isinstance(value, (bool, str, bytes)) or value is None:
    raise TypeError(f"{name} must be a real number, got {value!r}.")
  if np.ndim(value) != 0:
    raise ValueError(
      f"{name} must be a scalar, got shape {np.shape(value)}; to sweep over "
      f"several values, vmap over {name}."
    )
  if isinstance(value, jax.core.Tracer):
    # Strict promotion refuses bfloat16 or integers beside float32.
    return jnp.asarray(value, jnp.float32)
  number = float(value)
  below = low is not None and (number <= low if open_low else number < low)
  above = high is not None and number > high
  # nan compares as neither below nor above.
  if below or above or not np.isfinite(number):
    left = "(-inf" if low is None else f"{'(' if open_low else '['}{low:g}"
    right = "inf)" if high is None else f"{high:g}]"
    raise ValueError(f"{name} must lie in {left}, {right}, got {number!r}.")
  return number


def place(name: str, value: int) -> None:
  """Raises unless `value` can be a place of a model, see `jaxmix.hidden`."""
  # bool is a subclass of int: True would be place 1.
  if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
    raise TypeError(
      f"{name} must be a static integer, got {value!r}; find a place by its "
      f"name with model.stages.index(name), and draw it outside jit."
    )
  if value < 0:
    raise ValueError(f"{name} must be at least 0, the input; got {value}.")


def batch_size(**trees: chex.ArrayTree) -> int:
  """Returns the leading axis that every leaf of every tree shares.

  Raises:
    ValueError: if a leaf is a scalar, there are none, or sizes differ; the
      message names the arguments and their sizes.
  """
  sizes: dict[str, int] = {}
  for name, tree in trees.items():
    leaves = jax.tree.leaves(tree)
    if not leaves:
      raise ValueError(f"{name} has no arrays.")
    for i, leaf in enumerate(leaves):
      label = name if len(leaves) == 1 else f"{name}[leaf {i}]"
      if np.ndim(leaf) == 0:
        raise ValueError(
          f"{label} needs a leading batch axis, got a scalar; of a list of "
          f"numbers make an array."
        )
      sizes[label] = np.shape(leaf)[0]
  if len(set(sizes.values())) > 1:
    raise ValueError(f"Leading (batch) axes must agree, got {sizes}.")
  return next(iter(sizes.values()))


def same_shapes(name: str, tree: chex.ArrayTree, like: chex.ArrayTree) -> None:
  """Raises ValueError unless `tree` has the structure and shapes of `like`."""
  shapes, expected = jax.tree.map(np.shape, tree), jax.tree.map(np.shape, like)
  if shapes != expected:
    raise ValueError(
      f"{name} must have the structure and shapes of the inputs, {expected}, "
      f"got {shapes}."
    )


def floating(name: str, tree: chex.ArrayTree) -> None:
  """Raises TypeError unless every leaf of `tree` is floating point."""
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    dtype = jnp.result_type(leaf)
    if not jnp.issubdtype(dtype, jnp.floating):
      where = name + jax.tree_util.keystr(path)
      raise TypeError(
        f"{where} must be floating point to be mixed, got {dtype}; convert "
        f"first, e.g. {where}.astype(jnp.float32) / 255. Inputs that cannot be "
        "mixed, such as the edges of graphs, can be mixed as features, at a "
        "later place of the model (mix_at)."
      )


def label_array(name: str, labels: chex.Array) -> None:
  """Raises TypeError unless `labels` are one array of integers or floats."""
  if not jax.tree_util.treedef_is_leaf(jax.tree.structure(labels)):
    raise TypeError(
      f"{name} must be one array here, got {type(labels).__name__}; of several "
      f"label arrays take one at a time, and of a list make an array."
    )
  dtype = jnp.result_type(labels)
  # bool is a subtype of neither: a mask in the labels' place is refused.
  if jnp.issubdtype(dtype, jnp.integer) or jnp.issubdtype(dtype, jnp.floating):
    return
  # One bool an example is one of two classes, several are a multi-hot row.
  wanted = "int32" if np.ndim(labels) < 2 else "float32"
  raise TypeError(
    f"{name} must be integer classes or floating-point probabilities, got "
    f"{dtype}; convert first, e.g. {name}.astype(jnp.{wanted})."
  )


def label_range(
  name: str,
  labels: chex.Array,
  num_classes: int,
  ignore_label: int | None = None,
) -> None:
  """Raises ValueError if integer labels are known and out of [0, num_classes).

  Traced ones cannot be asked, nor those that other processes hold.
  """
  if isinstance(labels, jax.core.Tracer):
    return
  if isinstance(labels, jax.Array) and not labels.is_fully_addressable:
    return
  # Explicit, so that a guard against implicit transfers lets it pass.
  known = np.asarray(jax.device_get(labels))
  wrong = (known < 0) | (known >= num_classes)
  if ignore_label is not None:
    wrong &= known != ignore_label
  if wrong.any():
    raise ValueError(
      f"{name} must lie in [0, {num_classes}), got {known[wrong].flat[0]}; "
      f"give padded examples any class, such as 0, and leave them out by the "
      f"mask."
    )


def class_shape_hint(labels: chex.Array, logits: tuple[int, ...]) -> str:
  """What to do about integer labels of a shape that does not fit logits'."""
  shape = tuple(np.shape(labels))
  if shape == logits[:-1] + (1,):
    return "; drop the last axis, labels[..., 0]"
  if shape == logits:
    return "; one-hot rows must be floats, labels.astype(jnp.float32)"
  return ""


def mask_array(mask: chex.Array | None, size: int) -> None:
  """Raises unless `mask` is None or a boolean [size]."""
  if mask is None:
    return
  if np.shape(mask) != (size,):
    raise ValueError(
      f"mask must have shape ({size},), one entry an example, got "
      f"{np.shape(mask)}."
    )
  if jnp.result_type(mask) != jnp.bool_:
    raise TypeError(
      f"mask must be boolean (True for real examples), got "
      f"{jnp.result_type(mask)}; convert with mask.astype(bool)."
    )


def bound_axis(axis_name: str) -> None:
  """Raises ValueError unless `axis_name` is bound where this is called."""
  try:
    # A static size, not a collective: the check costs nothing at run time.
    jax.lax.axis_size(axis_name)
  except NameError:
    raise ValueError(
      f"axis_name={axis_name!r} is not bound here; call inside pmap or "
      f"shard_map over an axis of that name, or pass axis_name=None."
    ) from None


def choice(name: str, value: Any, options: tuple[str, ...]) -> None:
  """Raises ValueError unless `value` is one of `options`."""
  if value not in options:
    raise ValueError(f"{name} must be one of {options}, got {value!r}.")
