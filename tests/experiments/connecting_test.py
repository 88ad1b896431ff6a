"""Joining the others: what cannot be right, and being stopped meanwhile."""

import signal
import socket
import subprocess
import sys

import pytest

from benchmarks import soak
from experiments import connecting


@pytest.mark.parametrize(
  ("flags", "words"),
  [
    (("localhost", 2, 0), "--coordinator must be HOST:PORT.* got 'localhost'"),
    (("localhost:", 2, 0), "--coordinator must be HOST:PORT"),
    ((":8476", 2, 0), "--coordinator must be HOST:PORT"),
    (("localhost:0", 2, 0), "--coordinator must be HOST:PORT"),
    (("localhost:70000", 2, 0), "--coordinator must be HOST:PORT"),
    (("localhost:port", 2, 0), "--coordinator must be HOST:PORT"),
    (("http://localhost:8476", 2, 0), "--coordinator must be HOST:PORT"),
    (("", 2, 0), "--coordinator must be HOST:PORT"),
    (("localhost:8476", None, 0), "--num_processes is missing"),
    (("[::1]:8476", 2, None), "--process_id is missing"),
    (("localhost:8476", 0, 0), "--num_processes must be at least 1, got 0"),
    (("localhost:8476", 2, 2), r"--process_id must lie in 0 \.\. 1, .* got 2"),
    (("localhost:8476", 2, -1), r"--process_id must lie in 0 \.\. 1, .*got -1"),
    ((None, 2, None), "--num_processes=2 needs --coordinator=HOST:PORT"),
    ((None, None, 0), "--process_id=0 needs --coordinator=HOST:PORT"),
  ],
)
def test_flags_that_cannot_be_right_are_named(flags, words):
  with pytest.raises(ValueError, match=words):
    connecting.connect(*flags)


@pytest.mark.parametrize("host", ["localhost", "0.0.0.0"])
def test_a_port_in_use_is_named(host):
  with socket.create_server((host, 0)) as taken:
    port = taken.getsockname()[1]
    with pytest.raises(ValueError, match=f"cannot listen at port {port} "):
      connecting.connect(f"localhost:{port}", 2, 0)


def waiting(flags):
  """A process that waits for another that never comes."""
  code = "from experiments import cli, main; cli.run(main.main, resumable=True)"
  process = subprocess.Popen(
    [sys.executable, "-c", code, "--workdir=/nowhere/run", *flags],
    env=soak.environment(1),
    stderr=subprocess.PIPE,
    text=True,
  )
  while "Waiting for all of 2 processes" not in process.stderr.readline():
    assert process.poll() is None
  return process


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize(
  ("how", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)]
)
def test_a_process_that_waits_for_others_stops_when_asked(number, how, code):
  process = waiting(soak.ranks(2)[number])
  try:
    process.send_signal(how)
    told = process.communicate(timeout=60)[1]
  finally:
    process.kill()
  assert process.returncode == code, told
  assert "Traceback" not in told


def test_others_that_never_come_end_a_process_with_one_line():
  (flags, _) = soak.ranks(2)
  address = flags[0].removeprefix("--coordinator=")
  code = (
    "from experiments import connecting\n"
    "connecting._PATIENCE = 0.5\n"
    f"connecting.connect({address!r}, 2, 0)"
  )
  done = subprocess.run(
    [sys.executable, "-c", code],
    env=soak.environment(1),
    capture_output=True,
    text=True,
    timeout=120,
  )
  assert done.returncode == 1, done.stderr
  last = done.stderr.strip().splitlines()[-1]
  assert last.startswith("Waited 0 s for the other processes, in vain;")


def test_another_number_of_processes_ends_both_with_one_line():
  (flags, _) = soak.ranks(2)
  address = flags[0].removeprefix("--coordinator=")
  code = "from experiments import connecting\nconnecting.connect({!r}, {}, {})"
  pair = [
    subprocess.Popen(
      [sys.executable, "-c", code.format(address, 2 + k, k)],
      env=soak.environment(1),
      stderr=subprocess.PIPE,
      text=True,
    )
    for k in range(2)
  ]
  try:
    ends = [process.communicate(timeout=120)[1] for process in pair]
  finally:
    for process in pair:
      process.kill()
  assert [process.returncode for process in pair] == [1, 1], ends
  lasts = [end.strip().splitlines()[-1] for end in ends]
  assert lasts == [
    "--num_processes=2 on process 0, but 3 on process 1; give all the same.",
    "--num_processes=3 on process 1, but 2 on process 0; give all the same.",
  ]
