"""What a task owes the steps, the loop and the report: the `Task` contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from experiments.inputs.dataset import Batch

Sums = dict[str, Any]
LossFn = Callable[[jax.Array, jax.Array], jax.Array]


class Measure(NamedTuple):
  """A number of an evaluation line, and how people are shown it.

  Attributes:
    field: its name in metrics.jsonl, less the prefix of the weights.
    key: its name in summary.json.
    name: what tables, plots and log lines call it.
    unit: of the number shown, such as "%" or "nats"; "" for none.
    scale: shown = scale * (value - origin).
    origin: 1 shows an accuracy as an error, with scale -100 in percent.
    decimals: shown in tables.
    notes: sentences that a table with this measure is followed by.
    better: "lower" or "higher".
  """

  field: str
  key: str
  name: str
  unit: str = ""
  scale: float = 1.0
  origin: float = 0.0
  decimals: int = 2
  notes: tuple[str, ...] = ()
  better: str = "lower"

  @property
  def title(self) -> str:
    """The name with its unit, in the way of axes and columns."""
    if not self.unit:
      return self.name
    # What it was measured under comes last: "FGSM error (%) at ε = 0.1".
    head, at, tail = self.name.partition(" at ")
    return f"{head} ({self.unit}){at}{tail}"

  def shown(self, value: float) -> float:
    """The number in the title's unit."""
    return self.scale * (value - self.origin)

  def told(self, value: float) -> str:
    """The name, the number and its unit, in the way of log lines."""
    number = f"{self.shown(value):.{self.decimals}f}"
    return f"{self.name} {number} {self.unit}".rstrip()


class Task(NamedTuple):
  """The only place that knows labels and losses.

  Attributes:
    num_outputs: the network's.
    loss_fn: (outputs, labels) -> [B], the loss that is trained, target-linear.
    link: "softmax", "sigmoid" or "identity", the gradient of the log-partition
      h of a loss h(f) - y f; None where loss_fn is none, which refuses MixupE's
      penalty. (The penalty itself is of loss_fn, smoothed labels and all.)
    hits: name -> (outputs, labels) -> [B], what training lines tell beside the
      loss; under mixing, weighted as the labels are. Finite: a run stops at a
      training metric that is not.
    sums: (predict, evaluation batch) -> sums over the real examples of one
      replica; predict maps raw inputs to outputs.
    means: (sums over all, their count) -> the fields of an evaluation line.
    measures: what the report, the log lines and TensorBoard show of them, the
      most important first.
    scaled: (sums over the evaluation part, sums over the test part, the count
      of the latter) -> further fields of its line, which the former decides; or
      None.
    diagram: sums over all -> what reports draw of them beside their means,
      names to lists of numbers; or None.
  """

  num_outputs: int
  loss_fn: LossFn
  link: str | None
  hits: Mapping[str, LossFn]
  sums: Callable[[Callable[[Any], jax.Array], Batch], Sums]
  means: Callable[[Mapping[str, Any], float], dict[str, float]]
  measures: tuple[Measure, ...]
  scaled: (
    Callable[[Mapping[str, Any], Mapping[str, Any], float], dict[str, float]]
    | None
  ) = None
  diagram: Callable[[Mapping[str, Any]], dict[str, list[float]]] | None = None
