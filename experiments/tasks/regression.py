"""Regression: a number an example, by half the squared distance.

l(f, y) = (f - y)^2 / 2 = h(f) - y f + y^2 / 2, h(f) = f^2 / 2. It is not linear
in y: at the mixed label lam y + (1 - lam) y' it is the mixture of both losses,
which is what is trained here as everywhere, less lam (1 - lam) (y - y')^2 / 2.
That is a constant of f, so that Mixup's gradient is the same; what is reported
as the mixed loss, and the L of MixupE's kappa, are larger by it.

Labels are in units of the target's standard deviation (`Spec.unit`); RMSE and
MAE are in the target's own.
"""

from __future__ import annotations

from collections.abc import Mapping
import math
from typing import Any

import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments.inputs.dataset import Spec
from experiments.tasks import attacks
from experiments.tasks.task import Measure, Task

RMSE = Measure("rmse", "rmse", "root mean squared error", decimals=4)
MAE = Measure("mae", "mae", "mean absolute error", decimals=4)
LOSS = Measure("loss", "half_squared_error", "loss", decimals=4)


def check(config: ConfigDict) -> None:
  """Raises ValueError for what this task cannot do."""
  if config.task != "regression":
    return
  for key, only in (
    ("label_smoothing", 0.0),
    ("loss", "cross_entropy"),
    ("temperature_scaling", False),
    *((f"{name}_epsilon", 0.0) for name in attacks.names(config)),
  ):
    if config[key] != only:
      raise ValueError(
        f"{key} does not apply to task='regression', whose labels are numbers; "
        f"leave it at {only!r}, got {config[key]!r}."
      )


def create(config: ConfigDict, spec: Spec) -> Task:
  """Returns the task of a data set whose labels are numbers.

  Raises:
    ValueError: if they are not.
  """
  if not jnp.issubdtype(spec.label.dtype, jnp.floating) or spec.label.shape:
    raise ValueError(
      "task='regression' needs labels that are numbers, one float an example; "
      f"got {spec.label.dtype}{list(spec.label.shape)} of "
      f"dataset={config.dataset!r}."
    )

  def distance(outputs, labels):
    return outputs[:, 0].astype(jnp.float32) - labels

  def loss_fn(outputs, labels):
    return 0.5 * jnp.square(distance(outputs, labels))

  def sums(predict, batch):
    apart = distance(predict(batch["inputs"]), batch["label"])
    apart = jnp.where(batch["mask"], jnp.abs(apart), 0.0)
    return {"squares": jnp.sum(jnp.square(apart)), "absolutes": jnp.sum(apart)}

  def means(sums, examples):
    mean = float(sums["squares"]) / examples
    return {
      "loss": 0.5 * mean,
      "rmse": spec.unit * math.sqrt(mean),
      "mae": spec.unit * float(sums["absolutes"]) / examples,
    }

  return Task(
    num_outputs=1,
    loss_fn=loss_fn,
    link="identity",
    hits={},
    sums=sums,
    means=means,
    measures=measures(config),
  )


def measures(config: Mapping[str, Any]) -> tuple[Measure, ...]:
  """What evaluation lines hold."""
  del config
  return (RMSE, MAE, LOSS)
