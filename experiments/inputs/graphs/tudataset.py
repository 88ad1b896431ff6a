"""Reads a data set of the TUDataset collection in its raw text format.

One folder, NAME, of NAME_A.txt (a row "u, v" for an entry of the adjacency
matrix, nodes counted from 1 over all graphs), NAME_graph_indicator.txt (each
node's graph), NAME_graph_labels.txt, and where there are NAME_node_labels.txt
(Morris et al., 2020, https://arxiv.org/abs/2007.08663).
"""

from __future__ import annotations

import pathlib
import re
from typing import NamedTuple

from absl import logging
import numpy as np

# int() reads 1_0 as 10, too; 18 digits are within 64 bits.
_INTEGER = r"\s*-?[0-9]{1,18}\s*"


class GraphSet(NamedTuple):
  """All graphs, one after the other.

  Attributes:
    nodes: [sum of num_nodes] int32, node labels in 0 .. num_labels - 1.
    edges: [sum of num_edges, 2] int32, rows (u, v) of a graph's own nodes,
      counted from 0, sorted and each once; an undirected edge is two rows.
    num_nodes: [G] int64, positive.
    num_edges: [G] int64.
    labels: [G] int32, in 0 .. num_classes - 1: the file's, in sorted order.
    num_labels: how many node labels there are.
    num_classes: how many graph labels there are.
  """

  nodes: np.ndarray
  edges: np.ndarray
  num_nodes: np.ndarray
  num_edges: np.ndarray
  labels: np.ndarray
  num_labels: int
  num_classes: int


def read(folder: str, name: str) -> GraphSet:
  """Reads the data set `name`.

  Rows of the adjacency that repeat are taken once (those of the IMDB sets all
  do). Where nodes have no labels, their degrees are their labels, as Xu et al.
  (2019, https://arxiv.org/abs/1810.00826, section 7) have it for social
  networks: one label for every degree that occurs. Attributes of nodes and
  labels of edges are not read.

  Args:
    folder: holds the folder `name`, or is that folder.
    name: as the files begin, such as IMDB-BINARY.

  Raises:
    FileNotFoundError: naming the file, and where the collection is.
    ValueError: naming the file and the line that is wrong.
  """
  path = _find(folder, name)
  label_path = path("graph_labels")
  indicator_path = path("graph_indicator")
  graph_labels = _integers(label_path, 1)[:, 0]
  owner = _integers(indicator_path, 1)[:, 0]
  count = len(graph_labels)
  if not count:
    raise ValueError(f"{label_path}: expected a line a graph, got none.")
  _inside(
    owner,
    indicator_path,
    f"a graph in 1 .. {count}, the lines of {label_path.name}",
    (owner >= 1) & (owner <= count),
  )
  num_nodes = np.bincount(owner - 1, minlength=count)
  if not num_nodes.all():
    empty = int(np.argmin(num_nodes > 0)) + 1
    raise ValueError(
      f"{label_path}, line {empty}: graph {empty} has no nodes; "
      f"{indicator_path.name} names it nowhere."
    )
  edges = _adjacency(path("A"), owner, indicator_path)
  if path("node_labels").exists():
    nodes = _integers(path("node_labels"), 1)[:, 0]
    _as_many(path("node_labels"), nodes, indicator_path, owner, "node")
  else:
    nodes = np.bincount(edges[:, 0], minlength=len(owner))

  # Nodes of a graph need not stand together.
  order = np.argsort(owner, kind="stable")
  place = np.empty_like(order)
  place[order] = np.arange(len(order))
  starts = np.cumsum(num_nodes) - num_nodes
  edges = place[edges]
  edges = edges[np.lexsort(edges.T[::-1])]
  of_edge = owner[order][edges[:, 0]] - 1
  node_values, nodes = np.unique(nodes[order], return_inverse=True)
  classes, labels = np.unique(graph_labels, return_inverse=True)
  return GraphSet(
    nodes.astype(np.int32),
    (edges - starts[of_edge][:, None]).astype(np.int32),
    num_nodes,
    np.bincount(of_edge, minlength=count),
    labels.astype(np.int32),
    len(node_values),
    len(classes),
  )


def _find(folder: str, name: str):
  """Returns what maps "A" and its like to files of the data set."""
  base = pathlib.Path(folder).expanduser()
  here = base if (base / f"{name}_A.txt").exists() else base / name
  files = {
    kind: here / f"{name}_{kind}.txt"
    for kind in ("A", "graph_indicator", "graph_labels", "node_labels")
  }
  for kind, path in files.items():
    if kind != "node_labels" and not path.is_file():
      raise FileNotFoundError(
        f"{path} is missing. Download {name}.zip of the TUDataset collection "
        "(graphlearning.io), unpack it, and pass the folder that holds "
        f"{name} as --config.data_dir."
      )
  return files.__getitem__


def _integers(path: pathlib.Path, columns: int) -> np.ndarray:
  """Reads lines of `columns` integers with commas between: [lines, columns]."""
  # Other bytes than a text's become characters that no integer has.
  text = path.read_text(encoding="utf-8-sig", errors="replace").rstrip()
  lines = text.split("\n") if text else []
  is_right = re.compile(",".join([_INTEGER] * columns)).fullmatch
  for number, line in enumerate(lines, 1):
    if not is_right(line):
      what = "an integer" if columns == 1 else f"{columns} integers, u, v"
      raise ValueError(
        f"{path}, line {number}: expected {what}, got {line.strip()[:80]!r}."
      )
  fields = text.replace(",", " ").split()
  return np.array(list(map(int, fields)), np.int64).reshape(-1, columns)


def _adjacency(path, owner, indicator_path) -> np.ndarray:
  """Reads [E, 2] edges between all nodes, from 0, each once."""
  edges = _integers(path, 2)
  count = len(owner)
  _inside(
    edges,
    path,
    f"nodes in 1 .. {count}, the lines of {indicator_path.name}",
    ((edges >= 1) & (edges <= count)).all(axis=1),
  )
  edges -= 1
  ends = owner[edges]
  _inside(
    edges + 1,
    path,
    "an edge inside one graph",
    ends[:, 0] == ends[:, 1],
    lambda at: f", nodes of graphs {ends[at, 0]} and {ends[at, 1]}",
  )
  keys = np.unique(edges[:, 0] * count + edges[:, 1])
  edges = np.stack([keys // count, keys % count], axis=1)
  mirrored = np.sort(edges[:, 1] * count + edges[:, 0])
  if not np.array_equal(keys, mirrored):
    logging.warning(
      "%s: not every edge has its row the other way; a node sums over the "
      "second nodes of its own rows only.",
      path,
    )
  return edges


def _inside(values, path, expected, right, more=lambda at: "") -> None:
  """Raises ValueError at the first line that is not right."""
  if right.all():
    return
  at = int(np.argmin(right))
  got = ", ".join(str(value) for value in np.atleast_1d(values[at]))
  raise ValueError(
    f"{path}, line {at + 1}: expected {expected}, got {got}{more(at)}."
  )


def _as_many(path, rows, other_path, others, what) -> None:
  if len(rows) != len(others):
    at = min(len(rows), len(others)) + 1
    short, long = sorted(
      [(len(rows), path), (len(others), other_path)], key=lambda one: one[0]
    )
    raise ValueError(
      f"{long[1]}, line {at}: expected a line a {what} in both, but "
      f"{short[1].name} has {short[0]} lines and {long[1].name} {long[0]}."
    )
