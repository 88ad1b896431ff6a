"""Orders of the expansion of Mixup's loss, and what stops them."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.figures import moons, networks, taylor_orders
from jaxmix import theory

FIGURE = taylor_orders


def test_kinks_by_hand():
  """Two units, with kinks where x = 0 and where x = 1."""
  params = [{"kernel": jnp.ones((1, 2)), "bias": jnp.array([0.0, -1.0])}]
  x = jnp.array([[-1.0], [0.5], [2.0]])
  expected = [[0, 1, 2], [1, 0, 1], [2, 1, 0]]
  np.testing.assert_array_equal(taylor_orders.crossings(params, x), expected)


def test_radii_by_hand():
  """tanh(4 x) around 0 has its poles at pi / 8; to go 1 is too far."""
  params = [{"kernel": jnp.array([[4.0]]), "bias": jnp.zeros(1)}]
  x = jnp.array([[0.0], [1.0], [-0.25]])
  radius = np.asarray(taylor_orders.radii(params, x))
  np.testing.assert_allclose(radius[0, 1:], [np.pi / 8, np.pi / 2])
  np.testing.assert_allclose(radius[1, 0], np.hypot(4.0, np.pi / 2) / 4.0)
  assert np.all(np.diag(radius) > 1e100)


def test_orders_0_and_2_are_the_known_losses(smoke):
  start = networks.init(jax.random.key(0), (2, 16, 1), biases=True)
  params = taylor_orders._with_biases(start, 0)
  x, y = moons.draw(smoke["settings"]["n"], 0).train
  for name, activation in taylor_orders.ACTIVATIONS.items():
    for size, scale in taylor_orders.SCALES.items():
      scaled = jax.tree.map(lambda w, scale=scale: scale * w, params)
      logit_fn = lambda x, scaled=scaled, activation=activation: (
        networks.logits(scaled, x, activation=activation)
      )
      expected = jax.jit(
        lambda x, y, logit_fn=logit_fn: (
          theory.standard_loss(logit_fn, x, y),
          theory.quadratic_mixup_loss(logit_fn, x, y, alpha=1.0),
        )
      )(x, y)
      found = smoke["networks"][f"{name}, {size}"]["expansions"][0]
      np.testing.assert_allclose(found[0], expected[0], rtol=1e-12)
      np.testing.assert_allclose(found[2], expected[1], rtol=1e-10)


def test_gaps_are_distances_and_fall_for_small_smooth_networks(smoke):
  for found in smoke["networks"].values():
    distance = np.abs(
      np.asarray(found["expansions"]) - np.asarray(found["mixup_loss"])[:, None]
    )
    np.testing.assert_allclose(found["gaps"], distance, rtol=1e-2, atol=1e-14)
  for name in ("tanh", "GELU"):
    gaps = smoke["networks"][f"{name}, small"]["gaps"][0]
    assert gaps[3] < 0.1 * gaps[0]
  assert 0.0 < smoke["networks"]["ReLU, small"]["share_crossing"] <= 1.0
