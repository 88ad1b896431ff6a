"""Tests of jaxmix.models.gin: against dense matrices, and what is padding."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P
import numpy as np
import pytest

import jaxmix
from jaxmix import models
from jaxmix.models import graphs as graphs_lib

LABELS = 3


def draw(sizes, seed=0, density=0.4):
  """Returns [(labels [n], adjacency [n, n])] of directed graphs with loops."""
  rng = np.random.default_rng(seed)
  return [
    (rng.integers(0, LABELS, n), rng.random((n, n)) < density) for n in sizes
  ]


def batch(graphs, n=None, e=None, rooms=(), garbage=0, features=None):
  """Pads graphs of `draw` to n nodes and e edges.

  Args:
    graphs: as of `draw`.
    n: None is the largest graph's.
    e: None is the largest graph's.
    rooms: of `Graphs`.
    garbage: what stands in the padding.
    features: [LABELS, F] to look labels up in, in place of labels.
  """
  rows = [np.argwhere(adjacency) for _, adjacency in graphs]
  n = n or max(len(labels) for labels, _ in graphs)
  e = e or max(1, *(len(row) for row in rows))
  nodes = np.full((len(graphs), n), garbage, np.int16)
  edges = np.full((len(graphs), e, 2), garbage, np.int16)
  for k, ((labels, _), row) in enumerate(zip(graphs, rows, strict=True)):
    nodes[k, : len(labels)] = labels
    edges[k, : len(row)] = row
  count = lambda lists: np.array([len(one) for one in lists], np.int32)
  if features is not None:
    nodes = np.where(
      np.arange(n)[None, :, None]
      < count([g[0] for g in graphs])[:, None, None],
      features[nodes % LABELS],
      np.float32(garbage),
    )
  return models.Graphs(
    jnp.asarray(nodes),
    jnp.asarray(edges),
    jnp.asarray(count([labels for labels, _ in graphs])),
    jnp.asarray(count(rows)),
    num_labels=0 if features is not None else LABELS,
    rooms=rooms,
  )


# The third has one node, and the fourth's nodes have no neighbours.
SIZES = (5, 3, 1, 4, 7, 2)
GRAPHS = draw(SIZES)
GRAPHS[3] = (GRAPHS[3][0], np.zeros((4, 4), bool))
# 22 nodes and some 40 edges: the first is too small for them, the second not.
ROOMS = ((3.0, 5.0), (4.5, 10.0))
FULL = sum(SIZES), sum(int(adjacency.sum()) for _, adjacency in GRAPHS)


def create(**options):
  small = dict(num_layers=2, hidden_size=4, head_features=(5,))
  return models.create("gin", 2, **{**small, **options})


def randomized(model, x):
  """Variables of the model's shapes, none of them zero."""
  rng = np.random.default_rng(0)

  def one(path, leaf):
    low, high = (0.5, 1.5) if path[-1].key in ("scale", "var") else (-0.5, 0.5)
    return jnp.asarray(rng.uniform(low, high, leaf.shape), jnp.float32)

  spec = jax.eval_shape(model.init, jax.random.key(0), x)
  return jax.tree_util.tree_map_with_path(one, spec)


def close(actual, expected, rtol=2e-4, atol=2e-5):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol),
    actual,
    expected,
  )


WEIGHT = np.random.default_rng(1).normal(size=(len(SIZES), 2))


def step(model, parts, v, x, weight, mask=None):
  """(logits, statistics, gradient) of a training pass."""

  def loss(params):
    logits, after = model.apply(
      {**v, "params": params},
      x,
      train=True,
      parts=parts,
      mask=mask,
      mutable=["batch_stats"],
    )
    return jnp.sum(weight * logits), (logits, after["batch_stats"])

  grads, (logits, after) = jax.grad(loss, has_aux=True)(v["params"])
  return logits, after, grads


@functools.cache
def compiled(model, parts):
  return jax.jit(functools.partial(step, model, parts))


def train(model, v, x, weight=WEIGHT, parts=None, mask=None):
  return compiled(model, parts)(v, x, jnp.asarray(weight, jnp.float32), mask)


