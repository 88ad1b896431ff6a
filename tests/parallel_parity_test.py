"""Eager, jit, vmap, grad, pmap and shard_map give the same numbers."""

import functools

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
import numpy as np
import pytest

import jaxmix
from jaxmix import pairing, policies
from jaxmix.mixing import MixPlan

R, B, D, K = 8, 8, 3, 4  # replicas, examples each, features, classes
RNG = np.random.default_rng(0)
X = RNG.normal(size=(R, B, D)).astype(np.float32)
Y = RNG.integers(0, K, (R, B)).astype(np.int32)
W = jnp.asarray(RNG.normal(size=(D, K)), jnp.float32)
KEYS = jax.random.split(jax.random.key(0), R)


@functools.cache
def mesh():
  return jax.make_mesh((R,), ("r",), axis_types=(AxisType.Auto,))


def on_pmap(f):
  return jax.pmap(f, axis_name="r")


def on_vmap(f):
  return jax.jit(jax.vmap(f, axis_name="r"))


def on_shard_map(f, check_vma):
  """Like pmap: maps the leading axis of every argument and result."""

  def body(*args):
    out = f(*jax.tree.map(lambda leaf: leaf[0], args))
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], out)

  return jax.jit(
    jax.shard_map(
      body, mesh=mesh(), in_specs=P("r"), out_specs=P("r"), check_vma=check_vma
    )
  )


MAPPERS = {
  "vmap": on_vmap,
  "pmap": on_pmap,
  "shard_map": functools.partial(on_shard_map, check_vma=False),
  "shard_map_vma": functools.partial(on_shard_map, check_vma=True),
}
each_mapper = pytest.mark.parametrize("mapper", MAPPERS)


def check_close(got, want, rtol=1e-5, atol=1e-6):
  for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
    np.testing.assert_allclose(x, y, rtol=rtol, atol=atol)


def test_there_are_eight_devices():
  assert jax.device_count() == R


METHODS = {
  "mixup": jaxmix.mixup,
  "untied_mixup": jaxmix.untied_mixup,
  "dat": functools.partial(jaxmix.dat, pairing=pairing.flip),
  "stratified": functools.partial(jaxmix.mixup, stratified=True),
  "bfloat16": lambda key, x, y: jaxmix.mixup(key, x.astype(jnp.bfloat16), y),
  "product": lambda key, x, y: pairing._product(
    x.astype(jnp.bfloat16), jax.random.permutation(key, B)
  ),
  "cutmix": lambda key, x, y: jaxmix.cutmix(
    key, jnp.broadcast_to(x[:, None, :], (B, 4, D)), y
  ),
  "pgd": lambda key, x, y: jaxmix.pgd(
    key, lambda x: jnp.tanh(x @ W), x, y, epsilon=0.3, steps=3, norm="l2"
  ),
}


@functools.cache
def one_by_one(name):
  run = jax.jit(METHODS[name])
  rows = [run(KEYS[r], X[r], Y[r]) for r in range(R)]
  return jax.tree.map(lambda *leaves: np.stack(leaves), *rows)


@pytest.mark.parametrize(
  "name, mapper",
  [(name, "shard_map") for name in METHODS]
  + [("product", "vmap")]
  + [(name, "pmap") for name in ("mixup", "bfloat16", "product", "pgd")]
  + [(name, "shard_map_vma") for name in ("mixup", "bfloat16", "product")]
  + [(name, "shard_map_vma") for name in ("cutmix", "pgd")]
  + [
    pytest.param(
      "stratified",
      "shard_map_vma",
      marks=pytest.mark.xfail(
        raises=TypeError,
        strict=True,
        reason="jax.scipy.special.betainc fails under check_vma=True (0.10.2)",
      ),
    )
  ],
)
def test_methods_are_the_same_everywhere(name, mapper):
  got = MAPPERS[mapper](METHODS[name])(KEYS, X, Y)
  check_close(got, one_by_one(name))


@pytest.mark.parametrize(
  "name", ["mixup", "bfloat16", "product", "cutmix", "pgd"]
)
def test_jit_is_eager(name):
  want = METHODS[name](KEYS[0], X[0], Y[0])
  check_close(jax.tree.map(lambda leaf: leaf[0], one_by_one(name)), want)


