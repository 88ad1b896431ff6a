"""Which images become which split's examples, of which class."""

from __future__ import annotations

import collections
from typing import NamedTuple

from experiments.inputs.prepare import eval_labels as eval_labels_lib
from experiments.inputs.prepare import find, labels, levels, split
from experiments.inputs.prepare.examples import Split


class Options(NamedTuple):
  """What `write.prepare` is asked for, as far as it decides on this."""

  folder: str
  pattern: str
  classes: str
  eval_split: str
  eval_fraction: float
  eval_folder: str
  eval_labels: str
  eval_numbers: str
  allow_empty: bool


class Plan(NamedTuple):
  """What is to be written.

  Attributes:
    classes: their names, in the order of their numbers.
    splits: "train" and "validation".
    left_out: {folder: {reason: files and folders}}.
  """

  classes: list[str]
  splits: dict[str, Split]
  left_out: dict[str, collections.Counter[str]]


def make(options: Options) -> Plan:
  """Finds the images, their classes and their splits; reads none of them.

  Raises:
    FileNotFoundError: if a folder or a file is missing or holds nothing.
    ValueError: if names do not say of which classes the images are.
  """
  found = find.find_images(options.folder)
  by_name = _labels(found, options, "folder")
  names = sorted(set(by_name.values()))
  if not options.pattern:
    names = sorted({*names, *found.empty})
  source = f"--folder={options.folder}"
  if options.classes:
    names = labels.read_classes(options.classes, set(by_name.values()))
    source = f"--classes={options.classes}"
  labels.check_names(names)
  levels.check_several(
    names, found.images, options.folder, pattern=options.pattern
  )
  numbers = labels.numbered(by_name, names, source, "folder")
  train = Split(list(found.images), found.images, numbers)
  left_out = {options.folder: found.left_out}
  if options.eval_folder:
    held_out = find.find_images(options.eval_folder, "eval_folder")
    left_out[options.eval_folder] = held_out.left_out
    validation = _given(held_out, options, names, source)
  elif options.eval_split == "fraction":
    kept, chosen = split.split_by_hash(numbers, options.eval_fraction)
    train, validation = train._replace(names=kept), train._replace(names=chosen)
  else:
    validation = train
  return Plan(names, {"train": train, "validation": validation}, left_out)


def _labels(found: find.Found, options: Options, flag: str) -> dict[str, str]:
  """Returns {image: label}, by file names or folders."""
  pattern = find.composed(options.pattern)
  folder = {"folder": options.folder, "eval_folder": options.eval_folder}[flag]
  if not options.classes or pattern:
    levels.check_no_splits(found.images, folder, flag, by_folder=not pattern)
  if not pattern:
    levels.check_in_folders(found.images, folder, flag)
    if found.empty and not options.allow_empty:
      raise ValueError(_emptiness(found.empty, flag))
  return {name: labels.label_of(name, pattern, flag) for name in found.images}


def _emptiness(empty: dict[str, collections.Counter[str]], flag: str) -> str:
  listed = ", ".join(
    f"{top!r} (left out: {find.summary(counts)})"
    for top, counts in list(empty.items())[:20]
  )
  return (
    f"{flag}: {len(empty):,} class folders hold no image: {listed}. Fill or"
    " remove them, or keep them as classes without images: --allow_empty."
  )


def _given(
  found: find.Found, options: Options, names: list[str], source: str
) -> Split:
  """Returns the validation split of a folder of its own."""
  flag = "eval_folder"
  if options.eval_labels:
    by_name = eval_labels_lib.read_eval_labels(
      options.eval_labels, options.eval_numbers, found.images, names
    )
    flag = "eval_labels"
  else:
    by_name = _labels(found, options, flag)
  numbers = labels.numbered(by_name, names, source, flag)
  return Split(list(found.images), found.images, numbers, "eval_folder")
