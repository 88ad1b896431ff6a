"""MixupE of order J: values by finite differences, R by its formula."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmix
from jaxmix import penalties, policies, theory
from jaxmix.taylor import derivatives
from jaxmix.theory import likelihood

B, D, K = 8, 3, 4
RNG = np.random.default_rng(0)
X = RNG.normal(size=(B, D))
Y = RNG.integers(0, K, B)
HIDDEN, HEAD = RNG.normal(size=(D, 5)), RNG.normal(size=(5, K))
MEAN = 0.4
POLICY = policies.mixup(0.7, 1.6)


def network(x, scale=1.0):
  hidden = jnp.tanh(x @ jnp.asarray(HIDDEN, x.dtype))
  return scale * (hidden @ jnp.asarray(HEAD, x.dtype))


def loss_along(a):
  """l(f(x_i + a (xbar - x_i)), y_i) in NumPy's double precision."""
  logits = np.tanh((X + a * (MEAN - X)) @ HIDDEN) @ HEAD
  return np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(B), Y]


def test_against_finite_differences():
  found = jaxmix.taylor_penalty(
    network, jnp.asarray(X, float), Y, MEAN, order=3
  )
  assert found.shape == (3, B) and found.dtype == jnp.float32
  h = 1e-2
  at = {k: loss_along(k * h) for k in (-2, -1, 0, 1, 2)}
  first = (at[1] - at[-1]) / (2 * h)
  second = (at[1] - 2 * at[0] + at[-1]) / h**2
  third = (at[2] - 2 * at[1] + 2 * at[-1] - at[-2]) / (2 * h**3)
  for mine, expected in zip(found, (first, second, third), strict=True):
    scale = np.abs(expected).max()
    np.testing.assert_allclose(mine, expected, atol=5e-3 * scale)


def test_by_hand():
  # f = x, y = 1, xbar = 0 at x = 2: psi(a) = log(1 + exp u) - u, u = 2 - 2 a.
  found = jaxmix.taylor_penalty(
    lambda x: x[:, 0], jnp.array([[2.0]]), jnp.array([1.0]), order=2
  )
  prob = 1.0 / (1.0 + math.exp(-2.0))
  by_hand = [[-2.0 * (prob - 1.0)], [4.0 * prob * (1.0 - prob)]]
  np.testing.assert_allclose(found, by_hand, rtol=1e-5)


@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
@pytest.mark.parametrize("order", [2, 4])
def test_the_chain_rule_against_the_whole_line(link, order):
  """The loss differentiated in one piece, in double precision."""
  with jax.enable_x64(True):
    x, dense = jnp.asarray(X), jax.nn.one_hot(Y, K)

    def partition(f):
      if link == "softmax":
        return jax.nn.logsumexp(f)
      return jnp.sum(jax.vmap(likelihood.log_partition)(f))

    def loss(point, label):
      logits = network(point[None])[0]
      return partition(logits) - jnp.sum(label * logits)

    expected = jax.vmap(
      lambda p, y: jnp.stack(
        derivatives(lambda x: loss(x, y), p, MEAN - p, order)[1:]
      )
    )(x, dense)
    run = jax.jit(
      lambda x, y: jaxmix.taylor_penalty(
        network, x, y, MEAN, order=order, link=link
      )
    )
    np.testing.assert_allclose(run(x, dense), expected.T, rtol=1e-4, atol=1e-4)


def plan_and_data():
  plan = jaxmix.draw(jax.random.key(3), B, policy=POLICY)
  return plan, jnp.asarray(X, jnp.float32), jnp.asarray(Y)


def loss_of(plan, x, y, **options):
  """MixupE's loss and gradient with respect to a scale of the logits."""

  def value(scale):
    apply = lambda x, **_: network(x, scale)
    return jaxmix.mixupe_loss(apply, x, y, plan, eta=0.7, **options)

  return jax.jit(jax.value_and_grad(value, has_aux=True))(1.2)


@pytest.mark.parametrize("clean_pass", ["joint", "split", "separate"])
@pytest.mark.parametrize("penalty_at", ["clean", "mixed"])
def test_order_one_is_the_exact_penalty(clean_pass, penalty_at):
  plan, x, y = plan_and_data()
  options = {"clean_pass": clean_pass, "penalty_at": penalty_at}
  (taylor, exact) = penalties.taylor(1, input_mean=MEAN), penalties.exact(MEAN)
  (one, aux), slope = loss_of(plan, x, y, penalty=taylor, **options)
  (exact, other), expected = loss_of(plan, x, y, penalty=exact, **options)
  np.testing.assert_allclose(aux.penalty, other.penalty, rtol=1e-6)
  np.testing.assert_allclose(slope, expected, rtol=1e-5)
  np.testing.assert_allclose(one, exact, rtol=1e-6)


