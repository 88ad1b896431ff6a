"""The league: what it makes of results, by hand, and on a real set."""

import json
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from experiments.configs import common
from experiments.studies import comparison, league
from experiments.sweep import selection
from tests import quick


def one(metric="error (%)", **tests):
  methods = {
    name: {"cell": {"method": "erm"}, "test": test}
    for name, test in tests.items()
  }
  return {"metric": metric, "seeds": [0, 1, 2, 3], "methods": methods}


@pytest.fixture
def sets():
  """On the first set Mixup is always better, on the second now and then."""
  return {
    "first": one(ERM=[10, 12, 11, 13], Mixup=[8.0, 10.1, 9.0, 10.9]),
    "second": one(ERM=[5, 7, 6, 8], Mixup=[7, 5, 8, 6]),
    "abalone_rings": one(
      "RMSE", **{"ERM": [2, 2.1, 2.2, 2.3], "C-Mixup": [2.5, 2.6, 2.8, 2.8]}
    ),
  }


def test_holm_by_hand():
  # 0.01 * 4, 0.02 * 3, then 0.04 * 2, and 0.03 * 2 is raised to no less.
  assert comparison.holm([0.04, 0.01, 0.02, 0.9]) == pytest.approx(
    [0.08, 0.04, 0.06, 0.9]
  )
  assert comparison.holm([0.5, 0.6, np.nan]) == [1.0, 1.0, 1.0]
  assert comparison.holm([0.011, 0.01]) == pytest.approx([0.02, 0.02])
  assert comparison.holm([]) == []


def test_p_values_are_those_of_the_paired_t_test():
  a, b = np.array([3.0, 5.0, 4.0, 7.0]), np.array([2.0, 4.5, 4.5, 5.0])
  expected = stats.ttest_rel(a, b).pvalue
  found = comparison.p_value(selection.estimate(a - b))
  assert found == pytest.approx(expected) and 0.05 < found < 0.5
  assert comparison.p_value(selection.estimate([1.0, 1.0])) == 0.0
  assert comparison.p_value(selection.estimate([0.0, 0.0])) == 1.0
  assert np.isnan(comparison.p_value(selection.estimate([1.0])))


def test_a_league_by_hand(sets):
  told = league.compare(sets)
  assert told["comparisons"] == 3
  first = told["differences"]["first"]["Mixup"]
  apart = np.array([-2.0, -1.9, -2.0, -2.1])
  assert first["mean"] == pytest.approx(-2.0)
  reach = stats.t.ppf(1.0 - 0.05 / 3 / 2, 3) * apart.std(ddof=1) / 2.0
  assert first["high"] == pytest.approx(-2.0 + reach, rel=1e-3)
  rings = stats.ttest_1samp([0.5, 0.5, 0.6, 0.5], 0.0).pvalue
  mixup = stats.ttest_1samp(apart, 0.0).pvalue
  small, large = sorted([rings, mixup])
  assert sorted(
    [first["p"], told["differences"]["abalone_rings"]["C-Mixup"]["p"]]
  ) == (pytest.approx([3 * small, max(3 * small, 2 * large)], rel=1e-2))
  assert told["differences"]["second"]["Mixup"]["p"] == 1.0
  # Ranks are over sets with classes: 2 and 1.5 for ERM.
  assert told["table"]["ERM"]["mean_rank"] == 1.75
  assert told["table"]["Mixup"] == {
    "mean_rank": 1.25,
    "wins": 1,
    "losses": 0,
    "open": 1,
  }
  assert told["table"]["C-Mixup"] == {
    "mean_rank": None,
    "wins": 0,
    "losses": 1,
    "open": 0,
  }


def test_the_regret_of_one_relative_eta():
  told = league.compare(
    {
      "toy": one(
        **{
          "ERM": [5, 5, 5, 5],
          "MixupE": [4, 5, 4, 5],
          league.FIXED_ETA: [4.5, 5, 5.5, 5],
        }
      )
    }
  )
  assert told["regret"]["toy"]["mean"] == 0.5
  spread = np.std([0.5, 0.0, 1.5, 0.0], ddof=1) / 2.0
  high = 0.5 + stats.t.ppf(0.975, 3) * spread
  assert told["regret"]["toy"]["high"] == pytest.approx(high, rel=1e-3)


