"""Statistics over seeds, worked by hand."""

import math
import pathlib

import numpy as np
import pytest

from experiments.report import measures, runs
from experiments.tasks import classification


def test_statistic_by_hand():
  # Deviations -2, 1, 1: variance 3, so sqrt(3) / sqrt(3).
  number = measures.statistic({0: 9.0, 1: 12.0, 2: 12.0})
  assert number.per_seed == {0: 9.0, 1: 12.0, 2: 12.0}
  np.testing.assert_allclose(number[:2], [11.0, 1.0])
  assert measures.statistic({7: 3.0}) == (3.0, None, {7: 3.0})


@pytest.mark.parametrize("values", [(1.0, math.inf), (math.inf, math.inf)])
def test_an_infinite_value_makes_an_infinite_mean(values):
  assert measures.statistic(dict(enumerate(values))).mean == math.inf


def test_curve_by_hand(two):
  mixup, _ = runs.group(runs.find([pathlib.Path(two)]))
  steps, means, errors = measures.curve(classification.ERROR, mixup, "polyak")
  assert steps == [100, 300]
  np.testing.assert_allclose(means, [80.0, 12.0])
  np.testing.assert_allclose(errors, [0.0, 2.0 / math.sqrt(3.0)], atol=1e-9)


def test_curve_takes_the_steps_all_seeds_have(tmp_path, evaluation, make_run):
  for seed, steps in ((0, (100, 200, 300)), (1, (150, 200, 300))):
    evals = [evaluation(step, step / 10.0) for step in steps]
    make_run(tmp_path / f"seed_{seed}", 0.0, evals=evals, seed=seed)
  (one,) = runs.group(runs.find([tmp_path]))
  steps, means, _ = measures.curve(classification.ERROR, one, "polyak")
  assert steps == [200, 300]
  np.testing.assert_allclose(means, [20.0, 30.0])
