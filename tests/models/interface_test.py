"""Tests of jaxmix.models.interface."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmix.models import interface


def test_images_take_the_compute_dtype():
  images = interface.as_images(jnp.ones((2, 4, 4, 3)), jnp.bfloat16)
  assert images.dtype == jnp.bfloat16


def test_integer_images():
  with pytest.raises(TypeError, match="must be floats, got uint8: normalise"):
    interface.as_images(jnp.ones((2, 4, 4, 3), jnp.uint8), jnp.float32)


def test_one_image_without_a_batch():
  with pytest.raises(
    ValueError, match=r"\[B, H, W, C\], got shape \(4, 4, 3\)"
  ):
    interface.as_images(jnp.ones((4, 4, 3)), jnp.float32)


def test_static_parts():
  assert interface.static_parts(None, 4) is None
  assert interface.static_parts([3, 1], 4) == (3, 1)
  with pytest.raises(ValueError, match="sum to the batch size 5"):
    interface.static_parts((3, 1), 5)


@pytest.mark.parametrize("run", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_pool_sums_and_returns_float32(run):
  # In bfloat16 a running sum of ones stops at 256, and 1 + 2^-8, the mean of
  # the neighbours 1 and 1 + 2^-7, rounds to 1.
  x = jnp.ones((1, 64, 64, 2), jnp.bfloat16)
  x = x.at[:, ::2, :, 1].set(1 + 2**-7)
  pooled = run(interface.pool)(x)
  assert pooled.dtype == jnp.float32
  np.testing.assert_array_equal(pooled, [[1.0, 1 + 2**-8]])


def test_unknown_remat():
  with pytest.raises(ValueError, match="'none', 'blocks'.*got 'all'"):
    interface.remat_block(object, "all")
