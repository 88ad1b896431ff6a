"""A figure as a program, and what all figures share."""

import json
import pathlib
import subprocess
import sys

import numpy as np

from experiments.figures import drawing

ROOT = pathlib.Path(__file__).parents[3]


def run(*arguments):
  return subprocess.run(
    [sys.executable, "-m", "experiments.figures.taylor_orders", *arguments],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=200,
  )


def test_program_writes_picture_and_numbers(tmp_path):
  done = run("--smoke", f"--out={tmp_path}/new")
  assert done.returncode == 0, done.stderr
  assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
    "taylor_orders.json",
    "taylor_orders.png",
  ]
  assert (tmp_path / "new" / "taylor_orders.png").stat().st_size > 10_000
  result = json.loads((tmp_path / "new" / "taylor_orders.json").read_text())
  assert "experiments.figures.taylor_orders" in result["made_with"]["command"]
  assert " ".join(done.stdout.split()) == " ".join(result["caption"].split())


def test_numbers_are_short_and_valid_json():
  shown = drawing.numbers([[1.23456789, np.inf], [np.float32(2.0), 1e-9]], 3)
  assert shown == [[1.23, None], [2.0, 1e-9]]
  assert drawing.numbers(np.float64(0.1)) == 0.1


def test_panels_come_row_by_row():
  figure, panels = drawing.new(columns=3, rows=2, height=2.0)
  assert tuple(figure.get_size_inches()) == (12.0, 4.0)
  corners = [panels[k].get_subplotspec().num1 for k in range(6)]
  assert corners == list(range(6))
