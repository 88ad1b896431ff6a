"""train_and_evaluate(config, workdir): the one loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
import itertools
import json
import math
import os
import time
from typing import Any

from absl import logging
from etils import epath
import jax
from ml_collections import ConfigDict
import numpy as np

from experiments import inputs, parallel, preemption, steps
from experiments.configs import common
from experiments.inputs.dataset import Batch, Dataset
from experiments.preemption import Preempted
from experiments.state import TrainState
from experiments.workdir import metrics, provenance, storage
from experiments.workdir.checkpoints import Checkpoints
from experiments.workdir.progress import Progress

# Dispatches in flight: enough to hide the host, few enough to bound the batches
# that wait in device memory.
_AHEAD = 3
# The keys that an evaluation is compiled from.
_EVALUATED = (
  "model",
  "model_options",
  "dtype",
  "fgsm_epsilon",
  "pgd_epsilon",
  "pgd_norm",
  "pgd_steps",
  "parallel",
)
_PROGRAMS: dict[str, parallel.Mapped] = {}
_EVALUATIONS: dict[str, Any] = {}


class NonFiniteLossError(FloatingPointError):
  """The loss or its gradient stopped being finite."""


def train_and_evaluate(
  config: ConfigDict, workdir: str | os.PathLike[str]
) -> dict[str, float]:
  """Trains as the config says, or goes on where a run in `workdir` stopped.

  Args:
    config: see `experiments.configs.common`; resolved here.
    workdir: folder, or gs:// URL, for config.json, metrics.jsonl, TensorBoard
      events and checkpoints; made if missing.

  Returns:
    The last evaluation, as in metrics.jsonl.

  Raises:
    ValueError: if the config is wrong, or the workdir holds a run of another
    one.
    Preempted: after a SIGTERM, or a preemption notice to any process; all up to
      a step that the processes agree on is saved.
    NonFiniteLossError: naming the first step whose loss or gradient is not
      finite; checkpoints up to then stay.
  """
  config = common.resolve(config)
  folder = storage.path(workdir)
  replicas = jax.device_count()
  parallel.check_batch_size(config.batch_size, replicas)
  config.eval_batch_size = (
    math.ceil(config.eval_batch_size / replicas) * replicas
  )
  _write_config(config, folder)

  dataset = inputs.create(config)
  programs = _programs(config, dataset)
  key_init, key_steps = jax.random.split(jax.random.key(config.seed))
  checkpoints = Checkpoints(folder / "checkpoints", config.keep_checkpoints)
  state = programs.init(key_init)
  step = checkpoints.latest_step() or 0
  if step:
    restored = checkpoints.restore(programs.to_global(state))
    state = programs.from_global(restored)
    logging.info("Resuming at step %d of %d.", step, config.total_steps)
  writer: metrics.MetricsWriter | metrics.NullWriter = metrics.NullWriter()
  if jax.process_index() == 0:
    writer = metrics.MetricsWriter(folder, step)
  try:
    with preemption.Watch() as watch:
      result = _run(
        config,
        dataset,
        programs,
        state,
        step,
        key_steps,
        checkpoints,
        writer,
        watch,
      )
  finally:
    checkpoints.close()
    writer.close()
  if result is None:  # it had finished before
    result = metrics.evaluations(folder)[-1]
  return result


def _run(
  config: ConfigDict,
  dataset: Dataset,
  programs: parallel.Mapped,
  state: TrainState,
  step: int,
  key: jax.Array,
  checkpoints: Checkpoints,
  writer: metrics.MetricsWriter | metrics.NullWriter,
  watch: preemption.Watch,
) -> dict[str, Any] | None:
  """Steps from `step` to the end, logging, evaluating and saving on the way."""
  result = None
  batches = _placed(_train_batches(config, dataset, step), programs, config)
  progress = Progress(step, config.total_steps, config.batch_size)
  pending: list[Any] = []
  averaged: list[dict[str, np.ndarray]] = []
  flying: deque[Any] = deque()
  reports: deque[Any] = deque()
  while step < config.total_steps:
    state, measured = programs.train(state, next(batches), key)
    step += config.steps_per_dispatch
    pending.append(measured)
    flying.append(measured["loss"])
    if len(flying) > _AHEAD:
      jax.block_until_ready(flying.popleft())

    last = step == config.total_steps
    due = {
      name: last or step % config[f"{name}_every"] == 0
      for name in ("log", "eval", "checkpoint")
    }
    stopping = watch.reached()
    due["checkpoint"] = due["checkpoint"] or stopping
    if due["log"]:
      reports.append((step, averaged, pending))
      averaged, pending = [], []
    # What is in flight is not waited for to be logged: its line is written a
    # few steps later, when it has landed.
    landed = step - len(flying) * config.steps_per_dispatch
    settle = due["eval"] or due["checkpoint"]
    while reports and (settle or reports[0][0] <= landed):
      at, rows, chunks = reports.popleft()
      values = _mean(rows + _finite(chunks, at))
      values["images_per_second"] = progress.images_per_second(at)
      writer.write(at, "train", values)
      progress.report(at, values)
    if settle:
      averaged += _finite(pending, step)
      pending = []
    begun = time.monotonic()
    # The evaluation is on disk before the checkpoint that makes it
    # unrepeatable.
    if due["eval"]:
      values = evaluate(programs, state, dataset)
      writer.write(step, "eval", values)
      result = {"step": step, "split": "eval", **values}
      logging.info(
        "step %d  eval accuracy %.4f  loss %.4f  (Polyak %.4f  %.4f)",
        step,
        values["accuracy"],
        values["loss"],
        values["polyak_accuracy"],
        values["polyak_loss"],
      )
    if due["checkpoint"]:
      checkpoints.save(programs.to_global(state), step)
    if stopping and not last:
      raise Preempted(
        f"Stopped at step {step} of {config.total_steps}, which is saved; the "
        "same command goes on from there."
      )
    progress.set_aside(time.monotonic() - begun)
  return result


def evaluate(
  programs: parallel.Mapped, state: TrainState, dataset: Dataset
) -> dict[str, float]:
  """Returns the means over every evaluation example, each counted once.

  And what the config's monitor says of the first batch.
  """
  sums: dict[str, Any] = {}
  monitored: dict[str, Any] = {}

  def dispatched():
    for batch in dataset.evaluate():
      placed = programs.place_one(batch)
      if programs.monitor and not monitored:
        monitored.update(programs.monitor(state, placed))
      yield programs.evaluate(state, placed)

  for part in _behind(dispatched(), _AHEAD):
    part = jax.device_get(part)
    part = jax.tree.map(lambda x: np.asarray(x, np.float64), part)
    sums = jax.tree.map(np.add, sums, part) if sums else part
  values = jax.tree.map(float, jax.device_get(monitored))
  return steps.summarize(sums) | values


def _programs(config: ConfigDict, dataset: Dataset) -> parallel.Mapped:
  """The compiled steps, shared by runs that differ in nothing compiled."""
  described = json.loads(config.to_json_best_effort())
  data = [
    dataset.image_shape,
    dataset.num_classes,
    np.asarray(dataset.mean).tolist(),
    np.asarray(dataset.std).tolist(),
  ]
  free = {"seed", "dataset", *(common.FREE_KEYS - {"parallel"})}
  trained = {k: v for k, v in described.items() if k not in free}
  evaluated = {k: described[k] for k in _EVALUATED}
  whole, part = (
    json.dumps([chosen, data], sort_keys=True)
    for chosen in (trained, evaluated)
  )
  if whole not in _PROGRAMS:
    programs = parallel.create(config.parallel, steps.create(config, dataset))
    # Methods differ in how they train, not in how they are evaluated.
    evaluate = _EVALUATIONS.setdefault(part, programs.evaluate)
    _PROGRAMS[whole] = programs._replace(evaluate=evaluate)
  return _PROGRAMS[whole]


def _train_batches(
  config: ConfigDict, dataset: Dataset, start_step: int
) -> Iterator[Batch]:
  """This process's batches from a step on, with drawn partners if asked."""
  batches = dataset.train(start_step=start_step)
  if config.pairing != "between":
    yield from batches
  for batch, second in zip(
    batches, dataset.train(start_step=start_step, stream=1), strict=False
  ):
    yield batch | {f"partner_{name}": value for name, value in second.items()}