def dense(v, graphs, train, features=None, epsilon=False):
  """Logits from the adjacency of all graphs, in NumPy; see `GIN`."""
  labels = np.concatenate([labels for labels, _ in graphs])
  owner = np.repeat(np.arange(len(graphs)), [len(g[0]) for g in graphs])
  adjacency = np.zeros((len(labels),) * 2)
  start = 0
  for _, own in graphs:
    at = slice(start, start := start + len(own))
    adjacency[at, at] = own
  member = owner[None] == np.arange(len(graphs))[:, None]
  v = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), v)
  params, stats = v["params"], v["batch_stats"]["encoder"]
  h = np.eye(LABELS)[labels] if features is None else features[labels]
  sums = [member @ h]
  for update, own in sorted(params["encoder"].items()):
    scale = 1.0 + own["epsilon"] if epsilon else 1.0
    h = scale * h + adjacency @ h
    for k in "12":
      h = h @ own[f"dense{k}"]["kernel"]
      norm = own[f"norm{k}"]
      mean, var = h.mean(0), h.var(0)
      if not train:
        mean, var = (stats[update][f"norm{k}"][s] for s in ("mean", "var"))
      h = (h - mean) / np.sqrt(var + 1e-5) * norm["scale"]
      h = np.maximum(h + norm["bias"], 0.0)
    sums.append(member @ h)
  y = np.concatenate(sums, axis=1) / 2.0
  first, head = params["head_dense1"], params["head"]
  y = np.maximum(y @ first["kernel"] + first["bias"], 0.0)
  return y @ head["kernel"] + head["bias"]


@pytest.mark.parametrize(
  ("rooms", "epsilon", "kind"),
  [((), True, "labels"), (ROOMS, False, "labels"), (ROOMS[1:], True, "floats")],
)
def test_against_dense_matrices(rooms, epsilon, kind):
  features = np.random.default_rng(3).normal(size=(LABELS, 2)).astype("f")
  options = {} if kind == "labels" else {"features": features}
  model = create(num_layers=3, learn_epsilon=epsilon, readout_scale=2.0)
  x = batch(GRAPHS, n=9, e=40, rooms=rooms, garbage=7, **options)
  v = randomized(model, x)
  expected = functools.partial(dense, v, GRAPHS, epsilon=epsilon, **options)
  assert np.std(expected(train=True)) > 0.1
  close(jax.jit(model.apply)(v, x), expected(train=False))
  close(train(model, v, x)[0], expected(train=True))


def test_padding_and_rooms_change_nothing():
  """Neither logits, statistics nor gradients, whatever stands in it."""
  model = create(learn_epsilon=True)
  x = batch(GRAPHS)
  v = randomized(model, x)
  expected = train(model, v, x)
  assert all(np.any(g != 0.0) for g in jax.tree.leaves(expected[2]))
  for n, e, rooms, garbage in (
    (12, 60, (), 11),
    (12, 60, ((FULL[0] / 6, FULL[1] / 6),), -5),  # filled to the last row
    (12, 60, ((FULL[0] / 6, FULL[1] / 6 - 0.5),), 3),  # one edge too few
  ):
    close(train(model, v, batch(GRAPHS, n, e, rooms, garbage)), expected)


def test_the_first_room_that_holds_a_batch_is_taken():
  x = batch(GRAPHS, n=12, e=60, rooms=((2, 3), *ROOMS, (11, 60), (12, 60)))
  sizes = graphs_lib.rooms(x)
  # The last is as large as what it would save.
  assert sizes == [(12, 18), (18, 30), (27, 60), (66, 360)]
  assert graphs_lib.smallest(x, sizes) == 2
  tight = dataclasses.replace(x, num_edges=x.num_edges.at[0].set(60))
  assert graphs_lib.smallest(tight, sizes) == 3
  assert graphs_lib.smallest(tight, sizes[:3]) == 3  # none


def test_gradients_keep_arrays_of_the_smallest_room_alone():
  """Those of another room would be filled with zeros at every step."""
  x, model = batch(GRAPHS, 9, 40, ROOMS), create()
  v = randomized(model, x)
  program = jax.make_jaxpr(functools.partial(step, model, None))(v, x, WEIGHT)
  kept, _ = (one for one in program.eqns if one.primitive.name == "cond")
  lengths = {one.aval.shape[0] for one in kept.outvars if one.aval.shape}
  assert lengths & {18, 27, 54} == {18}  # rows of nodes: 6 times a room's


def test_the_order_of_nodes_does_not_matter():
  rng = np.random.default_rng(5)
  renamed = []
  for labels, adjacency in GRAPHS:
    order = rng.permutation(len(labels))
    renamed.append((labels[order], adjacency[np.ix_(order, order)]))
  model = create()
  x, other = batch(GRAPHS, 9, 40), batch(renamed, 9, 40)
  assert not np.array_equal(x.nodes, other.nodes)
  v = randomized(model, x)
  close(train(model, v, other), train(model, v, x))


@pytest.mark.parametrize("rooms", [(), ROOMS], ids=["padded", "packed"])
def test_the_order_of_graphs_is_that_of_logits(rooms):
  order = np.array([3, 5, 0, 2, 4, 1])
  model = create()
  x = batch(GRAPHS, 9, 40, rooms)
  v = randomized(model, x)
  logits, *rest = train(model, v, x)
  other = batch([GRAPHS[k] for k in order], 9, 40, rooms)
  close(train(model, v, other, WEIGHT[order]), (logits[order], *rest))


