"""Images a second a core, from JPEGs on disk to training batches.

  python -m benchmarks.input --images=FOLDER [--pattern=REGEX] [--repeat=16]
    [--batch=128 --size=224] [--seconds=10 --rounds=3] [--batches=2000]
    [--shorter_side=256] [--cores=N] [--contenders=pillow,opencv]
    [--out=FILE.json]

The folder's JPEGs (as `experiments.inputs.prepare` takes them, each --repeat
times) are written as TFRecords, and read back by what training reads with:
shuffle, random resized crop, bicubic resize, flip, batch; and once more from
images prepared with --shorter_side. Beside it stand the same work by Pillow
and by OpenCV in a PyTorch DataLoader with a worker a core, and tf.data's
decoding of the crop alone (--contenders names those wanted beside jaxmix).
Contenders run one at a time, in processes of their own, in turns.

What each stage takes is the difference between pipelines that end after it.
--batches is the length of a last run whose memory is recorded as it goes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
import itertools
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np

from benchmarks import timing

STAGES = ("records", "parse", "crop", "resize")
CONTENDERS = {
  "jaxmix": "jaxmix: tf.data, whole pipeline",
  "bilinear": "jaxmix, bilinear resize",
  "small": "jaxmix, from smaller images",
  "small_bilinear": "jaxmix, both",
  "crop": "tf.data: decode the crop alone",
  "pillow": "Pillow in a PyTorch DataLoader",
  "opencv": "OpenCV in a PyTorch DataLoader",
}
_ROOT = pathlib.Path(__file__).resolve().parents[1]
_MEMORY_MARKS = 20


def main(argv: Sequence[str]) -> dict[str, Any]:
  """Parses the options, measures, prints; returns what --out is given."""
  options = _parse(argv)
  timing.use_cores(options.cores)
  if options.child:
    print(json.dumps(_child(options)))
    return {}
  result: dict[str, Any] = {
    "environment": timing.environment("benchmarks.input", argv),
    "options": {k: v for k, v in vars(options).items() if k != "child"},
  }
  with tempfile.TemporaryDirectory() as folder:
    result["data"] = _prepare(options, pathlib.Path(folder))
    names = list(dict.fromkeys(("jaxmix", *options.contenders, *STAGES)))
    rates: dict[str, list[Any]] = {name: [] for name in names}
    for _, name in itertools.product(range(options.rounds), names):
      rates[name].append(_run(name, folder, options))
      print(f"{name}: {rates[name][-1]}", file=sys.stderr)
    result["memory"] = _run("memory", folder, options)
  result["rows"] = _rows(rates)
  result["stages"] = _stages(result["rows"])
  timing.report(table(result), result, options.out)
  return result


def _parse(argv: Sequence[str]) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog="python -m benchmarks.input", description=__doc__.split("\n")[0]
  )
  parser.add_argument("--images", required=True, help="folder of JPEGs")
  parser.add_argument("--pattern", default="", help="see inputs.prepare")
  parser.add_argument("--repeat", type=int, default=16)
  parser.add_argument(
    "--shorter_side", type=int, default=256, help="of the smaller images"
  )
  parser.add_argument("--batch", type=int, default=128)
  parser.add_argument("--size", type=int, default=224, help="side, pixels")
  parser.add_argument("--seconds", type=float, default=10.0, help="a round")
  parser.add_argument("--rounds", type=int, default=3)
  parser.add_argument("--batches", type=int, default=2000, help="for memory")
  parser.add_argument("--cores", type=int, help="how many to use; all")
  parser.add_argument(
    "--contenders", type=_contenders, default=list(CONTENDERS), help="all"
  )
  parser.add_argument("--out", help="JSON file to write")
  parser.add_argument("--child", help=argparse.SUPPRESS)
  return parser.parse_args(argv)


def _contenders(text: str) -> list[str]:
  names = text.split(",")
  for name in names:
    if name not in CONTENDERS:
      raise argparse.ArgumentTypeError(
        f"{name!r} is none of {', '.join(CONTENDERS)}"
      )
  return names


def _prepare(options: argparse.Namespace, folder: pathlib.Path) -> dict:
  """Writes the repeated images as JPEGs' links and as TFRecords."""
  from experiments.inputs.prepare import find, labels, write

  found = find.find_images(options.images).images
  (folder / "jpegs").mkdir()
  sizes = []
  for name, path in found.items():
    label = labels.label_of(name, options.pattern)
    (folder / "jpegs" / label).mkdir(exist_ok=True)
    sizes.append(os.path.getsize(path))
    for i in range(options.repeat):
      link = folder / "jpegs" / label / f"{len(sizes)}_{i}.jpg"
      link.symlink_to(os.path.abspath(path))
  stored = {"data": 0, "small": options.shorter_side}
  bytes_stored = {}
  for name, side in stored.items():
    done = write.prepare(
      str(folder / "jpegs"),
      str(folder / name),
      eval_fraction=1e-9,  # one image: all are read by training
      shorter_side=side,
    )
    files = pathlib.Path(done["path"]).glob("*-train.tfrecord*")
    bytes_stored[name] = sum(os.path.getsize(file) for file in files)
  return {
    "images": len(sizes),
    "repeat": options.repeat,
    "mean_kilobytes": float(np.mean(sizes)) / 1e3,
    "stored_megabytes": {k: size / 1e6 for k, size in bytes_stored.items()},
  }


