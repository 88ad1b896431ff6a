"""Who mixes in `benchmarks.mixing`: jaxmix, NumPy, PyTorch, timm, torchvision.

Every contender starts from what its users have at hand (a JAX key, or a global
generator) and draws, pairs, mixes and collects targets. PyTorch, timm and
torchvision get [B, C, H, W] images, jaxmix and NumPy [B, H, W, C]: to each its
own custom.
"""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

from benchmarks import peers
from benchmarks.mixing_tasks import (
  CUTMIX,
  FUSED,
  MEAN,
  NUM_CLASSES,
  PER_BATCH,
  PER_EXAMPLE,
  STD,
  TASKS,
  Batch,
  Contender,
  numpy_boxes,
)
import jaxmix


def jaxmix_contenders(batch: Batch) -> Iterator[Contender]:
  """jaxmix, jitted; `donated` reuses the buffer of the previous result."""
  images, pixels, labels = jax.tree.map(jnp.asarray, batch)
  size = len(labels)

  def fused(key, pixels, labels):
    normal = (pixels.astype(jnp.float32) - MEAN) / STD
    mixed, targets = jaxmix.mixup(key, normal, labels)
    return mixed.astype(jnp.bfloat16), targets

  def per_batch(key, images, labels):
    return jaxmix.mixup(key, images, labels, per_example=False)

  def mix(images, lam, partner):
    return jaxmix.MixPlan(lam, lam, partner).mix(images)

  def mix_fused(pixels, lam, partner):
    normal = (pixels.astype(jnp.float32) - MEAN) / STD
    return mix(normal, lam, partner).astype(jnp.bfloat16)

  def paste(images, box, partner):
    share = jnp.zeros(size, jnp.float32)
    plan = jaxmix.CutMixPlan(share, share, partner, box, images.shape[1:3])
    return plan.mix(images)

  for task, function, inputs, mixer in (
    (PER_EXAMPLE, jaxmix.mixup, images, mix),
    (PER_BATCH, per_batch, images, mix),
    (CUTMIX, jaxmix.cutmix, images, paste),
    (FUSED, fused, pixels, mix_fused),
  ):
    check = _checked(jax.jit(mixer), inputs)
    yield Contender(
      task, "jaxmix", _fresh(function, inputs, labels), check, "jit"
    )
    yield Contender(
      task,
      "jaxmix, donated",
      _donated(function, inputs, labels),
      check,
      "jit; result in the last one's buffer",
    )


def _checked(mixer, inputs):
  return lambda *draw: np.asarray(mixer(inputs, *map(jnp.asarray, draw)))


def _keys() -> Iterator[jax.Array]:
  """Keys for ever, made ahead: splitting them is the training loop's work."""
  while True:
    yield from list(jax.random.split(jax.random.key(0), 64))


def _fresh(function, inputs, labels):
  jitted, keys = jax.jit(lambda *args: function(*args)), _keys()
  return lambda: jax.block_until_ready(jitted(next(keys), inputs, labels))


def _donated(function, inputs, labels):
  """`_fresh`, writing the mixed images where the previous call's were."""
  reusing = jax.jit(
    lambda key, inputs, labels, spent: function(key, inputs, labels),
    donate_argnums=3,
    keep_unused=True,
  )
  keys = _keys()
  spent = None

  def run():
    nonlocal spent
    if spent is None:
      spent, _ = function(next(keys), inputs, labels)
    spent, targets = reusing(next(keys), inputs, labels, spent)
    jax.block_until_ready((spent, targets))

  return run


def numpy_contenders(batch: Batch) -> Iterator[Contender]:
  """NumPy, as a data loader would mix: one thread."""
  images, pixels, labels = batch
  size, height, width = images.shape[:3]

  def mix(lam, partner):
    lam = lam.astype(np.float32).reshape(-1, 1, 1, 1)
    return lam * images + (1.0 - lam) * images[partner]

  def mix_fused(lam, partner):
    lam = lam.astype(np.float32).reshape(-1, 1, 1, 1)
    normal = (pixels.astype(np.float32) - MEAN) / STD
    mixed = lam * normal + (1.0 - lam) * normal[partner]
    return mixed.astype(ml_dtypes.bfloat16)

  def paste(box, partner):
    mixed = images.copy()
    for i, (top, bottom, left, right) in enumerate(box):
      inside = slice(top, bottom), slice(left, right)
      mixed[i][inside] = images[partner[i]][inside]
    return mixed

  def run(mixer, lams):
    lam = np.random.beta(1.0, 1.0, lams)
    partner = np.random.permutation(size)
    if mixer is paste:
      lam = numpy_boxes(lam, height, width)
    return mixer(lam, partner), labels, labels[partner], lam

  for task, mixer, lams in (
    (PER_EXAMPLE, mix, size),
    (PER_BATCH, mix, 1),
    (CUTMIX, paste, size),
    (FUSED, mix_fused, size),
  ):
    go = lambda mixer=mixer, lams=lams: run(mixer, lams)
    yield Contender(task, "NumPy", go, mixer, "one thread")


def torch_contenders(batch: Batch, *, compiled: bool) -> Iterator[Contender]:
  """PyTorch as commonly written; the first of a task is its baseline."""
  try:  # PyTorch may not be installed
    from benchmarks import contenders_torch
  except ImportError:
    for task in TASKS:
      yield Contender(task, "PyTorch", None, None, "not installed")
    return
  yield from contenders_torch.create(batch, compiled=compiled)


def library_contenders(batch: Batch) -> Iterator[Contender]:
  """timm's Mixup and torchvision's MixUp and CutMix, as they come."""
  try:
    import torch
  except ImportError:
    torch = None

  def missing(task, name, error):
    reason = " ".join(str(error).split())[:60]
    return Contender(task, name, None, None, f"not installed: {reason}")

  if torch is not None:
    images = torch.from_numpy(np.moveaxis(batch.images, -1, 1).copy())
    labels = torch.from_numpy(batch.labels).long()

  timm_tasks = (
    (PER_EXAMPLE, "elem", dict(mixup_alpha=1.0)),
    (PER_BATCH, "batch", dict(mixup_alpha=1.0)),
    (CUTMIX, "elem", dict(mixup_alpha=0.0, cutmix_alpha=1.0)),
  )
  try:
    mixup = peers.load("timm.data.mixup").Mixup
  except (ImportError, RuntimeError) as error:
    for task, mode, _ in timm_tasks:
      yield missing(task, f"timm, {mode}", error)
  else:
    for task, mode, options in timm_tasks:
      mixer = mixup(mode=mode, label_smoothing=0.0, **options)
      # It overwrites its argument: each contender gets its own.
      own = images.clone()
      run = lambda mixer=mixer, own=own: mixer(own, labels)
      note = "in place; partner: flip; dense targets"
      yield Contender(task, f"timm, {mode}", run, None, note)

  try:
    v2 = peers.load("torchvision.transforms.v2")
  except (ImportError, RuntimeError) as error:
    for task, name in ((PER_BATCH, "MixUp"), (CUTMIX, "CutMix")):
      yield missing(task, f"torchvision {name}", error)
  else:
    for task, name in ((PER_BATCH, "MixUp"), (CUTMIX, "CutMix")):
      mixer = getattr(v2, name)(alpha=1.0, num_classes=NUM_CLASSES)
      run = lambda mixer=mixer: mixer(images, labels)
      note = "one lam a batch; partner: roll; dense targets"
      yield Contender(task, f"torchvision {name}", run, None, note)
