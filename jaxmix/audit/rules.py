"""Checks of single calls: what a mixed batch must be, whatever was drawn."""

from __future__ import annotations

import numpy as np

from jaxmix.audit import reading
from jaxmix.audit.evidence import (
  Batch,
  Evidence,
  fault,
  first_of,
  not_applicable,
  of_dtype,
  passed,
  words,
)
from jaxmix.audit.report import Finding

_SPREAD = 1e-5
_DTYPES = {
  "jax": ("float32", "float16", "bfloat16"),
  "numpy": ("float32", "float16", "float64"),
  "torch": ("float32", "float16", "bfloat16", "float64"),
}
# Rounded by bfloat16 and uint8, and by float16.
_IDS = ((257, 259), (2049, 2051))


def mixture(e: Evidence) -> Finding:
  """Every image is a blend of two, or one with a part of another pasted in."""
  found = first_of(
    "mixture",
    e.pool,
    lambda b: b.seen.way == "",
    lambda b, n, i: (
      f"Image {i} is no blend lam x + (1 - lam) x' and no paste of two "
      f"images: the nearest blend is {b.seen.error[n, i]:.2g} of the images' "
      "range away."
    ),
  )
  if found:
    return found
  blends = [b.seen.error[b.seen.way == "blend"] for b in e.pool]
  worst = max((float(error.max()) for error in blends if error.size), default=0)
  kinds = {"blend": "blends", "paste": "pastes"}
  ways = " and ".join(kinds[way] for way in sorted(e.ways())) or "not mixed"
  return passed("mixture", f"{_count(e)} images: {ways}, to {worst:.1g}.")


def partners(e: Evidence) -> Finding:
  """Image and label have the same partner."""
  if "mixture" in e.failed:
    return not_applicable("partners", "See mixture.")
  both = lambda s: (s.partner >= 0) & (s.label_partner >= 0)
  found = first_of(
    "partners",
    e.pool,
    lambda b: both(b.seen) & (b.seen.partner != b.seen.label_partner),
    lambda b, n, i: (
      f"Image {i} is mixed with image {b.seen.partner[n, i]}, its label with "
      f"that of {b.seen.label_partner[n, i]}."
    ),
  )
  if found:
    return found
  count = sum(int(both(b.seen).sum()) for b in e.pool)
  return passed("partners", f"{count} mixed labels are their images'.")


def _compared(e: Evidence, batch: Batch, way: str) -> np.ndarray:
  """Where shares are compared: of another fault's partners no other share."""
  seen = batch.seen
  if "partners" in e.failed:
    return (seen.way == way) & (seen.partner == seen.label_partner)
  others = e.ways() - {way, ""}
  either = np.isin(seen.way, ("same", "swap"))
  alone = either & (way == "blend" or not others)
  return (seen.way == way) | alone


def weights(e: Evidence) -> Finding:
  """The label's weight is the image's lam, or the policy's gamma(lam)."""
  if "mixture" in e.failed:
    return not_applicable("weights", "See mixture.")
  sums = first_of(
    "weights",
    e.pool,
    lambda b: np.abs(b.seen.label_sum - 1.0) > reading.TOLERANCE,
    lambda b, n, i: (
      f"Label {i} sums to {b.seen.label_sum[n, i]:.4g} and not to 1."
    ),
  )
  if sums:
    return sums
  if "blend" not in e.ways():
    return not_applicable("weights", "No image is a blend; see area.")
  right = lambda b: e.gamma(np.clip(b.seen.kept, 0.0, 1.0))
  off = lambda b: np.abs(b.seen.label_kept - right(b))
  found = first_of(
    "weights",
    e.pool,
    lambda b: _compared(e, b, "blend") & (off(b) > 5 * reading.TOLERANCE),
    lambda b, n, i: (
      f"Image {i} keeps lam = {b.seen.kept[n, i]:.4f}, its label "
      f"{b.seen.label_kept[n, i]:.4f} where {right(b)[n, i]:.4f} is right (if "
      "they are meant to differ, as in untied MixUp and DAT, give policy=)."
    ),
  )
  worst = max(
    float(np.where(_compared(e, b, "blend"), off(b), 0.0).max()) for b in e.pool
  )
  return found or passed("weights", f"Labels weigh as images, to {worst:.1g}.")


def area(e: Evidence) -> Finding:
  """The label's weight is the area that is left of the image."""
  if "mixture" in e.failed:
    return not_applicable("area", "See mixture.")
  if "paste" not in e.ways():
    return not_applicable("area", "No image is pasted.")
  off = lambda b: np.abs(b.seen.label_kept - b.seen.kept)
  found = first_of(
    "area",
    e.pool,
    lambda b: _compared(e, b, "paste") & (off(b) > reading.TOLERANCE),
    lambda b, n, i: (
      f"Image {i} keeps {b.seen.kept[n, i]:.4f} of its area, its label "
      f"{b.seen.label_kept[n, i]:.4f}: take the weight of the box that was "
      "really pasted, after rounding and clipping."
    ),
  )
  worst = max(
    float(np.where(_compared(e, b, "paste"), off(b), 0.0).max()) for b in e.pool
  )
  return found or passed("area", f"Labels weigh as areas, to {worst:.1g}.")


