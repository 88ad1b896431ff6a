"""Images a second of whole training steps, beside Mixup's and PyTorch's.

  python -m benchmarks.throughput [--models=resnet50,vit_b16,coatnet0]
    [--methods=mixup,erm,...] [--batch=256[,512]] [--set=KEY=VALUE ...]
    [--out=FILE.json] [--profile=FOLDER] [--tiny]

The steps are those of `experiments.main` with the recipe's own config, by its
pmap or shard_map, state donated, dispatched ahead. Only the input is left out:
a few batches of random uint8 images stay on the device. Rows named torch_ are
timm's model and Mixup in PyTorch (`throughput_torch` says what their step
does), for the models that timm has.

Every row has a process of its own and is in the JSON as soon as it is done; the
same command again goes on with what is missing (--retry: also with what
failed). A row that fails says why.

On one GPU, each command well under ten minutes; first the tests that need no
data, and a bfloat16 step of each model:

  python -m pytest tests/mixing_test.py tests/mixupe_test.py tests/models
  python -m benchmarks.throughput --methods=mixup --steps=2 --out=smoke.json

the table, a model a command, where --batch=256,1024 shows what size changes:

  python -m benchmarks.throughput --models=resnet50 --out=throughput.json
  python -m benchmarks.throughput --models=vit_b16 --out=throughput.json
  python -m benchmarks.throughput --models=coatnet0 --out=throughput.json

and why it is not faster, one change at a time:

  python -m benchmarks.throughput --models=vit_b16,resnet50 --methods=mixup
    --profile=FOLDER
  python -m benchmarks.throughput --models=vit_b16 --methods=mixup
    --set=model_options.attention_implementation=xla --out=throughput.json
  XLA_FLAGS=--xla_gpu_enable_latency_hiding_scheduler=true
    python -m benchmarks.throughput --methods=mixup --out=throughput.json

--tiny is for a CPU: the recipes' tiny siblings in one process; its figures say
only that the command works.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

from benchmarks import throughput_row, throughput_table, timing
from benchmarks.throughput_row import METHODS, MODELS, TORCH_MODELS, Spec
from experiments.workdir import storage

_TINY = dict(
  models="resnet50_tiny,vit_b16_tiny",
  methods="mixup,mixupe_split,torch_mixup",
  batch="8",
  size=32,
  steps=3,
  warmup=1,
  torch_compile="off",
  in_process=True,
)
_ROOT = pathlib.Path(__file__).resolve().parents[1]


def main(argv: Sequence[str]) -> dict[str, Any]:
  """Parses the options, measures, prints; returns what --out is given."""
  parser = _parser()
  options = parser.parse_args(argv)
  if options.tiny:
    parser.set_defaults(**_TINY)
    options = parser.parse_args(argv)
  try:
    specs = _specs(options)
    for spec in specs:
      throughput_row.configure(spec)
  except ValueError as error:
    parser.error(str(error))
  out = None if options.out is None else storage.path(options.out)
  about = timing.environment("benchmarks.throughput", argv)
  about["commit"] = options.commit or about["commit"]
  result: dict[str, Any] = {"runs": [], "rows": []}
  if out is not None and out.exists():
    result = storage.read_json(out)
    if not isinstance(result, dict) or not {"runs", "rows"} <= result.keys():
      raise ValueError(
        f"{out} is damaged: it must have runs and rows; remove it, or write "
        "to another file."
      )
  result["runs"].append(about)
  for spec in specs:
    identity = _identity(spec)
    previous = [r for r in result["rows"] if r["spec"] == identity]
    if previous and not (options.retry and previous[0].get("error")):
      continue
    row = {"spec": identity, "title": spec.title}
    row["run"] = len(result["runs"]) - 1
    row |= _measure(spec, options)
    result["rows"] = [r for r in result["rows"] if r["spec"] != identity]
    result["rows"].append(row)
    throughput_table.compare(result["rows"])
    print(_progress(row), file=sys.stderr, flush=True)
    if out is not None:
      storage.write_json(out, result)
  asked = [_identity(spec) for spec in specs]
  rows = [row for row in result["rows"] if row["spec"] in asked]
  timing.report(throughput_table.table(rows), {"environment": about}, None)
  return result


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    prog="python -m benchmarks.throughput",
    description=__doc__.split("\n")[0],
  )
  add = parser.add_argument
  add("--models", default=",".join(MODELS[:3]), help=", ".join(MODELS))
  add("--methods", default=",".join(METHODS), help=", ".join(METHODS))
  add("--batch", default="256", help="over all devices; several: 256,1024")
  add("--size", type=int, default=224, help="side of the images, pixels")
  add("--devices", type=int, default=0, help="how many; all local ones")
  add("--steps", type=int, default=32, help="measured, twice")
  add("--warmup", type=int, default=5, help="steps before them")
  add(
    "--set",
    action="append",
    default=[],
    metavar="KEY=VALUE",
    help="a change to the config, as after its colon; may be repeated",
  )
  add(
    "--torch_compile",
    default="default",
    choices=("default", "max-autotune", "reduce-overhead", "off"),
  )
  add("--profile", metavar="FOLDER", help="also trace a few steps of each row")
  add("--out", metavar="FILE.json", help="written row by row, and resumed")
  add("--commit", help="of these files, where git cannot say or is wrong")
  add("--retry", action="store_true", help="measure failed rows again")
  add("--row_timeout", type=float, default=600, help="seconds for a row")
  add(
    "--in_process",
    action="store_true",
    help="no process per row: quicker to start, without peak memory",
  )
  add("--tiny", action="store_true", help=f"defaults for a CPU: {_TINY}")
  return parser


def _specs(options: argparse.Namespace) -> list[Spec]:
  """The rows asked for: model by model, size by size."""
  models, methods = options.models.split(","), options.methods.split(",")
  for kind, names, known in (
    ("model", models, MODELS),
    ("method", methods, METHODS),
  ):
    for name in names:
      if name not in known:
        raise ValueError(
          f"Unknown {kind} {name!r}; known {kind}s: {', '.join(known)}."
        )
  return [
    Spec(
      model=model,
      method=method,
      batch=int(batch),
      size=options.size,
      settings=tuple(options.set),
      devices=options.devices,
      steps=options.steps,
      warmup=options.warmup,
      torch_compile=(
        options.torch_compile if method.startswith("torch_") else ""
      ),
    )
    for model in models
    for batch in options.batch.split(",")
    for method in methods
    if model in TORCH_MODELS or not method.startswith("torch_")
  ]


def _identity(spec: Spec) -> dict[str, Any]:
  """What makes a row another row; as it is after a turn through JSON."""
  flags = os.environ.get("XLA_FLAGS", "")
  described = dataclasses.asdict(spec) | {"settings": list(spec.settings)}
  return described | {"xla_flags": "" if spec.is_torch else flags}


def _measure(spec: Spec, options: argparse.Namespace) -> dict[str, Any]:
  """Measures a row, in a process of its own unless told otherwise."""
  profile = options.profile and str(pathlib.Path(options.profile).absolute())
  if options.in_process:
    # The peak would be that of all rows so far.
    return throughput_row.measure(spec, profile) | {"peak_bytes": None}
  with tempfile.TemporaryDirectory() as scratch:
    request = pathlib.Path(scratch) / "request.json"
    answer = pathlib.Path(scratch) / "answer.json"
    request.write_text(
      json.dumps({"spec": dataclasses.asdict(spec), "profile": profile})
    )
    command = [sys.executable, "-m", "benchmarks.throughput_row"]
    try:
      done = subprocess.run(
        [*command, str(request), str(answer)],
        cwd=_ROOT,
        stderr=subprocess.PIPE,
        text=True,
        timeout=options.row_timeout,
      )
    except subprocess.TimeoutExpired:
      return {"error": f"not done within {options.row_timeout:g} s"}
    if answer.exists():
      return json.loads(answer.read_text())
    last = (done.stderr.strip().splitlines() or [""])[-1]
    return {"error": f"ended with {done.returncode}: {last[:200]}"}


def _progress(row: dict[str, Any]) -> str:
  figures = row.get("error") or f"{row['images_per_s']:.1f} images/s"
  return f"{row['title']}, batch {row['spec']['batch']}: {figures}"


if __name__ == "__main__":
  from experiments import cli  # which imports JAX

  cli.run_plain(main, sys.argv[1:])
