"""Classification: one of K classes, under softmax or K logistic losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments.inputs.dataset import Batch, Spec
from experiments.tasks import attacks
from experiments.tasks.task import Measure, Sums, Task
import jaxmix

CALIBRATION_BINS = 15
# Classes from which on the right one among the best five says something.
TOP5_CLASSES = 21

ERROR = Measure("accuracy", "error_percent", "test error", "%", -100.0, 1.0)
LIKELIHOOD = Measure(
  "loss",
  "negative_log_likelihood_nats",
  "negative log-likelihood",
  "nats",
  decimals=4,
)
CALIBRATION = Measure(
  "calibration_error",
  "calibration_error_percent",
  "expected calibration error",
  "%",
  100.0,
)
TOP5 = Measure(
  "accuracy_top5", "top5_error_percent", "top-5 error", "%", -100.0, 1.0
)
_ON_PIXELS = "ε is on the [0, 1] pixel scale."
_PGD = (
  "PGD-n takes n steps of 2.5 ε / n from the image itself, within ε of it in "
  "l∞ unless l2 is said."
)
FGSM = Measure(
  "fgsm_accuracy",
  "fgsm_error_percent",
  "FGSM error",
  "%",
  -100.0,
  1.0,
  notes=(_ON_PIXELS,),
)
PGD = Measure(
  "pgd_accuracy",
  "pgd_error_percent",
  "PGD error",
  "%",
  -100.0,
  1.0,
  notes=(_ON_PIXELS, _PGD),
)
EVERY = (ERROR, LIKELIHOOD, CALIBRATION, FGSM, PGD, TOP5)


def defaults() -> ConfigDict:
  """The keys of classification alone."""
  config = ConfigDict()
  config.label_smoothing = 0.0
  return config


def check(config: ConfigDict) -> None:
  """Raises ValueError for a label_smoothing that is no share."""
  if not 0.0 <= config.label_smoothing <= 1.0:
    raise ValueError(
      f"label_smoothing must lie in [0, 1], got {config.label_smoothing}."
    )


def create(config: ConfigDict, spec: Spec) -> Task:
  """Returns the task of a data set's classes.

  Raises:
    ValueError: if attacks are asked for on inputs that have no bounds.
  """
  attacks.check_bounds(config, spec.scale.bounds)

  def loss_fn(logits, labels):
    return jaxmix.losses.softmax_cross_entropy(
      logits, labels, label_smoothing=config.label_smoothing
    )

  def sums(predict: Callable[[Any], jax.Array], batch: Batch) -> Sums:
    inputs, labels, mask = batch["inputs"], batch["label"], batch["mask"]
    logits = predict(inputs)
    found = evaluation_sums(logits, labels, mask)
    for name, moved in attacks.attacked(
      config, predict, inputs, labels, spec.scale.bounds
    ):
      found[f"{name}_correct"] = count((best(moved) == labels) & mask)
    return found

  return Task(
    num_outputs=spec.num_classes,
    loss_fn=loss_fn,
    link="softmax",
    hits={"accuracy": hit},
    sums=sums,
    means=means,
    measures=measures(config),
  )


def best(logits: jax.Array) -> jax.Array:
  """The most likely class, [B]."""
  return jnp.argmax(logits, axis=-1)


def hit(logits: jax.Array, labels: jax.Array) -> jax.Array:
  """1 where the most likely class is the label, else 0: float32 [B]."""
  return (best(logits) == labels).astype(jnp.float32)


def evaluation_sums(
  logits: jax.Array, labels: jax.Array, mask: jax.Array
) -> Sums:
  """The sums over real examples that `means` divides.

  loss (negative log-likelihood, nats), correct, top5_correct where there are
  more than 20 classes, and confidence and correct in equal bins of confidence.
  """
  losses = jaxmix.losses.softmax_cross_entropy(logits, labels)
  correct = (best(logits) == labels) & mask
  confidence = jnp.max(jax.nn.softmax(logits), axis=-1)
  bins = jnp.clip(
    jnp.ceil(confidence * CALIBRATION_BINS).astype(jnp.int32) - 1,
    0,
    CALIBRATION_BINS - 1,
  )
  empty = jnp.zeros(CALIBRATION_BINS, jnp.float32)
  sums = {
    "loss": jnp.sum(jnp.where(mask, losses, 0.0)),
    "correct": count(correct),
    "bin_confidence": empty.at[bins].add(jnp.where(mask, confidence, 0.0)),
    "bin_correct": empty.at[bins].add(correct.astype(jnp.float32)),
  }
  if logits.shape[-1] >= TOP5_CLASSES:
    _, five = jax.lax.top_k(logits, 5)
    sums["top5_correct"] = count(jnp.any(five == labels[:, None], -1) & mask)
  return sums


def means(sums: Mapping[str, Any], examples: float) -> dict[str, float]:
  """Sums over all examples to the fields of an evaluation line.

  loss, accuracy, calibration_error (expected calibration error over 15 equal
  bins of confidence, Guo et al., 2017), and fgsm_accuracy, pgd_accuracy,
  accuracy_top5 where they were measured.
  """
  gaps = jnp.abs(sums["bin_confidence"] - sums["bin_correct"])
  fields = {
    "loss": float(sums["loss"]) / examples,
    "accuracy": float(sums["correct"]) / examples,
    "calibration_error": float(jnp.sum(gaps)) / examples,
  }
  for key, measure in (
    ("top5_correct", TOP5),
    ("fgsm_correct", FGSM),
    ("pgd_correct", PGD),
  ):
    if key in sums:
      fields[measure.field] = float(sums[key]) / examples
  return fields


def measures(config: Mapping[str, Any]) -> tuple[Measure, ...]:
  """What evaluation lines hold under a config; top-5 only of many classes."""
  found = [ERROR, LIKELIHOOD, CALIBRATION]
  for name in attacks.names(config):
    measure = {"fgsm": FGSM, "pgd": PGD}[name]
    title = measure.name
    if name == "pgd":
      title = title.replace("PGD", f"PGD-{config['pgd_steps']}")
      title = f"l2 {title}" if config["pgd_norm"] == "l2" else title
    title += f" at ε = {config[f'{name}_epsilon']:.3g}"
    found.append(measure._replace(name=title))
  return (*found, TOP5)


def count(claims: jax.Array) -> jax.Array:
  """How many are true, float32."""
  return jnp.sum(claims, dtype=jnp.float32)
