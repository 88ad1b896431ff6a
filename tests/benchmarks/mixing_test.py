"""Tests of benchmarks.mixing at a tiny size: rows and results, no times."""

import builtins
import json
import math
import sys

import numpy as np
import pytest

from benchmarks import contenders, mixing, mixing_tasks

TINY = ["--batch=6", "--size=8", "--rounds=1", "--no-compile"]


@pytest.fixture(scope="module")
def result(tmp_path_factory):
  out = tmp_path_factory.mktemp("mixing") / "result.json"
  returned = mixing.main([*TINY, f"--out={out}"])
  assert json.loads(out.read_text()) == returned
  return returned


def test_every_task_has_jaxmix_numpy_and_pytorch(result):
  for task in mixing_tasks.TASKS:
    names = {row["name"] for row in result["rows"] if row["task"] == task}
    assert {"jaxmix", "jaxmix, donated", "NumPy", "PyTorch"} <= names


def test_times_are_finite_and_positive_where_there_are_any(result):
  for row in result["rows"]:
    if row["median_ms"] is None:
      assert "not installed" in row["note"]
    else:
      assert 0 < row["fastest_ms"] <= row["median_ms"] < math.inf
      assert 0 < row["gb_per_s"] < math.inf


def test_every_row_is_in_the_printed_table(result):
  lines = mixing.table(result["rows"]).splitlines()
  assert len(lines) == len(result["rows"]) + 2
  for row, line in zip(result["rows"], lines[2:], strict=True):
    assert row["name"] in line


def test_results_equal_numpys_for_the_same_draw(result):
  errors = {
    (row["task"], row["name"]): row["max_error"] for row in result["rows"]
  }
  for task in mixing_tasks.TASKS:
    limit = 2.0**-6 if task == mixing_tasks.FUSED else 2e-6
    assert errors[task, "jaxmix"] <= limit


def test_jaxmix_equals_pytorch_for_the_same_draw():
  pytest.importorskip("torch")
  batch = mixing_tasks.make_batch(5, 6)
  theirs = {
    entry.task: entry
    for entry in contenders.torch_contenders(batch, compiled=False)
    if entry.name == "PyTorch"
  }
  ours = {
    entry.task: entry
    for entry in contenders.jaxmix_contenders(batch)
    if entry.name == "jaxmix"
  }
  lam = np.array([0.0, 0.25, 0.5, 0.9, 1.0], np.float32)
  partner = np.array([3, 0, 4, 1, 2], np.int32)
  box = np.array([[0, 6, 0, 6], [1, 3, 2, 5], [4, 4, 0, 6]] * 2, np.int32)[:5]
  for task in mixing_tasks.TASKS:
    draw = box if task == mixing_tasks.CUTMIX else lam
    if task == mixing_tasks.PER_BATCH:
      draw = lam[1:2]
    np.testing.assert_allclose(
      np.asarray(
        ours[task].mix(
          draw if task == mixing_tasks.CUTMIX else np.resize(draw, 5), partner
        ),
        np.float32,
      ),
      theirs[task].mix(draw, partner),
      atol=2.0**-6 if task == mixing_tasks.FUSED else 1e-6,
    )


def test_a_wrong_result_stops_the_run(monkeypatch):
  right = contenders.numpy_contenders

  def wrong(batch):
    for entry in right(batch):
      shifted = lambda *draw, mix=entry.mix: mix(*draw) + 0.1
      yield entry._replace(mix=shifted)

  monkeypatch.setattr(contenders, "numpy_contenders", wrong)
  with pytest.raises(ValueError, match="NumPy .* differs from NumPy by"):
    mixing.measure(4, 4, 1, compiled=False)


def test_without_pytorch_its_rows_say_so(monkeypatch):
  real = builtins.__import__

  def without(name, *args, **kwargs):
    if name.partition(".")[0] == "torch":
      raise ImportError("No module named 'torch'")
    return real(name, *args, **kwargs)

  monkeypatch.delitem(sys.modules, "benchmarks.contenders_torch", False)
  import benchmarks

  monkeypatch.delattr(benchmarks, "contenders_torch", False)
  monkeypatch.setattr(builtins, "__import__", without)
  batch = mixing_tasks.make_batch(4, 4)
  entries = [
    *contenders.torch_contenders(batch, compiled=False),
    *contenders.library_contenders(batch),
  ]
  assert {entry.name for entry in entries} >= {"PyTorch", "timm, elem"}
  for entry in entries:
    assert entry.run is None
    assert entry.note.startswith("not installed")
