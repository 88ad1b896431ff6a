"""What there is to mix in `benchmarks.mixing`, and what a contender is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

PER_EXAMPLE = "mixup, lam per example"
PER_BATCH = "mixup, lam per batch"
CUTMIX = "CutMix"
FUSED = "uint8 -> normalise, mixup -> bfloat16"
TASKS = (PER_EXAMPLE, PER_BATCH, CUTMIX, FUSED)

NUM_CLASSES = 1000
# ImageNet's, on the scale of the pixels, [1, 1, 1, C].
MEAN = np.array([[[[123.675, 116.28, 103.53]]]], np.float32)
STD = np.array([[[[58.395, 57.12, 57.375]]]], np.float32)


class Batch(NamedTuple):
  """images [B, H, W, C] float32, the same as uint8 pixels, and labels [B]."""

  images: np.ndarray
  pixels: np.ndarray
  labels: np.ndarray


class Contender(NamedTuple):
  """One way to do one task.

  Attributes:
    task: one of TASKS.
    name: library and variant.
    run: draws, mixes, collects targets, and returns when that is done.
    mix: (lam or boxes, partner) -> mixed [B, H, W, C], the same code on a given
      draw, for checking; None where the library draws inside.
    note: what the reader should know, or why there is no run.
  """

  task: str
  name: str
  run: Callable[[], Any] | None
  mix: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
  note: str = ""


def make_batch(size: int, side: int) -> Batch:
  """Returns random pixels, their normalised images, and labels."""
  generator = np.random.default_rng(0)
  pixels = generator.integers(0, 256, (size, side, side, 3), np.uint8)
  images = (pixels.astype(np.float32) - MEAN) / STD
  labels = generator.integers(0, NUM_CLASSES, size, np.int32)
  return Batch(images, pixels, labels)


def numpy_boxes(lam: np.ndarray, height: int, width: int) -> np.ndarray:
  """Boxes (top, bottom, left, right) of area 1 - lam, clipped, [B, 4]."""
  ends = []
  for length in (height, width):
    cut = (np.sqrt(1.0 - lam) * length).astype(np.int32)
    centre = np.random.randint(0, length, len(lam))
    start = np.clip(centre - cut // 2, 0, length)
    ends += [start, np.clip(centre - cut // 2 + cut, 0, length)]
  return np.stack(ends, axis=1).astype(np.int32)
