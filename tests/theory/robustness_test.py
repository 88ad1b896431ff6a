"""Theorems 3.1 to 3.3 of Zhang et al., and what each assumption is worth."""

import functools

from hypothesis import given, settings
from hypothesis import strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmix import policies, theory
from tests.theory.networks import data, network

pytestmark = pytest.mark.usefixtures("float64")
N, D = 8, 3


def linear(theta):
  return lambda x: x @ theta


def test_adversarial_loss_by_hand():
  # f = 3 at (1, 0), theta = (3, 4): |df| = 5, eta = 0.1.
  found = theory.quadratic_adversarial_loss(
    linear(jnp.array([3.0, 4.0])), jnp.array([[1.0, 0.0]]), jnp.array([1]), 0.1
  )
  prob = 1.0 / (1.0 + np.exp(-3.0))
  by_hand = np.log1p(np.exp(3.0)) - 3.0
  by_hand += 0.5 * (1.0 - prob) + 0.125 * prob * (1.0 - prob)
  np.testing.assert_allclose(found, by_hand, rtol=1e-12)


def test_adversarial_loss_is_the_worst_step_of_its_parabola(rng):
  x, y = data(rng, n=4, d=2)
  theta = jnp.asarray(rng.normal(size=2))
  radius = jnp.array([0.1, 0.5, 1.0, 0.0])
  angle = np.linspace(0.0, 2.0 * np.pi, 20_001)
  ways = np.stack([np.cos(angle), np.sin(angle)], axis=1)
  logits = np.asarray(x) @ np.asarray(theta)
  prob = 1.0 / (1.0 + np.exp(-logits))
  moves = np.asarray(radius)[:, None] * (ways @ np.asarray(theta))
  slope, bend = prob - np.asarray(y), prob * (1.0 - prob)
  parabola = slope[:, None] * moves + 0.5 * bend[:, None] * moves**2
  clean = np.logaddexp(0.0, logits) - np.asarray(y) * logits
  np.testing.assert_allclose(
    theory.quadratic_adversarial_loss(linear(theta), x, y, radius),
    np.mean(clean + parabola.max(axis=1)),
    rtol=1e-6,
  )


def test_adversarial_loss_approaches_the_true_one(rng):
  """Its error falls with the cube of the radius."""
  x, y = data(rng)
  theta = jnp.asarray(rng.normal(size=3))
  gaps = []
  for radius in (0.2, 0.1):
    sign = jnp.where(y == 1, -1.0, 1.0)[:, None]
    worst = x + radius * sign * theta[None] / jnp.linalg.norm(theta)
    truth = theory.standard_loss(linear(theta), worst, y)
    near = theory.quadratic_adversarial_loss(linear(theta), x, y, radius)
    gaps.append(abs(float(near - truth)))
  assert 0.0 < gaps[1] < gaps[0] / 6.0


@functools.partial(jax.jit, static_argnames=("name", "hidden"))
def sides(key, spread, steepness, alpha, beta, *, name, hidden):
  """Theorem 3.1's (hidden = 0) or 3.3's sides on one random problem."""
  key_x, key_stretch, key_1, key_2 = jax.random.split(key, 4)
  x = jax.random.normal(key_x, (N, D), jnp.float64)
  x *= jnp.exp(spread * jax.random.normal(key_stretch, (1, D), jnp.float64))
  x -= jnp.mean(x, axis=0, keepdims=True)
  first = jax.random.normal(key_1, (D, max(hidden, 1)), jnp.float64)
  second = jax.random.normal(key_2, (hidden,), jnp.float64)

  def apply(x):
    if not hidden:
      return steepness * (x @ first)[:, 0]
    return steepness * (jax.nn.relu(x @ first) @ second)

  y = (apply(x) >= 0.0).astype(jnp.int32)
  policy = {
    "mixup": lambda: policies.mixup(alpha, beta),
    "untied": lambda: policies.untied(alpha, beta),
    "dat": lambda: policies.dat(alpha, beta),
  }[name]()
  return (
    theory.robustness_bound(apply, x, y, policy=policy),
    theory.robustness_assumptions(apply, x, y),
  )


