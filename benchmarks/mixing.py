"""Mixing a batch of images: jaxmix beside PyTorch, NumPy, timm, torchvision.

  python -m benchmarks.mixing [--batch=128 --size=224 --rounds=20]
    [--cores=N] [--no-compile] [--out=FILE.json]

One process, one run: the contenders take turns, each with all cores (NumPy has
one thread), warmed up, blocked on until the result is there. Every result is
checked against NumPy's for the same lam and partners. The GB/s count what must
be moved: the batch in twice (x and its partner), the result out once.

A result in fresh memory costs more than the arithmetic: its pages are handed
out by the kernel one by one. `donated` and `buffer` are the rows without that;
GLIBC_TUNABLES=glibc.malloc.hugetlb=1 before the command has malloc ask for huge
pages, which helps everybody.
On a busy machine compare CPU times under --cores=1, see `benchmarks.timing`.

PyTorch, timm and torchvision are optional (pip install torch; pip install
--no-deps timm torchvision huggingface_hub safetensors pyyaml): rows of what is
missing say so.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
import sys
from typing import Any

import numpy as np

from benchmarks import contenders, timing
from benchmarks.mixing_tasks import (
  CUTMIX,
  FUSED,
  PER_BATCH,
  TASKS,
  Batch,
  Contender,
  make_batch,
)

# bfloat16 keeps 8 bits of values up to 2.7.
_TOLERANCE = {FUSED: 2.0**-6}
_FLOAT32_TOLERANCE = 2e-6
# The columns of figures: title and format.
_MEASURED = {
  "median_ms": ("median ms", ".1f"),
  "fastest_ms": ("fastest ms", ".1f"),
  "cpu_ms": ("CPU ms", ".1f"),
  "gb_per_s": ("GB/s", ".1f"),
  "speedup": ("x PyTorch", ".2f"),
  "cpu_speedup": ("by CPU time", ".2f"),
}


def measure(
  batch: int, size: int, rounds: int, *, compiled: bool = True
) -> list[dict[str, Any]]:
  """Runs every contender; returns the table's rows, task by task.

  Raises:
    ValueError: if a contender's result is not NumPy's.
  """
  data = make_batch(batch, size)
  entries = list(_contenders(data, compiled))
  errors = {
    (entry.task, entry.name): _error(entry, data)
    for entry in entries
    if entry.mix is not None
  }
  calls = {
    f"{entry.task}: {entry.name}": entry.run
    for entry in entries
    if entry.run is not None
  }
  times = timing.interleave(calls, rounds)
  rows = []
  for entry in sorted(entries, key=lambda entry: TASKS.index(entry.task)):
    own = times.get(f"{entry.task}: {entry.name}")
    baseline = times.get(f"{entry.task}: PyTorch")
    row = {
      "task": entry.task,
      "name": entry.name,
      "note": entry.note,
      "max_error": errors.get((entry.task, entry.name)),
      **dict.fromkeys(_MEASURED),
    }
    if own is not None:
      seconds = float(np.median(own.wall))
      row["median_ms"] = 1e3 * seconds
      row["fastest_ms"] = 1e3 * float(np.min(own.wall))
      row["cpu_ms"] = 1e3 * float(np.median(own.cpu))
      row["gb_per_s"] = _bytes(entry.task, data) / seconds / 1e9
    if own is not None and baseline is not None:
      row["speedup"] = float(np.median(baseline.wall / own.wall))
      row["cpu_speedup"] = float(np.median(baseline.cpu / own.cpu))
    rows.append(row)
  return rows


def _contenders(data: Batch, compiled: bool) -> Iterator[Contender]:
  yield from contenders.jaxmix_contenders(data)
  yield from contenders.torch_contenders(data, compiled=compiled)
  yield from contenders.numpy_contenders(data)
  yield from contenders.library_contenders(data)


def _bytes(task: str, data: Batch) -> int:
  if task == FUSED:
    return 2 * data.pixels.nbytes + 2 * data.pixels.size
  return 3 * data.images.nbytes


def _error(entry: Contender, data: Batch) -> float:
  """The largest difference from the definition, worked out here in NumPy."""
  generator = np.random.default_rng(1)
  size, height, width = data.images.shape[:3]
  partner = generator.permutation(size).astype(np.int32)
  images, others = data.images, data.images[partner]
  if entry.task == CUTMIX:
    ends = [
      np.sort(generator.integers(0, length + 1, (size, 2)), axis=1)
      for length in (height, width)
    ]
    draw = np.concatenate(ends, axis=1).astype(np.int32)
    expected = images.copy()
    for i, (top, bottom, left, right) in enumerate(draw):
      expected[i, top:bottom, left:right] = others[i, top:bottom, left:right]
  else:
    shape = 1 if entry.task == PER_BATCH else size
    draw = generator.beta(1.0, 1.0, shape).astype(np.float32)
    own = draw.reshape(-1, 1, 1, 1)
    expected = own * images + (1.0 - own) * others
    if "jaxmix" in entry.name:
      draw = np.broadcast_to(draw, size)
  result = entry.mix(draw, partner).astype(np.float32)
  error = float(np.max(np.abs(result - expected)))
  if not error <= _TOLERANCE.get(entry.task, _FLOAT32_TOLERANCE):
    raise ValueError(
      f"{entry.name} ({entry.task}) differs from NumPy by {error:.2g}."
    )
  return error


def table(rows: Sequence[dict[str, Any]]) -> str:
  """The rows as Markdown."""

  def cells(row):
    for key, (_, form) in _MEASURED.items():
      yield "-" if row[key] is None else format(row[key], form)

  titles = [title for title, _ in _MEASURED.values()]
  return timing.table(
    ["task", "who", *titles, "note"],
    [[row["task"], row["name"], *cells(row), row["note"]] for row in rows],
  )


def main(argv: Sequence[str]) -> dict[str, Any]:
  """Parses the options, measures, prints; returns what --out is given."""
  parser = argparse.ArgumentParser(
    prog="python -m benchmarks.mixing", description=__doc__.split("\n")[0]
  )
  parser.add_argument("--batch", type=int, default=128)
  parser.add_argument("--size", type=int, default=224, help="side, pixels")
  parser.add_argument("--rounds", type=int, default=20)
  parser.add_argument("--cores", type=int, help="how many to use; all")
  parser.add_argument("--out", help="JSON file to write")
  parser.add_argument(
    "--no-compile", action="store_true", help="leave torch.compile out"
  )
  options = parser.parse_args(argv)
  timing.use_cores(options.cores)
  result: dict[str, Any] = {
    "environment": timing.environment("benchmarks.mixing", argv),
    "options": vars(options),
  }
  result["rows"] = measure(
    options.batch,
    options.size,
    options.rounds,
    compiled=not options.no_compile,
  )
  timing.report(table(result["rows"]), result, options.out)
  return result


if __name__ == "__main__":
  from experiments import cli  # which imports JAX

  cli.run_plain(main, sys.argv[1:])