def _placed(
  batches: Iterator[Batch], programs: parallel.Mapped, config: ConfigDict
) -> Iterator[Any]:
  """Groups batches a dispatch, and starts each transfer one dispatch early."""
  groups = iter(
    lambda: list(itertools.islice(batches, config.steps_per_dispatch)), []
  )
  return _behind(map(programs.place, groups), 1)


def _behind(started: Iterable[Any], count: int) -> Iterator[Any]:
  """Yields items in order, each once `count` more have been started."""
  flying: deque[Any] = deque()
  for item in started:
    flying.append(item)
    if len(flying) > count:
      yield flying.popleft()
  yield from flying


def _finite(pending: list[Any], step: int) -> list[dict[str, np.ndarray]]:
  """Fetches the pending metrics, [steps] each; raises on the first bad step."""
  fetched = jax.device_get(pending)
  rows = [
    {name: values[i] for name, values in chunk.items()}
    for chunk in fetched
    for i in range(len(chunk["loss"]))
  ]
  for i, row in enumerate(rows):
    for name in ("loss", "gradient_norm"):
      if not np.isfinite(row[name]):
        bad = step - len(rows) + i + 1
        raise NonFiniteLossError(
          f"{name} is {row[name]} at step {bad}; earlier checkpoints are kept. "
          "A smaller learning_rate, a longer warm-up or grad_clip usually "
          "helps."
        )
  return rows


def _mean(rows: list[dict[str, np.ndarray]]) -> dict[str, float]:
  return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _write_config(config: ConfigDict, workdir: epath.Path) -> None:
  """Writes config.json, or checks that it says the same."""
  path = workdir / "config.json"
  described = json.loads(config.to_json_best_effort())
  if path.exists():
    before = json.loads(path.read_text())
    differing = [
      f"{name}: {before.get(name)!r} there, {described.get(name)!r} now"
      for name in sorted(before.keys() | described.keys())
      if name not in common.FREE_KEYS
      and before.get(name) != described.get(name)
    ]
    if differing:
      raise ValueError(
        f"workdir {workdir} holds a run of another config ("
        + "; ".join(differing)
        + "); choose another workdir, or remove this one."
      )
  if jax.process_index() == 0:
    workdir.mkdir(parents=True, exist_ok=True)
    storage.write_json(path, described)
    storage.write_json(workdir / "provenance.json", provenance.describe())