def smoothing(e: Evidence) -> Finding:
  """A label holds two classes and no smoothing, which is the loss's affair."""
  if all(b.outcome.dense is None for b in e.pool):
    return not_applicable("smoothing", "Targets are not dense.")
  found = first_of(
    "smoothing",
    e.pool,
    lambda b: np.abs(b.seen.spread) > _SPREAD,
    lambda b, n, i: (
      f"{e.num_classes * b.seen.spread[n, i]:.3g} of label {i} is spread over "
      f"all {e.num_classes} classes."
    ),
  )
  return found or passed("smoothing", "Classes of no example weigh nothing.")


def in_place(e: Evidence) -> Finding:
  """The arguments are afterwards what they were before."""
  if e.caller.kind == "jax":
    return not_applicable("in place", "JAX's arrays cannot be changed.")
  for batch in e.pool:
    changed = batch.outcome.changed
    if changed:
      size = len(batch.labels)
      return fault(
        "in place",
        f"The call changed {changed} that it was given.",
        f"a batch of {size}, seed {batch.seeds[0]}",
        (batch.seeds[0], batch.images, batch.labels),
      )
  return passed("in place", "Images and labels are as they were.")


def class_ids(e: Evidence) -> Finding:
  """Class ids come back as they were, beside images of few bits too."""
  if e.pool[0].outcome.first is None:
    return not_applicable("class ids", "Targets are dense.")
  images, labels = e.given(len(e.pool[0].labels))
  tried = 0
  for ids in _IDS:
    for name in _DTYPES[e.caller.kind]:
      given = np.resize(np.asarray(ids, labels.dtype), labels.shape)
      try:
        outcome = e.caller.many(e.pool[0].seeds, of_dtype(images, name), given)
      except Exception:  # anybody's refusal of a dtype: nothing is rounded
        continue
      tried += 1
      came = np.unique([outcome.first, outcome.second])
      if not np.isin(came, given).all():
        return fault(
          "class ids",
          f"Classes {ids} came back as {tuple(came.tolist())}: integers are "
          "never to be cast to the images' dtype.",
          f"labels {ids} beside {name} images, seed {e.seed}",
          (e.seed, of_dtype(images, name), given),
        )
  if not tried:
    return not_applicable("class ids", f"{_IDS[0]} are refused.")
  return passed("class ids", f"Right up to {max(_IDS[-1]):,}.")


def dtype(e: Evidence) -> Finding:
  """Images keep their dtype."""
  images, labels = e.given(len(e.pool[0].labels))
  kept, refused = [], []
  for name in _DTYPES[e.caller.kind]:
    given = of_dtype(images, name)
    try:
      outcome = e.caller.many(e.pool[0].seeds, given, labels)
    except Exception:  # a refusal changes nothing
      refused.append(name)
      continue
    if outcome.dtype != name:
      return fault(
        "dtype",
        f"{name} images came back as {outcome.dtype}.",
        f"{name} images {list(images.shape)}, seed {e.seed}",
        (e.seed, given, labels),
      )
    kept.append(name)
  told = f"; refused: {', '.join(refused)}" if refused else ""
  return passed("dtype", f"Kept: {', '.join(kept)}{told}.")


def scale(e: Evidence) -> Finding:
  """Images on any scale stay in their range: mixing is affine."""
  if "mixture" in e.failed:
    return not_applicable("range", "See mixture.")
  images, labels = e.given(len(e.pool[0].labels))
  seeds = e.pool[0].seeds
  for name, given in (
    ("[-2.5, 2.5]", 5.0 * images - 2.5),
    ("[0, 255]", 255.0 * images),
  ):
    given = given.astype(np.float32)
    try:
      mixed = e.caller.many(seeds, given, labels).images
    except Exception as error:
      return fault(
        "range",
        f"Images in {name} end in {words(error)}",
        f"{len(images)} images in {name}, seed {seeds[0]}",
        (seeds[0], given, labels),
      )
    way, *_ = reading.read_images(given, mixed)
    if (way == "").any():
      n = int(np.argwhere(way == "")[0, 0])
      return fault(
        "range",
        f"Images in {name} came back in [{mixed[n].min():.3g}, "
        f"{mixed[n].max():.3g}], and as no mixture of them.",
        f"{len(images)} images in {name}, seed {seeds[n]}",
        (seeds[n], given, labels),
      )
  return passed("range", "The same in [0, 1], [-2.5, 2.5] and [0, 255].")


def _count(e: Evidence) -> int:
  return sum(b.seen.way.size for b in e.pool)
