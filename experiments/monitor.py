"""Mixup's theory on a held-out batch while a run trains: monitor="theory".

Once an evaluation, on the live weights in evaluation mode, the terms of Lemma
3.1 of Zhang et al. (2021), the radius of their Theorems 3.1 and 3.3, and the
coefficients of MixupE's eq. (3), under the law of the run's own method. The
second-order terms are estimated along a few random directions, and the lines
say by how much they may be off; along all of them a call costs ten times as
much.
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

# Passes at once, each with a second derivative of the whole network.
_BLOCK = 16
# Each class costs a backward pass an example for its coefficient's length: too
# many for a thousand.
_MAX_CLASSES = 100

Values = dict[str, jax.Array]


FREE: frozenset[str] = frozenset()


# Mixup's theory on the first examples of the evaluation set.
KEYS = {
  "monitor": domains.choice("", ("", "theory")),
  "monitor_examples": domains.integer(32, 1, 2**16),
  # Random directions an example; 0 takes every direction.
  "monitor_probes": domains.integer(2, 0, 2**16),
}


def check(config: ConfigDict) -> None:
  """Raises ValueError for more examples than there are, or a single probe."""
  # They are of the first evaluation batch, whose size may change on resume.
  if config.monitor and config.monitor_examples > config.eval_batch_size:
    raise ValueError(
      f"monitor_examples={config.monitor_examples} must not exceed "
      f"eval_batch_size={config.eval_batch_size}."
    )
  if config.monitor and config.monitor_probes == 1:
    raise ValueError(
      "monitor_probes must be at least 2, whose spread tells their error, or 0 "
      "for every direction, got 1."
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

  theory_r1, theory_r2, theory_r3: the regularizers, in nats; the last two
    estimated, but for config.monitor_probes = 0.
  theory_r2_error, theory_r3_error: standard errors of those estimates. The
    directions are the same at every evaluation, so that what changes between
    two is the network.
  theory_radius, theory_mean_radius: eps_mix, and the mean of eps_i.
  theory_negative_coefficients: the share of alpha_{k,i} below zero.
  theory_min_coefficient: the smallest of them, with config.monitor_probes = 0
    alone: their lengths cost a backward pass a class, more than all the rest.
    Neither is told then of more than 100 classes.

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
    terms = exact if config.monitor_probes == 0 else probed
    radius = theory.mixup_radius(*data, policy=law)
    return {
      "theory_radius": radius.uniform,
      "theory_mean_radius": jnp.mean(radius.per_example),
    } | terms(*data)

  def exact(*data):
    terms = theory.regularizers(*data, policy=law, examples_at_once=_BLOCK)
    values = _named(terms)
    if task.num_outputs <= _MAX_CLASSES:
      alpha = theory.direction_coefficients(*data, examples_at_once=_BLOCK)
      values["theory_min_coefficient"] = jnp.min(alpha)
      values["theory_negative_coefficients"] = _negative(alpha)
    return values

  def probed(*data):
    num_probes = config.monitor_probes
    terms = theory.probed_regularizers(
      jax.random.key(0),
      *data,
      policy=law,
      num_probes=num_probes,
      examples_at_once=max(1, _BLOCK // (num_probes + 1)),
    )
    errors = {
      "theory_r2_error": terms.error.r2,
      "theory_r3_error": terms.error.r3,
    }
    values = _named(terms.value) | errors
    signs = theory.direction_signs(*data, examples_at_once=_BLOCK)
    return values | {"theory_negative_coefficients": _negative(signs)}

  return monitor


def _named(terms: theory.Regularizers) -> Values:
  return {f"theory_{name}": value for name, value in terms._asdict().items()}


def _negative(values: jax.Array) -> jax.Array:
  return jnp.mean((values < 0.0).astype(jnp.float32))