@pytest.mark.parametrize("fraction", [1.0, 0.5])
@pytest.mark.parametrize("known", [True, False])
def test_the_penalty_by_its_formula(fraction, known):
  plan, x, y = plan_and_data()
  count = int(fraction * B)
  terms = jaxmix.taylor_penalty(
    lambda x: network(x, 1.2), x[:count], y[:count], MEAN, order=3
  )
  lam, weight = np.asarray(plan.lam), np.asarray(plan.weight)
  if known:
    moments = theory.shift_moments(POLICY, 3)
  else:
    moments = [
      np.mean(weight * (1.0 - lam) ** j + (1.0 - weight) * lam**j)
      for j in range(4)
    ]
    moments[1] = POLICY.mean_shift
  expected = sum(
    moments[j] / math.factorial(j) * np.mean(np.abs(terms[j - 1]))
    for j in (1, 2, 3)
  )
  for clean_pass in ("joint", "separate"):
    (_, aux), _ = loss_of(
      plan,
      x,
      y,
      penalty=penalties.taylor(
        3,
        input_mean=MEAN,
        moments=jnp.asarray(moments, jnp.float32) if known else None,
      ),
      clean_fraction=fraction,
      clean_pass=clean_pass,
    )
    np.testing.assert_allclose(aux.penalty, expected, rtol=1e-5)


def test_its_gradient_against_finite_differences():
  plan, x, y = plan_and_data()
  options = {"penalty": penalties.taylor(2, input_mean=MEAN)}

  def enhanced(scale):
    """L + eta R, without kappa, whose gradient is the loss's over kappa."""
    apply = lambda x: network(x, scale)
    _, aux = jaxmix.mixupe_loss(apply, x, y, plan, eta=0.7, **options)
    return float(aux.mixup_loss + 0.7 * aux.penalty)

  (_, aux), slope = loss_of(plan, x, y, **options)
  step = 1e-2
  difference = (enhanced(1.2 + step) - enhanced(1.2 - step)) / (2 * step)
  np.testing.assert_allclose(slope / aux.scale, difference, rtol=1e-3)


def test_replicas_agree_with_one_device():
  plan, x, y = plan_and_data()

  def part(x, y, lam, weight, partner):
    own = jaxmix.MixPlan(lam, weight, partner, POLICY.mean_shift)
    loss, aux = jaxmix.mixupe_loss(
      network,
      x,
      y,
      own,
      eta=0.7,
      penalty="taylor",
      axis_name="batch",
    )
    return jax.lax.pmean(loss, "batch"), aux.penalty

  still = jnp.zeros(1, jnp.int32)  # each with itself: eight batches of one
  spread = lambda v: v.reshape(8, 1, *v.shape[1:])
  loss, penalty = jax.pmap(part, axis_name="batch")(
    *map(spread, (x, y, plan.lam, plan.weight)), jnp.stack([still] * 8)
  )
  alone = plan.replace(partner=jnp.arange(B))
  expected, aux = jaxmix.mixupe_loss(
    network, x, y, alone, eta=0.7, penalty="taylor"
  )
  np.testing.assert_allclose(loss[0], expected, rtol=1e-5)
  np.testing.assert_allclose(penalty[0], aux.penalty, rtol=1e-5)


# Hidden layers of every kind that a trace under a mesh or a loop may hold.
LAYERS = {
  "smooth": jnp.tanh,
  "where": lambda h: jnp.where(h > 0.0, h**2, jnp.zeros_like(h)),
  "kinks": lambda h: jax.nn.relu6(h) + jax.nn.softplus(h),
  "jit and remat": jax.checkpoint(jax.jit(jnp.tanh)),
  "scan": lambda h: jax.lax.scan(
    lambda c, w: (jnp.tanh(w * c), None), h, jnp.array([0.7, 1.3])
  )[0],
}


def of_layer(layer):
  hidden, head = (jnp.asarray(w, jnp.float32) for w in (HIDDEN, HEAD))
  return lambda x: layer(x @ hidden) @ head


def of_shards(way, run, x, y):
  """run(x, y) by four replicas: [J, 2] each."""
  if way == "pmap":
    split = lambda v: v.reshape(4, 2, *v.shape[1:])
    found = jax.pmap(run, axis_name="data")(split(x), split(y))
    return jnp.concatenate(list(found), axis=1)
  mesh = jax.make_mesh(
    (4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,)
  )
  data = jax.P("data")
  return jax.jit(
    jax.shard_map(
      run,
      mesh=mesh,
      in_specs=(data, data),
      out_specs=jax.P(None, "data"),
      check_vma=way == "check_vma",
    )
  )(x, y)


@pytest.mark.parametrize("way", ["check_vma", "unchecked", "pmap"])
@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("layer", LAYERS)
def test_replicas_terms_are_one_devices(way, order, layer):
  _, x, y = plan_and_data()
  apply = of_layer(LAYERS[layer])
  run = lambda x, y: jaxmix.taylor_penalty(apply, x, y, MEAN, order=order)
  expected = jax.jit(run)(x, y)
  assert np.abs(expected).mean(axis=1).min() > 1e-2
  np.testing.assert_allclose(
    of_shards(way, run, x, y), expected, rtol=1e-4, atol=1e-5
  )


