"""mixupe_value_and_grad: the gradient of separate passes, one at a time."""

import dataclasses
import functools

import jax
from jax.extend import core
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
import numpy as np
import pytest

import jaxmix
from jaxmix import penalties

RNG = np.random.default_rng(0)
B, D, K = 8, 3, 4
X = jnp.asarray(RNG.normal(size=(B, D)), jnp.float32)
Y = jnp.asarray(RNG.integers(0, K, B))
PARAMS = {
  "in": jnp.asarray(RNG.normal(size=(D, 5)), jnp.float32),
  "out": jnp.asarray(RNG.normal(size=(5, K)), jnp.float32),
}
MASK = jnp.array([True, True, False, True, False, True, True, True])


def net(params, x):
  return jnp.tanh(x @ params["in"]) @ params["out"]


def smoothed(logits, labels):
  return jaxmix.losses.softmax_cross_entropy(
    logits, labels, label_smoothing=0.1
  )


def plan_of(mask=None):
  lam = jnp.linspace(0.1, 0.9, B)
  partner = jnp.roll(jnp.arange(B), 1)
  return jaxmix.MixPlan(lam, lam, partner, 1 / 3, mask)


def whole(params, x=X, labels=Y, plan=None, apply=net, **options):
  """By differentiating the loss."""

  def loss(params):
    return jaxmix.mixupe_loss(
      functools.partial(apply, params),
      x,
      labels,
      plan_of() if plan is None else plan,
      clean_pass="separate",
      **options,
    )

  return jax.jit(jax.value_and_grad(loss, has_aux=True))(params)


def in_turn(params, x=X, labels=Y, plan=None, apply=net, **options):
  return jaxmix.mixupe_value_and_grad(
    apply, params, x, labels, plan_of() if plan is None else plan, **options
  )


def assert_close(got, want, rtol=1e-5, atol=1e-6):
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=rtol, atol=atol),
    *(got, want),
  )


OPTIONS = {
  "default": {},
  "fraction": {"clean_fraction": 0.3},
  "mask and fraction": {"plan": plan_of(MASK), "clean_fraction": 0.5},
  "mask": {"plan": plan_of(MASK[::-1])},
  "exact": {"penalty": penalties.exact(0.4)},
  "taylor": {"penalty": penalties.taylor(3), "clean_fraction": 0.5},
  "moments": {"penalty": penalties.taylor(moments=jnp.array([1.0, 0.3, 0.2]))},
  "release": {"penalty": penalties.release(0.1)},
  "control": {"eta": 0.0},
  "negative": {"eta": -40.0},
  "smoothed": {"loss_fn": smoothed},
  "not rescaled": {"rescale": False},
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize(
  "transform", [lambda f: f, jax.jit], ids=["eager", "jit"]
)
def test_is_the_gradient_of_separate_passes(name, transform):
  options = {"eta": 0.7, **OPTIONS[name]}
  want = jax.jit(lambda p: whole(p, **options))(PARAMS)
  got = transform(lambda p: in_turn(p, **options))(PARAMS)
  assert_close(got, want)


def test_values_on_the_way_carry_their_gradients():
  """L + eta R may be differentiated through aux, or by rescale=False."""
  (value, aux), scaled = whole(PARAMS, eta=0.7)
  want = jax.tree.map(lambda g: g / aux.scale, scaled)
  assert aux.scale < 0.95 and jnp.max(jnp.abs(want["out"])) > 0.1

  def through_aux(params):
    return jaxmix.mixupe_loss(
      functools.partial(net, params), X, Y, plan_of(), eta=0.7
    )[1]

  slopes = jax.jacrev(lambda p: through_aux(p)[:3])(PARAMS)
  both = jax.tree.map(lambda a, b: a + 0.7 * b, *slopes[:2])
  assert_close(both, want)
  assert_close(slopes[2], jax.tree.map(jnp.zeros_like, want))
  (total, plain), unscaled = whole(PARAMS, eta=0.7, rescale=False)
  np.testing.assert_allclose(total, value / aux.scale, rtol=1e-6)
  assert plain.scale == 1.0
  assert_close(unscaled, want)


def test_sweeps_over_eta():
  etas = jnp.array([0.0, 0.5, 3.0])
  got = jax.jit(jax.vmap(lambda eta: in_turn(PARAMS, eta=eta)))(etas)
  for k, eta in enumerate(etas):
    want = whole(PARAMS, eta=eta)
    assert_close(jax.tree.map(lambda leaf, k=k: leaf[k], got), want)


def test_bfloat16_parameters_have_bfloat16_gradients():
  params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), PARAMS)
  (loss, _), grads = in_turn(params, X.astype(jnp.bfloat16), eta=0.7)
  assert loss.dtype == jnp.float32
  assert all(leaf.dtype == jnp.bfloat16 for leaf in jax.tree.leaves(grads))
  want = whole(params, X.astype(jnp.bfloat16), eta=0.7)[1]
  to_float = lambda tree: jax.tree.map(lambda leaf: leaf.astype(float), tree)
  assert_close(to_float(grads), to_float(want), rtol=0.05, atol=0.02)


