"""TrainState and the Polyak average."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.state import TrainState, polyak_update


def make_state(width=3, step=0):
  params = {"kernel": jnp.arange(float(width)), "bias": jnp.ones(())}
  state = TrainState.create(
    params=params,
    batch_stats={"mean": jnp.full((2,), 5.0)},
    optimizer=optax.sgd(0.1, momentum=0.9),
  )
  return state.replace(step=jnp.asarray(step, jnp.int32))


@pytest.mark.parametrize(
  ("step", "rate", "moving"),
  [
    (0, 0.999, 0.1),  # (1 + 0) / (10 + 0)
    (8, 0.999, 0.5),  # 9 / 18
    (8, 0.25, 0.25),  # the rate itself once the ramp has passed it
    (10**6, 0.999, 0.999),
  ],
)
def test_polyak_by_hand(step, rate, moving):
  average = {"w": jnp.array([10.0, 0.0])}
  values = {"w": jnp.array([0.0, 1.0])}
  step = jnp.asarray(step, jnp.int32)
  new = jax.jit(polyak_update, static_argnums=3)(average, values, step, rate)
  np.testing.assert_allclose(new["w"], [10.0 * moving, 1.0 - moving], rtol=2e-6)


def test_the_average_starts_as_the_weights_in_buffers_of_its_own():
  state = make_state()
  jax.tree.map(
    np.testing.assert_array_equal,
    state.polyak,
    (state.params, state.batch_stats),
  )
  # Donating the state needs every buffer to be there once.
  jax.jit(lambda s: s, donate_argnums=0)(state)
