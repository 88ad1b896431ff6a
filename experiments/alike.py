"""What a run's processes must have in common beside its config."""

from __future__ import annotations

import hashlib
import pathlib
from typing import Any

import jax

from experiments import processes
from experiments.inputs.dataset import Dataset
from experiments.workdir import provenance

# JAX's settings that numbers or compiled programs depend on.
_SETTINGS = (
  "jax_default_dtype_bits",
  "jax_default_matmul_precision",
  "jax_default_prng_impl",
  "jax_disable_jit",
  "jax_enable_x64",
  "jax_numpy_dtype_promotion",
  "jax_threefry_partitionable",
)
_CODE = ("jaxmix", "experiments")


def check_surroundings() -> None:
  """Ends all processes unless each runs the same code on as many devices."""
  if jax.process_count() > 1:
    processes.agreed(
      surroundings,
      what="be alike",
      remedy="Install the same on all hosts, and set the same environment.",
    )


def check_data(dataset: Dataset) -> None:
  """Ends all processes unless each reads the same, from wherever."""
  if jax.process_count() > 1:
    processes.agreed(
      lambda: {"digest of the data": dataset.digest()},
      what="read the same data",
      remedy="Give each host the same copy, by --config.data_dir.",
    )


def surroundings() -> dict[str, Any]:
  """Returns this process's devices, versions, settings and code, by name.

  Replicas share the batch evenly, so that each process has as many devices.
  """
  return {
    "local devices": jax.local_device_count(),
    "kind of device": jax.local_devices()[0].device_kind,
    **{
      f"version of {name}": version
      for name, version in provenance.versions().items()
    },
    **{
      name: str(getattr(jax.config, name))
      for name in _SETTINGS
      if hasattr(jax.config, name)
    },
    "digest of the code": _code(),
  }


def _code() -> str:
  """Of files rather than the commit: a checkout may differ from its commit."""
  root = pathlib.Path(__file__).parents[1]
  digest = hashlib.sha256()
  for folder in _CODE:
    for path in sorted((root / folder).rglob("*.py")):
      digest.update(path.relative_to(root).as_posix().encode())
      digest.update(path.read_bytes())
  return digest.hexdigest()[:12]
