"""FGSM and PGD against closed forms on linear models."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxmix import attacks, losses

RNG = np.random.default_rng(0)
B, D = 6, 5
X = RNG.normal(size=(B, D)).astype(np.float32)
W = RNG.normal(size=(D, 2)).astype(np.float32)
Y = RNG.integers(0, 2, B)
# The loss of binary logits rises along w_other - w_y.
UP = (W[:, 1 - Y] - W[:, Y]).T


def linear(x):
  return x @ jnp.asarray(W).astype(x.dtype)


def loss_of(x):
  return np.asarray(losses.softmax_cross_entropy(linear(jnp.asarray(x)), Y))


def test_fgsm_by_hand():
  # p(1) = sigmoid(-2 x0): the loss of class 0 falls with x0, ignores x1.
  w = jnp.array([[1.0, -1.0], [0.0, 0.0]])
  attacked = attacks.fgsm(
    lambda x: x @ w, jnp.array([[0.3, 0.7]]), jnp.array([0]), epsilon=0.25
  )
  np.testing.assert_allclose(attacked, [[0.05, 0.7]], rtol=1e-6)


@pytest.mark.parametrize("run", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_fgsm_is_optimal_on_a_linear_model(run):
  attack = lambda x, y, e: attacks.fgsm(linear, x, y, epsilon=e)
  attacked = run(attack)(jnp.asarray(X), jnp.asarray(Y), 0.1)
  np.testing.assert_allclose(attacked, X + 0.1 * np.sign(UP), rtol=1e-5)


def optimum(norm, epsilon):
  if norm == "linf":
    return X + epsilon * np.sign(UP)
  return X + epsilon * UP / np.linalg.norm(UP, axis=1, keepdims=True)


@pytest.mark.parametrize("random_start", [False, True])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_pgd_is_optimal_on_a_linear_model(key, norm, random_start):
  attack = jax.jit(
    lambda key, x, y, epsilon: attacks.pgd(
      key,
      linear,
      x,
      y,
      epsilon=epsilon,
      norm=norm,
      steps=40,
      step_size=0.5 * epsilon,
      random_start=random_start,
    )
  )
  for epsilon in (0.1, 1.0):
    attacked = attack(key, X, Y, epsilon)
    np.testing.assert_allclose(
      attacked, optimum(norm, epsilon), atol=2e-3 * epsilon
    )
    assert np.all(loss_of(attacked) >= loss_of(X) - 1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_default_steps_reach_the_border_on_a_linear_model(key, norm):
  attacked = attacks.pgd(
    key, linear, X, Y, epsilon=0.3, norm=norm, random_start=False
  )
  np.testing.assert_allclose(attacked, optimum(norm, 0.3), rtol=1e-4, atol=1e-5)


def test_one_linf_step_of_epsilon_is_fgsm(key):
  one = attacks.pgd(
    key, linear, X, Y, epsilon=0.2, steps=1, step_size=0.2, random_start=False
  )
  np.testing.assert_allclose(
    one, attacks.fgsm(linear, jnp.asarray(X), Y, epsilon=0.2), rtol=1e-5
  )


@pytest.mark.parametrize("margin", [1.0, 20.0, 30.0, 40.0, 60.0])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_confident_networks_are_attacked_too(key, norm, margin):
  # The gradient is about exp(-margin): its direction still counts.
  w = jnp.array([[1.0, -1.0], [0.0, 0.0]])
  attacked = attacks.pgd(
    key,
    lambda x: x @ w,
    jnp.array([[margin / 2.0, 0.0]]),
    jnp.array([0]),
    epsilon=1.0,
    norm=norm,
    random_start=False,
  )
  np.testing.assert_allclose(attacked, [[margin / 2.0 - 1.0, 0.0]], rtol=1e-4)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("margin", [1.0, 16.0, 20.0, 60.0, 200.0])
def test_confident_networks_are_attacked_along_both_logits(key, margin, dtype):
  # In float32, 1 - p of the own class rounds to 0 from a margin of 17 on, and
  # exp(-margin) itself from 104 on.
  w = jnp.array([[1.0, 0.0], [0.0, 1.0]])
  x, y = jnp.array([[margin, 0.0]], dtype), jnp.array([0])
  apply = lambda x: x @ w.astype(dtype)
  for name, attacked, step in (
    ("fgsm", attacks.fgsm(apply, x, y, epsilon=1.0), 1.0),
    ("linf", attacks.pgd(key, apply, x, y, epsilon=1.0), 1.0),
    ("l2", attacks.pgd(key, apply, x, y, epsilon=1.0, norm="l2"), 0.5**0.5),
  ):
    np.testing.assert_allclose(
      np.asarray(attacked, np.float32),
      [[margin - step, step]],
      rtol=4 * float(jnp.finfo(dtype).eps),
      atol=2e-2,
      err_msg=name,
    )


def test_dense_labels_are_attacked_by_their_cross_entropy():
  dense = np.full((B, 2), 0.1, np.float32)
  dense[np.arange(B), Y] = 0.9
  attacked = attacks.fgsm(linear, X, dense, epsilon=0.1)
  np.testing.assert_array_equal(
    attacked,
    attacks.fgsm(
      linear, X, dense, epsilon=0.1, loss_fn=losses.softmax_cross_entropy
    ),
  )


def test_one_class_cannot_be_attacked(key):
  apply = lambda x: x[:, :1]
  one = np.zeros(B, int)
  attacked = attacks.pgd(key, apply, X, one, epsilon=0.1, random_start=False)
  np.testing.assert_array_equal(attacked, X)
  with pytest.raises(ValueError, match="must have the logits' shape"):
    attacks.fgsm(lambda x: x[:, None], X, Y, epsilon=0.1)


def test_the_default_loss_has_the_cross_entropys_direction(key):
  logits = 3.0 * jax.random.normal(key, (20, 7))
  labels = jnp.arange(20) % 7
  ours, usual = (
    jax.grad(lambda z, f=f: jnp.sum(f(z, labels)))(logits)
    for f in (attacks._log_odds, losses.softmax_cross_entropy)
  )
  ours = ours / jnp.linalg.norm(ours, axis=1, keepdims=True)
  usual = usual / jnp.linalg.norm(usual, axis=1, keepdims=True)
  np.testing.assert_allclose(ours, usual, atol=1e-5)
  # log((1 - p) / p) by hand: p = 1/4.
  odds = attacks._log_odds(
    jnp.log(jnp.array([[1.0, 2.0, 1.0]])), jnp.array([0])
  )
  np.testing.assert_allclose(odds, [np.log(3.0)], rtol=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("shape", [(4, 3), (4, 2, 3, 1), (4,)])
def test_ball_is_respected(key, shape, norm):
  x = jax.random.normal(key, shape)
  apply = lambda x: jnp.stack(
    [jnp.sin(3.0 * x.reshape(4, -1)).sum(1), x.reshape(4, -1).sum(1)], axis=1
  )
  attacked = attacks.pgd(
    key, apply, x, jnp.zeros(4, int), epsilon=0.3, norm=norm, step_size=0.4
  )
  assert attacked.shape == shape
  delta = np.asarray(attacked - x, np.float64).reshape(4, -1)
  size = np.linalg.norm(delta, np.inf if norm == "linf" else 2, axis=1)
  assert np.all(size <= 0.3 + 1e-6)
  assert np.all(size > 0.0)


BOUNDS = [
  (0.2, 0.6),
  (np.full((1, D), 0.2, np.float32), np.full((1, D), 0.6, np.float32)),
]


@pytest.mark.parametrize("bounds", BOUNDS, ids=["scalar", "array"])
def test_bounds_are_respected(key, bounds):
  x = jnp.asarray(RNG.uniform(0.2, 0.6, (B, D)), jnp.float32)
  for attacked in (
    attacks.fgsm(linear, x, Y, epsilon=0.3, bounds=bounds),
    attacks.pgd(key, linear, x, Y, epsilon=0.3, bounds=bounds),
    attacks.pgd(key, linear, x, Y, epsilon=0.3, bounds=bounds, norm="l2"),
  ):
    assert np.all((attacked >= 0.2 - 1e-6) & (attacked <= 0.6 + 1e-6))
    assert np.any(np.isclose(attacked, 0.2)) or np.any(attacked > 0.6 - 1e-6)
    assert np.all(np.abs(attacked - x) <= 0.3 + 1e-6)
  box = np.clip(np.asarray(x) + 0.3 * np.sign(UP), 0.2, 0.6)
  linf = attacks.pgd(key, linear, x, Y, epsilon=0.3, bounds=bounds)
  np.testing.assert_allclose(linf, box, atol=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_bounds_are_kept_to_the_last_bit(key, norm):
  # clean + (bound - clean) rounds to the far side of a bound now and then.
  low, high = np.float32(-2.1179), np.float32(2.64)
  x = jnp.asarray(RNG.uniform(low, high, (2_000, 2)), jnp.float32)
  apply = lambda x: jnp.stack([x.sum(1), -x.sum(1)], axis=1)
  for y, bound in enumerate((low, high)):
    attacked = attacks.pgd(
      key,
      apply,
      x,
      jnp.full(2_000, y),
      epsilon=9.0,
      norm=norm,
      bounds=(low, high),
    )
    assert np.all((attacked >= low) & (attacked <= high))
    np.testing.assert_allclose(attacked, bound, rtol=1e-6)


def started(norm, n=2_000):
  """Random starts: steps of length zero leave them alone."""
  x = jnp.zeros((n, 3))
  zero = lambda x: jnp.zeros((n, 2)) * x[:, :2]
  return np.asarray(
    attacks.pgd(
      jax.random.key(1),
      zero,
      x,
      jnp.zeros(n, int),
      epsilon=2.0,
      norm=norm,
      steps=1,
      step_size=0.0,
    ),
    np.float64,
  )


def test_l2_start_is_uniform_in_the_ball():
  delta = started("l2")
  radius = np.linalg.norm(delta, axis=1) / 2.0
  assert radius.max() <= 1.0 + 1e-6
  # Volume law, P(r < t) = t^3; and on a sphere each coordinate of the direction
  # is uniform on [-1, 1] in three dimensions. KS, p > 1e-3.
  assert scipy.stats.kstest(radius**3, "uniform").pvalue > 1e-3
  direction = delta[:, 0] / (2.0 * radius)
  assert scipy.stats.kstest(0.5 + 0.5 * direction, "uniform").pvalue > 1e-3


def test_linf_start_is_uniform_in_the_cube():
  delta = started("linf")
  for i in range(3):
    assert scipy.stats.kstest(0.5 + delta[:, i] / 4.0, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_unrolled_steps_are_the_same_steps(key, norm):
  run = lambda unroll: jax.jit(
    lambda x: attacks.pgd(
      key,
      lambda x: jnp.tanh(linear(x)),
      x,
      Y,
      epsilon=1.0,
      norm=norm,
      steps=4,
      random_start=False,  # drawing one loops
      unroll=unroll,
    )
  )
  np.testing.assert_allclose(run(True)(X), run(False)(X), atol=1e-5)
  assert "stablehlo.while" in run(False).lower(X).as_text()
  assert "stablehlo.while" not in run(True).lower(X).as_text()


def test_start_depends_on_the_key_only_when_random():
  draw = lambda seed, random_start: attacks.pgd(
    jax.random.key(seed),
    lambda x: jnp.tanh(linear(x)),
    X,
    Y,
    epsilon=1.0,
    steps=1,
    random_start=random_start,
  )
  np.testing.assert_array_equal(draw(0, False), draw(1, False))
  assert not np.allclose(draw(0, True), draw(1, True))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_epsilon_zero_changes_nothing(key, norm):
  attacked = attacks.pgd(key, linear, X, Y, epsilon=0.0, norm=norm)
  np.testing.assert_array_equal(attacked, X)
  np.testing.assert_array_equal(
    attacks.fgsm(linear, jnp.asarray(X), Y, epsilon=0.0), X
  )


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_dtype_is_kept(key, dtype):
  x = jnp.asarray(X, dtype)
  for attacked in (
    attacks.fgsm(linear, x, Y, epsilon=0.25),
    attacks.pgd(key, linear, x, Y, epsilon=0.25),
    attacks.pgd(key, linear, x, Y, epsilon=0.25, norm="l2"),
  ):
    assert attacked.dtype == dtype and attacked.shape == x.shape
    moved = np.abs(np.asarray(attacked, np.float32) - np.asarray(x, np.float32))
    # epsilon, and half a unit in the last place of values below 4.
    assert moved.max() <= 0.25 + 2.0 * float(jnp.finfo(dtype).eps)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_float64_keeps_its_precision(key, norm):
  with jax.enable_x64(True):
    x, w = jnp.asarray(X, jnp.float64) + 1e-12, jnp.asarray(W, jnp.float64)
    apply = lambda x: x @ w
    for epsilon in (0.0, 2.0**-30):
      attacked = jax.jit(
        lambda epsilon: attacks.pgd(
          key, apply, x, Y, epsilon=epsilon, norm=norm, random_start=False
        )
      )(epsilon)
      assert attacked.dtype == jnp.float64
      moved = np.asarray(attacked) - np.asarray(x)
      size = np.linalg.norm(moved, np.inf if norm == "linf" else 2, axis=1)
      np.testing.assert_allclose(size, epsilon, rtol=1e-5)
    started = attacks.pgd(key, apply, x, Y, epsilon=0.1, norm=norm, steps=1)
    assert started.dtype == jnp.float64


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_a_traced_epsilon_does_not_change_the_result(key, dtype):
  x = jnp.asarray(X, dtype)
  for attack in (
    lambda epsilon: attacks.fgsm(linear, x, Y, epsilon=epsilon),
    lambda epsilon: attacks.pgd(key, linear, x, Y, epsilon=epsilon),
  ):
    attacked = jax.jit(attack)(0.25)
    assert attacked.dtype == dtype
    np.testing.assert_array_equal(attacked, attack(0.25))


def test_other_losses():
  w = jnp.asarray(W[:, 0])
  attacked = attacks.fgsm(
    lambda x: x @ w, jnp.asarray(X), Y, epsilon=0.1, loss_fn=losses.logistic
  )
  up = np.sign(W[:, 0]) * np.where(Y == 1, -1.0, 1.0)[:, None]
  np.testing.assert_allclose(attacked, X + 0.1 * up, rtol=1e-5)


def test_epsilon_can_be_swept_without_retracing(key):
  traces = []

  @jax.jit
  def attack(key, epsilon):
    traces.append(1)
    return attacks.pgd(key, linear, X, Y, epsilon=epsilon)

  small, large = attack(key, 0.1), attack(jax.random.key(1), 0.4)
  assert len(traces) == 1
  np.testing.assert_allclose(small, optimum("linf", 0.1), rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(large, optimum("linf", 0.4), rtol=1e-4, atol=1e-5)


def test_legacy_keys_work():
  run = lambda key: attacks.pgd(key, linear, X, Y, epsilon=0.1, steps=1)
  np.testing.assert_array_equal(
    run(jax.random.key(3)), run(jax.random.PRNGKey(3))
  )


BAD = [
  ({"epsilon": -0.1}, ValueError, r"epsilon must lie in \[0, inf\), got -0.1"),
  ({"epsilon": None}, TypeError, "epsilon must be a real number"),
  ({"epsilon": [1.0, 1.0]}, ValueError, "epsilon must be a scalar"),
  ({"inputs": Y}, TypeError, "inputs must be floating point"),
  ({"labels": Y[:2]}, ValueError, "'inputs': 6, 'labels': 2"),
]
BAD_PGD = [
  ({"norm": "l1"}, ValueError, "norm must be one of .*got 'l1'"),
  ({"steps": 0}, ValueError, "steps must be at least 1, got 0"),
  ({"step_size": -1.0}, ValueError, r"step_size must lie in \[0, inf\)"),
]


@pytest.mark.parametrize("options, error, message", BAD + BAD_PGD)
def test_errors(key, options, error, message):
  base = {"inputs": X, "labels": Y, "epsilon": 0.1, **options}
  arrays = base.pop("inputs"), base.pop("labels")
  calls = [lambda x, y: attacks.pgd(key, linear, x, y, **base)]
  if (options, error, message) in BAD:
    calls.append(lambda x, y: attacks.fgsm(linear, x, y, **base))
  for call in calls:
    for run in (lambda f: f, jax.jit):
      with pytest.raises(error, match=message):
        run(call)(*arrays)
