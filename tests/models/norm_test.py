"""Tests of jaxmix.models.norm."""

import functools

from flax import linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P
import numpy as np
import pytest

from jaxmix.models.norm import BatchNorm, part_sizes


def random(shape, seed=0, mean=0.0, std=1.0):
  x = np.random.default_rng(seed).normal(mean, std, shape)
  return jnp.asarray(x, jnp.float32)


def variables(channels, seed=10):
  rng = np.random.default_rng(seed)
  draw = lambda low, high: jnp.asarray(
    rng.uniform(low, high, channels), jnp.float32
  )
  return {
    "params": {"scale": draw(0.5, 2), "bias": draw(-1, 1)},
    "batch_stats": {"mean": draw(-1, 1), "var": draw(0.5, 2)},
  }


def assert_close(actual, expected, **tolerance):
  tolerance = {"rtol": 2e-5, "atol": 2e-5, **tolerance}
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, **tolerance), actual, expected
  )


@pytest.mark.parametrize("run", [lambda f: f, jax.jit], ids=["eager", "jit"])
@pytest.mark.parametrize(
  ("parts", "y", "mean", "var"),
  [
    # Pieces [1, 3] and [10, 30]: means 2 and 20, variances 1 and 100.
    ((2, 2), [-1, 3, -1, 3], 0.9 * 0.2 + 2.0, 0.9 * 1.0 + 10.0),
    # One piece: mean 11, variance (10^2 + 8^2 + 1 + 19^2) / 4 = 131.5.
    (None, None, 1.1, 0.9 + 13.15),
  ],
)
def test_by_hand(run, parts, y, mean, var):
  x = jnp.array([[1.0], [3.0], [10.0], [30.0]])
  norm = BatchNorm(use_running_average=False, epsilon=0.0)
  before = norm.init(jax.random.key(0), x)
  before["params"] = {"scale": jnp.array([2.0]), "bias": jnp.array([1.0])}
  apply = lambda v, x: norm.apply(v, x, parts=parts, mutable=["batch_stats"])
  got, after = run(apply)(before, x)
  if y is None:
    y = 1 + 2 * (np.ravel(x) - 11) / np.sqrt(131.5)
  np.testing.assert_allclose(got[:, 0], y, rtol=1e-6)
  np.testing.assert_allclose(after["batch_stats"]["mean"], [mean], rtol=1e-6)
  np.testing.assert_allclose(after["batch_stats"]["var"], [var], rtol=1e-6)


@pytest.mark.parametrize("shape", [(12, 3), (6, 4, 5, 3)])
@pytest.mark.parametrize("train", [True, False])
def test_is_linens_for_one_piece(shape, train):
  x, direction = random(shape, mean=0.5), random(shape, seed=1)
  v = variables(3)

  def results(norm):
    def loss(params, x):
      y, after = norm.apply({**v, "params": params}, x, mutable=["batch_stats"])
      return jnp.sum(jnp.sin(3 * y)), (y, after)

    grads, aux = jax.grad(loss, (0, 1), has_aux=True)(v["params"], x)
    forward = lambda x: loss(v["params"], x)[1][0]
    return grads, aux, jax.jvp(forward, (x,), (direction,))[1]

  options = dict(use_running_average=not train, momentum=0.8, epsilon=1e-3)
  ours, linens = BatchNorm(**options), nn.BatchNorm(**options)
  results = jax.jit(results, static_argnums=0)
  assert_close(results(ours), results(linens))
  # Checkpoints may move between the two.
  spec = lambda norm: jax.eval_shape(norm.init, jax.random.key(0), x)
  assert spec(ours) == spec(linens)


def numpy_batch_norm(v, x, parts, momentum, epsilon, mask=None):
  """Pieces one after the other, in float64; statistics of real rows alone."""
  v = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), v)
  x = np.asarray(x, np.float64)
  mean, var = v["batch_stats"]["mean"], v["batch_stats"]["var"]
  pieces, stops = [], np.cumsum(parts)[:-1]
  mask = np.ones(len(x), bool) if mask is None else np.asarray(mask)
  for piece, real in zip(
    np.split(x, stops), np.split(mask, stops), strict=True
  ):
    rows = piece[real].reshape(-1, x.shape[-1])
    normal = (piece - rows.mean(0)) / np.sqrt(rows.var(0) + epsilon)
    pieces.append(v["params"]["scale"] * normal + v["params"]["bias"])
    mean = momentum * mean + (1 - momentum) * rows.mean(0)
    var = momentum * var + (1 - momentum) * rows.var(0)
  return np.concatenate(pieces), {"mean": mean, "var": var}


