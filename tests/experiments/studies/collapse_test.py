"""Why graph networks collapse: what is seen of runs, by hand and for real."""

import numpy as np

from experiments.studies import collapse

# Two runs at three looks: the second is constant from the second look on.
TOLD = {
  "epochs": [10, 20, 30],
  "dead": [[0.0, 0.5], [0.25, 1.0], [0.25, 1.0]],
  "readout": [[40.0, 60.0]] * 3,
  "constant": [[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]],
}


def test_a_run_that_wakes_up_again_has_not_collapsed():
  assert collapse.collapsed(TOLD) == [None, 20]


def test_the_table_and_its_caption_say_the_numbers():
  sets = {"toy": {"1": TOLD}}
  assert "| toy | 1 | 1 of 2 | 50 | 100, 25 |" in collapse.markdown(sets)
  assert "1 of 2 runs end with a constant output, 1 of them with all" in (
    collapse.caption(sets)
  )


def test_runs_of_a_data_set_are_looked_at(shared, tmp_path):
  told = collapse.train(
    "mutag", f"{shared('tudataset')}/tudataset", tmp_path, smoke=True
  )
  (seen,) = told.values()
  assert seen["epochs"] == [3]
  assert np.shape(seen["dead"]) == (1, 2)
  # Means of up to 28 nodes' features over 18 are of the order of 1.
  assert 0.1 < min(seen["readout"][0]) <= max(seen["readout"][0]) < 100.0
  assert seen["constant"] == [[0.0, 0.0]]
