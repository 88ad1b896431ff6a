"""R2 and R3 by random directions: unbiased, with an honest error."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmix import theory
from tests.theory.networks import data, network

pytestmark = pytest.mark.usefixtures("float64")


def test_estimates_are_unbiased_and_know_their_error(rng, key):
  draws = 400
  x, y = data(rng, n=5, d=4, classes=3)
  logit_fn = network(rng, jnp.tanh, d=4, classes=3)
  law = {"alpha": 0.7}

  @jax.jit
  def run(keys):
    one = lambda key: theory.probed_regularizers(key, logit_fn, x, y, **law)
    return jax.vmap(one)(keys)

  value, error = jax.device_get(run(jax.random.split(key, draws)))
  exact = jax.device_get(
    jax.jit(lambda: theory.regularizers(logit_fn, x, y, **law))()
  )
  np.testing.assert_allclose(value.r1, exact.r1, rtol=1e-9)
  assert np.all(error.r1 == 0.0)
  for found, spread, truth in (
    (value.r2, error.r2, exact.r2),
    (value.r3, error.r3, exact.r3),
  ):
    deviation = np.std(found)
    assert deviation > 1e-3 * abs(truth)
    assert abs(np.mean(found) - truth) < 4.0 * deviation / np.sqrt(draws)
    # Their mean square is the variance: 5 % of noise each.
    stated = np.sqrt(np.mean(spread**2))
    assert stated == pytest.approx(deviation, rel=0.25)


def test_one_direction_is_exact(key):
  """In one dimension v is the factor or its reverse."""
  x, y = jnp.array([[-1.0], [0.5], [2.0]]), jnp.array([0, 1, 1])
  logit_fn = lambda x: jnp.tanh(x[:, 0])
  found = theory.probed_regularizers(key, logit_fn, x, y, alpha=1.0)
  exact = theory.regularizers(logit_fn, x, y, alpha=1.0)
  np.testing.assert_allclose(found.value, exact, rtol=1e-9)
  np.testing.assert_allclose(found.error, 0.0, atol=1e-15)


def test_errors(rng, key):
  x, y = data(rng)
  with pytest.raises(ValueError, match="num_probes must be at least 2, got 1"):
    theory.probed_regularizers(
      key, network(rng, jnp.tanh), x, y, alpha=1.0, num_probes=1
    )
