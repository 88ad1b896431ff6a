"""Where mixing fails: the line's loss, and the features' minimisers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.figures import chidambaram_features as features
from experiments.figures import chidambaram_line as line
from jaxmix import policies, theory

FIGURE = line


def test_the_mixtures_make_mixups_loss():
  """The weighted loss is eq. (1) over all pairs, and without mixing ERM's."""
  theta = 0.7
  plain = line.mixtures(None)
  assert plain["prob"].sum() == pytest.approx(1.0)
  assert {*plain["points"][:, 0]} == {0.0, 1.0, 2.0}
  mixed = line.mixtures(policies.mixup(8.0))
  f = theta * mixed["points"][:, 0]
  loss = np.sum(mixed["prob"] * (np.logaddexp(0.0, f) - mixed["labels"] * f))
  expected = jax.jit(
    lambda: theory.mixup_loss(
      lambda x: theta * x[:, 0],
      jnp.asarray(line.POINTS),
      jnp.asarray(line.LABELS, float),
      alpha=8.0,
    )
  )()
  assert loss == pytest.approx(float(expected), rel=1e-9)


def test_the_line_has_its_points_and_its_verdict(smoke):
  assert set(smoke["networks"]) == {"ERM", "1.0", "8.0", "32.0", "128.0"}
  # The middle, at a radius of 0.1: right under Beta(1, 1), wrong at the end.
  alphas, values = smoke["alphas"], smoke["middle"]["0.1"]
  assert np.interp(1.0, alphas, values) > 0.5 > values[-1]
  assert values[-1] == pytest.approx(1 / 3, abs=2e-3)


def test_features_are_mirrored_and_the_first_is_constant():
  x, y = features.data(0, 3)
  np.testing.assert_array_equal(x[:3], -x[3:])
  np.testing.assert_array_equal(x[:, 0], np.where(y == 1, 0.5, -0.5))
  assert np.std(x[:3, 1]) > 0.1
  lying, _ = features.data(0, 3, low=-features.LOW)
  np.testing.assert_array_equal(lying[:, 1:], x[:, 1:])
  np.testing.assert_array_equal(lying[:, 0], -x[:, 0])


def test_every_loss_falls_when_logits_become_their_classs_mean():
  """Jensen, over all pairs: by the constant feature alone."""
  x, y = features.data(0, 3)
  rng = np.random.default_rng(0)
  run = {
    method: jax.jit(lambda theta, m=method: features.loss(m, theta, x, 1.0 * y))
    for method in features.METHODS
  }
  for theta in rng.normal(size=(3, x.shape[1])):
    mean = np.mean(x[:3] @ theta)
    alone = np.zeros_like(theta)
    alone[0] = mean / features.LOW
    for method, loss in run.items():
      assert loss(alone) < loss(theta) - 1e-6, method


def test_smoothing_by_hand():
  """Where every logit is +-u the smoothed loss is least at its log-odds."""
  x, y = features.data(0, 2)
  theta = np.zeros(x.shape[1])
  theta[0] = np.log(0.95 / 0.05) / features.LOW
  loss = lambda theta: features.loss("label smoothing", theta, x, 1.0 * y)
  value, slope = jax.value_and_grad(loss)(jnp.asarray(theta))
  entropy = -0.95 * np.log(0.95) - 0.05 * np.log(0.05)
  assert float(value) == pytest.approx(entropy)
  np.testing.assert_allclose(slope, 0.0, atol=1e-12)


def test_distances_by_hand():
  theta = np.array([3.0, 4.0])
  found = features.distances(theta, np.array([[1.0, 2.0], [1.0, 2.0]]), [1, 0])
  np.testing.assert_allclose(found, [2.2, -2.2])
  assert features.share(theta) == pytest.approx(0.8)


def test_mixup_leaves_the_noisy_features_and_erm_does_not():
  result = features.compute(smoke=True)
  first = {name: rows[0][0] for name, rows in result["shares"].items()}
  assert first["Mixup"] < 0.1 < 0.5 < first["ERM"]
  # The worst l2 step of the constant feature alone is its value.
  assert result["radius"]["Mixup"] == pytest.approx(features.LOW, rel=0.2)
  assert result["radius"]["ERM"] > 2.0 * features.LOW
  features.draw(result).canvas.draw()
