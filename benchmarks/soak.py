"""Kills a run again and again, and checks that nothing is lost.

  python -m benchmarks.soak --kills=50 --seed=0 --out=FILE.json

Small jobs on the digits, of one process or two, by pmap or shard_map, are each
run once undisturbed, then killed (SIGKILL) or asked to stop (SIGTERM) at random
moments and started again with the same command until they end by themselves.
Every evaluation line they leave must be the undisturbed run's, to the last
digit. The file is written after every job; a kill takes about ten seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
import itertools
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from typing import Any

from absl import flags, logging

from experiments import cli, preemption
from experiments.workdir import metrics, progress, provenance, storage

_KILLS = flags.DEFINE_integer("kills", 50, "How many, over all jobs.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the moments and the victims.")
_STEPS = flags.DEFINE_integer("steps", 1500, "Length of each job.")
_OUT = flags.DEFINE_string("out", None, "JSON file to write.")

_ROOT = pathlib.Path(__file__).parents[1]
_DEVICES = 2  # in all, over the processes
# Job managers' usual patience between SIGTERM and SIGKILL.
_GRACE = 60.0
# A start that shows no progress for so long is broken.
_STUCK = 600.0


def jobs() -> Iterator[dict[str, Any]]:
  """Yields what there is to be killed, for ever."""
  kinds = itertools.product(("mixupe", "erm"), ("pmap", "shard_map"), (2, 1))
  for method, parallel, processes in itertools.cycle(kinds):
    yield {"method": method, "parallel": parallel, "processes": processes}


def start(
  job: dict[str, Any], workdir: pathlib.Path, steps: int
) -> list[subprocess.Popen]:
  """Starts all processes of a job: the same command, first or again."""
  keys = {
    "method": job["method"],
    "parallel": job["parallel"],
    "model": "mlp",
    "batch_size": 64,
    "total_steps": steps,
    "log_every": 25,
    "eval_every": 50,
    "checkpoint_every": 75,
    "fgsm_epsilon": 0.0,
  }
  chosen = ",".join(f"{key}={value}" for key, value in keys.items())
  command = [
    *(sys.executable, "-m", "experiments.main"),
    f"--config=experiments/configs/digits.py:{chosen}",
    f"--workdir={workdir}",
  ]
  count = job["processes"]
  processes = []
  for k, flags_of_rank in enumerate(ranks(count)):
    with (workdir.parent / f"{workdir.name}.{k}.log").open("a") as log:
      processes.append(
        subprocess.Popen(
          command + flags_of_rank,
          cwd=_ROOT,
          env=environment(_DEVICES // count),
          stdout=log,
          stderr=log,
        )
      )
  return processes


def ranks(count: int) -> list[list[str]]:
  """Returns the flags by which each of `count` local processes finds others."""
  if count == 1:
    return [[]]
  with socket.socket() as free:
    free.bind(("localhost", 0))
    port = free.getsockname()[1]
  return [
    [
      f"--coordinator=localhost:{port}",
      f"--num_processes={count}",
      f"--process_id={k}",
    ]
    for k in range(count)
  ]


def environment(devices: int) -> dict[str, str]:
  """Returns what makes a process one of so many CPU devices, quick to start."""
  return os.environ | {
    "JAX_PLATFORMS": "cpu",
    # Of two equal flags XLA takes the last: what is set already stays.
    "XLA_FLAGS": "--xla_backend_optimization_level=0 "
    f"{os.environ.get('XLA_FLAGS', '')} "
    f"--xla_force_host_platform_device_count={devices}",
  }


def undisturbed(
  job: dict[str, Any], workdir: pathlib.Path, steps: int
) -> tuple[list[dict[str, Any]], float]:
  """Returns a whole run's evaluation lines, and the seconds it took."""
  begun = time.monotonic()
  codes = [process.wait() for process in start(job, workdir, steps)]
  if any(codes):
    raise RuntimeError(
      f"The undisturbed run of {job} ended with {codes}; see {workdir}.*.log."
    )
  return metrics.evaluations(workdir), time.monotonic() - begun


def disturb(
  processes: Sequence[subprocess.Popen], delay: float, rng: random.Random
) -> dict[str, Any] | None:
  """Ends a job `delay` seconds from now, as a machine or its manager would.

  Args:
    processes: of one job.
    delay: seconds.
    rng: draws the signal and who gets it first.

  Returns:
    What was done and the exit codes; None if the job had ended by then.
  """
  kill = rng.choice((signal.SIGTERM, signal.SIGKILL))
  victim = rng.randrange(len(processes))
  deadline = time.monotonic() + delay
  while time.monotonic() < deadline:
    if all(process.poll() is not None for process in processes):
      return None
    time.sleep(0.005)
  if any(process.poll() is not None for process in processes):
    # It is ending by itself; give it the time to.
    wait(processes, _GRACE)
    return None
  processes[victim].send_signal(kill)
  if kill == signal.SIGTERM:
    wait(processes, _GRACE)
  else:
    processes[victim].wait()
    time.sleep(rng.uniform(0.0, 1.0))
  for process in processes:
    process.kill()
  codes = [process.wait() for process in processes]
  return {"signal": kill.name, "process": victim, "exit_codes": codes}


