"""What MixupE costs: whole training steps beside Mixup's.

  python -m benchmarks.mixupe_cost [--model=resnet20 --batch=32 --size=32]
    [--config=NAME:ARGUMENT] [--rounds=20] [--cores=N] [--out=FILE.json]

The steps are those of `experiments.main` (draw, mix, gradient, optimiser,
Polyak average), one replica on one device, taking turns. The ratios are medians
over the rounds, with the range of four in five of them. Beside the times stands
the compiled program's own count of operations, which no load disturbs, and the
prediction for it: a clean pass over a fraction rho of the batch makes the step
1 + rho times Mixup's. The exact penalty carries a tangent through its pass,
forward and back, which doubles that pass; no prediction is given for it.

The model may be any of `jaxmix.models.names()`: vit_b16_tiny and mlp are
without batch norm. --config takes one of experiments/configs on its own data
instead, whose first batch every step sees, without what the config refuses:
graphs:mutag,data_dir=DIR is a network that mixes its read-outs. Most of the run
is the compilation of eleven programs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
import importlib
import sys
from typing import Any, NamedTuple

import jax
from jax.sharding import PartitionSpec as P
from ml_collections import ConfigDict
import numpy as np

from benchmarks import timing
from experiments import methods, steps
from experiments.configs import common
from experiments.inputs import memory
from experiments.inputs.dataset import Spec
from experiments.inputs.scale import pixels

_MIXUPE = {"method": "mixupe"}
# Row: (what the config says, predicted ratio to Mixup).
VARIANTS: Mapping[str, tuple[dict[str, Any], float | None]] = {
  "ERM": ({"method": "erm"}, 1.0),
  "Mixup": ({"method": "mixup"}, 1.0),
  "MixupE, joint": (_MIXUPE | {"clean_pass": "joint"}, 2.0),
  "MixupE, split": (_MIXUPE | {"clean_pass": "split"}, 2.0),
  "MixupE, separate": (_MIXUPE | {"clean_pass": "separate"}, 2.0),
  "MixupE, 1/2 clean": (_MIXUPE | {"clean_fraction": 0.5}, 1.5),
  "MixupE, 1/4 clean": (_MIXUPE | {"clean_fraction": 0.25}, 1.25),
  "MixupE, at mixed points": (_MIXUPE | {"penalty_at": "mixed"}, 1.0),
  "MixupE, exact": (
    _MIXUPE | {"penalty": "exact", "clean_pass": "separate"},
    None,
  ),
  "MixupE, Taylor 2": (
    _MIXUPE
    | {"penalty": "taylor", "penalty_order": 2, "clean_pass": "separate"},
    None,
  ),
  "MixupE, Taylor 3": (
    _MIXUPE
    | {"penalty": "taylor", "penalty_order": 3, "clean_pass": "separate"},
    None,
  ),
}
_NUM_CLASSES = 10


def measure(case: Case, rounds: int) -> list[dict[str, Any]]:
  """Times a step of every variant, and returns the rows."""
  programs, refused = {}, {}
  for name, (overrides, _) in VARIANTS.items():
    try:
      programs[name] = compile_step(case, overrides)
    except ValueError as error:
      refused[name] = str(error)
  for name, reason in refused.items():
    print(f"Without {name}: {reason}")
  times = timing.interleave(
    {name: run for name, (run, _) in programs.items()}, rounds
  )
  mixup, mixup_flops = times["Mixup"], programs["Mixup"][1]
  rows = []
  for name, (_, prediction) in VARIANTS.items():
    if name in refused:
      continue
    own, flops = times[name], programs[name][1]
    rows.append(
      {
        "name": name,
        "median_ms": 1e3 * float(np.median(own.wall)),
        "cpu_ms": 1e3 * float(np.median(own.cpu)),
        "ratio": float(np.median(own.wall / mixup.wall)),
        "ratio_spread": _spread(own.wall / mixup.wall),
        "cpu_ratio": float(np.median(own.cpu / mixup.cpu)),
        "gflop": flops / 1e9,
        "flop_ratio": flops / mixup_flops,
        "prediction": prediction if case.config.mix_at == "input" else None,
      }
    )
  return rows


def _spread(ratios: np.ndarray) -> list[float]:
  """Where four in five of the rounds' ratios lie."""
  return [float(end) for end in np.quantile(ratios, (0.1, 0.9))]


class Case(NamedTuple):
  """What is trained: a config, without its method; its data; a batch of it."""

  config: ConfigDict
  spec: Spec
  batch: dict[str, Any]


def made(model: str, batch: int, size: int) -> Case:
  """Returns a model on made images, `size` pixels a side."""
  config = common.base()
  config.model = model
  config.batch_size = batch
  image = jax.ShapeDtypeStruct((size, size, 3), np.uint8)
  scale = pixels((127.5,) * 3, (64.0,) * 3)
  generator = np.random.default_rng(0)
  data = {
    "inputs": generator.integers(0, 256, (batch, *image.shape), np.uint8),
    "label": generator.integers(0, _NUM_CLASSES, batch, np.int32),
  }
  return Case(config, Spec(image, _NUM_CLASSES, batch, batch, scale), data)


