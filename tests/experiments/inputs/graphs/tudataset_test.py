"""Reading the TUDataset format: by hand, and what is wrong with a folder."""

import logging
import os
import pathlib

import numpy as np
import pytest

from experiments.inputs.graphs import tudataset

# Three graphs: a path of three nodes, one node, and a pair; node 3's graph is
# the first, though node 2 comes between.
FILES = {
  "A": "1, 3\n3, 1\n4, 3\n3,4\n5, 6\n6, 5\n",
  "graph_indicator": "1\n2\n1\n1\n3\n3\n",
  "graph_labels": "5\n-1\n5\n",
  "node_labels": "7\n3\n0\n7\n3\n3\n",
}
SHARED = pathlib.Path(
  os.environ.get(
    "JAXMIX_SHARED_DATA", pathlib.Path(__file__).parents[5] / "shared" / "data"
  )
)


def write(folder, **changes):
  folder.mkdir(parents=True, exist_ok=True)
  for kind, text in (FILES | changes).items():
    if text is not None:
      data = text if isinstance(text, bytes) else text.encode()
      (folder / f"{folder.name}_{kind}.txt").write_bytes(data)
  return folder


def same(one, other):
  for name in one._fields:
    np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_by_hand(tmp_path):
  found = tudataset.read(str(write(tmp_path / "TOY")), "TOY")
  same(
    found,
    tudataset.GraphSet(
      nodes=[2, 0, 2, 1, 1, 1],  # 7, 0, 7; 3; 3, 3
      edges=[[0, 1], [1, 0], [1, 2], [2, 1], [0, 1], [1, 0]],
      num_nodes=[3, 1, 2],
      num_edges=[4, 0, 2],
      labels=[1, 0, 1],
      num_labels=3,
      num_classes=2,
    ),
  )
  assert found.nodes.dtype == found.labels.dtype == found.edges.dtype == "int32"


def test_a_folder_of_data_sets_is_as_good_as_its_own(tmp_path):
  own = write(tmp_path / "TOY")
  same(tudataset.read(str(own), "TOY"), tudataset.read(str(tmp_path), "TOY"))


@pytest.mark.parametrize(
  "text",
  [
    FILES["A"] * 2,
    "".join(sorted(FILES["A"].splitlines(keepends=True), reverse=True)),
    FILES["A"].replace("\n", "\r\n"),
    "\ufeff" + FILES["A"],
    FILES["A"] + "\n\n",
    FILES["A"].rstrip("\n"),
  ],
  ids=["twice", "shuffled", "dos", "mark", "blank-end", "no-end"],
)
def test_the_same_edges_however_they_are_written(tmp_path, text):
  expected = tudataset.read(str(write(tmp_path / "a" / "TOY")), "TOY")
  other = write(tmp_path / "b" / "TOY", A=text)
  same(tudataset.read(str(other), "TOY"), expected)


def test_without_node_labels_degrees_are_labels(tmp_path):
  """Of rows that differ; one that repeats counts once."""
  folder = write(tmp_path / "TOY", node_labels=None, A=FILES["A"] * 2)
  found = tudataset.read(str(folder), "TOY")
  # 1, 2, 1; 0; 1, 1
  np.testing.assert_array_equal(found.nodes, [1, 2, 1, 0, 1, 1])
  assert found.num_labels == 3


def test_graphs_without_edges(tmp_path):
  found = tudataset.read(str(write(tmp_path / "TOY", A="")), "TOY")
  assert found.edges.shape == (0, 2)
  np.testing.assert_array_equal(found.num_edges, [0, 0, 0])


