"""Every number behind the table, summary.json, and what they were made with."""

from __future__ import annotations

from collections.abc import Sequence
import json
import os
import pathlib
from typing import Any

import numpy as np

from experiments import tasks
from experiments.report import measures, table
from experiments.report.runs import Group
from experiments.tasks import attacks


def written(
  groups: Sequence[Group], warnings: Sequence[str], out: pathlib.Path
) -> str:
  """Returns every number, with both weights, as summary.json holds it.

  Strict JSON: null is what was not measured, or what is not finite. Folders are
  relative to `out`; "made_with" lists the runs' different provenances.
  """
  baseline, run = table.baseline_of(groups), groups[0].first
  told = {
    "dataset": run.config["dataset"],
    "examples": round(run.last["examples"]),
    "baseline": baseline.name if baseline else None,
    "made_with": made_with(groups),
    "groups": [_described(one, baseline, out) for one in groups],
    "warnings": list(warnings),
  }
  finite = json.loads(json.dumps(told), parse_constant=lambda name: None)
  return json.dumps(finite, indent=2, ensure_ascii=False) + "\n"


def made_with(groups: Sequence[Group]) -> list[dict[str, Any]]:
  """Returns the runs' different provenances, each once."""
  different: list[dict[str, Any]] = []
  for one in groups:
    for run in one.runs.values():
      for made in run.made_with:
        # Where a start began says nothing about what it was made with.
        made = {k: v for k, v in made.items() if k != "from_step"}
        if made not in different:
          different.append(made)
  return different


def _described(
  one: Group, baseline: Group | None, out: pathlib.Path
) -> dict[str, Any]:
  config = one.first.config
  row: dict[str, Any] = {
    "name": one.name,
    "method": config["method"],
    "seeds": list(one.runs),
    "folders": [os.path.relpath(run.folder, out) for run in one.runs.values()],
    "total_steps": config["total_steps"],
    **attacks.setting(config),
  }
  own = {measure.key: measure for measure in one.measures}
  for weights in measures.PREFIXES:
    numbers = {
      m.key: measures.last(own.get(m.key, m), one, weights)
      for m in tasks.every(config)
    }
    if baseline:
      difference = measures.paired(one, baseline, weights)
      numbers[f"{one.measures[0].key}_less_baseline"] = difference
    row[weights] = {
      key: number and number._asdict() for key, number in numbers.items()
    }
  speeds = {s: run.speed for s, run in one.runs.items() if run.speed}
  row["images_per_second"] = {
    "median": float(np.median(list(speeds.values()))) if speeds else None,
    "per_seed": speeds,
  }
  return row
