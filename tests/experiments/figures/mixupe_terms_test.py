"""MixupE's remainder, q beside qbar, and what a step does to |df_k|."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.figures import (
  drawing,
  mixupe_penalties,
  mixupe_remainder,
  mixupe_steps,
)

FIGURE = mixupe_remainder


def test_remainders_fall_with_one_power_more(smoke):
  assert smoke["seen"] and smoke["curves"].keys() == {"tanh", "ReLU"}
  for forms in smoke["curves"]["tanh"].values():
    for order, one in forms.items():
      assert one["slope"] == pytest.approx(int(order) + 1, abs=0.1)


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
  np.testing.assert_allclose(found["error"], error, rtol=1e-4)
  correlation = np.corrcoef(q, qbar)[0, 1]
  np.testing.assert_allclose(found["correlation"], correlation, rtol=1e-4)
  size = np.abs(qbar).mean() / np.abs(q).mean()
  np.testing.assert_allclose(found["size"], size, rtol=1e-4)
  assert 0.5 < found["gradient"] < 1.0 - 1e-4


def test_a_penalty_and_a_step_are_measured_and_drawn(tmp_path):
  result = mixupe_penalties.compute(smoke=True)
  cases = result["curves"]["digits"]
  centred, *others = (np.asarray(one["error"]) for one in cases.values())
  assert centred.max() < 1e-4 and min(error.min() for error in others) > 0.1
  steps = mixupe_steps.compute(smoke=True)
  one = steps["curves"]["digits"]
  for key in mixupe_steps.STEPS:
    shares = np.asarray(one[f"{key}_negative"])
    assert np.all((shares > 0.0) & (shares < 1.0))
  # Of the step on q_i alone the paper's reading is right, mostly.
  assert np.mean(one["own_negative"]) > np.mean(one["own_positive"]) + 0.1
  for module, found in ((mixupe_penalties, result), (mixupe_steps, steps)):
    target = tmp_path / "figure.png"
    drawing.save(module.draw(found), found["caption"], target)
    assert target.stat().st_size > 10_000
