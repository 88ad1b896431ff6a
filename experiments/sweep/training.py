"""A grid's runs: grouped by program, trained together, and written down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import json
import os
import time
from typing import Any

from absl import logging
from etils import epath
from ml_collections import ConfigDict

from experiments import optimizers, preemption, programs
from experiments.configs import common
from experiments.inputs import memory
from experiments.inputs.dataset import Spec
from experiments.sweep import capacity, results, together
from experiments.sweep.grid import Point
from experiments.workdir import described, lock, provenance, storage
from experiments.workdir.progress import duration

# Between two lines of progress, seconds.
PATIENCE = 10.0


def run(
  points: Sequence[Point],
  base: ConfigDict,
  workdir: str | os.PathLike[str],
  number: int | None = None,
) -> list[results.Result]:
  """Trains what is not in workdir/results.jsonl yet, and returns all results.

  Args:
    points: of the grids.
    base: the config that they vary.
    workdir: made if missing.
    number: of runs together; None takes what memory has room for.

  Raises:
    ValueError: if a run's config is wrong, or its data set is not in memory,
      before any has trained; or the workdir holds results of another config.
    Preempted: after a SIGTERM; what was finished is in results.jsonl.
  """
  folder = storage.path(workdir)
  if storage.is_remote(folder):
    raise ValueError(f"workdir: a sweep's is a local folder, got {folder}.")
  shared = memory.Loaded()
  configs, loaded = [], []
  for point in points:
    config = _resolved(point)
    loaded.append(memory.load(config, shared))
    configs.append(common.in_steps(config, loaded[-1][1].num_train))
  groups = _group(configs, [spec for _, spec in loaded])
  # What is wrong with a model or a method shows here, before anything is there.
  built = {
    i: together.Program(configs[i], together.common(loaded[i][1]))
    for i, *_ in groups
  }
  folder.mkdir(parents=True, exist_ok=True)
  with lock.hold(folder), preemption.Watch() as watch:
    swept = {key for point in points for key in point.keys}
    asked = json.loads(base.to_json_best_effort())
    described.check(
      folder,
      asked,
      free=common.free_keys() | {key.partition(".")[0] for key in swept},
      defaults=json.loads(common.base().to_json_best_effort()),
    )
    path = folder / "results.jsonl"
    before = results.read(path)
    known = _Known(points, folder / "config.json", asked, before)
    todo = {
      group[0]: [i for i in group if points[i] not in known] for group in groups
    }
    count = sum(map(len, todo.values()))
    logging.info(
      "%d runs, %d of them done, in %d program(s).",
      len(points),
      len(points) - count,
      len(groups),
    )
    if count and (folder / "config.json").exists():
      provenance.add(folder, len(before))
    elif count:
      described.write(folder, asked, step=0)
    clock = _Clock(count)
    for first, group in todo.items():
      if group:
        program = built[first]
        _train(
          points, configs, loaded, program, group, path, number, clock, watch
        )
    found = _Known(points, folder / "config.json", asked, results.read(path))
  return [found[point] for point in points]


def _train(
  points, configs, loaded, program, group, path, number, clock, watch
) -> None:
  """Trains the runs of one program, and writes each down."""
  own = [configs[i] for i in group]
  gathered = together.gather(own, [loaded[i] for i in group])
  # As many side by side in each round: all rounds are one program.
  rounds = -(-len(group) // (number or capacity.choose(program, gathered)))
  width = -(-len(group) // rounds)
  width += -width % program.devices
  every, total = own[0].eval_every, own[0].total_steps
  for first in range(0, len(group), width):
    runs = list(range(first, min(first + width, len(group))))
    real = len(runs)
    # What is missing to a full round is trained again, and not looked at.
    runs += [runs[-1]] * (width - real)
    begun = time.monotonic()
    curves: list[list[dict[str, Any]]] = [[] for _ in runs]
    for side in together.train(program, gathered, runs, every):
      lines = together.evaluate(program, gathered, runs, side)
      for curve, line in zip(curves, lines, strict=True):
        curve.append({"step": side.step} | line)
      clock.report(side.step, total, real)
      if watch.reached() and side.step < total:
        raise preemption.Preempted(
          f"Stopped with {clock.done} of {clock.count} runs done, which are "
          "saved; the same command goes on from there."
        )
    seconds = round((time.monotonic() - begun) / real, 3)
    results.append(
      path,
      [
        _result(points[group[run]], curve, diverged, seconds)
        for run, curve, diverged in zip(
          runs[:real], curves, side.diverged_at, strict=False
        )
      ],
    )
    clock.add(real, total)


def _result(
  point: Point,
  curve: list[dict[str, Any]],
  diverged_at: int | None,
  seconds: float,
) -> results.Result:
  last = {
    part: _fields(line) for part, line in curve[-1].items() if part != "step"
  }
  result: results.Result = dict(point.keys)
  if diverged_at is not None:
    return result | {"diverged_at": diverged_at, "seconds": seconds}
  if len(curve) > 1:
    result["curve"] = {
      "step": [line["step"] for line in curve],
      **{
        part: {
          field: [round(line[part][field], 6) for line in curve]
          for field in ("accuracy", "rmse", "loss")
          if field in curve[0][part]
        }
        for part in last
      },
    }
  return result | last | {"seconds": seconds}


def _fields(line: Mapping[str, float]) -> dict[str, float]:
  return {k: v for k, v in line.items() if k != "examples"}


class _Known:
  """Results by their points, whatever keys each grid had."""

  def __init__(
    self,
    points: Sequence[Point],
    path: epath.Path,
    asked: Mapping[str, Any],
    found: Sequence[results.Result],
  ):
    # A result without a key is of the config that made the file.
    before = storage.read_json(path) if path.exists() else {}
    self._base = {**asked, **before}
    given = [p.keys for p in points] + [results.keys(one) for one in found]
    self._keys = sorted(set().union(*given))
    self._found = {self._name(results.keys(one)): one for one in found}

  def _name(self, keys: Mapping[str, Any]) -> str:
    named = {**{key: _at(self._base, key) for key in self._keys}, **keys}
    return json.dumps(named, sort_keys=True)

  def __contains__(self, point: Point) -> bool:
    return self._name(point.keys) in self._found

  def __getitem__(self, point: Point) -> results.Result:
    return self._found[self._name(point.keys)]


def _at(tree: Mapping[str, Any], key: str) -> Any:
  value: Any = tree
  for part in key.split("."):
    value = value.get(part) if isinstance(value, Mapping) else None
  return value


class _Clock:
  """Runs done, and the time that the rest will take."""

  def __init__(self, count: int):
    self.count, self.done = count, 0
    self._begun = self._told = time.monotonic()

  def add(self, runs: int, total: int) -> None:
    self.done += runs
    self.report(total, total, 0)

  def report(self, step: int, total: int, runs: int) -> None:
    now = time.monotonic()
    # Many short runs would be many lines.
    if self.done < self.count and now - self._told < PATIENCE:
      return
    self._told = now
    under_way = runs * step / total
    fraction = (self.done + under_way) / self.count
    seconds = now - self._begun
    logging.info(
      "%d/%d runs done%s  %s, ETA %s",
      self.done,
      self.count,
      f", {runs} at step {step}/{total}" if runs else "",
      duration(seconds),
      duration(seconds / fraction * (1.0 - fraction)),
    )


# What the loop of a single run alone does.
_ALONE = {"init_from": "", "evaluation_mean": 1, "logger": "none"}


def _resolved(point: Point) -> ConfigDict:
  try:
    config = common.resolve(point.config)
  except (ValueError, TypeError) as error:
    raise type(error)(f"{point.keys}: {error}") from None
  for key, only in _ALONE.items():
    if config[key] != only:
      raise ValueError(
        f"{key} must be {only!r} where runs are trained together, got "
        f"{config[key]!r}; list them in config.sweep and start "
        "experiments.main."
      )
  if not memory.has(config.dataset):
    raise ValueError(
      f"dataset: runs are trained together from memory, and {config.dataset!r} "
      "is read from files as it is trained on; list its runs in config.sweep "
      "and start experiments.main."
    )
  return config


def _group(
  configs: Sequence[ConfigDict], specs: Sequence[Spec]
) -> list[list[int]]:
  """Numbers of the runs that share a program, in their order."""
  groups: list[tuple[Any, list[int]]] = []
  for i, (config, spec) in enumerate(zip(configs, specs, strict=True)):
    name, _ = programs.identities(optimizers.rated(config)[0])
    # What programs do not see, but the loop does.
    loop = config.eval_every, config.total_steps, config.eval_batch_size
    program = name, together.common(spec), loop
    for known, numbers in groups:
      if known == program:
        numbers.append(i)
        break
    else:
      groups.append((program, [i]))
  return [numbers for _, numbers in groups]
