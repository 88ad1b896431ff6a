"""Expected calibration error (Guo et al., 2017), from sums over batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.tasks.task import Sums

BINS = 15


def sums(probabilities: jax.Array, correct: jax.Array, mask: jax.Array) -> Sums:
  """Confidence, correct and count in equal bins of confidence, [BINS] each.

  Args:
    probabilities: [B, K].
    correct: [B] bool, False where `mask` is.
    mask: [B] bool, which examples count.
  """
  confidence = jnp.max(probabilities, axis=-1)
  # Open on the left, as Guo et al. have them; 0 goes to the first.
  bins = jnp.clip(
    jnp.ceil(confidence * BINS).astype(jnp.int32) - 1, 0, BINS - 1
  )
  empty = jnp.zeros(BINS, jnp.float32)
  return {
    "bin_confidence": empty.at[bins].add(jnp.where(mask, confidence, 0.0)),
    "bin_correct": empty.at[bins].add(correct.astype(jnp.float32)),
    "bin_count": empty.at[bins].add(mask.astype(jnp.float32)),
  }


def diagram(found: Mapping[str, Any]) -> dict[str, list[float]]:
  """Returns the sums in bins, from which reliability diagrams are drawn."""
  names = ("confidence", "correct", "count")
  return {
    name: [float(x) for x in np.asarray(found[f"bin_{name}"])] for name in names
  }


def error(found: Mapping[str, Any], examples: float) -> float:
  """Returns the error of sums over all of so many examples."""
  # A bin's gap times its share of the examples: its own count cancels.
  gaps = jnp.abs(found["bin_confidence"] - found["bin_correct"])
  return float(jnp.sum(gaps)) / examples