def test_double_parameters_have_double_gradients():
  with jax.enable_x64(True):
    double = lambda leaf: jnp.asarray(np.asarray(leaf), jnp.float64)
    lam = double(plan_of().lam)
    plan = dataclasses.replace(plan_of(), lam=lam, weight=lam)
    params = jax.tree.map(double, PARAMS)
    run = jax.jit(functools.partial(in_turn, eta=0.7))
    _, grads = run(params, double(X), plan=plan)
    assert grads["in"].dtype == jnp.float64
    assert_close(grads, run(PARAMS)[1])


@pytest.mark.parametrize("penalty", ["approximate", "exact", "taylor"])
def test_mixed_first_then_clean_with_the_state(penalty):
  seen = []

  def apply(params, x, state=0.0):
    seen.append(x.shape)
    return net(params, x), 2.0 * state + jnp.sum(x)

  (_, aux), _ = in_turn(
    PARAMS,
    apply=apply,
    eta=1.0,
    clean_fraction=0.5,
    penalty=penalty,
    has_aux=True,
  )
  assert seen[0] == (B, D) and set(seen[1:]) == {(4, D)}
  expected = 2.0 * jnp.sum(plan_of().mix(X)) + jnp.sum(X[:4])
  np.testing.assert_allclose(aux.aux, expected, rtol=1e-5)


