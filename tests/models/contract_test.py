"""What every model owes its caller, whatever its architecture."""

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P
import numpy as np
import pytest

from jaxmix import models

SMALL = {
  "resnet50_tiny": {"stage_sizes": (1, 1), "width": 3},
  "coatnet0_tiny": {"stage_sizes": (2, 1, 1, 1, 1), "widths": (4, 4, 4, 8, 8)},
  "vit_b16_tiny": {"depth": 1, "hidden_size": 8, "mlp_dim": 8},
  "mlp": {"features": (8,)},
  "lenet": {"widths": (4, 4), "features": (8,)},
  "preact_resnet18": {"stage_sizes": (1, 1), "width": 3, "final_norm": True},
  "vgg11": {"stage_sizes": (1, 2), "width": 3, "features": (8,)},
}
WITH_NORM = ("resnet50_tiny", "coatnet0_tiny", "preact_resnet18", "vgg11")


def create(name, **options):
  return models.create(name, 3, **{**SMALL[name], **options})


def random(shape, seed=0):
  return jnp.asarray(
    np.random.default_rng(seed).normal(size=shape), jnp.float32
  )


def randomized(model, x):
  """Variables of the model's shapes, none of them zero."""
  rng = np.random.default_rng(0)

  def draw(path, leaf):
    name = path[-1].key
    if name == "kernel":
      y = rng.normal(size=leaf.shape) / np.sqrt(np.prod(leaf.shape[:-1]))
    elif name in ("scale", "var"):
      y = rng.uniform(0.5, 1.5, leaf.shape)
    else:
      y = 0.2 * rng.normal(size=leaf.shape)
    return jnp.asarray(y, jnp.float32)

  spec = jax.eval_shape(model.init, jax.random.key(0), x)
  return jax.tree_util.tree_map_with_path(draw, spec)


def assert_close(actual, expected, rtol=2e-3, atol=2e-4):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol),
    actual,
    expected,
  )


def train(model, v, x, weight, parts=None, **options):
  """Logits, batch statistics, and the gradients of sum(weight * logits)."""

  def loss(params, x):
    logits, after = model.apply(
      {**v, "params": params},
      x,
      train=True,
      parts=parts,
      mutable=["batch_stats"],
      **options,
    )
    return jnp.sum(weight * logits), (logits, after)

  grads, aux = jax.grad(loss, (0, 1), has_aux=True)(v["params"], x)
  return *aux, *grads


# Eight replicas of two mixed and one clean example, gathered piece by piece.
REPLICAS, PARTS = 8, (2, 1)
SIZES = tuple(REPLICAS * size for size in PARTS)


def gather(x):
  join = lambda x: x.reshape(-1, *x.shape[2:])
  return jnp.concatenate([join(x[:, : PARTS[0]]), join(x[:, PARTS[0] :])])


class Case:
  """A model, its inputs by replica, and one pass over all of them."""

  def __init__(self, name):
    self.name = name
    shift = 0.2 * jnp.arange(8.0).reshape(8, 1, 1, 1, 1)
    self.x = random((REPLICAS, sum(PARTS), 32, 32, 3)) + shift
    self.x = self.x.at[:, PARTS[0] :].multiply(2.0)
    self.weight = random((REPLICAS, sum(PARTS), 3), seed=1)
    self.model = create(name)
    self.v = randomized(self.model, self.x[0])
    self.images, self.weights = gather(self.x), gather(self.weight)
    self.joint = jax.jit(
      lambda v, x, weight: train(self.model, v, x, weight, parts=SIZES)
    )(self.v, self.images, self.weights)


@pytest.fixture(scope="module", params=WITH_NORM)
def case(request):
  return Case(request.param)


def test_parts_are_separate_passes(case):
  @jax.jit
  def separate(v, x, weight):
    (x1, x2), (w1, w2) = (jnp.split(y, SIZES[:1]) for y in (x, weight))
    one = train(case.model, v, x1, w1)
    two = train(case.model, {**v, **one[1]}, x2, w2)
    join = lambda a, b: jnp.concatenate([a, b])
    add = lambda a, b: jax.tree.map(jnp.add, a, b)
    return (
      join(one[0], two[0]),
      two[1],
      add(one[2], two[2]),
      join(one[3], two[3]),
    )

  assert_close(case.joint, separate(case.v, case.images, case.weights))


def test_eight_devices_are_one_and_remat_changes_nothing(case):
  def per_replica(v, x, weight):
    model = create(case.name, axis_name="batch", remat="blocks")
    logits, after, params, images = train(model, v, x, weight, parts=PARTS)
    return logits, after, jax.lax.psum(params, "batch"), images

  mesh = jax.make_mesh(
    (REPLICAS,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,)
  )
  mapped = jax.shard_map(
    per_replica,
    mesh=mesh,
    in_specs=(P(), P("batch"), P("batch")),
    out_specs=(P("batch"), P(), P(), P("batch")),
    check_vma=False,
  )
  flat = lambda x: x.reshape(-1, *x.shape[2:])
  split = lambda x: x.reshape(REPLICAS, -1, *x.shape[1:])
  logits, *middle, images = jax.jit(mapped)(
    case.v, flat(case.x), flat(case.weight)
  )
  got = gather(split(logits)), *middle, gather(split(images))
  assert_close(got, case.joint)