def test_a_run_that_diverged_counts_as_the_worst():
  told = league.compare({"toy": one(ERM=[5, 5, 5, 5], Mixup=[4, None, 4, 9])})
  # 4, 9, 4, 9.
  assert told["differences"]["toy"]["Mixup"]["mean"] == 1.5


def test_results_in_short():
  test = {"accuracy": 0.75, "loss": 1.0}
  final = {
    "ERM": [
      {"method": "erm", "learning_rate": 0.01, "seed": 4, "test": test},
      {"method": "erm", "learning_rate": 0.01, "seed": 5, "diverged_at": 3},
    ]
  }
  assert league.told(final, "error (%)") == {
    "metric": "error (%)",
    "seeds": [4, 5],
    "methods": {
      "ERM": {
        "cell": {"method": "erm", "learning_rate": 0.01},
        "test": [25.0, None],
      }
    },
  }


def test_the_table_and_its_caption_say_the_numbers(sets):
  told = league.compare(sets)
  text = league.markdown(sets, told)
  assert "| Mixup | 1.25 | 1 | 0 | 1 |" in text
  assert "| ERM | 1.75 | — | — | — |" in text
  assert "| first | error (%) | 9.50 | 11.50 |  |" in text
  assert "| first | **−2.00 (" in text and "| abalone_rings | RMSE |" in text
  said = league.caption(told)
  assert "the best mean rank is Mixup's, 1.2 (ERM: 1.8)" in said
  assert "for 3 comparisons" in said


@pytest.mark.parametrize("name", ["iris", league.RINGS])
def test_every_method_has_the_same_budget(name):
  base = league.make_config(name, "data", epochs=25.0)
  for method, text in league.methods_of(name).items():
    points = league.settings(text, base, league.TUNING_SEEDS)
    cells = {str({**p.keys, "seed": 0}) for p in points}
    assert len(points) == 3 * len(cells) == 3 * league.BUDGET, method
    for point in points[:: len(points) - 1]:
      common.resolve(point.config)
  assert ("C-Mixup" in league.methods_of(name)) == (name == league.RINGS)
  assert not set(league.TUNING_SEEDS) & set(league.SEEDS)


def test_validation_chooses_and_other_seeds_test():
  base = league.make_config("iris", "data", epochs=25.0)
  tuned = [
    {"method": "mixup", "alpha": alpha, "mix_at": "random", "seed": 100}
    | {"validation": {"accuracy": accuracy}, "seconds": 1.0}
    for alpha, accuracy in ((0.1, 0.8), (0.5, 0.9))
  ]
  points = league.chosen(tuned, base, range(3))
  assert [point.keys for point in points] == [
    {"method": "mixup", "alpha": 0.5, "mix_at": "random", "seed": seed}
    for seed in range(3)
  ]


def test_the_command_makes_league_numbers_and_picture(shared, tmp_path):
  command = [
    sys.executable,
    *("-m", "experiments.studies.league", "--smoke", "--sets=iris"),
    *(f"--data_dir={shared('uci')}/uci", f"--workdir={tmp_path / 'runs'}"),
    f"--out={tmp_path / 'out'}",
  ]
  subprocess.run(
    command, env=quick.environment(), check=True, capture_output=True
  )
  told = json.loads((tmp_path / "out" / "league.json").read_text())
  methods = told["sets"]["iris"]["methods"]
  assert list(methods) == list(league.SMOKE)
  assert all(len(own["test"]) == 2 for own in methods.values())
  assert told["league"]["comparisons"] == len(league.SMOKE) - 1
  assert told["made_with"]["command"].startswith(
    "python -m experiments.studies.league"
  )
  assert (tmp_path / "out" / "league.png").stat().st_size > 10_000
  assert "| k-mixup |" in (tmp_path / "out" / "league.md").read_text()
