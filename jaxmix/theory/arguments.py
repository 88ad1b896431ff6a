"""Internal: what the theory's functions take, checked and made arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxmix import checks, holding, meshes

# So many of the data are looked at to see whether logit_fn couples examples.
_LOOKED_AT = 4


def matrix(name: str, value: chex.Array) -> chex.Array:
  """Returns floats [n, p] with n >= 1, or raises and names the argument."""
  value = listed(value)
  checks.floating(name, value)
  if jnp.ndim(value) != 2 or 0 in jnp.shape(value):
    raise ValueError(
      f"{name} must be [n, p] with n and p at least 1, got shape "
      f"{jnp.shape(value)}."
    )
  return jnp.asarray(value)


def shaped(
  name: str, value: chex.Array, shape: tuple[int, ...], axes: str, dtype: Any
) -> chex.Array:
  """Returns an array of that dtype, or raises unless it has that shape."""
  value = listed(value)
  if jnp.shape(value) != shape:
    raise ValueError(
      f"{name} must be {axes} = {shape}, got shape {jnp.shape(value)}."
    )
  return jnp.asarray(value, dtype)


def listed(value: Any) -> Any:
  """Makes an array of a list or a tuple; of NumPy's numbers, as jnp does."""
  return jnp.asarray(value) if isinstance(value, (list, tuple)) else value


def known(value: chex.Array) -> np.ndarray | None:
  """The values, unless they are traced or other processes hold some."""
  return np.asarray(jax.device_get(value)) if _is_known(value) else None


def _is_known(value):
  if isinstance(value, jax.core.Tracer):
    return False
  return not isinstance(value, jax.Array) or value.is_fully_addressable


def apart(logit_fn: Callable[[chex.Array], chex.Array], x: chex.Array) -> None:
  """Raises ValueError if an example's logits are seen to depend on others.

  What `jaxmix.hold` marks is seen always; anything else only where the values
  are known, outside jit.
  """
  remedy = (
    "The theory runs logit_fn on one example at a time, so it must treat "
    "examples apart: batch norm in evaluation mode, no dropout."
  )
  if holding.holds(logit_fn, x, axis_name=None):
    raise ValueError(
      f"logit_fn computes statistics of its batch (jaxmix.hold). {remedy}"
    )
  if len(x) < 2 or meshes.is_split(x) or not _is_known(x):
    return
  some = x[:_LOOKED_AT]
  together = known(logit_fn(some))
  alone = known(jax.vmap(lambda point: logit_fn(point[None])[0])(some))
  if together is None or alone is None:
    return
  # Passes over one and over four round differently, and accelerators multiply
  # in fewer digits than they return.
  precision = max(float(jnp.finfo(together.dtype).eps) ** 0.5, 1e-2)
  together, alone = (v.astype(np.float64) for v in (together, alone))
  size = np.max(np.abs(alone), where=np.isfinite(alone), initial=1.0)
  same = np.isclose(together, alone, 0.0, precision * size, equal_nan=True)
  if not same.all():
    i = int(np.argwhere(~same)[0, 0])
    raise ValueError(
      f"logit_fn maps x[{i}] to {np.ravel(alone[i])[:3]} alone and to "
      f"{np.ravel(together[i])[:3]} beside others. {remedy}"
    )