def wait(processes: Sequence[subprocess.Popen], seconds: float) -> None:
  """Waits until all have ended, or for so long."""
  deadline = time.monotonic() + seconds
  while any(process.poll() is None for process in processes):
    if time.monotonic() > deadline:
      return
    time.sleep(0.02)


def soak(
  kills: int, seed: int, steps: int, folder: pathlib.Path
) -> Iterator[dict[str, Any]]:
  """Yields each job, what was done to it and what differs in the end.

  Args:
    kills: stops, once there were as many, after the job has ended by itself.
    seed: of everything random here; the moments, in seconds, depend on the
      machine.
    steps: length of a job.
    folder: for the jobs' workdirs and logs.
  """
  rng = random.Random(seed)
  done = 0
  for number, job in enumerate(jobs()):
    if done >= kills:
      return
    expected, seconds = undisturbed(job, folder / f"{number}_whole", steps)
    workdir = folder / f"{number}_killed"
    record: list[dict[str, Any]] = []
    while True:
      processes = start(job, workdir, steps)
      if done == kills:
        wait(processes, _STUCK)
        ended: dict[str, Any] | None = None
      else:
        # Anywhere in a whole run's time, starting up included.
        delay = rng.uniform(0.0, seconds)
        ended = disturb(processes, delay, rng)
      if ended is None:
        codes = [process.poll() for process in processes]
        if any(code != 0 for code in codes):
          for process in processes:
            process.kill()
          raise RuntimeError(
            f"{job}, left alone, ended with {codes}; see {workdir}.*.log."
          )
        break
      rows = metrics.read(workdir / "metrics.jsonl")
      ended |= {
        "after_seconds": round(delay, 3),
        "last_line": max((row["step"] for row in rows), default=0),
      }
      record.append(ended)
      done += 1
      logging.info("%d of %d: %s", done, kills, ended)
    found = metrics.evaluations(workdir)
    yield job | {
      "steps": steps,
      "seconds_undisturbed": round(seconds, 1),
      "kills": record,
      "lines": len(expected),
      "differing_lines": differing(found, expected),
    }


def differing(
  found: Sequence[dict[str, Any]], expected: Sequence[dict[str, Any]]
) -> int:
  """Counts lines that are missing, too many, or not equal to the last digit."""
  pairs = itertools.zip_longest(found, expected)
  return sum(first != second for first, second in pairs)


def totals(jobs: Sequence[dict[str, Any]]) -> dict[str, Any]:
  """Returns the counts over all jobs, as `soak` yields them."""
  kills = [kill for job in jobs for kill in job["kills"]]
  return {
    "kills": len(kills),
    "by_signal": dict(Counter(kill["signal"] for kill in kills)),
    "saved_and_asked_for_a_retry": sum(
      set(kill["exit_codes"]) == {preemption.TRY_AGAIN} for kill in kills
    ),
    "lines": sum(job["lines"] for job in jobs),
    "differing_lines": sum(job["differing_lines"] for job in jobs),
  }


def main() -> None:
  """Soaks, prints the count, writes the file."""
  logging.set_verbosity(logging.INFO)
  made_with = provenance.describe("benchmarks.soak")
  done: list[dict[str, Any]] = []
  result = totals(done)
  begun = time.monotonic()
  with tempfile.TemporaryDirectory() as folder:
    for job in soak(
      _KILLS.value, _SEED.value, _STEPS.value, pathlib.Path(folder)
    ):
      done.append(job)
      result = totals(done)
      if _OUT.value:
        out = storage.path(_OUT.value)
        out.parent.mkdir(parents=True, exist_ok=True)
        storage.write_json(
          out, {"made_with": made_with, **result, "jobs": done}
        )
      seconds = time.monotonic() - begun
      left = _KILLS.value - result["kills"]
      logging.info(
        "%d of %d kills, %d of %d lines differ, ETA %s.",
        result["kills"],
        _KILLS.value,
        result["differing_lines"],
        result["lines"],
        progress.duration(seconds / max(result["kills"], 1) * left),
      )
  print(
    f"{result['kills']} kills ({result['by_signal']}): "
    f"{result['differing_lines']} of {result['lines']} evaluation lines differ."
  )
  sys.exit(result["differing_lines"] > 0)


if __name__ == "__main__":
  cli.run(main)
