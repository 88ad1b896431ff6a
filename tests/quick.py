"""How XLA compiles the tests' programs, here and in processes they start."""

# Nearly all of the tests' time is compilation: the programs are tiny. Without
# XLA's newer fusion emitters it takes 0.6 of the time, and VGG-11's gradients
# are wrong.
FLAGS = (
  "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)
