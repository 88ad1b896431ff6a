"""train_and_evaluate and the command line: resumption, errors, every method."""

import json
import pathlib
import re
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from benchmarks import soak
from experiments import ahead, programs, sweep, train
from experiments.workdir import metrics
from tests.experiments import short

ROOT = pathlib.Path(__file__).parents[2]


def quick_config(arg="", **changes):
  return short.config(arg, **({"checkpoint_every": 10} | changes))


def command(workdir, arg=short.QUICK, *flags):
  return [
    sys.executable,
    "-m",
    "experiments.main",
    f"--config=experiments/configs/digits.py:{arg}",
    f"--workdir={workdir}",
    *flags,
  ]


def run(*args, devices=2, **kwargs):
  return subprocess.run(
    command(*args),
    cwd=ROOT,
    env=soak.environment(devices),
    capture_output=True,
    text=True,
    **kwargs,
  )


def test_a_run_leaves_what_the_command_line_promises(tmp_path):
  result = train.train_and_evaluate(quick_config(), tmp_path)
  rows = metrics.read(tmp_path / "metrics.jsonl")
  assert [(row["step"], row["split"]) for row in rows] == [
    (5, "train"),
    (5, "eval"),
    (10, "train"),
    (10, "eval"),
  ]
  assert rows[-1] == result
  for row in rows:
    assert all(np.isfinite(v) for k, v in row.items() if k != "split")
  assert rows[0]["images_per_second"] > 0
  config = json.loads((tmp_path / "config.json").read_text())
  assert (config["method"], config["eta"]) == ("mixupe", 1.0)
  assert list(tmp_path.glob("events.out.tfevents.*"))
  assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["10"]


def test_a_finished_run_is_left_as_it_is(tmp_path):
  train.train_and_evaluate(quick_config(), tmp_path)
  before = (tmp_path / "metrics.jsonl").read_text()
  train.train_and_evaluate(quick_config(), tmp_path)
  assert (tmp_path / "metrics.jsonl").read_text() == before


@pytest.mark.parametrize(
  "arg",
  [
    "method=erm",
    "method=erm,eta=0.5",
    "method=mixup,pairing=ring",
    "method=mixup,per_example=False",
    "method=mixup,stratified=True",
    "method=mixupe,clean_fraction=0.25",
    "method=mixupe,penalty=exact,clean_pass=separate",
    "method=mixupe,penalty_form=release",
    "method=untied,pairing=between",
    "method=dat,pairing=flip",
    "method=cutmix,pairing=roll",
    "method=mixup,mix_at=readout",
    "method=mixupe,mix_at=random,clean_fraction=0.25",
    "method=untied,eta=0.5,mix_at=random:input+readout,clean_pass=separate",
    "method=mixupe,parallel=shard_map,dtype=bfloat16",
  ],
)
def test_every_method_and_option_trains(tmp_path, arg):
  result = train.train_and_evaluate(
    quick_config(arg, total_steps=5, eval_every=5), tmp_path
  )
  assert result["examples"] == 1197
  assert 0.0 < result["polyak_loss"] < 5.0


def test_several_steps_a_dispatch_give_the_same_evaluations(tmp_path):
  for size in (1, 5):
    config = quick_config(steps_per_dispatch=size)
    train.train_and_evaluate(config, tmp_path / str(size))
  one, five = (
    metrics.evaluations(tmp_path / "1"),
    metrics.evaluations(tmp_path / "5"),
  )
  assert [row["step"] for row in one] == [row["step"] for row in five]
  for a, b in zip(one, five, strict=True):
    assert a["loss"] == pytest.approx(b["loss"], rel=1e-4)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("whole")
  done = run(workdir)
  assert done.returncode == 0, done.stderr
  return workdir


def kill_when(moment, workdir):
  """Starts the job and kills it as soon as `moment(workdir)` is true."""
  process = subprocess.Popen(
    command(workdir),
    cwd=ROOT,
    env=soak.environment(2),
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  )
  deadline = time.monotonic() + 300
  while not moment(workdir):
    assert process.poll() is None, "the run ended before it could be killed"
    assert time.monotonic() < deadline
    time.sleep(0.002)
  process.send_signal(signal.SIGKILL)
  process.wait()


