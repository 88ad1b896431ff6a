"""FGSM and PGD: jaxmix beside torchattacks, foolbox and ART on one network.

  python -m benchmarks.attacks [--examples=500 --steps=20 --rounds=10]
    [--seeds=5 --training-steps=400 --cores=N] [--out=FILE.json]

Trains a small convolutional network on 1,000 of scikit-learn's digits in JAX,
copies its weights to PyTorch, and has every library attack the same other
images, [0, 1]. All results are judged by the same network, in float64: the
robust accuracy, the mean loss reached, and how far the images are from
jaxmix's. The loss that they climb is the cross-entropy; "own loss" climbs the
log-odds, jaxmix's default, of the same direction without its rounding.

In float32 two right programs part where a gradient's sign hangs on its last
bits; in float64 they do not, and what differs there is a convention. l_inf
without a random start leaves none: there a difference stops the run. In l2
torchattacks adds 1e-10 to the norm of the mean loss's gradient, which shortens
the steps of confident examples; ART clips pixels before it projects onto the
ball and not after, which changes the steps that meet a bound. Random starts are
compared by their accuracies, over several seeds; torchattacks' in l2 have
uniform radii, and so lie nearer to the image than uniform draws in the ball.

Times are of float32, taken in turns, see `benchmarks.timing`; jaxmix is under
jit, and loops over PGD's steps unless "unrolled" is said. XLA runs convolutions
in loops several times slower on CPUs.

PyTorch and the three are optional (pip install foolbox
adversarial-robustness-toolbox; pip install --no-deps torchattacks, which pins
an old requests; beside torch and torchvision): rows of what is missing say so.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import importlib.metadata
import sys
from typing import Any

import numpy as np

from benchmarks import attacks_contenders, timing
from benchmarks.attacks_contenders import Contender, Problem, Task

_PACKAGES = ("torchattacks", "foolbox", "adversarial-robustness-toolbox")
# Of the libraries that compute in float64, in l_inf without a random start.
_TOLERANCE = 1e-9
# An image has parted from jaxmix's if a pixel differs by more than rounding.
_PARTED = 1e-4
# The columns of figures: title and format.
_MEASURED = {
  "accuracy_percent": ("accuracy (%)", ".2f"),
  "standard_error": ("±", ".2f"),
  "mean_loss": ("loss (nats)", ".5f"),
  "max_difference": ("max |Δ|", ".1e"),
  "parted_percent": ("parted (%)", ".1f"),
  "us_per_example": ("µs/example", ".1f"),
  "ratio": ("x jaxmix", ".1f"),
  "cpu_ratio": ("by CPU time", ".1f"),
}


def tasks(steps: int) -> list[Task]:
  """The attacks; FGSM first."""
  return [
    Task("FGSM", "linf", 0.1),
    Task("PGD", "linf", 0.1, steps),
    Task("PGD, l2", "l2", 0.8, steps),
    Task("PGD, l2, unbounded", "l2", 0.8, steps, bounded=False),
    Task("PGD, random start", "linf", 0.1, steps, random_start=True),
    Task("PGD, l2, random start", "l2", 0.8, steps, random_start=True),
  ]


def measure(
  problem: Problem, steps: int, rounds: int, seeds: int
) -> list[dict[str, Any]]:
  """Runs every attack in every library; returns the table's rows.

  Raises:
    ValueError: if a library's deterministic l_inf attack is not jaxmix's in
      float64.
  """
  rows = []
  for task in tasks(steps):
    for dtype in ("float32", "float64"):
      if task.random_start and dtype == "float64":
        continue
      entries = list(attacks_contenders.contenders(problem, task, dtype))
      rows += _compared(problem, task, dtype, entries, seeds)
      if dtype == "float32":
        _time(rows[-len(entries) :], entries, rounds, len(problem.labels))
  return rows


def _compared(
  problem: Problem,
  task: Task,
  dtype: str,
  entries: Sequence[Contender],
  seeds: int,
) -> list[dict[str, Any]]:
  rows: list[dict[str, Any]] = []
  own = None
  for entry in entries:
    row = {
      "task": task.name,
      "dtype": dtype,
      "name": entry.name,
      **dict.fromkeys(_MEASURED),
      "note": entry.note,
    }
    rows.append(row)
    if entry.run is None:
      continue
    attacked = [
      entry.run(seed) for seed in range(seeds if task.random_start else 1)
    ]
    judged = [attacks_contenders.judge(problem, images) for images in attacked]
    accuracies = [100.0 * float(np.mean(hit)) for hit, _ in judged]
    row["accuracy_percent"] = float(np.mean(accuracies))
    row["mean_loss"] = float(np.mean([loss for _, loss in judged]))
    if task.random_start:
      if seeds > 1:
        error = np.std(accuracies, ddof=1) / np.sqrt(seeds)
        row["standard_error"] = float(error)
      continue
    if own is None:
      own = attacked[0]
      continue
    difference = np.abs(attacked[0] - own).max(axis=(1, 2, 3))
    row["max_difference"] = float(difference.max())
    row["parted_percent"] = 100.0 * float(np.mean(difference > _PARTED))
    exact = dtype == "float64" and task.norm == "linf"
    if (
      exact
      and entry.name != "jaxmix, own loss"
      and not row["max_difference"] <= _TOLERANCE
    ):
      raise ValueError(
        f"{entry.name} ({task.name}) differs from jaxmix by "
        f"{row['max_difference']:.2g} in float64."
      )
  return rows


def _time(
  rows: Sequence[dict[str, Any]],
  entries: Sequence[Contender],
  rounds: int,
  examples: int,
) -> None:
  calls = {
    entry.name: lambda run=entry.run: run(0) for entry in entries if entry.run
  }
  times = timing.interleave(calls, rounds)
  own = times["jaxmix"]
  for row in rows:
    if row["name"] in times:
      wall, cpu = times[row["name"]]
      row["us_per_example"] = 1e6 * float(np.median(wall)) / examples
      row["ratio"] = float(np.median(wall / own.wall))
      row["cpu_ratio"] = float(np.median(cpu / own.cpu))


def table(rows: Sequence[dict[str, Any]]) -> str:
  """The rows as Markdown."""

  def cells(row):
    for key, (_, form) in _MEASURED.items():
      yield "-" if row[key] is None else format(row[key], form)

  titles = [title for title, _ in _MEASURED.values()]
  return timing.table(
    ["attack", "dtype", "who", *titles, "note"],
    [
      [row["task"], row["dtype"], row["name"], *cells(row), row["note"]]
      for row in rows
    ],
  )


def main(argv: Sequence[str]) -> dict[str, Any]:
  """Parses the options, measures, prints; returns what --out is given."""
  parser = argparse.ArgumentParser(
    prog="python -m benchmarks.attacks", description=__doc__.split("\n")[0]
  )
  parser.add_argument("--examples", type=int, default=500)
  parser.add_argument("--steps", type=int, default=20, help="of PGD")
  parser.add_argument("--rounds", type=int, default=10)
  parser.add_argument("--seeds", type=int, default=5, help="of random starts")
  parser.add_argument("--training-steps", type=int, default=400)
  parser.add_argument("--cores", type=int, help="how many to use; all")
  parser.add_argument("--out", help="JSON file to write")
  options = parser.parse_args(argv)
  timing.use_cores(options.cores)
  environment = timing.environment("benchmarks.attacks", argv)
  for name in _PACKAGES:
    try:
      environment["versions"][name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      environment["versions"][name] = None
  problem = attacks_contenders.train(options.training_steps, options.examples)
  hit, losses = attacks_contenders.judge(problem, problem.images)
  result: dict[str, Any] = {
    "environment": environment,
    "options": vars(options),
    "clean": {
      "accuracy_percent": 100.0 * float(np.mean(hit)),
      "mean_loss": float(np.mean(losses)),
    },
    "rows": measure(problem, options.steps, options.rounds, options.seeds),
  }
  clean = "Without an attack: accuracy {:.2f} %, loss {:.5f} nats.".format(
    *result["clean"].values()
  )
  text = f"{table(result['rows'])}\n\n{clean}"
  timing.report(text, result, options.out)
  return result


if __name__ == "__main__":
  from experiments import cli  # which imports JAX

  cli.run_plain(main, sys.argv[1:])
