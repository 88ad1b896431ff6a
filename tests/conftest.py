"""Strict numerics, eight CPU devices and compiled programs kept, for all."""

import os
import signal

from tests import quick

# A shell's background jobs ignore it, and so would what tests start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
  signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ["XLA_FLAGS"] = " ".join(
  [
    os.environ.get("XLA_FLAGS", ""),
    "--xla_force_host_platform_device_count=8",
    quick.FLAGS,
  ]
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax  # noqa: E402  (the flags above must come first)
import pytest  # noqa: E402

from experiments import compilation  # noqa: E402

# In the environment, so that the processes that tests start find them, too;
# workers may share it, since an entry that is half written is only not read.
os.environ.setdefault(
  "JAX_COMPILATION_CACHE_DIR", str(compilation.folder() / "tests")
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.02")
compilation.keep(None, None)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
# Eight devices share a pool of threads: steps in flight together can starve a
# collective.
jax.config.update("jax_cpu_enable_async_dispatch", False)


@pytest.fixture
def key():
  return jax.random.key(0)


@pytest.fixture(autouse=True, scope="module")
def compiled_programs_end_with_their_module():
  """Fifteen hundred tests' programs would otherwise fill six gigabytes."""
  yield
  jax.clear_caches()
