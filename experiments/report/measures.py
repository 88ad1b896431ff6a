"""The numbers read off evaluations, and their statistics over seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import math
from typing import NamedTuple

import numpy as np

from experiments.report.runs import Attack, Group

# What the fields of metrics.jsonl begin with, by whose evaluation they are.
PREFIXES = {"polyak": "polyak_", "live": ""}


class Statistic(NamedTuple):
  """A number's mean over seeds.

  Attributes:
    mean: over the seeds.
    standard_error: sample standard deviation (ddof 1) / sqrt(number of seeds);
      None for a single seed.
    per_seed: seed -> value.
  """

  mean: float
  standard_error: float | None
  per_seed: dict[int, float]


class Measure(NamedTuple):
  """A number read off an evaluation line; less is better.

  Attributes:
    key: its name in summary.json.
    field: its name in metrics.jsonl, less the weights' prefix.
    title: what tables and plots call it, with its unit.
    convert: from metrics.jsonl's value to the title's unit.
    decimals: shown in tables.
    attack: what it is measured under; None to take any group's.
  """

  key: str
  field: str
  title: str
  convert: Callable[[float], float]
  decimals: int = 2
  attack: Attack | None = None

  def last(self, group: Group, weights: str) -> Statistic | None:
    """Returns the last values; None where the group did not measure it."""
    field = PREFIXES[weights] + self.field
    rows = {seed: run.evals[-1] for seed, run in group.runs.items()}
    if self.attack not in (None, group.attacks.get(self.field)):
      return None
    if any(field not in row for row in rows.values()):
      return None
    return statistic({s: self.convert(row[field]) for s, row in rows.items()})

  def curve(
    self, group: Group, weights: str
  ) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Returns the steps that all seeds evaluated, the means, the errors.

    A single seed's standard errors are 0.
    """
    field = PREFIXES[weights] + self.field
    series = [
      {row["step"]: self.convert(row[field]) for row in run.evals}
      for run in group.runs.values()
    ]
    steps = sorted(set.intersection(*map(set, series)))
    values = np.array([[one[step] for step in steps] for one in series])
    return steps, *_over_seeds(values)


def _error(accuracy: float) -> float:
  return 100.0 * (1.0 - accuracy)


ERROR = Measure("error_percent", "accuracy", "test error (%)", _error)
LIKELIHOOD = Measure(
  "negative_log_likelihood_nats",
  "loss",
  "negative log-likelihood (nats)",
  float,
  decimals=4,
)
CALIBRATION = Measure(
  "calibration_error_percent",
  "calibration_error",
  "expected calibration error (%)",
  lambda fraction: 100.0 * fraction,
)
FGSM = Measure("fgsm_error_percent", "fgsm_accuracy", "FGSM error (%)", _error)
PGD = Measure("pgd_error_percent", "pgd_accuracy", "PGD error (%)", _error)
TOP5 = Measure("top5_error_percent", "accuracy_top5", "top-5 error (%)", _error)
EVERY = (ERROR, LIKELIHOOD, CALIBRATION, FGSM, PGD, TOP5)


def measured(groups: Sequence[Group], weights: str) -> list[Measure]:
  """Returns what at least one group measured, each attack by itself."""
  every = [ERROR, LIKELIHOOD, CALIBRATION, *_under_attack(groups), TOP5]
  return [m for m in every if any(m.last(one, weights) for one in groups)]


def _under_attack(groups: Sequence[Group]) -> list[Measure]:
  """FGSM of every size, then PGD of every norm, number of steps and size."""
  found = []
  for measure in (FGSM, PGD):
    attacks = [one.attacks.get(measure.field) for one in groups]
    for attack in sorted({attack for attack in attacks if attack}):
      title = measure.title
      if measure is PGD:
        title = title.replace("PGD", f"PGD-{attack.steps}")
      if attack.norm == "l2":
        title = f"l2 {title}"
      title = f"{title} at ε = {attack.epsilon:.3g}"
      found.append(measure._replace(title=title, attack=attack))
  return found


def statistic(per_seed: dict[int, float]) -> Statistic:
  """Returns the mean and its standard error over at least one seed."""
  mean, error = _over_seeds(np.array(list(per_seed.values()), np.float64))
  alone = len(per_seed) == 1
  return Statistic(float(mean), None if alone else float(error), per_seed)


def _over_seeds(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Means and standard errors over axis 0, which are 0 for a single seed."""
  seeds = len(values)
  with np.errstate(invalid="ignore"):  # a likelihood may be infinite
    errors = values.std(axis=0, ddof=min(1, seeds - 1)) / math.sqrt(seeds)
  return values.mean(axis=0), errors


def paired(one: Group, other: Group, weights: str) -> Statistic | None:
  """Returns the difference in error by seed; None without a common seed."""
  own, base = ERROR.last(one, weights), ERROR.last(other, weights)
  if own is None or base is None or one is other:
    return None
  common = [seed for seed in own.per_seed if seed in base.per_seed]
  differences = {s: own.per_seed[s] - base.per_seed[s] for s in common}
  return statistic(differences) if differences else None
