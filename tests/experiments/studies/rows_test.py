"""Rows of a sweep: paired differences, table, words and picture."""

import numpy as np

from experiments.studies import rows

ROWS = rows.Rows(
  {
    "ERM": {"method": "erm"},
    "Mixup": {"method": "mixup"},
    "control": {"method": "mixupe", "eta": 0.0},
    "MixupE": {"method": "mixupe", "eta": 0.3},
  },
  against={"Mixup": "Mixup", "Control": "control"},
  asked=(("ERM", "Mixup"), ("MixupE", "Mixup"), ("MixupE", "Control")),
  note="A note.",
  along={"control": 0.0, "MixupE": 0.3},
)


def result(title, seed, error, validation=0.5, **more):
  part = lambda accuracy: {"accuracy": accuracy, "loss": 1.0, **more}
  return {
    **ROWS.keys[title],
    "seed": seed,
    "validation": part(validation),
    "test": part(1.0 - error / 100.0),
    "seconds": 3.0,
  }


def both_seeds(errors, **more):
  return [
    result(title, seed, error, **more)
    for title, both in errors.items()
    for seed, error in enumerate(both)
  ]


FOUND = both_seeds(
  {
    "ERM": (12.0, 14.0),
    "Mixup": (10.0, 11.0),
    "control": (9.0, 10.5),
    "MixupE": (8.0, 8.5),
  },
  calibration_error=0.25,
)


def test_grids_are_of_the_rows_named():
  assert ROWS.grids(2) == [
    "method=erm;seed=0..1",
    "method=mixup;seed=0..1",
    "method=mixupe;eta=0.0;seed=0..1",
    "method=mixupe;eta=0.3;seed=0..1",
  ]
  assert ROWS.grids(3, ["Mixup"]) == ["method=mixup;seed=0..2"]


def test_differences_are_paired_by_hand():
  told = rows.summarize(ROWS, FOUND)
  assert told["seeds"] == 2 and told["seconds"] == 24
  found = told["rows"]
  assert found["Mixup"]["error"]["mean"] == 10.5
  assert found["Mixup"]["validation_error"]["mean"] == 50.0
  assert found["Mixup"]["calibration_error"]["mean"] == 25.0
  assert "minus_mixup" not in found["Mixup"]
  assert found["ERM"]["minus_mixup"]["mean"] == 2.5
  assert found["control"]["minus_mixup"]["mean"] == -0.75
  ours = found["MixupE"]["minus_control"]
  # -1 and -2: a standard error of a half, and 12.706 of them either way.
  np.testing.assert_allclose(ours["mean"], -1.5)
  np.testing.assert_allclose(ours["low"], -1.5 - 6.3531, rtol=1e-4)
  # |t| is 13, 3 and 3 for ERM, Mixup and this row, with one degree of freedom:
  # p = 1 - 2 arctan(|t|) / pi, and Holm doubles the second smallest of three.
  np.testing.assert_allclose(ours["p"], 2 - 4 * np.arctan(3) / np.pi, rtol=1e-4)
  text = rows.markdown(ROWS, {"a": told})
  assert "| a | ERM | 13.00 ± 1.00 | +2.50 (" in text and "A note." in text
  words = rows.caption(ROWS, {"a": told})
  assert words.startswith("Points of test error. a, 2 paired seeds: ")
  assert "MixupE − Mixup −2.25 (" in words and words.endswith(").")


def test_rows_may_have_controls_of_their_own():
  own = {"MixupE": "control", "control": "Mixup", "ERM": "ERM"}
  found = rows.summarize(ROWS._replace(against={"own": own}), FOUND)["rows"]
  assert found["MixupE"]["minus_own"]["mean"] == -1.5
  assert found["control"]["minus_own"]["mean"] == -0.75
  assert not {"minus_own"} & (found["ERM"].keys() | found["Mixup"].keys())


def test_a_row_that_diverged_says_so_and_no_more():
  found = both_seeds({"Mixup": (10.0, 11.0), "ERM": (12.0, 13.0)})
  found[-1] = {**ROWS.keys["ERM"], "seed": 1, "diverged_at": 7, "seconds": 1.0}
  told = rows.summarize(ROWS, found)
  assert told["rows"]["ERM"] == {"seconds": 2.0, "diverged": 1}
  assert "| ERM | 1 diverged | —" in rows.markdown(ROWS, {"a": told})
  assert "ERM −" not in rows.caption(ROWS, {"a": told})
  alone = rows.summarize(ROWS, both_seeds({"ERM": (1.0, 2.0)}))
  assert rows.caption(ROWS, {"a": alone}).endswith(": nothing to compare.")


def test_losses_without_a_calibration_error_have_none():
  found = both_seeds({"ERM": (12.0, 14.0)})
  assert "calibration_error" not in rows.summarize(ROWS, found)["rows"]["ERM"]


def test_the_picture_has_differences_and_the_error_against_eta():
  summary = {"a": rows.summarize(ROWS, FOUND)}
  mixup, control, eta = rows.draw(ROWS, summary).axes
  names = [tick.get_text() for tick in mixup.get_yticklabels()]
  assert names == ["ERM", "control", "MixupE"]
  assert control.get_xlabel() == "test error − Control (%)"
  curve = eta.lines[0]
  np.testing.assert_allclose(curve.get_xdata(), [0.0, 0.3])
  np.testing.assert_allclose(curve.get_ydata(), [9.75, 8.25])
  (level,) = [line for line in eta.lines if line.get_linestyle() == "--"]
  assert set(level.get_ydata()) == {10.5}
