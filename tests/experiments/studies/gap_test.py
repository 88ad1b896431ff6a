"""The gap's study: what it measures, by hand and once trained."""

import numpy as np

from experiments.configs import common
from experiments.inputs import images
from experiments.studies import command, gap
from experiments.sweep import grid


def test_runs_are_by_alpha_and_with_and_without_augmentation():
  base, grids = gap.sweeps("fashion_mnist", "")
  points = grid.points(grids, base)
  # Seven alphas, ERM, and both augmented; alpha = 1 is trained once.
  assert len(points) == gap.SEEDS * (7 + 1 + 2)
  configs = [common.resolve(point.config) for point in points]
  alphas = {c.alpha for c in configs if c.method == "mixup"}
  assert alphas == {0.1, 0.2, 0.4, 0.8, 1.0, 2.0, 4.0}
  assert {(c.method, c.crop_padding, c.hflip) for c in configs} == {
    *(("erm", 0, 0.0), ("mixup", 0, 0.0)),
    *(("erm", 4, 0.5), ("mixup", 4, 0.5)),
  }
  for config in configs:
    parts = images.parts(config)
    # What is evaluated is what is trained on.
    assert parts.train == parts.evaluate == [("train", range(2000))]
    assert parts.test == [("test", range(10_000))]


def result(title, seed, train_loss, test_loss, errors):
  parts = {
    "validation": {"accuracy": 1.0, "loss": train_loss},
    "test": {"accuracy": 1.0 - errors[-1] / 100.0, "loss": test_loss},
  }
  curve = {
    "step": [10, 20],
    "validation": {"accuracy": [0.5, 1.0], "loss": [2.0, train_loss]},
    "test": {
      "accuracy": [1.0 - error / 100.0 for error in errors],
      "loss": [3.0, test_loss],
    },
  }
  keys = gap.ROWS.keys[title]
  return {**keys, "seed": seed, **parts, "curve": curve, "seconds": 2.0}


FOUND = [
  result("ERM", 0, 0.25, 1.0, (40.0, 20.0)),
  result("ERM", 1, 0.25, 1.5, (50.0, 22.0)),
  result("Mixup", 0, 0.5, 0.75, (60.0, 19.0)),
  result("Mixup", 1, 0.5, 1.0, (60.0, 19.0)),
  result("α = 0.1", 0, 0.25, 0.75, (60.0, 19.0)),
  result("α = 0.1", 1, 0.25, 0.75, (60.0, 19.0)),
  result("α = 4", 0, 1.0, 1.25, (60.0, 23.0)),
  result("α = 4", 1, 1.0, 1.25, (60.0, 23.0)),
]


def test_gaps_and_curves_by_hand():
  told = gap.summarize(FOUND)
  rows = told["rows"]
  assert rows["ERM"]["gap"]["mean"] == 1.0  # of 0.75 and 1.25
  assert rows["ERM"]["test_error"]["mean"] == 21.0
  # Kimura's alpha = 1 is Zhang's Mixup.
  assert rows["α = 1"] == rows["Mixup"]
  assert rows["Mixup"]["gap"]["mean"] == 0.375
  assert told["rise"]["mean"] == 0.25 - 0.5
  ours = told["mixup_minus_erm"]
  assert ours.keys() == {"plain"}  # nothing was augmented
  assert ours["plain"]["gap"]["mean"] == 0.375 - 1.0
  assert ours["plain"]["test_error"]["mean"] == -2.0
  curve = told["curves"]["ERM"]
  assert curve["step"] == [10, 20]
  assert curve["test_error"]["mean"] == [45.0, 21.0]
  # 40 and 50: half their difference.
  np.testing.assert_allclose(curve["test_error"]["standard_error"], [5.0, 1.0])
  assert curve["gap"]["mean"] == [1.0, 1.0]
  text = gap.markdown({"a": told})
  assert "| a | ERM | 1.000 ± 0.250 | 0.250 ± 0.000 |" in text
  words = gap.caption({"a": told})
  assert "0.500 nats at α = 0.1, 0.250 at α = 4" in words
  assert "test error −2.00 (" in words


def test_the_picture_has_the_gap_against_alpha_and_the_curves():
  along, errors, curves, gaps = gap.draw({"a": gap.summarize(FOUND)}).axes
  np.testing.assert_allclose(along.lines[0].get_xdata(), [0.1, 1.0, 4.0])
  np.testing.assert_allclose(along.lines[0].get_ydata(), [0.5, 0.375, 0.25])
  np.testing.assert_allclose(errors.lines[0].get_ydata(), [19.0, 19.0, 23.0])
  np.testing.assert_allclose(curves.lines[1].get_ydata(), [60.0, 19.0])
  np.testing.assert_allclose(gaps.lines[0].get_ydata(), [1.0, 1.0])


def test_a_row_that_diverged_says_so_and_no_more():
  bad = {**gap.ROWS.keys["α = 4"], "seed": 1, "diverged_at": 7, "seconds": 1.0}
  told = gap.summarize([*FOUND[:-1], bad])
  assert told["rows"]["α = 4"] == {"diverged": 1} and told["rise"] is None
  assert "| α = 4 | 1 diverged |" in gap.markdown({"a": told})
  assert "Gap" not in gap.caption({"a": told})
  along, *_ = gap.draw({"a": told}).axes
  np.testing.assert_allclose(along.lines[0].get_xdata(), [0.1, 1.0])


def test_it_looks_at_training_images_on_the_way(tmp_path, shared):
  base, _ = gap.sweeps("fashion_mnist", shared("fashion-mnist"), smoke=True)
  grids = gap.ROWS.grids(2, ["ERM"])  # the quickest to compile
  told = gap.summarize(command.sweep(base, grids, tmp_path))
  assert told["rows"].keys() == {"ERM"} and told["seeds"] == 2
  curve = told["curves"]["ERM"]
  assert curve["step"] == [1, 2]
  own = told["rows"]["ERM"]
  np.testing.assert_allclose(
    curve["train_loss"]["mean"][-1], own["train_loss"]["mean"], rtol=1e-3
  )
  assert own["train_loss"]["mean"] != own["test_loss"]["mean"]
