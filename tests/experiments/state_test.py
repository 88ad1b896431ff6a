"""TrainState, the Polyak average, and checkpoints."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.state import Checkpoints, TrainState, polyak_update


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


def test_round_trip_keeps_everything(tmp_path):
  state = make_state(step=7)
  checkpoints = Checkpoints(tmp_path / "c", keep=2)
  assert checkpoints.latest_step() is None
  checkpoints.save(state, 7)
  checkpoints.close()
  again = Checkpoints(tmp_path / "c", keep=2)
  assert again.latest_step() == 7
  restored = again.restore(make_state())
  jax.tree.map(np.testing.assert_array_equal, restored, state)
  assert restored.step.dtype == jnp.int32
  again.close()


def test_only_the_last_k_stay(tmp_path):
  checkpoints = Checkpoints(tmp_path / "c", keep=2)
  for step in (1, 2, 3):
    checkpoints.save(make_state(step=step), step)
  checkpoints.close()
  assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["2", "3"]


def test_a_saved_state_may_be_donated_at_once(tmp_path):
  """On a CPU the host view of an array shares its memory."""
  state = make_state(width=100_000)
  expected = np.array(state.params["kernel"], copy=True)
  checkpoints = Checkpoints(tmp_path / "c", keep=1)
  spoil = jax.jit(
    lambda s: jax.tree.map(lambda x: x * 0 - 1, s), donate_argnums=0
  )
  checkpoints.save(state, 1)
  for _ in range(3):
    state = spoil(state)
  checkpoints.close()
  again = Checkpoints(tmp_path / "c", keep=1)
  restored = again.restore(make_state(width=100_000))
  np.testing.assert_array_equal(restored.params["kernel"], expected)
  again.close()


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
  checkpoints = Checkpoints(tmp_path / "c", keep=1)
  checkpoints.save(make_state(width=3), 1)
  checkpoints.close()
  again = Checkpoints(tmp_path / "c", keep=1)
  with pytest.raises(ValueError, match="Checkpoint 1 in .* does not fit"):
    again.restore(make_state(width=4))
  again.close()