def lines(workdir):
  path = workdir / "metrics.jsonl"
  return path.read_text().count("\n") if path.exists() else 0


def between_checkpoints(workdir):
  return lines(workdir) >= 14  # step 35: five steps after a checkpoint


def while_a_checkpoint_is_written(workdir):
  return lines(workdir) >= 8 and list(workdir.glob("checkpoints/*tmp*"))


def before_the_first_checkpoint(workdir):
  return lines(workdir) >= 2


@pytest.mark.parametrize(
  "moment",
  [
    before_the_first_checkpoint,
    between_checkpoints,
    while_a_checkpoint_is_written,
  ],
)
def test_kill_and_resume_equals_no_kill(tmp_path, uninterrupted, moment):
  kill_when(moment, tmp_path)
  assert metrics.evaluations(tmp_path)[-1]["step"] < 60
  done = run(tmp_path)
  assert done.returncode == 0, done.stderr
  assert metrics.evaluations(tmp_path) == metrics.evaluations(uninterrupted)
  steps = [row["step"] for row in metrics.evaluations(tmp_path)]
  assert steps == list(range(5, 61, 5))


def test_a_line_cut_short_is_written_again(tmp_path):
  path = tmp_path / "metrics.jsonl"
  path.write_text('{"step": 5, "split": "eval"}\n{"step": 10, "spl')
  assert metrics.read(path) == [{"step": 5, "split": "eval"}]
  writer = metrics.MetricsWriter(tmp_path, resume_step=5)
  writer.write(10, "eval", {"loss": 1.0})
  writer.close()
  assert [row["step"] for row in metrics.read(path)] == [5, 10]


def test_resuming_drops_lines_after_the_checkpoint(tmp_path):
  path = tmp_path / "metrics.jsonl"
  path.write_text(
    "".join(f'{{"step": {k}, "split": "eval"}}\n' for k in (5, 10, 15))
  )
  metrics.MetricsWriter(tmp_path, resume_step=10).close()
  assert [row["step"] for row in metrics.read(path)] == [5, 10]


def test_a_loss_that_is_not_finite_names_the_step_and_keeps_checkpoints(
  tmp_path,
):
  config = quick_config(
    "method=erm",
    optimizer="sgd",
    learning_rate=1e6,
    warmup_steps=8,
    final_learning_rate_ratio=1.0,
    checkpoint_every=1,
    keep_checkpoints=10,
    log_every=10,
    eval_every=10,
  )
  with pytest.raises(ahead.NonFiniteError, match=r"at step (\d+);") as info:
    train.train_and_evaluate(config, tmp_path)
  step = int(str(info.value).split("at step ")[1].split(";")[0])
  kept = sorted(int(p.name) for p in (tmp_path / "checkpoints").iterdir())
  assert kept == list(range(1, step))


def test_the_first_bad_step_of_several_in_flight_is_named():
  good = {"loss": np.array([1.0, 2.0]), "gradient_norm": np.ones(2)}
  bad = {"loss": np.array([1.0, np.nan]), "gradient_norm": np.ones(2)}
  worse = {"loss": np.ones(2), "gradient_norm": np.array([np.inf, 1.0])}
  with pytest.raises(ahead.NonFiniteError, match="loss is nan at step 14"):
    ahead.finite([good, bad, worse], 16)
  with pytest.raises(
    ahead.NonFiniteError, match="gradient_norm is inf at step 13"
  ):
    ahead.finite([good, worse], 14)
  assert len(ahead.finite([good, good], 4)) == 4


def test_a_workdir_of_another_config_is_refused(tmp_path):
  train.train_and_evaluate(quick_config(total_steps=5), tmp_path)
  with pytest.raises(
    ValueError, match="another config.*learning_rate: 0.1 there, 0.2 now"
  ):
    train.train_and_evaluate(
      quick_config(total_steps=5, learning_rate=0.2), tmp_path
    )


