"""Temperature scaling: logits divided by one number that other data chose.

Guo et al. (2017), https://arxiv.org/abs/1706.04599, section 4.2: the
temperature T minimises the negative log-likelihood of softmax(logits / T) on
held-out examples. Here T is one of a fixed row, so that sums over batches are
all that is needed, and the examples are seen once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.tasks import calibration
from experiments.tasks.task import Sums
import jaxmix

# From 1/16 to 16, each 1.09 times the one before: the likelihood is flat at its
# best, where half such a step changes it by less than a thousandth of a nat.
TEMPERATURES = 2.0 ** np.linspace(-4.0, 4.0, 65)


def sums(logits: jax.Array, labels: jax.Array, mask: jax.Array) -> Sums:
  """The sums that `scaled` needs, at every temperature.

  Args:
    logits: [B, K].
    labels: [B] classes.
    mask: [B] bool, which examples count.
  """
  correct = (jnp.argmax(logits, axis=-1) == labels) & mask

  def at(temperature):
    own = logits / temperature
    losses = jaxmix.losses.softmax_cross_entropy(own, labels)
    loss = jnp.sum(jnp.where(mask, losses, 0.0))
    bins = calibration.sums(jax.nn.softmax(own), correct, mask)
    return {"loss": loss, **bins}

  return jax.lax.map(at, jnp.asarray(TEMPERATURES, jnp.float32))


def choose(found: Mapping[str, Any]) -> int:
  """Returns the number of the temperature that these examples like best."""
  return int(np.argmin(np.asarray(found["loss"])))


def scaled(
  held: Mapping[str, Any], found: Mapping[str, Any], examples: float
) -> dict[str, float]:
  """What evaluation lines say at the temperature that other examples chose.

  Args:
    held: sums over the examples that choose.
    found: sums over those that are told of.
    examples: how many they are.

  Returns:
    temperature, and scaled_loss and scaled_calibration_error at it.
  """
  number = choose(held)
  own = {name: np.asarray(value)[number] for name, value in found.items()}
  return {
    "temperature": float(TEMPERATURES[number]),
    "scaled_loss": float(own["loss"]) / examples,
    "scaled_calibration_error": calibration.error(own, examples),
  }
