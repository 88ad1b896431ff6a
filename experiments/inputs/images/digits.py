"""scikit-learn's digits: embedded, so that a first run needs no files."""

from __future__ import annotations

import jax
from ml_collections import ConfigDict
import numpy as np

from experiments.inputs import scale
from experiments.inputs.dataset import Arrays, Spec

# Mean and standard deviation are those of the training pixels, see `known`.
DIGITS = Spec(
  inputs=jax.ShapeDtypeStruct((8, 8, 1), np.uint8),
  num_classes=10,
  num_train=600,
  num_eval=1197,
  scale=scale.pixels(mean=[77.71338541666667], std=[95.72552389513095]),
)


def load_digits(config: ConfigDict) -> Arrays:
  """scikit-learn's digits: 600 to train on, 1,197 to test, 8 x 8 x 1.

  The split is fixed, stratified and the same for every seed. Pixels go from
  0..16 to 0..255.
  """
  del config
  from sklearn.datasets import load_digits as load
  from sklearn.model_selection import train_test_split

  digits = load()
  images = np.round(digits.images * (255.0 / 16.0)).astype(np.uint8)[..., None]
  labels = digits.target.astype(np.int32)
  train_x, eval_x, train_y, eval_y = train_test_split(
    images,
    labels,
    train_size=DIGITS.num_train,
    random_state=0,
    stratify=labels,
  )
  return Arrays(train_x, train_y, eval_x, eval_y, DIGITS.num_classes)
