"""MixPlan, draw, mixup, untied_mixup and dat."""

import functools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmix
from jaxmix import boxes, directional, losses, mixing, pairing, policies
from jaxmix.mixing import MixPlan

FLOATS = [jnp.float32, jnp.bfloat16, jnp.float16]
METHODS = {
  "mixup": mixing.mixup,
  "untied_mixup": mixing.untied_mixup,
  "dat": mixing.dat,
}
RUNS = pytest.mark.parametrize(
  "run", [lambda f: f, jax.jit], ids=["eager", "jit"]
)


def hand_plan(lam, partner, weight=None):
  lam = jnp.asarray(lam, jnp.float32)
  weight = lam if weight is None else jnp.asarray(weight, jnp.float32)
  return MixPlan(lam=lam, weight=weight, partner=jnp.asarray(partner))


@RUNS
def test_mixes_by_hand(run):
  plan = hand_plan([0.75, 1.0, 0.0], [1, 0, 0])
  mixed = run(plan.mix)(jnp.array([[0.0], [8.0], [5.0]]))
  np.testing.assert_array_equal(mixed, [[2.0], [8.0], [0.0]])


@RUNS
def test_targets_by_hand(run):
  plan = hand_plan([0.75, 1.0, 0.0], [1, 0, 0], weight=[0.5, 1.0, 0.25])
  targets = run(plan.targets)(jnp.array([7, 8, 9]))
  np.testing.assert_array_equal(targets.first, [7, 8, 9])
  np.testing.assert_array_equal(targets.second, [8, 7, 7])
  np.testing.assert_array_equal(targets.weight, [0.5, 1.0, 0.25])


def test_targets_of_dense_labels_by_hand():
  plan = hand_plan([0.5, 0.5], [1, 0], weight=[0.75, 1.0])
  targets = plan.targets(jnp.array([[1.0, 0.0], [0.5, 0.5]]))
  np.testing.assert_array_equal(targets.dense(), [[0.875, 0.125], [0.5, 0.5]])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(5,), (5, 3), (5, 2, 2, 1)])
def test_mixes_like_numpy(shape, dtype):
  plan = hand_plan([0.9, 0.5, 1.0, 0.3, 0.01], [1, 0, 3, 3, 2])
  x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
  x = jnp.asarray(x, dtype)
  mixed = plan.mix(x)
  assert mixed.dtype == dtype and mixed.shape == shape
  wide = np.asarray(x, np.float64)
  lam = np.asarray(plan.lam, np.float64).reshape((5,) + (1,) * (len(shape) - 1))
  expected = lam * wide + (1.0 - lam) * wide[np.asarray(plan.partner)]
  # Half a unit in the last place of the output's dtype, and float32's rounding.
  eps = float(jnp.finfo(dtype).eps)
  np.testing.assert_allclose(
    np.asarray(mixed, np.float64), expected, rtol=0.51 * eps + 1e-7, atol=1e-6
  )


def test_mixes_pytrees_leaf_by_leaf(key):
  plan = mixing.draw(key, 3, policy=policies.mixup(1.0))
  tree = {
    "a": jax.random.normal(key, (3, 2)),
    "b": (jnp.arange(3.0, dtype=jnp.bfloat16),),
  }
  mixed = plan.mix(tree)
  assert jax.tree.structure(mixed) == jax.tree.structure(tree)
  np.testing.assert_array_equal(mixed["a"], plan.mix(tree["a"]))
  np.testing.assert_array_equal(mixed["b"][0], plan.mix(tree["b"][0]))


@pytest.mark.parametrize("dtype", FLOATS)
def test_lam_one_is_the_identity(key, dtype):
  x = jax.random.normal(key, (4, 3)).astype(dtype) * 1e3
  plan = mixing.draw(key, 4, policy=policies.erm())
  np.testing.assert_array_equal(plan.mix(x), x)
  np.testing.assert_array_equal(plan.targets(jnp.arange(4)).weight, 1.0)


