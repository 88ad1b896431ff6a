"""Tasks: what outputs mean. One file each, and a table of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from experiments import domains, registry
from experiments.inputs.dataset import Spec
from experiments.tasks import attacks, classification, cosine, regression
from experiments.tasks.task import Measure, Task

FREE: frozenset[str] = frozenset()


class Entry(NamedTuple):
  """A task by name.

  Attributes:
    create: (config, spec) -> Task.
    measures: config, as a mapping -> what its evaluation lines hold, the most
      important first; the report asks without a data set.
    every: config -> all measures that runs of its kind can have, in the order
      of tables.
  """

  create: Callable[[ConfigDict, Spec], Task]
  measures: Callable[[Mapping[str, Any]], tuple[Measure, ...]]
  every: Callable[[Mapping[str, Any]], tuple[Measure, ...]]


TASKS: dict[str, Entry] = {
  "classification": Entry(
    classification.create, classification.measures, classification.every
  ),
  "cosine": Entry(cosine.create, cosine.measures, cosine.measures),
  "regression": Entry(
    regression.create, regression.measures, regression.measures
  ),
}


KEYS = {
  # cosine: label embeddings; regression: squared loss of a target of numbers.
  "task": domains.entry("classification", TASKS),
  **classification.KEYS,
  **cosine.KEYS,
  **attacks.KEYS,
}


def check(config: ConfigDict) -> None:
  """Raises ValueError for what no data set could make right."""
  _entry(config)
  classification.check(config)
  cosine.check(config)
  regression.check(config)


def create(config: ConfigDict, spec: Spec) -> Task:
  """Returns the config's task over a data set's labels."""
  return _entry(config).create(config, spec)


def measures(config: Mapping[str, Any]) -> tuple[Measure, ...]:
  """Returns what the evaluation lines of a config's runs hold.

  Args:
    config: a resolved config, or what config.json says.
  """
  return _entry(config).measures(config)


def every(config: Mapping[str, Any]) -> tuple[Measure, ...]:
  """Returns all measures that runs of the config's task can have."""
  return _entry(config).every(config)


def _entry(config: Mapping[str, Any]) -> Entry:
  # Runs from before there were tasks do not have the key.
  name = config.get("task", "classification")
  return registry.find("task", name, TASKS)
