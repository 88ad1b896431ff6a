"""What the checks look at: batches that were mixed, and how to mix others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxmix.audit import reading
from jaxmix.audit.calls import Caller, Outcome
from jaxmix.audit.reading import Seen
from jaxmix.audit.report import FAULT, NOT_APPLICABLE, PASS, Finding

COUNT = 32  # seeds that a batch is mixed with


class Batch(NamedTuple):
  """One batch, mixed with several seeds.

  Attributes:
    images: [B, ...], what was given.
    labels: [B], 0 to B - 1.
    seeds: N of them.
    outcome: what came back, [N, B, ...].
    seen: that, read.
  """

  images: np.ndarray
  labels: np.ndarray
  seeds: Sequence[int]
  outcome: Outcome
  seen: Seen


class Evidence(NamedTuple):
  """Everything that checks share.

  Attributes:
    caller: the function.
    shape: of an image.
    num_classes: K.
    seed: every other seed follows from it.
    pool: batches in growing size, each mixed with several seeds.
    gamma: lam -> the label weight that is right.
    failed: names of the checks that found a fault, so far.
  """

  caller: Caller
  shape: tuple[int, ...]
  num_classes: int
  seed: int
  pool: tuple[Batch, ...]
  gamma: Callable[[np.ndarray], np.ndarray]
  failed: set[str]

  def given(self, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the made images and labels of a batch."""
    integer = np.int64 if self.caller.kind == "torch" else np.int32
    labels = np.arange(size) % self.num_classes
    return reading.made_images(size, self.shape), labels.astype(integer)

  def mixed(self, size: int) -> Batch:
    """Returns a batch of a size, mixed with COUNT seeds."""
    images, labels = self.given(size)
    seeds = range(self.seed, self.seed + COUNT)
    outcome = self.caller.many(seeds, images, labels)
    seen = reading.read(images, outcome, self.num_classes)
    return Batch(images, labels, seeds, outcome, seen)

  def ways(self) -> set[str]:
    """Returns how the pool was mixed: "blend", "paste", neither, both."""
    found = {str(way) for b in self.pool for way in np.unique(b.seen.way)}
    return found - {"same", "swap"}


def passed(check: str, detail: str) -> Finding:
  """A check that found nothing."""
  return Finding(check, PASS, detail)


def not_applicable(check: str, detail: str) -> Finding:
  """A check that has nothing to look at."""
  return Finding(check, NOT_APPLICABLE, detail)


def fault(
  check: str, detail: str, smallest: str, arguments: Any = None
) -> Finding:
  """A check that found a fault."""
  return Finding(check, FAULT, detail, smallest, arguments)


def first_of(
  check: str,
  pool: Sequence[Batch],
  bad: Callable[[Batch], np.ndarray],
  told: Callable[[Batch, int, int], str],
) -> Finding | None:
  """Returns the fault of the smallest batch with an example that is bad.

  Args:
    check: the check's name.
    pool: in growing size.
    bad: batch -> bool [N, B].
    told: (batch, n, i) -> what is wrong with that example.
  """
  for batch in pool:
    found = np.argwhere(bad(batch))
    if len(found):
      n, i = (int(k) for k in found[0])
      seed = batch.seeds[n]
      size = len(batch.labels)
      share = f" {len(found)} of {bad(batch).size} examples there."
      return fault(
        check,
        told(batch, n, i) + share,
        f"a batch of {size}, seed {seed}",
        (seed, batch.images, batch.labels),
      )
  return None


def of_dtype(images: np.ndarray, name: str) -> np.ndarray:
  """Returns the images in a dtype by its name, bfloat16 too."""
  return images.astype(jnp.bfloat16 if name == "bfloat16" else name)


def words(error: Exception) -> str:
  """An exception in one short line."""
  text = " ".join(str(error).split()).rstrip(".")
  short = text if len(text) <= 160 else text[:157] + "..."
  return f"{type(error).__name__}: {short}."
