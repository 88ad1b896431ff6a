"""jaxmix's side of `benchmarks.throughput`: the step of `experiments.main`."""

from __future__ import annotations

import itertools
import pathlib
import shutil
import tempfile
import time
from typing import Any

import jax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from ml_collections import ConfigDict
import numpy as np

from benchmarks import operations, timing
from benchmarks.throughput_row import BATCHES, PROFILED_STEPS, Spec, timed
from experiments import parallel, steps
from experiments.forecast import program

# Options that change how a model is computed, not what.
_MEANS = ("attention_implementation", "remat")


def measure(
  spec: Spec, config: ConfigDict, profile: str | None
) -> dict[str, Any]:
  """Compiles, warms up, times and perhaps traces the training step."""
  devices = jax.local_devices()[: spec.devices or None]
  parallel.check_batch_size(config.batch_size, len(devices))
  dataset = program.describe(config)
  functions = steps.create(config, dataset)
  programs = parallel.create(config.parallel, functions, devices)
  key_init, key_steps = jax.random.split(jax.random.key(0))
  batches = _batches(config, dataset, devices)
  state = programs.init(key_init)

  begun = time.perf_counter()
  lowered = programs.train.lower(state, batches[0], key_steps)
  traced = time.perf_counter()
  compiled = lowered.compile()
  done = time.perf_counter()
  if (plain := _as_written(config)) != config:
    functions = steps.create(plain, dataset)
    counted = parallel.create(config.parallel, functions, devices)
  else:
    counted = programs
  jaxpr = jax.make_jaxpr(counted.train)(state, batches[0], key_steps)
  flops = 2 * operations.multiply_adds(jaxpr)

  order = itertools.cycle(batches)
  loss = None

  def dispatch():
    nonlocal state, loss
    # What lower() compiled, found in jit's cache.
    state, metrics = programs.train(state, next(order), key_steps)
    loss = metrics["loss"]
    return loss

  # Several CPU devices share one pool of threads, see `parallel`.
  alone = devices[0].platform != "cpu" or len(devices) == 1
  ahead = 3 if alone else 0

  def run(count):
    return timing.pipelined(dispatch, jax.block_until_ready, count, ahead=ahead)

  started = time.perf_counter()
  jax.block_until_ready(dispatch())
  first = time.perf_counter() - started
  run(spec.warmup)
  rounds = [run(spec.steps) for _ in range(2)]
  memory = devices[0].memory_stats() or {}
  analysis = compiled.memory_analysis()
  if profile is not None:
    _trace(lambda: run(PROFILED_STEPS), pathlib.Path(profile), spec)
  return {
    "device": devices[0].device_kind,
    "device_count": len(devices),
    "platform_version": devices[0].client.platform_version,
    "dtype": config.dtype,
    "trace_s": traced - begun,
    "compile_s": done - traced,
    "first_step_s": first,
    **timed(spec, rounds),
    "loss": float(np.mean(jax.device_get(loss))),
    # Of one device and step: counted here, and by XLA.
    "flops": flops,
    "xla_flops": (compiled.cost_analysis() or {}).get("flops"),
    "peak_bytes": memory.get("peak_bytes_in_use"),
    "program_bytes": analysis and program.peak_bytes(analysis),
  }


def _batches(config, dataset, devices):
  """Random pixels and labels on the devices: [devices, 1, b, ...]."""
  mesh = jax.sharding.Mesh(np.array(devices), (steps.AXIS,))
  divided = NamedSharding(mesh, P(steps.AXIS))
  generator = np.random.default_rng(0)
  shape = (len(devices), 1, config.batch_size // len(devices))
  images = (*shape, *dataset.spec.inputs.shape)
  classes = dataset.spec.num_classes
  return [
    jax.device_put(
      {
        "inputs": generator.integers(0, 256, images, np.uint8),
        "label": generator.integers(0, classes, shape, np.int32),
      },
      divided,
    )
    for _ in range(BATCHES)
  ]


def _as_written(config: ConfigDict) -> ConfigDict:
  """The config with nothing recomputed or hidden in a fused kernel."""
  config = config.copy_and_resolve_references()
  with config.unlocked():
    for option in set(_MEANS) & set(config.model_options):
      del config.model_options[option]
  return config


def _trace(run, folder: pathlib.Path, spec: Spec) -> None:
  """Profiles `run`; the traces are put into `folder` itself."""
  folder.mkdir(parents=True, exist_ok=True)
  name = "_".join([spec.model, spec.method, str(spec.batch), *spec.settings])
  name = "".join(c if c.isalnum() or c in "._-" else "_" for c in name)
  with tempfile.TemporaryDirectory() as scratch:
    with jax.profiler.trace(scratch):
      run()
    for path in pathlib.Path(scratch).glob("**/*.*"):
      for kind in (".xplane.pb", ".trace.json.gz"):
        if path.name.endswith(kind):
          shutil.move(path, folder / f"{name}{kind}")
