"""Figures 2 and 4 of Zhang et al.: losses and their approximations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.figures import moons, networks, zhang_figure2, zhang_figure4

FIGURE = zhang_figure2


@pytest.fixture(scope="module")
def attack():
  with jax.enable_x64(), jax.numpy_dtype_promotion("standard"):
    result = zhang_figure4.compute(smoke=True)
    zhang_figure4.draw(result).canvas.draw()
  return result


@pytest.fixture
def data():
  return moons.draw(16, seed=3)


def softplus(z):
  return np.logaddexp(0.0, z)


def linear(theta):
  return [{"kernel": jnp.asarray(theta, float)[:, None]}]


def test_moons_are_centred_by_the_training_half(data):
  (x, y), (test_x, test_y) = data
  np.testing.assert_allclose(np.mean(x, axis=0), 0.0, atol=1e-12)
  assert np.linalg.norm(np.mean(test_x, axis=0)) > 1e-3
  assert {*np.asarray(y)} == {*np.asarray(test_y)} == {0.0, 1.0}


def test_losses_of_a_linear_model_by_numpy(data):
  """Eq. (1) by a fine sum over lam, eq. (3) by Lemma 3.1, D~ = Beta(2, 1)."""
  (x, y), _ = jax.device_get(data)
  theta = np.array([0.7, -1.1])
  mixup, quadratic = zhang_figure2.losses(1.0)
  f = x @ theta
  nodes, prob = np.polynomial.legendre.leggauss(40)
  lam = (0.5 * (nodes + 1.0))[:, None, None]
  mixed = lam * f[:, None] + (1.0 - lam) * f[None]
  label = lam * y[:, None] + (1.0 - lam) * y[None]
  losses = np.mean(softplus(mixed) - label * mixed, axis=(1, 2))
  np.testing.assert_allclose(
    jax.jit(mixup)(linear(theta), x, y), 0.5 * prob @ losses, rtol=1e-6
  )
  g = 1.0 / (1.0 + np.exp(-f))
  moved = f[None] - f[:, None]  # along theta, from i to j
  first = np.mean((g - y)[:, None] * moved)
  second = np.mean((g * (1.0 - g))[:, None] * moved**2)
  expected = np.mean(softplus(f) - y * f) + first / 3.0 + second / 12.0
  np.testing.assert_allclose(
    jax.jit(quadratic)(linear(theta), x, y), expected, rtol=1e-10
  )


@pytest.mark.parametrize("widths", [(2, 1), (2, 8, 1)])
def test_attacks_by_a_grid_of_steps(data, widths):
  (x, y), _ = data
  params = networks.init(jax.random.key(1), widths, biases=len(widths) > 2)
  is_linear = len(widths) == 2
  loss = getattr(
    zhang_figure4, "worst_linear_loss" if is_linear else "attacked_loss"
  )
  angles = np.linspace(0.0, 2.0 * np.pi, 181)
  step = 0.5 * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
  around = np.asarray(x)[:, None] + step
  f = networks.logits(params, jnp.asarray(around.reshape(-1, 2)))
  f = np.asarray(f).reshape(len(x), -1)
  worst = np.max(softplus(f) - np.asarray(y)[:, None] * f, axis=1).mean()
  found = float(jax.jit(loss)(params, x, y))
  standard = float(moons.standard_loss(params, x, y))
  assert found > standard + 0.01
  np.testing.assert_allclose(found, worst, rtol=1e-3 if is_linear else 1e-2)


def test_descent_by_hand():
  """Momentum 0.9 on w^2 / 2 from 1, with steps of 0.5."""
  path = networks.descend(
    lambda w: 0.5 * w**2, jnp.asarray(1.0), steps=3, learning_rate=0.5
  )
  trace = 0.5 + 0.9 * 1.0
  second = 0.5 - 0.5 * trace
  third = second - 0.5 * (second + 0.9 * trace)
  np.testing.assert_allclose(path, [1.0, 0.5, second, third], rtol=1e-6)


def test_networks_without_biases_are_homogeneous():
  params = networks.init(jax.random.key(0), (3, 4, 4, 1), biases=False)
  x = jax.random.normal(jax.random.key(1), (5, 3))
  np.testing.assert_allclose(
    networks.logits(params, 3.0 * x), 3.0 * networks.logits(params, x)
  )
  hidden = np.maximum(np.asarray(x) @ params[0]["kernel"], 0.0)
  hidden = np.maximum(hidden @ params[1]["kernel"], 0.0)
  np.testing.assert_allclose(
    networks.logits(params, x), (hidden @ params[2]["kernel"])[:, 0]
  )


def test_gaps_by_hand():
  train = {
    "own_loss": [[1.0, 2.0, 4.0], [1.0, 2.0, 4.0]],
    "own_approximation": [[1.0, 1.0, 3.0], [1.0, 1.0, 4.0]],
    "same_approximation": [[1.0, 1.0, 5.0], [1.0, 1.0, 5.0]],
  }
  gaps = moons.gaps(dict.fromkeys(moons.MODELS, {"train": train}))
  for gap in gaps.values():
    assert gap == {
      "own": -0.125,
      "own_seeds": [-0.25, 0.0],
      "same": 0.25,
      "same_largest": -0.5,
    }
  assert not moons.close(gaps)
  assert moons.percent(-0.0002) == "+0.0%"


def test_both_trainings_start_alike_and_learn(smoke, attack):
  for curves in [*smoke["curves"].values(), attack["curves"]]:
    for model in moons.MODELS:
      train = {k: np.asarray(v) for k, v in curves[model]["train"].items()}
      for pair in (
        ("own_loss", "crossed_loss"),
        ("own_approximation", "same_approximation"),
      ):
        first, second = (train[name][:, 0] for name in pair)
        np.testing.assert_allclose(first, second)
        assert np.all(train[pair[0]][:, -1] != train[pair[1]][:, -1])
        assert np.all(train[pair[0]][:, -1] < first)


def test_captions_say_what_was_seen(smoke, attack):
  for result in (smoke, attack):
    verdict = "Seen" if result["seen"] else "Not seen"
    assert f"{verdict} within 10%" in result["caption"].replace(",", "")
  plain = attack["curves"]["Two-layer ReLU network"]["train"]
  assert plain["plain_loss"][0][0] == plain["own_loss"][0][0]
