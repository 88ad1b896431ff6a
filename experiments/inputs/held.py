"""A part of the training examples held out to evaluate on.

What evaluations were of, the test set, is then looked at when a run is over:
temperatures, settings and lengths are chosen on other examples.
"""

from __future__ import annotations

from typing import Any

import jax
from ml_collections import ConfigDict
import numpy as np

from experiments.inputs.dataset import Arrays, Spec


def count(config: ConfigDict, num_train: int) -> int:
  """How many of so many training examples are held out."""
  fraction = _fraction(config)
  return max(1, round(fraction * num_train)) if fraction else 0


def _fraction(config: ConfigDict) -> float:
  try:
    return config["validation_fraction"]
  except KeyError:  # a config of little more than the data set's name
    return 0.0


def apart(data: Arrays, config: ConfigDict) -> Arrays:
  """Returns the arrays with their evaluation part as the test part.

  Which examples are held out the split's seed decides, or else the run's.

  Args:
    data: as loaded.
    config: reads validation_fraction, and split_seed and seed where it is not
      0.

  Raises:
    ValueError: if the data set has a validation part of its own.
  """
  if not _fraction(config):
    return data
  if data.test_labels is not None:
    raise ValueError(
      f"validation_fraction must be 0 for dataset={config.dataset!r}, which "
      f"has a validation part of its own; got {config.validation_fraction}."
    )
  total = len(data.train_labels)
  seed = config.seed if config.split_seed is None else config.split_seed
  order = np.random.default_rng((seed, total)).permutation(total)
  held, rest = np.split(order, [count(config, total)])
  # In the order of the file: shuffled they are in training.
  held, rest = np.sort(held), np.sort(rest)

  def rows(tree: Any, at: np.ndarray) -> Any:
    return jax.tree.map(lambda x: x[at], tree)

  return data._replace(
    train_inputs=rows(data.train_inputs, rest),
    train_labels=data.train_labels[rest],
    eval_inputs=rows(data.train_inputs, held),
    eval_labels=data.train_labels[held],
    test_inputs=data.eval_inputs,
    test_labels=data.eval_labels,
  )


def described(spec: Spec, config: ConfigDict) -> Spec:
  """Returns a known data set's spec where a part is held out.

  Its scale stays that of all training examples.
  """
  held = count(config, spec.num_train)
  if not held:
    return spec
  return spec._replace(num_train=spec.num_train - held, num_eval=held)
