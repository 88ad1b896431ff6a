"""Several processes on this machine: the same evaluations, and stopping."""

import concurrent.futures
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

from absl import logging
import jax
import pytest

from benchmarks import soak
from experiments import processes, train
from experiments.configs import digits
from experiments.report import runs
from experiments.workdir import lock, metrics

ROOT = pathlib.Path(__file__).parents[2]
LENGTH = 40
METHODS = ("erm", "mixupe")


def command(workdir, method, parallel, steps=LENGTH):
  keys = (
    f"model=mlp,batch_size=64,total_steps={steps},log_every=10,eval_every=10,"
    f"checkpoint_every=20,fgsm_epsilon=0.0,method={method},parallel={parallel}"
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


def said(processes, within):
  """What each has written to stderr by its end; of all, where one has none."""
  try:
    return [process.communicate(timeout=within)[1] for process in processes]
  except subprocess.TimeoutExpired:
    for process in processes:
      process.kill()
    ends = [process.communicate()[1][-2000:] for process in processes]
    pytest.fail(f"Not ended after {within} s: " + "\n---\n".join(ends))


def finish(*processes):
  ends = said(processes, within=300)
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


def sweep(workdir, layouts):
  """The command of one run of each method by each layout."""
  words = command(workdir, "erm", "pmap")
  overrides = [
    (f"{method} {layout}", {"method": method, "parallel": layout})
    for method in METHODS
    for layout in layouts
  ]
  words[3] += f",sweep={tuple(overrides)},sweep_seeds=(0,)"
  return words


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
  """One process of four devices, by method."""
  workdir = tmp_path_factory.mktemp("alone")
  finish(start(sweep(workdir, ["pmap"]), devices=4))
  return {
    method: evaluations(workdir / f"{method}_pmap" / "seed_0")
    for method in METHODS
  }


def test_two_processes_of_two_devices_are_one_of_four(tmp_path, alone):
  """In every run of a sweep that they share and one of them writes down."""
  finish(*start_pair(sweep(tmp_path, ["pmap", "shard_map"])))
  index = json.loads((tmp_path / "runs.json").read_text())
  assert [run["name"] for run in index] == [
    f"{method} {layout}"
    for method in METHODS
    for layout in ("pmap", "shard_map")
  ]
  table = (tmp_path / "table.md").read_text()
  for run in index:
    expected = alone[run["name"].split()[0]]
    assert len(expected) == LENGTH // 10
    assert_equal_lines(
      evaluations(tmp_path / run["folder"] / "seed_0"), expected
    )
    assert f"| {run['name']} " in table
  # Nothing that was being written is left.
  assert not [p for p in tmp_path.rglob("*") if p.name.endswith(".tmp")]


def test_the_keys_of_image_trainers_are_the_same_in_two_processes(tmp_path):
  """Another run's weights, mixtures that end, parts of batches and of data."""
  keys = (
    "model=mlp,model_options.features=(6,),batch_size=64,warmup_steps=0"
    ",fgsm_epsilon=0.0,log_every=4,eval_every=4,checkpoint_every=8"
  )
  first = digits.get_config(f"{keys},total_steps=1,method=erm")
  train.train_and_evaluate(first, tmp_path / "first")
  keys += (
    # ResizeMix draws no Beta law, which would take longest to compile.
    ",total_steps=12,method=mixture,mixture_prob=0.75"
    ",mixture.mixup.weight=0.0,mixture.cutmix.weight=0.0"
    ",mixture.resizemix.weight=1.0,mix_off_after=8,accumulate_steps=2"
    f",evaluation_mean=2,validation_fraction=0.2,init_from={tmp_path / 'first'}"
  )
  # This process has as many devices as the two.
  train.train_and_evaluate(digits.get_config(keys), tmp_path / "alone")
  words = command(tmp_path / "pair", "mixture", "pmap")
  words[3] = f"--config=experiments/configs/digits.py:{keys}"
  devices = jax.device_count() // 2
  pair = [start([*words, *flags], devices) for flags in soak.ranks(2)]
  finish(*pair)
  alone, both = (runs.find([tmp_path / x])[0] for x in ("alone", "pair"))
  assert [row["step"] for row in alone.evals] == [4, 8, 12]
  assert [row["step"] for row in alone.tests] == [8, 12]
  assert alone.evals[0]["examples"] == 120 and alone.test["examples"] == 1197
  numbers = lambda row: {k: v for k, v in row.items() if k != "split"}
  for part in ("evals", "tests"):
    assert_equal_lines(
      *([*map(numbers, getattr(run, part))] for run in (both, alone))
    )
  # What reports tell, the mean of two, is neither of them.
  assert both.last["loss"] == pytest.approx(alone.last["loss"], rel=1e-4)
  assert alone.last["loss"] != pytest.approx(alone.test["loss"], rel=1e-4)
  # The training lines, too: of mixed examples, then of examples as they are.
  lines = [
    [
      row
      for row in metrics.read(run.folder / "metrics.jsonl")
      if row["split"] == "train"
    ]
    for run in (both, alone)
  ]
  assert [row["step"] for row in lines[0]] == [4, 8, 12]
  for one, other in zip(*lines, strict=True):
    for name in ("loss", "accuracy", "gradient_norm"):
      assert one[name] == pytest.approx(other[name], rel=1e-4, abs=1e-5)


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
  words = command(tmp_path, "erm", "shard_map", steps=20_000)
  pair = start_pair(words)
  wait_for_lines(tmp_path, 5, pair)
  pair[1].send_signal(signal.SIGTERM)
  ends = said(pair, within=120)
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
  ends = said(pair, within=120)
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
    told = said(running, within=120)
  for process, stderr in zip(running, told, strict=True):
    assert process.returncode == 1
    assert f"in use by process {os.getpid()} on host" in stderr
    assert "Traceback" not in stderr and "Gloo" not in stderr


def end_together(first, second, *, within=60):
  """Starts one process of each command; returns codes and error output.

  The time is of starting up, mostly: two Pythons, on however few cores.
  """
  flags = soak.ranks(2)
  pair = [
    start([*words, *own], devices=1)
    for words, own in zip((first, second), flags, strict=True)
  ]
  ends = said(pair, within=within)
  return [process.returncode for process in pair], ends


@pytest.mark.parametrize(
  ("key", "a", "b"),
  [
    ("learning_rate", 0.1, 0.5),  # trained on the mean of two updates
    ("total_steps", 40, 60),  # waited for each other for ever
  ],
)
def test_processes_of_different_configs_end_naming_the_key(tmp_path, key, a, b):
  words = command(tmp_path / "run", "erm", "pmap")
  codes, ends = end_together(
    [*words, f"--config.{key}={a}"], [*words, f"--config.{key}={b}"]
  )
  assert codes == [1, 1], ends
  for end in ends:
    last = end.strip().splitlines()[-1]
    assert f"{key}: {a} on process 0, {b} on process 1" in last, end[-2000:]
    assert "Traceback" not in end
  assert not (tmp_path / "run").exists()


def test_a_config_that_only_one_process_refuses_ends_both(tmp_path):
  words = command(tmp_path / "run", "erm", "pmap")
  codes, ends = end_together(words, [*words, "--config.total_steps=-1"])
  assert codes == [1, 1], ends
  for end in ends:
    assert (
      "total_steps must be an integer from 1 to 2,147,483,647, got -1" in end
    ), end[-2000:]
    assert "Traceback" not in end


def test_workdirs_that_the_processes_do_not_share_end_both(tmp_path):
  """On a first start, too, before anything is trained."""
  words = command(tmp_path, "erm", "pmap")[:-1]
  codes, ends = end_together(
    [*words, f"--workdir={tmp_path}/a"], [*words, f"--workdir={tmp_path}/b"]
  )
  assert codes == [1, 1], ends
  for end in ends:
    last = end.strip().splitlines()[-1]
    assert f"workdir {tmp_path}/b on host" in last, end[-2000:]
    assert "give all processes one workdir" in last
    assert "Traceback" not in end
  assert [p.name for p in tmp_path.rglob("*")] == ["a", "lock"]


def test_another_number_of_devices_or_setting_ends_both(tmp_path):
  words = command(tmp_path / "run", "erm", "pmap")
  pair = []
  for k, own in enumerate(soak.ranks(2)):
    with pytest.MonkeyPatch.context() as patch:
      patch.setenv("JAX_ENABLE_X64", str(k))
      pair.append(start([*words, *own], devices=1 + k))
  ends = said(pair, within=60)
  assert [process.returncode for process in pair] == [1, 1], ends
  for end in ends:
    last = end.strip().splitlines()[-1]
    assert "The processes of a run must be alike, but" in last, end[-2000:]
    assert "jax_enable_x64: 'False' on process 0, 'True' on process 1" in last
    assert "local devices: 1 on process 0, 2 on process 1" in last
    assert "Traceback" not in end
  assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("victim", [0, 1])
def test_an_error_of_one_process_ends_all_with_its_words(tmp_path, victim):
  """Before, they waited for each other for five minutes."""
  pair = start_pair(command(tmp_path, "erm", "pmap", steps=20_000))
  wait_for_lines(tmp_path, 3, pair)
  pair[victim].send_signal(signal.SIGINT)
  ends = said(pair, within=60)
  codes = [process.returncode for process in pair]
  assert codes[victim] == 130 and codes[1 - victim] == 1, ends
  assert ends[victim].strip().splitlines()[-1] == "Interrupted."
  last = ends[1 - victim].strip().splitlines()[-1]
  assert last.startswith(f"Process {victim} ends: KeyboardInterrupt"), ends
  assert all("Traceback" not in end for end in ends)


def test_nothing_is_logged_after_the_words_of_anothers_end(monkeypatch, capsys):
  """The loop goes on until all have come to the end; it is on a thread."""
  seen, verbosity = [], logging.get_verbosity()

  def shutdown():
    seen.append((capsys.readouterr().err, logging.get_verbosity()))

  def leave(code):
    raise SystemExit(code)

  class Told:
    def key_value_try_get(self, key):
      return json.dumps(f"Process 1 ends at {key}: Boom")

  monkeypatch.setattr(processes, "_client", Told)
  monkeypatch.setattr(processes, "_LOOK", 0.0)
  monkeypatch.setattr(processes.jax.distributed, "shutdown", shutdown)
  monkeypatch.setattr(processes.os, "_exit", leave)
  try:
    with pytest.raises(SystemExit, match="1"):
      processes._end_too("key", threading.Event())
  finally:
    logging.set_verbosity(verbosity)
  assert seen == [("Process 1 ends at key: Boom\n", logging.FATAL)]


class Service:
  """JAX's coordination service, as far as the processes' words need it."""

  def __init__(self):
    self.values, self.changed = {}, threading.Condition()

  def key_value_set(self, key, value):
    with self.changed:
      self.values[key] = value
      self.changed.notify_all()

  def blocking_key_value_get(self, key, timeout_in_ms):
    with self.changed:
      if not self.changed.wait_for(
        lambda: key in self.values, timeout_in_ms / 1000
      ):
        raise jax.errors.JaxRuntimeError("DEADLINE_EXCEEDED")
      return self.values[key]


@pytest.fixture
def together(monkeypatch):
  """Runs `call(k)` as process k of several; returns what each returns."""
  me = threading.local()
  monkeypatch.setattr(processes, "_asked", Counter(me))
  monkeypatch.setattr(processes.jax, "process_index", lambda: me.index)

  def run(call, count):
    service = Service()  # a new one knows no answers of before
    monkeypatch.setattr(processes, "_client", lambda: service)
    monkeypatch.setattr(processes.jax, "process_count", lambda: count)

    def one(k):
      me.index, me.asked = k, 0
      try:
        return call(k)
      except (ValueError, OSError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"

    with concurrent.futures.ThreadPoolExecutor(count) as pool:
      return list(pool.map(one, range(count)))

  return run


class Counter:
  def __init__(self, me):
    self._me = me

  def __next__(self):
    self._me.asked += 1
    return self._me.asked


def agree(*configs, **options):
  return lambda k: processes.agreed(lambda: configs[k], timeout_s=10, **options)


def test_equal_configs_agree(together):
  same = {"a": 1, "b": [1, 2], "c": float("nan"), "d": None}
  assert together(agree(same, dict(same), dict(same)), 3) == [None] * 3


def test_every_key_that_differs_is_named_on_all(together):
  configs = ({"a": 1, "b": 2, "c": 0}, {"a": 1, "b": 3}, {"a": 5, "b": 2})
  first, *others = together(agree(*configs), 3)
  assert others == [first, first]
  for part in (
    "b: 2 on process 0, 3 on process 1",
    "c: 0 on process 0, None on process 1",
    "a: 1 on process 0, 5 on process 2",
  ):
    assert part in first
  assert first.startswith("ValueError: ")


def test_what_one_process_raises_ends_all_with_its_words(together):
  def call(k):
    return processes.everywhere(lambda: 10 // (1 - k), timeout_s=10)

  first, second = together(lambda k: guarded(call, k), 2)
  assert first == "ValueError: process 1 ends: ZeroDivisionError: " + ZERO
  assert second == f"ZeroDivisionError: {ZERO}"
  assert together(
    lambda k: processes.everywhere(lambda: k + 1, timeout_s=10), 3
  ) == [1, 2, 3]


ZERO = "integer division or modulo by zero"


def guarded(call, k):
  try:
    return call(k)
  except ZeroDivisionError as error:
    return f"ZeroDivisionError: {error}"


def test_keys_of_one_machine_may_differ(together):
  told = together(
    agree({"data_dir": "/a"}, {"data_dir": "/b"}, own={"data_dir"}), 2
  )
  assert told == [None, None]


def test_a_silent_process_is_named(together):
  def call(k):
    if k == 0:
      processes.agreed(lambda: {}, timeout_s=0.1)

  first, _ = together(call, 2)
  assert "Process 1 ended, or did not say within" in first


def test_what_process_0_refuses_ends_all(together):
  def decide():
    raise PermissionError(13, "no entry", "/a")

  def call(k):
    return processes.from_first(decide, timeout_s=10)

  first, second = together(call, 2)
  assert first == "PermissionError: [Errno 13] no entry: '/a'"
  assert second == "OSError: [Errno 13] no entry: '/a'"
  assert (
    together(lambda k: processes.from_first(lambda: [1, None], timeout_s=10), 2)
    == [[1, None]] * 2
  )
