"""The sums of an evaluation and its attacks, by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from experiments import tasks, train
from experiments.configs import common, digits
from experiments.inputs import images
from experiments.tasks import attacks, classification

LOSS = classification.LOSSES["cross_entropy"]


@pytest.mark.parametrize(
  "norm, moved",
  # The loss of class 0 rises along (-1, 2); the second example meets a bound.
  [
    ("linf", [[0.2, 0.7], [0.0, 0.9]]),
    ("l2", [[0.5 - 0.3 / 5**0.5, 0.4 + 0.6 / 5**0.5]]),
  ],
)
def test_attacks_by_hand(norm, moved):
  """Outputs tell where the attack ended, in raw units of 200 a pixel."""
  weights = jnp.array([[1.0, 0.0], [0.0, 2.0]])
  config = digits.get_config(
    f"pgd_epsilon=0.3,pgd_norm={norm},pgd_steps=3,fgsm_epsilon=0.25"
  )
  found = dict(
    attacks.attacked(
      common.resolve(config),
      lambda x: (x / 200.0) @ weights,
      200.0 * jnp.array([[0.5, 0.4], [0.1, 0.6]]),
      jnp.array([0, 0]),
      (0.0, 200.0),
    )
  )
  assert list(found) == ["fgsm", "pgd"]
  fgsm = np.array([[0.25, 0.65], [0.0, 0.85]])
  np.testing.assert_allclose(found["fgsm"], fgsm @ weights, rtol=1e-6)
  moved = np.array(moved)
  np.testing.assert_allclose(
    found["pgd"][: len(moved)], moved @ weights, rtol=1e-5
  )


@pytest.mark.parametrize("sure", [1.0, 20.0, 1e3, 1e6])
def test_how_sure_a_network_is_does_not_guard_it(sure):
  """Its cross-entropy has no gradient left in float32; its log-odds have."""
  config = digits.get_config("fgsm_epsilon=0.25,pgd_epsilon=0.25,pgd_steps=2")
  found = attacks.attacked(
    common.resolve(config),
    lambda x: sure * x,
    jnp.array([[0.6, 0.4], [0.9, 0.1]]),
    jnp.array([0, 0]),
    (0.0, 1.0),
  )
  expected = {"fgsm": [[0.35, 0.65], [0.65, 0.35]]}
  expected["pgd"] = expected["fgsm"]
  for name, outputs in found:
    np.testing.assert_allclose(
      outputs, sure * np.array(expected.pop(name)), rtol=1e-5
    )
  assert not expected


def test_attacks_need_a_box():
  config = common.resolve(digits.get_config())
  attacks.check_bounds(config, (0.0, 255.0))
  with pytest.raises(
    ValueError, match="fgsm_epsilon does not apply to dataset='digits'.*bounds"
  ):
    attacks.check_bounds(config, None)


def test_top_five_counts_where_there_are_many_classes():
  logits = jnp.zeros((2, 30)).at[0, :6].set(jnp.arange(6.0)).at[1, 7].set(1.0)
  labels = jnp.array([1, 7])
  sums = classification.evaluation_sums(
    logits, labels, jnp.array([True, True]), LOSS
  )
  assert float(sums["top5_correct"]) == 2.0
  labels = jnp.array([0, 7])
  sums = classification.evaluation_sums(
    logits, labels, jnp.array([True, False]), LOSS
  )
  assert float(sums["top5_correct"]) == 0.0
  few = classification.evaluation_sums(
    logits[:, :20], labels, jnp.array([True, True]), LOSS
  )
  assert "top5_correct" not in few


def test_logistic_losses_by_hand():
  """log(1 + e^f) for the rest, log(1 + e^-f) for the label; smoothed apart."""
  config = common.resolve(
    digits.get_config("loss=logistic,fgsm_epsilon=0.0,label_smoothing=0.2")
  )
  task = tasks.create(config, images.DIGITS._replace(num_classes=2))
  assert (task.num_outputs, task.link) == (2, "sigmoid")
  logits, labels = jnp.array([[0.0, np.log(3.0)]]), jnp.array([1])
  plain = np.log(2.0) + np.log(4.0 / 3.0)
  sums = task.sums(
    lambda inputs: logits,
    {"inputs": logits, "label": labels, "mask": jnp.array([True])},
  )
  np.testing.assert_allclose(sums["loss"], plain, rtol=1e-6)
  # The confidence is the sigmoid's 3/4, in the bin (11/15, 12/15].
  np.testing.assert_allclose(sums["bin_confidence"][11], 0.75, rtol=1e-6)
  # Targets (0.1, 0.9): each moves its loss by 0.1 f.
  smoothed = plain + 0.1 * np.log(3.0)
  np.testing.assert_allclose(
    task.loss_fn(logits, labels), [smoothed], rtol=1e-6
  )
  assert [m.key for m in task.measures][1] == "logistic_loss_nats"


def test_mixupe_trains_on_logistic_losses(tmp_path):
  config = digits.get_config(
    "method=mixupe,loss=logistic,fgsm_epsilon=0.0,model=mlp,batch_size=64,"
    "total_steps=40,warmup_steps=5,eval_every=40,log_every=20,eta=0.1"
  )
  config.model_options.features = (32,)
  result = train.train_and_evaluate(config, tmp_path)
  assert result["accuracy"] > 0.7


def test_attacks_on_logistic_losses_are_refused():
  with pytest.raises(ValueError, match="fgsm_epsilon does not apply to loss="):
    common.resolve(digits.get_config("loss=logistic"))
