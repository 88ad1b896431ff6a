"""Selection by hand-made results."""

import math

import numpy as np
import pytest
from scipy import stats

from experiments.sweep import results, selection, table


def result(validation, test=0.5, **keys):
  return {
    **keys,
    "validation": {"accuracy": validation, "loss": 1.0 - validation},
    "test": {"accuracy": test, "loss": 1.0 - test},
    "seconds": 1.0,
  }


def test_the_best_mean_validation_error_wins_whatever_the_test_says():
  found = [
    result(0.9, test=0.1, alpha=1.0, eta=0.0, seed=0),
    result(0.7, test=0.1, alpha=1.0, eta=0.0, seed=1),
    result(0.99, test=0.9, alpha=2.0, eta=0.0, seed=0),
    result(0.59, test=0.9, alpha=2.0, eta=0.0, seed=1),
  ]
  cell, by_run = selection.select(found)
  assert cell == {"alpha": 1.0, "eta": 0.0}  # 0.80 for 0.79
  assert by_run.keys() == {0, 1}
  assert selection.tested(by_run).mean == pytest.approx(0.9)


def test_ties_go_to_less_eta_then_to_less_alpha():
  found = [
    result(0.8, alpha=0.1, eta=1.0, seed=0),
    result(0.8, alpha=5.0, eta=0.1, seed=0),
    result(0.8, alpha=2.0, eta=0.1, seed=0),
    result(0.7, alpha=0.1, eta=0.0, seed=0),
  ]
  cell, _ = selection.select(found)
  assert cell == {"alpha": 2.0, "eta": 0.1}


def test_sums_in_another_order_still_tie():
  # 0.1 + 0.2 + 0.3 and 0.3 + 0.2 + 0.1 differ in their last digit.
  errors = [0.1, 0.2, 0.3]
  assert np.mean(errors) != np.mean(errors[::-1])
  found = [result(1 - e, eta=1.0, seed=i) for i, e in enumerate(errors[::-1])]
  found += [result(1 - e, eta=0.0, seed=i) for i, e in enumerate(errors)]
  cell, _ = selection.select(found)
  assert cell == {"eta": 0.0}


def test_a_cell_with_a_run_that_diverged_is_not_picked():
  found = [
    result(0.99, eta=3.0, seed=0),
    {"eta": 3.0, "seed": 1, "diverged_at": 7, "seconds": 1.0},
    result(0.8, eta=0.0, seed=0),
    result(0.8, eta=0.0, seed=1),
  ]
  cell, _ = selection.select(found)
  assert cell == {"eta": 0.0}
  with pytest.raises(ValueError, match="every one has a run that diverged"):
    selection.select(found[:2])
  with pytest.raises(ValueError, match="no results"):
    selection.select([])


def test_a_cell_that_lacks_runs_is_an_error():
  found = [
    result(0.9, eta=0.0, seed=0),
    result(0.9, eta=0.0, seed=1),
    result(0.9, eta=1.0, seed=0),
  ]
  with pytest.raises(ValueError, match=r"'eta': 1.0.* lacks seed 1"):
    selection.select(found)


def test_folds_tell_a_cells_runs_apart_where_asked():
  found = [result(0.9, fold=k, seed=0) for k in range(3)]
  ((cell, by_run),) = selection.cells(found, over="fold")
  assert cell == {"seed": 0} and list(by_run) == [0, 1, 2]


def test_paired_differences_and_their_interval():
  ours = {s: result(0.5, test=t) for s, t in enumerate([0.9, 0.8, 0.7])}
  theirs = {s: result(0.5, test=t) for s, t in enumerate([0.8, 0.8, 0.5])}
  found = selection.paired(ours, theirs)
  expected = np.array([-0.1, 0.0, -0.2])  # ours is the better: less error
  assert found.mean == pytest.approx(-0.1)
  assert found.standard_error == pytest.approx(0.1 / math.sqrt(3))
  low, high = stats.t.interval(0.95, 2, expected.mean(), stats.sem(expected))
  assert (found.low, found.high) == pytest.approx((low, high))
  with pytest.raises(ValueError, match="the same runs"):
    selection.paired(ours, {0: theirs[0]})


def test_one_run_has_no_interval():
  found = selection.estimate([0.25])
  assert found.mean == 0.25 and found.runs == 1
  assert math.isnan(found.standard_error) and math.isnan(found.low)


def test_the_table_has_the_best_first_and_counts_what_diverged():
  text = table.markdown(
    [
      result(0.5, test=0.25, eta=0.0, seed=0),
      result(0.9, test=0.75, eta=0.1, seed=0),
      result(0.7, test=0.65, eta=0.1, seed=1),
      {"eta": 3.0, "seed": 0, "diverged_at": 7, "seconds": 1.0},
    ]
  )
  rows = [line.strip("| ").split(" | ") for line in text.splitlines()]
  assert rows[0][:3] == ["eta", "seeds", "validation error (%)"]
  assert rows[2] == ["0.1", "2", "20.00 ± 10.00", "30.00 ± 5.00", "0"]
  assert rows[3] == ["0.0", "1", "50.00", "75.00", "0"]
  assert rows[4] == ["3.0", "1", "—", "—", "1"]


def test_results_survive_a_cut_last_line(tmp_path):
  path = tmp_path / "results.jsonl"
  assert results.read(path) == []
  results.append(path, [result(0.5, seed=0)])
  with open(path, "ab") as file:
    file.write(b'{"seed": 1, "valid')
  assert [one["seed"] for one in results.read(path)] == [0]
  results.append(path, [result(0.6, seed=1)])
  assert [one["seed"] for one in results.read(path)] == [0, 1]
  assert results.keys(results.read(path)[1]) == {"seed": 1}


@pytest.mark.parametrize("line", [b"{", b"3", b"\xff", b""])
def test_a_damaged_line_is_named(tmp_path, line):
  path = tmp_path / "results.jsonl"
  path.write_bytes(b'{"seed": 0}\n' + line + b'\n{"seed": 2}\n')
  with pytest.raises(ValueError, match=r"results.jsonl, line 2, is damaged"):
    results.read(path)