def _run(name: str, folder: str, options: argparse.Namespace) -> Any:
  """Runs one contender in a process of its own; None where it cannot."""
  child = [
    *(sys.executable, "-m", "benchmarks.input"),
    f"--images={folder}",
    f"--batch={options.batch}",
    f"--size={options.size}",
    f"--seconds={options.seconds}",
    f"--batches={options.batches}",
    *([f"--cores={options.cores}"] if options.cores else []),
    f"--child={name}",
  ]
  done = subprocess.run(child, cwd=_ROOT, capture_output=True, text=True)
  if done.returncode:
    last = done.stderr.strip().splitlines()[-1]
    print(f"{name} failed: {last}", file=sys.stderr)
    return None
  return json.loads(done.stdout.splitlines()[-1])


def _child(options: argparse.Namespace) -> Any:
  from benchmarks import input_contenders

  name = "jaxmix" if options.child == "memory" else options.child
  batches = input_contenders.batches(
    name, pathlib.Path(options.images), options.batch, options.size
  )
  if options.child == "memory":
    return _memory(batches, options.batches)
  for _ in range(5):
    next(batches)
  begun, cpu, count = time.perf_counter(), time.process_time(), 0
  while (elapsed := time.perf_counter() - begun) < options.seconds:
    next(batches)
    count += options.batch
  return {
    "images_per_second": count / elapsed,
    # Of this process: a DataLoader's workers are not in it.
    "cpu_ms": 1e3 * (time.process_time() - cpu) / count,
  }


def _memory(batches: Iterator[Any], count: int) -> dict[str, Any]:
  """Resident memory, megabytes, at equal distances along `count` batches."""
  marks = np.linspace(0, count, _MEMORY_MARKS + 1).round().astype(int)[1:]
  resident = []
  for k in range(1, count + 1):
    next(batches)
    if k in marks:
      resident.append(_resident_bytes() / 1e6)
  return {
    "batches": [int(mark) for mark in marks],
    "resident_megabytes": resident,
    "peak_megabytes": max(resident),
  }


def _resident_bytes() -> int:
  pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
  return pages * os.sysconf("SC_PAGE_SIZE")


def _rows(rates: dict[str, list[Any]]) -> list[dict[str, Any]]:
  """Medians over the rounds; nothing where a contender could not run."""
  rows = []
  for name, rounds in rates.items():
    good = [found for found in rounds if found]
    row: dict[str, Any] = {"name": name, "rounds": good}
    if good:
      rate = float(np.median([found["images_per_second"] for found in good]))
      row |= {
        "images_per_second": rate,
        "images_per_second_per_core": rate / timing.cpu_count(),
      }
    rows.append(row)
  return rows


def _stages(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
  """Core-milliseconds an image of each stage, and of batching after them."""
  known = {row["name"]: row for row in rows}
  ends = [*STAGES, "jaxmix"]
  total = [1e3 / known[name]["images_per_second_per_core"] for name in ends]
  spent = np.diff([0.0, *total])
  return dict(zip([*STAGES, "batch"], map(float, spent), strict=True))


def table(result: dict[str, Any]) -> str:
  """Contenders, stages and memory as Markdown."""
  known = {row["name"]: row for row in result["rows"]}
  ours = known["jaxmix"]["images_per_second_per_core"]
  lines = []
  for name, title in CONTENDERS.items():
    if name not in known:
      continue
    rate = known[name].get("images_per_second_per_core")
    cells = (f"{rate:.0f}", f"{ours / rate:.2f}") if rate else ("-", "-")
    lines.append([title, *cells])
  whole = sum(result["stages"].values())
  shares = [
    [name, f"{spent:.3f}", f"{100 * spent / whole:.0f}"]
    for name, spent in result["stages"].items()
  ]
  memory = result["memory"]
  return "\n\n".join(
    [
      timing.table(["", "images/s/core", "jaxmix / it"], lines),
      timing.table(["stage", "core-ms an image", "share, %"], shares),
      f"Memory over {memory['batches'][-1]} batches: "
      f"{memory['resident_megabytes'][0]:.0f} MB after the first "
      f"{memory['batches'][0]}, {memory['resident_megabytes'][-1]:.0f} MB at "
      f"the end, {memory['peak_megabytes']:.0f} MB at most.",
    ]
  )


if __name__ == "__main__":
  from experiments import cli  # which imports JAX

  cli.run_plain(main, sys.argv[1:])