def test_what_does_not_change_the_numbers_may_change(tmp_path):
  train.train_and_evaluate(quick_config(total_steps=5), tmp_path)
  config = quick_config(total_steps=5, keep_checkpoints=2, log_every=1)
  train.train_and_evaluate(config, tmp_path)


def test_what_the_machine_decides_is_not_compared(tmp_path, monkeypatch):
  """Eight replicas evaluate 504 examples at a time, three would 501."""
  config = quick_config(eval_batch_size=500, total_steps=5)
  train.train_and_evaluate(config, tmp_path)
  told = json.loads((tmp_path / "config.json").read_text())
  assert told["eval_batch_size"] == 500
  # An older run's config.json held what eight replicas made of it.
  (tmp_path / "config.json").write_text(
    json.dumps(told | {"eval_batch_size": 504})
  )
  train.train_and_evaluate(config, tmp_path)


def test_a_config_that_is_wrong_leaves_nothing_behind(tmp_path):
  workdir = tmp_path / "run"
  for changes in (
    {"model": "resnet18"},
    {"mix_at": "stage9"},
    {"warmup_steps": 10},
    {"dataset": "fashion_mnist", "data_dir": str(tmp_path)},
  ):
    with pytest.raises((ValueError, FileNotFoundError)):
      train.train_and_evaluate(quick_config(**changes), workdir)
    assert not workdir.exists()
  train.train_and_evaluate(quick_config(total_steps=5), workdir)


def test_replicas_must_divide_the_batch(tmp_path):
  with pytest.raises(ValueError, match="batch_size=100 .* 96, 104"):
    train.train_and_evaluate(quick_config(batch_size=100), tmp_path)
  assert not (tmp_path / "config.json").exists()


def test_a_disk_without_room_ends_a_run_with_one_line(tmp_path):
  """Nothing waits for what will never be written, TensorBoard's events say."""
  done = run(
    tmp_path,
    f"{short.QUICK},method=erm,checkpoint_every=60",
    "--config.log_every=1",
    "--compilation_cache=none",
    timeout=300,
    preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000)),
  )
  assert done.returncode == 1, done.stderr
  assert "Traceback" not in done.stderr
  last = done.stderr.strip().splitlines()[-1]
  assert f"File too large: '{tmp_path}/metrics.jsonl'; make room" in last


def test_seeds_share_compiled_steps(tmp_path):
  cache = programs.Cache()
  results = [
    train.train_and_evaluate(
      quick_config(total_steps=5, seed=seed), tmp_path / str(seed), cache
    )
    for seed in (0, 1)
  ]
  assert len(cache) == 1
  assert results[0]["loss"] != results[1]["loss"]
  train.train_and_evaluate(
    quick_config(total_steps=5, label_smoothing=0.5), tmp_path / "else", cache
  )
  assert len(cache) == 2


def test_a_sweep_runs_every_entry_with_every_seed_and_reports(tmp_path):
  config = quick_config(total_steps=5)
  config.sweep_seeds = (0, 1)
  config.sweep = (
    ("Mixup", {"method": "mixup"}),
    ("MixupE, a quarter clean", {"method": "mixupe", "clean_fraction": 0.25}),
  )
  sweep.run(config, tmp_path)
  for folder in ("mixup", "mixupe_a_quarter_clean"):
    for seed in (0, 1):
      row = metrics.evaluations(tmp_path / folder / f"seed_{seed}")[-1]
      assert row["step"] == 5
  table = (tmp_path / "table.md").read_text()
  assert "Mixup" in table and "MixupE, a quarter clean" in table
  assert list(tmp_path.glob("*.png"))


