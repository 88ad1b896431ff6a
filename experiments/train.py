"""train_and_evaluate(config, workdir): the one loop."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import time
from typing import Any

from absl import logging
import jax
from ml_collections import ConfigDict
import numpy as np

from experiments import (
  ahead,
  alike,
  evaluation,
  inputs,
  methods,
  networks,
  parallel,
  preemption,
  processes,
  tasks,
)
from experiments.configs import common
from experiments.inputs.dataset import Dataset
from experiments.programs import Cache
from experiments.state import TrainState
from experiments.workdir import (
  described,
  initial,
  lock,
  loggers,
  metrics,
  storage,
)
from experiments.workdir.checkpoints import Checkpoints
from experiments.workdir.progress import Progress


@dataclasses.dataclass
class _Run:
  """A run under way.

  Attributes:
    config: resolved, for this machine.
    dataset: this process's view of it.
    programs: the compiled steps.
    state: after `step` steps, on the devices.
    step: the number of steps taken.
    writer: of metrics.jsonl, the events and the logger; on process 0 alone.
    checkpoints: of the state.
  """

  config: ConfigDict
  dataset: Dataset
  programs: parallel.Mapped
  state: TrainState
  step: int
  writer: metrics.MetricsWriter | metrics.NullWriter
  checkpoints: Checkpoints


def train_and_evaluate(
  config: ConfigDict,
  workdir: str | os.PathLike[str],
  cache: Cache | None = None,
) -> dict[str, Any]:
  """Trains as the config says, or goes on where a run in `workdir` stopped.

  Args:
    config: see `experiments.configs.common`; resolved here.
    workdir: folder, or gs:// URL, for config.json, metrics.jsonl, TensorBoard
      events and checkpoints; made if missing.
    cache: of compiled programs, to share them with other runs.

  Returns:
    The last evaluation, as in metrics.jsonl, which also has a line of the test
    part, where the data set has one.

  Raises:
    ValueError: if the config is wrong, or not the same on all processes, or the
      workdir holds a run of another one, or a damaged run. Nothing has been
      written then.
    experiments.workdir.lock.HeldError: if another process uses the workdir.
    Preempted: after a SIGTERM, or a preemption notice to any process; all up to
      a step that the processes agree on is saved.
    experiments.ahead.NonFiniteError: naming the first step with a metric that
      is not finite; checkpoints up to then stay.
  """
  alike.check_surroundings()
  asked = _agreed(config)
  folder = storage.path(workdir)
  asked, config, dataset, programs = processes.everywhere(
    lambda: build(asked, cache)
  )
  alike.check_data(dataset)
  told = _json(asked) | {"data": dataset.digest()}
  with contextlib.ExitStack() as stack:
    # What follows writes; all that can be wrong with a config was found before.
    holder = processes.from_first(
      lambda: stack.enter_context(lock.hold(folder)),
      timeout_s=lock.PATIENCE,
      errors=(lock.HeldError, OSError),
    )
    processes.everywhere(lambda: lock.check_seen(folder, holder))
    processes.from_first(
      lambda: described.check(
        folder,
        told,
        free=common.free_keys(),
        # Runs of before there was a digest are not asked for one.
        defaults=_json(common.base()) | {"data": told["data"]},
        grows=dict.fromkeys(("total_steps", "epochs"), common.bound(config)),
      )
    )
    checkpoints = Checkpoints(folder / "checkpoints", config.keep_checkpoints)
    stack.callback(checkpoints.close)
    step = checkpoints.latest_step() or 0
    steps = {k: config[k] for k in ("eval_every", "total_steps")}
    finished = processes.from_first(
      lambda: metrics.check(folder, step=step, **steps)
    )
    if finished:
      return finished
    _check_dispatches(config, step)
    key_init, key_steps = jax.random.split(jax.random.key(config.seed))
    state = programs.init(key_init)
    if step:
      restored = checkpoints.restore(programs.to_global(state))
      state = programs.from_global(restored)
      logging.info("Resuming at step %d of %d.", step, config.total_steps)
    elif config.init_from:
      state = processes.everywhere(lambda: _begun(config, dataset, state))

    def begin() -> metrics.MetricsWriter | metrics.NullWriter:
      if jax.process_index() != 0:
        return metrics.NullWriter()
      # First, as it may find that it cannot begin.
      logger = loggers.create(config.logger, folder, told, step)
      stack.callback(logger.close)
      described.write(folder, told, step=step)
      return metrics.MetricsWriter(folder, step, logger)

    writer = processes.everywhere(begin)
    stack.callback(writer.close)
    watch = stack.enter_context(preemption.Watch())
    run = _Run(config, dataset, programs, state, step, writer, checkpoints)
    return _finish(run, key_steps, watch)


def _begun(
  config: ConfigDict, dataset: Dataset, state: TrainState
) -> TrainState:
  """The state before the first step, with another run's weights."""
  num_outputs = tasks.create(config, dataset.spec).num_outputs
  head = networks.head(config, dataset.spec, num_outputs)
  found = initial.read(config.init_from, config.init_weights)
  renewed = config.init_head == "new"
  params, batch_stats = (
    initial.fitted(own, like, head, renews_head=renewed)
    for own, like in zip(found, state.polyak, strict=True)
  )
  own = (params, batch_stats)
  # A buffer for each, as the step donates them.
  placed, average = (
    jax.tree.map(
      lambda x, like: jax.device_put(np.array(x), like.sharding),
      *(own, state.polyak),
    )
    for _ in range(2)
  )
  return dataclasses.replace(
    state, params=placed[0], batch_stats=placed[1], polyak=average
  )


