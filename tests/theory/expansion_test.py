"""Mixup's loss and its expansions: closed forms, simulation, Hessians."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import jaxmix
from jaxmix import policies, theory
from tests.theory.networks import data, moment, network

pytestmark = pytest.mark.usefixtures("float64")
square = lambda f: 0.5 * f**2


@pytest.mark.parametrize("alpha, beta", [(1.0, None), (0.2, 0.2), (3.0, 0.7)])
def test_least_squares_in_closed_form(rng, alpha, beta):
  x, _ = data(rng)
  y, theta = rng.normal(size=len(x)), rng.normal(size=3)
  u = np.asarray(x) @ theta
  law = scipy.stats.beta(alpha, alpha if beta is None else beta)
  own, cross, other = moment(law, 2), moment(law, 1, 1), moment(law, 0, 2)
  u_i, u_j, y_i, y_j = u[:, None], u[None], y[:, None], y[None]
  squares = own * u_i**2 + 2 * cross * u_i * u_j + other * u_j**2
  products = own * y_i * u_i + cross * (y_i * u_j + y_j * u_i)
  expected = np.mean(0.5 * squares - products - other * y_j * u_j)
  linear = lambda x: x @ jnp.asarray(theta)
  options = {"alpha": alpha, "beta": beta, "log_partition": square}
  y = jnp.asarray(y)
  np.testing.assert_allclose(
    theory.mixup_loss(linear, x, y, num_nodes=2, **options), expected, rtol=1e-9
  )
  # psi is a parabola: the expansion is the loss.
  np.testing.assert_allclose(
    theory.quadratic_mixup_loss(linear, x, y, **options), expected, rtol=1e-9
  )


def test_one_pair_by_hand():
  # Logits 0 and 2 at x = 0 and 2; lam = 1/2 by two nodes of Beta(1e6, 1e6).
  x, y = jnp.array([[0.0], [2.0]]), jnp.array([0, 1])
  loss = theory.mixup_loss(lambda x: x[:, 0], x, y, alpha=1e6, num_nodes=2)
  softplus = lambda f: np.log1p(np.exp(f))
  pairs = [softplus(0.0), softplus(2.0) - 2.0, softplus(1.0) - 0.5]
  by_hand = (pairs[0] + pairs[1] + 2.0 * pairs[2]) / 4.0
  np.testing.assert_allclose(loss, by_hand, rtol=1e-5)


@pytest.mark.parametrize("classes", [None, 3])
def test_against_a_million_draws(rng, classes):
  """The quadrature lies within Monte Carlo's error, over all of its terms."""
  x, y = data(rng, n=5, classes=classes)
  apply = network(rng, jnp.tanh, classes=classes, scale=1.0)
  found = theory.mixup_loss(apply, x, y, alpha=0.4, beta=0.9)
  draws = 1_000_000
  i, j = rng.integers(0, 5, (2, draws))
  lam = rng.beta(0.4, 0.9, draws)
  inputs = np.asarray(x)
  mixed = lam[:, None] * inputs[i] + (1.0 - lam)[:, None] * inputs[j]
  logits = np.asarray(apply(jnp.asarray(mixed)))
  if classes is None:
    own, other = np.asarray(y)[i] * logits, np.asarray(y)[j] * logits
    partition = np.logaddexp(0.0, logits)
  else:
    rows = np.arange(draws)
    own, other = logits[rows, np.asarray(y)[i]], logits[rows, np.asarray(y)[j]]
    partition = np.log(np.exp(logits).sum(axis=1))
  values = partition - lam * own - (1.0 - lam) * other
  assert abs(values.mean() - found) <= 4.0 * values.std() / draws**0.5


