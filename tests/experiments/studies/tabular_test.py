"""MixupE's table 4: what it makes of results, by hand, and on a real set."""

import json
import subprocess
import sys

import pytest

from experiments.configs import common
from experiments.studies import tabular, three
from experiments.sweep import grid


def result(validation, test, **keys):
  def line(accuracy):
    return {"accuracy": accuracy, "loss": 1.0, "calibration_error": 0.1}

  scaled = {"scaled_loss": 0.9, "scaled_calibration_error": 0.05}
  return {
    **keys,
    "validation": line(validation),
    "test": line(test) | scaled,
    "seconds": 2.0,
  }


@pytest.fixture
def found():
  return [
    *(result(0.5, 0.5, method="erm", seed=s) for s in (0, 1)),
    # Validation picks alpha = 1, though alpha = 2 tests better.
    *(result(0.8, 0.6, method="mixup", alpha=1.0, seed=s) for s in (0, 1)),
    *(result(0.7, 0.9, method="mixup", alpha=2.0, seed=s) for s in (0, 1)),
    result(0.8, 0.7, method="mixupe", alpha=1.0, eta=0.1, seed=0),
    result(0.8, 0.9, method="mixupe", alpha=1.0, eta=0.1, seed=1),
  ]


def test_a_data_set_by_hand(found):
  told = three.summarize(found)
  assert told["methods"]["Mixup"]["cell"] == {"alpha": 1.0}
  assert told["methods"]["Mixup"]["test"]["error"]["mean"] == 40.0
  assert told["methods"]["MixupE"]["validation_error"] == 20.0
  difference = told["differences"]["MixupE - Mixup"]["error"]
  assert difference["mean"] == -20.0  # of -10 and -30
  assert difference["standard_error"] == 10.0
  assert difference["low"] == pytest.approx(-20 - 12.706 * 10, rel=1e-4)
  assert told["differences"]["Mixup - ERM"]["error"]["mean"] == -10.0
  assert (told["runs"], told["diverged"], told["seconds"]) == (8, 0, 16)


def test_the_table_and_its_caption_say_the_numbers(found):
  summary = {"toy": three.summarize(found)}
  text = three.markdown(summary)
  assert (
    "| toy | 50.00 ± 0.00 | 40.00 ± 0.00 | 20.00 ± 10.00 | 1 | 1, 0.1 | "
    "−10.00 (−10.00 to −10.00) | −20.00 (−147.06 to +107.06) |" in text
  )
  assert "on 1 data set, " in three.caption(summary)
  assert "in error better on 0, worse on 0, not told apart on 1" in (
    three.caption(summary)
  )


def test_the_grid_is_the_papers():
  base = tabular.make_config("iris", "data", epochs=25.0)
  points = grid.points(tabular.grids(), base)
  assert len(points) == 5 * (1 + 9 + 9 * 5)
  config = common.resolve(points[-1].config)
  assert (config.method, config.alpha, config.eta) == ("mixupe", 5.0, 1.0)
  assert (config.batch_size, config.learning_rate) == (100, 1e-3)
  assert config.model_options.features == (128, 128)
  assert (config.optimizer, config.schedule) == ("adam", "constant")


def test_the_command_makes_table_numbers_and_picture(shared, tmp_path):
  command = [
    sys.executable,
    *("-m", "experiments.studies.tabular", "--smoke", "--sets=iris"),
    *(f"--data_dir={shared('uci')}/uci", f"--workdir={tmp_path / 'runs'}"),
    f"--out={tmp_path / 'out'}",
  ]
  subprocess.run(command, check=True, capture_output=True)
  told = json.loads((tmp_path / "out" / "tabular.json").read_text())
  assert told["sets"]["iris"]["runs"] == 6
  assert told["made_with"]["command"].startswith(
    "python -m experiments.studies.tabular"
  )
  assert (tmp_path / "out" / "tabular.png").stat().st_size > 10_000
  assert "| iris |" in (tmp_path / "out" / "tabular.md").read_text()
