"""Calling anybody's mixup function, and taking in what it returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import functools
import importlib
import random
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxmix import checks

KINDS = ("jax", "numpy", "torch")
_ARRAYS = ("images", "first", "second", "weight", "dense")


class Outcome(NamedTuple):
  """What one call, or several stacked ones, returned; NumPy throughout.

  Attributes:
    images: [..., B, ...] floats.
    dtype: the name of the dtype that they came in.
    first: [..., B] the examples' own classes; None where targets are dense.
    second: [..., B] their partners'.
    weight: [..., B] the weight of `first`.
    dense: [..., B, K], where targets are dense; else None.
    changed: the argument that the call changed in place, or "".
  """

  images: np.ndarray
  dtype: str
  first: np.ndarray | None
  second: np.ndarray | None
  weight: np.ndarray | None
  dense: np.ndarray | None
  changed: str = ""

  def each(self, take: Callable[[np.ndarray], np.ndarray]) -> Outcome:
    """Returns the same with `take` of every array."""
    parts: list[Any] = [
      take(part) if isinstance(part, np.ndarray) else part for part in self
    ]
    return Outcome(*parts)


class Caller:
  """A function under audit.

  Args:
    fn: (key or seed, images, labels) -> (images, targets).
    kind: whose arrays and randomness it takes.
    num_classes: what dense targets have.
    options: keyword arguments of every call.
  """

  def __init__(
    self,
    fn: Callable[..., Any],
    kind: str,
    num_classes: int,
    **options: Any,
  ) -> None:
    checks.choice("kind", kind, KINDS)
    self.kind, self.num_classes = kind, num_classes
    self.fn, self.options = fn, tuple(sorted(options.items()))
    # Whether calls may be compiled, and many made at once; asked of JAX's.
    self.compiles = False

  def __call__(
    self, seed: int, images: np.ndarray, labels: np.ndarray
  ) -> Outcome:
    """One call, as a user makes it: not compiled."""
    arrays = self._given(images), self._given(labels)
    before = [to_numpy(x).copy() for x in arrays]
    seed_others(self.kind, seed)
    first = jax.random.key(seed) if self.kind == "jax" else seed
    returned = self.fn(first, *arrays, **dict(self.options))
    changed = ""
    for name, old, new in zip(
      ("images", "labels"), before, arrays, strict=True
    ):
      if not np.array_equal(old, to_numpy(new)):
        changed = name
    return self._taken(returned, labels.shape)._replace(changed=changed)

  def many(
    self, seeds: Sequence[int], images: np.ndarray, labels: np.ndarray
  ) -> Outcome:
    """A call a seed, stacked: one compiled program where that is possible."""
    if self.compiles:
      keys = jax.vmap(jax.random.key)(np.asarray(seeds, np.uint32))
      arrays = jax.numpy.asarray(images), labels
      try:  # with alpha traced, one program does for all
        returned = _program(self.fn, ())(keys, *arrays, dict(self.options))
      except Exception:  # what branches on it in Python
        if not self.options:
          raise
        returned = _program(self.fn, self.options)(keys, *arrays, {})
      return self._taken(returned, (len(seeds), *labels.shape))
    found = [self(seed, images, labels) for seed in seeds]

    def stacked(name):
      parts = [getattr(one, name) for one in found]
      return None if parts[0] is None else np.stack(parts)

    return found[0]._replace(
      **{name: stacked(name) for name in _ARRAYS},
      changed=max(one.changed for one in found),
    )

  def _given(self, array: np.ndarray) -> Any:
    """A fresh copy of the kind's own arrays."""
    if self.kind == "jax":
      return jax.numpy.asarray(array)
    if self.kind == "numpy":
      return array.copy()
    torch = importlib.import_module("torch")
    if array.dtype == jax.numpy.bfloat16:
      return torch.from_numpy(array.astype(np.float32)).to(torch.bfloat16)
    return torch.from_numpy(array.copy())

  def _taken(self, returned: Any, shape: tuple[int, ...]) -> Outcome:
    if not isinstance(returned, (tuple, list)) or len(returned) != 2:
      raise TypeError(
        "fn must return (images, targets), got "
        f"{type(returned).__name__} of {_length(returned)}."
      )
    images, targets = returned
    dtype = str(images.dtype).removeprefix("torch.")
    images = to_numpy(images)
    if images.shape[: len(shape)] != shape:
      raise ValueError(
        f"fn must return as many images as it is given, {shape[-1]}, got shape "
        f"{images.shape[len(shape) - 1 :]}."
      )
    first, second, weight, dense = read_targets(
      targets, shape, self.num_classes
    )
    images = images.astype(np.float64)
    return Outcome(images, dtype, first, second, weight, dense)