def test_padded_rows_change_nothing(case):
  """As if they were left out; through recomputed blocks, too."""
  mask = np.arange(sum(SIZES)) % 4 != 1
  real = tuple(int(part.sum()) for part in np.split(mask, SIZES[:1]))
  assert real == (12, 6)
  remat = create(case.name, remat="blocks")
  weight = jnp.where(mask[:, None], case.weights, 0.0)
  logits, after, params, images = jax.jit(
    lambda v, x, weight, mask: train(
      remat, v, x, weight, parts=SIZES, mask=mask
    )
  )(case.v, case.images, weight, jnp.asarray(mask))
  expected = jax.jit(
    lambda v, x, weight: train(case.model, v, x, weight, parts=real)
  )(case.v, case.images[mask], case.weights[mask])
  assert_close((logits[mask], after, params, images[mask]), expected)
  # Counted, they would move the averages.
  moved = jax.tree.map(
    lambda a, b: jnp.max(jnp.abs(a - b)), after, case.joint[1]
  )
  assert min(jax.tree.leaves(moved)) > 1e-4


def test_directional_derivatives(case):
  """Exact MixupE takes jvp along images and then the gradient of that."""
  direction = random(case.images.shape, seed=2)

  def along(params, x, weight):
    f = lambda x: case.model.apply(
      {**case.v, "params": params},
      x,
      train=True,
      parts=SIZES,
      mutable=["batch_stats"],
    )[0]
    return jnp.sum(weight * jax.jvp(f, (x,), (direction,))[1])

  args = case.v["params"], case.images, case.weights
  # The same number in reverse: the images' gradient along the direction.
  expected = jnp.sum(case.joint[3] * direction)
  np.testing.assert_allclose(jax.jit(along)(*args), expected, rtol=1e-3)
  grads = jax.eval_shape(jax.grad(along), *args)
  assert jax.tree.structure(grads) == jax.tree.structure(case.v["params"])


@pytest.mark.parametrize("name", ["vit_b16_tiny", "mlp", "lenet"])
def test_models_without_batch_norm_ignore_parts_and_masks(name):
  model = create(name)
  x = random((4, 16, 16, 3))
  v = randomized(model, x)
  jaxpr = lambda **options: str(
    jax.make_jaxpr(lambda v, x: model.apply(v, x, **options))(v, x)
  )
  assert jaxpr(train=True, parts=(3, 1)) == jaxpr()
  assert jaxpr(train=True, mask=np.ones(4, bool)) == jaxpr()
  with pytest.raises(ValueError, match="parts must sum to the batch size 4"):
    model.apply(v, x, parts=(3, 2))
  with pytest.raises(ValueError, match=r"mask must have shape \(4,\)"):
    model.apply(v, x, mask=np.ones(3, bool))


@pytest.mark.parametrize("name", WITH_NORM)
def test_parts_and_masks_are_checked(name):
  model, x = create(name), random((4, 32, 32, 3))
  init = lambda x: model.init(jax.random.key(0), x, parts=(3, 2))
  with pytest.raises(ValueError, match="parts must sum to the batch size 4"):
    jax.eval_shape(init, x)
  init = lambda x: model.init(jax.random.key(0), x, mask=np.ones(4))
  with pytest.raises(TypeError, match="mask must be boolean"):
    jax.eval_shape(init, x)


def test_remat_draws_the_same_dropout():
  x, weight = random((4, 16, 16, 3)), random((4, 3), seed=1)
  options = {"dropout": 0.2, "drop_path": 0.2, "depth": 2}
  plain = create("vit_b16_tiny", **options)
  remat = create("vit_b16_tiny", remat="blocks", **options)
  v = randomized(plain, x)
  run = lambda model: jax.jit(
    lambda v, x, key: train(model, v, x, weight, rngs={"dropout": key})
  )(v, x, jax.random.key(0))
  assert_close(run(remat), run(plain), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [*WITH_NORM, "vit_b16_tiny"])
def test_remat_keeps_the_variables_and_recomputes_every_block(name):
  x = random((1, 32, 32, 3))
  plain, remat = create(name), create(name, remat="blocks")
  spec = lambda model: jax.eval_shape(model.init, jax.random.key(0), x)
  assert spec(plain) == spec(remat)
  count = lambda model: sum(
    equation.primitive.name in ("checkpoint", "remat", "remat2")
    for equation in jax.make_jaxpr(model.apply)(spec(model), x).eqns
  )
  blocks = sum("block" in key for key in spec(plain)["params"])
  assert (count(plain), count(remat)) == (0, blocks)


@pytest.mark.parametrize("name", SMALL)
def test_evaluation_sees_each_example_alone(name):
  model = create(name, **({"drop_path": 0.5} if name == "vit_b16_tiny" else {}))
  x = random((3, 32, 32, 3))
  v = randomized(model, x)
  apply = jax.jit(model.apply)
  logits = apply(v, x)
  others = apply(v, x.at[1:].multiply(5.0))
  np.testing.assert_allclose(others[0], logits[0], rtol=1e-4, atol=1e-5)
  assert np.all(np.abs(others[1] - logits[1]) > 1e-3)


@pytest.mark.parametrize("name", SMALL)
def test_no_retrace(name):
  model = create(name)
  x = random((4, 32, 32, 3))
  v = randomized(model, x)
  traces = []

  @jax.jit
  def apply(v, x):
    traces.append(None)
    return model.apply(v, x, parts=[3, 1])

  first = apply(v, x)
  apply(jax.tree.map(lambda leaf: 2 * leaf, v), x + 1)
  assert len(traces) == 1
  assert first.shape == (4, 3)
