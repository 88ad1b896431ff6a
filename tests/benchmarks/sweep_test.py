"""Runs a second: the three ways make the same runs, and are counted so."""

import sys

import pytest

from benchmarks import sweep

SMALL = ("total_steps=2", "warmup_steps=0", "eval_every=2", "batch_size=8")


def test_the_three_ways_are_of_the_same_runs():
  ways = sweep.commands("FILE", SMALL, 4, 2, "DIR")
  assert {name: way[0] for name, way in ways.items()} == {
    sweep.TOGETHER: 4,
    sweep.IN_TURN: 2,
    sweep.APART: 2,
  }
  assert "--grid=seed=0..3" in ways[sweep.TOGETHER][1][0]
  assert "--config.sweep_seeds=(0,1,)" in ways[sweep.IN_TURN][1][0]
  seeds = [order[-2] for order in ways[sweep.APART][1]]
  assert seeds == ["--config.seed=0", "--config.seed=1"]
  folders = [order[-1] for _, orders in ways.values() for order in orders]
  assert len(set(folders)) == 4


def test_rates_are_runs_over_seconds():
  order = [
    sys.executable,
    "-c",
    "import time; time.sleep(0.3); sum(range(9**6))",
  ]
  (row,) = sweep.measure({"way": (6, [order, order])})
  assert row["seconds"] >= 0.6
  assert row["runs_per_second"] == pytest.approx(6 / row["seconds"], rel=0.02)
  # Sleeping is no work.
  assert 0.0 < 6 * row["cpu_seconds_per_run"] < row["seconds"]


def test_a_command_that_fails_says_its_words():
  order = [sys.executable, "-c", "raise SystemExit('no such thing')"]
  with pytest.raises(RuntimeError, match="no such thing"):
    sweep.timed([order])
