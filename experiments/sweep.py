"""Several runs in one process: compiled steps are shared over seeds."""

from __future__ import annotations

import json
import os
import re
import time

from absl import logging
from etils import epath
import jax
from ml_collections import ConfigDict

from experiments import processes, tasks, train
from experiments.programs import Cache
from experiments.workdir import progress, storage


def run(config: ConfigDict, workdir: str | os.PathLike[str]) -> None:
  """Runs every entry of config.sweep with every seed, then reports on them.

  Run `name` with seed s goes to workdir/name/seed_s. The same call again skips
  what is finished and resumes what is not.

  Args:
    config: with `sweep` (name -> overrides) and `sweep_seeds`.
    workdir: the folder of all runs, of table.md and of the plots; with a gs://
      URL the report is left to `python -m experiments.report`.
  """
  from experiments import report  # matplotlib, only where it draws

  processes.agreed(lambda: json.loads(config.to_json_best_effort()))
  root = storage.path(workdir)
  processes.from_first(lambda: _write_index(config, root))
  level = logging.get_verbosity()
  jobs = list(runs(config))
  begun = time.monotonic()
  cache = Cache()
  for i, (name, seed, own) in enumerate(jobs):
    folder = root / slug(name) / f"seed_{seed}"
    logging.set_verbosity(logging.WARNING)
    try:
      result = train.train_and_evaluate(own, folder, cache)
    finally:
      logging.set_verbosity(level)
    seconds = time.monotonic() - begun
    measure = tasks.measures(own)[0]
    logging.info(
      "[%d/%d] %s, seed %d: %s  (%s, ETA %s)",
      i + 1,
      len(jobs),
      name,
      seed,
      measure.told(result[f"polyak_{measure.field}"]),
      progress.duration(seconds),
      progress.duration(seconds / (i + 1) * (len(jobs) - i - 1)),
    )
  if jax.process_index() != 0:
    return
  if storage.is_remote(root):
    logging.info("%s", report.copy_first(root))
  else:
    print(report.write([root], root))


def runs(config: ConfigDict):
  """Yields (name, seed, config of that run), seeds innermost."""
  for name, overrides in config.sweep:
    for seed in config.sweep_seeds:
      own = config.copy_and_resolve_references()
      own.sweep = ()
      own.sweep_seeds = (seed,)
      own.seed = seed
      own.update(overrides)
      yield name, seed, own


def _write_index(config: ConfigDict, workdir: epath.Path) -> None:
  """Writes runs.json: names in their order, for the report."""
  index = [
    {"name": name, "folder": slug(name), "seeds": list(config.sweep_seeds)}
    for name, _ in config.sweep
  ]
  storage.make_folder(workdir)
  storage.write_json(workdir / "runs.json", index)


def slug(name: str) -> str:
  """A folder name for a run's name."""
  return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