def given(text: str) -> Case:
  """Returns a config of experiments/configs, NAME:ARGUMENT, on its data."""
  name, _, argument = text.partition(":")
  module = importlib.import_module(f"experiments.configs.{name}")
  config = module.get_config(argument or None)
  arrays, spec = memory.load(config)
  config = common.in_steps(config, spec.num_train)
  first = slice(0, config.batch_size)
  inputs = jax.tree.map(lambda x: x[first], arrays.train_inputs)
  batch = {"inputs": inputs, "label": arrays.train_labels[first]}
  return Case(config, spec, batch)


def compile_step(
  case: Case, overrides: Mapping[str, Any]
) -> tuple[Callable[[], Any], float]:
  """Compiles a case's step, or its monitor if the overrides ask for one.

  Returns:
    A function that takes a step, or monitors, and waits for it; and its
    operations.
  """
  config = case.config.copy_and_resolve_references()
  config.update(overrides)
  if "mix_at" in methods.METHODS[config.method].refused:  # mixes nowhere
    config.mix_at = "input"
  config = common.resolve(config)
  functions = steps.create(config, case.spec)
  # One replica whatever the device count: a time per chip.
  mesh = jax.make_mesh(
    (1,),
    (steps.AXIS,),
    axis_types=(jax.sharding.AxisType.Auto,),
    devices=jax.devices()[:1],
  )

  def compiled(function, donated, *args):
    specs = tuple(P(steps.AXIS) if k == 1 else P() for k in range(len(args)))
    mapped = jax.shard_map(
      function, mesh=mesh, in_specs=specs, out_specs=P(), check_vma=False
    )
    return jax.jit(mapped, donate_argnums=donated).lower(*args).compile()

  divided = jax.sharding.NamedSharding(mesh, P(steps.AXIS))
  data = jax.device_put(case.batch, divided)
  everywhere = jax.sharding.NamedSharding(mesh, P())
  state = jax.jit(functions.init, out_shardings=everywhere)(jax.random.key(0))
  if functions.monitor is not None:
    data["mask"] = jax.device_put(np.ones(len(data["label"]), bool), divided)
    program = compiled(functions.monitor, (), state, data)

    def run():
      return jax.block_until_ready(program(state, data))

  else:
    key = jax.device_put(jax.random.key(1), everywhere)
    values = jax.device_put(methods.values(config), everywhere)
    program = compiled(functions.train, 0, state, data, key, values)

    def run():
      nonlocal state
      state, metrics = jax.block_until_ready(program(state, data, key, values))
      return metrics

  return run, float(program.cost_analysis()["flops"])


def table(rows: Sequence[dict[str, Any]]) -> str:
  """The rows as Markdown; every ratio is to Mixup."""

  def cells(row):
    yield row["name"]
    yield f"{row['median_ms']:.1f}"
    low, high = row["ratio_spread"]
    yield f"{row['ratio']:.2f} ({low:.2f} to {high:.2f})"
    yield f"{row['cpu_ratio']:.2f}"
    yield f"{row['gflop']:.3f}"
    yield f"{row['flop_ratio']:.2f}"
    yield "-" if row["prediction"] is None else f"{row['prediction']:.2f}"

  header = [
    "step",
    "median ms",
    "x Mixup",
    "by CPU time",
    "GFLOP",
    "by operations",
    "predicted",
  ]
  return timing.table(header, [list(cells(row)) for row in rows])


def main(argv: Sequence[str]) -> dict[str, Any]:
  """Parses the options, measures, prints; returns what --out is given."""
  parser = argparse.ArgumentParser(
    prog="python -m benchmarks.mixupe_cost",
    description=__doc__.split("\n")[0],
  )
  parser.add_argument("--model", default="resnet20")
  parser.add_argument("--batch", type=int, default=32)
  parser.add_argument("--size", type=int, default=32, help="side, pixels")
  parser.add_argument("--config", help="NAME:ARGUMENT, instead of the three")
  parser.add_argument("--rounds", type=int, default=20)
  parser.add_argument("--cores", type=int, help="how many to use; all")
  parser.add_argument("--out", help="JSON file to write")
  options = parser.parse_args(argv)
  timing.use_cores(options.cores)
  result: dict[str, Any] = {
    "environment": timing.environment("benchmarks.mixupe_cost", argv),
    "options": vars(options),
  }
  case = (
    given(options.config)
    if options.config
    else made(options.model, options.batch, options.size)
  )
  result["rows"] = measure(case, options.rounds)
  timing.report(table(result["rows"]), result, options.out)
  return result


if __name__ == "__main__":
  from experiments import cli  # which imports JAX

  cli.run_plain(main, sys.argv[1:])
