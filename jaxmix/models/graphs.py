"""Graphs in batches: padded one by one, computed on as one list of nodes."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

Room = tuple[float, float]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Graphs:
  """A batch of B graphs, each padded to n nodes and e edges.

  What stands in the padding is never read.

  Attributes:
    nodes: [B, n] integer labels in 0 .. num_labels - 1, which stand for one-hot
      features; or [B, n, F] features, floats.
    edges: [B, e, 2] integers, rows (u, v) of a graph's own nodes: u sums over
      v. An undirected edge is two rows.
    num_nodes: [B] integers, how many of the n are real; they come first.
    num_edges: [B], likewise of the e.
    num_labels: static; of no meaning for features.
    rooms: static, ascending (nodes, edges) a graph, averaged over a batch. A
      batch is computed on in the first room that holds it, at its B times as
      many rows, else at B n and B e: a few sizes in one compiled program, where
      the largest graph decides none but the last. () is that one alone.

  Example:
    >>> path = jnp.array([[[0, 1], [1, 0], [1, 2], [2, 1]]])
    >>> three, four = jnp.array([3]), jnp.array([4])
    >>> graphs = jaxmix.models.Graphs(
    ...   jnp.array([[0, 1, 0]]), path, three, four, num_labels=2
    ... )
    >>> model = jaxmix.models.create("gin", 2)
    >>> model.apply(model.init(jax.random.key(0), graphs), graphs).shape
    (1, 2)
  """

  nodes: chex.Array
  edges: chex.Array
  num_nodes: chex.Array
  num_edges: chex.Array
  num_labels: int = dataclasses.field(default=0, metadata={"static": True})
  rooms: tuple[Room, ...] = dataclasses.field(
    default=(), metadata={"static": True}
  )

  @property
  def size(self) -> int:
    """B."""
    return self.num_nodes.shape[0]


class Rows(NamedTuple):
  """The nodes and edges of a batch of graphs, one after the other.

  Attributes:
    features: [N, F] floats.
    graph: [N] integers, whose node it is; B for padding.
    real: [N] bool, False for padding.
    receivers: [E] integers, rows of `features` that sum; N for padding.
    senders: [E], the rows they sum over; N for padding.
  """

  features: chex.Array
  graph: chex.Array
  real: chex.Array
  receivers: chex.Array
  senders: chex.Array


def check(graphs: Graphs) -> None:
  """Checks what shapes and dtypes tell.

  Raises:
    TypeError: if it is no `Graphs`, or an array is of the wrong kind.
    ValueError: if a shape does not fit.
  """
  if not isinstance(graphs, Graphs):
    raise TypeError(
      "x must be a jaxmix.models.Graphs(nodes, edges, num_nodes, num_edges), "
      f"got {type(graphs).__name__}."
    )
  size = jnp.shape(graphs.num_nodes)
  labelled = not jnp.issubdtype(jnp.result_type(graphs.nodes), jnp.floating)
  expected = {
    "num_nodes": (1, "[B]"),
    "num_edges": (1, "[B]"),
    "nodes": (2, "[B, n] labels") if labelled else (3, "[B, n, F] features"),
    "edges": (3, "[B, e, 2]"),
  }
  for name, (rank, what) in expected.items():
    leaf = getattr(graphs, name)
    shape, dtype = jnp.shape(leaf), jnp.result_type(leaf)
    if len(shape) != rank or shape[:1] != size:
      raise ValueError(
        f"{name} must be {what}, of as many graphs as num_nodes {list(size)}; "
        f"got {list(shape)}."
      )
    if not jnp.issubdtype(dtype, jnp.integer) and (name != "nodes" or labelled):
      raise TypeError(f"{name} must be integers, got {dtype}.")
  if jnp.shape(graphs.edges)[-1] != 2:
    raise ValueError(f"edges must be [B, e, 2], got {graphs.edges.shape}.")
  if labelled and graphs.num_labels < 1:
    raise ValueError(
      f"num_labels must be positive for nodes of labels, got "
      f"{graphs.num_labels}."
    )
  ascend = (
    one[0] <= other[0] and one[1] <= other[1]
    for one, other in itertools.pairwise(graphs.rooms)
  )
  if not all(ascend):
    raise ValueError(
      f"rooms must ascend, in nodes and in edges; got {graphs.rooms}."
    )


def only(graphs: Graphs, mask: chex.Array) -> Graphs:
  """Returns the graphs, those where mask [B] is False without their nodes."""
  nodes, edges = (
    jnp.where(mask, jnp.asarray(counts, jnp.int32), 0)
    for counts in (graphs.num_nodes, graphs.num_edges)
  )
  return dataclasses.replace(graphs, num_nodes=nodes, num_edges=edges)


def rooms(graphs: Graphs) -> list[tuple[int, int]]:
  """Returns the sizes (N, E) below the full one that a batch may be packed to.

  Args:
    graphs: B of them; those of its rooms that would save nothing are left out.
  """
  full = (
    graphs.size * graphs.nodes.shape[1],
    graphs.size * graphs.edges.shape[1],
  )
  scaled = [
    tuple(math.ceil(graphs.size * one) for one in room) for room in graphs.rooms
  ]
  return [
    (nodes, min(edges, full[1])) for nodes, edges in scaled if nodes < full[0]
  ]


def smallest(graphs: Graphs, sizes: list[tuple[int, int]]) -> chex.Array:
  """Returns the index of the first of `sizes` that holds the batch, or len."""
  # Counts travel as small integers, whose sums may be large.
  nodes = jnp.sum(graphs.num_nodes, dtype=jnp.int32)
  edges = jnp.sum(graphs.num_edges, dtype=jnp.int32)
  over = [(nodes > size[0]) | (edges > size[1]) for size in sizes]
  return jnp.sum(jnp.stack(over), dtype=jnp.int32)


def padded(graphs: Graphs, dtype: Any) -> Rows:
  """Lays out n nodes and e edges for every graph, as they stand."""
  n, e = graphs.nodes.shape[1], graphs.edges.shape[1]
  rows = jnp.arange(graphs.size, dtype=jnp.int32)[:, None]
  real, drawn = _real(graphs.num_nodes, n), _real(graphs.num_edges, e)
  ends = jnp.asarray(graphs.edges, jnp.int32) + n * rows[..., None]
  ends = jnp.where(drawn[..., None], ends, graphs.size * n).reshape(-1, 2)
  return Rows(
    _features(jnp.asarray(graphs.nodes), real, graphs.num_labels, dtype),
    jnp.where(real, rows, graphs.size).reshape(-1),
    real.reshape(-1),
    ends[:, 0],
    ends[:, 1],
  )


def packed(graphs: Graphs, room: tuple[int, int], dtype: Any) -> Rows:
  """Lays the real nodes and edges out, padding behind the last of them.

  Args:
    graphs: of no more nodes and edges than the room has rows.
    room: (N, E).
    dtype: of the features.
  """
  num_nodes, num_edges = room
  graph, offset, real, starts = _places(graphs.num_nodes, num_nodes)
  owner, position, drawn, _ = _places(graphs.num_edges, num_edges)
  ends = jnp.asarray(graphs.edges)[owner, position].astype(jnp.int32)
  ends = jnp.where(drawn[:, None], ends + starts[owner][:, None], num_nodes)
  nodes = jnp.asarray(graphs.nodes)[graph, offset]
  return Rows(
    _features(nodes, real, graphs.num_labels, dtype),
    jnp.where(real, graph, graphs.size),
    real,
    ends[:, 0],
    ends[:, 1],
  )


def neighbours(x: chex.Array, rows: Rows) -> chex.Array:
  """Sums, for every node, over its neighbours: [N, C] to [N, C].

  In float32: bfloat16 holds no sums of many.
  """
  values = (
    x.astype(jnp.float32).at[rows.senders].get(mode="fill", fill_value=0.0)
  )
  return jax.ops.segment_sum(values, rows.receivers, len(x)).astype(x.dtype)


def totals(x: chex.Array, rows: Rows, size: int) -> chex.Array:
  """Sums over every graph's nodes: [N, C] to float32 [B, C]."""
  return jax.ops.segment_sum(x.astype(jnp.float32), rows.graph, size)


def _features(nodes, real, num_labels, dtype):
  if jnp.issubdtype(nodes.dtype, jnp.floating):
    nodes = nodes.reshape(-1, nodes.shape[-1]).astype(dtype)
    return jnp.where(real.reshape(-1, 1), nodes, jnp.zeros((), dtype))
  # -1 is no label, and all zeros.
  nodes = jnp.where(real, nodes.astype(jnp.int32), -1).reshape(-1)
  return jax.nn.one_hot(nodes, num_labels, dtype=dtype)


def _real(counts, length):
  """Which of `length` rows are below each graph's count: [B, length]."""
  row = jnp.arange(length, dtype=jnp.int32)[None]
  return row < jnp.asarray(counts, jnp.int32)[:, None]


def _places(counts, length):
  """Where `length` rows come from: (graph, place in it, real, starts)."""
  ends = jnp.cumsum(jnp.asarray(counts, jnp.int32))
  starts = ends - jnp.asarray(counts, jnp.int32)
  row = jnp.arange(length, dtype=jnp.int32)
  graph = jnp.searchsorted(ends, row, side="right").astype(jnp.int32)
  real = row < ends[-1]
  graph = jnp.where(real, graph, 0)
  return graph, jnp.where(real, row - starts[graph], 0), real, starts
