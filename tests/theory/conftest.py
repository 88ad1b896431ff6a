"""Theory is checked in double precision."""

import jax
import numpy as np
import pytest


@pytest.fixture
def float64():
  with jax.enable_x64(True):
    yield


@pytest.fixture
def rng():
  return np.random.default_rng(0)
