"""What MixupE costs: whole training steps beside Mixup's.

  python -m benchmarks.mixupe_cost [--model=resnet20 --batch=32 --size=32]
    [--rounds=20] [--cores=N] [--out=FILE.json]

The steps are those of `experiments.main` (draw, mix, gradient, optimiser,
Polyak average), one replica on one device, taking turns. The ratios are medians
over the rounds, with the range of four in five of them. Beside the times stands
the compiled program's own count of operations, which no load disturbs, and the
prediction for it: a clean pass over a fraction rho of the batch makes the step
1 + rho times Mixup's. The exact penalty carries a tangent through its pass,
forward and back, which doubles that pass; no prediction is given for it.

The model may be any of `jaxmix.models.names()`: vit_b16_tiny and mlp are
without batch norm. Most of the run is the compilation of eleven programs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
import sys
from typing import Any

import jax
from jax.sharding import PartitionSpec as P
import numpy as np

from benchmarks import timing
from experiments import methods, steps
from experiments.configs import common
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


def measure(
  model: str, batch: int, size: int, rounds: int
) -> list[dict[str, Any]]:
  """Times a step of every variant, and returns the rows."""
  programs = {
    name: compile_step(overrides, model, batch, size)
    for name, (overrides, _) in VARIANTS.items()
  }
  times = timing.interleave(
    {name: run for name, (run, _) in programs.items()}, rounds
  )
  rows = []
  for name, (_, prediction) in VARIANTS.items():
    own, mixup = times[name], times["Mixup"]
    flops, mixup_flops = programs[name][1], programs["Mixup"][1]
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
        "prediction": prediction,
      }
    )
  return rows


def _spread(ratios: np.ndarray) -> list[float]:
  """Where four in five of the rounds' ratios lie."""
  return [float(end) for end in np.quantile(ratios, (0.1, 0.9))]


def compile_step(
  overrides: Mapping[str, Any], model: str, batch: int, size: int
) -> tuple[Callable[[], Any], float]:
  """A config's step on random images, or its monitor if it has one.

  Args:
    overrides: keys of the config.
    model: of `jaxmix.models`.
    batch: images.
    size: their side.

  Returns:
    A function that takes a step, or monitors, and waits for it; and its
    operations.
  """
  config = common.base()
  config.model = model
  config.batch_size = batch
  config.update(overrides)
  config = common.resolve(config)
  image = jax.ShapeDtypeStruct((size, size, 3), np.uint8)
  scale = pixels((127.5,) * 3, (64.0,) * 3)
  spec = Spec(image, _NUM_CLASSES, batch, batch, scale)
  functions = steps.create(config, spec)
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

  generator = np.random.default_rng(0)
  shape = (batch, *image.shape)
  data = jax.device_put(
    {
      "inputs": generator.integers(0, 256, shape, np.uint8),
      "label": generator.integers(0, _NUM_CLASSES, batch, np.int32),
    },
    jax.sharding.NamedSharding(mesh, P(steps.AXIS)),
  )
  everywhere = jax.sharding.NamedSharding(mesh, P())
  state = jax.jit(functions.init, out_shardings=everywhere)(jax.random.key(0))
  if functions.monitor is not None:
    data["mask"] = jax.device_put(np.ones(batch, bool), data["label"].sharding)
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
  parser.add_argument("--rounds", type=int, default=20)
  parser.add_argument("--cores", type=int, help="how many to use; all")
  parser.add_argument("--out", help="JSON file to write")
  options = parser.parse_args(argv)
  timing.use_cores(options.cores)
  result: dict[str, Any] = {
    "environment": timing.environment("benchmarks.mixupe_cost", argv),
    "options": vars(options),
  }
  result["rows"] = measure(
    options.model, options.batch, options.size, options.rounds
  )
  timing.report(table(result["rows"]), result, options.out)
  return result


if __name__ == "__main__":
  from experiments import cli  # which imports JAX

  cli.run_plain(main, sys.argv[1:])