def test_lam_one_ignores_what_the_partner_holds():
  x = jnp.array([[1.5], [jnp.inf], [jnp.nan]])
  mixed = hand_plan([1.0, 1.0, 1.0], [2, 0, 1]).mix(x)
  np.testing.assert_array_equal(mixed, x)


def test_numpy_inputs_work(key):
  x = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)
  mixed, targets = mixing.mixup(key, x, np.array([0, 1, 2]))
  expected, _ = mixing.mixup(key, jnp.asarray(x), jnp.array([0, 1, 2]))
  np.testing.assert_array_equal(mixed, expected)
  assert jnp.issubdtype(targets.first.dtype, jnp.integer)


def test_numpy_float64_inputs_work(key):
  x = np.random.default_rng(0).normal(size=(3, 2))
  mixed, _ = mixing.mixup(key, x, np.array([0, 1, 2]))
  expected, _ = mixing.mixup(key, jnp.asarray(x, jnp.float32), jnp.arange(3))
  np.testing.assert_array_equal(mixed, expected)


@pytest.mark.parametrize("num_classes", [257, 21_841])
def test_class_ids_survive_bfloat16_inputs(key, num_classes):
  labels = jnp.array([num_classes - 1, 256, 255, num_classes - 2])
  x = jnp.zeros((4, 2), jnp.bfloat16)
  _, targets = mixing.mixup(key, x, labels, pairing=pairing.roll)
  assert targets.first.dtype == targets.second.dtype == labels.dtype
  assert targets.weight.dtype == jnp.float32
  np.testing.assert_array_equal(targets.first, labels)
  np.testing.assert_array_equal(targets.second, jnp.roll(labels, -1))


@pytest.mark.parametrize("dtype", FLOATS)
def test_lam_is_float32_whatever_the_inputs(key, dtype):
  mixed, targets = mixing.mixup(key, jnp.ones((3, 2), dtype), jnp.arange(3))
  assert mixed.dtype == dtype
  assert targets.weight.dtype == jnp.float32


def test_partners_argument_replaces_the_source():
  plan = hand_plan([0.5, 0.25], [1, 1])
  x, other = jnp.array([[0.0], [4.0]]), jnp.array([[9.0], [8.0]])
  np.testing.assert_array_equal(plan.mix(x, partners=other), [[4.0], [7.0]])


@pytest.mark.parametrize("shape", [(2, 3), (4, 1), (4, 4)])
def test_partners_of_another_shape_are_refused(shape):
  plan = hand_plan([0.5] * 4, [1, 2, 3, 0])
  with pytest.raises(ValueError, match="partners"):
    plan.mix(jnp.zeros((4, 3)), partners=jnp.zeros(shape))


def test_plan_mixes_hidden_features_like_inputs(key):
  # A linear layer commutes with mixing: one plan, two depths.
  plan = mixing.draw(key, 4, policy=policies.mixup(1.0))
  x, w = jax.random.normal(key, (4, 3)), jnp.arange(6.0).reshape(3, 2)
  np.testing.assert_allclose(
    plan.mix(x @ w), plan.mix(x) @ w, rtol=1e-5, atol=1e-5
  )


def test_draw_fields(key):
  policy = policies.untied(1.7, 0.8)
  mask = jnp.array([True, True, False])
  plan = mixing.draw(key, 3, policy=policy, pairing=pairing.roll, mask=mask)
  assert plan.lam.shape == plan.weight.shape == plan.partner.shape == (3,)
  assert plan.lam.dtype == plan.weight.dtype == jnp.float32
  assert plan.partner.dtype == jnp.int32
  assert plan.mean_shift == policy.mean_shift
  assert plan.mask is mask
  np.testing.assert_array_equal(plan.partner, [1, 0, 2])


@pytest.mark.parametrize("name", METHODS)
def test_methods_are_draw_and_mix(key, name):
  policy = {
    "mixup": policies.mixup(1.0),
    "untied_mixup": policies.untied(1.7, 0.8),
    "dat": policies.dat(1.7, 0.8),
  }[name]
  x, labels = jax.random.normal(key, (5, 2)), jnp.arange(5)
  plan = mixing.draw(key, 5, policy=policy)
  mixed, targets = METHODS[name](key, x, labels)
  np.testing.assert_array_equal(mixed, plan.mix(x))
  for got, want in zip(
    jax.tree.leaves(targets), jax.tree.leaves(plan.targets(labels)), strict=True
  ):
    np.testing.assert_array_equal(got, want)


