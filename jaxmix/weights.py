"""Internal: what MixupE weighs its penalty by, and kappa; constants both."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp

from jaxmix import checks

ETA_SCALES = ("absolute", "relative")


def of_penalty(
  loss: chex.Array,
  penalty: chex.Array,
  eta: chex.Numeric,
  eta_scale: str,
) -> chex.Numeric:
  """The weight of R: eta, or eta_t = eta |L R| / (L^2 + R^2).

  eta |L / R|, the obvious relative weight, grows without bound as the logits
  and with them R go to 0, so that zero logits attract. With eta_t, which goes
  to 0 as R / L does, grad(eta_t R) vanishes there and grad L does not.

  Args:
    loss: L, over all replicas.
    penalty: R, likewise.
    eta: as it was given.
    eta_scale: one of ETA_SCALES.

  Returns:
    The weight, without gradient; eta itself where it is absolute.
  """
  checks.choice("eta_scale", eta_scale, ETA_SCALES)
  if eta_scale == "absolute":
    return eta
  sizes = jnp.abs(loss), jnp.abs(penalty)
  large, small = jnp.maximum(*sizes), jnp.minimum(*sizes)
  # By the ratio: squares of small numbers would be 0, of large ones infinite.
  ratio = jnp.where(
    large > 0.0, small / jnp.where(large > 0.0, large, 1.0), 0.0
  )
  return jax.lax.stop_gradient(eta * ratio / (1.0 + ratio * ratio))


def kappa(
  loss: chex.Array, penalty: chex.Array, weight: chex.Numeric
) -> chex.Array:
  """kappa of eq. (5), |L| / |L + weight R|, without gradient."""
  # Where the sum is 0, eq. (5) has no value. Divided by 1 there: jax_debug_nans
  # can stop at a nan even if jnp.where drops it.
  total = jnp.abs(loss + weight * penalty)
  safe = jnp.where(total > 0.0, total, 1.0)
  scale = jnp.where(total > 0.0, jnp.abs(loss) / safe, 1.0)
  return jax.lax.stop_gradient(scale)
