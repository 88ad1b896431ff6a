"""A run's checkpoints (Orbax)."""

from __future__ import annotations

import socket
import time

from absl import logging
from etils import epath
import jax
import numpy as np
import orbax.checkpoint as ocp

from experiments import processes
from experiments.state import TrainState
from experiments.workdir import digests, storage

_TMP = ".orbax-checkpoint-tmp"
# What another host has renamed, a network file system may show this much later.
_SEEN = 10.0


class Checkpoints:
  """The last few checkpoints of a run, written in the background.

  A checkpoint is complete or absent, whenever the process dies, and carries a
  digest of its files (`digests`). When the folder is opened, process 0 reads
  the newest one. A damaged one is set aside as STEP.damaged, with a warning,
  and the one before takes its place.

  A checkpoint without a digest is of before there were digests, and used, with
  a warning; where an earlier one has a digest, it is damaged.
  """

  def __init__(self, folder: epath.PathLike, keep: int):
    """Opens (or makes) `folder`; the newest `keep` checkpoints stay there.

    Raises:
      ValueError: if there are checkpoints, and all are damaged. All stay.
    """
    self._saving = 0
    # Orbax would find out with its first checkpoint, and never end.
    storage.make_folder(storage.path(folder))
    options = ocp.CheckpointManagerOptions(
      max_to_keep=keep,
      create=True,
      async_options=ocp.AsyncOptions(post_finalization_callback=self._digest),
    )
    self._manager = storage.patiently(
      lambda: ocp.CheckpointManager(storage.path(folder), options=options),
      folder,
    )
    try:
      if processes.from_first(self._set_damaged_aside):
        self._manager.reload()
      self._newest = processes.from_first(self._manager.latest_step)
      processes.everywhere(self._see_newest)
    except BaseException:
      self._manager.close()
      raise

  def latest_step(self) -> int | None:
    """Returns the step of the newest whole checkpoint when opened, or None."""
    return self._newest

  def restore(self, like: TrainState) -> TrainState:
    """Returns the newest checkpoint, placed as `like` is.

    Raises:
      ValueError: if it does not fit the state, naming the folder.
    """
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    step = self._newest
    try:
      return self._manager.restore(
        step, args=ocp.args.StandardRestore(abstract)
      )
    except (KeyError, ValueError, FileNotFoundError) as error:
      folder = self._manager.directory
      # Without a digest nobody can tell.
      known = digests.exists(folder / str(step))
      raise ValueError(
        f"Checkpoint {step} in {folder} does not fit this config's model or "
        f"optimiser{'' if known else ', or is damaged'}; resume with the "
        "config that wrote it, or start in another workdir."
      ) from error

  def save(self, state: TrainState, step: int) -> None:
    """Starts writing a checkpoint and returns when the state may be donated."""
    if jax.default_backend() == "cpu":
      # On a CPU the host copy would alias the buffers that the next step
      # reuses.
      state = jax.tree.map(lambda x: np.array(x, copy=True), state)
    self._manager.wait_until_finished()  # its digest needs its step
    self._saving = step
    self._manager.save(step, args=ocp.args.StandardSave(state))

  def close(self) -> None:
    """Waits for what is being written."""
    self._manager.wait_until_finished()
    self._manager.close()

  def _digest(self) -> None:
    """When all files are written, and before the checkpoint is committed."""
    if jax.process_index() != 0:
      return
    # A folder is renamed when it is committed; objects cannot be, and are
    # written where they stay, uncommitted without commit_success.txt.
    folder, name = self._manager.directory, str(self._saving)
    for written in (folder / (name + _TMP), folder / name):
      if written.exists():
        digests.write(written)
        return
    raise FileNotFoundError(
      f"Checkpoint {name} is not where Orbax {ocp.__version__} was to write "
      f"it, in {folder}."
    )

  def _see_newest(self) -> None:
    """Raises unless this process sees the checkpoint that process 0 sees."""
    deadline = time.monotonic() + _SEEN
    while self._manager.latest_step() != self._newest:
      if time.monotonic() > deadline:
        raise ValueError(
          f"The newest checkpoint in {self._manager.directory} on host "
          f"{socket.gethostname()} is {self._manager.latest_step()}, where "
          f"process 0 sees {self._newest}; give all processes one workdir: a "
          "folder that their hosts share, or a gs:// URL."
        )
      time.sleep(1.0)
      self._manager.reload()

  def _set_damaged_aside(self) -> list[int]:
    """Returns the steps that were set aside; raises if that leaves none."""
    folder = self._manager.directory
    steps = sorted(self._manager.all_steps(), reverse=True)
    damaged: dict[int, str] = {}
    for i, step in enumerate(steps):
      earlier = (folder / str(k) for k in steps[i + 1 :])
      found = ""
      if digests.exists(folder / str(step)):
        found = digests.damage(folder / str(step))
      elif any(map(digests.exists, earlier)):
        found = f"{digests.NAME} is missing"
      else:
        logging.warning(
          "Checkpoint %d in %s has no digest: it cannot be told whether it is "
          "whole.",
          step,
          folder,
        )
      if not found:
        break
      damaged[step] = found
    told = [f"{step}: {found}" for step, found in damaged.items()]
    if damaged and len(damaged) == len(steps):
      raise ValueError(
        f"All checkpoints in {folder} are damaged ({'; '.join(told)}); restore "
        "one from a copy, or remove the workdir to start from step 0."
      )
    for step in damaged:
      aside = folder / f"{step}.damaged"
      number = 1
      while aside.exists():
        number += 1
        aside = folder / f"{step}.damaged{number}"
      storage.move(folder / str(step), aside)
      logging.warning(
        "Checkpoint %d in %s is damaged (%s): set aside as %s, going on from "
        "the one before.",
        step,
        folder,
        damaged[step],
        aside.name,
      )
    return list(damaged)
