"""Finding runs below folders, and grouping those that differ in seed only."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import json
import math
import os
import pathlib
import re
from typing import Any

import numpy as np

from experiments import domains, tasks
from experiments.configs import common
from experiments.tasks import Measure
from experiments.workdir import metrics, provenance, storage

# What the report itself reads of a config.
_READ = (
  "seed",
  "total_steps",
  "eta",
  "evaluation_mean",
  "dataset",
  "eval_split",
  "fgsm_epsilon",
  "pgd_epsilon",
  "pgd_norm",
  "pgd_steps",
)
_TEXT = domains.text("a")
# The seed at the end of a folder's name, such as seed_0, mixup_s0 or mixup_0.
_SEED = re.compile(r"(^seed|[-_.](seed|s)?)[-_]?\d+$")


@dataclasses.dataclass(frozen=True)
class Run:
  """One folder that holds config.json and metrics.jsonl.

  Attributes:
    folder: that folder.
    config: config.json.
    evals: metrics.jsonl's evaluation lines, in order.
    tests: its lines of the test part, where the data set has one: the
      evaluation lines are then of a validation part.
    diagrams: diagrams.json, of the last evaluation; {} if it left none.
    speed: the median of its images_per_second, None before the first.
    made_with: provenance.json's entries, one for each start.
  """

  folder: pathlib.Path
  config: dict[str, Any]
  evals: list[dict[str, Any]]
  speed: float | None
  made_with: list[dict[str, Any]]
  tests: tuple[dict[str, Any], ...] = ()
  diagrams: dict[str, Any] = dataclasses.field(default_factory=dict)

  @property
  def test(self) -> dict[str, Any] | None:
    """The last line of the test part, or None."""
    return self.tests[-1] if self.tests else None

  @property
  def last(self) -> dict[str, Any]:
    """What the table tells: the test part's last line, or evaluations'.

    Each number is the mean over as many of them as config.evaluation_mean says.
    """
    rows = [*(self.tests or self.evals)][-self.config["evaluation_mean"] :]
    if len(rows) == 1:
      return rows[0]
    mean = {
      name: math.fsum(row[name] for row in rows) / len(rows)
      for name in rows[-1]
      if name not in ("step", "split") and all(name in row for row in rows)
    }
    return rows[-1] | mean

  @property
  def is_finished(self) -> bool:
    """Whether the last step was evaluated."""
    return self.step >= self.config["total_steps"]

  @property
  def step(self) -> int:
    """The step last evaluated, 0 for none."""
    return self.evals[-1]["step"] if self.evals else 0

  @property
  def base(self) -> pathlib.Path:
    """The folder less the seed at its end."""
    return self.folder.parent / _SEED.sub("", self.folder.name)

  @property
  def setting(self) -> dict[str, Any]:
    """The config less what may differ within a group."""
    # A seed may divide its data set in its own way.
    free = common.free_keys() | {"seed", "data"}
    return {k: v for k, v in self.config.items() if k not in free}


@dataclasses.dataclass
class Group:
  """Finished runs that differ in seed only: one row of the table.

  Attributes:
    name: what the row is called.
    runs: by seed, in order.
  """

  name: str
  runs: dict[int, Run]

  @property
  def first(self) -> Run:
    """The run of the lowest seed."""
    return next(iter(self.runs.values()))

  @property
  def measures(self) -> tuple[Measure, ...]:
    """What its evaluations measured, the most important first."""
    return tasks.measures(self.first.config)


def find(roots: Sequence[pathlib.Path]) -> list[Run]:
  """Returns every run at or below the folders, each once, in a fixed order.

  Raises:
    ValueError: if there is none.
  """
  found: dict[pathlib.Path, Run] = {}
  for root in roots:
    for name, below, files in os.walk(root):
      below[:] = sorted(set(below) - {"checkpoints"})
      folder = pathlib.Path(name)
      if "config.json" in files and "metrics.jsonl" in files:
        found.setdefault(folder.resolve(), _read(folder))
  if not found:
    raise ValueError(
      f"No runs found at or below {', '.join(map(str, roots))}. A run is a "
      "folder with config.json and metrics.jsonl, a --workdir of "
      "`python -m experiments.main`."
    )
  return list(found.values())


def _read(folder: pathlib.Path) -> Run:
  rows = metrics.read(folder / "metrics.jsonl")
  speeds = [
    row["images_per_second"] for row in rows if "images_per_second" in row
  ]
  evals = [row for row in rows if row["split"] == "eval"]
  tests = [row for row in rows if row["split"] == "test"]
  for row in evals + tests:
    values = [v for k, v in row.items() if k != "split"]
    if "examples" not in row or not all(
      type(v) in (int, float) for v in values
    ):
      raise ValueError(
        f"{folder / 'metrics.jsonl'} is damaged: the evaluation of step "
        f"{row['step']} must have `examples`, and numbers only."
      )
  return Run(
    folder=folder,
    config=_config(folder / "config.json"),
    evals=evals,
    speed=float(np.median(speeds)) if speeds else None,
    made_with=provenance.read(folder),
    tests=tuple(tests),
    diagrams=_diagrams(folder / metrics.DIAGRAMS),
  )


def _diagrams(path: pathlib.Path) -> dict[str, Any]:
  """Each part's, of each of the weights; older runs left none."""
  if not path.is_file():
    return {}
  found = storage.read_json(path)
  try:
    return {
      part: {
        whose: {
          name: np.array(values, np.float64) for name, values in own.items()
        }
        for whose, own in of_weights.items()
      }
      for part, of_weights in found.items()
      if part != "step"
    }
  except (AttributeError, TypeError, ValueError):
    raise ValueError(
      f"{path} is damaged: it must hold lists of numbers by part, weights and "
      "name; remove it to report without its diagrams."
    ) from None


