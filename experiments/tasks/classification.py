"""Classification: one of K classes, by cross-entropy or K logistic losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import optax

from experiments import domains
from experiments.inputs.dataset import Batch, Spec
from experiments.tasks import attacks, calibration, temperature
from experiments.tasks.task import Measure, Sums, Task
import jaxmix

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
LOGISTIC = Measure(
  "loss", "logistic_loss_nats", "logistic loss", "nats", decimals=4
)
TOP5 = Measure(
  "accuracy_top5", "top5_error_percent", "top-5 error", "%", -100.0, 1.0
)
_SCALED = (
  "Scaled: of logits divided by the temperature that is best on the validation "
  "part.",
)
SCALED_LIKELIHOOD = Measure(
  "scaled_loss",
  "scaled_negative_log_likelihood_nats",
  "scaled negative log-likelihood",
  "nats",
  decimals=4,
  notes=_SCALED,
)
SCALED_CALIBRATION = Measure(
  "scaled_calibration_error",
  "scaled_calibration_error_percent",
  "scaled calibration error",
  "%",
  100.0,
  notes=_SCALED,
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


class Loss(NamedTuple):
  """A loss of one of K classes.

  Attributes:
    value: (logits [B, K], labels [B], label smoothing) -> [B], in nats.
    link: see `Task`.
    probabilities: logits -> [B, K], what the calibration is of.
    measure: its mean over the evaluation examples.
  """

  value: Callable[[jax.Array, jax.Array, float], jax.Array]
  link: str
  probabilities: Callable[[jax.Array], jax.Array]
  measure: Measure


def _cross_entropy(logits, labels, smoothing):
  return jaxmix.losses.softmax_cross_entropy(
    logits, labels, label_smoothing=smoothing
  )


def _logistic(logits, labels, smoothing):
  targets = jax.nn.one_hot(labels, logits.shape[-1], dtype=jnp.float32)
  targets = optax.smooth_labels(targets, smoothing)
  return jnp.sum(jaxmix.losses.logistic(logits, targets), axis=-1)


LOSSES: dict[str, Loss] = {
  "cross_entropy": Loss(_cross_entropy, "softmax", jax.nn.softmax, LIKELIHOOD),
  "logistic": Loss(_logistic, "sigmoid", jax.nn.sigmoid, LOGISTIC),
}


# The keys of classification alone.
KEYS = {
  # logistic: K losses, of one class against the rest each.
  "loss": domains.choice("cross_entropy", LOSSES),
  "label_smoothing": domains.number(0.0, "[0, 1]"),
  # Beside the others, what evaluations say of logits divided by a temperature
  # that the evaluation part chose: of a data set's test part.
  "temperature_scaling": domains.boolean(False),
}


def check(config: ConfigDict) -> None:
  """Raises ValueError for what no data set could make right."""
  if config.loss == "logistic" and attacks.names(config):
    raise ValueError(
      f"{attacks.names(config)[0]}_epsilon does not apply to loss='logistic': "
      "attacks climb the cross-entropy of logits."
    )
  if config.loss == "logistic" and config.temperature_scaling:
    raise ValueError(
      "temperature_scaling does not apply to loss='logistic': it is of the "
      "softmax."
    )


def create(config: ConfigDict, spec: Spec) -> Task:
  """Returns the task of a data set's classes.

  Raises:
    ValueError: if attacks are asked for on inputs that have no bounds.
  """
  attacks.check_bounds(config, spec.scale.bounds)

  loss = LOSSES[config.loss]

  def loss_fn(logits, labels):
    return loss.value(logits, labels, config.label_smoothing)

  if config.loss == "cross_entropy" and not config.label_smoothing:
    # The function itself, by which MixupE knows its penalty's closed form.
    loss_fn = jaxmix.losses.softmax_cross_entropy

  def sums(predict: Callable[[Any], jax.Array], batch: Batch) -> Sums:
    inputs, labels, mask = batch["inputs"], batch["label"], batch["mask"]
    logits = predict(inputs)
    found: Sums = evaluation_sums(logits, labels, mask, loss)
    if config.temperature_scaling:
      found["at_temperatures"] = temperature.sums(logits, labels, mask)
    for name, moved in attacks.attacked(
      config, predict, inputs, labels, spec.scale.bounds
    ):
      found[f"{name}_correct"] = count((best(moved) == labels) & mask)
    return found

  return Task(
    num_outputs=spec.num_classes,
    loss_fn=loss_fn,
    link=loss.link,
    hits={"accuracy": hit},
    sums=sums,
    means=means,
    measures=measures(config),
    scaled=scaled if config.temperature_scaling else None,
    diagram=calibration.diagram,
  )


def best(logits: jax.Array) -> jax.Array:
  """The most likely class, [B]."""
  return jnp.argmax(logits, axis=-1)


def hit(logits: jax.Array, labels: jax.Array) -> jax.Array:
  """1 where the most likely class is the label, else 0: float32 [B]."""
  return (best(logits) == labels).astype(jnp.float32)


def evaluation_sums(
  logits: jax.Array,
  labels: jax.Array,
  mask: jax.Array,
  loss: Loss,
) -> Sums:
  """The sums over real examples that `means` divides.

  loss (without smoothing), correct, top5_correct where there are
  more than 20 classes, and confidence, correct and count in equal bins of
  confidence.
  """
  losses = loss.value(logits, labels, 0.0)
  correct = (best(logits) == labels) & mask
  sums = {
    "loss": jnp.sum(jnp.where(mask, losses, 0.0)),
    "correct": count(correct),
    **calibration.sums(loss.probabilities(logits), correct, mask),
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
  fields = {
    "loss": float(sums["loss"]) / examples,
    "accuracy": float(sums["correct"]) / examples,
    "calibration_error": calibration.error(sums, examples),
  }
  for key, measure in (
    ("top5_correct", TOP5),
    ("fgsm_correct", FGSM),
    ("pgd_correct", PGD),
  ):
    if key in sums:
      fields[measure.field] = float(sums[key]) / examples
  return fields


def scaled(
  held: Mapping[str, Any], sums: Mapping[str, Any], examples: float
) -> dict[str, float]:
  """The fields at the temperature that held-out examples chose."""
  name = "at_temperatures"
  return temperature.scaled(held[name], sums[name], examples)


def measures(config: Mapping[str, Any]) -> tuple[Measure, ...]:
  """What evaluation lines hold under a config; top-5 only of many classes."""
  found = [ERROR, _loss_of(config).measure, CALIBRATION]
  if config.get("temperature_scaling"):
    found += [SCALED_LIKELIHOOD, SCALED_CALIBRATION]
  for name in attacks.names(config):
    measure = {"fgsm": FGSM, "pgd": PGD}[name]
    title = measure.name
    if name == "pgd":
      title = title.replace("PGD", f"PGD-{config['pgd_steps']}")
      title = f"l2 {title}" if config["pgd_norm"] == "l2" else title
    title += f" at ε = {config[f'{name}_epsilon']:.3g}"
    found.append(measure._replace(name=title))
  return (*found, TOP5)


def every(config: Mapping[str, Any]) -> tuple[Measure, ...]:
  """All that runs of the config's loss can have, in the order of tables."""
  first = [ERROR, _loss_of(config).measure, CALIBRATION]
  if config.get("temperature_scaling"):
    first += [SCALED_LIKELIHOOD, SCALED_CALIBRATION]
  return (*first, FGSM, PGD, TOP5)


def _loss_of(config: Mapping[str, Any]) -> Loss:
  # Runs from before there was a choice do not have the key.
  return LOSSES[config.get("loss", "cross_entropy")]


def count(claims: jax.Array) -> jax.Array:
  """How many are true, float32."""
  # Exact up to 2^24 examples.
  return jnp.sum(claims, dtype=jnp.float32)
