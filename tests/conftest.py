"""Strict numerics and eight CPU devices for every test."""

import os

os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax  # noqa: E402  (the flags above must come first)
import pytest  # noqa: E402

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
# Eight devices share a thread pool: steps in flight together can starve a collective.
jax.config.update("jax_cpu_enable_async_dispatch", False)


@pytest.fixture
def key():
  return jax.random.key(0)
