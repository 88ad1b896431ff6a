"""Tests of benchmarks.throughput on tiny models: rows, no times."""

import importlib.util
import json
import math
import subprocess
import sys

import jax
import pytest

from benchmarks import (
  peaks,
  throughput,
  throughput_jax,
  throughput_row,
  throughput_table,
)

TINY = [
  "--tiny",
  "--models=vit_b16_tiny",
  "--set=model_options.depth=1",
  "--steps=2",
  "--devices=1",
]


def run(*argv):
  # Strict promotion is for the library; optax's schedules need the usual one.
  with jax.numpy_dtype_promotion("standard"):
    return throughput.main([*TINY, *argv])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp("throughput")


@pytest.fixture(scope="module")
def result(folder):
  out = folder / "result.json"
  returned = run(
    "--methods=mixup,mixupe_split",
    f"--out={out}",
    f"--profile={folder / 'traces'}",
  )
  assert json.loads(out.read_text()) == returned
  return returned


@pytest.fixture
def measured(monkeypatch):
  """Replaces the measuring; the methods measured so far."""
  methods = []

  def measure(spec, config, profile):
    methods.append(spec.method)
    if spec.method == "mixupe_exact":
      raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: no | memory")
    figures = row(spec.method)
    del figures["spec"], figures["title"]
    return figures

  monkeypatch.setattr(throughput_jax, "measure", measure)
  return methods


def test_a_commit_that_is_given_counts_before_gits(measured):
  (told,) = run("--methods=mixup", "--commit=1234567")["runs"]
  assert told["commit"] == "1234567"


def row(method, **changes):
  """What a side returns, and what `main` adds."""
  is_torch = method.startswith("torch_")
  described = {
    "spec": {
      "model": "vit_b16",
      "method": method,
      "batch": 8,
      "size": 224,
      "xla_flags": "",
    },
    "title": method,
    "device": "NVIDIA H200",
    "device_count": 1,
    "dtype": "bfloat16",
    "trace_s": None if is_torch else 1.0,
    "compile_s": 2.0,
    "step_ms": 100.0,
    "images_per_s": 80.0,
    "loss": 7.0,
    "rounds_images_per_s": [79.0, 81.0],
    "spread": 0.02,
    "flops": None if is_torch else 49_450_000_000_000,
    "peak_bytes": 3_000_000_000,
    "program_bytes": None,
  }
  return described | changes


def test_rows_have_finite_positive_figures(result):
  assert [r["spec"]["method"] for r in result["rows"]] == [
    "mixup",
    "mixupe_split",
  ]
  for r in result["rows"]:
    assert len(r["rounds_images_per_s"]) == 2
    for key in (
      "step_ms",
      "images_per_s",
      "mean_images_per_s",
      "trace_s",
      "compile_s",
      "first_step_s",
      "loss",
      "flops",
      "xla_flops",
      "program_bytes",
      "time_ratio",
    ):
      assert 0 < r[key] < math.inf
    assert r["peak_bytes"] is None  # not known of rows that share a process
    assert r["peak_share"] is None  # nor a CPU's peak


def test_mixupe_takes_twice_the_operations(result):
  mixup, mixupe = result["rows"]
  assert mixup["time_ratio"] == mixup["flop_ratio"] == 1.0
  # The gradient's share of the loss aside, both passes are the model's.
  assert mixupe["flop_ratio"] == pytest.approx(2.0, rel=1e-3)


def test_profiles_lie_in_the_folder(result, folder):
  names = {path.name for path in (folder / "traces").iterdir()}
  for method in ("mixup", "mixupe_split"):
    assert f"vit_b16_tiny_{method}_8_model_options.depth_1.xplane.pb" in names


def test_operations_are_the_models_and_a_devices(result):
  """However they are computed, and on however many devices."""
  mixup = result["rows"][0]
  changed = run(
    "--methods=mixup",
    "--devices=2",
    "--set=parallel=shard_map",
    "--set=model_options.remat=blocks",
  )["rows"][0]
  assert changed["device_count"] == 2
  assert changed["flops"] == pytest.approx(mixup["flops"] / 2, rel=1e-3)
  assert "model_options.remat=blocks" in changed["title"]


def test_a_row_in_its_own_process(result):
  options = throughput._parser().parse_args([])
  assert not options.in_process
  spec = throughput_row.Spec(
    "vit_b16_tiny", "mixup", 8, 32, ("model_options.depth=1",), 1, 2, 1
  )
  measured = throughput._measure(spec, options)
  assert "error" not in measured
  assert measured["flops"] == result["rows"][0]["flops"]


def test_a_process_that_dies_or_lasts_is_reported(monkeypatch, tmp_path):
  options = throughput._parser().parse_args([])
  spec = throughput_row.Spec("vit_b16_tiny", "mixup", 8, 32)
  python = tmp_path / "python"
  python.write_text("#!/bin/sh\necho Killed >&2\nexit 3\n")
  python.chmod(0o755)
  monkeypatch.setattr(sys, "executable", str(python))
  assert throughput._measure(spec, options)["error"] == "ended with 3: Killed"
  python.write_text("#!/bin/sh\nexec sleep 60\n")
  options.row_timeout = 0.1
  error = throughput._measure(spec, options)["error"]
  assert error == "not done within 0.1 s"