@pytest.mark.parametrize("parts", [(7,), (5, 2), (1, 2, 4)])
@pytest.mark.parametrize("run", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_is_the_numpy_reference(run, parts):
  x, v = random((7, 3, 2, 5), mean=2.0), variables(5)
  x = x * jnp.arange(1.0, 8.0).reshape(7, 1, 1, 1)
  norm = BatchNorm(use_running_average=False, momentum=0.7, epsilon=1e-2)
  apply = lambda v, x: norm.apply(v, x, parts=parts, mutable=["batch_stats"])
  y, after = run(apply)(v, x)
  expected = numpy_batch_norm(v, x, parts, momentum=0.7, epsilon=1e-2)
  assert_close((y, after["batch_stats"]), expected)


MASK = np.array([True, False, True, True, False, True, True])


@pytest.mark.parametrize("parts", [(7,), (5, 2), (3, 1, 3)])
@pytest.mark.parametrize("run", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_masked_statistics_are_the_numpy_reference(run, parts):
  x, v = random((7, 3, 2, 5), mean=2.0), variables(5)
  x = x * jnp.arange(1.0, 8.0).reshape(7, 1, 1, 1)
  norm = BatchNorm(use_running_average=False, momentum=0.7, epsilon=1e-2)
  apply = lambda v, x, mask: norm.apply(
    v, x, parts=parts, mask=mask, mutable=["batch_stats"]
  )
  y, after = run(apply)(v, x, MASK)
  expected = numpy_batch_norm(v, x, parts, 0.7, 1e-2, MASK)
  assert_close((y, after["batch_stats"]), expected)


@pytest.mark.parametrize("padding", ["zeros", "large"])
@pytest.mark.parametrize("real", [None, (3, 2)])
@pytest.mark.parametrize("channels_only", [True, False])
def test_a_padded_batch_is_the_unpadded_one(padding, real, channels_only):
  """Forward and backward, with padded rows between and behind the real."""
  shape = (4,) if channels_only else (3, 2, 4)
  x, weight, v = (
    random((5, *shape), mean=1.0),
    random((5, *shape), 1),
    (variables(4)),
  )
  # Three real rows, two, or all five, with a padded one before the last.
  rows = np.array([0, 1, 3, 5, 7])
  mask = np.isin(np.arange(8), rows)
  fill = 0.0 if padding == "zeros" else 1e4
  padded = jnp.full((8, *shape), fill).at[rows].set(x)
  norm = BatchNorm(use_running_average=False)

  @functools.partial(jax.jit, static_argnames="parts")
  def results(v, x, weight, parts, mask=None):
    def loss(params, x):
      y, after = norm.apply(
        {**v, "params": params},
        x,
        parts=parts,
        mask=mask,
        mutable=["batch_stats"],
      )
      return jnp.sum(weight * y), (y, after["batch_stats"])

    return jax.grad(loss, (0, 1), has_aux=True)(v["params"], x)

  weights = jnp.zeros_like(padded).at[rows].set(weight)
  parts = None if real is None else (4, 4)
  (dv, dx), (y, stats) = results(v, padded, weights, parts, jnp.asarray(mask))
  expected = results(v, x, weight, real)
  assert_close(((dv, dx[rows]), (y[rows], stats)), expected, atol=1e-4)
  # Padded rows have no part in it.
  np.testing.assert_array_equal(dx[~mask], np.zeros_like(dx[~mask]))


@pytest.mark.parametrize("train", [True, False])
def test_masked_is_linens(train):
  x, v, mask = random((7, 3, 2, 5), mean=0.5), variables(5), jnp.asarray(MASK)
  options = dict(use_running_average=not train, momentum=0.8, epsilon=1e-3)
  run = lambda norm, mask: norm.apply(v, x, mask=mask, mutable=["batch_stats"])
  ours = run(BatchNorm(**options), mask)
  assert_close(
    ours, run(nn.BatchNorm(**options), mask.reshape(-1, 1, 1, 1)), atol=1e-4
  )
  np.testing.assert_array_equal(
    run(BatchNorm(**options), MASK)[0],
    ours[0],  # a NumPy mask is as good
  )


@pytest.mark.parametrize("run", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_a_piece_without_real_rows_takes_and_keeps_the_averages(run):
  x, v = random((6, 3), mean=3.0), variables(3)
  norm = BatchNorm(use_running_average=False)
  apply = lambda mask, parts: norm.apply(
    v, x, mask=mask, parts=parts, mutable=["batch_stats"]
  )
  y, after = run(lambda mask: apply(mask, None))(jnp.zeros(6, bool))
  frozen = BatchNorm(use_running_average=True).apply(v, x)
  np.testing.assert_allclose(y, frozen, rtol=1e-6)
  jax.tree.map(
    np.testing.assert_array_equal, after["batch_stats"], v["batch_stats"]
  )
  # The other piece is normalised and counted as it would be alone.
  y, after = run(lambda mask: apply(mask, (4, 2)))(jnp.arange(6) < 4)
  alone, moved = norm.apply(v, x[:4], mutable=["batch_stats"])
  assert_close((y[:4], after), (alone, moved))
  np.testing.assert_allclose(y[4:], frozen[4:], rtol=1e-6)
  grads = jax.grad(lambda x: jnp.sum(apply_sin(norm, v, x)))(x)
  assert np.isfinite(grads).all()


def apply_sin(norm, v, x):
  return jnp.sin(
    norm.apply(v, x, mask=jnp.zeros(6, bool), mutable=["batch_stats"])[0]
  )


@pytest.mark.parametrize("shape", [(10, 4), (10, 3, 3, 4)])
def test_parts_are_consecutive_calls(shape):
  x, weight = random(shape, mean=1.0), random(shape, seed=1)
  x = x.at[6:].multiply(3.0)
  v = variables(4)
  norm = BatchNorm(use_running_average=False)

  def joint(params, x):
    y, after = norm.apply(
      {**v, "params": params}, x, parts=(6, 4), mutable=["batch_stats"]
    )
    return jnp.sum(weight * y), (y, after["batch_stats"])

  def separate(params, x, order=(0, 1)):
    stats, ys, pieces = v["batch_stats"], [None, None], (x[:6], x[6:])
    for index in order:
      ys[index], after = norm.apply(
        {"params": params, "batch_stats": stats},
        pieces[index],
        mutable=["batch_stats"],
      )
      stats = after["batch_stats"]
    y = jnp.concatenate(ys)
    return jnp.sum(weight * y), (y, stats)

  run = lambda f: jax.jit(jax.grad(f, (0, 1), has_aux=True))(v["params"], x)
  assert_close(run(joint), run(separate), atol=1e-4)
  # The order shows: had the pieces moved the averages the other way round, the
  # first piece would weigh more.
  swapped = run(functools.partial(separate, order=(1, 0)))
  gap = jnp.abs(run(joint)[1][1]["var"] - swapped[1][1]["var"])
  assert gap.max() > 0.02


def test_parts_do_not_matter_in_evaluation():
  x, v = random((6, 4)), variables(4)
  norm = BatchNorm(use_running_average=True)
  got = norm.apply(v, x, parts=(4, 2))
  np.testing.assert_array_equal(got, norm.apply(v, x))


def mapped_by_pmap(f):
  split = lambda x: x.reshape(8, -1, *x.shape[1:])

  def run(v, x, weight):
    y, stats, grad_params, grad_x = jax.pmap(
      f, axis_name="batch", in_axes=(None, 0, 0)
    )(v, split(x), jax.tree.map(split, weight))
    first = lambda tree: jax.tree.map(lambda leaf: leaf[0], tree)
    join = lambda leaf: leaf.reshape(x.shape)
    return join(y), first(stats), first(grad_params), join(grad_x)

  return run


def mapped_by_shard_map(f):
  mesh = jax.make_mesh(
    (8,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,)
  )
  return jax.jit(
    jax.shard_map(
      f,
      mesh=mesh,
      in_specs=(P(), P("batch"), P("batch")),
      out_specs=(P("batch"), P(), P(), P("batch")),
      check_vma=False,
    )
  )


@pytest.mark.parametrize("mapped", [mapped_by_pmap, mapped_by_shard_map])
@pytest.mark.parametrize("parts", [None, (5, 3)])
@pytest.mark.parametrize("masked", [False, True])
def test_eight_devices_of_eight_are_one_of_64(mapped, parts, masked):
  # Replicas differ, so that statistics of their own would show.
  x = random((8, 8, 2, 4)) + jnp.arange(8.0).reshape(8, 1, 1, 1)
  weight, v = random(x.shape, seed=1), variables(4)
  # 8 real rows on one replica, 7 to 1 on others, none on the last.
  mask = jnp.arange(8)[None] < jnp.array([8, 7, 6, 5, 2, 2, 1, 0])[:, None]

  def outputs(norm, parts, v, x, weighted):
    weight, mask = weighted

    def loss(params, x):
      y, after = norm.apply(
        {**v, "params": params},
        x,
        parts=parts,
        mask=mask if masked else None,
        mutable=["batch_stats"],
      )
      return jnp.sum(weight * y), (y, after["batch_stats"])

    grads, (y, stats) = jax.grad(loss, (0, 1), has_aux=True)(v["params"], x)
    return y, stats, *grads

  def per_replica(v, x, weighted):
    norm = BatchNorm(use_running_average=False, axis_name="batch")
    y, stats, grad_params, grad_x = outputs(norm, parts, v, x, weighted)
    return y, stats, jax.lax.psum(grad_params, "batch"), grad_x

  flat = lambda x: x.reshape(-1, *x.shape[2:])
  y, stats, grad_params, grad_x = mapped(per_replica)(
    v, flat(x), (flat(weight), flat(mask))
  )

  # On one device a piece is the concatenation of the replicas' pieces.
  stops = [8] if parts is None else [parts[0], 8]
  starts = [0, *stops[:-1]]
  gather = lambda x: jnp.concatenate(
    [flat(x[:, i:j]) for i, j in zip(starts, stops, strict=True)]
  )
  expected = outputs(
    BatchNorm(use_running_average=False),
    None if parts is None else tuple(8 * size for size in parts),
    v,
    gather(x),
    (gather(weight), gather(mask)),
  )
  split = lambda x: x.reshape(8, 8, *x.shape[1:])
  got = gather(split(y)), stats, grad_params, gather(split(grad_x))
  assert_close(got, expected, atol=1e-4)


@pytest.mark.parametrize("parts", [None, (5, 3)])
@pytest.mark.parametrize("mask", [None, np.ones(8, bool)])
def test_one_collective_a_layer(parts, mask):
  norm = BatchNorm(use_running_average=False, axis_name="batch")
  apply = lambda v, x: norm.apply(
    v, x, parts=parts, mask=mask, mutable=["batch_stats"]
  )
  jaxpr = jax.make_jaxpr(apply, axis_env=[("batch", 8)])(
    variables(4), random((8, 4))
  )
  names = [equation.primitive.name for equation in jaxpr.eqns]
  assert sum("psum" in name for name in names) == 1


def test_initialization_needs_no_axis_and_keeps_averages():
  norm = BatchNorm(use_running_average=False, axis_name="batch")
  v = norm.init(jax.random.key(0), random((8, 4), mean=3.0), parts=(4, 4))
  np.testing.assert_array_equal(v["batch_stats"]["mean"], np.zeros(4))
  np.testing.assert_array_equal(v["batch_stats"]["var"], np.ones(4))


def test_evaluation_needs_no_axis():
  norm = BatchNorm(use_running_average=True, axis_name="batch")
  norm.apply(variables(4), random((8, 4)))


@pytest.mark.parametrize("parts", [None, (3, 2)])
def test_variance_is_not_negative(parts):
  x = jnp.broadcast_to(random((64,), mean=1e3, std=100.0), (5, 64))
  raw = jnp.mean(x * x, axis=0) - jnp.mean(x, axis=0) ** 2
  assert raw.min() < -1e-3  # Far below -epsilon: rsqrt of it is NaN.
  norm = BatchNorm(use_running_average=False, scale_init=nn.initializers.zeros)
  v = norm.init(jax.random.key(0), x)
  y, after = norm.apply(v, x, parts=parts, mutable=["batch_stats"])
  np.testing.assert_array_equal(y, np.zeros_like(x))
  # Without a clamp the running variance would fall below its decayed start.
  floor = 0.9 if parts is None else 0.9**2
  assert np.all(after["batch_stats"]["var"] >= floor - 1e-6)


@pytest.mark.parametrize("parts", [None, (300, 212)])
def test_bfloat16_is_only_the_width_of_the_ends(parts):
  # Mean 16 standard deviations from 0: an affine map, or statistics, rounded to
  # bfloat16 (8 bits) would be off by 16 / 256 standard deviations.
  x = random((512, 4), mean=16.0).astype(jnp.bfloat16)
  v = variables(4)
  norm = BatchNorm(use_running_average=False)
  y, after = norm.apply(v, x, parts=parts, mutable=["batch_stats"])
  assert y.dtype == jnp.bfloat16
  expected, stats = numpy_batch_norm(
    v, x.astype(jnp.float32), parts or (512,), 0.9, 1e-5
  )
  np.testing.assert_allclose(
    y.astype(jnp.float32), expected, rtol=2**-8, atol=1e-3
  )
  assert_close(after["batch_stats"], stats, rtol=1e-4)


@pytest.mark.parametrize(
  ("given", "dtype", "expected"),
  [
    (jnp.float32, jnp.bfloat16, jnp.bfloat16),
    (jnp.bfloat16, jnp.float32, jnp.float32),
    (jnp.float16, None, jnp.float16),
  ],
)
def test_dtypes(given, dtype, expected):
  norm = BatchNorm(use_running_average=False, dtype=dtype)
  y, v = norm.init_with_output(jax.random.key(0), jnp.ones((4, 2), given))
  assert y.dtype == expected
  assert {leaf.dtype for leaf in jax.tree.leaves(v)} == {jnp.dtype("float32")}


def test_unbound_axis_is_named():
  norm = BatchNorm(use_running_average=False, axis_name="replicas")
  with pytest.raises(ValueError, match="axis_name='replicas' is not bound"):
    norm.apply(variables(4), random((8, 4)), mutable=["batch_stats"])


@pytest.mark.parametrize("average", [True, False])
@pytest.mark.parametrize(
  ("parts", "error", "message"),
  [
    ((5, 2), ValueError, r"sum to the batch size 8, got \(5, 2\).*sum to 7"),
    ((9, -1), ValueError, r"parts must be positive, got \(9, -1\)"),
    ((8, 0), ValueError, r"parts must be positive, got \(8, 0\)"),
    ((4.0, 4.0), TypeError, "parts must be a tuple of static integers"),
  ],
)
def test_wrong_parts(average, parts, error, message):
  norm = BatchNorm(use_running_average=average)
  with pytest.raises(error, match=message):
    norm.apply(variables(4), random((8, 4)), parts=parts, mutable=True)


@pytest.mark.parametrize("average", [True, False])
@pytest.mark.parametrize(
  ("mask", "error", "message"),
  [
    (np.ones(7, bool), ValueError, r"mask must have shape \(8,\).*got \(7,\)"),
    (np.ones((8, 1), bool), ValueError, r"mask must have shape \(8,\)"),
    (np.ones(8), TypeError, "mask must be boolean"),
  ],
)
def test_wrong_masks(average, mask, error, message):
  norm = BatchNorm(use_running_average=average)
  with pytest.raises(error, match=message):
    norm.apply(variables(4), random((8, 4)), mask=mask, mutable=True)


def test_traced_parts():
  with pytest.raises(TypeError, match="static integers.*static_argnames"):
    jax.jit(lambda parts: part_sizes(parts, 8))((4, 4))


def test_part_sizes():
  assert part_sizes(None, 8) == (8,)
  assert part_sizes([np.int64(6), 2], 8) == (6, 2)
