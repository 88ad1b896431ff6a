"""Penalties through batch norm: each example's own derivative, and no zero."""

import functools

from flax import linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
import numpy as np
import pytest

import jaxmix
from jaxmix import taylor

B, D, K = 16, 3, 4
RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(B, D)) + 0.5, jnp.float32)
Y = jnp.asarray(RNG.integers(0, K, B))
PARAMS = {
  "in": jnp.asarray(RNG.normal(size=(D, 6)), jnp.float32),
  "scale": jnp.asarray(RNG.normal(size=6), jnp.float32),
  "out": jnp.asarray(RNG.normal(size=(6, K)), jnp.float32),
}


def statistics(params, x):
  h = x @ params["in"]
  return h.mean(axis=0), h.var(axis=0)


def normalised(params, x, moments, activation=jnp.tanh):
  mean, var = moments
  h = (x @ params["in"] - mean[None]) * jax.lax.rsqrt(var + 1e-5)[None]
  return activation(h * params["scale"][None]) @ params["out"]


def net(params, x, activation=jnp.tanh):
  """A user's own batch norm, its statistics marked."""
  moments = jaxmix.hold(statistics(params, x))
  return normalised(params, x, moments, activation)


def exact(apply, params, x=X, y=Y):
  return jaxmix.exact_directional_penalty(
    functools.partial(apply, params), x, y, 0.3
  )


def by_constants(params, x=X, y=Y):
  """Statistics of the parameters, but handed in: constants in x."""
  moments = statistics(params, x)
  apply = lambda x: normalised(params, x, moments)
  return jaxmix.exact_directional_penalty(apply, x, y, 0.3)


def test_of_a_users_own_batch_norm():
  found = exact(net, PARAMS)
  assert jnp.abs(found).mean() > 0.1
  np.testing.assert_allclose(found, by_constants(PARAMS), rtol=1e-5, atol=1e-6)
  # What it was: all examples moved at once, and the statistics with them.
  unmarked = lambda p, x: normalised(p, x, statistics(p, x))
  assert jnp.abs(exact(unmarked, PARAMS)).max() < 1e-3


def test_its_gradient_goes_through_the_statistics():
  size = lambda penalty: lambda p: jnp.mean(jnp.abs(penalty(p)))
  found = jax.grad(size(functools.partial(exact, net)))(PARAMS)
  expected = jax.grad(size(by_constants))(PARAMS)
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5),
    *(found, expected),
  )

  def cut(params):
    moments = jax.lax.stop_gradient(statistics(params, X))
    return exact(lambda p, x: normalised(p, x, moments), params)

  without = jax.grad(size(cut))(PARAMS)["in"]
  assert jnp.abs(without - found["in"]).max() > 0.01
  with jax.enable_x64(True):
    double = lambda leaf: jnp.asarray(np.asarray(leaf), jnp.float64)
    params, x = jax.tree.map(double, PARAMS), double(X)
    value = lambda p: float(size(functools.partial(exact, net, x=x))(p))
    step = 1e-3
    moved = lambda sign: params | {"in": params["in"] + sign * step}
    difference = (value(moved(1)) - value(moved(-1))) / (2 * step)
  np.testing.assert_allclose(found["in"].sum(), difference, rtol=1e-2)


def test_elsewhere_it_is_the_identity_and_leaves_no_trace():
  tree = {"mean": X, "var": X + 1.0}
  assert jaxmix.hold(tree) is tree
  gradient = lambda f: jax.grad(lambda x: jnp.sum(f(PARAMS, x) ** 2))(X)
  plain = lambda p, x: normalised(p, x, statistics(p, x))
  np.testing.assert_array_equal(gradient(net), gradient(plain))
  program = str(jax.make_jaxpr(lambda x: net(PARAMS, x))(X))
  assert "hold" not in program


def remat(params, x):
  return jax.checkpoint(net)(params, x)


def vmapped(params, x):
  # Over columns of the read-out: the mark has a batching rule.
  one = lambda column: net(params | {"out": column[:, None]}, x)[:, 0]
  return jax.vmap(one, in_axes=1, out_axes=1)(params["out"])


def looped(params, x):
  """Marked inside a loop, which differentiates its body by itself."""

  def body(carry, column):
    return carry, net(params | {"out": column[:, None]}, x)[:, 0]

  return jax.lax.scan(body, 0.0, params["out"].T)[1].T


