"""How many runs a second a sweep trains, beside one run after the other.

  python -m benchmarks.sweep [--runs=40] [--alone=3] [--out=FILE.json]
    [--config=experiments/configs/digits.py:model=mlp,method=mixup]
    [--set=total_steps=600]...

Three ways to the same runs, which differ in their seed: `experiments.sweep`, a
program for all; `experiments.main` with sweep_seeds, one after the other in a
process, which is compiled once; and `experiments.main` for each. Of the second
and the third as many as --alone are run. Each is a command that starts from
nothing, without a compilation cache; rates count the start, as people wait for
it, and CPU seconds stand beside the wall's, which no load disturbs much.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
from typing import Any

from experiments.workdir import provenance, storage

DIGITS = "experiments/configs/digits.py:model=mlp,method=mixup"
# Checkpoints are what a run alone can be resumed from; a sweep has none.
_QUICK = ("eval_every=1000000", "log_every=1000000", "total_steps=600")
TOGETHER = "together"
IN_TURN = "in turn, one process"
APART = "a process each"


def commands(
  config: str, settings: Sequence[str], runs: int, alone: int, folder: str
) -> dict[str, tuple[int, list[list[str]]]]:
  """Returns the three ways: how many runs, and the commands that make them."""
  keys = [f"--config.{setting}" for setting in settings]
  start = [sys.executable, "-m"]
  seeds = ",".join(map(str, range(alone)))

  def main(name: str, *more: str) -> list[str]:
    return [
      *(*start, "experiments.main", f"--config={config}", *keys, *more),
      f"--workdir={folder}/{name}",
    ]

  sweep = [
    *(*start, "experiments.sweep", f"--config={config}", *keys),
    *(f"--grid=seed=0..{runs - 1}", f"--workdir={folder}/together"),
  ]
  return {
    TOGETHER: (runs, [sweep]),
    IN_TURN: (alone, [main("turn", f"--config.sweep_seeds=({seeds},)")]),
    APART: (
      alone,
      [main(f"apart{k}", f"--config.seed={k}") for k in range(alone)],
    ),
  }


def timed(orders: Sequence[Sequence[str]]) -> tuple[float, float]:
  """Runs commands one after the other; returns seconds: wall, CPU."""
  environment = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith("JAX_COMPILATION_CACHE")
  }
  before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
  for order in orders:
    done = subprocess.run(
      order, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
      raise RuntimeError(f"{' '.join(order)} failed:\n{done.stderr[-2000:]}")
  wall = time.monotonic() - begun
  after = resource.getrusage(resource.RUSAGE_CHILDREN)
  cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
  return wall, cpu


def measure(
  ways: Mapping[str, tuple[int, list[list[str]]]],
) -> list[dict[str, Any]]:
  """Returns a row for each way, see `commands`."""
  rows = []
  for name, (count, orders) in ways.items():
    wall, cpu = timed(orders)
    rows.append(
      {
        "name": name,
        "runs": count,
        "seconds": round(wall, 2),
        "runs_per_second": float(f"{count / wall:.4g}"),
        "cpu_seconds_per_run": float(f"{cpu / count:.4g}"),
      }
    )
    print(rows[-1], flush=True)
  return rows


def main() -> None:
  """Measures, prints the ratios, and writes the file."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--config", default=DIGITS)
  parser.add_argument("--set", action="append", dest="settings")
  parser.add_argument("--runs", type=int, default=40)
  parser.add_argument("--alone", type=int, default=3)
  parser.add_argument("--out", type=pathlib.Path)
  given = parser.parse_args()
  settings = given.settings or list(_QUICK)
  load = os.getloadavg()[0]
  with tempfile.TemporaryDirectory() as folder:
    rows = measure(
      commands(given.config, settings, given.runs, given.alone, folder)
    )
  rates = {row["name"]: row["runs_per_second"] for row in rows}
  for name in (IN_TURN, APART):
    print(f"together / {name}: {rates[TOGETHER] / rates[name]:.1f}")
  if given.out:
    content = {
      "made_with": provenance.describe("benchmarks.sweep"),
      "cores": len(os.sched_getaffinity(0)),
      "load_before": round(load, 2),
      "config": given.config,
      "settings": settings,
      "rows": rows,
    }
    storage.write(given.out, json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
  main()
