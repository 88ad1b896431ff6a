"""Interleaved timing of contenders, and how the result is written down.

Contenders take turns, in a fresh random order each round, so that slow spells
of the machine fall on all of them alike. Ratios are medians of the ratios
within a round.

That does not make a busy machine a fair one: a library whose threads meet at a
barrier after every operation (PyTorch's OpenMP) waits for the thread that other
work has displaced: 52 ms for an addition of 11 us was seen. So times are taken
on the wall and as CPU time, a run can be kept to one core, and the load is
reported with every table.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
import importlib.metadata
import os
import pathlib
import platform
import random
import sys
import time
from typing import Any, NamedTuple

import numpy as np

from experiments.workdir import provenance, storage

PACKAGES = (
  "jax",
  "jaxlib",
  "flax",
  "numpy",
  "torch",
  "torchvision",
  "timm",
)

# What decides how memory is handed out and shared among threads, and how
# programs are compiled.
_VARIABLES = (
  "GLIBC_TUNABLES",
  "OMP_NUM_THREADS",
  "XLA_FLAGS",
  "XLA_PYTHON_CLIENT_ALLOCATOR",
  "XLA_PYTHON_CLIENT_MEM_FRACTION",
  "XLA_PYTHON_CLIENT_PREALLOCATE",
)


class Times(NamedTuple):
  """Seconds of each round, [rounds]: on the wall, and of CPU, all threads."""

  wall: np.ndarray
  cpu: np.ndarray


def interleave(
  calls: Mapping[str, Callable[[], Any]], rounds: int, *, warmup: int = 2
) -> dict[str, Times]:
  """Returns each contender's times in every round.

  A call's result is freed between the timings, not in them.

  Args:
    calls: functions that return only when their work is done.
    rounds: number of timed calls of each.
    warmup: number of untimed calls of each, before any timing.
  """
  for call in calls.values():
    for _ in range(warmup):
      call()
  order = random.Random(0)
  seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
  for _ in range(rounds):
    for name in order.sample(list(calls), len(calls)):
      wall, cpu = time.perf_counter(), time.process_time()
      result = calls[name]()
      elapsed = time.perf_counter() - wall, time.process_time() - cpu
      seconds[name].append(elapsed)
      del result
  return {name: Times(*np.array(rows).T) for name, rows in seconds.items()}


def pipelined(
  dispatch: Callable[[], Any],
  wait: Callable[[Any], Any],
  steps: int,
  *,
  ahead: int = 3,
) -> np.ndarray:
  """Returns the seconds between the ends of consecutive steps, [steps].

  As in a training loop, `ahead` steps are in flight while one is waited for, so
  that the device never waits for this process.

  Args:
    dispatch: starts a step and returns what to wait for.
    wait: returns when the step that it is given has ended.
    steps: number of intervals; 1 + `ahead` more steps are taken.
    ahead: number of steps in flight while one is waited for.
  """
  flying: deque[Any] = deque(dispatch() for _ in range(ahead))
  ends = []
  for _ in range(steps + 1):
    flying.append(dispatch())
    wait(flying.popleft())
    ends.append(time.perf_counter())
  # Not timed: these end with nothing dispatched meanwhile.
  for step in flying:
    wait(step)
  return np.diff(ends)


def use_cores(number: int | None) -> None:
  """Keeps this process to its first cores; to be called before any work.

  Thread pools that exist already keep their size.
  """
  if number is not None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:number])


def cpu_count() -> int:
  """Number of cores that this process may use."""
  return len(os.sched_getaffinity(0))


def environment(module: str, argv: Sequence[str]) -> dict[str, Any]:
  """What a reader needs to repeat a run: command, versions, processor."""
  versions = {"python": platform.python_version()}
  for name in PACKAGES:
    try:
      versions[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      versions[name] = None
  return {
    "command": " ".join(["python", "-m", module, *argv]),
    "commit": provenance.commit(),
    "variables": {
      name: os.environ[name] for name in _VARIABLES if name in os.environ
    },
    "date": time.strftime("%Y-%m-%d"),
    "versions": versions,
    "processor": _processor(),
    "cpu_count": cpu_count(),
    "load_average": round(os.getloadavg()[0], 1),
  }


def _processor() -> str:
  path = pathlib.Path("/proc/cpuinfo")
  if path.exists():
    for line in path.read_text().splitlines():
      if line.startswith("model name"):
        return line.partition(":")[2].strip()
  return platform.processor()


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  """A Markdown table; numbers are right-aligned."""
  lines = [header, *rows]
  widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
  numeric = [
    all(cell == "-" or cell[0].isdigit() for cell in column)
    for column in zip(*rows, strict=True)
  ]

  def row(cells):
    padded = [
      cell.rjust(width) if right else cell.ljust(width)
      for cell, width, right in zip(cells, widths, numeric, strict=True)
    ]
    return f"| {' | '.join(padded)} |"

  rule = [
    "-" * (width - 1) + ":" if right else "-" * width
    for width, right in zip(widths, numeric, strict=True)
  ]
  return "\n".join([row(header), row(rule), *map(row, rows)])


def report(text: str, result: Mapping[str, Any], out: str | None) -> None:
  """Prints the table under its environment, and writes the JSON if asked."""
  about = result["environment"]
  known = {k: v for k, v in about["versions"].items() if v is not None}
  variables = [f"{k}={v} " for k, v in about["variables"].items()]
  print(f"$ {''.join(variables)}{about['command']}")
  print(
    f"{about['cpu_count']} core(s), {about['processor']}, load average "
    f"{about['load_average']} at the start; "
    + ", ".join(f"{name} {version}" for name, version in known.items())
  )
  if about["load_average"] > about["cpu_count"] / 2:
    print("The machine was busy: these times are not the libraries' own.")
  print(f"\n{text}\n")
  if out:
    storage.write_json(out, result)
    print(f"Written to {out}.", file=sys.stderr)