def _config(path: pathlib.Path) -> dict[str, Any]:
  """A run's config; keys that came later have their defaults."""
  found = storage.read_json(path)
  if not isinstance(found, dict):
    raise ValueError(
      f"{path} is damaged (a {type(found).__name__} and no object); restore "
      "it, or remove that run."
    )
  config = json.loads(common.base().to_json_best_effort()) | found
  known = common.keys()
  for name in _READ:
    known[name].read(f"{path}: {name}", config[name])
  for name in ("method", "model"):  # of tables that may not be here
    _TEXT.read(f"{path}: {name}", config[name])
  return config


def left_out(runs: Sequence[Run], roots: Sequence[pathlib.Path]) -> list[str]:
  """Names the runs that have not finished, or not started in their sweep."""
  warnings = [
    f"{run.folder} is unfinished (step {run.step:,} of "
    f"{run.config['total_steps']:,}): left out."
    for run in runs
    if not run.is_finished
  ]
  for sweep in dict.fromkeys(run.base.parent for run in runs):
    for name, entry in _listed(sweep).items():
      for seed in entry["seeds"]:
        folder = sweep / name / f"seed_{seed}"
        asked = any(root in (folder, *folder.parents) for root in roots)
        if asked and not (folder / "metrics.jsonl").exists():
          warnings.append(f"{folder} has not started: left out.")
  return warnings


def group(runs: Sequence[Run]) -> list[Group]:
  """Groups runs that differ in seed only, named and in the table's order.

  Raises:
    ValueError: if two runs of a group have the same seed.
  """
  members: dict[tuple[pathlib.Path, str], dict[int, Run]] = {}
  for run in runs:
    key = (run.base, json.dumps(run.setting, sort_keys=True))
    own = members.setdefault(key, {})
    other = own.setdefault(run.config["seed"], run)
    if other is not run:
      raise ValueError(
        f"{other.folder} and {run.folder} are runs of one config with the same "
        f"seed, {run.config['seed']}; a standard error needs different ones."
      )
  groups = [
    Group(in_a_line(_name(list(own.values()))), dict(sorted(own.items())))
    for own in members.values()
  ]
  parents = list(dict.fromkeys(base.parent for base, _ in members))

  def order(one: Group) -> tuple[int, int]:
    base = one.first.base
    names = list(_listed(base.parent))
    rank = names.index(base.name) if base.name in names else len(names)
    return parents.index(base.parent), rank

  groups.sort(key=order)
  names = [one.name for one in groups]
  for one in groups:
    if names.count(one.name) > 1:
      one.name += in_a_line(f" ({one.first.folder})")
  return groups


def _listed(sweep: pathlib.Path) -> dict[str, dict[str, Any]]:
  """The entries of a sweep's runs.json by folder; none where there is none."""
  path = sweep / "runs.json"
  entries = storage.read_json(path) if path.is_file() else []
  try:
    return {
      str(entry["folder"]): {
        "name": str(entry["name"]),
        "seeds": list(entry["seeds"]),
      }
      for entry in entries
    }
  except (KeyError, TypeError, ValueError):
    raise ValueError(
      f"{path} is damaged: it must be a list of objects with name, folder and "
      "seeds; start the sweep again, which writes it, or remove it."
    ) from None


def _name(runs: Sequence[Run]) -> str:
  """A sweep's own name, or one made of the folder's."""
  folder, base = runs[0].folder, runs[0].base
  if entry := _listed(base.parent).get(base.name):
    return entry["name"]
  # The number that ends a single run's name need not be a seed.
  alone = len(runs) == 1 and base != folder.parent
  return folder.name if alone else base.name


def in_a_line(name: str) -> str:
  """A name without line breaks, and whatever else a terminal would act on."""
  return "".join(c if c.isprintable() else " " for c in name)


def check_comparable(groups: Sequence[Group]) -> None:
  """Raises a ValueError unless all were evaluated on the same examples."""
  tests = {}
  for one in groups:
    config, last = one.first.config, one.first.last
    # Older runs do not say their task: there was one.
    task = config.get("task", "classification")
    test = (config["dataset"], config["eval_split"], last["examples"], task)
    tests[test] = one.name
  if len(tests) > 1:
    raise ValueError(
      "The runs were not evaluated on the same examples; report on them "
      f"separately: {', '.join(f'{tests[test]}: {test}' for test in tests)}."
    )
