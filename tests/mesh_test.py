"""Meshes with explicit, automatic and manual axes, on eight CPU devices.

Right is the unsharded call's numbers, split as the inputs are.
"""

import functools

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
import numpy as np
import pytest

import jaxmix
from jaxmix import meshes

SIZE, CLASSES = 8, 4
KEY = jax.random.key(0)
SPLITS = {
  "data": (P("data"), P("data"), P("data"), P("data"), P()),
  "model": (
    P("data", None, None, "model"),
    P("data"),
    P("data", "model"),
    P("data"),
    P(None, "model"),
  ),
  "apart": (P(("data", "model")), P("model"), P("data"), P("model"), P()),
  "channels": (P(None, None, None, "model"), P(), P("data"), P("data"), P()),
}


@functools.cache
def batch():
  random = np.random.default_rng(0)
  images = random.standard_normal((SIZE, 2, 2, 2)).astype(np.float32)
  labels = np.arange(SIZE, dtype=np.int32) % CLASSES
  dense = random.dirichlet(np.ones(CLASSES), SIZE).astype(np.float32)
  mask = np.arange(SIZE) % 5 != 4
  params = random.standard_normal((8, CLASSES)).astype(np.float32)
  return images, labels, dense, mask, params


def mesh_of(*types):
  return jax.make_mesh((4, 2), ("data", "model"), axis_types=types)


EXPLICIT = (AxisType.Explicit, AxisType.Explicit)
KINDS = {
  "explicit": EXPLICIT,
  "auto": (AxisType.Auto, AxisType.Auto),
  "both": (AxisType.Explicit, AxisType.Auto),
}


def on(mesh, split, arrays=None):
  return [
    jax.device_put(x, NamedSharding(mesh, spec))
    for x, spec in zip(arrays or batch(), SPLITS[split], strict=True)
  ]


def model(params, images, **kwargs):
  del kwargs  # parts, without batch norm of no meaning
  return jnp.einsum("bhwc,hwck->bk", images, params.reshape(2, 2, 2, -1))


def plan(mask=None, pairing=jaxmix.pairing.permutation):
  policy = jaxmix.policies.mixup(1.0)
  return jaxmix.draw(KEY, SIZE, policy=policy, pairing=pairing, mask=mask)


def mixing(images, labels, dense, mask, params):
  """All that returns arrays split as the inputs, in one program."""
  del params
  two = {"images": images, "half": images.astype(jnp.bfloat16)}
  mixed = {
    name: jaxmix.mixup(KEY, two, dense, pairing=pairing, mask=mask)
    for name, pairing in {
      "permutation": jaxmix.pairing.permutation,
      "roll": jaxmix.pairing.roll,
      "flip": jaxmix.pairing.flip,
      "between": jaxmix.pairing.between((two, dense), mask),
    }.items()
  }
  cut = jaxmix.cutmix(KEY, images, labels, mask=mask)
  return {
    **mixed,
    "plain": jaxmix.mixup(KEY, images, labels),
    "cutmix": cut,
    "resizemix": jaxmix.resizemix(KEY, images, labels),
    "dense": cut[1].dense(CLASSES),
  }


def losses(images, labels, dense, mask, params):
  """All that looks labels up, and its gradients."""
  embeddings = jaxmix.label_embeddings(KEY, CLASSES, CLASSES)
  rows = jaxmix.pairing.look_up(embeddings, labels)
  loss_fn = jaxmix.losses.softmax_cross_entropy

  def total(params):
    mixed, targets = jaxmix.mixup(KEY, images, labels, mask=mask)
    logits = model(params, mixed)
    return {
      "mixed": jaxmix.mixed_loss(loss_fn, logits, targets),
      "dense": loss_fn(logits, dense, label_smoothing=0.1),
      "logistic": jaxmix.losses.logistic(logits, dense),
      "cosine": jaxmix.negative_cosine(logits, rows),
      "directional": jaxmix.directional_penalty(logits, targets),
    }

  def summed(params):
    values = total(params)
    return sum(jnp.sum(value) for value in values.values()), values

  attack = functools.partial(model, params)
  return (
    jax.grad(summed, has_aux=True)(params),
    jaxmix.fgsm(attack, images, labels, epsilon=0.1),
    jaxmix.pgd(KEY, attack, images, labels, epsilon=0.1, steps=2),
  )


def mixupe(images, labels, dense, mask, params):
  """MixupE's passes and penalties, each with its gradient."""
  del dense

  def value(params, penalty, mask, **options):
    return jaxmix.mixupe_loss(
      functools.partial(model, params),
      images,
      labels,
      plan(mask),
      eta=0.5,
      penalty=penalty,
      **options,
    )[0]

  run = jax.value_and_grad(value)
  return (
    run(params, "approximate", None),
    run(params, "exact", mask, clean_pass="split", clean_fraction=0.5),
    # Three examples are no multiple of the devices.
    run(params, "taylor", mask, clean_fraction=0.3),
    run(params, "release", mask, penalty_at="mixed", clean_fraction=0.5),
    run(params, jaxmix.penalties.taylor(3), None, clean_pass="separate"),
    jaxmix.mixupe_value_and_grad(
      model, params, images, labels, plan(mask), eta=0.5
    ),
  )


@functools.cache
def expected(case):
  return jax.jit(case)(*batch())


