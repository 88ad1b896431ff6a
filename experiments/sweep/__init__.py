"""Several runs in one process: compiled steps are shared over seeds."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import functools
import json
import os
import re
import time
import unicodedata

from absl import logging
from etils import epath
import jax
from ml_collections import ConfigDict

from experiments import domains, processes, tasks, train
from experiments.configs import common
from experiments.programs import Cache
from experiments.workdir import progress, storage

_OWN = ("sweep", "sweep_seeds")
_LONGEST = 100
# What the report does not look into, and compiled programs' place.
_TAKEN = ("checkpoints", "xla")


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

  jobs: list[tuple[str, int, ConfigDict]] = []

  def resolve():
    jobs.extend(runs(config))
    return json.loads(config.to_json_best_effort())

  processes.agreed(resolve)
  root = storage.path(workdir)
  cache = Cache()
  # What only shows in a run's data or shapes, before the first one trains.
  for name, seed, own in jobs:
    if seed == config.sweep_seeds[0]:
      with _naming(name):
        processes.everywhere(functools.partial(train.build, own, cache))
  processes.from_first(lambda: _write_index(config, root))
  level = logging.get_verbosity()
  begun = time.monotonic()
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


def runs(config: ConfigDict) -> Iterator[tuple[str, int, ConfigDict]]:
  """Yields (name, seed, resolved config of that run), seeds innermost.

  Raises:
    ValueError: naming the run whose config is wrong, or whose folder would be
      no other's or none.
  """
  config = config.copy_and_resolve_references()
  domains.settle(config, {k: common.keys()[k] for k in _OWN})
  _check_folders(config)
  for name, overrides in config.sweep:
    with _naming(name):
      refused = sorted({"seed", *_OWN} & overrides.keys())
      if refused:
        raise ValueError(
          f"{refused[0]} must not be among its overrides; every run is made "
          "with each of sweep_seeds."
        )
      for seed in config.sweep_seeds:
        own = config.copy_and_resolve_references()
        own.sweep = ()
        own.sweep_seeds = (seed,)
        own.seed = seed
        common.override(own, overrides)
        yield name, seed, common.resolve(own)


@contextlib.contextmanager
def _naming(name: str) -> Iterator[None]:
  """Says which run of the sweep an error is of."""
  try:
    yield
  except (ValueError, TypeError) as error:
    raise type(error)(f"sweep: run {name!r}: {error}") from error


def _check_folders(config: ConfigDict) -> None:
  """Refuses two runs in one folder, and a run in the sweep's own."""
  seeds = config.sweep_seeds
  if not seeds or len(set(seeds)) < len(seeds):
    raise ValueError(
      f"sweep_seeds must be one or more, each once, got {domains.told(seeds)}."
    )
  known: dict[str, int] = {}
  for i, (name, _) in enumerate(config.sweep):
    folder = slug(name)
    if not folder or len(folder) > _LONGEST or folder in _TAKEN:
      raise ValueError(
        f"sweep: a run's name must make a folder's, of letters a to z and "
        f"digits, at most {_LONGEST}, and not {' or '.join(_TAKEN)}; "
        f"{domains.told(name)} makes {domains.told(folder)}."
      )
    # A name may be written in several ways that look the same.
    for form in (folder, unicodedata.normalize("NFKC", name).casefold()):
      other = known.setdefault(form, i)
      if other != i:
        raise ValueError(
          f"sweep: {config.sweep[other][0]!r} and {name!r} must be told apart "
          f"by the letters a to z and digits in them, of which a folder's name "
          f"is made; got {form!r} for both."
        )


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
