"""Mixup, untied MixUp and DAT as one law."""

import numpy as np
import pytest

from experiments.figures import dat_moves

FIGURE = dat_moves


def test_three_policies_are_one_law(smoke):
  assert smoke["seen"] and "Seen" in smoke["caption"]
  one, both = smoke["ks_limit"]
  assert one == pytest.approx(1.63 / np.sqrt(smoke["settings"]["draws"]), 1e-2)
  assert all(law["ks"] < one for law in smoke["laws"].values())
  assert smoke["ks_untied_mixup"] < both
  losses = [law["loss"] for law in smoke["laws"].values()]
  assert np.ptp(losses) < 1e-8
  assert smoke["largest_untie"] == 0.0


def test_densities_are_those_of_beta_2_1(smoke):
  middle = 0.5 * (dat_moves.BINS[1:] + dat_moves.BINS[:-1])
  # 2000 draws in bins of 0.04: four standard errors of the fullest.
  within = 4.0 * np.sqrt(2.0 * 0.04 / smoke["settings"]["draws"]) / 0.04
  for law in smoke["laws"].values():
    np.testing.assert_allclose(law["density"], 2.0 * middle, atol=within)


def test_dat_moves_one_example_towards_its_partners(smoke):
  x = np.asarray(smoke["x"])
  start = x[smoke["clouds"]["chosen"]]
  moved = np.asarray(smoke["clouds"]["moved"]) - start
  whole = x - start
  length = np.sum(whole**2, axis=1)
  share = np.sum(moved * whole, axis=1) / np.where(length > 0, length, 1.0)
  assert np.all((share >= 0.0) & (share <= 1.0))
  np.testing.assert_allclose(moved, share[:, None] * whole, atol=2e-3)
  step = np.asarray(smoke["attacked"]) - start
  assert np.linalg.norm(step) == pytest.approx(0.5, abs=1e-3)


def test_labels_stay_whole_under_dat_alone(smoke):
  clouds = smoke["clouds"]
  assert set(clouds["dat(2, 1)"]["y"]) == {0.0, 1.0}
  soft = np.asarray(clouds["mixup(1)"]["y"])
  assert np.mean((soft > 0.0) & (soft < 1.0)) > 0.3


def test_mixup_lies_on_one_curve(smoke):
  """E[u^2] = E[u] / 2 for u = 1 - lam under D~, whatever Mixup's law."""
  mean, deviation = np.transpose(smoke["reach"])
  np.testing.assert_allclose(deviation**2 + mean**2, mean / 2, rtol=1e-2)
  assert np.max(mean) < 0.5


def test_weights_follow_the_papers_gamma(smoke):
  for name, power in {
    "mixup(1)": 1,
    "untied(2, 1)": 1,
    "untied(4, 1)": 3,
  }.items():
    lam, weight = (
      np.asarray(smoke["weights"][name][k]) for k in ("lam", "weight")
    )
    gamma = lam**power / (lam**power + (1.0 - lam) ** power)
    np.testing.assert_allclose(weight, gamma, atol=5e-3)
