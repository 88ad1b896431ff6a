"""Pairings: who is mixed with whom, with and without padding."""

import functools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from jaxmix import mixing, pairing, policies

LOCAL = {
  "permutation": pairing.permutation,
  "roll": pairing.roll,
  "flip": pairing.flip,
}
SIZES = [1, 2, 5, 8]
MASKS = [
  [True, True, True, True, True],
  [True, True, True, False, False],
  [False, True, False, True, True],
  [False, False, True, False, False],
  [False, False, False, False, False],
]


@functools.partial(jax.jit, static_argnums=(0, 2))
def pair(name, key, size, mask=None):
  return LOCAL[name](key, size, mask)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", LOCAL)
def test_every_example_is_a_partner_once(key, name, size):
  partners = pair(name, key, size)
  assert partners.index.dtype == jnp.int32
  assert partners.valid is None
  assert partners.source == pairing.Local()
  np.testing.assert_array_equal(np.sort(partners.index), np.arange(size))


def test_roll_and_flip_by_hand(key):
  np.testing.assert_array_equal(pairing.roll(key, 4).index, [1, 2, 3, 0])
  np.testing.assert_array_equal(pairing.flip(key, 4).index, [3, 2, 1, 0])
  np.testing.assert_array_equal(pairing.flip(key, 5).index, [4, 3, 2, 1, 0])


def test_roll_and_flip_with_padding_by_hand(key):
  mask = jnp.array([True, False, True, True, False, True])
  # Real: 0, 2, 3, 5; padded ones are their own partners.
  np.testing.assert_array_equal(
    pairing.roll(key, 6, mask).index, [2, 1, 3, 5, 4, 0]
  )
  np.testing.assert_array_equal(
    pairing.flip(key, 6, mask).index, [5, 1, 3, 2, 4, 0]
  )


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("name", LOCAL)
def test_padding_is_never_a_real_ones_partner(key, name, mask):
  mask = np.array(mask)
  for seed in range(5):
    partners = pair(name, jax.random.key(seed), 5, jnp.asarray(mask))
    index = np.asarray(partners.index)
    np.testing.assert_array_equal(np.sort(index), np.arange(5))
    np.testing.assert_array_equal(mask[index], mask)
    np.testing.assert_array_equal(index[~mask], np.arange(5)[~mask])


@pytest.mark.parametrize("name", LOCAL)
def test_an_all_true_mask_changes_nothing_deterministic(key, name):
  if name == "permutation":
    return  # its law is the same, its draws need not be
  np.testing.assert_array_equal(
    pair(name, key, 5, jnp.ones(5, bool)).index, pair(name, key, 5).index
  )


@pytest.mark.parametrize(
  "mask", [None, [True, True, False, True]], ids=["all", "masked"]
)
def test_permutation_is_uniform(mask):
  n = 6_000
  mask = None if mask is None else jnp.array(mask)
  keys = jax.random.split(jax.random.key(1), n)
  draw = jax.jit(jax.vmap(lambda k: pairing.permutation(k, 4, mask).index))
  index = np.asarray(draw(keys))
  real = np.arange(4) if mask is None else np.flatnonzero(mask)
  count = np.array([[(index[:, i] == j).mean() for j in real] for i in real])
  share = 1.0 / len(real)
  # 4.5 standard errors of a frequency.
  error = np.sqrt(share * (1.0 - share) / n)
  np.testing.assert_allclose(count, share, atol=4.5 * error)
  assert len(np.unique(index, axis=0)) == (24 if mask is None else 6)


def test_permutation_depends_on_the_key():
  keys = jax.random.split(jax.random.key(0), 10)
  index = jax.vmap(lambda k: pairing.permutation(k, 8).index)(keys)
  assert len(np.unique(index, axis=0)) == 10


@pytest.mark.parametrize("name", LOCAL)
def test_numpy_masks_work_under_jit(key, name):
  mask = np.array([True, False, True])
  draw = lambda k: LOCAL[name](k, 3, mask).index
  np.testing.assert_array_equal(jax.jit(draw)(key), draw(key))


