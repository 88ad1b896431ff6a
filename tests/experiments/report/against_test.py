"""Rows against alpha or eta: which belong together, the gap, the picture."""

import matplotlib.image
import numpy as np
import pytest

from experiments import report
from experiments.report import against
from experiments.report.runs import find, group


@pytest.fixture
def alphas(tmp_path, make_group):
  for alpha, error in ((1.0, 8.0), (0.1, 10.0), (4.0, 14.0)):
    make_group(
      tmp_path / f"mixup_{alpha}",
      {0: error, 1: error + 2.0},
      alpha=alpha,
      beta=alpha,
    )
  return tmp_path


def test_rows_that_differ_in_alpha_are_by_its_value(alphas, make_group):
  # Another network's, another law's, and one without a key of its own.
  make_group(alphas / "large", {0: 1.0}, alpha=2.0, beta=2.0, model="resnet20")
  make_group(alphas / "skewed", {0: 1.0}, alpha=2.0, beta=1.0)
  (family,) = against.families(group(find([alphas])))
  assert family.key == "alpha"
  assert {value: len(row.runs) for value, row in family.rows.items()} == {
    0.1: 2,
    1.0: 2,
    4.0: 2,
  }
  assert [*family.rows] == [0.1, 1.0, 4.0]


def test_two_values_are_no_curve(tmp_path, make_group):
  for eta in (0.0, 0.1):
    make_group(tmp_path / f"eta_{eta}", {0: 1.0}, method="mixupe", eta=eta)
  assert against.families(group(find([tmp_path]))) == []
  make_group(tmp_path / "eta_1.0", {0: 1.0}, method="mixupe", eta=1.0)
  (family,) = against.families(group(find([tmp_path])))
  assert [*family.rows] == [0.0, 0.1, 1.0]


def with_test(evaluation, train_loss, test_loss):
  seen = evaluation(300, 10.0, polyak_loss=train_loss)
  return [seen, evaluation(300, 10.0, polyak_loss=test_loss, split="test")]


def test_the_gap_is_of_the_training_examples(tmp_path, evaluation, make_run):
  for seed, (train_loss, test_loss) in enumerate(((0.25, 1.0), (0.5, 1.0))):
    make_run(
      tmp_path / "own" / f"seed_{seed}",
      0.0,
      evals=with_test(evaluation, train_loss, test_loss),
      seed=seed,
      eval_split="train[:500]",
      train_split="train[:500]",
    )
  (own,) = group(find([tmp_path]))
  assert against.gap(own, "polyak").per_seed == {0: 0.75, 1: 0.5}
  # Of a validation part it is none.
  make_run(
    tmp_path / "held" / "seed_0",
    0.0,
    evals=with_test(evaluation, 0.25, 1.0),
    eval_split="train[500:]",
    train_split="train[:500]",
  )
  (held,) = group(find([tmp_path / "held"]))
  assert against.gap(held, "polyak") is None


def test_the_curve_is_in_order_and_with_its_intervals(figures):
  axes = figures.Figure().subplots()
  told = [
    {"mean": 3.0, "low": 2.0, "high": 5.0},
    {"mean": 1.0, "low": None, "high": None},
  ]
  against.curve(axes, [0.5, 0.0], told, level={"mean": 2.5})
  first, level = axes.lines
  np.testing.assert_allclose(first.get_xdata(), [0.0, 0.5])
  np.testing.assert_allclose(first.get_ydata(), [1.0, 3.0])
  assert set(level.get_ydata()) == {2.5}
  (bars,) = axes.collections
  np.testing.assert_allclose(
    bars.get_segments(), [[[0, 1], [0, 1]], [[0.5, 2], [0.5, 5]]]
  )


def test_the_report_draws_it_where_there_is_something(alphas, make_run):
  text = report.write([alphas], alphas / "out")
  assert text.splitlines()[-1] == str(alphas / "out" / "against.png")
  pixels = matplotlib.image.imread(alphas / "out" / "against.png")
  ink = (pixels[..., :3] < 0.95).any(-1).mean()
  assert pixels.shape[1] == 1200 and 0.005 < ink < 0.3
  only = report.write([alphas / "mixup_1.0"], alphas / "one")
  assert "against.png" not in only
