"""Checks of batches that are not as the others: short, odd, of one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxmix.audit import reading
from jaxmix.audit.evidence import (
  Batch,
  Evidence,
  fault,
  not_applicable,
  passed,
  words,
)
from jaxmix.audit.report import Finding

_PAIRS = 200  # each alike with a probability of 1/8 or more


def short(e: Evidence, shorter: Sequence[int]) -> tuple[Finding, Evidence]:
  """A shorter batch after a full one, as at the end of a data set, is mixed.

  Args:
    e: whose pool is of full batches, and whose failed are their faults.
    shorter: sizes, growing.

  Returns:
    The finding, and the evidence with the batches that are as full ones.
  """
  full, found = len(e.pool[-1].labels), None
  for size in reversed(shorter):
    trouble = _trouble(e, size)
    if isinstance(trouble, str):
      found = fault(
        "short batch",
        f"After batches of {full}: {trouble}",
        f"a batch of {size} after one of {full}, seed {e.seed}",
        (e.seed, *e.given(size)),
      )
    else:
      e = e._replace(pool=(trouble, *e.pool))
  told = f"{', '.join(map(str, shorter))} after {full}: mixed as full ones."
  return found or passed("short batch", told), e


def odd(e: Evidence) -> Finding:
  """Batches of an odd number of examples are mixed."""
  if "short batch" in e.failed:
    return not_applicable("odd batch", "See short batch.")
  trouble = _trouble(e, 3)
  if isinstance(trouble, str):
    return fault(
      "odd batch",
      trouble,
      f"a batch of 3, seed {e.seed}",
      (e.seed, *e.given(3)),
    )
  return passed("odd batch", "3: mixed as others.")


def one(e: Evidence) -> Finding:
  """A batch of one comes back as it is."""
  for name in ("short batch", "odd batch"):
    if name in e.failed:
      return not_applicable("batch of one", f"See {name}.")
  trouble = _trouble(e, 1)
  if isinstance(trouble, str):
    return fault(
      "batch of one",
      trouble,
      f"a batch of 1, seed {e.seed}",
      (e.seed, *e.given(1)),
    )
  return passed("batch of one", "Comes back as it is.")


def _trouble(e: Evidence, size: int) -> str | Batch:
  """What goes wrong at a size and not in full batches; else the batch."""
  try:
    batch = e.mixed(size)
  except Exception as error:  # whatever anybody's code ends in
    return words(error)
  seen = batch.seen
  if "mixture" in e.failed:
    return batch
  if (seen.way == "").any():
    return "an image came back that is no mixture of two."
  apart = seen.partner != seen.label_partner
  both = (seen.partner >= 0) & (seen.label_partner >= 0)
  if "partners" not in e.failed and (apart & both).any():
    return "images and labels have different partners."
  right = np.where(
    seen.way == "paste", seen.kept, e.gamma(np.clip(seen.kept, 0.0, 1.0))
  )
  off = np.abs(seen.label_kept - right) > 5 * reading.TOLERANCE
  if not e.failed & {"weights", "area", "partners"} and off.any():
    return "labels do not weigh as images."
  full = e.pool[-1].seen.partner
  shown = (full >= 0).sum(axis=1)
  # Of partners drawn with replacement so many pairs would hardly all differ.
  enough = (shown * (shown - 1) // 2).sum() >= _PAIRS
  if enough and _distinct(full) and not _distinct(seen.partner):
    return (
      "one example is the partner of several, where in full batches each is of "
      "one: partners of a full batch are cut to a short one's."
    )
  return batch


def _distinct(partner: np.ndarray) -> bool:
  """Whether in every call no example is the partner of two."""
  return all(
    len(np.unique(row[row >= 0])) == (row >= 0).sum() for row in partner
  )
