"""A run's checkpoints (Orbax)."""

from __future__ import annotations

from etils import epath
import jax
import numpy as np
import orbax.checkpoint as ocp

from experiments.state import TrainState
from experiments.workdir import storage


class Checkpoints:
  """The last few checkpoints of a run, written in the background.

  A checkpoint is complete or absent, whenever the process dies.
  """

  def __init__(self, folder: epath.PathLike, keep: int):
    """Opens (or makes) `folder`; the newest `keep` checkpoints stay there."""
    self._manager = ocp.CheckpointManager(
      storage.path(folder),
      options=ocp.CheckpointManagerOptions(max_to_keep=keep, create=True),
    )

  def latest_step(self) -> int | None:
    """Returns the newest complete checkpoint's step, or None."""
    return self._manager.latest_step()

  def restore(self, like: TrainState) -> TrainState:
    """Returns the newest checkpoint, placed as `like` is.

    Raises:
      ValueError: if it does not fit the state, naming the folder.
    """
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    step = self._manager.latest_step()
    try:
      return self._manager.restore(
        step, args=ocp.args.StandardRestore(abstract)
      )
    except (KeyError, ValueError) as error:
      raise ValueError(
        f"Checkpoint {step} in {self._manager.directory} does not fit this "
        "config's model or optimiser; resume with the config that wrote it, or "
        "start in another workdir."
      ) from error

  def save(self, state: TrainState, step: int) -> None:
    """Starts writing a checkpoint and returns when the state may be donated."""
    if jax.default_backend() == "cpu":
      # On a CPU the host copy would alias the buffers that the next step
      # reuses.
      state = jax.tree.map(lambda x: np.array(x, copy=True), state)
    self._manager.save(step, args=ocp.args.StandardSave(state))

  def close(self) -> None:
    """Waits for what is being written."""
    self._manager.wait_until_finished()
    self._manager.close()
