"""What config.monitor=theory costs, in steps of training by Mixup.

  python -m benchmarks.monitor_cost [--model=resnet20 --batch=128 --size=32]
    [--examples=32] [--every=500] [--rounds=5] [--cores=N] [--out=FILE.json]

One call on a batch of evaluation images, as it comes with every evaluation:
along random directions, as is the default, and along every direction
(monitor_probes=0). Calls take turns with whole training steps. Beside the times
stand the second-order terms of both, with the standard errors that the first
one tells, on a network before training and random images.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import sys
from typing import Any

import numpy as np

from benchmarks import mixupe_cost, timing

PROBES = (2, 8, 0)


def measure(
  model: str, batch: int, size: int, examples: int, every: int, rounds: int
) -> list[dict[str, Any]]:
  """Times the monitors beside a step; a row for each number of probes."""

  watched = mixupe_cost.made(model, examples, size)
  trained = mixupe_cost.made(model, batch, size)

  def monitored(probes):
    config = {
      "method": "mixup",
      "monitor": "theory",
      "monitor_examples": examples,
      "monitor_probes": probes,
    }
    return mixupe_cost.compile_step(watched, config)[0]

  calls = {probes: monitored(probes) for probes in PROBES}
  step, _ = mixupe_cost.compile_step(trained, {"method": "mixup"})
  values = {
    probes: {name: float(value) for name, value in call().items()}
    for probes, call in calls.items()
  }
  named = {str(probes): call for probes, call in calls.items()}
  times = timing.interleave({"step": step} | named, rounds, warmup=1)
  rows = []
  for probes in PROBES:
    own = times[str(probes)]
    ratio = float(np.median(own.cpu / times["step"].cpu))
    rows.append(
      {
        "probes": probes,
        "median_ms": 1e3 * float(np.median(own.wall)),
        "steps": float(np.median(own.wall / times["step"].wall)),
        "steps_by_cpu": ratio,
        "share": ratio / every,
        "values": values[probes],
      }
    )
  return rows


def table(rows: Sequence[dict[str, Any]], every: int) -> str:
  """The rows as Markdown."""

  def term(values, name):
    error = values.get(f"theory_{name}_error")
    stated = "" if error is None else f" ± {error:.2g}"
    return f"{values[f'theory_{name}']:.3g}{stated}"

  header = [
    "probes",
    "median ms",
    "steps of Mixup",
    "by CPU time",
    f"% of {every:,} steps",
    "R2",
    "R3",
  ]
  cells = [
    [
      str(row["probes"]) if row["probes"] else "all directions",
      f"{row['median_ms']:.0f}",
      f"{row['steps']:.2f}",
      f"{row['steps_by_cpu']:.2f}",
      f"{100 * row['share']:.2f}",
      term(row["values"], "r2"),
      term(row["values"], "r3"),
    ]
    for row in rows
  ]
  return timing.table(header, cells)


def main(argv: Sequence[str]) -> dict[str, Any]:
  """Parses the options, measures, prints; returns what --out is given."""
  parser = argparse.ArgumentParser(
    prog="python -m benchmarks.monitor_cost",
    description=__doc__.split("\n")[0],
  )
  parser.add_argument("--model", default="resnet20")
  parser.add_argument("--batch", type=int, default=128)
  parser.add_argument("--size", type=int, default=32, help="side, pixels")
  parser.add_argument("--examples", type=int, default=32, help="monitored")
  parser.add_argument("--every", type=int, default=500, help="eval_every")
  parser.add_argument("--rounds", type=int, default=5)
  parser.add_argument("--cores", type=int, help="how many to use; all")
  parser.add_argument("--out", help="JSON file to write")
  options = parser.parse_args(argv)
  timing.use_cores(options.cores)
  result: dict[str, Any] = {
    "environment": timing.environment("benchmarks.monitor_cost", argv),
    "options": vars(options),
  }
  result["rows"] = measure(
    options.model,
    options.batch,
    options.size,
    options.examples,
    options.every,
    options.rounds,
  )
  timing.report(table(result["rows"], options.every), result, options.out)
  return result


if __name__ == "__main__":
  from experiments import cli  # which imports JAX

  cli.run_plain(main, sys.argv[1:])