@functools.lru_cache(maxsize=64)
def _program(fn, static):
  """A compiled call over many keys; kept, so that an audit compiles once."""

  def call(key, images, labels, traced):
    return fn(key, images, labels, **dict(static), **traced)

  return over_keys(call)


def over_keys(call: Callable[..., Any]) -> Callable[..., Any]:
  """Compiles a function of a key and three arrays for many keys."""
  quick = None
  if jax.default_backend() == "cpu":
    # They run once or twice: optimized, an audit would take half as long again.
    quick = {"xla_backend_optimization_level": 0}
  call = jax.vmap(call, in_axes=(0, None, None, None))
  return jax.jit(call, compiler_options=quick)


def seed_others(kind: str, seed: int) -> None:
  """Seeds the global generators that other frameworks' code draws from."""
  if kind == "jax":
    return
  np.random.seed(seed % 2**32)
  random.seed(seed)
  if kind == "torch":
    torch = importlib.import_module("torch")
    if torch.cuda.is_available() or torch.backends.mps.is_available():
      torch.manual_seed(seed)
    else:  # without three formatted stacks a call, for devices not in use
      torch.default_generator.manual_seed(seed)


def to_numpy(array: Any) -> np.ndarray:
  """Returns any framework's array as one of NumPy's, bfloat16 widened."""
  if hasattr(array, "detach"):
    array = array.detach().cpu()
    if str(array.dtype) == "torch.bfloat16":
      array = array.float()
    return array.numpy()
  if hasattr(array, "numpy") and not isinstance(array, jax.Array):
    return array.numpy()
  array = np.asarray(array)
  if array.dtype == jax.numpy.bfloat16:
    return array.astype(np.float32)
  return array


def read_targets(
  targets: Any, shape: tuple[int, ...], num_classes: int
) -> tuple[np.ndarray | None, ...]:
  """Returns (first, second, weight, dense) of targets in any known form.

  Args:
    targets: `MixedTargets`; (a, b, lam), lam a number or [B]; dense [B, K]; or
      kornia's [B, 3] or [1, B, 3]: class, partner's class, partner's weight.
    shape: (B,) of the labels, or (N, B) of stacked calls.
    num_classes: K.

  Raises:
    TypeError: if they are none of these.
  """
  if hasattr(targets, "second") and hasattr(targets, "weight"):
    targets = (targets.first, targets.second, targets.weight)
  if isinstance(targets, (tuple, list)) and len(targets) == 3:
    first, second, weight = (to_numpy(x) for x in targets)
    weight = weight.astype(np.float64)
    if weight.shape == shape[:-1]:  # one number a call
      weight = weight[..., None]
    weight = np.broadcast_to(weight, shape)
    if first.shape == shape:
      return first, second, weight, None
    if first.shape == (*shape, num_classes):
      dense = weight[..., None] * first + (1.0 - weight[..., None]) * second
      return None, None, None, dense
  elif hasattr(targets, "shape"):
    dense = to_numpy(targets).astype(np.float64)
    if dense.shape == (*shape, num_classes):
      return None, None, None, dense
    # Of one mixing, as kornia's CutMix returns it.
    if dense.shape == (*shape[:-1], 1, shape[-1], 3):
      dense = dense[..., 0, :, :]
    if dense.shape == (*shape, 3):
      return dense[..., 0], dense[..., 1], 1.0 - dense[..., 2], None
  raise TypeError(
    f"targets must be MixedTargets, (a, b, lam), dense [{shape[-1]}, "
    f"{num_classes}] or packed [{shape[-1]}, 3], got {_described(targets)}."
  )


def _described(value: Any) -> str:
  if hasattr(value, "shape"):
    return f"shape {tuple(value.shape)}"
  if isinstance(value, (tuple, list)):
    return f"({', '.join(map(_described, value))})"
  return type(value).__name__


def _length(value: Any) -> str:
  return f"length {len(value)}" if hasattr(value, "__len__") else "no length"
