"""PyTorch's side of `benchmarks.mixing`, imported where PyTorch is installed.

The baselines are the expressions that circulate; beside them stands the fastest
eager form found: a gather and a `lerp`, with or without buffers kept between
calls.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from benchmarks import timing
from benchmarks.mixing_tasks import (
  CUTMIX,
  FUSED,
  MEAN,
  PER_BATCH,
  PER_EXAMPLE,
  STD,
  Batch,
  Contender,
  numpy_boxes,
)


def create(batch: Batch, *, compiled: bool) -> Iterator[Contender]:
  """Yields the contenders; `compiled` adds torch.compile's."""
  torch.set_num_threads(timing.cpu_count())
  images = torch.from_numpy(np.moveaxis(batch.images, -1, 1).copy())
  pixels = torch.from_numpy(np.moveaxis(batch.pixels, -1, 1).copy())
  labels = torch.from_numpy(batch.labels).long()
  size, _, height, width = images.shape
  mean = torch.from_numpy(MEAN).view(1, 3, 1, 1)
  std = torch.from_numpy(STD).view(1, 3, 1, 1)
  buffer = torch.empty_like(images)
  row = torch.arange(height).view(1, 1, -1, 1)
  column = torch.arange(width).view(1, 1, 1, -1)
  beta = torch.distributions.Beta(1.0, 1.0)

  def mix(lam, partner, images=images):
    lam = lam.view(-1, 1, 1, 1)
    return lam * images + (1 - lam) * images[partner]

  def lerp(lam, partner):
    return torch.lerp(images[partner], images, lam.view(-1, 1, 1, 1))

  def lerp_into(lam, partner):
    torch.index_select(images, 0, partner, out=buffer)
    return torch.lerp(buffer, images, lam.view(-1, 1, 1, 1), out=buffer)

  def mix_whole(lam, partner):
    return lam.item() * images + (1 - lam.item()) * images[partner]

  def paste(box, partner):
    top, bottom, left, right = box.view(-1, 4, 1, 1, 1).unbind(1)
    inside = (top <= row) & (row < bottom) & (left <= column)
    return torch.where(inside & (column < right), images[partner], images)

  def mix_fused(lam, partner):
    return mix(lam, partner, (pixels.float() - mean) / std).bfloat16()

  def run_with(mixer):
    def run():
      lam, partner = beta.sample((size,)), torch.randperm(size)
      if mixer is paste:
        lam = torch.from_numpy(numpy_boxes(lam.numpy(), height, width))
      return mixer(lam, partner), labels, labels[partner], lam

    return run

  def run_whole():
    lam, partner = torch.tensor(np.random.beta(1.0, 1.0)), torch.randperm(size)
    return mix_whole(lam, partner), labels, labels[partner], lam

  def run_box():
    """One box a batch, pasted in place into a copy, as CutMix's authors do."""
    lam, partner = np.random.beta(1.0, 1.0, 1), torch.randperm(size)
    top, bottom, left, right = numpy_boxes(lam, height, width)[0]
    mixed = images.clone()
    inside = (..., slice(top, bottom), slice(left, right))
    mixed[inside] = images[partner][inside]
    return mixed, labels, labels[partner], lam

  def checked(mixer):
    def check(lam, partner):
      mixed = mixer(torch.from_numpy(lam), torch.from_numpy(partner).long())
      return np.moveaxis(mixed.float().numpy(), 1, -1)

    return check

  def contender(task, name, mixer, note, run=None):
    run = run_with(mixer) if run is None else run
    return Contender(task, name, run, checked(mixer), note)

  yield contender(PER_EXAMPLE, "PyTorch", mix, "lam*x + (1-lam)*x[perm]")
  yield contender(PER_EXAMPLE, "PyTorch, lerp", lerp, "lerp(x[perm], x, lam)")
  yield contender(
    PER_EXAMPLE, "PyTorch, lerp, buffer", lerp_into, "nothing allocated"
  )
  yield contender(
    PER_BATCH, "PyTorch", mix_whole, "as Zhang et al.'s code", run_whole
  )
  yield contender(CUTMIX, "PyTorch", paste, "a box an example, torch.where")
  yield Contender(
    CUTMIX,
    "PyTorch, one box",
    run_box,
    None,
    "one box a batch, as Yun et al.'s code",
  )
  yield contender(FUSED, "PyTorch", mix_fused, "eager")
  if not compiled:
    return
  for task, mixer in ((PER_EXAMPLE, mix), (FUSED, mix_fused)):
    name = "PyTorch, compiled"
    fast = torch.compile(mixer, dynamic=False)
    try:
      fast(beta.sample((size,)), torch.randperm(size))
    except Exception as error:  # its compiler fails in many ways
      reason = " ".join(str(error).split())[:60]
      yield Contender(task, name, None, None, f"failed: {reason}")
    else:
      yield contender(task, name, fast, "torch.compile")
