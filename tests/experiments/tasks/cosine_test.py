"""Negative cosines against fixed embeddings: by hand, and trained."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import tasks, train
from experiments.configs import common, digits
from experiments.inputs import images
import jaxmix

ARG = "task=cosine,fgsm_epsilon=0.0,model=mlp,embedding_dim=12"


def create(arg=ARG):
  config = common.resolve(digits.get_config(f"method=mixup,{arg}"))
  return config, tasks.create(config, images.DIGITS)


def test_loss_and_hits_by_hand():
  config, task = create()
  embeddings = np.asarray(
    jaxmix.label_embeddings(jax.random.key(config.embedding_seed), 10, 12)
  )
  assert task.num_outputs == 12 and task.link is None
  outputs = jnp.stack([2.0 * embeddings[3], -embeddings[4]])
  labels = jnp.array([3, 4])
  np.testing.assert_allclose(
    task.loss_fn(outputs, labels), [-1.0, 1.0], rtol=1e-6
  )
  np.testing.assert_array_equal(task.hits["accuracy"](outputs, labels), [1, 0])


def test_sums_count_real_examples_only():
  _, task = create()
  outputs = jnp.ones((3, 12))
  batch = {
    "inputs": outputs,
    "label": jnp.array([0, 1, 2]),
    "mask": jnp.array([True, True, False]),
  }
  sums = task.sums(lambda inputs: inputs, batch)
  losses = task.loss_fn(outputs, batch["label"])
  np.testing.assert_allclose(sums["loss"], losses[:2].sum(), rtol=1e-6)
  assert task.means({"loss": -3.0, "correct": 1.0}, 4.0) == {
    "loss": -0.75,
    "accuracy": 0.25,
  }


def test_it_trains_and_is_reported(tmp_path):
  config = digits.get_config(
    f"method=mixup,{ARG},total_steps=100,eval_every=100,log_every=50,"
    "batch_size=64,warmup_steps=5,optimizer=adamw,learning_rate=0.01"
  )
  config.model_options.features = (32,)
  result = train.train_and_evaluate(config, tmp_path)
  assert result["accuracy"] > 0.6 and -1.0 < result["loss"] < -0.4
  from experiments import report

  text = report.write([tmp_path], tmp_path / "report")
  assert "negative cosine" in text and "calibration" not in text


@pytest.mark.parametrize(
  ("arg", "message"),
  [
    ("embedding_dim=0", "embedding_dim must be an integer from 1"),
    ("label_smoothing=0.1", "label_smoothing does not apply to task='cosine'"),
    ("loss=logistic", "loss='logistic' does not apply to task='cosine'"),
    ("fgsm_epsilon=0.1", "fgsm_epsilon does not apply to task='cosine'"),
  ],
)
def test_what_does_not_apply_is_refused(arg, message):
  with pytest.raises(ValueError, match=message):
    common.resolve(digits.get_config(f"{ARG},{arg}"))


def test_mixupe_has_no_penalty_here():
  config = common.resolve(digits.get_config(f"method=mixupe,{ARG}"))
  task = tasks.create(config, images.DIGITS)
  from experiments import methods

  with pytest.raises(ValueError, match="task='cosine' does not have"):
    methods.create(config, task, "batch")
