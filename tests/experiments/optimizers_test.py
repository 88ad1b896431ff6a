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


def test_a_constant_rate_is_the_peak_after_the_warm_up():
  rate = optimizers.schedule(config(schedule="constant"))
  assert [float(rate(k)) for k in (0, 50, 100)] == [np.float32(1.6)] * 3
  rate = optimizers.schedule(config(schedule="constant", warmup_steps=4))
  np.testing.assert_allclose(
    [rate(k) for k in (0, 1, 4, 99)], [0.0, 0.4, 1.6, 1.6], rtol=1e-6
  )


def test_steps_multiply_the_rate_at_each_boundary():
  """Halved every 50 of 200 epochs, in a run of 100 steps."""
  rate = optimizers.schedule(
    config(schedule="steps", schedule_boundaries=(0.25, 0.5, 0.75))
  )
  at = jnp.array([0, 24, 25, 49, 50, 74, 75, 99])
  np.testing.assert_allclose(
    [rate(k) for k in at], [1.6, 1.6, 0.8, 0.8, 0.4, 0.4, 0.2, 0.2], rtol=1e-6
  )


def test_boundaries_that_fall_on_one_step_all_count():
  rate = optimizers.schedule(
    config(
      schedule="steps",
      schedule_boundaries=(0.31, 0.32, 0.9),
      schedule_factor=0.1,
      total_steps=10,
      warmup_steps=2,
    )
  )
  np.testing.assert_allclose(
    [rate(k) for k in (1, 2, 3, 8, 9)],
    [0.8, 1.6, 0.016, 0.016, 0.0016],
    rtol=1e-5,
  )


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


def test_adam_has_l2_in_the_gradient():
  optimizer = optimizers.create(
    config(optimizer="adam", learning_rate=0.1, weight_decay=0.3, b1=0.9),
    linen.decays,
  )
  params = {"kernel": jnp.array(2.0), "bias": jnp.array(2.0)}
  grads = {"kernel": jnp.array(-0.6), "bias": jnp.array(5.0)}
  updates, state = optimizer.update(grads, optimizer.init(params), params)
  # The kernel's gradient, -0.6 + 0.3 * 2, is none; the bias's step is the rate.
  np.testing.assert_allclose(updates["kernel"], 0.0, atol=1e-6)
  np.testing.assert_allclose(updates["bias"], -0.1, rtol=1e-5)
  # Moments of 5 and -5: (0.9 * 0.5 - 0.5) / (1 - 0.81) over a root of 25.
  grads = {"kernel": jnp.array(-0.6), "bias": jnp.array(-5.0)}
  updates, _ = optimizer.update(grads, state, params)
  rate = float(optimizers.schedule(config(learning_rate=0.1))(1))
  moment = (0.9 * 0.5 - 0.5) / (1 - 0.81)
  np.testing.assert_allclose(updates["bias"], -rate * moment / 5, rtol=1e-4)


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
  for name in ("sgd", "adam", "adamw"):
    optimizer = optimizers.create(config(optimizer=name), linen.decays)
    optimizer.update(params, optimizer.init(params), params)
  with pytest.raises(ValueError, match=r"weight_decay: .*\['gate'\] is not"):
    optimizers.create(config(weight_decay=0.1), linen.decays).init(params)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("schedule", ["cosine", "constant", "steps"])
def test_what_is_added_is_proportional_to_the_rate(name, schedule):
  own = config(
    optimizer=name,
    schedule=schedule,
    schedule_boundaries=(0.01,) if schedule == "steps" else (),
    learning_rate=0.3,
    weight_decay=0.1,
    grad_clip=1.0,
    warmup_steps=1,
  )
  alike, values = optimizers.rated(own)
  assert own.learning_rate == 0.3 and alike.learning_rate == 1.0
  params = {"kernel": jnp.array([1.0, -2.0])}
  first, second = (
    optimizers.create(one, lambda tree: {"kernel": True})
    for one in (own, alike)
  )
  states = first.init(params), second.init(params)
  for k in range(3):
    grads = {"kernel": jnp.array([3.0, float(k)])}
    update, state = first.update(grads, states[0], params)
    unit, other = second.update(grads, states[1], params)
    states = state, other
    assert k == 0 or jnp.all(update["kernel"] != 0.0)
    np.testing.assert_allclose(
      update["kernel"], values[optimizers.RATE] * unit["kernel"], rtol=1e-6
    )