@each_mapper
def test_gradients_of_inputs_are_the_same_everywhere(mapper):
  def total(x, key, y):
    mixed, targets = jaxmix.mixup(key, x, y)
    loss = jaxmix.mixed_loss(
      jaxmix.losses.softmax_cross_entropy, mixed @ W, targets
    )
    return jnp.sum(loss)

  got = MAPPERS[mapper](jax.grad(total))(X, KEYS, Y)
  run = jax.jit(jax.grad(total))
  check_close(got, np.stack([run(X[r], KEYS[r], Y[r]) for r in range(R)]))


@each_mapper
def test_devices_draw_different_lam(mapper):
  def draw(x):
    key = jax.random.fold_in(jax.random.key(0), jax.lax.axis_index("r"))
    plan = jaxmix.draw(key, B, policy=policies.mixup(1.0))
    return plan.lam, plan.partner, x

  lam, partner, _ = MAPPERS[mapper](draw)(X)
  assert len(np.unique(lam)) == R * B
  assert len(np.unique(partner, axis=0)) > 1


def test_global_batch_under_jit_mixes_across_devices():
  x = jnp.arange(R * B, dtype=jnp.float32)[:, None]
  sharded = jax.device_put(x, NamedSharding(mesh(), P("r")))
  mix = jax.jit(lambda k, x: jaxmix.mixup(k, x, jnp.arange(R * B)))
  mixed, targets = mix(jax.random.key(0), sharded)
  want, want_targets = mix(jax.random.key(0), x)
  check_close((mixed, targets), (want, want_targets))
  source = np.asarray(targets.second) // B
  assert np.any(source != np.arange(R * B) // B)


# ring


@each_mapper
@pytest.mark.parametrize("masked", [False, True])
def test_ring_takes_partners_from_the_previous_replica(mapper, masked):
  ids = np.arange(R * B, dtype=np.float32).reshape(R, B)
  masks = RNG.uniform(size=(R, B)) < 0.6 if masked else np.ones((R, B), bool)
  masks[:, 0] = True
  if masked:
    masks[3] = False

  def run(key, own, mask):
    plan = jaxmix.draw(
      key,
      B,
      policy=policies.mixup(1.0),
      pairing=pairing.ring("r"),
      mask=mask if masked else None,
    )
    # lam = 0: the mixed example is the partner.
    bare = plan.replace(lam=jnp.where(plan.lam == 1.0, 1.0, 0.0))
    targets = plan.targets(own.astype(jnp.int32))
    return plan.lam, plan.weight, bare.mix(own), targets.second

  lam, weight, mixed, second = map(
    np.asarray, MAPPERS[mapper](run)(KEYS, ids, masks)
  )
  np.testing.assert_array_equal(lam, weight)
  for r in range(R):
    previous = (r - 1) % R
    paired = masks[r] & masks[previous].any()
    if masked:
      np.testing.assert_array_equal(lam[r] == 1.0, ~paired)
    np.testing.assert_array_equal(mixed[r][~paired], ids[r][~paired])
    taken = mixed[r][paired].astype(int)
    np.testing.assert_array_equal(taken, second[r][paired])
    assert np.all(taken // B == previous)
    assert np.all(masks.ravel()[taken])
    if not masked:
      assert len(set(taken)) == B


def test_ring_needs_its_axis_under_shard_map():
  run = lambda key: (
    jaxmix.draw(
      key, B, policy=policies.mixup(1.0), pairing=pairing.ring("other")
    ).lam
  )
  with pytest.raises(ValueError, match="axis_name='other' is not bound"):
    on_shard_map(run, False)(KEYS)


# mixupe_loss: 1 x 64 equals 8 x 8.

LAM = RNG.beta(1.0, 1.0, (R, B)).astype(np.float32)
PARTNER = np.stack([RNG.permutation(B) for _ in range(R)]).astype(np.int32)
GLOBAL_PARTNER = (PARTNER + B * np.arange(R, dtype=np.int32)[:, None]).ravel()
MASK = RNG.uniform(size=(R, B)) < 0.6
MASK[2], MASK[5] = False, True  # none real on one replica, all on another


@functools.cache
def whole_batch(options, masked):
  mask = MASK if masked else None
  plan = MixPlan(
    lam=jnp.asarray(LAM.ravel()),
    weight=jnp.asarray(LAM.ravel()),
    partner=jnp.asarray(GLOBAL_PARTNER),
    mean_shift=1.0 / 3.0,
    mask=None if mask is None else jnp.asarray(mask.ravel()),
  )

  def loss(w):
    return jaxmix.mixupe_loss(
      lambda x: jnp.tanh(x @ w),
      jnp.asarray(X.reshape(R * B, D)),
      jnp.asarray(Y.ravel()),
      plan,
      eta=0.8,
      **dict(options),
    )

  (value, aux), slope = jax.jit(jax.value_and_grad(loss, has_aux=True))(W)
  return value, aux[:3], slope


def replica(options, masked, differentiate_mean):
  def run(x, y, lam, partner, mask):
    plan = MixPlan(lam, lam, partner, 1.0 / 3.0, mask if masked else None)

    def loss(w):
      value, aux = jaxmix.mixupe_loss(
        lambda x: jnp.tanh(x @ w), x, y, plan, eta=0.8, axis_name="r", **options
      )
      if differentiate_mean:
        value = jax.lax.pmean(value, "r")
      return value, aux

    (value, aux), slope = jax.value_and_grad(loss, has_aux=True)(W)
    if not differentiate_mean:
      value, slope = jax.lax.pmean((value, slope), "r")
    return value, aux[:3], slope

  return run


LOSS_OPTIONS = [
  {},
  {"penalty": "exact", "clean_pass": "separate"},
  {"penalty_at": "mixed"},
  {"penalty": "release"},
]


@each_mapper
@pytest.mark.parametrize("options", LOSS_OPTIONS, ids=str)
@pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
def test_one_by_64_equals_8_by_8(masked, options, mapper):
  """Loss, L, R, kappa and gradient do not depend on the number of devices.

  Under check_vma=True the gradient of replicated parameters is summed over
  replicas by shard_map itself, so there the mean loss is differentiated; the
  other maps average local gradients.
  """
  if options and mapper in ("vmap", "pmap"):
    return  # one form of the loss is enough there
  want = whole_batch(tuple(options.items()), masked)
  run = replica(options, masked, differentiate_mean=mapper == "shard_map_vma")
  got = MAPPERS[mapper](run)(X, Y, LAM, PARTNER, MASK)
  for r in range(R):
    check_close(jax.tree.map(lambda leaf, r=r: leaf[r], got), want, rtol=2e-5)


@each_mapper
def test_l_and_r_have_the_whole_batchs_gradient(mapper):
  """Through aux as by rescale=False: kappa's reciprocal times the loss's."""

  def run(x, y, lam, partner):
    plan = MixPlan(lam, lam, partner, 1.0 / 3.0)

    def loss(w, through_aux):
      value, aux = jaxmix.mixupe_loss(
        lambda x: jnp.tanh(x @ w),
        *(x, y, plan),
        eta=0.8,
        axis_name="r",
        rescale=False,
      )
      if through_aux:
        return aux.mixup_loss + 0.8 * aux.penalty
      return jax.lax.pmean(value, "r")

    slopes = [jax.grad(loss)(W, through) for through in (True, False)]
    if mapper != "shard_map_vma":
      slopes = jax.lax.pmean(slopes, "r")
    return slopes

  _, aux, slope = whole_batch((), False)
  for got in MAPPERS[mapper](run)(X, Y, LAM, PARTNER):
    check_close(got[0], slope / aux[2])


def test_without_axis_name_kappa_is_local():
  """The reason for axis_name: the mean of local losses is another loss."""

  def run(x, y, lam, partner):
    plan = MixPlan(lam, lam, partner, 1.0 / 3.0)
    loss = lambda w: jaxmix.mixupe_loss(
      lambda x: jnp.tanh(x @ w), x, y, plan, eta=0.8
    )[0]
    return jax.lax.pmean(jax.grad(loss)(W), "r")

  slope = on_vmap(run)(X, Y, LAM, PARTNER)[0]
  assert not np.allclose(slope, whole_batch((), False)[2], rtol=1e-3)


@each_mapper
def test_pgd_is_the_same_everywhere(mapper):
  attack = lambda key, x, y: jaxmix.pgd(
    key, lambda x: jnp.tanh(x @ W), x, y, epsilon=0.1, norm="l2", steps=3
  )
  got = MAPPERS[mapper](attack)(KEYS, X, Y)
  run = jax.jit(attack)
  want = np.stack([run(KEYS[r], X[r], Y[r]) for r in range(R)])
  check_close(got, want, atol=1e-5)


def test_mapped_functions_do_not_retrace():
  traces = []

  def mix(key, x, y):
    traces.append(1)
    return jaxmix.mixup(key, x, y)

  run = on_shard_map(mix, False)
  run(KEYS, X, Y)
  count = len(traces)
  run(KEYS[::-1], 2.0 * X, Y)
  assert len(traces) == count