def build(
  asked: ConfigDict, cache: Cache | None = None
) -> tuple[ConfigDict, ConfigDict, Dataset, parallel.Mapped]:
  """Makes all that a run needs, and writes nothing.

  Args:
    asked: resolved.
    cache: see `train_and_evaluate`.

  Returns:
    The config with its epochs in steps, the same for this machine, its data,
    and the traced steps.
  """
  cache = Cache() if cache is None else cache
  dataset = inputs.create(_on_this_machine(asked), cache.arrays)
  asked = common.in_steps(asked, dataset.spec.num_train)
  evaluation.check(asked, dataset)
  config = _on_this_machine(asked)
  return asked, config, dataset, cache.get(config, dataset.spec)


def _agreed(config: ConfigDict) -> ConfigDict:
  """The config, resolved, once it is the same on all processes."""
  found: list[ConfigDict] = []

  def resolve():
    found.append(common.resolve(config))
    return _json(found[0])

  processes.agreed(resolve)
  return found[0]


def _check_dispatches(config: ConfigDict, step: int) -> None:
  """Raises ValueError if dispatches from a step on would miss every interval.

  They may have become longer since a SIGTERM saved that step.
  """
  if step % config.steps_per_dispatch:
    raise ValueError(
      f"steps_per_dispatch must divide {step}, the step that the run goes on "
      f"from, got {config.steps_per_dispatch}; leave it at "
      f"{math.gcd(step, config.steps_per_dispatch)} until a later checkpoint."
    )


def _finish(
  run: _Run, key: jax.Array, watch: preemption.Watch
) -> dict[str, Any]:
  """Steps to the end, logging, evaluating and saving on the way."""
  config, result = run.config, {}
  values = methods.values(config)
  batches = ahead.feed(run.dataset, run.programs, config, run.step)
  # Of mixed examples, either of whose classes is its share of a hit.
  mixed = "mixed " if methods.mixes(config) else ""
  fields = dict.fromkeys(["loss", *(m.field for m in run.programs.measures)])
  shown = {k: k if k == "loss" else mixed + k for k in fields}
  progress = Progress(
    *(run.step, config.total_steps, config.batch_size),
    shown,
  )
  dispatches = ahead.Dispatches(config.steps_per_dispatch)
  while run.step < config.total_steps:
    run.state, measured = run.programs.train(
      run.state, next(batches), key, values
    )
    run.step += config.steps_per_dispatch
    dispatches.add(run.step, measured)

    last = run.step == config.total_steps
    log, evaluates, saves = (
      last or run.step % config[f"{name}_every"] == 0
      for name in ("log", "eval", "checkpoint")
    )
    stopping = watch.reached()
    saves = saves or stopping
    if log:
      dispatches.ask()
    # What is in flight is not waited for to be logged: its line is written a
    # few steps later, when it has landed.
    for step, line in dispatches.lines(settle=evaluates or saves):
      line["images_per_second"] = progress.images_per_second(step)
      run.writer.write(step, "train", line)
      progress.report(step, line)
    begun = time.monotonic()
    # The evaluation is on disk before the checkpoint that makes it
    # unrepeatable.
    if evaluates:
      # The last few are averaged, those of the test part, too.
      ahead_of = _evaluations(config) - _evaluations(config, run.step)
      lines, diagrams = evaluation.evaluate(
        run.programs,
        run.state,
        run.dataset,
        tests=ahead_of < config.evaluation_mean,
      )
      for split, line in lines.items():
        run.writer.write(run.step, split, line)
        evaluation.report(
          run.step,
          split,
          line,
          run.programs.measures,
          validates=run.dataset.test is not None,
        )
      if last:
        run.writer.write_diagrams(run.step, diagrams)
      result = {"step": run.step, "split": "eval", **lines["eval"]}
    if saves:
      run.checkpoints.save(run.programs.to_global(run.state), run.step)
    if stopping and not last:
      raise preemption.Preempted(
        f"Stopped at step {run.step} of {config.total_steps}, which is saved; "
        "the same command goes on from there."
      )
    progress.set_aside(time.monotonic() - begun)
  return result


def _evaluations(config: ConfigDict, step: int | None = None) -> int:
  """How many evaluations a run has made at a step at which it makes one."""
  step = config.total_steps if step is None else step
  return math.ceil(step / config.eval_every)


def _on_this_machine(config: ConfigDict) -> ConfigDict:
  """A copy whose evaluation batches the replicas can share.

  What depends on the machine is not in config.json, nor compared on resume.
  """
  replicas = jax.device_count()
  parallel.check_batch_size(config.batch_size, replicas)
  config = config.copy_and_resolve_references()
  config.eval_batch_size = (
    math.ceil(config.eval_batch_size / replicas) * replicas
  )
  return config


def _json(config: ConfigDict) -> dict[str, Any]:
  return json.loads(config.to_json_best_effort())
