"""How many runs fit into memory side by side."""

from __future__ import annotations

import os

from absl import logging
import jax

from experiments.sweep import together

# On a device. Less is lost when a sweep is stopped.
MOST = 32
# Of what is free: other programs live, too.
SHARE = 0.5


def choose(program: together.Program, group: together.Group) -> int:
  """Returns how many of a group's runs to train together.

  By the compiler's own count of what the training program takes, for as many
  runs as there are, up to `MOST` a device; half as many, until they fit.

  Args:
    program: the group's.
    group: the runs.

  Raises:
    MemoryError: if not even one run a device fits.
  """
  if not program.scans(group):
    return (
      program.devices
    )  # a loop over runs would be as slow as one over steps
  free = _free()
  each = min(-(-len(group.configs) // program.devices), MOST)
  config = group.configs[0]
  steps = min(config.eval_every, config.total_steps)
  while True:
    size = needs(program, group, each * program.devices, steps)
    if size <= SHARE * free:
      return each * program.devices
    if each == 1:
      raise MemoryError(
        f"One run a device takes {size / 2**30:.1f} GiB, and only "
        f"{free / 2**30:.1f} GiB are free, of which {SHARE:.0%} are taken; "
        "make batch_size or the model smaller, or give --together."
      )
    logging.info(
      "%d runs together would take %.1f GiB: trying half as many.",
      each * program.devices,
      size / 2**30,
    )
    each //= 2


def needs(
  program: together.Program, group: together.Group, runs: int, steps: int
) -> int:
  """Returns the bytes that a call of `together.Program.advance` takes."""
  found = program.advance(group, runs, steps).memory_analysis()
  if found is None:  # a backend that does not tell
    return 0
  size = (
    found.argument_size_in_bytes
    + found.output_size_in_bytes
    + found.temp_size_in_bytes
    - found.alias_size_in_bytes
  )
  # CPU devices share one memory.
  return size * (program.devices if jax.default_backend() == "cpu" else 1)


def _free() -> int:
  """Bytes that a device's program may take."""
  told = jax.local_devices()[0].memory_stats()
  if told and "bytes_limit" in told:
    return told["bytes_limit"] - told["bytes_in_use"]
  return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
