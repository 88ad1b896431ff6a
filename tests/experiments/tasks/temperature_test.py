import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, special

from experiments.configs import common, digits
from experiments.tasks import classification, temperature


def examples(seed, sharpness, count=200):
  """Logits that are right about probabilities, but for their sharpness."""
  rng = np.random.default_rng(seed)
  logits = rng.normal(size=(count, 4)) * 2.0
  drawn = rng.gumbel(size=logits.shape)
  labels = np.argmax(logits + drawn, axis=-1)
  return (logits * sharpness).astype(np.float32), labels.astype(np.int32)


def likelihood(logits, labels, t):
  logp = special.log_softmax(np.asarray(logits, np.float64) / t, axis=-1)
  return -logp[np.arange(len(labels)), labels].mean()


def calibration_error(logits, labels, t):
  p = special.softmax(np.asarray(logits, np.float64) / t, axis=-1)
  confidence, right = p.max(-1), p.argmax(-1) == labels
  gap = 0.0
  for k in range(15):
    inside = (confidence > k / 15) & (confidence <= (k + 1) / 15)
    gap += abs(confidence[inside].sum() - right[inside].sum())
  return gap / len(labels)


def sums(logits, labels, mask=None):
  mask = np.ones(len(labels), bool) if mask is None else mask
  return temperature.sums(
    jnp.asarray(logits), jnp.asarray(labels), jnp.asarray(mask)
  )


def test_held_out_examples_choose_and_others_are_told_of():
  held, held_labels = examples(0, sharpness=3.0)
  logits, labels = examples(1, sharpness=3.0)
  found = temperature.scaled(sums(held, held_labels), sums(logits, labels), 200)
  best = optimize.minimize_scalar(
    lambda t: likelihood(held, held_labels, t),
    bounds=(0.1, 10),
    method="bounded",
  ).x
  t = found["temperature"]
  assert abs(np.log2(t / best)) <= 0.125  # a step of the row
  assert t == pytest.approx(3.0, rel=0.25)
  assert found["scaled_loss"] == pytest.approx(
    likelihood(logits, labels, t), rel=1e-5
  )
  assert found["scaled_calibration_error"] == pytest.approx(
    calibration_error(logits, labels, t), rel=1e-4
  )
  assert found["scaled_loss"] < likelihood(logits, labels, 1.0)
  # Those told of do not choose: their own best is another.
  own = temperature.choose(sums(logits, labels))
  assert temperature.TEMPERATURES[own] != t


def test_batches_add_up_and_padding_does_not_count():
  logits, labels = examples(2, sharpness=0.5, count=30)
  padded = np.concatenate([logits, np.full((2, 4), 9.0, np.float32)])
  told = np.concatenate([labels, np.zeros(2, np.int32)])
  mask = np.arange(32) < 30
  parts = [
    sums(padded[k : k + 16], told[k : k + 16], mask[k : k + 16])
    for k in (0, 16)
  ]
  whole = sums(logits, labels)
  for name, value in whole.items():
    np.testing.assert_allclose(
      parts[0][name] + parts[1][name], value, rtol=2e-5, atol=1e-5
    )


def test_at_temperature_one_it_is_the_plain_line():
  logits, labels = examples(3, sharpness=1.0)
  one = int(np.argmin(np.abs(temperature.TEMPERATURES - 1.0)))
  assert temperature.TEMPERATURES[one] == 1.0
  found = {k: v[one] for k, v in sums(logits, labels).items()}
  plain = classification.evaluation_sums(
    jnp.asarray(logits),
    jnp.asarray(labels),
    jnp.ones(200, bool),
    classification.LOSSES["cross_entropy"],
  )
  for name, value in found.items():
    np.testing.assert_allclose(value, plain[name], rtol=1e-5)


def test_is_refused_where_there_is_no_softmax():
  config = digits.get_config(
    "loss=logistic,temperature_scaling=True,fgsm_epsilon=0.0"
  )
  with pytest.raises(ValueError, match="temperature_scaling does not apply"):
    common.resolve(config)
