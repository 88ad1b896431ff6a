"""Tests of benchmarks.mixupe_cost at a tiny size: rows, no times."""

import json
import math

import jax
import pytest

from benchmarks import mixupe_cost


@pytest.fixture(scope="module")
def result(tmp_path_factory):
  out = tmp_path_factory.mktemp("cost") / "result.json"
  # Strict promotion is for the library; optax's schedules need the usual one.
  with jax.numpy_dtype_promotion("standard"):
    returned = mixupe_cost.main(
      [
        "--model=mlp",
        "--batch=8",
        "--size=4",
        "--rounds=1",
        f"--out={out}",
      ]
    )
  assert json.loads(out.read_text()) == returned
  return returned


def test_every_variant_has_a_row_with_finite_positive_figures(result):
  assert [row["name"] for row in result["rows"]] == list(mixupe_cost.VARIANTS)
  for row in result["rows"]:
    for key in ("median_ms", "cpu_ms", "ratio", "gflop", "flop_ratio"):
      assert 0 < row[key] < math.inf
    low, high = row["ratio_spread"]
    assert low <= row["ratio"] <= high
  for line, name in zip(
    mixupe_cost.table(result["rows"]).splitlines()[2:],
    mixupe_cost.VARIANTS,
    strict=True,
  ):
    assert name in line


def test_operations_grow_with_the_clean_share(result):
  counted = {row["name"]: row["flop_ratio"] for row in result["rows"]}
  assert counted["Mixup"] == 1.0
  assert (
    counted["MixupE, at mixed points"]
    < counted["MixupE, 1/4 clean"]
    < counted["MixupE, 1/2 clean"]
    < counted["MixupE, split"]
    < counted["MixupE, exact"]
    < counted["MixupE, Taylor 2"]
    < counted["MixupE, Taylor 3"]
  )
