"""Looking at batches: images, mixed or not, in a grid with their labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import importlib
import math
from typing import Any

import numpy as np

from jaxmix import checks
from jaxmix.losses import MixedTargets

_IMAGES = ("images", "image", "inputs")
_LABELS = ("labels", "label", "targets")


def show(
  batch: Any,
  labels: Any = None,
  *,
  names: Sequence[str] | None = None,
  columns: int | None = None,
  limit: int = 16,
) -> Any:
  """Draws a grid of images, with their labels and weights above them.

  Takes what mixing functions return: `jaxmix.show(jaxmix.mixup(...))`. Floats
  are drawn on one scale for all, 0 to 1 or, where they go beyond it, from the
  smallest to the largest; a label of two classes as "0.75 cat + 0.25 dog".

  Args:
    batch: images [B, H, W, C] of 1, 3 or 4 channels or [B, H, W], floats or
      uint8; or a pair (images, labels); or a mapping with "images", "image" or
      "inputs", and "labels", "label" or "targets".
    labels: `MixedTargets`, [B] classes or [B, K] probabilities, where they are
      not in `batch`; None draws none.
    names: of the classes.
    columns: of the grid; None makes it about square.
    limit: how many images are drawn, at most.

  Returns:
    The matplotlib figure; a notebook shows it, `figure.savefig(path)` keeps it.

  Raises:
    ImportError: if matplotlib is not installed.
    ValueError: if images are no images, or sizes differ.

  Example:
    >>> images, labels = jnp.zeros((2, 4, 4)).at[1].set(1.0), jnp.array([0, 1])
    >>> batch = jaxmix.mixup(jax.random.key(0), images, labels)
    >>> figure = jaxmix.show(batch, names=["dark", "bright"])
    >>> len(figure.axes)
    2
  """
  images, labels = _taken_apart(batch, labels)
  images = _drawable(images)
  titles = _titles(labels, names, len(images))[:limit]
  images = images[:limit]
  if columns is None:
    columns = math.ceil(math.sqrt(len(images)))
  columns = min(columns, len(images))
  rows = -(-len(images) // columns)
  plots = _pyplot()
  figure, axes = plots.subplots(
    rows,
    columns,
    figsize=(1.7 * columns, 1.9 * rows),
    squeeze=False,
    layout="constrained",
  )
  # Else a notebook would show it twice, and every call would keep one open.
  plots.close(figure)
  for place, axis in enumerate(axes.flat):
    if place >= len(images):
      axis.remove()
      continue
    axis.imshow(images[place], cmap="gray", vmin=0, vmax=1)
    axis.set_title(titles[place], fontsize=8)
    axis.set_axis_off()
  return figure


def _pyplot() -> Any:
  try:
    return importlib.import_module("matplotlib.pyplot")
  except ImportError:
    raise ImportError(
      "jaxmix.show draws with matplotlib, which is not installed: pip install "
      "matplotlib."
    ) from None


def _taken_apart(batch: Any, labels: Any) -> tuple[Any, Any]:
  if isinstance(batch, Mapping):
    found = [batch[name] for name in _IMAGES if name in batch]
    if not found:
      raise ValueError(f"batch must have one of {_IMAGES}, got {tuple(batch)}.")
    own = [batch[name] for name in _LABELS if name in batch]
    return found[0], own[0] if labels is None and own else labels
  if isinstance(batch, tuple) and len(batch) == 2 and labels is None:
    return batch
  return batch, labels


def _drawable(images: Any) -> np.ndarray:
  """Returns images as floats in [0, 1], gray ones without channels."""
  checks.array_dtype("images", images)
  images = np.asarray(images)
  channels = images.shape[-1] if images.ndim == 4 else 1
  if images.ndim not in (3, 4) or channels not in (1, 3, 4) or not images.size:
    raise ValueError(
      "images must be [B, H, W] or [B, H, W, C] with 1, 3 or 4 channels, got "
      f"shape {images.shape}; of [B, C, H, W] take images.transpose(0, 2, 3, 1)"
    )
  if images.dtype == np.uint8:
    images = images / 255.0
  images = images.astype(np.float32)
  low, high = np.nanmin(images), np.nanmax(images)
  if low < 0.0 or high > 1.0:
    images = (images - low) / max(high - low, 1e-12)
  return images[..., 0] if channels == 1 and images.ndim == 4 else images


def _titles(labels: Any, names: Sequence[str] | None, size: int) -> list[str]:
  """A line an image: its class, or its two largest and their weights."""
  if labels is None:
    return [""] * size
  name = lambda k: str(k) if names is None else names[k]
  if isinstance(labels, MixedTargets):
    first, second = _one_class(labels.first), _one_class(labels.second)
    checks.batch_size(images=np.empty(size), labels=first)
    weight = np.asarray(labels.weight)
    return [
      _mixture([(w, name(a)), (1.0 - w, name(b))] if a != b else [(1, name(a))])
      for a, b, w in zip(first, second, weight, strict=True)
    ]
  labels = np.asarray(labels)
  checks.batch_size(images=np.empty(size), labels=labels)
  if labels.ndim == 1:
    return [name(k) if labels.dtype.kind in "iu" else f"{k:g}" for k in labels]
  order = np.argsort(-labels, axis=-1, kind="stable")[:, :2]
  return [
    _mixture([(row[k], name(k)) for k in own])
    for row, own in zip(labels, order, strict=True)
  ]


def _one_class(labels: Any) -> np.ndarray:
  labels = np.asarray(labels)
  return labels if labels.ndim == 1 else np.argmax(labels, axis=-1)


def _mixture(parts: list[tuple[float, str]]) -> str:
  kept = [(weight, name) for weight, name in parts if weight >= 0.005]
  if len(kept) == 1 and kept[0][0] > 0.995:
    return kept[0][1]
  return " + ".join(f"{weight:.2f} {name}" for weight, name in kept)
