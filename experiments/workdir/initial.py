"""Weights to begin with, from another run's checkpoint."""

from __future__ import annotations

from collections.abc import Collection
import os
from typing import Any

from absl import logging
from etils import epath
import flax.traverse_util
import jax
import numpy as np
import orbax.checkpoint as ocp

from experiments.workdir import digests, storage

_ITEM = "default"  # Orbax's name for what a checkpoint of one thing holds


def find(place: str | os.PathLike[str]) -> epath.Path:
  """Returns the checkpoint that a folder is, or the newest that it holds.

  Args:
    place: a workdir, its checkpoints folder, or one of the checkpoints.

  Raises:
    ValueError: if there is none, or it is damaged.
  """
  folder = storage.path(place)
  for each in (folder, folder / "checkpoints"):
    if (each / _ITEM).exists():
      found = each
      break
    # STEP.damaged and what is being written are no numbers.
    steps = (
      [int(one.name) for one in each.iterdir() if one.name.isdecimal()]
      if each.is_dir()
      else []
    )
    if steps:
      found = each / str(max(steps))
      break
  else:
    raise ValueError(
      f"init_from must be a workdir with checkpoints, a checkpoints folder, or "
      f"one of its checkpoints; found none in {folder}."
    )
  if digests.exists(found) and (damage := digests.damage(found)):
    raise ValueError(
      f"init_from: the checkpoint {found} is damaged ({damage}); name an "
      "earlier one."
    )
  return found


def read(place: str | os.PathLike[str], weights: str) -> tuple[Any, Any]:
  """Returns (params, network state) of a checkpoint, as NumPy arrays.

  Args:
    place: see `find`.
    weights: "polyak", the average that evaluations are of, or "live".

  Raises:
    ValueError: if there is no checkpoint of a run of experiments.
  """
  folder = find(place)
  reader = ocp.PyTreeCheckpointer()
  try:
    tree = reader.metadata(folder / _ITEM).item_metadata.tree
    keys = ("polyak",) if weights == "polyak" else ("params", "batch_stats")
    # Not the optimiser's state, twice as large.
    wanted = {key: tree[key] for key in keys}
    arrays = ocp.RestoreArgs(restore_type=np.ndarray)
    found = reader.restore(
      folder / _ITEM,
      args=ocp.args.PyTreeRestore(
        item=wanted,
        restore_args=jax.tree.map(lambda _: arrays, wanted),
        partial_restore=True,
      ),
    )
  except (KeyError, ValueError, OSError, AttributeError) as error:
    raise ValueError(
      f"init_from: {folder} is no checkpoint of a run of experiments.main "
      f"({type(error).__name__})."
    ) from error
  finally:
    reader.close()
  logging.info("Beginning with the %s weights of %s.", weights, folder)
  if weights == "polyak":
    params, state = found["polyak"]
    return params, state
  return found["params"], found["batch_stats"]


def fitted(
  found: Any, like: Any, head: Collection[str], *, renews_head: bool
) -> Any:
  """Returns a checkpoint's parameters for a model's.

  Args:
    found: params, or the network's state, of the checkpoint.
    like: those of the model.
    head: names, joined by slashes, of what depends on the number of outputs.
    renews_head: whether these are left as they are in `like`.

  Raises:
    ValueError: naming the first that is missing, of another shape, or too many.
  """
  own, theirs = (
    flax.traverse_util.flatten_dict(tree, sep="/") for tree in (like, found)
  )
  result = dict(own)
  for name, leaf in own.items():
    if renews_head and name in head:
      continue
    what = f"init_from: {name} of the model is {leaf.shape}"
    if name not in theirs:
      raise ValueError(f"{what}, and the checkpoint has none; {_OTHER}.")
    if theirs[name].shape != leaf.shape:
      remedy = _OTHER
      if name in head:
        remedy = (
          "it is for another number of outputs: init_head=new begins the head "
          "anew, with all else from the checkpoint"
        )
      raise ValueError(
        f"{what}, and the checkpoint's {theirs[name].shape}; {remedy}."
      )
    result[name] = np.asarray(theirs[name], leaf.dtype)
  more = sorted(theirs.keys() - own.keys())
  if more:
    raise ValueError(
      f"init_from: the checkpoint has {more[0]}, and the model none; {_OTHER}."
    )
  return flax.traverse_util.unflatten_dict(result, sep="/")


_OTHER = "it is of another model: give the one that it was trained with"