@pytest.mark.parametrize("name", LOCAL)
def test_does_not_retrace(key, name):
  traces = []

  @jax.jit
  def draw(key, mask):
    traces.append(1)
    return LOCAL[name](key, 4, mask).index

  draw(key, jnp.ones(4, bool))
  draw(jax.random.key(1), jnp.zeros(4, bool))
  assert len(traces) == 1


# ring: vmap with an axis name is a mapped axis like any other, and cheap. The
# eight devices are in parallel_parity_test.py.


def on_ring(replicas, size, masks=None, seed=0):
  keys = jax.random.split(jax.random.key(seed), replicas)
  ids = jnp.arange(replicas * size, dtype=jnp.float32)
  ids = ids.reshape(replicas, size)

  def replica(key, own, mask):
    partners = pairing.ring("r")(key, size, mask)
    theirs = partners.source.inputs({"id": own})["id"][partners.index]
    labels = partners.source.labels(own.astype(jnp.int32))[partners.index]
    valid = partners.valid
    return theirs, labels, jnp.ones(size, bool) if valid is None else valid

  axes = (0, 0, None if masks is None else 0)
  run = jax.vmap(replica, in_axes=axes, axis_name="r")
  theirs, labels, valid = jax.jit(run)(keys, ids, masks)
  np.testing.assert_array_equal(labels, theirs)
  return np.asarray(theirs), np.asarray(valid)


def test_ring_takes_all_of_the_previous_replica():
  theirs, valid = on_ring(4, 3)
  assert valid.all()
  for r in range(4):
    source = (r - 1) % 4
    np.testing.assert_array_equal(np.sort(theirs[r]), source * 3 + np.arange(3))


def test_ring_of_one_replica_is_itself():
  theirs, _ = on_ring(1, 4)
  np.testing.assert_array_equal(np.sort(theirs[0]), np.arange(4))


