"""How XLA compiles the tests' programs, here and in processes they start."""

import os

# Nearly all of the tests' time is compilation: the programs are tiny. Without
# XLA's newer fusion emitters it takes less than half; an XLA that does not know
# that option ignores it.
FLAGS = (
  "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
  "--xla_backend_extra_options=xla_cpu_disable_new_fusion_emitters"
)


def environment(**more: str) -> dict[str, str]:
  """Of a process with the devices that it has without our asking for eight."""
  return os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": FLAGS, **more}
