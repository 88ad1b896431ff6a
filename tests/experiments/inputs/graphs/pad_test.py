"""Graphs as arrays of one size, and the sizes of batches."""

import numpy as np

from experiments.inputs.graphs import pad
from experiments.inputs.graphs.tudataset import GraphSet


def graph_set(num_nodes, num_edges):
  nodes, edges = sum(num_nodes), sum(num_edges)
  return GraphSet(
    nodes=np.arange(nodes, dtype=np.int32) % 5,
    edges=np.arange(2 * edges, dtype=np.int32).reshape(-1, 2) % 2 + 1,
    num_nodes=np.array(num_nodes),
    num_edges=np.array(num_edges),
    labels=np.zeros(len(num_nodes), np.int32),
    num_labels=5,
    num_classes=1,
  )


def test_by_hand():
  padded = pad.pad(graph_set([2, 3], [1, 0]))
  np.testing.assert_array_equal(padded["nodes"], [[0, 1, 0], [2, 3, 4]])
  np.testing.assert_array_equal(padded["edges"], [[[1, 2]], [[0, 0]]])
  np.testing.assert_array_equal(padded["num_nodes"], [2, 3])
  np.testing.assert_array_equal(padded["num_edges"], [1, 0])
  assert padded["nodes"].dtype == padded["edges"].dtype == np.int16
  graphs = pad.AsGraphs(5, ((1.0, 2.0),))(padded)
  assert (graphs.num_labels, graphs.rooms) == (5, ((1.0, 2.0),))
  assert graphs.edges is padded["edges"]


def test_no_edges_at_all():
  assert pad.pad(graph_set([2, 3], [0, 0]))["edges"].shape == (2, 1, 2)


def test_numbers_that_16_bits_do_not_hold():
  wide = pad.pad(graph_set([2**15 + 1, 3], [1, 1]))
  assert (wide["edges"].dtype, wide["nodes"].dtype) == (np.int32, np.int16)
  many = graph_set([2, 3], [1, 1])._replace(num_labels=2**15 + 1)
  assert pad.pad(many)["nodes"].dtype == np.int32


def test_rooms_of_batches_of_one_size_are_that_size():
  drawn = pad.sums(graph_set([4] * 9, [6] * 9), batch_size=3)
  assert pad.rooms(drawn) == ((4.0, 6.0),)
  assert pad.padding_share(drawn, ((4.0, 6.0),), (4.0, 6.0)) == (0.0, 0.0)


def test_rooms_hold_nearly_all_batches_far_below_the_largest_graph():
  rng = np.random.default_rng(1)
  sizes = rng.integers(5, 15, 400)
  sizes[7] = 300
  graphs = graph_set(sizes, 2 * sizes)
  drawn = pad.sums(graphs, batch_size=32)
  rooms = pad.rooms(drawn)
  assert len(rooms) == 2 and list(rooms) == sorted(rooms)
  held = np.mean((drawn <= rooms[-1]).all(axis=1))
  assert 0.99 < held < 1.0
  share = pad.padding_share(drawn, rooms, (300.0, 600.0))
  alone = pad.padding_share(drawn, (), (300.0, 600.0))
  assert max(share) < 0.3 and min(alone) > 0.9


def test_padding_share_by_hand():
  """10 and 7 rows in rooms of 10 and 8; 10 and 9 edge rows in 10 and 9."""
  drawn = np.array([[10.0, 10.0], [7.0, 9.0]])
  shares = pad.padding_share(drawn, ((8.0, 9.0), (10.0, 10.0)), (12.0, 12.0))
  np.testing.assert_allclose(shares, [1 / 18, 0.0])
  # Two rows too many for the rooms are computed on in the largest graph's.
  shares = pad.padding_share(drawn, ((8.0, 9.0),), (12.0, 12.0))
  np.testing.assert_allclose(shares, [3 / 20, 2 / 21])