def test_graphs_that_only_pad_a_batch_leave_nothing_behind():
  """Whether they have no nodes, or the mask says so."""
  model = create()
  x, rooms = batch(GRAPHS, 9, 40), ROOMS[1:]
  v = randomized(model, x)
  expected = train(model, v, x)
  empty = np.zeros(0, int), np.zeros((0, 0))
  more = batch([empty, *GRAPHS, GRAPHS[1]], 9, 40, rooms)
  mask = jnp.array([True] * 7 + [False])
  weight = np.pad(WEIGHT, ((1, 1), (0, 0)))
  logits, *rest = train(model, v, more, weight, mask=mask)
  close((logits[1:7], *rest), expected)
  assert np.isfinite(logits).all()


def test_parts_are_separate_passes():
  model = create()
  x = batch(GRAPHS, 9, 40, ROOMS)
  v = randomized(model, x)
  one = train(model, v, batch(GRAPHS[:4], 9, 40), WEIGHT[:4])
  after = {**v, "batch_stats": one[1]}
  two = train(model, after, batch(GRAPHS[4:], 9, 40), WEIGHT[4:])
  expected = (
    jnp.concatenate([one[0], two[0]]),
    two[1],
    jax.tree.map(jnp.add, one[2], two[2]),
  )
  close(train(model, v, x, parts=(4, 2)), expected)
  assert np.abs(train(model, v, x)[0] - expected[0]).max() > 0.01


def test_replicas_of_unlike_batches_are_one_batch():
  """Some fit in a room, others do not: all take the same one."""
  sizes = np.arange(16) % 7 + 1
  sizes[2:4] = 9
  graphs = draw(sizes, seed=2)
  x = batch(graphs, 9, 60, ((4.5, 12.0),))
  weight = np.random.default_rng(4).normal(size=(16, 2)).astype(np.float32)
  v = randomized(create(), x)
  mesh = jax.make_mesh(
    (8,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,)
  )

  def replica(v, x, weight):
    model = create(axis_name="batch")
    logits, after, grads = step(model, None, v, x, weight)
    return logits, after, jax.lax.psum(grads, "batch")

  mapped = jax.shard_map(
    replica,
    mesh=mesh,
    in_specs=(P(), P("batch"), P("batch")),
    out_specs=(P("batch"), P(), P()),
    check_vma=False,
  )
  close(jax.jit(mapped)(v, x, weight), train(create(), v, x, weight), rtol=1e-3)


def test_bfloat16_is_near_float32():
  x = batch(GRAPHS, 9, 40, ROOMS)
  v = randomized(create(), x)
  logits = train(create(), v, x)[0]
  half = train(create(dtype="bfloat16"), v, x)[0]
  assert half.dtype == jnp.float32
  assert 0.0 < np.abs(half - logits).max() < 0.05 * np.abs(logits).max()


def test_read_outs_are_mixed_before_the_head():
  model = create()
  x = batch(GRAPHS, 9, 40, ROOMS)
  v = randomized(model, x)
  lam = jnp.array([0.5, 1.0, 0.25, 0.75, 0.0, 1.0])
  plan = jaxmix.MixPlan(lam, lam, jnp.array([1, 2, 3, 4, 5, 0]))
  seen = []

  def look(place, y, parts):
    seen.append((place, y))
    return y, parts

  model.apply(v, x, tap=look)
  ((place, y),) = seen
  assert (model.stages[place], y.dtype) == ("readout", jnp.float32)
  # The sums of the labels' one-hot features come first.
  counts = [np.bincount(labels, minlength=LABELS) for labels, _ in GRAPHS]
  np.testing.assert_allclose(y[:, :LABELS], counts)
  y, lam = np.asarray(y), np.asarray(lam)[:, None]
  y = lam * y + (1 - lam) * np.roll(y, -1, axis=0)
  p = jax.tree.map(np.asarray, v["params"])
  y = np.maximum(y @ p["head_dense1"]["kernel"] + p["head_dense1"]["bias"], 0)
  expected = y @ p["head"]["kernel"] + p["head"]["bias"]
  close(model.apply(v, x, tap=jaxmix.hidden.at(plan, 1)), expected)


