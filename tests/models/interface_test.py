"""Tests of jaxmix.models.interface."""

from functools import partial

from flax import linen as nn
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


@pytest.mark.parametrize("size", [(4, 6), (5, 7)])
def test_max_pool_is_the_windows_maximum_and_gradient(size):
  x = jax.random.normal(jax.random.key(0), (2, *size, 3))

  def total(pool, x):
    pooled = pool(x)
    return jnp.sum(
      pooled * jnp.arange(1.0, pooled.size + 1).reshape(pooled.shape)
    ), pooled

  window = lambda x: nn.max_pool(x, (2, 2), (2, 2))
  grad = lambda pool: jax.jit(jax.grad(partial(total, pool), has_aux=True))(x)
  for ours, theirs in zip(grad(interface.max_pool), grad(window), strict=True):
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("platform, windows", [("cpu", 0), ("tpu", 1)])
def test_max_pool_is_a_window_where_that_is_faster(platform, windows):
  x = jnp.zeros((1, 4, 4, 1), jnp.bfloat16)
  lowered = (
    jax.jit(interface.max_pool).trace(x).lower(lowering_platforms=(platform,))
  )
  assert lowered.as_text().count("reduce_window") == windows
  assert lowered.out_info.dtype == x.dtype


def grow(place, x, parts):
  """Appends the first row again, above place 1."""
  return (jnp.concatenate([x, x[:1]]) if place == 1 else x), parts


def test_a_tap_that_grows_the_batch_says_which_rows_are_real():
  x, mask = jnp.ones((2, 3)), jnp.array([False, True])
  tapped = interface.named(grow, ("input", "body"))
  assert tapped("body", x, None, None)[2] is None
  # Where nothing grows, nobody is asked.
  np.testing.assert_array_equal(tapped("input", x, None, mask)[2], mask)
  with pytest.raises(ValueError, match="batch of 2 one of 3 at 'body'.*mask"):
    tapped("body", x, None, mask)

  class Tap:
    __call__ = staticmethod(grow)

    def mask(self, mask):
      return jnp.concatenate([mask, mask[:1]])

  tapped = interface.named(Tap(), ("input", "body"))
  x, _, mask = tapped("body", x, None, mask)
  assert len(x) == 3
  np.testing.assert_array_equal(mask, [False, True, False])


def test_unknown_remat():
  with pytest.raises(ValueError, match="'none', 'blocks'.*got 'all'"):
    interface.remat_block(object, "all")


@pytest.mark.parametrize("place", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_max_pool_keeps_nan_and_gives_a_tie_one_gradient(place):
  x = jnp.ones((1, 2, 2, 2)).at[(0, *place, 1)].set(jnp.nan)
  pooled, pull = jax.vjp(interface.max_pool, x)
  assert pooled[0, 0, 0, 0] == 1.0 and jnp.isnan(pooled[0, 0, 0, 1])
  (gradient,) = pull(jnp.ones_like(pooled))
  assert sorted(gradient[0, :, :, 0].ravel().tolist()) == [0.0, 0.0, 0.0, 1.0]