@pytest.mark.parametrize("seed", range(3))
def test_ring_never_takes_padding(seed):
  masks = np.array(
    [
      [True, True, True, True],
      [True, False, False, True],
      [False, False, False, False],
      [False, True, True, True],
    ]
  )
  theirs, valid = on_ring(4, 4, jnp.asarray(masks), seed)
  flat = masks.ravel()
  for r in range(4):
    source = (r - 1) % 4
    np.testing.assert_array_equal(valid[r], masks[r] & masks[source].any())
    taken = theirs[r][valid[r]].astype(int)
    assert np.all(taken // 4 == source) and np.all(flat[taken])
  # Distinct partners as far as the neighbour's real examples go.
  assert len(set(theirs[1][valid[1]])) == 2
  assert len(set(theirs[0][valid[0]])) == 3  # four of mine, three of theirs


def test_ring_needs_its_axis(key):
  message = "axis_name='r' is not bound here"
  with pytest.raises(ValueError, match=message):
    pairing.ring("r")(key, 3)
  with pytest.raises(ValueError, match=message):
    jax.jit(lambda k: pairing.ring("r")(k, 3).index)(key)
  with pytest.raises(ValueError, match=message):
    mixing.draw(key, 3, policy=policies.mixup(1.0), pairing=pairing.ring("r"))


def test_between_pairs_by_position(key):
  x = {"a": jnp.zeros((3, 2)), "b": jnp.ones((3,))}
  labels = jnp.array([4, 5, 6])
  partners = pairing.between((x, labels))(key, 3)
  np.testing.assert_array_equal(partners.index, [0, 1, 2])
  assert partners.valid is None
  assert partners.source.inputs(x) is x
  np.testing.assert_array_equal(partners.source.labels(labels), labels)


@pytest.mark.parametrize("own", [None, [True, True, False]])
@pytest.mark.parametrize("theirs", [None, [False, True, True]])
def test_between_is_valid_where_both_are_real(key, own, theirs):
  own = None if own is None else jnp.array(own)
  theirs = None if theirs is None else jnp.array(theirs)
  held = (jnp.zeros((3, 2)), jnp.arange(3))
  valid = pairing.between(held, theirs)(key, 3, own).valid
  if own is None and theirs is None:
    assert valid is None
    return
  yes = np.ones(3, bool)
  expected = (yes if own is None else own) & (yes if theirs is None else theirs)
  np.testing.assert_array_equal(valid, expected)


def test_between_refuses_other_inputs(key):
  held = (jnp.zeros((3, 2)), jnp.arange(3))
  source = pairing.between(held)(key, 3).source
  with pytest.raises(ValueError, match=r"pass plan.mix\(x, partners=...\)"):
    source.inputs(jnp.zeros((3, 4)))
  with pytest.raises(ValueError, match="structure and shapes"):
    source.inputs({"a": jnp.zeros((3, 2))})
  with pytest.raises(ValueError, match=r"labels of shape \(3,\), got \(3, 5\)"):
    source.labels(jnp.zeros((3, 5)))


def test_between_refuses_bad_partners(key):
  x, labels = jnp.zeros((3, 2)), jnp.arange(3)
  with pytest.raises(TypeError, match="pair .inputs, labels., got ArrayImpl"):
    pairing.between(x)
  with pytest.raises(TypeError, match="pair .inputs, labels., got tuple"):
    pairing.between((x, labels, labels))
  with pytest.raises(ValueError, match="Leading .batch. axes must agree"):
    pairing.between((x, labels[:2]))
  with pytest.raises(ValueError, match=r"mask must have shape \(3,\)"):
    pairing.between((x, labels), jnp.ones(2, bool))
  with pytest.raises(TypeError, match="mask must be boolean"):
    pairing.between((x, labels), jnp.ones(3))
  with pytest.raises(ValueError, match="hold 3 examples, but the batch has 4"):
    pairing.between((x, labels))(key, 4)


@hypothesis.settings(max_examples=50, deadline=None, derandomize=True)
@hypothesis.given(
  bits=st.lists(st.integers(0, 2**16 - 1), min_size=8, max_size=8),
  index=st.lists(st.integers(-6, 6), min_size=3, max_size=3),
)
def test_product_is_the_gather(bits, index):
  """Of any finite normal numbers, and of rows beyond either end."""
  x = np.array(bits, np.uint16).view(jnp.bfloat16).reshape(4, 2)
  tiny = np.abs(x.astype(np.float64)) < float(jnp.finfo(jnp.bfloat16).tiny)
  x = np.where(tiny | ~np.isfinite(x.astype(np.float32)), 1.5, x)
  x, index = x.astype(jnp.bfloat16), np.array(index, np.int32)
  got = jax.jit(pairing._product)(x, index)
  assert got.dtype == jnp.bfloat16
  np.testing.assert_array_equal(got, x[np.clip(index, 0, 3)])


def test_product_keeps_what_is_not_finite_to_its_row():
  nan, inf = np.nan, np.inf
  x = jnp.array([[1, 2], [inf, 3], [4, nan], [5, 6]], jnp.bfloat16)
  got = pairing._product(x, jnp.array([1, 3, 2, 0, 3], jnp.int32))
  np.testing.assert_array_equal(
    got.astype(jnp.float32), [[nan, nan], [5, 6], [nan, nan], [1, 2], [5, 6]]
  )


def test_gradient_of_the_product_by_hand():
  x = jnp.ones((3, 2), jnp.bfloat16)
  weight = jnp.array([[1, 2], [4, 8], [16, 32]], jnp.bfloat16)
  index = jnp.array([2, 0, 2], jnp.int32)
  grads = jax.grad(lambda x: jnp.sum(weight * pairing._product(x, index)))(x)
  assert grads.dtype == jnp.bfloat16
  np.testing.assert_array_equal(
    grads.astype(jnp.float32), [[4, 8], [0, 0], [17, 34]]
  )


@pytest.mark.parametrize(
  "platform, shape, dtype, product",
  [
    ("tpu", (8, 4, 4, 3), jnp.bfloat16, True),
    ("tpu", (512, 3), jnp.bfloat16, True),
    ("tpu", (513, 3), jnp.bfloat16, False),
    ("tpu", (8,), jnp.bfloat16, False),
    # The product's default precision on TPUs would round these.
    ("tpu", (8, 4, 4, 3), jnp.float32, False),
    ("tpu", (8, 3), jnp.uint8, False),
    ("cpu", (8, 4, 4, 3), jnp.bfloat16, False),
    ("cuda", (8, 4, 4, 3), jnp.bfloat16, False),
  ],
)
def test_where_partners_are_looked_up_by_a_product(
  platform, shape, dtype, product
):
  traced = jax.jit(pairing.look_up).trace(
    jax.ShapeDtypeStruct(shape, dtype), jax.ShapeDtypeStruct((8,), jnp.int32)
  )
  program = traced.lower(lowering_platforms=(platform,)).as_text()
  assert ("dot_general" in program) == product


# Pairings by what examples hold.


def total(x, index):
  """Sums of squared distances to the partners, of the batch."""
  return np.square(np.asarray(x) - np.asarray(x)[np.asarray(index)]).sum()


@pytest.mark.parametrize(
  ("size", "block"), [(8, 4), (9, 4), (7, 7), (5, 16), (12, 2), (7, 3)]
)
@pytest.mark.parametrize("mapped", [False, True], ids=["jit", "vmap"])
def test_optimal_is_scipys_assignment_in_every_block(size, block, mapped):
  rng = np.random.default_rng(size)
  x = jnp.asarray(rng.normal(50.0, 1.0, (3, size, 2)), jnp.float32)
  keys = jax.random.split(jax.random.key(5), 3)
  pair = lambda x, key: pairing.optimal(x, block=block)(key, size, None).index
  if mapped:
    found = np.asarray(jax.jit(jax.vmap(pair))(x, keys))
  else:
    found = np.stack([jax.jit(pair)(*one) for one in zip(x, keys, strict=True)])
  for own, key, index in zip(
    np.asarray(x, np.float64), keys, found, strict=True
  ):
    order = np.asarray(pairing.permutation(key, size).index)
    np.testing.assert_array_equal(np.sort(index), np.arange(size))
    for start in range(0, size, block):
      rows = np.arange(start, min(start + block, size))
      others = order[rows]
      costs = np.square(own[rows][:, None] - own[others][None]).sum(-1)
      _, columns = optimize.linear_sum_assignment(costs)
      np.testing.assert_array_equal(index[rows], others[columns])


def test_blocks_of_one_are_the_plain_permutation(key):
  x = jnp.arange(6.0)
  mask = jnp.array([True, False, True, True, True, False])
  for own in (None, mask):
    np.testing.assert_array_equal(
      pairing.optimal(x, block=1)(key, 6, own).index,
      pairing.permutation(key, 6, own).index,
    )


def test_larger_blocks_bring_partners_nearer(key):
  x = jax.random.normal(key, (64, 3))
  near = [
    total(x, pairing.optimal(x, block=block)(key, 64, None).index)
    for block in (1, 4, 16, 64)
  ]
  assert near[0] > near[1] > near[2] > near[3] == 0.0  # oneself, at last


@pytest.mark.parametrize("mask", MASKS)
def test_optimal_pairs_real_examples_alone(mask):
  mask = np.array(mask)
  x = jnp.where(
    jnp.asarray(mask), jnp.array([0.0, 9.0, 1.0, 8.0, 5.0]), jnp.nan
  )
  for seed in range(5):
    key = jax.random.key(seed)
    index = np.asarray(
      pairing.optimal(x, block=2)(key, 5, jnp.asarray(mask)).index
    )
    np.testing.assert_array_equal(np.sort(index), np.arange(5))
    np.testing.assert_array_equal(index[~mask], np.arange(5)[~mask])
    # Blocks are of the real ones' ranks, in order and as permuted.
    real = np.flatnonzero(mask)
    others = np.asarray(pairing.permutation(key, 5).index)
    others = others[mask[others]]
    for start in range(0, len(real), 2):
      rows, theirs = real[start : start + 2], others[start : start + 2]
      costs = np.square(np.asarray(x)[rows][:, None] - np.asarray(x)[theirs])
      _, columns = optimize.linear_sum_assignment(costs)
      np.testing.assert_array_equal(index[rows], theirs[columns])


@pytest.mark.parametrize(
  "x",
  [
    np.full((6, 2), np.nan, np.float32),
    np.array([np.inf, -np.inf, np.nan, 1.0, 2.0, 3.0], np.float32),
    np.zeros((6, 2), np.float32),
    np.array([1e38, -1e38, 3e38, 0.0, 1e-30, 1.0], np.float32),
    np.array([1e-38, 2e-38, 3e-38, 0.0, 1e-30, 1.0], np.float32),
  ],
  ids=["nan", "inf", "equal", "large", "small"],
)
def test_optimal_ends_whatever_the_values(key, x):
  index = pairing.optimal(x, block=3)(key, 6, None).index
  np.testing.assert_array_equal(np.sort(index), np.arange(6))


def test_optimal_counts_all_leaves_and_takes_bfloat16(key):
  tree = {
    "a": jnp.array([0.0, 1.0, 0.0, 1.0], jnp.bfloat16),
    "b": jnp.array([[[0.0]], [[0.0]], [[5.0]], [[5.0]]], jnp.float32),
  }
  # All in one block: everyone is their own nearest, by both leaves alone.
  index = pairing.optimal(tree, block=4)(key, 4, None).index
  np.testing.assert_array_equal(index, np.arange(4))


def test_a_loss_is_differentiated_past_an_optimal_pairing(key):
  def loss(x):
    plan = mixing.draw(
      key,
      6,
      policy=policies.mixup(1.0),
      pairing=pairing.optimal(x, block=3),
    )
    return jnp.sum(jnp.square(plan.mix(x)))

  slopes = jax.jit(jax.grad(loss))(jnp.arange(1.0, 7.0))
  assert np.all(np.isfinite(slopes)) and np.any(slopes != 0.0)


def test_by_label_draws_by_the_gaussian_of_the_difference():
  """All pairs' frequencies, within 5 standard errors of a proportion."""
  labels, bandwidth, n = np.array([0.0, 1.0, 3.0, 3.5]), 1.25, 20_000
  keys = jax.random.split(jax.random.key(2), n)
  draw = jax.jit(
    jax.vmap(
      lambda key, bandwidth: (
        pairing.by_label(jnp.asarray(labels), bandwidth=bandwidth)(
          key, 4, None
        ).index
      ),
      (0, None),
    )
  )
  found = np.asarray(draw(keys, bandwidth))
  law = np.exp(-np.square(labels[:, None] - labels) / (2.0 * bandwidth**2))
  law /= law.sum(1, keepdims=True)
  assert 0.005 < law.min() and law.max() < 0.9
  for i in range(4):
    share = np.bincount(found[:, i], minlength=4) / n
    errors = np.sqrt(law[i] * (1.0 - law[i]) / n)
    assert np.all(np.abs(share - law[i]) < 5.0 * errors), (i, share, law[i])
  # Examples draw apart: each pair of draws has the product of their laws.
  both = np.mean((found[:, 0] == 1) & (found[:, 1] == 0))
  product = law[0, 1] * law[1, 0]
  assert abs(both - product) < 5.0 * np.sqrt(product / n)


def test_by_label_among_real_examples_alone():
  labels = jnp.array([0.0, 0.1, 0.2, 0.3, 5.0])
  mask = jnp.array([True, False, True, True, False])
  pair = pairing.by_label(labels, bandwidth=10.0)
  keys = jax.random.split(jax.random.key(0), 200)
  found = np.asarray(jax.vmap(lambda key: pair(key, 5, mask).index)(keys))
  assert set(found[:, [0, 2, 3]].ravel()) == {0, 2, 3}
  assert set(found[:, 1]) == {1} and set(found[:, 4]) == {4}


def test_by_label_of_vectors_and_classes(key):
  twins = jnp.array([[0.0, 0.0], [0.0, 9.0], [0.0, 0.0], [0.0, 9.0]])
  for labels in (twins, jnp.array([2, 8, 2, 8])):
    index = pairing.by_label(labels, bandwidth=0.1)(key, 4, None).index
    np.testing.assert_array_equal(index % 2, [0, 1, 0, 1])


@pytest.mark.parametrize(
  ("make", "error", "message"),
  [
    (
      lambda: pairing.optimal(jnp.ones(4), block=0),
      ValueError,
      "block must be",
    ),
    (lambda: pairing.optimal(jnp.ones(4), block=2.0), TypeError, "got 2.0"),
    (lambda: pairing.optimal(jnp.ones(4), block=True), TypeError, "got True"),
    (
      lambda: pairing.optimal(jnp.arange(4)),
      TypeError,
      "inputs must be floating point",
    ),
    (
      lambda: pairing.by_label(jnp.ones(4), bandwidth=0.0),
      ValueError,
      "bandwidth must lie in",
    ),
    (
      lambda: pairing.by_label(jnp.ones(4, bool), bandwidth=1.0),
      TypeError,
      "labels must be integer classes",
    ),
    (
      lambda: pairing.optimal(jnp.ones(4))(jax.random.key(0), 3, None),
      ValueError,
      "inputs hold 4 examples, but the batch has 3",
    ),
    (
      lambda: pairing.by_label(jnp.ones(4), bandwidth=1.0)(
        jax.random.key(0), 3, None
      ),
      ValueError,
      "labels hold 4 examples, but the batch has 3",
    ),
  ],
)
def test_what_examples_hold_is_checked(make, error, message):
  with pytest.raises(error, match=message):
    make()


@pytest.mark.parametrize("kind", ["optimal", "by_label"])
def test_replicas_pair_apart_by_what_they_hold(kind):
  """Under shard_map, whose loops must vary as their data does."""
  mesh = jax.make_mesh((8,), ("replica",))
  x = jax.random.normal(jax.random.key(1), (32, 2))
  spec = jax.sharding.PartitionSpec("replica")
  made = {
    "optimal": lambda x: pairing.optimal(x, block=2),
    "by_label": lambda x: pairing.by_label(x, bandwidth=0.5),
  }[kind]

  def pair(x):
    key = jax.random.fold_in(jax.random.key(0), jax.lax.axis_index("replica"))
    return made(x)(key, 4, None).index

  with jax.set_mesh(mesh):
    own = jax.device_put(x, spec)
    found = jax.jit(jax.shard_map(pair, in_specs=spec, out_specs=spec))(own)
  expected = [
    made(part)(jax.random.fold_in(jax.random.key(0), r), 4, None).index
    for r, part in enumerate(x.reshape(8, 4, 2))
  ]
  np.testing.assert_array_equal(found, np.concatenate(expected))
  assert len({tuple(one) for one in np.asarray(found).reshape(8, 4)}) > 1


def test_a_whole_batch_that_a_mesh_splits_is_paired_as_one(key):
  mesh = jax.make_mesh((8,), ("data",))
  x, y = jax.random.normal(key, (16, 3)), jnp.arange(16.0)

  def pair(x, y):
    near = pairing.optimal(x, block=4)(key, 16, None).index
    return near, pairing.by_label(y, bandwidth=2.0)(key, 16, None).index

  expected = jax.jit(pair)(x, y)
  with jax.set_mesh(mesh):
    split = jax.device_put((x, y), jax.sharding.PartitionSpec("data"))
    found = jax.jit(pair)(*split)
  for one, other in zip(found, expected, strict=True):
    np.testing.assert_array_equal(one, other)
