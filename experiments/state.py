"""TrainState, with its Polyak average."""

from __future__ import annotations

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax


@flax.struct.dataclass
class TrainState:
  """Everything that a step reads and writes.

  Attributes:
    step: int32, the number of steps taken.
    params: the live parameters, float32.
    batch_stats: the live running averages of batch norm; {} without batch norm.
    opt_state: the optimiser's.
    polyak: the Polyak average of (params, batch_stats).
  """

  step: jax.Array
  params: Any
  batch_stats: Any
  opt_state: Any
  polyak: tuple[Any, Any]

  @classmethod
  def create(
    cls,
    *,
    params: Any,
    batch_stats: Any,
    optimizer: optax.GradientTransformation,
  ) -> TrainState:
    """Returns the state before the first step, its average the weights."""
    # A copy: the same buffer in two places could not be donated.
    average = jax.tree.map(jnp.copy, (params, batch_stats))
    return cls(
      step=jnp.zeros((), jnp.int32),
      params=params,
      batch_stats=batch_stats,
      opt_state=optimizer.init(params),
      polyak=average,
    )


def polyak_update(
  average: Any, values: Any, step: jax.Array, rate: float
) -> Any:
  """Moves the Polyak average: average + (1 - r) (values - average).

  r = min(rate, (1 + step) / (10 + step)): the rate is reached after about 10 /
  (1 - rate) steps, so that short runs are not averages of their initialisation.
  Over the recipes' 100,000 steps at 0.999 the ramp is gone after the first
  9,000.

  Args:
    average: pytree of floats.
    values: pytree like it.
    step: number of steps taken before this one.
    rate: in [0, 1).

  Returns:
    The new average.
  """
  count = step.astype(jnp.float32)
  # 1 - r directly: subtracting from 1 in float32 would lose its digits.
  moved = jnp.maximum(1.0 - rate, 9.0 / (10.0 + count))
  return optax.incremental_update(values, average, moved)