POLICIES = {
  "mixup": policies.mixup(0.4, 1.5),
  "untied": policies.untied(1.7, 0.6),
  "dat": policies.dat(2.0, 0.8),
  "weighted": policies.weighted(0.7, 0.7, lambda lam: lam**2),
  "erm": policies.erm(),
}


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_against_its_own_draws(rng, name):
  x, y = data(rng, n=4, classes=3)
  apply = network(rng, jax.nn.gelu, classes=3, scale=1.0)
  policy = POLICIES[name]
  found = theory.mixup_loss(apply, x, y, policy=policy)
  draws = 200_000
  lam, weight = policy.sample(jax.random.key(2), (draws,))
  lam, weight = (np.asarray(v, np.float64) for v in (lam, weight))
  i, j = rng.integers(0, 4, (2, draws))
  inputs, labels = np.asarray(x), np.asarray(y)
  mixed = lam[:, None] * inputs[i] + (1.0 - lam)[:, None] * inputs[j]
  logits = np.asarray(apply(jnp.asarray(mixed)))
  rows = np.arange(draws)
  own, other = logits[rows, labels[i]], logits[rows, labels[j]]
  partition = np.log(np.exp(logits).sum(axis=1))
  values = partition - weight * own - (1.0 - weight) * other
  assert abs(values.mean() - found) <= 4.0 * values.std() / draws**0.5


def test_equal_in_law_equal_in_loss(rng):
  x, y = data(rng, classes=3)
  apply = network(rng, jnp.tanh, classes=3)
  of = lambda policy: theory.mixup_loss(apply, x, y, policy=policy)
  mixup = of(policies.mixup(0.7))
  np.testing.assert_allclose(of(policies.untied(1.7, 0.7)), mixup, rtol=1e-9)
  np.testing.assert_allclose(
    of(jaxmix.as_dat(policies.mixup(0.7))), mixup, rtol=1e-12
  )
  np.testing.assert_allclose(
    of(policies.erm()), theory.standard_loss(apply, x, y), rtol=1e-12
  )


def test_dense_labels_are_integer_labels(rng):
  x, y = data(rng, classes=3)
  apply = network(rng, jnp.tanh, classes=3)
  dense = jax.nn.one_hot(y, 3)
  for fn in (theory.mixup_loss, theory.quadratic_mixup_loss):
    np.testing.assert_allclose(
      fn(apply, x, dense, alpha=1.0), fn(apply, x, y, alpha=1.0), rtol=1e-12
    )


def by_hessians(apply, x, y, classes, alpha, beta):
  """R1, R2, R3 from dense Jacobians and Hessians, written out in NumPy."""
  one = lambda point: jnp.atleast_1d(apply(point[None])[0])
  logits = np.asarray(jax.vmap(one)(x))
  slopes = np.asarray(jax.vmap(jax.jacfwd(one))(x))
  bends = np.asarray(jax.vmap(jax.hessian(one))(x))
  if classes is None:
    prob = 1.0 / (1.0 + np.exp(-logits))
    curvature = (prob * (1.0 - prob))[:, :, None]
    residual = prob - np.asarray(y)[:, None]
  else:
    prob = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    curvature = np.stack([np.diag(p) - np.outer(p, p) for p in prob])
    residual = prob - np.eye(classes)[np.asarray(y)]
  moves = np.asarray(x)[None] - np.asarray(x)[:, None]  # [i, r, d]
  along = np.einsum("ikd,ird->irk", slopes, moves)
  first, second = (theory.beta_moment(alpha, beta, j) for j in (1, 2))
  r1 = first * np.einsum("ik,irk->ir", residual, along).mean()
  r2 = second / 2 * np.einsum("irk,ikl,irl->ir", along, curvature, along).mean()
  bent = np.einsum("ikde,ird,ire->irk", bends, moves, moves)
  r3 = second / 2 * np.einsum("ik,irk->ir", residual, bent).mean()
  return r1, r2, r3


@pytest.mark.parametrize("n, d", [(6, 3), (4, 7), (5, 1)])
@pytest.mark.parametrize("classes", [None, 3])
def test_regularizers_against_dense_hessians(rng, n, d, classes):
  x, y = data(rng, n, d, classes)
  apply = network(rng, jnp.tanh, d, classes, scale=1.0)
  run = jax.jit(
    lambda x, y: theory.regularizers(
      apply, x, y, alpha=0.7, beta=1.9, examples_at_once=4
    )
  )
  np.testing.assert_allclose(
    run(x, y), by_hessians(apply, x, y, classes, 0.7, 1.9), rtol=1e-9
  )


