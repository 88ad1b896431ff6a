"""How XLA compiles the tests' programs, here and in processes they start."""

# Nearly all of the tests' time is compilation: the programs are tiny. XLA's
# newer fusion emitters take longer for theirs, optimized or not.
FLAGS = (
  "--xla_backend_optimization_level=0"
  " --xla_llvm_disable_expensive_passes=true"
  " --xla_cpu_use_fusion_emitters=false"
)