def test_dispatches_that_would_miss_every_interval_are_refused(
  tmp_path, monkeypatch
):
  """Saved at step 3, gone on by twos: at no step 6, and past step 12."""
  config = quick_config(total_steps=12, log_every=3, checkpoint_every=3)
  config.eval_every = 12
  write = metrics.MetricsWriter.write

  def stop(self, step, split, values):
    if step == 6:
      raise KeyboardInterrupt
    write(self, step, split, values)

  with monkeypatch.context() as patch:
    patch.setattr(metrics.MetricsWriter, "write", stop)
    with pytest.raises(KeyboardInterrupt):
      train.train_and_evaluate(config, tmp_path)
  config.update(steps_per_dispatch=2, log_every=6, checkpoint_every=6)
  before = (tmp_path / "metrics.jsonl").read_bytes()
  with pytest.raises(
    ValueError,
    match="steps_per_dispatch must divide 3, .* got 2; leave it at 1",
  ):
    train.train_and_evaluate(config, tmp_path)
  assert (tmp_path / "metrics.jsonl").read_bytes() == before
  config.steps_per_dispatch = 3
  assert train.train_and_evaluate(config, tmp_path)["step"] == 12


@pytest.mark.parametrize(
  ("arg", "flags", "message"),
  [
    ("method=mixpu", (), "ValueError: method must be one of erm, mixup"),
    (
      "lr=1",
      (),
      "Unknown config key 'lr'; known keys: accumulate_steps, alpha",
    ),
    (
      "model=resnet51",
      (),
      "ValueError: model must be one of coatnet0.*got 'resnet51'",
    ),
    (
      "mix_at=stage9",
      (),
      "ValueError: mix_at must be a stage of model='resnet8', one of input, ",
    ),
    (
      "dataset=fashion_mnist",
      ("--config.data_dir=/nowhere",),
      "FileNotFoundError: .*Download Fashion-MNIST",
    ),
    (
      "batch_size=25",
      (),
      "batch_size=25 cannot be divided among 2 replicas.* 24, 26",
    ),
    (
      "seed=1",
      ("--config.methd=erm",),
      "Unknown config key 'methd'; known keys: .* Did you mean meth",
    ),
  ],
)
def test_bad_commands_end_with_their_message(tmp_path, arg, flags, message):
  done = run(tmp_path, arg, *flags)
  assert done.returncode != 0
  assert "Traceback" not in done.stderr
  assert re.search(message, done.stderr), done.stderr


def test_in_memory_runs_never_import_tensorflow(tmp_path):
  code = (
    "import sys; from experiments import train; "
    "from experiments.configs import digits; "
    f"config = digits.get_config('smoke,model=mlp,fgsm_epsilon=0.0'); "
    "config.model_options = {'features': (8,)}; "
    f"train.train_and_evaluate(config, {str(tmp_path)!r}); "
    "assert 'tensorflow' not in sys.modules"
  )
  done = subprocess.run(
    [sys.executable, "-c", code],
    cwd=ROOT,
    env=soak.environment(1),
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr


def test_a_second_process_of_the_same_command_is_refused(tmp_path):
  first = subprocess.Popen(
    command(
      tmp_path, f"{short.QUICK},method=erm", "--config.total_steps=20000"
    ),
    cwd=ROOT,
    env=soak.environment(1),
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  )
  try:
    deadline = time.monotonic() + 300
    while lines(tmp_path) < 2:
      assert first.poll() is None and time.monotonic() < deadline
      time.sleep(0.01)
    done = run(
      tmp_path,
      f"{short.QUICK},method=erm",
      "--config.total_steps=20000",
      devices=1,
    )
  finally:
    first.kill()
    first.wait()
  assert done.returncode == 1 and "Traceback" not in done.stderr
  assert f"is in use by process {first.pid} on host" in done.stderr


def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(
  tmp_path, caplog
):
  """Of a finished run, the last steps are taken again: the same numbers."""
  config = quick_config(checkpoint_every=5, keep_checkpoints=2)
  train.train_and_evaluate(config, tmp_path)
  before = metrics.evaluations(tmp_path)
  folder = tmp_path / "checkpoints"
  path = max(
    (p for p in (folder / "10").rglob("*") if p.is_file()),
    key=lambda p: p.stat().st_size,
  )
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 1
  path.write_bytes(data)
  train.train_and_evaluate(config, tmp_path)
  assert "set aside as 10.damaged" in caplog.text
  assert metrics.evaluations(tmp_path) == before
  assert {p.name for p in folder.iterdir()} == {"5", "10", "10.damaged"}
