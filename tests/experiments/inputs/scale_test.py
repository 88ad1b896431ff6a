"""Raw inputs to the model's floats."""

import doctest

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.inputs import memory, scale


@pytest.mark.parametrize("run", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_standardizes_by_hand(run):
  own = scale.pixels(mean=[100, 50], std=[50, 25])
  raw = np.array([[[100, 0], [255, 100]]], np.uint8)
  found = run(own.to_float)(raw)
  assert found.dtype == jnp.float32
  np.testing.assert_allclose(found, [[[0.0, -2.0], [3.1, 2.0]]])
  assert own.bounds == (0.0, 255.0)


def test_is_rounded_once_in_float32_and_then_cast():
  own = scale.pixels(mean=[77.71338541666667], std=[95.72552389513095])
  raw = np.arange(256, dtype=np.uint8).reshape(2, 8, 16, 1)
  mean, std = np.float32(77.71338541666667), np.float32(95.72552389513095)
  found = own.to_float(raw)
  # Compilers may multiply by the reciprocal: one more rounding.
  expected = (raw.astype(np.float32) - mean) / std
  np.testing.assert_allclose(found, expected, rtol=2e-7)
  half = own.to_float(raw, jnp.bfloat16)
  assert half.dtype == jnp.bfloat16
  np.testing.assert_array_equal(half, found.astype(jnp.bfloat16))


def test_trees_have_one_scale_for_all_leaves():
  own = scale.Standardize((1.0,), (2.0,))
  found = own({"a": jnp.ones((2, 3)), "b": np.full((2, 3, 4), 5.0)})
  np.testing.assert_array_equal(found["a"], np.zeros((2, 3)))
  np.testing.assert_array_equal(found["b"], np.full((2, 3, 4), 2.0))


def test_scales_compare_by_value():
  first, second = (scale.pixels([1, 2], np.array([3, 4])) for _ in range(2))
  assert first == second and hash(first) == hash(second)
  assert first != scale.pixels([1, 2], [3, 5])


def test_impossible_scales_are_refused():
  with pytest.raises(ValueError, match="one length, got 1 and 2"):
    scale.pixels([1.0], [1.0, 2.0])
  for wrong in (0.0, -1.0, float("nan")):
    with pytest.raises(ValueError, match="std must be positive"):
      scale.pixels([1.0], [wrong])


@pytest.mark.parametrize("module", [scale, memory])
def test_examples_in_docstrings(module):
  result = doctest.testmod(module)
  assert result.attempted and not result.failed