def test_rows_in_one_direction_are_kept_and_told(tmp_path, caplog):
  folder = write(tmp_path / "TOY", A="1,3\n5,5\n")
  with caplog.at_level(logging.WARNING, logger="absl"):
    found = tudataset.read(str(folder), "TOY")
  np.testing.assert_array_equal(found.edges, [[0, 1], [0, 0]])
  assert "TOY_A.txt: not every edge has its row the other way" in caplog.text


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"A": "1, 3\n1\n"}, "_A.txt, line 2: expected 2 integers, u, v, got '1'"),
    ({"A": "1, 3, 4\n"}, "_A.txt, line 1: expected 2 integers"),
    ({"A": "1, 3\n\n3, 1\n"}, "_A.txt, line 2: expected 2 integers, .*got ''"),
    ({"A": "1, x\n"}, "_A.txt, line 1: expected 2 integers, .*got '1, x'"),
    ({"A": "1, 3.0\n"}, "_A.txt, line 1: expected 2 integers"),
    ({"A": "1 3\n"}, "_A.txt, line 1: expected 2 integers"),
    ({"A": b"1, 3\n\xff\xfe, 1\n"}, "_A.txt, line 2: expected 2 integers"),
    ({"A": "1, 1_0\n"}, "_A.txt, line 1: expected 2 integers"),
    ({"A": f"1, {10**30}\n"}, "_A.txt, line 1: expected 2 integers"),
    (
      {"A": "3, 1\n1, 7\n"},
      r"_A.txt, line 2: .* 1 .. 6, .*TOY_graph_indicator",
    ),
    ({"A": "0, 1\n"}, "_A.txt, line 1: expected nodes in 1 .. 6, .*got 0, 1"),
    ({"A": "-1, 1\n"}, "_A.txt, line 1: expected nodes in 1 .. 6"),
    (
      {"A": "1, 3\n1, 2\n"},
      "_A.txt, line 2: expected an edge inside one graph, got 1, 2, nodes of "
      "graphs 1 and 2",
    ),
    (
      {"graph_indicator": "1\n2\n1\n1\n3\n4\n"},
      "indicator.txt, line 6: .*got 4",
    ),
    (
      {"graph_indicator": "1\n0\n1\n1\n3\n3\n"},
      "indicator.txt, line 2: .*got 0",
    ),
    (
      {"graph_indicator": "1\na\n1\n1\n3\n3\n"},
      "indicator.txt, line 2: .*an int",
    ),
    (
      {"graph_indicator": "1\n1\n1\n1\n3\n3\n"},
      "labels.txt, line 2: graph 2 has no nodes; TOY_graph_indicator.txt",
    ),
    ({"graph_labels": "1\n0\n1\n0\n"}, "labels.txt, line 4: graph 4 has no"),
    ({"graph_labels": "1\n0\n"}, "indicator.txt, line 5: .*in 1 .. 2, .*got 3"),
    (
      {"graph_labels": "1\n0.5\n1\n"},
      "graph_labels.txt, line 2: expected an int",
    ),
    (
      {"graph_labels": ""},
      "graph_labels.txt: expected a line a graph, got none",
    ),
    (
      {"node_labels": "7\n3\n0\n7\n3\n"},
      "indicator.txt, line 6: expected a line a node in both, but "
      "TOY_node_labels.txt has 5 lines and TOY_graph_indicator.txt 6",
    ),
    (
      {"node_labels": "1\n" * 8},
      "node_labels.txt, line 7: expected a line a n",
    ),
    ({"node_labels": "7\n3\n\n7\n3\n3\n"}, "node_labels.txt, line 3: .*an int"),
    ({"node_labels": "1, 2\n" * 6}, "node_labels.txt, line 1: .*an integer"),
  ],
)
def test_errors_name_the_file_and_the_line(tmp_path, changes, message):
  folder = write(tmp_path / "TOY", **changes)
  with pytest.raises(ValueError, match=message):
    tudataset.read(str(folder), "TOY")


@pytest.mark.parametrize("kind", ["A", "graph_indicator", "graph_labels"])
def test_missing_files_say_what_to_download(tmp_path, kind):
  folder = write(tmp_path / "TOY", **{kind: None})
  with pytest.raises(
    FileNotFoundError, match=f"TOY_{kind}.txt is missing. .*TOY.zip .*data_dir"
  ):
    tudataset.read(str(tmp_path), "TOY")
  del folder


@pytest.mark.parametrize(
  ("name", "nodes", "edges", "classes", "labels"),
  [
    ("MUTAG", 17.93, 19.79, [63, 125], 7),
    ("PTC_MR", 14.29, 14.69, [192, 152], 18),
    ("IMDB-BINARY", 19.77, 96.53, [500, 500], 65),
  ],
)
def test_the_collections_own_statistics(name, nodes, edges, classes, labels):
  folder = SHARED / "tudataset"
  if not folder.exists():
    pytest.skip(f"No {folder}; set JAXMIX_SHARED_DATA to its parent.")
  found = tudataset.read(str(folder), name)
  assert round(found.num_nodes.mean(), 2) == nodes
  assert round(found.num_edges.mean() / 2, 2) == edges
  np.testing.assert_array_equal(np.bincount(found.labels), classes)
  assert found.num_labels == labels