def test_replicas_average_to_the_whole_batch():
  """Kappa is that of all replicas, even where they hold different numbers."""
  halves = lambda leaf: leaf.reshape(2, B // 2, *leaf.shape[1:])
  x, labels, mask = map(halves, (X, Y, MASK))

  def replica(x, labels, mask, start):
    lam = jax.lax.dynamic_slice(plan_of().lam, (start,), (B // 2,))
    partner = jnp.roll(jnp.arange(B // 2), 1)
    plan = jaxmix.MixPlan(lam, lam, partner, 1 / 3, mask)
    (loss, aux), grads = in_turn(
      PARAMS, x, labels, plan, eta=5.0, axis_name="r"
    )
    return (jax.lax.pmean(loss, "r"), grads), aux.scale

  starts = jnp.array([0, B // 2])
  mapped = jax.jit(jax.vmap(replica, axis_name="r"))
  (loss, grads), scale = mapped(x, labels, mask, starts)
  partner = jnp.concatenate([jnp.roll(jnp.arange(4), 1) + k for k in (0, 4)])
  plan = dataclasses.replace(plan_of(MASK), partner=partner)
  (want_loss, want), want_grads = whole(PARAMS, plan=plan, eta=5.0)
  np.testing.assert_allclose(scale, jnp.full(2, want.scale), rtol=1e-6)
  np.testing.assert_allclose(loss, jnp.full(2, want_loss), rtol=1e-6)
  both = lambda leaf: jnp.stack([leaf, leaf])
  assert_close(grads, jax.tree.map(both, want_grads))


@pytest.mark.parametrize("check_vma", [False, True])
def test_under_shard_map(check_vma):
  """Averaged, also where it sums those of replicated parameters by itself."""
  count = 4
  mesh = Mesh(np.array(jax.devices()[:count]), ("r",))

  def replica(params, x, labels, lam):
    plan = jaxmix.MixPlan(lam, lam, jnp.array([1, 0]), 1 / 3)
    (loss, _), grads = in_turn(params, x, labels, plan, eta=0.7, axis_name="r")
    return jax.lax.pmean(loss, "r"), grads

  loss, grads = jax.jit(
    jax.shard_map(
      replica,
      mesh=mesh,
      in_specs=(P(), P("r"), P("r"), P("r")),
      out_specs=P(),
      check_vma=check_vma,
    )
  )(PARAMS, X, Y, plan_of().lam)
  partner = jnp.arange(B).reshape(count, 2)[:, ::-1].reshape(-1)
  plan = dataclasses.replace(plan_of(), partner=partner)
  (want_loss, _), want = whole(PARAMS, plan=plan, eta=0.7)
  np.testing.assert_allclose(loss, want_loss, rtol=1e-6)
  assert_close(grads, want)


def test_the_clean_pass_begins_after_the_mixed_gradient():
  """A barrier stands between them, and nothing of the clean pass goes round it.

  (XLA's CPU compiler drops barriers before it schedules; TPU's does not.)
  """

  def mixup(params):
    targets = plan_of().targets(Y)
    cross_entropy = jaxmix.losses.softmax_cross_entropy
    logits = net(params, plan_of().mix(X))
    return jnp.mean(jaxmix.mixed_loss(cross_entropy, logits, targets))

  def products(equations):
    names = [equation.primitive.name for equation in equations]
    return names.count("dot_general") + names.count("tanh")

  jaxpr = jax.make_jaxpr(lambda p, x: in_turn(p, x, eta=0.7))(PARAMS, X).jaxpr
  names = [equation.primitive.name for equation in jaxpr.eqns]
  (barrier,) = (k for k, n in enumerate(names) if n == "optimization_barrier")
  alone = jax.make_jaxpr(jax.value_and_grad(mixup))(PARAMS).jaxpr
  before, after = jaxpr.eqns[:barrier], jaxpr.eqns[barrier + 1 :]
  assert products(before) == products(alone.eqns) > 0
  assert products(after) == products(before)
  # Its inputs, the last of the arguments, have come through; so must have all
  # of the first gradient before them.
  used = {id(v) for equation in after for v in equation.invars}
  assert id(jaxpr.invars[-1]) not in used
  assert len(jaxpr.eqns[barrier].invars) == 1 + len(PARAMS)


@pytest.mark.parametrize(
  ("options", "error", "message"),
  [
    ({"x": X[:4]}, ValueError, "'x': 4, 'labels': 8, 'plan': 8"),
    ({"x": jnp.zeros((B, D), int)}, TypeError, "x must be floating point"),
    ({"clean_fraction": 0.0}, ValueError, "clean_fraction must lie in"),
    ({"penalty": "first"}, ValueError, "penalty must be one of"),
    ({"x": {"a": X}, "penalty": "taylor"}, TypeError, "x must be one array"),
    ({"axis_name": "r"}, ValueError, "axis_name='r' is not bound"),
    ({"eta": np.nan}, ValueError, "eta must lie in"),
    (
      {"plan": dataclasses.replace(plan_of(), mean_shift=None)},
      ValueError,
      "plan.mean_shift is None",
    ),
    (
      {"loss_fn": lambda f, y: f},
      ValueError,
      r"loss_fn must return \[B\] = \[8\] losses, got \(8, 4\)",
    ),
  ],
  ids=range(9),
)
def test_errors(options, error, message):
  with pytest.raises(error, match=message):
    in_turn(PARAMS, **{"eta": 1.0, **options})


def test_averaging_gradients_waits_for_no_other_average():
  """Else a compiler may hold back what kappa multiplies until L and R come."""

  def run(params):
    return in_turn(params, eta=0.7, axis_name="r")[1]

  program, shapes = jax.make_jaxpr(run, axis_env=[("r", 2)], return_shape=True)(
    PARAMS
  )
  behind, averaged = set(), []
  for equation in program.eqns:
    known = [v for v in equation.invars if not isinstance(v, core.Literal)]
    waits = any(v in behind for v in known)
    if equation.primitive.name.startswith("psum"):
      if not waits:
        averaged += [v.aval.shape for v in known]
      waits = True
    if waits:
      behind.update(equation.outvars)
  assert {leaf.shape for leaf in jax.tree.leaves(shapes)} <= set(averaged)
