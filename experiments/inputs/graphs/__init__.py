"""Graphs in memory: sets of the TUDataset collection, by cross-validation."""

from __future__ import annotations

import functools

from absl import logging
from ml_collections import ConfigDict
import numpy as np

from experiments.inputs.dataset import Arrays
from experiments.inputs.graphs import folds, pad, tudataset
from experiments.inputs.scale import Scale

# Those of MixupE's table 6; any other by dataset=tu:NAME.
NAMES = {
  "mutag": "MUTAG",
  "nci1": "NCI1",
  "ptc_mr": "PTC_MR",
  "proteins": "PROTEINS",
  "imdb_binary": "IMDB-BINARY",
  "imdb_multi": "IMDB-MULTI",
}


def load(config: ConfigDict) -> Arrays:
  """Reads a data set's graphs and leaves one fold out to test on.

  With inner_validation the fold after it is what is evaluated, and the test
  part is for the end; without, the fold left out is evaluated, as in Xu et al.
  (2019), who report the best epoch's mean over the folds.

  Args:
    config: reads dataset, data_dir, folds, fold, inner_validation, split_seed
      (None: seed), and batch_size, for the sizes that batches are padded to.
  """
  kind, _, which = config.dataset.partition(":")
  name = NAMES.get(config.dataset, which)
  if not name or "/" in name:
    raise ValueError(
      f"dataset: expected one of {', '.join(NAMES)}, or {kind}:NAME, a folder "
      f"of data_dir; got {config.dataset!r}."
    )
  graphs = tudataset.read(config.data_dir, name)
  seed = config.seed if config.split_seed is None else config.split_seed
  parts = folds.split(
    graphs.labels,
    folds=config.folds,
    fold=config.fold,
    seed=seed,
    validation=config.inner_validation,
  )
  padded = pad.pad(graphs)
  drawn = pad.sums(graphs, config.batch_size)
  rooms = pad.rooms(drawn)
  _report(name, graphs, drawn, rooms, config.batch_size)

  def rows(which: np.ndarray):
    return {key: values[which] for key, values in padded.items()}

  evaluated = parts.validation if config.inner_validation else parts.test
  arrays = Arrays(
    rows(parts.train),
    graphs.labels[parts.train],
    rows(evaluated),
    graphs.labels[evaluated],
    graphs.num_classes,
    Scale(pad.AsGraphs(graphs.num_labels, rooms), None),
  )
  if not config.inner_validation:
    return arrays
  return arrays._replace(
    test_inputs=rows(parts.test), test_labels=graphs.labels[parts.test]
  )


def _report(name, graphs, drawn, rooms, batch_size) -> None:
  full = float(graphs.num_nodes.max()), float(graphs.num_edges.max())
  packed = pad.padding_share(drawn, rooms, full)
  alone = pad.padding_share(drawn, (), full)
  _say(
    "%s: %d graphs of %.1f nodes and %.1f edge rows, at most %d and %d. Batches"
    " of %d are computed on in %d sizes; padding is %.0f%% of their nodes and"
    " %.0f%% of their edge rows (%.0f%% and %.0f%% in the largest alone).",
    name,
    len(graphs.labels),
    graphs.num_nodes.mean(),
    graphs.num_edges.mean(),
    *map(int, full),
    batch_size,
    len(rooms) + 1,
    *(100.0 * share for share in (*packed, *alone)),
  )


# All folds of a sweep are of one set.
@functools.lru_cache(maxsize=1)
def _say(message: str, *values: str | float) -> None:
  logging.info(message, *values)
