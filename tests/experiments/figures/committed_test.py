"""Figures whose numbers take minutes: their parts, and the numbers kept."""

import importlib
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.figures import (
  dat_equivalence,
  drawing,
  kimura_bregman,
  mixupe_penalties,
  mixupe_steps,
  zhang_factors,
  zhang_generalization,
)
from jaxmix import models

FIGURE = kimura_bregman
RESULTS = pathlib.Path(__file__).parents[3] / "experiments/results/figures"
NAMES = (
  "chidambaram_features",
  "chidambaram_line",
  "dat_equivalence",
  "kimura_bregman",
  "kimura_figure3",
  "mixupe_penalties",
  "mixupe_remainder",
  "mixupe_steps",
  "zhang_factors",
  "zhang_generalization",
  "zhang_radius",
)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_kept_can_be_drawn_and_says_whether_it_is_seen(name, tmp_path):
  module = importlib.import_module(f"experiments.figures.{name}")
  result = json.loads((RESULTS / f"{name}.json").read_text())
  assert f"experiments.figures.{name}" in result["made_with"]["command"]
  assert ("Not seen" in result["caption"]) != result["seen"]
  target = tmp_path / "figure.png"
  drawing.save(module.draw(result), result["caption"], target)
  assert target.stat().st_size > 10_000


def test_divergences_are_the_known_ones(smoke):
  theta, other = np.asarray(smoke["theta"]), np.asarray(smoke["other"])
  log_cosh = lambda t: np.logaddexp(t, -t) - np.log(2.0)

  def divergence(theta, other):
    tangent = np.tanh(other) * (theta - other)
    return log_cosh(theta) - log_cosh(other) - tangent

  t, s = np.meshgrid(theta, other)
  close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-2)
  close(smoke["plain"], divergence(t, s))
  close(smoke["mixed"], divergence(t / 2, s / 2))
  assert 0.2 < smoke["raised"] < 0.8 and not smoke["seen"]


def test_one_reading_of_du_is_a_law():
  scheme = dat_equivalence.SCHEMES[dat_equivalence.SHOWN]
  readings = dat_equivalence._readings(scheme).values()
  integrals = [one["integral"] for one in readings]
  np.testing.assert_allclose(integrals, [1.0, 1.5, 1.5], atol=1e-5)


def test_slope_is_that_of_a_power():
  sizes = np.array([4, 16, 64])
  rows = np.random.default_rng(0).normal(size=(50, 3)) * sizes**-0.5
  fitted, low, high = dat_equivalence.slope(sizes, rows, 0)
  assert low < -0.5 < high and low < fitted < high < low + 0.5
  exact = np.array([[1.0], [-1.0]]) * sizes[None] ** -0.75
  assert dat_equivalence.slope(sizes, exact, 0) == pytest.approx([-0.75] * 3)


def test_q_and_qbar_of_a_linear_network_by_hand():
  """f = x W: q = (g - y)' W' (xbar - x), qbar = (y - g)' W' x."""
  rng = np.random.default_rng(0)
  x, kernel = rng.normal(size=(6, 4)), rng.normal(size=(4, 3))
  y, mean = np.arange(6) % 3, 0.1 * np.ones(4)
  apply = lambda kernel, x: x @ kernel
  found = jax.jit(
    lambda kernel: mixupe_penalties.measure(
      apply, kernel, jnp.asarray(x), jnp.asarray(y), jnp.asarray(mean)
    )
  )(jnp.asarray(kernel))
  logits = x @ kernel
  residual = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
  residual = residual - np.eye(3)[y]
  q = np.sum(residual * ((mean - x) @ kernel), axis=1)
  qbar = -np.sum(residual * logits, axis=1)
  error = np.linalg.norm(qbar - q) / np.linalg.norm(q)
  # The library's penalties are float32.
  close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4)
  close(found["error"], error)
  close(found["correlation"], np.corrcoef(q, qbar)[0, 1])
  close(found["size"], np.abs(qbar).mean() / np.abs(q).mean())
  assert 0.5 < found["gradient"] < 1.0 - 1e-4


def test_a_step_on_q_of_a_linear_network_by_hand():
  """d log |W_k| along -dq_i/dW, with dq/dW_k written out."""
  rng = np.random.default_rng(0)
  x = rng.normal(size=(5, 4))
  y, mean = np.arange(5), 0.1 * np.ones(4)
  model = models.create("mlp", 10, features=(), use_bias=False)
  kernel = rng.normal(size=(4, 10))
  params = {"head": {"kernel": jnp.asarray(kernel)}}
  found = jax.jit(
    lambda params: mixupe_steps.measure(
      model,
      params,
      jnp.asarray(x),
      jnp.asarray(y),
      jnp.asarray(mean),
      jax.random.key(0),
      watched=5,
      rounds=1,
    )
  )(params)
  logits = x @ kernel
  g = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
  residual, towards = g - np.eye(10)[y], mean - x
  moved = towards @ kernel  # df (xbar - x)
  along = g * (moved - np.sum(g * moved, axis=1, keepdims=True))
  # dq_i/dW_k = r_k (xbar - x) + g_k (moved_k - g moved) x.
  slope = residual[..., None] * towards[:, None] + along[..., None] * x[:, None]
  squares = np.sum(kernel**2, axis=0)
  expected = -np.einsum("ikd,dk->ik", slope, kernel) / squares
  np.testing.assert_allclose(found["own"], expected, rtol=1e-4, atol=1e-6)
  mean_slope = np.mean(slope, axis=0)
  first = -np.einsum("kd,dk->k", mean_slope, kernel) / squares
  np.testing.assert_allclose(
    found["first"], np.tile(first, (5, 1)), rtol=1e-4, atol=1e-6
  )
  lengths = np.linalg.norm(towards, axis=1)[:, None] * squares**0.5
  np.testing.assert_allclose(
    found["alpha"], residual * moved / lengths, rtol=1e-4, atol=1e-6
  )
  assert np.ptp(found["whole"]) > 0.0


def test_logits_grow_by_their_factors():
  (run,) = zhang_factors.compute(smoke=True)["runs"]
  grown = run["grown"]
  assert grown["logit"] != 0.0 and grown["cosine"] != 0.0
  # |x_i| does not grow.
  total = grown["slope"] + grown["cosine"]
  assert total == pytest.approx(grown["logit"], abs=0.02)


def test_gaps_are_below_their_bounds():
  result = zhang_generalization.compute(smoke=True)
  assert result["seen"] and result["settings"]["rank"] == 61
  for rows in result["rows"].values():
    for row in rows:
      assert row["gap"] <= row["quantile"] < row["monte_carlo"]
      assert 0.0 < row["complexity"] < row["monte_carlo"] < row["bound"]