@pytest.mark.parametrize("penalty", ["exact", "approximate"])
def test_mixupe_at_the_read_out_is_the_same_in_any_room(penalty, key):
  model = create()
  labels = jnp.array([0, 1, 1, 0, 1, 0])
  x = batch(GRAPHS, 9, 40)
  v = randomized(model, x)
  plan = jaxmix.draw(key, 6, policy=jaxmix.policies.mixup(alpha=1.0))

  @jax.jit
  def run(params, x):
    def loss(params):
      return jaxmix.mixupe_loss(
        lambda x, **options: model.apply(
          {**v, "params": params},
          x,
          train=True,
          mutable=["batch_stats"],
          **options,
        )[0],
        x,
        labels,
        plan,
        eta=0.5,
        penalty=penalty,
        clean_pass="split",
        mix_at=1,
      )

    (total, aux), grads = jax.value_and_grad(loss, has_aux=True)(params)
    return total, aux.penalty, grads

  expected = run(v["params"], x)
  assert expected[1] > 0.01
  close(run(v["params"], batch(GRAPHS, 9, 40, ROOMS)), expected)


def test_mixupe_costs_a_head_and_no_second_encoder(key):
  """In operations of the compiled steps, at MUTAG's shapes."""
  model = models.create("gin", 2)
  n, e, size = 28, 66, 32
  x = models.Graphs(
    jnp.zeros((size, n), jnp.int16),
    jnp.zeros((size, e, 2), jnp.int16),
    jnp.full(size, n),
    jnp.full(size, e),
    num_labels=7,
  )
  labels = jnp.zeros(size, jnp.int32)
  plan = jaxmix.draw(key, size, policy=jaxmix.policies.mixup(alpha=1.0))
  v = jax.eval_shape(model.init, key, x)

  def operations(loss):
    def step(v):
      apply_fn = lambda x, **options: model.apply(
        v, x, train=True, mutable=["batch_stats"], **options
      )[0]
      return loss(apply_fn)

    of_step = jax.jit(jax.grad(step)).lower(v).compile()
    return of_step.cost_analysis()["flops"]

  def mixup(apply_fn):
    tap = jaxmix.hidden.at(plan, 1)
    logits = jaxmix.hidden.run(apply_fn, x, tap)
    loss_fn = jaxmix.losses.softmax_cross_entropy
    return jaxmix.mixed_loss(loss_fn, logits, plan.targets(labels)).mean()

  def mixupe(apply_fn):
    return jaxmix.mixupe_loss(apply_fn, x, labels, plan, eta=0.1, mix_at=1)[0]

  assert 1.0 < operations(mixupe) / operations(mixup) < 1.2


@pytest.mark.parametrize(
  ("change", "error", "message"),
  [
    (
      dict(nodes=jnp.zeros((6, 9, 2), int)),
      ValueError,
      r"nodes must be \[B, n",
    ),
    (dict(nodes=jnp.zeros((5, 9), int)), ValueError, r"as num_nodes \[6\]"),
    (dict(nodes=jnp.zeros((6, 9))), ValueError, r"\[B, n, F\] features"),
    (dict(nodes=jnp.zeros((6, 9), bool)), TypeError, "nodes must be integers"),
    (dict(edges=jnp.zeros((6, 40, 3), int)), ValueError, r"edges must be \[B"),
    (dict(edges=jnp.zeros((6, 40, 2))), TypeError, "edges must be integers"),
    (dict(num_edges=jnp.zeros(6)), TypeError, "num_edges must be integers"),
    (dict(num_labels=0), ValueError, "num_labels must be positive"),
    (dict(rooms=((5, 9), (4, 10))), ValueError, "rooms must ascend"),
    (dict(rooms=((4, 9), (5, 8))), ValueError, "rooms must ascend"),
  ],
)
def test_wrong_graphs(change, error, message):
  x = dataclasses.replace(batch(GRAPHS, 9, 40), **change)
  with pytest.raises(error, match=message):
    jax.eval_shape(create().init, jax.random.key(0), x)


def test_other_errors(key):
  x = batch(GRAPHS, 9, 40)
  plan = jaxmix.draw(key, 6, policy=jaxmix.policies.mixup(alpha=1.0))
  init = lambda model, x, **options: jax.eval_shape(
    lambda x: model.init(key, x, **options), x
  )
  with pytest.raises(TypeError, match=r"x must be a .*Graphs.*, got dict"):
    init(create(), {"nodes": x.nodes})
  with pytest.raises(TypeError, match="cannot be mixed at the input, place 0"):
    init(create(), x, tap=jaxmix.hidden.at(plan, 0))
  with pytest.raises(ValueError, match="place 2, but .* input, readout"):
    init(create(), x, tap=jaxmix.hidden.at(plan, 2))
  with pytest.raises(ValueError, match="parts must sum to the batch size 6"):
    init(create(), x, parts=(3, 2))
  with pytest.raises(ValueError, match="mask must"):
    init(create(), x, mask=jnp.ones(5, bool))
  with pytest.raises(ValueError, match="num_layers must be at least 1, got 0"):
    init(create(num_layers=0), x)
  with pytest.raises(ValueError, match="readout_scale must be positive, got 0"):
    init(create(readout_scale=0.0), x)
