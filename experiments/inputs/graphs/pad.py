"""Graphs of all sizes as arrays of one, and how much of a batch is padding."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from experiments.inputs.graphs.tudataset import GraphSet
from jaxmix.models.graphs import Graphs, Room

# Of the sums over batches; one batch in 400 is computed on at full size.
QUANTILES = (0.75, 0.9975)
_BATCHES = 20_000


@dataclasses.dataclass(frozen=True)
class AsGraphs:
  """A `Scale.to_float`: a batch of `pad`'s as `jaxmix.models.Graphs`.

  Attributes:
    num_labels: see `Graphs`.
    rooms: see `Graphs`.
  """

  num_labels: int
  rooms: tuple[Room, ...]

  def __call__(self, raw: Any, dtype: Any = None) -> Graphs:
    """Returns the batch; the model makes floats of labels, in its own dtype."""
    del dtype
    return Graphs(**raw, num_labels=self.num_labels, rooms=self.rooms)


def pad(graphs: GraphSet) -> dict[str, np.ndarray]:
  """Returns the arrays of a `Graphs` of all graphs, zeros in the padding.

  In the narrowest integers that hold them.
  """
  num_nodes, num_edges = graphs.num_nodes, graphs.num_edges
  padded = {"num_nodes": num_nodes.astype(np.int32)}
  padded["num_edges"] = num_edges.astype(np.int32)
  for name, values, counts, bound in (
    ("nodes", graphs.nodes, num_nodes, graphs.num_labels),
    ("edges", graphs.edges, num_edges, int(num_nodes.max())),
  ):
    dtype = np.int16 if bound <= 2**15 else np.int32
    shape = len(counts), max(1, int(counts.max())), *values.shape[1:]
    rows = np.zeros(shape, dtype)
    rows[np.arange(shape[1]) < counts[:, None]] = values
    padded[name] = rows
  return padded


def sums(graphs: GraphSet, batch_size: int) -> np.ndarray:
  """Draws batches for their (nodes, edges) a graph: [many, 2].

  By a generator of its own: no run's seed moves the shapes of its program.
  """
  rng = np.random.default_rng(0)
  counts = np.stack([graphs.num_nodes, graphs.num_edges], axis=1)
  drawn = max(200, _BATCHES // batch_size)
  return np.stack(
    [
      counts[rng.integers(len(counts), size=batch_size)].mean(axis=0)
      for _ in range(drawn)
    ]
  )


def rooms(drawn: np.ndarray) -> tuple[Room, ...]:
  """Returns a few rooms for batches like those drawn, see `Graphs`."""
  levels = np.quantile(drawn, QUANTILES, axis=0)
  found = {(float(nodes), float(edges)) for nodes, edges in np.ceil(levels * 4)}
  return tuple((nodes / 4, edges / 4) for nodes, edges in sorted(found))


def padding_share(
  drawn: np.ndarray, sizes: tuple[Room, ...], full: Room
) -> tuple[float, float]:
  """Returns the share of padding among the nodes, and among the edges.

  Args:
    drawn: as of `sums`.
    sizes: rooms.
    full: the largest graph's.
  """
  all_sizes = np.array([*sizes, full], np.float64)
  fits = np.all(drawn[:, None] <= all_sizes[None], axis=-1)
  fits[:, -1] = True
  taken = all_sizes[np.argmax(fits, axis=1)]
  nodes, edges = 1.0 - drawn.sum(axis=0) / np.maximum(taken.sum(axis=0), 1e-9)
  return float(nodes), float(edges)
