"""Schedules, weight decay masks and clipping, by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from experiments import optimizers
from experiments.configs import common
from experiments.networks import linen


def config(**changes):
  result = common.base()
  result.update(dict(total_steps=100, learning_rate=1.6) | changes)
  return result


def test_warm_up_from_zero_then_cosine_to_a_thousandth():
  rate = optimizers.schedule(config(warmup_steps=10))
  np.testing.assert_allclose(rate(0), 0.0)
  np.testing.assert_allclose(rate(5), 0.8, rtol=1e-6)
  np.testing.assert_allclose(rate(10), 1.6, rtol=1e-6)
  # Half-way down the cosine: the mean of the peak and the end.
  np.testing.assert_allclose(rate(55), (1.6 + 0.0016) / 2, rtol=1e-5)
  np.testing.assert_allclose(rate(100), 0.0016, rtol=1e-4)


def test_without_warm_up_it_starts_at_the_peak():
  np.testing.assert_allclose(optimizers.schedule(config())(0), 1.6, rtol=1e-6)


def test_a_warm_up_longer_than_the_run_is_an_error():
  with pytest.raises(ValueError, match="warmup_steps=100 .* total_steps=100"):
    optimizers.check(config(warmup_steps=100))


def test_only_kernels_decay():
  params = {
    "stem": {"kernel": jnp.ones(()), "bias": jnp.ones(())},
    "norm": {"scale": jnp.ones(()), "bias": jnp.ones(())},
    "cls": jnp.ones(()),
    "position_embedding": jnp.ones(()),
  }
  assert linen.decays(params) == {
    "stem": {"kernel": True, "bias": False},
    "norm": {"scale": False, "bias": False},
    "cls": False,
    "position_embedding": False,
  }


def test_sgd_has_l2_in_the_gradient_and_momentum():
  optimizer = optimizers.create(
    config(optimizer="sgd", learning_rate=0.5, weight_decay=0.1, momentum=0.9),
    linen.decays,
  )
  params = {"kernel": jnp.array(2.0), "bias": jnp.array(2.0)}
  grads = {"kernel": jnp.array(1.0), "bias": jnp.array(1.0)}
  state = optimizer.init(params)
  updates, state = optimizer.update(grads, state, params)
  np.testing.assert_allclose(updates["kernel"], -0.5 * 1.2, rtol=1e-6)
  np.testing.assert_allclose(updates["bias"], -0.5, rtol=1e-6)
  rate = float(optimizers.schedule(config(learning_rate=0.5))(1))
  updates, _ = optimizer.update(grads, state, params)
  np.testing.assert_allclose(updates["bias"], -rate * 1.9, rtol=1e-6)


def test_adamw_decays_apart_from_the_gradient():
  optimizer = optimizers.create(
    config(
      optimizer="adamw", learning_rate=0.1, weight_decay=0.3, b1=0.9, b2=0.99
    ),
    linen.decays,
  )
  params = {"kernel": jnp.array(2.0), "bias": jnp.array(2.0)}
  grads = {"kernel": jnp.array(5.0), "bias": jnp.array(5.0)}
  updates, _ = optimizer.update(grads, optimizer.init(params), params)
  # Adam's first step has size 1 whatever the gradient's.
  np.testing.assert_allclose(updates["bias"], -0.1, rtol=1e-5)
  np.testing.assert_allclose(updates["kernel"], -0.1 * 1.6, rtol=1e-5)


def test_clipping_is_by_the_global_norm():
  optimizer = optimizers.create(
    config(optimizer="sgd", learning_rate=1.0, momentum=0.0, grad_clip=1.0),
    linen.decays,
  )
  grads = {"kernel": jnp.array(3.0), "bias": jnp.array(4.0)}
  updates, _ = optimizer.update(grads, optimizer.init(grads), grads)
  np.testing.assert_allclose(updates["kernel"], -0.6, rtol=1e-6)
  np.testing.assert_allclose(updates["bias"], -0.8, rtol=1e-6)


def test_without_decay_no_parameter_need_be_known():
  params = {"gate": jnp.array(2.0)}
  for name in ("sgd", "adamw"):
    optimizer = optimizers.create(config(optimizer=name), linen.decays)
    optimizer.update(params, optimizer.init(params), params)
  with pytest.raises(ValueError, match=r"weight_decay: .*\['gate'\] is not"):
    optimizers.create(config(weight_decay=0.1), linen.decays).init(params)
