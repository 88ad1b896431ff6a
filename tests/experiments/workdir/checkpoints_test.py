"""Checkpoints: everything comes back, the newest stay, others' are refused."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.state import TrainState
from experiments.workdir.checkpoints import Checkpoints


def make_state(width=3, step=0):
  params = {"kernel": jnp.arange(float(width)), "bias": jnp.ones(())}
  state = TrainState.create(
    params=params,
    batch_stats={"mean": jnp.full((2,), 5.0)},
    optimizer=optax.sgd(0.1, momentum=0.9),
  )
  return state.replace(step=jnp.asarray(step, jnp.int32))


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