PROBLEM = {
  "seed": st.integers(0, 2**31 - 1),
  "spread": st.floats(0.0, 2.0),
  "steepness": st.floats(0.01, 30.0),
  "alpha": st.floats(0.1, 5.0),
  "beta": st.floats(0.1, 5.0),
}


def test_assumptions_by_hand():
  x = jnp.array([[3.0, 4.0], [3.0, 4.0]])
  given = theory.robustness_assumptions(
    lambda x: x[:, 0] ** 2 - 10.0, x, jnp.array([0, 0])
  )
  # f = -1, df x = 18: wrong by 19; |mean| = 5.
  assert given.right
  np.testing.assert_allclose([given.off_centre, given.inhomogeneity], [5.0, 19])
  given = theory.robustness_assumptions(lambda x: x[:, 0], x, jnp.array([1, 0]))
  assert not given.right and given.inhomogeneity == 0.0


@pytest.mark.parametrize(
  "name, hidden", [("mixup", 0), ("mixup", 6), ("untied", 6), ("dat", 6)]
)
def test_theorems_hold(name, hidden):
  """3.1 and 3.3 on a thousand random problems each, for every policy."""
  count = 1000 if name == "mixup" else 100

  @settings(max_examples=count, deadline=None, database=None)
  @given(**PROBLEM)
  def check(seed, spread, steepness, alpha, beta):
    numbers = (spread, steepness, alpha, beta)
    bound, given = jax.device_get(
      sides(jax.random.key(seed), *numbers, name=name, hidden=hidden)
    )
    size = 1.0 + abs(bound.mixup)
    assert given.right
    assert given.off_centre < 1e-9 * size
    assert given.inhomogeneity < 1e-9 * size
    # Traced concentrations give moments in float32.
    slack = 1e-6 * size
    assert bound.mixup >= bound.per_example - slack
    assert bound.per_example >= bound.uniform - slack

  check()


def test_off_centre_data_break_it():
  """Moved along theta by (1, 0) the adversary gains, Mixup does not."""
  x = jnp.array([[2.0, 0.0], [3.0, 0.0]])
  problem = linear(jnp.array([1.0, 0.0])), x, jnp.array([1, 1])
  bound = theory.robustness_bound(*problem, alpha=1.0)
  given = theory.robustness_assumptions(*problem)
  assert given.right and given.inhomogeneity == 0.0
  np.testing.assert_allclose(given.off_centre, 2.5)
  # 0.0886 + almost nothing against 0.150.
  assert bound.mixup < 0.10 < 0.14 < bound.uniform


def test_wrong_examples_break_it():
  x = jnp.array([[1.0], [-1.0]])
  problem = (lambda x: x[:, 0]), x, jnp.array([0, 1])
  bound = theory.robustness_bound(*problem, alpha=1.0)
  given = theory.robustness_assumptions(*problem)
  assert not given.right and given.off_centre == 0.0
  # R1 rewards pulling wrong logits to zero: 1.15 against 1.58.
  assert bound.mixup < 1.2 < 1.5 < bound.uniform


def test_the_factor_d_printed_under_equation_6_breaks_it():
  """With d eta^2 / 2 in place of eta^2 / 2, Theorem 3.3 fails at d = 10."""
  d = 10
  x = jnp.eye(d)[:1] * jnp.array([[1.0], [-1.0]])
  apply = lambda x: 0.5 * x[:, 0]
  y = jnp.array([1, 0])
  bound = theory.robustness_bound(apply, x, y, alpha=1.0)
  assert theory.robustness_assumptions(apply, x, y).right
  assert bound.mixup >= bound.uniform
  eta = float(theory.mixup_radius(apply, x, alpha=1.0).uniform) * d**0.5
  prob = 1.0 / (1.0 + np.exp(-0.5))
  extra = (d - 1) * 0.5 * eta**2 * prob * (1.0 - prob) * 0.25
  assert bound.uniform + extra > bound.mixup + 0.01


