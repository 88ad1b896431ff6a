"""Tests of jaxmix.models.mlp."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmix.models.mlp import MLP


def random(shape, seed=0):
  return jnp.asarray(
    np.random.default_rng(seed).normal(size=shape), jnp.float32
  )


@pytest.mark.parametrize("run", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_by_hand(run):
  model = MLP(num_classes=1, features=(2,))
  params = {
    "dense1": {
      "kernel": jnp.array([[1.0, -1.0], [2.0, 0.0], [0.0, 1.0], [0.0, 0.0]]),
      "bias": jnp.array([0.5, -5.0]),
    },
    "head": {"kernel": jnp.array([[2.0], [7.0]]), "bias": jnp.array([-10.0])},
  }
  x = jnp.array([[[1.0, 2.0], [3.0, 4.0]]])  # Flattened to [1, 2, 3, 4].
  # Hidden: relu(1 + 4 + 0.5) = 5.5 and relu(-1 + 3 - 5) = 0. The head has no
  # relu: 2 * 5.5 - 10 = 1; with half the first, it is -4.5.
  np.testing.assert_allclose(run(model.apply)({"params": params}, x), [[1.0]])
  params["head"]["kernel"] /= 2
  np.testing.assert_allclose(run(model.apply)({"params": params}, x), [[-4.5]])


def test_default_shapes():
  model = MLP(num_classes=10)
  v = jax.eval_shape(model.init, jax.random.key(0), jnp.ones((2, 8, 8)))
  shapes = jax.tree.map(jnp.shape, v["params"])
  assert shapes == {
    "dense1": {"kernel": (64, 128), "bias": (128,)},
    "dense2": {"kernel": (128, 128), "bias": (128,)},
    "head": {"kernel": (128, 10), "bias": (10,)},
  }


def test_without_biases_it_is_positively_homogeneous():
  model = MLP(num_classes=3, features=(16, 8), use_bias=False)
  x = random((4, 5))
  v = model.init(jax.random.key(0), x)
  f = lambda x: model.apply(v, x)
  np.testing.assert_allclose(f(2.5 * x), 2.5 * f(x), rtol=1e-4)
  value, along_x = jax.jvp(f, (x,), (x,))
  np.testing.assert_allclose(along_x, value, rtol=1e-4)
  assert jax.tree.map(jnp.shape, v["params"]) == {
    "dense1": {"kernel": (5, 16)},
    "dense2": {"kernel": (16, 8)},
    "head": {"kernel": (8, 3)},
  }


def test_integer_inputs():
  with pytest.raises(TypeError, match="must be floats, got int32"):
    MLP(2).init(jax.random.key(0), jnp.ones((2, 3), jnp.int32))


def test_wrong_parts():
  with pytest.raises(ValueError, match="parts must sum to the batch size 2"):
    MLP(2).init(jax.random.key(0), jnp.ones((2, 3)), parts=(2, 1))
