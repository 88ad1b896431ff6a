"""The loop uses optax, whose arithmetic mixes integer counts and floats."""

import jax
import pytest


@pytest.fixture(autouse=True)
def standard_promotion():
  with jax.numpy_dtype_promotion("standard"):
    yield
