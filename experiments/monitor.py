"""Mixup's theory on a held-out batch while a run trains: monitor="theory".

Once an evaluation, on the live weights in evaluation mode, the terms of Lemma
3.1 of Zhang et al. (2021), the radius of their Theorems 3.1 and 3.3, and the
coefficients of MixupE's eq. (3), under the law of the run's own method.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments import domains, networks
from experiments.inputs.dataset import Batch, Spec
from experiments.state import TrainState
from experiments.tasks import Task
import jaxmix
from jaxmix import theory

# Examples at once, each with a second derivative of the whole network.
_BLOCK = 16
# Each class costs a backward pass an example: too many for a thousand.
_MAX_CLASSES = 100

Values = dict[str, jax.Array]


FREE: frozenset[str] = frozenset()


# Mixup's theory on the first examples of the evaluation set.
KEYS = {
  "monitor": domains.choice("", ("", "theory")),
  "monitor_examples": domains.integer(32, 1, 2**16),
}


def check(config: ConfigDict) -> None:
  """Raises ValueError for more examples than there are at once."""
  # They are of the first evaluation batch, whose size may change on resume.
  if config.monitor and config.monitor_examples > config.eval_batch_size:
    raise ValueError(
      f"monitor_examples={config.monitor_examples} must not exceed "
      f"eval_batch_size={config.eval_batch_size}."
    )


def create(
  config: ConfigDict,
  spec: Spec,
  task: Task,
  law: jaxmix.MixingPolicy | None,
  axis_name: str,
) -> Callable[[TrainState, Batch], Values]:
  """Returns (state, one replica's evaluation batch) -> float32 scalars.

  Every replica computes all of it, on the first config.monitor_examples of the
  replicas' batches together: the values do not depend on their number, and
  compare between runs. Distances are from the batch's mean, in units of the
  normalised input.

  theory_r1, theory_r2, theory_r3: the regularizers, in nats.
  theory_radius, theory_mean_radius: eps_mix, and the mean of eps_i.
  theory_min_coefficient, theory_negative_coefficients: the smallest of
    alpha_{k,i}, and the share of them below zero; up to 100 classes only.

  Args:
    config: resolved.
    spec: for its scale and number of examples.
    task: whose outputs are the theory's logits.
    law: the method's policy.
    axis_name: the mapped axis.

  Raises:
    ValueError: if the task's loss is not the theory's, or the method has no law
      of lam.
  """
  if task.link != "softmax" or law is None:
    raise ValueError(
      "monitor='theory' needs the softmax cross-entropy and a method with a "
      f"law of lam, got task={config.task!r}, loss={config.loss!r}, "
      f"method={config.method!r}."
    )
  if not isinstance(spec.inputs, jax.ShapeDtypeStruct):
    raise ValueError(
      "monitor='theory' needs inputs that are one array, got "
      f"{jax.tree.structure(spec.inputs)} of dataset={config.dataset!r}."
    )
  # Second derivatives are worth nothing in bfloat16.
  network = networks.create(
    config, spec, task.num_outputs, axis_name=None, dtype="float32"
  )
  size = min(config.monitor_examples, spec.num_eval)

  def monitor(state, batch):
    batch = jax.tree.map(
      lambda x: jax.lax.all_gather(x, axis_name, tiled=True), batch
    )
    # Padding is at the end of each process's share.
    first = jnp.argsort(~batch["mask"], stable=True)[:size]
    inputs = spec.scale.to_float(batch["inputs"][first], jnp.float32)
    labels = batch["label"][first]
    centre = jnp.mean(inputs, axis=0, keepdims=True)

    def logit_fn(moved):
      at = moved + centre
      return network.apply(state.params, state.batch_stats, at)[0]

    data = logit_fn, inputs - centre, labels
    terms = theory.regularizers(*data, policy=law, examples_at_once=_BLOCK)
    radius = theory.mixup_radius(*data, policy=law)
    values = {
      "theory_r1": terms.r1,
      "theory_r2": terms.r2,
      "theory_r3": terms.r3,
      "theory_radius": radius.uniform,
      "theory_mean_radius": jnp.mean(radius.per_example),
    }
    if task.num_outputs <= _MAX_CLASSES:
      alpha = theory.direction_coefficients(*data, examples_at_once=_BLOCK)
      values["theory_min_coefficient"] = jnp.min(alpha)
      values["theory_negative_coefficients"] = jnp.mean(
        (alpha < 0.0).astype(jnp.float32)
      )
    return values

  return monitor