def test_constant_radius_by_hand():
  found = theory.constant_radius(
    0.5, tau=0.8, curvature=0.1, residual=(0.2, 0.6)
  )
  first = 0.5 * 0.2 / (1.2 - 0.5 * 0.4)  # 0.1
  second = np.sqrt(0.2 / (1.5 + 0.2))  # 0.343
  np.testing.assert_allclose(found, 0.8 * min(first, second))
  large = theory.constant_radius(
    0.5, tau=0.8, curvature=0.001, residual=(0.5, 0.5)
  )
  np.testing.assert_allclose(large, 0.8 * np.sqrt(0.002 / 1.502))


def test_theorem_3_2(rng):
  """The constant radius is protected too, in every one of 300 samples."""
  n, d, tau = 60, 3, 0.5
  theta = jnp.array([1.0, 0.0, 0.0])

  @jax.jit
  def margins(x):
    y = (x @ theta >= 0.0).astype(jnp.int32)
    prob = jax.nn.sigmoid(x @ theta)
    residual = jnp.abs(prob - y.astype(prob.dtype))
    close = jnp.mean((theory.cosines(linear(theta), x) >= tau).astype(x.dtype))
    tilde = theory.constant_radius(
      0.5,
      tau=tau,
      curvature=jnp.min(prob * (1.0 - prob)),
      residual=(jnp.min(residual), jnp.max(residual)),
    )
    smallest = jnp.min(jnp.linalg.norm(x, axis=1))
    shift = policies.mixup(1.0).mean_shift
    radius = tilde.astype(x.dtype) * smallest * shift
    mixup = theory.quadratic_mixup_loss(linear(theta), x, y, alpha=1.0)
    attacked = theory.quadratic_adversarial_loss(linear(theta), x, y, radius)
    worst = theory.mixup_radius(linear(theta), x, alpha=1.0).uniform * d**0.5
    return close, mixup - attacked, radius, worst

  points = rng.normal(size=(300, n, d))
  points -= points.mean(axis=1, keepdims=True)
  close, margin, radius, worst = jax.vmap(margins)(jnp.asarray(points))
  # P(|cos| >= 1/2) = 1/2 in three dimensions: p/2 of the sample is the event.
  held = np.asarray(close) >= 0.25
  assert held.mean() >= 1.0 - 2.0 * np.exp(-n * 0.25 / 2.0)
  assert np.all(np.asarray(margin)[held] >= 0.0)
  # And it is worth having: the worst cosine's radius is mostly smaller.
  assert np.mean(np.asarray(radius) > np.asarray(worst)) > 0.5


def test_radius_of_a_policy_and_its_scale(rng):
  x, _ = data(rng)
  theta = jnp.asarray(rng.normal(size=3))
  of = lambda **law: theory.mixup_radius(linear(theta), x, **law)
  cosines = theory.cosines(linear(theta), x)
  smallest = np.linalg.norm(x, axis=1).min() / np.sqrt(3.0)
  np.testing.assert_allclose(
    of(alpha=1.0).per_example, cosines * smallest / 3.0, rtol=1e-12
  )
  np.testing.assert_allclose(
    of(policy=policies.dat(1.0, 3.0)).uniform,
    np.min(cosines) * smallest * 0.75,
    rtol=1e-12,
  )
  np.testing.assert_allclose(
    of(alpha=1.0, smallest_norm=0.3).per_example,
    cosines * 0.3 / np.sqrt(3.0) / 3.0,
  )


