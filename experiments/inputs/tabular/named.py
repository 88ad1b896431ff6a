"""Tables by name: found in the config's data_dir, and known by their sizes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
import itertools
import pathlib

import numpy as np

from experiments.inputs import images
from experiments.inputs.tabular import arff, delimited, openml, table
from experiments.inputs.tabular.cells import Cells
from experiments.inputs.tabular.table import Column, Table
from experiments.inputs.tabular.uci import SETS, Known

MNIST = "mnist_784"
_MNIST_ROWS = 70_000
_MNIST_FILES = tuple(
  f"{part}-{kind}-ubyte.gz"
  for part in ("train", "t10k")
  for kind in ("images-idx3", "labels-idx1")
)


def load(
  name: str, data_dir: str, target: str = "", *, numeric: bool = False
) -> Table:
  """Returns one of `uci.SETS`, from UCI's files or from OpenML's copy.

  Rows are put in the order of their values, as the copies of one set differ in
  theirs: a split is then of the set, whichever copy is read.

  Args:
    name: of the set.
    data_dir: the folder that holds the files, or a folder of the set's name
      with them; or OpenML's NAME.arff, also in a folder openml-arff. A set that
      UCI has not is fetched from OpenML if it is not there.
    target: the set's other target, where it has one (abalone: rings3).
    numeric: whether the target is taken for a number, and no class.

  Raises:
    FileNotFoundError: if the files are missing: which, and where they are from.
    ValueError: if they are not the whole set, or it has no such target.
  """
  known = SETS[name]
  if target not in ("", known.label, *known.cuts):
    raise ValueError(
      f"target must be one of {', '.join([known.label, *known.cuts])} for "
      f"dataset={name!r}; got {target!r}."
    )
  if numeric and target in known.cuts:
    raise ValueError(
      f"target={target!r} of dataset={name!r} is one of classes, and does not "
      "apply to task='regression'."
    )
  found = _table(name, known, data_dir, numeric)
  for what, expected, got in (
    ("rows", known.rows, len(found.labels)),
    ("columns beside the target", known.features, len(found.columns)),
    ("classes", known.classes, len(np.unique(found.labels))),
  ):
    _check_size(found.source, name, what, expected, got)
  if target in known.cuts:
    found = _cut(found, known.cuts[target])
  order = np.lexsort([found.labels, *(c.values for c in found.columns)])
  return found._replace(
    labels=found.labels[order],
    columns=tuple(c._replace(values=c.values[order]) for c in found.columns),
  )


def load_mnist(data_dir: str) -> Table:
  """Returns MNIST as a table of 784 columns: all 70,000 images, for a split.

  Args:
    data_dir: the folder of the four idx.gz files, or one with a folder mnist.

  Raises:
    FileNotFoundError: if one is missing: which, and where they are from.
    ValueError: if they are not the whole set.
  """
  folders = _folders(data_dir, ("mnist", MNIST))
  found = _all_of(folders, _MNIST_FILES)
  if not found:
    raise _missing(
      MNIST,
      folders,
      " and ".join(_MNIST_FILES),
      "storage.googleapis.com/cvdf-datasets/mnist",
    )
  first, first_labels, second, second_labels = map(images.read_idx, found)
  pixels = np.concatenate([first, second]).reshape(-1, 784)
  labels = np.concatenate([first_labels, second_labels]).astype(np.int32)
  for what, values in (("images", pixels), ("labels", labels)):
    _check_size(str(found[0].parent), MNIST, what, _MNIST_ROWS, len(values))
  rows = np.ascontiguousarray(pixels.T)
  columns = [Column(f"pixel{k + 1}", values) for k, values in enumerate(rows)]
  classes = tuple(str(k) for k in range(10))
  return Table(str(found[0].parent), tuple(columns), labels, classes)


def _table(name: str, known: Known, data_dir: str, numeric: bool) -> Table:
  folders = _folders(data_dir, (name, known.folder))
  places = [*folders, _folders(data_dir, ("openml-arff",))[-1]]
  copy = f"{known.arff}.arff"
  if found := _all_of(folders, known.files):
    cells = _read_uci(known, found)
  elif found := _all_of(places, (copy,)):
    cells = _read_arff(known, found[0])
  elif known.files:
    raise _missing(
      name,
      places,
      f"{' and '.join(known.files)}, and no {copy}",
      f"archive.ics.uci.edu/dataset/{known.uci}, or the last from "
      f"openml.org/d/{known.openml},",
    )
  else:
    try:
      which = str(known.openml)
      return openml.fetch(which, data_dir, known.target, numeric=numeric)
    except OSError:  # no network, or no place for a cache
      raise _missing(
        name, places, copy, f"openml.org/d/{known.openml}"
      ) from None
  _check_size(cells.source, name, "rows", known.rows, len(cells.rows))
  return table.from_cells(cells, known.target, numeric=numeric)


def _read_uci(known: Known, paths: Sequence[pathlib.Path]) -> Cells:
  """UCI's files as one."""
  names = [f"column {k}" for k in range(1, known.features + 1)]
  kinds = {x: known.categories.get(k) for k, x in enumerate(names)}
  if known.position is not None:
    names.insert(known.position % (known.features + 1), known.target)
  parts = [
    delimited.read_uci(path, names, kinds, delimiter=known.delimiter)
    for path in paths
  ]
  rows = [row for part in parts for row in part.rows]
  if known.position is None:
    names = [*names, known.target]
    each = known.rows // known.classes
    rows = [[*row, str(k // each)] for k, row in enumerate(rows)]
  source = str(paths[0] if len(paths) == 1 else paths[0].parent)
  places = [place for part in parts for place in part.places]
  return Cells(source, names, rows, places, kinds)


def _read_arff(known: Known, path: pathlib.Path) -> Cells:
  """OpenML's copy, with UCI's word for what its columns hold."""
  cells = arff.read(path)
  features = [name for name in cells.names if name != known.target]
  kinds = {x: known.categories.get(k) for k, x in enumerate(features)}
  return cells._replace(kinds=kinds)


def _cut(found: Table, cuts: tuple[float, ...]) -> Table:
  """The table with classes that are ranges of its own."""
  classes = np.array([float(name) for name in found.classes])
  ranges = np.searchsorted(cuts, classes, side="right").astype(np.int32)
  names = [f"below {cuts[0]:g}"]
  names += [f"from {a:g} to below {b:g}" for a, b in itertools.pairwise(cuts)]
  names += [f"from {cuts[-1]:g}"]
  return found._replace(labels=ranges[found.labels], classes=tuple(names))


def _check_size(
  source: str, name: str, what: str, expected: int, got: int
) -> None:
  if got != expected:
    raise ValueError(
      f"{source}: {name} has {expected:,} {what}, got {got:,}; the file is cut "
      "short, or another set's."
    )


def _folders(data_dir: str, names: Sequence[str]) -> list[pathlib.Path]:
  root = pathlib.Path(data_dir).expanduser().absolute()
  return [root, *(root / name for name in dict.fromkeys(names) if name)]


def _all_of(
  folders: Iterable[pathlib.Path], files: Iterable[str]
) -> list[pathlib.Path]:
  """The files in the first folder that has all of them."""
  for folder in folders:
    found = [folder / file for file in files]
    if found and all(path.is_file() for path in found):
      return found
  return []


def _missing(
  name: str, folders: Iterable[pathlib.Path], what: str, source: str
) -> FileNotFoundError:
  return FileNotFoundError(
    f"dataset={name!r}: no {what} in any of "
    f"{', '.join(str(folder) for folder in folders)}. Download from {source} "
    "into one folder, and pass it as --config.data_dir."
  )
