"""Joining the other processes of a run."""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
import sys
import threading
import time
from typing import Any, NoReturn

from absl import logging
import jax
from jax._src import distributed

# For which a process waits for the others, in seconds.
_PATIENCE = 300.0
# JAX's own patience, at the end of which it aborts: ours is to come first.
_NEVER = 24 * 3600


def missing_accelerator(root: str = "/") -> str:
  """Says what to do where the machine has an accelerator that JAX does not see.

  Asked of the machine's devices, not of its packages: a machine without a GPU
  may have JAX's packages for one. Who set JAX_PLATFORMS wants what they get.

  Args:
    root: where the machine's files are.

  Returns:
    A line; "" where nothing is missing.
  """
  if os.environ.get("JAX_PLATFORMS") or jax.default_backend() != "cpu":
    return ""
  found = {
    "an NVIDIA GPU": ("dev/nvidia0", "cuda"),
    "a TPU": ("dev/accel0", "tpu"),
  }
  for name, (device, extra) in found.items():
    if os.path.exists(os.path.join(root, device)):
      return (
        f"This machine has {name} (/{device}), but JAX sees CPUs alone, and "
        f"trains on them: pip install -e '.[{extra}]', or set "
        "JAX_PLATFORMS=cpu if CPUs are meant."
      )
  return ""


def connect(
  coordinator: str | None, num_processes: int | None, process_id: int | None
) -> None:
  """Joins the other processes, if there are any.

  TPU VMs, SLURM and MPI say by themselves who they are; elsewhere the flags do.
  A SIGTERM while the others are waited for ends this process as
  `preemption.TRY_AGAIN` has it.

  Args:
    coordinator: HOST:PORT of process 0; None: detected, or one process.
    num_processes: how many there are, with `coordinator`.
    process_id: this one's number, with `coordinator`.

  Raises:
    ValueError: if the flags cannot be right, naming them.
  """
  if coordinator is not None:
    num_processes, process_id = _checked(coordinator, num_processes, process_id)
    logging.info(
      "Waiting for all of %d processes at %s, as process %d.",
      num_processes,
      coordinator,
      process_id,
    )
    _initialize(coordinator, num_processes, process_id)
    _compare(num_processes, process_id)
    return
  for name, value in (
    ("num_processes", num_processes),
    ("process_id", process_id),
  ):
    if value is not None:
      raise ValueError(
        f"--{name}={value} needs --coordinator=HOST:PORT, which is process 0's."
      )
  try:
    _initialize(None, None, None)
  except ValueError as error:
    # No cluster was detected: one process, on its own.
    if "coordinator_address" not in str(error):
      raise


def _checked(
  coordinator: str, num_processes: int | None, process_id: int | None
) -> tuple[int, int]:
  """Returns the last two, or raises a ValueError that names the flag."""
  match = re.fullmatch(
    r"(?:[^\s:]+|\[[0-9a-fA-F:.]+\]):([0-9]{1,5})", coordinator
  )
  if match is None or not 0 < int(match[1]) < 2**16:
    raise ValueError(
      "--coordinator must be HOST:PORT, such as localhost:8476; got "
      f"{coordinator!r}."
    )
  if num_processes is None or process_id is None:
    missing = "num_processes" if num_processes is None else "process_id"
    raise ValueError(
      f"--coordinator={coordinator} needs --num_processes and --process_id; "
      f"--{missing} is missing."
    )
  if num_processes < 1:
    raise ValueError(
      f"--num_processes must be at least 1, got {num_processes}."
    )
  if not 0 <= process_id < num_processes:
    raise ValueError(
      f"--process_id must lie in 0 .. {num_processes - 1}, one less than "
      f"--num_processes, got {process_id}."
    )
  if process_id == 0:
    _check_free(int(match[1]))
  return num_processes, process_id


def _check_free(port: int) -> None:
  """Raises unless process 0 can listen: JAX would abort, or share the port."""
  family = socket.AF_INET6 if socket.has_ipv6 else socket.AF_INET
  try:
    with socket.socket(family, socket.SOCK_STREAM) as trial:
      # A run that has just ended leaves its port in TIME_WAIT.
      trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
      trial.bind(("", port))
      trial.listen()
  except OSError as error:
    if error.errno not in (errno.EADDRINUSE, errno.EACCES):
      return  # of what JAX may do otherwise, it is the judge
    raise ValueError(
      f"--coordinator: process 0 cannot listen at port {port} "
      f"({error.strerror}); choose another one for all processes, or end what "
      "uses it, such as a process 0 of an earlier start."
    ) from None


def _initialize(
  coordinator: str | None, num_processes: int | None, process_id: int | None
) -> None:
  failed: list[BaseException] = []

  def call() -> None:
    try:
      jax.distributed.initialize(
        coordinator,
        num_processes,
        process_id,
        initialization_timeout=_NEVER,
      )
    except BaseException as error:
      failed.append(error)

  # In a thread, as JAX waits where no signal's handler is run.
  thread = threading.Thread(target=call, daemon=True)
  thread.start()
  deadline = time.monotonic() + _PATIENCE
  try:
    while thread.is_alive():
      thread.join(0.2)
      if thread.is_alive() and time.monotonic() > deadline:
        _leave(
          f"Waited {_PATIENCE:.0f} s for the other processes, in vain; start "
          "each with the same --coordinator and --num_processes, a "
          "--process_id of its own from 0 on, and where it reaches process 0.",
          1,
        )
  except KeyboardInterrupt:
    _leave("Interrupted.", 128 + signal.SIGINT)
  if failed:
    raise failed[0]


def _compare(num_processes: int, process_id: int) -> None:
  """Ends whoever was given another number: JAX would wait for ever."""
  # No backend may be asked for yet: it is made of all processes' devices.
  client: Any = distributed.global_state.client
  key = "jaxmix/num_processes/{}".format
  client.key_value_set(key(process_id), str(num_processes))
  for k in range(1, num_processes) if process_id == 0 else (0,):
    found = client.blocking_key_value_get(key(k), round(1000 * _PATIENCE))
    if int(found) != num_processes:
      words = (
        f"--num_processes={num_processes} on process {process_id}, but {found} "
        f"on process {k}; give all the same."
      )
      if process_id == 0:
        time.sleep(2.0)  # the others hear of it from here
      _leave(words, 1)


def _leave(words: str, code: int) -> NoReturn:
  # By no exception: JAX's clean-up would wait for whom the thread waits.
  print(words, file=sys.stderr, flush=True)
  os._exit(code)
