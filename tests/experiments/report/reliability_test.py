"""The reliability diagram: its numbers by hand, over seeds, and its picture."""

import json

import matplotlib.image
import numpy as np
import pytest

from experiments import report
from experiments.report import reliability
from experiments.report.runs import find, group


def leave(folder, **parts):
  (folder / "diagrams.json").write_text(json.dumps({"step": 300, **parts}))


def bins(confidence, correct, count):
  own = {"confidence": confidence, "correct": correct, "count": count}
  return {
    "polyak": own,
    "live": {k: [2 * x for x in v] for k, v in own.items()},
  }


@pytest.fixture
def seeds(tmp_path, make_group):
  make_group(tmp_path / "mixup", {0: 10.0, 1: 12.0})
  leave(
    tmp_path / "mixup" / "seed_0", eval=bins([2, 0, 9], [1, 0, 8], [8, 0, 10])
  )
  leave(
    tmp_path / "mixup" / "seed_1", eval=bins([1, 0, 9], [2, 0, 9], [4, 0, 10])
  )
  return tmp_path


def test_bins_are_shares_over_all_seeds(seeds):
  (one,) = group(find([seeds]))
  confidence, accuracy, count = reliability.curve(one, "polyak")
  np.testing.assert_allclose(confidence, [3 / 12, 18 / 20])
  np.testing.assert_allclose(accuracy, [3 / 12, 17 / 20])
  np.testing.assert_array_equal(count, [12, 20])
  np.testing.assert_array_equal(reliability.curve(one, "live")[2], [24, 40])


def test_the_test_part_comes_first(seeds):
  folder = seeds / "mixup" / "seed_0"
  leave(folder, eval=bins([1], [1], [2]), test=bins([3], [2], [4]))
  (one,) = group([run for run in find([seeds]) if run.folder == folder])
  np.testing.assert_allclose(reliability.curve(one, "polyak")[1], [0.5])


def test_a_picture_is_drawn_where_there_is_one(seeds, make_run):
  text = report.write([seeds], seeds / "out")
  assert text.splitlines()[-1] == str(seeds / "out" / "reliability.png")
  pixels = matplotlib.image.imread(seeds / "out" / "reliability.png")
  ink = (pixels[..., :3] < 0.95).any(-1).mean()
  assert pixels.shape[1] == 1200 and 0.005 < ink < 0.3
  # A run that left nothing is no reason to leave the others out.
  make_run(seeds / "erm", 9.0, method="erm")
  assert "reliability.png" in report.write([seeds], seeds / "out")


def test_runs_of_before_leave_none(two):
  assert "reliability" not in report.write([two], two / "out")
  assert not (two / "out" / "reliability.png").exists()


def test_a_damaged_file_is_named(seeds):
  (seeds / "mixup" / "seed_0" / "diagrams.json").write_text('{"eval": [1]}')
  with pytest.raises(ValueError, match="diagrams.json is damaged"):
    find([seeds])