@pytest.mark.parametrize("make", [lambda: jax.jit(net), lambda: remat])
@pytest.mark.parametrize("first", [False, True])
def test_functions_traced_before_are_traced_anew(make, first):
  """Else a jitted network would keep the program that has no marks."""
  apply = make()
  if first:
    apply(PARAMS, X)
    jax.grad(lambda p: apply(p, X).sum())(PARAMS)
  want = by_constants(PARAMS)
  np.testing.assert_allclose(exact(apply, PARAMS), want, rtol=1e-4, atol=1e-6)
  # Nor does the marked program serve a gradient outside.
  found = jax.grad(lambda x: (apply(PARAMS, x) ** 2).sum())(X)
  plain = lambda x: (normalised(PARAMS, x, statistics(PARAMS, x)) ** 2).sum()
  np.testing.assert_allclose(found, jax.grad(plain)(X), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("apply", [remat, vmapped, looped])
def test_under_transformations(apply):
  run = lambda params: jnp.mean(jnp.abs(exact(apply, params)))
  expected = lambda params: jnp.mean(jnp.abs(by_constants(params)))
  found, want = (
    jax.jit(jax.value_and_grad(f))(PARAMS) for f in (run, expected)
  )
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5),
    *(found, want),
  )


def test_a_mark_that_no_tangent_meets_cuts_no_gradient():
  def apply(params, x):
    # The scale's own mean: a function of the parameters alone.
    level = jaxmix.hold(params["scale"].mean())
    return level * (x @ params["in"] @ params["out"])

  unmarked = lambda p, x: p["scale"].mean() * (x @ p["in"] @ p["out"])
  found, want = (
    jax.grad(lambda p, f=f: jnp.sum(exact(f, p)))(PARAMS)["scale"]
    for f in (apply, unmarked)
  )
  assert jnp.abs(want).min() > 0.01
  np.testing.assert_allclose(found, want, rtol=1e-5)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_taylor_penalties_hold_at_every_order(order):
  activation = lambda h: jnp.minimum(jnp.tanh(h), 2.0)
  moments = statistics(PARAMS, X)
  run = lambda apply: jaxmix.taylor_penalty(apply, X, Y, 0.3, order=order)
  found = run(lambda x: net(PARAMS, x, activation))
  want = run(lambda x: normalised(PARAMS, x, moments, activation))
  assert jnp.abs(want).mean(axis=1).min() > 0.1
  np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-5)


MODEL = jaxmix.models.create("resnet8", 5, width=4)
IMAGES = jax.random.normal(jax.random.key(3), (32, 8, 8, 1))
CLASSES = jnp.arange(32) % 5


@functools.cache
def variables():
  found = MODEL.init(jax.random.key(2), IMAGES)
  keys = iter(jax.random.split(jax.random.key(5), 100))
  noisy = lambda leaf: leaf + 0.1 * jax.random.normal(next(keys), leaf.shape)
  return jax.tree.map(noisy, found["params"]), found["batch_stats"]


def resnet(params, x):
  """Logits in training, and the batch's statistics."""
  start = variables()[1]
  logits, moved = MODEL.apply(
    {"params": params, "batch_stats": start},
    *(x, True),
    mutable=["batch_stats"],
  )
  # momentum 0.9: what the running averages moved towards.
  found = jax.tree.map(
    lambda new, old: (new - 0.9 * old) / 0.1, moved["batch_stats"], start
  )
  return logits, found


