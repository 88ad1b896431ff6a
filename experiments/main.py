"""The command line: python -m experiments.main --config=FILE --workdir=DIR.

A config file may be given an argument after a colon, such as
experiments/configs/digits.py:method=untied,seed=3; any key can be overridden by
--config.KEY=VALUE. The same command again resumes.
"""

from __future__ import annotations

import logging as logging_lib

from absl import flags, logging
import jax
from ml_collections import config_flags

from experiments import (
  cli,
  connecting,
  listing,
  preemption,
  processes,
  sweep,
  train,
)

_CONFIG = config_flags.DEFINE_config_file(
  "config",
  "experiments/configs/digits.py",
  "The experiment, with an optional argument after a colon.",
)
_WORKDIR = flags.DEFINE_string(
  "workdir", None, "Where everything the run writes goes.", required=True
)
_COORDINATOR = flags.DEFINE_string(
  "coordinator",
  None,
  "HOST:PORT of process 0, where JAX cannot detect it (TPU VMs, SLURM and MPI "
  "are detected).",
)
_NUM_PROCESSES = flags.DEFINE_integer(
  "num_processes", None, "Number of processes, with --coordinator."
)
_PROCESS_ID = flags.DEFINE_integer(
  "process_id", None, "This process's number, with --coordinator."
)


def main() -> None:
  """Runs the config, or every run of its sweep."""
  logging.set_verbosity(logging.INFO)
  # Orbax reports every step of every save, JAX the backends it does not find.
  logging_lib.getLogger("jax._src.xla_bridge").setLevel(logging_lib.WARNING)
  logging.get_absl_logger().addFilter(
    lambda record: "orbax" not in record.pathname
  )
  connecting.connect(
    _COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value
  )
  logging.info(
    "%d %s device(s), process %d of %d.",
    jax.device_count(),
    jax.default_backend(),
    jax.process_index(),
    jax.process_count(),
  )
  expected = connecting.missing_accelerator()
  if expected:
    logging.warning("%s", expected)
  config = _CONFIG.value
  run = sweep.run if config.sweep else train.train_and_evaluate
  with processes.ending_together(cli.line, alike=(preemption.Preempted,)):
    run(config, _WORKDIR.value)


if __name__ == "__main__":
  if listing.is_asked():
    __doc__ = f"{__doc__}\n{listing.text()}"  # what --help prints first
  cli.run(main, resumable=True)