def test_many_classes_have_the_first_order_half(rng):
  """R1 >= mean_i eps_i sqrt(d) |dl(x_i)| for homogeneous networks."""

  @jax.jit
  @jax.vmap
  def problem(x, hidden, head):
    apply = lambda x: jax.nn.relu(x @ hidden) @ head
    y = jnp.argmax(apply(x), axis=1)
    one = lambda p, y: theory.standard_loss(apply, p[None], y[None])
    steep = jnp.linalg.norm(jax.vmap(jax.grad(one))(x, y), axis=1)
    radius = theory.mixup_radius(apply, x, y, alpha=1.0).per_example
    r1 = theory.regularizers(apply, x, y, alpha=1.0).r1
    first_order = jnp.mean(radius * x.shape[1] ** 0.5 * steep)
    return r1, first_order, jnp.min(theory.loss_cosines(apply, x, y))

  x = rng.normal(size=(50, 6, 3))
  x -= x.mean(axis=1, keepdims=True)
  hidden, head = rng.normal(size=(50, 3, 5)), rng.normal(size=(50, 5, 4))
  r1, first_order, aligned = problem(x, hidden, head)
  # Every example is right, and the network homogeneous: no cosine is negative.
  assert np.all(np.asarray(aligned) >= 0.0) and np.all(first_order > 0.0)
  assert np.all(r1 >= first_order - 1e-12)


def test_a_wrong_example_undoes_the_first_order_half():
  # f = (2 x, 0, 0) at x = 1 and -1, both of class 0: (1 - g_0) f_0 is 0.43 at
  # the first, which is right, and -1.87 at the second.
  apply = lambda x: jnp.pad(2.0 * x, ((0, 0), (0, 2)))
  x, y = jnp.array([[1.0], [-1.0]]), jnp.array([0, 0])
  r1 = theory.regularizers(apply, x, y, alpha=1.0).r1
  radius = theory.mixup_radius(apply, x, y, alpha=1.0)
  g = np.exp(2.0) / (np.exp(2.0) + 2.0), 1.0 / (1.0 + 2.0 * np.exp(2.0))
  by_hand = (2.0 * (1.0 - g[0]) - 2.0 * (1.0 - g[1])) / 2.0 / 3.0
  np.testing.assert_allclose(r1, by_hand, rtol=1e-6)
  np.testing.assert_allclose(radius.per_example, [1.0 / 3.0, 0.0], rtol=1e-6)
  assert r1 < 0.0 < radius.per_example[0]


def test_errors(rng):
  x, y = data(rng)
  binary, many = network(rng, jnp.tanh), network(rng, jnp.tanh, classes=3)
  with pytest.raises(ValueError, match=r"binary logits \[n\] = \(6,\)"):
    theory.robustness_bound(many, x, y, alpha=1.0)
  with pytest.raises(ValueError, match=r"binary logits \[n\]"):
    theory.quadratic_adversarial_loss(many, x, y, 0.1)
  with pytest.raises(ValueError, match="radius must be a scalar or"):
    theory.quadratic_adversarial_loss(binary, x, y, jnp.ones(3))
  with pytest.raises(ValueError, match="y is needed"):
    theory.mixup_radius(many, x, alpha=1.0)
  with pytest.raises(ValueError, match="smallest_norm must lie in"):
    theory.mixup_radius(binary, x, alpha=1.0, smallest_norm=-1.0)
  with pytest.raises(ValueError, match="got neither"):
    theory.robustness_bound(binary, x, y)
  for name, bad in (
    ("prob", {"prob": 0.0}),
    ("tau", {"tau": 1.5}),
    ("curvature", {"curvature": 0.3}),
    (r"residual\[1\]", {"residual": (0.1, 2.0)}),
    (r"residual\[1\]", {"residual": (0.0, 0.0)}),
  ):
    good = {"prob": 0.5, "tau": 0.5, "curvature": 0.1, "residual": (0.1, 0.9)}
    arguments = good | bad
    with pytest.raises(ValueError, match=f"{name} must lie in"):
      theory.constant_radius(arguments.pop("prob"), **arguments)
