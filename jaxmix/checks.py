"""Trace-time checks shared by the public functions: fail early, say how."""

from __future__ import annotations

from collections.abc import Sequence
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
  if not _is_whole(value):
    raise TypeError(
      f"{name} must be a static integer, got {value!r}; find a place by its "
      f"name with model.stages.index(name). One drawn inside jit is for "
      f"jaxmix.hidden.at(plan, place, among=places)."
    )
  if value < 0:
    raise ValueError(f"{name} must be at least 0, the input; got {value}.")


def drawn_place(value: chex.Numeric, among: Sequence[int]) -> jax.Array:
  """Returns a place that may be traced, or raises; see `hidden.at`."""
  for one in among:
    place("among", one)
  if not among:
    raise ValueError("among must name at least one place, got none.")
  dtype = getattr(value, "dtype", None)
  if not _is_whole(value) and (
    dtype is None or not jnp.issubdtype(dtype, np.integer) or np.ndim(value)
  ):
    raise TypeError(
      "place must be an integer scalar, got "
      + (_told(value) if dtype is None else f"{dtype}{list(np.shape(value))}")
      + "."
    )
  if not isinstance(value, jax.core.Tracer) and int(value) not in among:
    raise ValueError(f"place must be one of {tuple(among)}, got {value}.")
  return jnp.asarray(value)


def static_size(name: str, value: int) -> None:
  """Raises unless `value` can be a number of examples."""
  if not _is_whole(value):
    raise TypeError(
      f"{name} must be a static integer, such as len(images), got "
      f"{_told(value)}."
    )
  count(name, value)


def count(name: str, value: int, low: int = 1) -> int:
  """Returns a whole number that is known, or raises and names it."""
  if not _is_whole(value):
    raise TypeError(f"{name} must be an integer, got {value!r}.")
  if value < low:
    raise ValueError(f"{name} must be at least {low}, got {value}.")
  return int(value)


def _is_whole(value: Any) -> bool:
  # bool is a subclass of int: True would be place 1, or a batch of one.
  return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def key(value: Any) -> Any:
  """Returns it; raises TypeError unless it can be a PRNG key, old or typed."""
  dtype = getattr(value, "dtype", None)
  if dtype is None or not (
    dtype == np.uint32 or jnp.issubdtype(dtype, jax.dtypes.prng_key)
  ):
    raise TypeError(
      "key must be a PRNG key, such as jax.random.key(0), got "
      + (_told(value) if dtype is None else f"an array of {dtype}")
      + "."
    )
  return value


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


def array_dtype(name: str, leaf: Any) -> Any:
  """Returns the dtype that an array has in JAX.

  Raises:
    TypeError: if it is no array of numbers, such as another framework's tensor
      or a table; the message says what makes one of it.
  """
  try:
    if not isinstance(leaf, (str, bytes)):
      return jnp.result_type(leaf)
  except TypeError:
    pass
  kind = f"{type(leaf).__module__.partition('.')[0]}.{type(leaf).__name__}"
  if isinstance(leaf, np.ndarray):
    kind = f"one of NumPy's of dtype {leaf.dtype}"
  remedies = {
    "detach": ".detach().cpu().numpy()",
    "numpy": ".numpy()",
    "to_numpy": ".to_numpy()",
  }
  found = [call for method, call in remedies.items() if hasattr(leaf, method)]
  remedy = f"; convert it first, {name}{found[0]}" if found else ""
  if isinstance(leaf, (list, tuple)):
    kind, remedy = type(leaf).__name__, f"; convert it first, np.array({name})"
  raise TypeError(
    f"{name} must be an array of numbers of JAX or NumPy, got {kind}{remedy}."
  )


def arrays(name: str, tree: chex.ArrayTree) -> chex.ArrayTree:
  """Returns a tree with JAX arrays for NumPy's, and for a list of numbers one.

  NumPy arrays take no traced index, and name 64-bit dtypes that JAX may not
  have.

  Raises:
    TypeError: if a leaf is no array of numbers.
    ValueError: if a list's rows differ in length.
  """
  tree = array_of_list(name, tree)

  def convert(path, leaf):
    array_dtype(_leaf_name(name, path), leaf)
    return jnp.asarray(leaf)

  return jax.tree_util.tree_map_with_path(convert, tree)


