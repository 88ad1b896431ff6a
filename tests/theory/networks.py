"""Small networks and data for the theory's tests, in double precision."""

import jax.numpy as jnp
import numpy as np


def network(rng, activation, d=3, classes=None, scale=0.5, width=5):
  """A two-layer network without biases: [n, d] to [n] or [n, K]."""
  hidden = jnp.asarray(scale * rng.normal(size=(d, width)))
  head = jnp.asarray(scale * rng.normal(size=(width, classes or 1)))

  def apply(x):
    logits = activation(x @ hidden) @ head
    return logits if classes else logits[:, 0]

  return apply


def data(rng, n=6, d=3, classes=None):
  x = rng.normal(size=(n, d))
  return jnp.asarray(x), jnp.asarray(rng.integers(0, classes or 2, n))


def moment(law, power, other=0):
  """E[lam^power (1 - lam)^other] under a scipy law on [0, 1]."""
  return law.expect(lambda lam: lam**power * (1.0 - lam) ** other)


def central(fn, a, step=1e-3):
  """fn'(a) by central differences of fourth order."""
  near = (fn(a + step) - fn(a - step)) / (2.0 * step)
  far = (fn(a + 2.0 * step) - fn(a - 2.0 * step)) / (4.0 * step)
  return np.asarray((4.0 * near - far) / 3.0)
