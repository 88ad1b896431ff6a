"""MixupE's table 6: the two choices, and what has collapsed, by hand."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from experiments.studies import graphs
from experiments.sweep import grid


def result(fold, validation, test, **keys):
  line = lambda values: {"accuracy": values, "loss": [1.0] * len(values)}
  return {
    **keys,
    "fold": fold,
    "curve": {"validation": line(validation), "test": line(test)},
    "seconds": 1.0,
  }


def test_the_two_choices_by_hand():
  cells = [
    # Validation prefers the first epoch, the test folds the second.
    (
      {"alpha": 0.1},
      {
        0: result(0, [0.9, 0.8], [0.5, 0.7]),
        1: result(1, [0.7, 0.6], [0.7, 0.9]),
      },
    ),
    (
      {"alpha": 1.0},
      {
        0: result(0, [0.8, 0.8], [0.9, 0.6]),
        1: result(1, [0.8, 0.8], [0.5, 0.6]),
      },
    ),
  ]
  cell, epoch, errors = graphs.choose(cells, "validation")
  assert (cell, epoch) == ({"alpha": 0.1}, 0)  # a tie at 0.8: the first cell
  np.testing.assert_allclose(errors, [50.0, 30.0])
  cell, epoch, errors = graphs.choose(cells, "test")
  assert (cell, epoch) == ({"alpha": 0.1}, 1)
  np.testing.assert_allclose(errors, [30.0, 10.0])


def test_a_run_that_diverged_knows_nothing_and_keeps_its_place():
  diverged = {"fold": 0, "diverged_at": 3}
  cells = [({}, {1: result(1, [0.8], [0.6]), 0: diverged})]
  _, _, errors = graphs.choose(cells, "test")
  np.testing.assert_allclose(errors, [100.0, 40.0])


def test_a_difference_is_of_the_same_folds(monkeypatch):
  monkeypatch.setattr(graphs, "shares", lambda base, fold: {})
  gone = lambda run, known: (run["fold"], run["method"]) == (2, "mixupe")
  monkeypatch.setattr(graphs, "has_collapsed", gone)
  keys = {graphs.SCALE: 1.0}
  one = lambda fold, error, **own: result(
    fold, [0.9], [1.0 - error], **keys, **own
  )
  found = [
    *(one(k, error, method="erm") for k, error in enumerate((0.2, 0.1, 0.3))),
    # By fold, whatever the order: 1, 2 and 3 points less.
    *(
      one(k, error, method="mixup", alpha=1.0)
      for k, error in ((2, 0.27), (0, 0.19), (1, 0.08))
    ),
    *(one(k, 0.5, method="mixupe", alpha=1.0, eta=1.0) for k in range(3)),
  ]
  told = graphs.summarize(found, None)["scales"]["1"]
  less = told["Mixup"]["honest"]["difference"]
  assert less["mean"] == pytest.approx(-2.0)
  # Student's t of two degrees of freedom, 4.303, times 1 / sqrt(3).
  assert less["high"] == pytest.approx(-2.0 + 4.3027 / 3**0.5, abs=1e-3)
  toy = {"toy": {"scales": {"1": told}}}
  assert "| 1 of 3 (1 at eta 1) |" in graphs.markdown(toy)
  assert " over ten folds (toy 3), of the cell " in graphs.markdown(toy)
  text = graphs.caption(toy)
  assert "MixupE (toy, / 1) is told apart" in text


def test_a_constant_output_has_one_classs_share_in_both_parts():
  known = {"validation": np.array([0.4, 0.6]), "test": np.array([0.3, 0.7])}
  assert graphs.has_collapsed(result(0, [0.9, 0.6], [0.8, 0.7]), known)
  assert graphs.has_collapsed(result(0, [0.9, 0.4], [0.8, 0.3]), known)
  # Of different classes: a coincidence of two good guesses.
  assert not graphs.has_collapsed(result(0, [0.9, 0.6], [0.8, 0.3]), known)
  assert not graphs.has_collapsed(result(0, [0.6, 0.9], [0.7, 0.8]), known)
  assert graphs.has_collapsed({"fold": 0, "diverged_at": 5}, known)


def test_the_runs_of_a_data_set_are_two_forms_of_three_methods(shared):
  base, grids = graphs.sweeps("mutag", f"{shared('tudataset')}/tudataset")
  points = grid.points(grids, base)
  assert len(points) == 2 * 10 * (1 + 1 + 2)
  config = points[0].config
  assert config.mix_at == "input" and config.model_options.readout_scale == 1.0
  # Eight folds of 188 graphs, in batches of 32: five steps an epoch.
  assert (config.total_steps, config.eval_every) == (350 * 5, 5)
  _, in_part = graphs.sweeps("nci1", f"{shared('tudataset')}/tudataset")
  assert len(grid.points(in_part, base)) == 5 * (1 + 1 + 2)
  told = graphs.shares(base, 0)
  assert told["test"].sum() == 1.0 and len(told["test"]) == 2


def test_the_command_makes_table_numbers_and_picture(shared, tmp_path):
  """Of what it trains, beside what the file has already."""
  (tmp_path / "out").mkdir()
  committed = pathlib.Path(graphs.__file__).parents[1] / "results/graphs"
  one = json.loads((committed / "graphs.json").read_text())["sets"]["ptc_mr"]
  sets = {"ptc_mr": one | {"commit": "0123456"}, "nci1": dict(one)}
  sets["nci1"].pop("commit", None)
  before = {"made_with": {"commit": "89abcde"}, "sets": sets}
  (tmp_path / "out" / "graphs.json").write_text(json.dumps(before))
  command = [
    sys.executable,
    *("-m", "experiments.studies.graphs", "--smoke", "--sets=mutag"),
    *(
      f"--data_dir={shared('tudataset')}/tudataset",
      f"--workdir={tmp_path / 'runs'}",
    ),
    f"--out={tmp_path / 'out'}",
  ]
  subprocess.run(command, check=True, capture_output=True)
  told = json.loads((tmp_path / "out" / "graphs.json").read_text())
  assert {name: one["commit"] for name, one in told["sets"].items()} == {
    "mutag": told["made_with"]["commit"],
    "nci1": "89abcde",
    "ptc_mr": "0123456",
  }
  methods = told["sets"]["mutag"]["scales"]["18"]
  assert methods.keys() == {"ERM", "Mixup", "MixupE"}
  for one in methods.values():
    assert one["paper"]["error"] <= one["honest"]["error"]
  assert (tmp_path / "out" / "graphs.png").stat().st_size > 10_000
  assert (
    "| mutag | 18 | MixupE |" in (tmp_path / "out" / "graphs.md").read_text()
  )