def test_dat_keeps_labels_whole(key):
  x, labels = jax.random.normal(key, (5, 2)), jnp.arange(5)
  mixed, targets = mixing.dat(key, x, labels, pairing=pairing.roll)
  np.testing.assert_array_equal(targets.dense(5), np.eye(5))
  assert not np.allclose(mixed, x)


def test_two_concentrations_reach_the_policy(key):
  x, labels = jnp.ones((400, 1)), jnp.zeros(400, int)
  _, targets = mixing.mixup(key, x, labels, alpha=9.0, beta=1.0)
  # Mean 0.9, standard error sqrt(0.09 / 11 / 400) = 0.0045: 4.5 of them.
  assert abs(float(jnp.mean(targets.weight)) - 0.9) < 0.0203


@pytest.mark.parametrize("name", METHODS)
def test_per_batch(key, name):
  x = jnp.arange(5.0)[:, None]
  mixed, targets = METHODS[name](
    key, x, jnp.arange(5), per_example=False, pairing=pairing.roll
  )
  assert len(set(np.asarray(targets.weight).tolist())) == 1
  # x_i - mixed_i = -(1 - lam) but for the last one, whose partner is 0.
  shift = np.asarray(mixed - x)[:, 0]
  np.testing.assert_allclose(shift[:4], shift[0], atol=1e-5)
  np.testing.assert_allclose(shift[4], -4.0 * shift[0], atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_stratified_reaches_the_policy(key, name):
  x, labels = jnp.ones((8, 1)), jnp.arange(8)
  mixed, targets = METHODS[name](key, x, labels, stratified=True)
  assert mixed.shape == (8, 1) and targets.weight.shape == (8,)
  if name == "mixup":  # Uniform: one weight in each eighth.
    np.testing.assert_array_equal(
      np.sort(np.floor(np.asarray(targets.weight) * 8)), np.arange(8)
    )


@pytest.mark.parametrize("name", METHODS)
def test_a_batch_of_one_is_itself(key, name):
  x = jnp.array([[3.0, -1.0]])
  mixed, targets = METHODS[name](key, x, jnp.array([4]))
  np.testing.assert_allclose(mixed, x, rtol=1e-6)
  np.testing.assert_array_equal(targets.second, [4])


PAIRINGS = [pairing.permutation, pairing.roll, pairing.flip]


@pytest.mark.parametrize("pair", PAIRINGS, ids=lambda p: p.__name__)
def test_padding_never_leaks(key, pair):
  mask = jnp.array([True, False, True, False, True])
  x = jnp.where(mask, jnp.arange(5.0), jnp.nan)[:, None]
  mixed, targets = mixing.mixup(key, x, jnp.arange(5), pairing=pair, mask=mask)
  np.testing.assert_array_equal(np.isfinite(mixed[:, 0]), mask)
  assert not np.isin(np.asarray(targets.second)[np.asarray(mask)], [1, 3]).any()


def test_between_mixes_two_batches(key):
  x, labels = jnp.zeros((3, 2)), jnp.array([0, 1, 2])
  other = (jnp.ones((3, 2)), jnp.array([5, 6, 7]))
  plan = mixing.draw(
    key, 3, policy=policies.mixup(1.0), pairing=pairing.between(other)
  )
  np.testing.assert_allclose(
    plan.mix(x), jnp.broadcast_to(1.0 - plan.lam[:, None], (3, 2)), rtol=1e-6
  )
  np.testing.assert_array_equal(plan.targets(labels).second, [5, 6, 7])


def test_between_never_mixes_padding(key):
  x = jnp.arange(4.0)[:, None]
  theirs = jnp.array([True, False, True, True])
  other = (
    jnp.where(theirs, 9.0, 1e6)[:, None],
    jnp.array([5, -1, 6, 7]),
  )
  mine = jnp.array([True, True, True, False])
  plan = mixing.draw(
    key,
    4,
    policy=policies.untied(1.7, 0.8),
    pairing=pairing.between(other, theirs),
    mask=mine,
  )
  np.testing.assert_array_equal(plan.lam == 1.0, ~(mine & theirs))
  np.testing.assert_array_equal(plan.weight[1], 1.0)
  np.testing.assert_array_equal(plan.mask, mine)
  np.testing.assert_array_equal(plan.mix(x)[1], x[1])


def test_numpy_masks_work_under_jit(key):
  mask = np.array([True, True, False])
  draw = lambda k: mixing.draw(k, 3, policy=policies.mixup(1.0), mask=mask)
  np.testing.assert_array_equal(jax.jit(draw)(key).lam, draw(key).lam)


@pytest.mark.parametrize("name", METHODS)
def test_legacy_keys_work(name):
  x, labels = jnp.arange(6.0).reshape(3, 2), jnp.arange(3)
  new, _ = METHODS[name](jax.random.key(7), x, labels)
  old, _ = METHODS[name](jax.random.PRNGKey(7), x, labels)
  np.testing.assert_array_equal(new, old)


def test_a_sweep_over_alpha_is_one_vmap(key):
  alphas = jnp.array([0.2, 1.0])
  x, labels = jnp.arange(6.0).reshape(3, 2), jnp.arange(3)
  sweep = jax.vmap(lambda a: mixing.mixup(key, x, labels, alpha=a))
  mixed, targets = sweep(alphas)
  for i, alpha in enumerate([0.2, 1.0]):
    want, want_targets = mixing.mixup(key, x, labels, alpha=alpha)
    np.testing.assert_allclose(mixed[i], want, rtol=1e-5)
    np.testing.assert_allclose(
      targets.weight[i], want_targets.weight, rtol=1e-5
    )


def test_gradient_reaches_inputs_and_lam():
  plan = hand_plan([0.75, 0.5], [1, 0])
  x = jnp.array([[2.0], [6.0]])
  slope = jax.grad(lambda x: jnp.sum(plan.mix(x)))(x)
  np.testing.assert_array_equal(slope, [[1.25], [0.75]])
  slope = jax.grad(lambda lam: jnp.sum(plan.replace(lam=lam).mix(x)))(plan.lam)
  np.testing.assert_array_equal(slope, [-4.0, 4.0])


def test_does_not_retrace(key):
  traces = []

  @jax.jit
  def mix(key, x, labels, alpha):
    traces.append(1)
    return mixing.mixup(key, x, labels, alpha=alpha)

  x, labels = jnp.ones((3, 2)), jnp.arange(3)
  mix(key, x, labels, 0.2)
  mix(jax.random.key(1), 2.0 * x, labels, 1.0)
  assert len(traces) == 1


def test_plans_drawn_eagerly_or_under_jit_do_not_retrace(key):
  traces = []

  @jax.jit
  def mix(plan, x):
    traces.append(1)
    return plan.mix(x)

  draw = lambda k: mixing.draw(k, 3, policy=policies.mixup(1.0))
  mix(draw(key), jnp.ones((3, 2)))
  mix(jax.jit(draw)(key), jnp.ones((3, 2)))
  assert len(traces) == 1


# Errors, at trace time too.

X, LABELS = jnp.zeros((4, 2)), jnp.zeros(4, int)
BAD_CALLS = [
  ({"labels": LABELS[:3]}, ValueError, "axes must agree.*'labels': 3"),
  ({"inputs": {"a": X, "b": X[:2]}}, ValueError, r"inputs\[leaf 1\]': 2"),
  ({"inputs": jnp.zeros((4, 2), jnp.uint8)}, TypeError, "got uint8; convert"),
  ({"inputs": {"a": X, "b": LABELS}}, TypeError, "inputs must be floating"),
  ({"inputs": jnp.float32(1.0)}, ValueError, "inputs needs a leading batch"),
  ({"inputs": {}}, ValueError, "inputs has no arrays"),
  ({"labels": jnp.zeros(4, bool)}, TypeError, "labels must be.*got bool"),
  ({"labels": jnp.int32(1)}, ValueError, "labels needs a leading batch axis"),
  ({"alpha": 0.0}, ValueError, r"alpha must lie in \(0, inf\), got 0.0"),
  ({"alpha": -1.0}, ValueError, r"alpha must lie in \(0, inf\), got -1.0"),
  ({"beta": 0.0}, ValueError, r"beta must lie in \(0, inf\), got 0.0"),
  ({"alpha": [1.0, 2.0]}, ValueError, "alpha must be a scalar"),
  ({"alpha": "1"}, TypeError, "alpha must be a real number"),
  ({"mask": jnp.ones(3, bool)}, ValueError, r"mask must have shape \(4,\)"),
  ({"mask": jnp.ones((4, 1), bool)}, ValueError, "one entry an example"),
  ({"mask": jnp.ones(4)}, TypeError, r"mask must be boolean.*astype\(bool\)"),
  (
    {"per_example": False, "stratified": True},
    ValueError,
    "stratified=True needs per_example=True",
  ),
  ({"inputs": X[:0], "labels": LABELS[:0]}, ValueError, "at least 1, got 0"),
]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("options, error, message", BAD_CALLS)
def test_errors(key, name, options, error, message):
  options = {"inputs": X, "labels": LABELS, **options}
  with pytest.raises(error, match=message):
    METHODS[name](key, **options)
  arrays = {k: v for k, v in options.items() if k in ("inputs", "labels")}
  rest = {k: v for k, v in options.items() if k not in arrays}
  with pytest.raises(error, match=message):
    jax.jit(lambda key, arrays: METHODS[name](key, **arrays, **rest))(
      key, arrays
    )


def test_traced_masks_are_checked(key):
  with pytest.raises(TypeError, match="mask must be boolean"):
    jax.jit(lambda m: mixing.mixup(key, X, LABELS, mask=m))(jnp.ones(4))


def test_plan_errors(key):
  plan = hand_plan([0.5, 0.5], [1, 0])
  for run in (lambda f: f, jax.jit):
    with pytest.raises(TypeError, match="inputs must be floating point"):
      run(plan.mix)(jnp.zeros((2, 1), int))
    with pytest.raises(ValueError, match="'plan': 2, 'inputs': 3"):
      run(plan.mix)(jnp.zeros((3, 1)))
    with pytest.raises(ValueError, match="'plan': 2, 'labels': 3"):
      run(plan.targets)(jnp.zeros(3, int))
    with pytest.raises(TypeError, match="labels must be integer classes"):
      run(plan.targets)(jnp.zeros(2, bool))
  with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
    mixing.draw(key, 0, policy=policies.mixup(1.0))


# Properties over the public functions.


@functools.partial(jax.jit, static_argnums=(0, 1))
def mix_named(name, pair, key, x, labels, alpha, beta, mask):
  return METHODS[name](
    key, x, labels, alpha=alpha, beta=beta, pairing=pair, mask=mask
  )


@hypothesis.settings(max_examples=25, deadline=None, derandomize=True)
@hypothesis.given(
  method=st.sampled_from(list(zip(METHODS, PAIRINGS, strict=True))),
  size=st.sampled_from([1, 4]),
  seed=st.integers(0, 2**31 - 1),
  alpha=st.sampled_from([0.01, 0.3, 1.0, 8.0]),
  beta=st.sampled_from([0.05, 1.0, 3.0]),
  real=st.lists(st.booleans(), min_size=4, max_size=4),
)
def test_properties(method, size, seed, alpha, beta, real):
  rng = np.random.default_rng(seed)
  x = rng.normal(size=(size, 3)).astype(np.float32)
  labels = rng.integers(0, 5, size)
  mask = np.array(real[:size])
  mixed, targets = mix_named(
    *method,
    jax.random.key(seed),
    x,
    labels,
    np.float32(alpha),
    np.float32(beta),
    mask,
  )
  mixed, weight = np.asarray(mixed), np.asarray(targets.weight)
  assert mixed.shape == x.shape and np.all(np.isfinite(mixed))
  assert np.all((weight >= 0.0) & (weight <= 1.0))
  np.testing.assert_allclose(np.sum(targets.dense(5), axis=1), 1.0, rtol=1e-6)
  np.testing.assert_array_equal(targets.first, labels)
  # Mixed examples stay in the box of the real ones, labels among theirs.
  if mask.any():
    low, high = x[mask].min(0), x[mask].max(0)
    assert np.all(mixed[mask] >= low - 1e-6)
    assert np.all(mixed[mask] <= high + 1e-6)
    assert np.isin(np.asarray(targets.second)[mask], labels[mask]).all()
  np.testing.assert_allclose(mixed[~mask], x[~mask], rtol=1e-5, atol=1e-6)


SPECIES, GENUS = np.array([3, 1, 0, 2]), np.array([[0.0], [1.0], [0.5], [0.25]])


@pytest.mark.parametrize(
  "labels",
  [
    (SPECIES, GENUS.astype(np.float32)),
    [jnp.asarray(SPECIES), jnp.asarray(SPECIES[::-1])],
    {"species": SPECIES, "genus": {"of": jnp.asarray(SPECIES)}},
    {"species": SPECIES, "absent": None},
  ],
  ids=["tuple", "list", "dict", "none"],
)
def test_labels_are_a_pytree(labels):
  """Each leaf is mixed as it is alone, also where leaves share a shape."""
  plan = hand_plan([0.75] * 4, [1, 2, 3, 0])
  cut = boxes.CutMixPlan(
    plan.lam, plan.weight, plan.partner, jnp.zeros((4, 4), jnp.int32), (2, 2)
  )
  held = jax.tree.map(lambda leaf: leaf[::-1], labels)
  second = plan.replace(source=pairing.Between(jnp.zeros((4, 1)), held))
  is_targets = lambda node: isinstance(node, losses.MixedTargets)
  for one, source in ((plan, labels), (cut, labels), (second, held)):
    targets = one.targets(labels)
    alone = jax.tree.map(
      lambda own, other: losses.MixedTargets(
        jnp.asarray(own), jnp.roll(other, -1, axis=0), plan.weight
      ),
      labels,
      source,
    )
    assert jax.tree.structure(targets) == jax.tree.structure(alone)
    jax.tree.map(np.testing.assert_array_equal, targets, alone)
    assert jax.tree.structure(
      targets, is_leaf=is_targets
    ) == jax.tree.structure(labels)


def test_mixup_and_cutmix_take_several_labels(key):
  images = jnp.zeros((4, 2, 2))
  for call in (mixing.mixup, mixing.dat, boxes.cutmix):
    _, (species, same) = call(key, images, (SPECIES, SPECIES))
    _, alone = call(key, images, SPECIES)
    jax.tree.map(np.testing.assert_array_equal, species, alone)
    jax.tree.map(np.testing.assert_array_equal, same, alone)


def test_labels_around_a_ring():
  """Every leaf comes from the previous replica."""

  def second(x, labels):
    pair = pairing.ring("replica")
    targets = mixing.mixup(jax.random.key(0), x, labels, pairing=pair)[1]
    return targets["a"].second, targets["b"].second

  a, b = jax.vmap(second, axis_name="replica")(
    jnp.ones((3, 2)),
    {
      "a": jnp.arange(6).reshape(3, 2) // 2,
      "b": (jnp.arange(6).reshape(3, 2) // 2).astype(jnp.float32),
    },
  )
  np.testing.assert_array_equal(a, [[2, 2], [0, 0], [1, 1]])
  np.testing.assert_array_equal(b, [[2, 2], [0, 0], [1, 1]])


def test_what_is_no_label_array_is_refused():
  plan = hand_plan([0.75] * 4, [1, 2, 3, 0])
  several = (jnp.arange(4), jnp.arange(4))
  held = pairing.Between(jnp.zeros((4, 1)), (jnp.arange(4), jnp.arange(3)))
  floats = pairing.Between(jnp.zeros((4, 1)), jnp.zeros(4))
  mixed = plan.targets(jnp.arange(4))
  logits = jnp.zeros((4, 5))
  cross_entropy = losses.softmax_cross_entropy
  cases = [
    (lambda: plan.targets([0, 1, 2, 3]), ValueError, "leading batch axis"),
    (lambda: plan.targets(mixed), TypeError, "mixed already"),
    (lambda: plan.targets({"a": mixed}), TypeError, "mixed already"),
    (lambda: plan.targets((several[0], several[1] > 1)), TypeError, "got bool"),
    (lambda: plan.targets((several[0], jnp.arange(3))), ValueError, "leaf 1"),
    (
      lambda: plan.replace(source=held).targets(several),
      ValueError,
      r"holds labels of shape \(\(4,\), \(3,\)\), got \(\(4,\), \(4,\)\)",
    ),
    (
      lambda: plan.replace(source=floats).targets(several[0]),
      TypeError,
      "or both probabilities, got int32 and float32",
    ),
    (
      lambda: losses.mixed_loss(cross_entropy, logits, plan.targets(several)),
      TypeError,
      "of several heads add the losses up",
    ),
    (
      lambda: directional.directional_penalty(logits, several),
      TypeError,
      "labels must be one array here, got tuple",
    ),
    (lambda: cross_entropy(logits, several), TypeError, "must be one array"),
  ]
  for call, error, message in cases:
    with pytest.raises(error, match=message):
      call()


KEY, LAW = jax.random.key(0), jaxmix.policies.mixup(0.2)
SHAPE = (4, 8, 8, 3)


@pytest.mark.parametrize(
  ("call", "message"),
  [
    (lambda: jaxmix.draw(0, 4, policy=LAW), "PRNG key.* got 0"),
    (
      lambda: jaxmix.draw(jnp.zeros(2), 4, policy=LAW),
      "PRNG key.* an array of float32",
    ),
    (lambda: jaxmix.draw_cutmix(0, SHAPE), "PRNG key"),
    (lambda: jaxmix.draw_fmix(0, SHAPE), "PRNG key"),
    (lambda: jaxmix.draw_gridmix(0, SHAPE), "PRNG key"),
    (
      lambda: jaxmix.draw_mixture(
        0, [lambda key: jaxmix.draw(key, 4, policy=LAW)]
      ),
      "PRNG key",
    ),
    (
      lambda: jaxmix.pgd(
        *(0, lambda x: x, jnp.zeros((2, 3)), jnp.array([0, 1])),
        epsilon=0.1,
        step_size=0.1,
        steps=1,
        random_start=True,
      ),
      "PRNG key",
    ),
    (
      lambda: jaxmix.draw(KEY, jnp.ones(SHAPE), policy=LAW),
      r"batch_size .* len\(images\), got ArrayImpl",
    ),
    (lambda: jaxmix.draw(KEY, True, policy=LAW), "batch_size .* got True"),
    (lambda: jaxmix.draw(KEY, 4, policy=0.2), "policy must .* got 0.2"),
    (
      lambda: jaxmix.draw(KEY, 4, policy=LAW, pairing="flip"),
      "pairing must .* got 'flip'",
    ),
    (
      lambda: jaxmix.mixupe_loss(
        *(lambda x: x, jnp.eye(4), jnp.arange(4), LAW), eta=1.0
      ),
      "plan must .* got MixingPolicy",
    ),
    (lambda: jaxmix.hidden.at(0.2, 1), "plan must .* got 0.2"),
  ],
)
def test_what_is_given_in_another_place_is_named(call, message):
  with pytest.raises(TypeError, match=message):
    call()


@pytest.mark.parametrize("kind", ["typed", "raw", "numpy"])
def test_old_and_new_keys_will_do(kind):
  key = KEY if kind == "typed" else jax.random.PRNGKey(0)
  plan = jaxmix.draw(np.asarray(key) if kind == "numpy" else key, 4, policy=LAW)
  np.testing.assert_array_equal(plan.lam, jaxmix.draw(KEY, 4, policy=LAW).lam)