def test_rows_are_written_one_by_one_and_not_measured_again(
  measured, monkeypatch, tmp_path
):
  out = tmp_path / "result.json"
  written = []
  write = throughput.storage.write_json

  def watched(path, result):
    write(path, result)
    written.append(len(json.loads(path.read_text())["rows"]))

  monkeypatch.setattr(throughput.storage, "write_json", watched)
  run("--methods=mixup,erm", f"--out={out}")
  assert written == [1, 2]
  again = run("--methods=mixup,erm,mixupe_split", f"--out={out}")
  assert measured == ["mixup", "erm", "mixupe_split"]
  assert [r["run"] for r in again["rows"]] == [0, 0, 1]
  assert len(again["runs"]) == 2


def test_a_failing_row_is_reported_and_can_be_tried_again(
  measured, tmp_path, capsys
):
  methods = "--methods=mixup,mixupe_exact,erm"
  out = f"--out={tmp_path / 'result.json'}"
  rows = run(methods, out)["rows"]
  assert rows[1]["error"].startswith("out of memory: RESOURCE_EXHAUSTED")
  assert "error" not in rows[0] and "error" not in rows[2]
  assert "RESOURCE_EXHAUSTED: no / memory" in capsys.readouterr().out
  run(methods, out)
  assert measured == ["mixup", "mixupe_exact", "erm"]
  assert len(run(methods, out, "--retry")["rows"]) == 3
  assert measured == ["mixup", "mixupe_exact", "erm", "mixupe_exact"]


def test_without_pytorch_the_other_rows_run(measured, monkeypatch):
  monkeypatch.delitem(sys.modules, "benchmarks.throughput_torch", False)
  monkeypatch.setitem(sys.modules, "torch", None)
  rows = run("--methods=torch_mixup,mixup")["rows"]
  assert rows[0]["error"] == "torch is not installed"
  assert rows[1]["images_per_s"] == 80.0


@pytest.mark.parametrize("method", ["torch_mixup", "torch_mixup_elem"])
@pytest.mark.parametrize("model", ["vit_b16_tiny", "resnet50_tiny"])
def test_pytorch(model, method):
  pytest.importorskip("torch")
  if importlib.util.find_spec("timm") is None:
    pytest.skip("timm is not installed")
  theirs = run(f"--methods={method}", f"--models={model}")["rows"][0]
  assert "error" not in theirs
  assert 0 < theirs["images_per_s"] < math.inf
  assert 0 < theirs["loss"] < math.inf


def test_ratios_by_hand():
  rows = [
    row("mixup"),
    row("mixupe_split", images_per_s=50.0, flops=98_900_000_000_000),
    row("torch_mixup", images_per_s=64.0),
    row("torch_mixup_elem", images_per_s=40.0),
    row("mixup", device="NVIDIA A100-SXM4-40GB"),
    {"spec": {}, "error": "out of memory"},
  ]
  throughput_table.compare(rows)
  pick = lambda key: [r[key] for r in rows[:5]]
  assert pick("time_ratio") == [1.0, 1.6, None, None, 1.0]
  assert pick("flop_ratio") == [1.0, 2.0, None, None, 1.0]
  assert pick("torch_ratio") == [1.25, 50 / 64, 1.0, 0.625, None]
  assert pick("peak_share") == pytest.approx([0.5, 1.0, 0.5, 0.5, 494.5 / 312])


def test_every_row_is_in_the_table():
  rows = [row("mixup"), row("torch_mixup"), row("erm") | {"error": "no"}]
  throughput_table.compare(rows)
  lines = throughput_table.table(rows).splitlines()
  assert [line.split()[1] for line in lines[2:]] == [
    "mixup",
    "torch_mixup",
    "erm",
  ]
  assert " 79.0 / 81.0 |" in lines[2] and "|    3.00 |" in lines[2]
  assert lines[4].endswith("| no   |")


@pytest.mark.parametrize(
  ("option", "message"),
  [
    ("--models=resnet", "Unknown model 'resnet'; known models: resnet50,"),
    ("--methods=cutout", "Unknown method 'cutout'; known methods: mixup, erm"),
    ("--set=momentun=0.9", "Unknown config key 'momentun'; known keys:"),
    ("--batch=big", "batch"),
  ],
)
def test_mistakes_end_the_command_at_once(option, message, capsys):
  with pytest.raises(SystemExit):
    run(option)
  assert message in capsys.readouterr().err


def test_the_recipes_are_in_force():
  config = throughput_row.configure(
    throughput_row.Spec("coatnet0", "mixupe_quarter", 256, 224)
  )
  assert config.model == "coatnet0" and config.dtype == "bfloat16"
  assert config.method == "mixupe" and config.clean_fraction == 0.25
  assert config.batch_size == 256 and config.optimizer == "adamw"
  assert config.alpha == 0.4 and config.eta == 5e-4


def test_peaks():
  assert peaks.of("NVIDIA H200") == peaks.of("NVIDIA H100 80GB HBM3") == 989e12
  assert peaks.of("NVIDIA H200 NVL") == 835e12
  assert peaks.of("NVIDIA A100-SXM4-80GB") == 312e12
  assert peaks.of("NVIDIA H100 PCIe") is None and peaks.of("cpu") is None


def test_nothing_of_tensorflow_is_needed():
  """In a process of its own, where no other test has imported it."""
  code = (
    "import sys; from benchmarks import throughput, throughput_jax;"
    "print({'tensorflow', 'tensorflow_datasets', 'tensorboardX', 'torch'}"
    " & set(sys.modules))"
  )
  done = subprocess.run(
    [sys.executable, "-c", code],
    cwd=throughput._ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  assert done.stdout.strip() == "set()"
