"""Several processes on this machine: the same evaluations, and stopping."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from benchmarks import soak
from experiments.workdir import lock, metrics

ROOT = pathlib.Path(__file__).parents[2]
LENGTH = 40


def command(workdir, method, parallel, steps=LENGTH):
  keys = (
    f"model=mlp,batch_size=64,total_steps={steps},log_every=10,eval_every=10,"
    f"checkpoint_every=20,method={method},parallel={parallel}"
  )
  return [
    sys.executable,
    "-m",
    "experiments.main",
    f"--config=experiments/configs/digits.py:{keys}",
    f"--workdir={workdir}",
  ]


STARTED = []


@pytest.fixture(autouse=True)
def end_what_is_left():
  yield
  while STARTED:
    STARTED.pop().kill()  # a failed test's; no effect on what has ended


def start(words, devices):
  process = subprocess.Popen(
    words,
    cwd=ROOT,
    env=soak.environment(devices),
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
  )
  STARTED.append(process)
  return process


def start_pair(words):
  return [start([*words, *flags], devices=2) for flags in soak.ranks(2)]


def finish(*processes):
  ends = [process.communicate(timeout=300)[1] for process in processes]
  for process, stderr in zip(processes, ends, strict=True):
    assert process.returncode == 0, stderr[-3000:]


def evaluations(workdir):
  return [
    {name: value for name, value in row.items() if name != "split"}
    for row in metrics.evaluations(workdir)
  ]


def assert_equal_lines(found, expected):
  assert [row["step"] for row in found] == [row["step"] for row in expected]
  for a, b in zip(found, expected, strict=True):
    # Sums over processes are taken in another order than over devices.
    assert a == pytest.approx(b, rel=1e-4, abs=1e-5)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
  """One process of four devices, by method."""
  found = {}
  for method in ("erm", "mixupe"):
    workdir = tmp_path_factory.mktemp(method)
    finish(start(command(workdir, method, "pmap"), devices=4))
    found[method] = evaluations(workdir)
  return found


@pytest.mark.parametrize("parallel", ["pmap", "shard_map"])
@pytest.mark.parametrize("method", ["erm", "mixupe"])
def test_two_processes_of_two_devices_are_one_of_four(
  tmp_path, alone, method, parallel
):
  finish(*start_pair(command(tmp_path, method, parallel)))
  assert len(alone[method]) == LENGTH // 10
  assert_equal_lines(evaluations(tmp_path), alone[method])


def wait_for_lines(workdir, count, processes):
  path = workdir / "metrics.jsonl"
  deadline = time.monotonic() + 200
  while not path.exists() or path.read_text().count("\n") < count:
    assert time.monotonic() < deadline
    assert all(process.poll() is None for process in processes), (
      "ended too soon"
    )
    time.sleep(0.005)


def test_one_process_killed_and_the_job_started_again(tmp_path, alone):
  words = command(tmp_path, "mixupe", "pmap")
  pair = start_pair(words)
  wait_for_lines(tmp_path, 5, pair)
  pair[1].send_signal(signal.SIGKILL)
  time.sleep(1.0)
  for process in pair:
    process.kill()
    process.communicate()
  assert len(evaluations(tmp_path)) < LENGTH // 10
  finish(*start_pair(words))
  assert_equal_lines(evaluations(tmp_path), alone["mixupe"])


def test_sigterm_to_one_process_saves_all_and_asks_for_a_retry(tmp_path):
  words = command(tmp_path, "mixupe", "shard_map", steps=20_000)
  pair = start_pair(words)
  wait_for_lines(tmp_path, 5, pair)
  pair[1].send_signal(signal.SIGTERM)
  ends = [process.communicate(timeout=120)[1] for process in pair]
  assert [process.returncode for process in pair] == [75, 75], ends
  saved = max(int(p.name) for p in (tmp_path / "checkpoints").iterdir())
  for end in ends:
    assert f"Stopped at step {saved} of 20000" in end


def test_sigterm_before_a_resumed_run_has_stepped(tmp_path):
  words = command(tmp_path, "erm", "pmap", steps=20_000)
  pair = start_pair(words)
  wait_for_lines(tmp_path, 9, pair)  # a checkpoint is older than the last
  for process in pair:
    process.kill()
    process.communicate()
  pair = start_pair(words)
  while "Resuming" not in pair[0].stderr.readline():
    assert pair[0].poll() is None
  pair[1].send_signal(signal.SIGTERM)
  ends = [process.communicate(timeout=120)[1] for process in pair]
  assert [process.returncode for process in pair] == [75, 75], ends


def test_sigterm_during_start_up_asks_for_a_retry(tmp_path):
  process = start(command(tmp_path, "erm", "pmap"), devices=1)
  while "process 0 of 1" not in process.stderr.readline():
    assert process.poll() is None
  process.send_signal(signal.SIGTERM)
  stderr = process.communicate(timeout=120)[1]
  assert process.returncode == 75, stderr[-3000:]
  assert "Traceback" not in stderr


def test_sigterm_to_a_single_process_saves_and_asks_for_a_retry(tmp_path):
  words = command(tmp_path, "erm", "pmap", steps=20_000)
  process = start(words, devices=1)
  wait_for_lines(tmp_path, 5, [process])
  process.send_signal(signal.SIGTERM)
  stderr = process.communicate(timeout=120)[1]
  assert process.returncode == 75, stderr[-3000:]
  saved = max(int(p.name) for p in (tmp_path / "checkpoints").iterdir())
  assert f"Stopped at step {saved} of 20000" in stderr
  assert f"step {saved + 10}/" not in stderr


def test_a_workdir_in_use_ends_all_processes_with_the_same_line(tmp_path):
  with lock.hold(tmp_path):
    words = command(tmp_path, "erm", "pmap")
    running = start_pair(words)
    told = [process.communicate(timeout=120)[1] for process in running]
  for process, stderr in zip(running, told, strict=True):
    assert process.returncode == 1
    assert f"in use by process {os.getpid()} on host" in stderr
    assert "Traceback" not in stderr and "Gloo" not in stderr