def assert_equal(got, want):
  assert jax.tree.structure(got) == jax.tree.structure(want)
  for one, other in zip(
    jax.tree.leaves(got), jax.tree.leaves(want), strict=True
  ):
    assert one.dtype == other.dtype
    np.testing.assert_allclose(
      np.asarray(one, np.float32), np.asarray(other, np.float32), atol=2e-5
    )


CASES = [
  (mixing, "explicit", "model"),
  (mixing, "explicit", "apart"),
  (mixing, "explicit", "channels"),
  (mixing, "auto", "model"),
  (mixing, "both", "data"),
  (losses, "explicit", "model"),
  (losses, "explicit", "apart"),
  (losses, "auto", "model"),
  (mixupe, "explicit", "model"),
]


@pytest.mark.parametrize(
  "case, kind, split",
  CASES,
  ids=[f"{case.__name__}-{kind}-{split}" for case, kind, split in CASES],
)
def test_a_mesh_changes_no_number(case, kind, split):
  mesh = mesh_of(*KINDS[kind])
  with jax.set_mesh(mesh):
    got = jax.jit(case)(*on(mesh, split))
  assert_equal(got, expected(case))


@pytest.mark.parametrize("split", SPLITS)
def test_outputs_are_split_as_inputs(split):
  """Known while tracing: nothing is compiled."""
  mesh = mesh_of(*EXPLICIT)
  images, labels, dense, mask, params = SPLITS[split]
  rows = P(labels[0] if len(labels) else None)
  with jax.set_mesh(mesh):
    out = jax.eval_shape(mixing, *on(mesh, split))

  def assert_split(x, spec):
    full = P(*spec, *[None] * (x.ndim - len(spec)))
    assert x.sharding.spec == full

  for name in ("permutation", "roll", "flip", "between"):
    mixed, targets = out[name]
    assert_split(mixed["images"], images)
    assert_split(mixed["half"], images)
    assert_split(targets.second, dense)
    assert_split(targets.weight, dense[:1])
  for name in ("plain", "cutmix"):
    mixed, targets = out[name]
    assert_split(mixed, images)
    for x in (targets.first, targets.second, targets.weight):
      assert_split(x, rows)
  assert_split(out["dense"], rows)


def test_without_jit():
  """Split arrays carry their mesh, set or not."""
  mesh = mesh_of(*EXPLICIT)
  images, labels, _, mask, _ = on(mesh, "model")
  got = jaxmix.mixup(KEY, images, labels, mask=mask)
  assert_equal(got, jaxmix.mixup(KEY, *batch()[:2], mask=batch()[3]))
  assert got[0].sharding.spec == P("data", None, None, "model")
  got = jaxmix.cutmix(KEY, images, labels)
  assert_equal(got, jaxmix.cutmix(KEY, *batch()[:2]))


@pytest.mark.parametrize("axes", [{"data", "model"}, {"data"}])
def test_manual_axes_see_their_own_rows(axes):
  """Of two axes, the other one explicit: each replica is a batch of its own."""
  mesh = mesh_of(*EXPLICIT)
  images, labels, *_ = batch()

  def replica(images, labels):
    return jaxmix.mixup(KEY, images, labels, pairing=jaxmix.pairing.flip)

  run = jax.shard_map(
    replica, in_specs=P("data"), out_specs=P("data"), axis_names=axes
  )
  with jax.set_mesh(mesh):
    arguments = on(mesh, "data" if "model" in axes else "model")[:2]
    got = jax.jit(run)(*arguments)
  split = lambda x: x.reshape(4, 2, *x.shape[1:])
  want = jax.jit(jax.vmap(replica))(split(images), split(labels))
  assert_equal(got, jax.tree.map(lambda x: x.reshape(8, *x.shape[2:]), want))


def test_look_up_splits_rows_as_the_index_or_else_as_x():
  mesh = mesh_of(*EXPLICIT)
  x = jnp.arange(16.0).reshape(8, 2)

  def spec_of(x_spec, index, index_spec):
    with jax.set_mesh(mesh):
      split = jax.device_put(x, NamedSharding(mesh, x_spec))
      index = jax.device_put(index, NamedSharding(mesh, index_spec))
      out = jax.eval_shape(jaxmix.pairing.look_up, split, index)
    return out.sharding.spec

  eight, three = jnp.arange(8), jnp.arange(3)
  assert spec_of(P("data"), eight, P()) == P("data", None)
  assert spec_of(P("data", "model"), eight, P("model")) == P("model", None)
  assert spec_of(P(None, "model"), eight, P("data")) == P("data", "model")
  assert spec_of(P("data", "model"), three, P()) == P(None, "model")


@pytest.mark.parametrize("start, stop", [(0, 4), (4, 8), (0, 3)])
def test_rows_and_their_concatenation(start, stop):
  mesh = mesh_of(*EXPLICIT)
  x = np.arange(16.0, dtype=np.float32).reshape(8, 2)
  with jax.set_mesh(mesh):
    split = jax.device_put(x, NamedSharding(mesh, P("data", "model")))
    part = meshes.rows(split, start, stop)
    both = meshes.concatenate([split, part])
  np.testing.assert_array_equal(part, x[start:stop])
  np.testing.assert_array_equal(both, np.concatenate([x, x[start:stop]]))
  rows = "data" if stop - start == 4 else None
  assert part.sharding.spec == both.sharding.spec == P(rows, "model")