def test_first_regularizer_is_mixupes(rng):
  """R1 = E[1 - lam] mean q_i, q_i of MixupE's eq. (1)."""
  x, y = data(rng, classes=4)
  apply = network(rng, jax.nn.gelu, classes=4)
  mean = jnp.mean(x, axis=0, keepdims=True)
  q = jaxmix.exact_directional_penalty(apply, x, y, mean)
  found = theory.regularizers(apply, x, y, alpha=0.5).r1
  shift = policies.mixup(0.5).mean_shift
  np.testing.assert_allclose(found, shift * np.mean(q), rtol=1e-5)


@pytest.mark.parametrize("classes", [None, 3])
def test_low_orders_are_the_other_functions(rng, classes):
  x, y = data(rng, classes=classes)
  apply = network(rng, jnp.tanh, classes=classes, scale=1.0)
  of = lambda order: theory.taylor_mixup_loss(
    apply, x, y, alpha=0.6, beta=1.1, order=order
  )
  standard = theory.standard_loss(apply, x, y)
  terms = theory.regularizers(apply, x, y, alpha=0.6, beta=1.1)
  np.testing.assert_allclose(of(0), standard, rtol=1e-12)
  np.testing.assert_allclose(of(1), standard + terms.r1, rtol=1e-10)
  np.testing.assert_allclose(
    of(2), theory.quadratic_mixup_loss(apply, x, y, alpha=0.6, beta=1.1)
  )


@pytest.mark.parametrize("activation", [jnp.tanh, jax.nn.gelu])
def test_smooth_networks_expansions_converge(rng, activation):
  x, y = data(rng, n=4)
  apply = network(rng, activation, scale=0.3)
  exact = theory.mixup_loss(apply, x, y, alpha=1.0)
  errors = [
    abs(theory.taylor_mixup_loss(apply, x, y, alpha=1.0, order=j) - exact)
    for j in (0, 2, 4, 8)
  ]
  assert errors[1] < 0.3 * errors[0] and errors[2] < 0.5 * errors[1]
  assert errors[3] < 1e-2 * errors[1] and errors[3] < 1e-5


def test_relus_expansion_stops_at_the_kinks(rng):
  """More orders do not help: derivatives do not see beyond a kink."""
  x, y = data(rng, n=4)
  apply = network(rng, jax.nn.relu, scale=0.8)
  exact = theory.mixup_loss(apply, x, y, alpha=1.0, num_nodes=64)
  late = [
    theory.taylor_mixup_loss(apply, x, y, alpha=1.0, order=j) - exact
    for j in (6, 8)
  ]
  assert abs(late[0] - late[1]) < 1e-4 < 1e-3 < abs(late[1])
  # Where no pair's segment crosses a kink, it converges like any other.
  positive = lambda x: jax.nn.relu(0.4 * x[:, 0] + 5.0) - 5.0
  exact = theory.mixup_loss(positive, x, y, alpha=1.0)
  near = theory.taylor_mixup_loss(positive, x, y, alpha=1.0, order=8)
  np.testing.assert_allclose(near, exact, atol=1e-7)


@pytest.mark.parametrize(
  "fn, option",
  [
    (theory.mixup_loss, "evaluations_at_once"),
    (theory.quadratic_mixup_loss, "examples_at_once"),
    (theory.taylor_mixup_loss, "pairs_at_once"),
  ],
)
def test_blocks_only_bound_memory(rng, fn, option):
  x, y = data(rng, n=7, classes=3)
  apply = network(rng, jnp.tanh, classes=3)

  def value(scale, at_once):
    scaled = lambda x: scale * apply(x)
    return fn(scaled, x, y, alpha=1.0, **{option: at_once})

  both = jax.jit(jax.value_and_grad(value), static_argnums=1)
  whole = both(1.3, 100_000)
  for at_once in (1, 3, 50):
    np.testing.assert_allclose(both(1.3, at_once), whole, rtol=1e-11)
  steps = [value(1.3 + h, 100_000) for h in (-1e-4, 1e-4)]
  np.testing.assert_allclose(whole[1], (steps[1] - steps[0]) / 2e-4, rtol=1e-6)


