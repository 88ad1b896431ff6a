"""What a call did, read off made images whose mixtures tell their parts.

Made images are random, so that they are linearly independent, and no two have
an element in common. A mixture's coefficients are then found by least squares,
and of a pasted image every element tells whose it is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxmix.audit.calls import Outcome

# How far shares read off float32 may be from those that were meant.
TOLERANCE = 1e-3
MOST = 64  # examples of a batch


class Seen(NamedTuple):
  """Batches as they were mixed; all [N, B] but where it says so.

  Attributes:
    way: "same" (not mixed), "swap" (all the partner's), "blend", "paste", or ""
      for neither.
    kept: the example's own share of the image: lam, or the area.
    partner: whose the rest is; -1 where nothing is.
    label_kept: the own label's share.
    label_partner: whose the rest of the label is; -1 where nothing is.
    label_sum: what the label's row adds up to.
    spread: [N, B], the share of the label on each class of no example.
    error: how far the image is from the nearest blend, in the images' range.
  """

  way: np.ndarray
  kept: np.ndarray
  partner: np.ndarray
  label_kept: np.ndarray
  label_partner: np.ndarray
  label_sum: np.ndarray
  spread: np.ndarray
  error: np.ndarray


def made_images(size: int, shape: tuple[int, ...]) -> np.ndarray:
  """The first `size` of always the same random images in [0, 1]."""
  generator = np.random.default_rng(20180226)
  images = generator.uniform(size=(MOST, *shape))
  return images[:size].astype(np.float32)


def read(images: np.ndarray, outcome: Outcome, num_classes: int) -> Seen:
  """Reads stacked calls whose labels were 0, 1, ..., B - 1.

  Args:
    images: [B, ...], what was given.
    outcome: of [N, B, ...].
    num_classes: K > B.
  """
  way, kept, partner, error = read_images(images, outcome.images)
  own, other, total, spread = _read_labels(outcome, num_classes)
  return Seen(way, kept, partner, own, other, total, spread, error)


def read_images(
  images: np.ndarray, mixed: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
  """Returns (way, kept, partner, error) of `Seen`, of [N, B, ...] mixed."""
  size = len(images)
  given = images.reshape(size, -1).astype(np.float64)
  got = mixed.reshape(*mixed.shape[:2], -1)
  scale = np.ptp(given) or 1.0
  finite = np.isfinite(got).all(axis=-1)
  got = np.where(finite[..., None], got, 0.0)
  shares = got @ np.linalg.pinv(given)
  error = np.abs(shares @ given - got).max(axis=-1) / scale
  error = np.where(finite, error, np.inf)
  kept, partner, rest = _two(shares)
  blend = (
    (error < TOLERANCE)
    & (np.abs(rest) < TOLERANCE)
    & (kept > -TOLERANCE)
    & (kept < 1.0 + TOLERANCE)
  )
  # Whole rows alone are left to be told, which costs B times as much.
  left = np.argwhere(~blend & finite)
  way = np.where(blend, "blend", "")
  for n, i in left:
    same = np.abs(got[n, i] - given) <= 1e-6 * scale
    others = np.delete(np.arange(size), i)
    counts = same[others].sum(axis=1)
    p = others[np.argmax(counts)] if len(others) else i
    if (same[i] | same[p]).all():
      way[n, i], partner[n, i] = "paste", p
      kept[n, i] = np.mean(same[i])
  gone = (kept > 1.0 - TOLERANCE) & (way != "")
  way[gone], partner[gone] = "same", -1
  # Either may do this, so that it tells nothing of which it is.
  way[(kept < TOLERANCE) & (way != "")] = "swap"
  return way, kept, partner, error


def _two(shares):
  """Own share, the next largest one's index, and what is left over."""
  size = shares.shape[-1]
  index = np.arange(size)
  kept = shares[..., index, index].copy()
  others = shares.copy()
  others[..., index, index] = -np.inf
  if size == 1:
    return kept, np.full(kept.shape, -1), 1.0 - kept
  partner = np.argmax(others, axis=-1)
  share = np.take_along_axis(others, partner[..., None], -1)[..., 0]
  others = np.where(np.isinf(others), 0.0, np.abs(others))
  rest = others.sum(axis=-1) - np.abs(share) + np.abs(1.0 - kept - share)
  return kept, partner, rest


def rows(outcome: Outcome, num_classes: int) -> np.ndarray:
  """Returns the labels as dense rows [N, B, K] of floats."""
  if outcome.dense is not None:
    return outcome.dense
  assert outcome.weight is not None
  found = np.zeros((*outcome.weight.shape, num_classes))
  for classes, weight in (
    (outcome.first, outcome.weight),
    (outcome.second, 1.0 - outcome.weight),
  ):
    known = np.arange(num_classes) == np.asarray(classes)[..., None]
    found += np.where(known, weight[..., None], 0.0)
  return found


def _read_labels(outcome, num_classes):
  found = rows(outcome, num_classes)
  size = found.shape[1]
  total = found.sum(axis=-1)
  # What smoothing spreads lies on every class, those of no example too.
  spread = found[..., size:].mean(axis=-1)
  left = 1.0 - num_classes * spread[..., None]
  shares = (found[..., :size] - spread[..., None]) / np.where(
    left == 0.0, 1.0, left
  )
  own, other, _ = _two(shares)
  if size > 1:
    share = np.take_along_axis(shares, other[..., None], -1)[..., 0]
    other = np.where(share > TOLERANCE, other, -1)
  return own, other, total, spread
