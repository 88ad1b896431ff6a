"""Classification by angles: outputs against fixed embeddings of the labels.

"MixUp as Directional Adversarial Training" (2020), section 6: the loss is -v .
e_y for the unit vector v along the outputs and a random unit vector e_y a
class. The paper embeds 10 classes in 300 dimensions and 100 in 700.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments import domains
from experiments.inputs.dataset import Spec
from experiments.tasks import attacks, classification
from experiments.tasks.task import Measure, Task
import jaxmix

LOSS = Measure("loss", "negative_cosine", "negative cosine", decimals=4)


# The keys of this task alone.
KEYS = {
  "embedding_dim": domains.integer(300, 1, 2**16),
  "embedding_orthonormal": domains.boolean(False),
  # Not `seed`: runs that differ in their seed train on the same targets.
  "embedding_seed": domains.integer(0, 0, 2**32 - 1),
}


def check(config: ConfigDict) -> None:
  """Raises ValueError for what this task cannot do."""
  if config.task != "cosine":
    return
  if config.label_smoothing:
    raise ValueError(
      "label_smoothing does not apply to task='cosine': its targets are "
      "vectors."
    )
  if config.loss != "cross_entropy":
    raise ValueError(
      f"loss={config.loss!r} does not apply to task='cosine', whose loss is "
      "the negative cosine."
    )
  if attacks.names(config):
    raise ValueError(
      f"{attacks.names(config)[0]}_epsilon does not apply to task='cosine': "
      "attacks climb the cross-entropy of logits."
    )


def create(config: ConfigDict, spec: Spec) -> Task:
  """Returns the task of a data set's classes."""
  embeddings = jaxmix.label_embeddings(
    jax.random.key(config.embedding_seed),
    spec.num_classes,
    config.embedding_dim,
    orthonormal=config.embedding_orthonormal,
  )

  def loss_fn(outputs, labels):
    return jaxmix.negative_cosine(outputs, embeddings[labels])

  def hit(outputs, labels):
    # The nearest embedding by angle: the outputs' length is common to all.
    return classification.hit(outputs @ embeddings.T, labels)

  def sums(predict, batch):
    labels, mask = batch["label"], batch["mask"]
    outputs = predict(batch["inputs"])
    losses = loss_fn(outputs, labels)
    return {
      "loss": jnp.sum(jnp.where(mask, losses, 0.0)),
      "correct": jnp.sum(jnp.where(mask, hit(outputs, labels), 0.0)),
    }

  def means(sums, examples):
    return {
      "loss": float(sums["loss"]) / examples,
      "accuracy": float(sums["correct"]) / examples,
    }

  return Task(
    num_outputs=config.embedding_dim,
    loss_fn=loss_fn,
    link=None,
    hits={"accuracy": hit},
    sums=sums,
    means=means,
    measures=measures(config),
  )


def measures(config: Mapping[str, Any]) -> tuple[Measure, ...]:
  """What evaluation lines hold."""
  del config
  return (classification.ERROR, LOSS)
