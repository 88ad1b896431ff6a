"""Checkpoints: everything comes back, the newest stay, others' are refused."""

import pathlib
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.state import TrainState
from experiments.workdir import digests
from experiments.workdir.checkpoints import Checkpoints
from tests import quick


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


def saved(folder, *steps):
  checkpoints = Checkpoints(folder, keep=len(steps))
  for step in steps:
    checkpoints.save(make_state(step=step), step)
  checkpoints.close()


def files(folder):
  return sorted(p for p in folder.rglob("*") if p.is_file())


def opened(folder):
  """The step that a run would go on from, its state restored."""
  checkpoints = Checkpoints(folder, keep=2)
  try:
    state = checkpoints.restore(make_state())
    assert int(state.step) == checkpoints.latest_step()
    return int(state.step)
  finally:
    checkpoints.close()


def flip(path, count=1):
  data = bytearray(path.read_bytes())
  for i in range(count):
    data[i * len(data) // count + len(data) // count // 2] ^= 1
  path.write_bytes(data)


def cut(path):
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
  path.write_bytes(b"")


def remove(path):
  path.unlink()


@pytest.fixture(scope="module")
def two(tmp_path_factory):
  folder = tmp_path_factory.mktemp("two")
  saved(folder / "c", 1, 2)
  return folder / "c"


@pytest.mark.parametrize("damage", [cut, empty, flip, remove])
def test_the_one_before_a_damaged_checkpoint_is_used(
  tmp_path, caplog, two, damage
):
  """Whichever file it is, Orbax's own descriptions and the digest included."""
  # Orbax's two notes that a part is written say nothing but that they exist.
  notes = "commit_success.txt"
  names = [p.relative_to(two / "2") for p in files(two / "2")]
  names = [name for name in names if name != pathlib.Path(notes)]
  assert len(names) > 5
  folder = tmp_path / "c"
  shutil.copytree(two, folder)
  for name in names:
    whole = (folder / "2" / name).read_bytes()
    if not whole:
      continue
    caplog.clear()
    damage(folder / "2" / name)
    checkpoints = Checkpoints(folder, keep=2)
    assert checkpoints.latest_step() == 1, name
    checkpoints.close()
    assert f"Checkpoint 2 in {folder} is damaged ({name}" in caplog.text
    assert "set aside as 2.damaged" in caplog.text
    (folder / "2.damaged").rename(folder / "2")
    (folder / "2" / name).write_bytes(whole)
  caplog.clear()
  assert opened(folder) == 2 and "damaged" not in caplog.text


def test_one_bit_of_the_weights_is_enough(tmp_path, two):
  """Orbax alone restores it without a word."""
  shutil.copytree(two, tmp_path / "c")
  flip(max(files(tmp_path / "c" / "2"), key=lambda p: p.stat().st_size), 64)
  assert opened(tmp_path / "c") == 1


def test_what_was_set_aside_stays_and_its_step_is_written_again(tmp_path, two):
  folder = tmp_path / "c"
  shutil.copytree(two, folder)
  for _ in range(2):
    cut(folder / "2" / "default" / "_METADATA")
    checkpoints = Checkpoints(folder, keep=2)
    checkpoints.save(make_state(step=2), 2)
    checkpoints.close()
    assert opened(folder) == 2
  assert sorted(p.name for p in folder.iterdir()) == [
    *("1", "2", "2.damaged", "2.damaged2")
  ]


def test_without_a_whole_checkpoint_nothing_starts_nor_moves(tmp_path, two):
  folder = tmp_path / "c"
  shutil.copytree(two, folder)
  flip(folder / "1" / "default" / "_METADATA")
  remove(folder / "2" / "default" / "manifest.ocdbt")
  for _ in range(2):  # each start says the same
    with pytest.raises(ValueError, match="All checkpoints in .*c are damaged"):
      Checkpoints(folder, keep=2)
  assert sorted(p.name for p in folder.iterdir()) == ["1", "2"]


def test_checkpoints_of_before_there_were_digests_are_used(
  tmp_path, caplog, two
):
  folder = tmp_path / "c"
  shutil.copytree(two, folder)
  for step in ("1", "2"):
    remove(folder / step / digests.NAME)
  assert opened(folder) == 2
  assert "Checkpoint 2 in" in caplog.text and "has no digest" in caplog.text
  cut(folder / "2" / "default" / "manifest.ocdbt")
  with pytest.raises(ValueError, match="does not fit .* or is damaged"):
    opened(folder)


def test_a_checkpoint_appears_with_its_digest(tmp_path):
  """Killed before, between or after, there is a whole one or none."""
  code = (
    "import os, pathlib, sys; import jax.numpy as jnp\n"
    "from experiments.workdir import digests\n"
    "from tests.experiments.workdir import checkpoints_test as t\n"
    "write = digests.write\n"
    "def stop(folder):\n"
    "  if 'after' in sys.argv: write(folder)\n"
    "  os._exit(9)\n"
    "t.saved(sys.argv[1], 1)\n"
    "digests.write = stop\n"
    "c = t.Checkpoints(sys.argv[1], keep=3); c.save(t.make_state(step=2), 2)\n"
    "c.close()\n"
  )
  for moment in ("before", "after"):
    folder = tmp_path / moment
    done = subprocess.run(
      [sys.executable, "-c", code, str(folder), moment],
      env=quick.environment(),
      cwd=pathlib.Path(__file__).parents[3],
    )
    assert done.returncode == 9
    assert opened(folder) == 1
    assert (folder / "1" / digests.NAME).exists()
    assert not list(folder.glob("*damaged*"))
