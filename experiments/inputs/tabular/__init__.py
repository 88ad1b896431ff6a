"""Tables: UCI's by name, OpenML's, and CSV and ARFF files of your own.

A table comes in one piece. It is divided into training, validation and test
rows by the config's split_seed (see `split`), and encoded by what the training
rows say of its columns (see `columns`).
"""

from __future__ import annotations

from collections.abc import Callable
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

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
  parts = split.split(found.labels, seed, found.source)
  inputs = columns.encode(found.columns, parts.train)
  return Arrays(
    train_inputs=inputs[parts.train],
    train_labels=found.labels[parts.train],
    eval_inputs=inputs[parts.eval],
    eval_labels=found.labels[parts.eval],
    test_inputs=inputs[parts.test],
    test_labels=found.labels[parts.test],
    num_classes=len(found.classes),
    scale=STANDARDIZED,
  )


def _loader(read: Callable[[ConfigDict], Table]):
  def load(config: ConfigDict) -> Arrays:
    seed = config.seed if config.split_seed is None else config.split_seed
    return arrays(read(config), seed)

  return load


def _known(name: str) -> Callable[[ConfigDict], Arrays]:
  return _loader(
    lambda config: named.load(name, config.data_dir, config.target)
  )


def _mnist(config: ConfigDict) -> Table:
  if config.target:
    raise ValueError(
      f"target does not apply to dataset={named.MNIST!r}; got "
      f"{config.target!r}."
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
    return table.from_cells(read(path), config.target)

  return _loader(load)


def _openml(config: ConfigDict) -> Table:
  which = config.dataset.partition(":")[2]
  return openml.fetch(which, config.data_dir, config.target)


LOADERS: dict[str, Callable[[ConfigDict], Arrays]] = {
  **{name: _known(name) for name in uci.SETS},
  named.MNIST: _loader(_mnist),
  "csv:": _file(delimited.read_csv),
  "arff:": _file(arff.read),
  "openml:": _loader(_openml),
}