def array_of_list(name: str, value: Any) -> Any:
  """Returns one array for a (nested) list of numbers, else the value itself.

  As a tree it would have scalars for leaves, which no batch has.
  """
  if not isinstance(value, (list, tuple)):
    return value
  leaves = jax.tree.leaves(value)
  if not leaves or not all(isinstance(x, (bool, int, float)) for x in leaves):
    return value
  try:
    # By NumPy, whose 64-bit numbers then round once, as an array's would.
    return jnp.asarray(np.array(value))
  except ValueError:
    raise ValueError(
      f"{name} must be an array, got a list whose rows differ in length."
    ) from None


def floating(
  name: str, tree: chex.ArrayTree, *, mixed: bool = False
) -> chex.ArrayTree:
  """Returns a tree as `arrays` does, if every leaf is floating point.

  Args:
    name: the argument's name, for the message.
    tree: of arrays.
    mixed: whether they are about to be mixed, for the remedy.

  Raises:
    TypeError: if a leaf is not floating point.
  """

  tree = array_of_list(name, tree)

  def check(path, leaf):
    label = _leaf_name(name, path)
    dtype = array_dtype(label, leaf)
    if jnp.issubdtype(dtype, jnp.floating):
      return
    remedies = []
    if dtype == jnp.uint8 and np.ndim(leaf) > 1:
      remedies.append(
        f"convert pixels first, e.g. {label}.astype(jnp.float32) / 255."
      )
    elif not mixed:
      remedies.append(f"convert it first, {label}.astype(jnp.float32)")
    if mixed:
      remedies.append(
        "classes and counts have no mixture: give class masks to plan.targets "
        "or paste them by jaxmix.cutmix, and mix the embeddings of categories, "
        "or the features of graphs, at a later place of the model (mix_at)"
      )
    raise TypeError(
      f"{name} must be floating point{' to be mixed' * mixed}, got {dtype}"
      f"{f' in {label}' * bool(path)}; {'; '.join(remedies)}."
    )

  jax.tree_util.tree_map_with_path(check, tree)
  return arrays(name, tree)


def _leaf_name(name, path):
  return f"{name}{jax.tree_util.keystr(path)}"


def label_array(name: str, labels: chex.Array) -> None:
  """Raises TypeError unless `labels` are one array of integers or floats."""
  if not jax.tree_util.treedef_is_leaf(jax.tree.structure(labels)):
    raise TypeError(
      f"{name} must be one array here, got {type(labels).__name__}; of several "
      f"label arrays take one at a time, and of a list make an array."
    )
  dtype = array_dtype(name, labels)
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


def mask_array(mask: chex.Array | None, size: int) -> chex.Array | None:
  """Returns a boolean [size] as a JAX array, or None; raises otherwise."""
  if mask is None:
    return None
  mask = array_of_list("mask", mask)
  dtype = array_dtype("mask", mask)
  if np.shape(mask) != (size,):
    raise ValueError(
      f"mask must have shape ({size},), one entry an example, got "
      f"{np.shape(mask)}."
    )
  if dtype != jnp.bool_:
    raise TypeError(
      f"mask must be boolean (True for real examples), got {dtype}; convert "
      f"with mask.astype(bool)."
    )
  return jnp.asarray(mask)


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


def law(policy: Any, pairing: Any) -> None:
  """Raises TypeError unless one can say how much is mixed, one with whom."""
  if not hasattr(policy, "sample"):
    raise TypeError(
      "policy must be one of jaxmix.policies, such as policies.mixup(0.2), got "
      f"{_told(policy)}."
    )
  if not callable(pairing):
    raise TypeError(
      "pairing must be one of jaxmix.pairing, such as pairing.flip, got "
      f"{_told(pairing)}."
    )


def plan(value: Any) -> None:
  """Raises TypeError unless `value` mixes, as a `mixing.Plan` does."""
  if not all(hasattr(value, name) for name in ("lam", "mix", "targets")):
    raise TypeError(
      f"plan must be a plan, which jaxmix.draw returns, got {_told(value)}."
    )


def _told(value: Any) -> str:
  """A short value as it is, of others the type."""
  if isinstance(value, (str, int, float)):
    return repr(value)
  return type(value).__name__
