"""Tests of benchmarks.monitor_cost at a tiny size: rows, no times."""

import json
import math

import jax
import pytest

from benchmarks import monitor_cost


@pytest.fixture(scope="module")
def result(tmp_path_factory):
  out = tmp_path_factory.mktemp("cost") / "result.json"
  # Strict promotion is for the library; optax's schedules need the usual one.
  with jax.numpy_dtype_promotion("standard"):
    returned = monitor_cost.main(
      [
        "--model=mlp",
        "--batch=8",
        "--size=2",
        "--rounds=1",
        "--examples=3",
        "--every=50",
        f"--out={out}",
      ]
    )
  assert json.loads(out.read_text()) == returned
  return returned


def test_every_number_of_probes_has_a_row(result):
  assert [row["probes"] for row in result["rows"]] == [2, 8, 0]
  for row in result["rows"]:
    for name in ("median_ms", "steps", "steps_by_cpu", "share"):
      assert 0.0 < row[name] < math.inf
    assert row["share"] == pytest.approx(row["steps_by_cpu"] / 50)


def test_estimates_stand_beside_what_they_estimate(result):
  few, many, every = (row["values"] for row in result["rows"])
  assert few["theory_r1"] == pytest.approx(every["theory_r1"], rel=1e-4)
  for values in (few, many):
    off = abs(values["theory_r2"] - every["theory_r2"])
    assert 0.0 < off < 6.0 * values["theory_r2_error"]
  last = monitor_cost.table(result["rows"], 50).splitlines()
  assert "± " in last[2] and "all directions" in last[4] and "±" not in last[4]