@pytest.mark.parametrize("way", ["check_vma", "pmap"])
def test_a_sum_over_replicas_inside_the_model(way):
  """Held, it is a constant of each example's line, as a plain one is."""
  _, x, y = plan_and_data()
  hidden = of_layer(jnp.tanh)
  total = jnp.mean(x, axis=0)

  def run(x, y):
    def apply(x):
      mean = jax.lax.pmean(jnp.mean(x, axis=0), "data")
      return hidden(x - jaxmix.hold(mean)[None])

    return jaxmix.taylor_penalty(apply, x, y, MEAN, order=3)

  expected = jax.jit(
    lambda x, y: jaxmix.taylor_penalty(
      lambda x: hidden(x - total[None]), x, y, MEAN, order=3
    )
  )(x, y)
  np.testing.assert_allclose(
    of_shards(way, run, x, y), expected, rtol=1e-4, atol=1e-5
  )


def test_the_gradient_under_shard_map():
  plan, x, y = plan_and_data()
  weights = jnp.asarray(HIDDEN, jnp.float32)

  def penalty(weights, x, y):
    apply = lambda x: (
      jax.nn.softplus(x @ weights) @ jnp.asarray(HEAD, jnp.float32)
    )
    terms = jaxmix.taylor_penalty(apply, x, y, MEAN, order=3)
    return jnp.abs(terms).sum()

  mesh = jax.make_mesh(
    (4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,)
  )
  data = jax.P("data")
  slope = lambda w, x, y: jax.lax.psum(
    jax.grad(penalty)(jax.lax.pcast(w, "data", to="varying"), x, y), "data"
  )
  found = jax.jit(
    jax.shard_map(
      slope, mesh=mesh, in_specs=(jax.P(), data, data), out_specs=jax.P()
    )
  )(weights, x, y)
  expected = jax.jit(jax.grad(penalty))(weights, x, y)
  assert np.abs(expected).max() > 0.1
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def rounded_model(rule):
  """Straight-through rounding of hidden features, by a rule of its own."""

  @jax.custom_jvp
  def rounded(h):
    return jnp.round(h)

  @rounded.defjvp
  def _(primals, tangents):
    return rule(rounded, primals[0]), tangents[0]

  return of_layer(lambda h: rounded(3.0 * h))


@pytest.mark.parametrize(
  "rule", [lambda rounded, h: rounded(h), lambda _, h: jnp.round(h)]
)
def test_a_custom_rule_counts_at_every_order(rule):
  _, x, y = plan_and_data()
  model = rounded_model(rule)
  exact = jaxmix.exact_directional_penalty(model, x, y, MEAN)
  assert np.abs(exact).min() > 1e-2
  second = jaxmix.taylor_penalty(model, x, y, MEAN, order=2)
  for order in (1, 2, 3):
    found = jaxmix.taylor_penalty(model, x, y, MEAN, order=order)
    np.testing.assert_allclose(found[0], exact, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[:2], second[:order], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_a_custom_vjp_is_refused_at_every_order(order):
  plan, x, y = plan_and_data()

  @jax.custom_vjp
  def rounded(h):
    return jnp.round(h)

  rounded.defvjp(lambda h: (jnp.round(h), None), lambda _, g: (g,))
  with pytest.raises(TypeError, match="custom_vjp"):
    jaxmix.mixupe_loss(
      of_layer(rounded), x, y, plan, eta=1.0, penalty=penalties.taylor(order)
    )


def test_a_zero_row_has_every_order():
  """Where softplus' input is 0: psi of f = x, y = 0 along a step of 1."""
  found = jaxmix.taylor_penalty(
    lambda x: x[:, 0], jnp.zeros((1, 1)), jnp.zeros(1), 1.0, order=4
  )
  np.testing.assert_allclose(found[:, 0], [1 / 2, 1 / 4, 0, -1 / 8], atol=1e-6)


def test_errors():
  plan, x, y = plan_and_data()
  with pytest.raises(ValueError, match="order must be at least 1, got 0"):
    penalties.taylor(0)
  with pytest.raises(
    ValueError, match=r"moments must be \[order \+ 1\] = \(3,"
  ):
    penalties.taylor(moments=jnp.ones(2))
  with pytest.raises(TypeError, match="x must be one array"):
    jaxmix.mixupe_loss(network, {"a": x}, y, plan, eta=1.0, penalty="taylor")
  with pytest.raises(TypeError, match="x must be one array"):
    jaxmix.taylor_penalty(network, [x], y, order=2)
  with pytest.raises(ValueError, match="order must be at least 1, got 0"):
    jaxmix.taylor_penalty(network, x, y, order=0)