def test_four_thousand_examples_fit():
  """All 16.8 million pairs, forth and back, in less than 64 MB."""
  n = 4096
  x = jax.ShapeDtypeStruct((n, 10), jnp.float32)
  y = jax.ShapeDtypeStruct((n,), jnp.int32)
  theta = jax.ShapeDtypeStruct((10, 3), jnp.float32)
  for fn in (theory.mixup_loss, theory.quadratic_mixup_loss):

    def value(theta, x, y, fn=fn):
      return fn(lambda x: jnp.tanh(x @ theta), x, y, alpha=1.0)

    compiled = jax.jit(jax.grad(value)).lower(theta, x, y).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 64 * 2**20


def test_transformations_agree_and_nothing_is_retraced(rng):
  x, y = data(rng, classes=3)
  apply = network(rng, jnp.tanh, classes=3)
  count = 0

  def value(scale, alpha):
    nonlocal count
    count += 1
    scaled = lambda x: scale * apply(x)
    return theory.mixup_loss(
      scaled, x, y, alpha=alpha
    ) - theory.quadratic_mixup_loss(scaled, x, y, alpha=alpha)

  scales, alphas = jnp.array([0.5, 1.0, 2.0]), [0.3, 0.3, 0.3]
  eager = [value(s, a) for s, a in zip(scales, alphas, strict=True)]
  run = jax.jit(jax.vmap(value))
  count = 0
  mapped = run(scales, jnp.asarray(alphas))
  run(scales, jnp.asarray(alphas))
  assert count == 1
  # Traced concentrations are float32.
  np.testing.assert_allclose(mapped, eager, atol=1e-6)


@pytest.mark.parametrize(
  "fn",
  [theory.mixup_loss, theory.quadratic_mixup_loss, theory.taylor_mixup_loss],
)
def test_single_precision(rng, fn):
  x, y = data(rng, classes=3)
  hidden = jnp.asarray(rng.normal(size=(3, 3)))

  def apply(x):
    return jnp.tanh(x @ hidden.astype(x.dtype))

  high = fn(apply, x, y, alpha=0.5)
  low = fn(apply, x.astype(jnp.float32), y.astype(jnp.int32), alpha=0.5)
  assert high.dtype == jnp.float64 and low.dtype == jnp.float32
  np.testing.assert_allclose(low, high, rtol=1e-5)


def test_images_are_flat_vectors(rng):
  x, y = data(rng, n=5, d=8, classes=3)
  apply = network(rng, jnp.tanh, d=8, classes=3)
  shaped = lambda x: apply(x.reshape(len(x), 8))
  images = x.reshape(5, 2, 2, 2)
  for fn in (theory.regularizers, theory.mixup_loss):
    np.testing.assert_allclose(
      fn(shaped, images, y, alpha=1.0), fn(apply, x, y, alpha=1.0), rtol=1e-10
    )


@pytest.mark.parametrize(
  "fn",
  [
    theory.mixup_loss,
    theory.regularizers,
    theory.quadratic_mixup_loss,
    theory.taylor_mixup_loss,
  ],
)
def test_errors(rng, fn):
  x, y = data(rng)
  apply = network(rng, jnp.tanh)
  with pytest.raises(ValueError, match="got neither"):
    fn(apply, x, y)
  with pytest.raises(ValueError, match="got both"):
    fn(apply, x, y, alpha=1.0, policy=policies.mixup(1.0))
  with pytest.raises(ValueError, match="alpha must lie in"):
    fn(apply, x, y, alpha=-1.0)
  with pytest.raises(TypeError, match="x must be floating point"):
    fn(apply, y, y, alpha=1.0)
  with pytest.raises(ValueError, match=r"y must be \[n\] = \(6,\)"):
    fn(apply, x, y[:-1], alpha=1.0)
  with pytest.raises(ValueError, match=r"logits \[n\] or \[n, K\] with n = 6"):
    fn(lambda x: x[:, :, None], x, y, alpha=1.0)
  with pytest.raises(TypeError, match="must be integer classes"):
    fn(lambda x: x, x, y.astype(jnp.float64), alpha=1.0)
  with pytest.raises(TypeError, match="integers? classes or floating"):
    fn(apply, x, y == 1, alpha=1.0)
