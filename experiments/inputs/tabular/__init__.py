"""Tables: UCI's by name, OpenML's, and CSV and ARFF files of your own.

A table comes in one piece. It is divided into training, validation and test
rows by the config's split_seed (see `split`), and encoded by what the training
rows say of its columns (see `columns`). Under task=regression its target is a
number, in units of the standard deviation over all rows: of the table, as no
part of it, so that splits share programs.
"""

from __future__ import annotations

from collections.abc import Callable
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np

from experiments.inputs.dataset import Arrays
from experiments.inputs.scale import Scale
from experiments.inputs.tabular import (
  arff,
  columns,
  delimited,
  named,
  openml,
  split,
  table,
  uci,
)
from experiments.inputs.tabular.cells import Cells
from experiments.inputs.tabular.table import Table


def _cast(raw: Any, dtype: Any = jnp.float32) -> Any:
  return jax.tree.map(lambda values: jnp.asarray(values).astype(dtype), raw)


# One of all tables, so that specs compare equal over splits.
STANDARDIZED = Scale(_cast, None)


def arrays(found: Table, seed: int) -> Arrays:
  """Returns a table divided, encoded and ready to train on.

  Args:
    found: the table.
    seed: of the split.
  """
  table.report(found)
  labels, classes, unit = found.labels, found.labels, 1.0
  if not found.classes:
    classes = split.strata(labels)
    labels, unit = _standardized(labels)
  parts = split.split(classes, seed, found.source)
  inputs = columns.encode(found.columns, parts.train)
  return Arrays(
    train_inputs=inputs[parts.train],
    train_labels=labels[parts.train],
    eval_inputs=inputs[parts.eval],
    eval_labels=labels[parts.eval],
    test_inputs=inputs[parts.test],
    test_labels=labels[parts.test],
    num_classes=len(found.classes),
    scale=STANDARDIZED,
    unit=unit,
  )


def _standardized(values: np.ndarray) -> tuple[np.ndarray, float]:
  """Numbers in units of their standard deviation, and that."""
  # Of magnitude 1, so that no square is 0 or infinite.
  reach = values.max() - values.min()
  values = (values - values.min()) / reach
  spread = values.std()
  standard = (values - values.mean()) / spread
  return standard.astype(np.float32), float(reach * spread)


def _loader(read: Callable[[ConfigDict], Table]):
  def load(config: ConfigDict) -> Arrays:
    seed = config.seed if config.split_seed is None else config.split_seed
    return arrays(read(config), seed)

  return load


def _is_numeric(config: ConfigDict) -> bool:
  """Whether the target is a number: then so for every kind of table."""
  return bool(config.task == "regression")


def _known(name: str) -> Callable[[ConfigDict], Arrays]:
  return _loader(
    lambda config: named.load(
      name, config.data_dir, config.target, numeric=_is_numeric(config)
    )
  )


def _mnist(config: ConfigDict) -> Table:
  if config.target:
    raise ValueError(
      f"target does not apply to dataset={named.MNIST!r}; got "
      f"{config.target!r}."
    )
  if _is_numeric(config):
    raise ValueError(
      f"task='regression' does not apply to dataset={named.MNIST!r}, whose "
      "target is one of ten classes."
    )
  return named.load_mnist(config.data_dir)


def _file(
  read: Callable[[pathlib.Path], Cells],
) -> Callable[[ConfigDict], Arrays]:
  def load(config: ConfigDict) -> Table:
    kind, _, which = config.dataset.partition(":")
    if not which:
      raise ValueError(f"dataset must name a file, {kind}:FILE; got '{kind}:'.")
    folder = pathlib.Path(config.data_dir).expanduser()
    path = folder / pathlib.Path(which).expanduser()
    numeric = _is_numeric(config)
    return table.from_cells(read(path), config.target, numeric=numeric)

  return _loader(load)


def _openml(config: ConfigDict) -> Table:
  which = config.dataset.partition(":")[2]
  numeric = _is_numeric(config)
  return openml.fetch(which, config.data_dir, config.target, numeric=numeric)


LOADERS: dict[str, Callable[[ConfigDict], Arrays]] = {
  **{name: _known(name) for name in uci.SETS},
  named.MNIST: _loader(_mnist),
  "csv:": _file(delimited.read_csv),
  "arff:": _file(arff.read),
  "openml:": _loader(_openml),
}