def test_of_a_resnet():
  params = variables()[0]

  def held(params):
    penalty = jaxmix.exact_directional_penalty(
      lambda x: resnet(params, x)[0], IMAGES, CLASSES
    )
    return jnp.mean(jnp.abs(penalty)), penalty

  def by_running_averages(params):
    """In evaluation mode, the averages set to the batch's statistics."""
    state = resnet(params, IMAGES)[1]
    penalty = jaxmix.exact_directional_penalty(
      lambda x: MODEL.apply({"params": params, "batch_stats": state}, x),
      *(IMAGES, CLASSES),
    )
    return jnp.mean(jnp.abs(penalty)), penalty

  (size, found), slope = jax.jit(jax.value_and_grad(held, has_aux=True))(params)
  (_, want), expected = jax.jit(
    jax.value_and_grad(by_running_averages, has_aux=True)
  )(params)
  assert size > 0.1
  np.testing.assert_allclose(found, want, atol=1e-3)
  flat = lambda tree: jax.flatten_util.ravel_pytree(tree)[0]
  slope, expected = flat(slope), flat(expected)
  cosine = slope @ expected / jnp.linalg.norm(slope)
  np.testing.assert_allclose(cosine, jnp.linalg.norm(expected), rtol=1e-3)

  # One example at a time, by central differences. Its own share of the
  # statistics, 1 / 32 of them, moves too: hence not equal, but close.
  forward = jax.jit(lambda x: resnet(params, x)[0])
  step, alone = 1e-2, []
  for k in range(len(IMAGES)):
    ends = [
      forward(IMAGES.at[k].multiply(1.0 - sign * step))[k] for sign in (1, -1)
    ]
    residual = jax.nn.softmax(forward(IMAGES)[k]) - jax.nn.one_hot(
      CLASSES[k], 5
    )
    alone.append(residual @ (ends[0] - ends[1]) / (2 * step))
  alone = jnp.stack(alone)
  assert jnp.corrcoef(alone, found)[0, 1] > 0.98
  np.testing.assert_allclose(jnp.abs(alone).mean(), size, rtol=0.1)


class Small(nn.Module):
  """Dense, batch norm over replicas and parts, dense."""

  axis_name: str | None

  @nn.compact
  def __call__(self, x, parts=None):
    h = nn.Dense(6)(x)
    h = jaxmix.models.BatchNorm(False, axis_name=self.axis_name)(h, parts=parts)
    return nn.Dense(K)(nn.tanh(h))


@pytest.mark.parametrize("penalty", ["exact", "taylor"])
@pytest.mark.parametrize(
  ("mapping", "clean_pass"),
  [("pmap", "split"), (False, "joint"), (True, "separate")],
)
def test_one_and_eight_replicas_agree(penalty, mapping, clean_pass):
  """By pmap, and by shard_map with and without check_vma."""
  start = Small(None).init(jax.random.key(0), X)
  lam = jnp.linspace(0.1, 0.9, B)

  def part(params, x, y, lam, axis_name):
    # Each with itself, so that who meets whom does not hang on the division.
    plan = jaxmix.MixPlan(lam, lam, jnp.arange(len(x)), 1 / 3)

    def apply(x, parts=None):
      return Small(axis_name).apply(
        start | {"params": params}, x, parts, mutable=["batch_stats"]
      )[0]

    loss, aux = jaxmix.mixupe_loss(
      apply,
      *(x, y, plan),
      eta=0.7,
      penalty=penalty,
      clean_pass=clean_pass,
      axis_name=axis_name,
    )
    if axis_name is not None:
      loss = jax.lax.pmean(loss, axis_name)
    return loss, aux.penalty

  def run(params, x, y, lam, axis_name="batch"):
    fun = lambda p: part(p, x, y, lam, axis_name)
    (_, penalty), grads = jax.value_and_grad(fun, has_aux=True)(params)
    if mapping is not True and axis_name is not None:
      grads = jax.tree.map(lambda g: jax.lax.psum(g, axis_name) / 8, grads)
    return penalty, grads

  arguments = (start["params"], X, Y, lam)
  want = jax.jit(functools.partial(run, axis_name=None))(*arguments)
  if mapping == "pmap":
    spread = lambda v: v.reshape(8, B // 8, *v.shape[1:])
    params, *rest = arguments
    found = jax.pmap(run, "batch", in_axes=(None, 0, 0, 0))(
      params, *map(spread, rest)
    )
    found = jax.tree.map(lambda leaf: leaf[0], found)
  else:
    mesh = Mesh(np.array(jax.devices()), ("batch",))
    found = jax.jit(
      jax.shard_map(
        run,
        mesh=mesh,
        in_specs=(P(), *[P("batch")] * 3),
        out_specs=P(),
        check_vma=mapping,
      )
    )(*arguments)
  assert want[0] > 0.05
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5),
    *(found, want),
  )


def test_derivatives_outside_a_penalty_do_not_hold():
  first = taylor.derivatives(lambda x: net(PARAMS, x), X, 0.3 - X, 1)[1]
  assert jnp.abs(first).max() < 1e-3
