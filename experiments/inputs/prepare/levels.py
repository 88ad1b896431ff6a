"""Whether the folders of a folder are its classes, or it is a level off."""

from __future__ import annotations

from collections.abc import Collection
import os

from experiments.inputs.prepare import find

_TRAINING = frozenset({"train", "training", "trainset", "train_set"})
_HELD_OUT = frozenset(
  {"val", "valid", "validation", "eval", "dev", "test", "testing", "val_set"}
  | {"testset", "test_set", "valset"}
)


def check_no_splits(
  images: Collection[str], folder: str, flag: str, *, by_folder: bool
) -> None:
  """Refuses a folder of splits, which would become classes, or be mixed.

  Args:
    images: paths below the folder.
    folder: that holds them.
    flag: that named it.
    by_folder: whether labels are folder names, not parts of file names.

  Raises:
    ValueError: with the folder that is likely meant.
  """
  tops = sorted({name.partition("/")[0] for name in images if "/" in name})
  training = [top for top in tops if top.lower() in _TRAINING]
  held_out = [top for top in tops if top.lower() in _HELD_OUT]
  inside = {
    name.partition("/")[0] for name in images if name.count("/") > 1
  }.intersection(training + held_out)
  all_splits = by_folder and len(training + held_out) == len(tops) > 0
  if not (all_splits or training and held_out or by_folder and inside):
    return
  if flag == "eval_folder":
    likely = f"--eval_folder={os.path.join(folder, (held_out + training)[0])}"
  else:
    likely = f"--folder={os.path.join(folder, (training + held_out)[0])}"
    if training and held_out:
      likely += f" --eval_folder={os.path.join(folder, held_out[-1])}"
  remedy = f"Give {likely}"
  if by_folder:
    remedy += "; if these are the classes, say so with --classes=FILE"
  raise ValueError(
    f"{flag}: {find.listed(training + held_out)} in {folder!r} look like"
    f" splits, not classes: the folder is a level too high. {remedy}."
  )


def check_in_folders(images: Collection[str], folder: str, flag: str) -> None:
  """Refuses images beside the class folders, or without any.

  Raises:
    ValueError: naming them, with the folder that is likely meant.
  """
  stray = [name for name in images if "/" not in name]
  if not stray:
    return
  remedy = (
    "Put every image in a folder named after its class, or give --pattern to"
    " read labels from file names"
  )
  if flag == "eval_folder":
    remedy += ", or --eval_labels=FILE for ImageNet's flat validation folder"
  if len(stray) == len(images):
    parent, base = os.path.split(os.path.abspath(folder))
    remedy += (
      f"; if {base!r} is itself a class, the folder is a level too low: give"
      f" --{flag}={parent}"
    )
  raise ValueError(
    f"{flag}: {find.listed(stray)} {'lies' if len(stray) == 1 else 'lie'} in"
    f" no class folder. {remedy}."
  )


def check_several(
  classes: list[str], images: Collection[str], folder: str, *, pattern: str
) -> None:
  """Refuses a single class: there is nothing to tell apart.

  Raises:
    ValueError: with the folder that is likely meant.
  """
  if len(classes) > 1:
    return
  if pattern:
    raise ValueError(
      f"pattern: {pattern!r} gives all images the label {classes[0]!r}; a data"
      " set needs two classes or more. Correct the pattern."
    )
  path, children = _below(images)
  if path and len(children) > 1:
    remedy = (
      f"the folder is a level too high. Give --folder={folder.rstrip('/')}/"
      f"{path}, whose folders are {find.listed(children)}."
    )
  else:
    remedy = (
      "put a folder for each class into it, or give --pattern to read labels"
      " from file names."
    )
  raise ValueError(
    f"folder: {folder!r} holds a single class, {classes[0]!r}, and a data set"
    f" needs two or more: {remedy}"
  )


def _below(images: Collection[str]) -> tuple[str, list[str]]:
  """The folder that class folders are likely in, and their names."""
  path = ""
  while True:
    rest = [name[len(path) :] for name in images if name.startswith(path)]
    children = sorted({name.partition("/")[0] for name in rest if "/" in name})
    training = [child for child in children if child.lower() in _TRAINING]
    if len(training) == 1:
      path += f"{training[0]}/"
    elif len(children) == 1 and all("/" in name for name in rest):
      path += f"{children[0]}/"
    else:
      return path.rstrip("/"), children
