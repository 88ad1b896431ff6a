"""Labels of a flat validation folder, from a file beside it.

Understood are, one image a line or row:
- Kaggle's LOC_val_solution.csv: ImageId,PredictionString, whose first word is
  the label (the boxes of an image must agree on it);
- "FILE LABEL", or "FILE,LABEL", the file with or without its ending;
- "LABEL", for the images in sorted order, as many as there are.

A LABEL is a class's name. Numbers say nothing by themselves: those of
ILSVRC2012_validation_ground_truth.txt are the development kit's, from 1 and not
in the order of the names; Caffe's val.txt counts the sorted names from 0. So
numbers need a file that says what they mean: lines of "number name", or the
development kit's meta.mat.
"""

from __future__ import annotations

import collections
from collections.abc import Collection
import csv
import os

from experiments.inputs.prepare import find, text

_FLAG = "eval_labels"


def read_eval_labels(
  path: str, numbers: str, images: Collection[str], classes: list[str]
) -> dict[str, str]:
  """Returns {image: class name}.

  Args:
    path: of the file with the labels.
    numbers: of the file that says what they mean if they are numbers, or "".
    images: names of all that need a label.
    classes: the names that there are.

  Raises:
    ValueError: if the file is not as this module understands it, an image has
      no label, or labels are numbers and `numbers` is "".
    FileNotFoundError: if a file is missing.
  """
  lines = text.read_lines(path, _FLAG)
  if lines[0].replace(" ", "").lower() == "imageid,predictionstring":
    labels = _by_file(_kaggle(lines[1:], path), images, path)
  elif _is_one_word(lines, classes):
    if len(lines) != len(images):
      raise ValueError(
        f"{_FLAG}: {path!r} has {len(lines):,} labels and no file names, and"
        f" there are {len(images):,} images: expected as many, in the order of"
        " the images' names."
      )
    labels = dict(zip(sorted(images), lines, strict=True))
  else:
    labels = _by_file([_pair(line, path) for line in lines], images, path)
  if numbers:
    meaning = _read_numbers(numbers)
    if unknown := sorted(set(labels.values()) - meaning.keys()):
      raise ValueError(
        f"eval_numbers: {numbers!r} does not say what {find.listed(unknown)} in"
        f" {path!r} mean."
      )
    return {name: meaning[label] for name, label in labels.items()}
  if set(labels.values()) <= set(classes):
    return labels
  if all(label.isdecimal() for label in labels.values()):
    raise ValueError(
      f"{_FLAG}: the labels in {path!r} are numbers, and nothing says of which"
      " classes (those of ILSVRC2012_validation_ground_truth.txt are not in the"
      " order of the names). Give --eval_numbers=FILE, the development kit's"
      ' data/meta.mat or a text file of lines "number name".'
    )
  return labels


def _is_one_word(lines: list[str], classes: list[str]) -> bool:
  """Whether each line is a label alone; class names may have spaces."""
  names = set(classes)
  return all(line in names or len(line.split()) == 1 for line in lines) and (
    not all("," in line and line not in names for line in lines)
  )


def _kaggle(lines: list[str], path: str) -> list[tuple[str, str]]:
  """(image, label) of rows "ID,LABEL x y x y LABEL x y x y ..."."""
  pairs = []
  for row in csv.reader(lines):
    words = row[1].split() if len(row) == 2 else []
    found = set(words[::5])
    if len(found) != 1:
      raise ValueError(
        f"{_FLAG}: expected a row ID,LABEL x y x y ... of one label in"
        f" {path!r}, got {','.join(row)!r}."
      )
    pairs.append((row[0], found.pop()))
  return pairs


def _pair(line: str, path: str) -> tuple[str, str]:
  row = next(csv.reader([line])) if "," in line else line.split(maxsplit=1)
  if len(row) != 2 or not all(word.strip() for word in row):
    raise ValueError(
      f'{_FLAG}: expected lines "LABEL", "FILE LABEL" or "FILE,LABEL" in'
      f" {path!r}, got {line!r}."
    )
  return row[0].strip(), row[1].strip()


def _by_file(
  pairs: list[tuple[str, str]], images: Collection[str], path: str
) -> dict[str, str]:
  """Gives images the labels of their file names, with or without ending."""
  given: dict[str, set[str]] = collections.defaultdict(set)
  for file, label in pairs:
    given[_stem(file)].add(label)
  stems = collections.Counter(map(_stem, images))
  for stem, count in stems.items():
    if count > 1 or len(given.get(stem, ())) > 1:
      raise ValueError(
        f"{_FLAG}: {count} images and the labels {sorted(given[stem])} in"
        f" {path!r} go by the name {stem!r}; expected one of each."
      )
  if missing := [name for name in images if _stem(name) not in given]:
    raise ValueError(
      f"{_FLAG}: {path!r} has no label for {len(missing):,} of {len(images):,}"
      f" images: {find.listed(missing)}."
    )
  if more := len(given.keys() - stems.keys()):
    print(f"{path} has labels of {more:,} images that are not there.")
  return {name: next(iter(given[_stem(name)])) for name in images}


def _stem(name: str) -> str:
  base, ending = os.path.splitext(name.rpartition("/")[2])
  return base if ending.lower() in find.EXTENSIONS else base + ending


def _read_numbers(path: str) -> dict[str, str]:
  """{number, as it is written: class name}."""
  pairs: list[tuple[str, ...]]
  if path.endswith(".mat"):
    pairs = _meta(path)
  else:
    lines = text.read_lines(path, "eval_numbers")
    pairs = [tuple(line.split(maxsplit=1)) for line in lines]
  meaning: dict[str, str] = {}
  for pair in pairs:
    if len(pair) != 2 or not pair[0].isdecimal():
      raise ValueError(
        f'eval_numbers: expected lines "number name" in {path!r}, got'
        f" {' '.join(pair)!r}."
      )
    number = str(int(pair[0]))
    if meaning.setdefault(number, pair[1]) != pair[1]:
      raise ValueError(f"eval_numbers: {path!r} has {number} more than once.")
  return meaning


def _meta(path: str) -> list[tuple[str, ...]]:
  """(number, name) of the development kit's synsets."""
  from scipy import io

  if not os.path.isfile(path):
    raise FileNotFoundError(f"eval_numbers: there is no file {path!r}.")
  try:
    synsets = io.loadmat(path, squeeze_me=True)["synsets"]
    numbers, names = synsets["ILSVRC2012_ID"], synsets["WNID"]
  except (KeyError, ValueError, TypeError, OSError) as error:
    raise ValueError(
      f"eval_numbers: {path!r} is not the meta.mat of ILSVRC2012's development"
      f" kit ({error})."
    ) from None
  return [(str(int(n)), str(w)) for n, w in zip(numbers, names, strict=True)]
