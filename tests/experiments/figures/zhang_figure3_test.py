"""Figure 3 of Zhang et al.: the smallest cosine, over the epochs."""

import jax
import numpy as np
import pytest

from experiments.figures import networks, zhang_figure3
from jaxmix import policies

FIGURE = zhang_figure3


def test_a_run_starts_from_its_data_and_learns():
  """R_i = |cos(theta, x_i)| of the linear model, by NumPy, before training."""
  run = jax.jit(
    lambda key: zhang_figure3.trained(
      key,
      widths=(10, 1),
      policy=policies.erm(),
      n=20,
      batch_size=10,
      epochs=30,
    )
  )
  key = jax.random.key(7)
  aligned, right = jax.device_get(run(key))
  assert aligned.shape == right.shape == (31, 20)
  key_x, key_truth, key_init, _ = jax.random.split(key, 4)
  x = np.asarray(jax.random.normal(key_x, (20, 10)))
  truth = np.asarray(jax.random.normal(key_truth, (10,)))
  params = networks.init(key_init, (10, 1), biases=False)
  theta = np.asarray(params[0]["kernel"])[:, 0]
  lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(theta)
  np.testing.assert_allclose(aligned[0], np.abs(x @ theta) / lengths)
  np.testing.assert_array_equal(right[0], (x @ theta > 0) == (x @ truth > 0))
  assert np.mean(right[0]) < 0.9 and np.mean(right[-1]) >= 0.95


@pytest.mark.parametrize("prob", [0.05, 0.5, 0.95])
def test_chance_by_simulation(prob):
  draws = np.random.default_rng(0).normal(size=(4000, 100, 10))
  cosines = np.abs(draws[..., 0]) / np.linalg.norm(draws, axis=-1)
  smallest = np.min(cosines, axis=1)
  limit = zhang_figure3.by_chance(100, prob)
  # Four standard errors of a share.
  within = 4.0 * np.sqrt(prob * (1.0 - prob) / len(draws))
  assert abs(np.mean(smallest < limit) - prob) < within


def test_numbers_and_counts_agree(smoke):
  seeds, n = smoke["settings"]["seeds"], smoke["settings"]["n"]
  assert len(smoke["runs"]) == 8
  for run in smoke["runs"]:
    r = np.asarray(run["r"])
    assert r.shape == (seeds, len(smoke["epochs"]))
    assert run["grew"] == np.sum(r[:, -1] > r[:, 0])
    assert run["r_last"][0] == pytest.approx(np.min(r[:, -1]), rel=1e-2)
    assert np.all(r <= np.asarray(run["median_r_i"]))
    for counts in (run["counts_first"], run["counts_last"]):
      assert sum(counts) == seeds * n
  starts = {
    (run["model"], tuple(np.ravel(run["r_first"]))) for run in smoke["runs"]
  }
  assert len(starts) == 2  # one data and one initialisation for all trainings
