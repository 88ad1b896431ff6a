"""The TPU generations: what one chip offers, and where each number is from.

Peak compute, memory and its bandwidth are the "key specifications" of Google
Cloud's pages https://cloud.google.com/tpu/docs/v3, v4, v5e, v5p and v6e. Of
memory some pages give GiB and some GB; the compiler, refusing a program, speaks
of 15.48 (for a core of v3), 30.75, 15.75, 95.74 and 31.25 GiB "available HBM":
it has GiB, 16 for v5e and 96 for v5p.

`ici_bandwidth` is what one chip sends, over all of its links together and in
one direction. The pages state it in different ways:
  v5e, v5p: "inter-chip interconnect bandwidth" 1,600 and 4,800 Gbps.
  v6e: 800 GB/s in both directions together.
  v3, v4: only "all-reduce bandwidth per Pod", 340 TB/s over 1,024 chips and 1.1
    PB/s over 4,096. Divided by the chips, the same figure is exactly the
    bandwidth above for v5e (51.2 TB/s over 256) and v6e (102.4 TB/s over 256).
"""

from __future__ import annotations

import importlib.util
import os
from typing import Any, NamedTuple

import jax
from jax.experimental import topologies

GIB = 2**30


class Chip(NamedTuple):
  """One chip.

  Attributes:
    name: as in a topology's name, such as v5e.
    peak_flops: bfloat16 operations a second.
    hbm_bytes: its memory.
    hbm_bandwidth: bytes a second.
    ici_bandwidth: bytes a second that it sends to other chips.
    devices: how many devices XLA sees in it: in v3 each of the two cores is
      one, in v4 and v5p both together are.
    dimensions: of the torus.
    options: of `jax.experimental.topologies.get_topology_desc`.
  """

  name: str
  peak_flops: float
  hbm_bytes: int
  hbm_bandwidth: float
  ici_bandwidth: float
  devices: int
  dimensions: int
  options: dict[str, str]


# libtpu's default for v4 is a device a core; TPU VMs have a device a chip.
_MEGACORE = {"chip_config_name": "megacore"}
CHIPS = {
  chip.name: chip
  for chip in (
    Chip("v3", 123e12, 32 * GIB, 900e9, 340e12 / 1024, 2, 2, {}),
    Chip("v4", 275e12, 32 * GIB, 1200e9, 1.1e15 / 4096, 1, 3, _MEGACORE),
    Chip("v5e", 197e12, 16 * GIB, 819e9, 1600e9 / 8, 1, 2, {}),
    Chip("v5p", 459e12, 96 * GIB, 2765e9, 4800e9 / 8, 1, 3, _MEGACORE),
    Chip("v6e", 918e12, 32 * GIB, 1638e9, 800e9 / 2, 1, 2, {}),
  )
}


def parse(topology: str) -> tuple[Chip, int]:
  """Returns the chip and the number of chips of a name such as v5e:4x8.

  Raises:
    ValueError: saying which names there are.
  """
  name, _, layout = topology.partition(":")
  sides = layout.split("x")
  chip = CHIPS.get(name)
  if chip is None or not all(side.isdigit() and int(side) for side in sides):
    raise ValueError(_unknown(topology))
  if len(sides) != chip.dimensions:
    raise ValueError(
      f"topology={topology!r}: {name} chips form {chip.dimensions} dimensions, "
      f"such as {name}:{'4x8' if chip.dimensions == 2 else '2x4x4'}."
    )
  count = 1
  for side in sides:
    count *= int(side)
  return chip, count


def devices(topology: str) -> list[Any]:
  """Returns the devices of a topology, for compiling only.

  Raises:
    ImportError: if libtpu is not installed, saying how to install it.
    ValueError: if there is no such topology.
  """
  chip, count = parse(topology)
  if importlib.util.find_spec("libtpu") is None:
    raise ImportError(
      "The TPU compiler is not installed: pip install -e '.[tpu]' (no TPU is "
      "needed; on a machine without one set JAX_PLATFORMS=cpu from then on)."
    )
  # The compiler opens no TPU: it needs neither the lock that keeps a second
  # process from one, nor a TPU VM's metadata server.
  os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
  os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
  try:
    described = topologies.get_topology_desc(
      topology, platform="tpu", **chip.options
    )
  except jax.errors.JaxRuntimeError as error:
    if "INVALID_ARGUMENT" not in str(error):
      raise
    reason = str(error).splitlines()[0]
    raise ValueError(f"{_unknown(topology)} libtpu says: {reason}") from None
  found = list(described.devices)
  if len(found) != count * chip.devices:
    raise RuntimeError(
      f"libtpu describes {topology} with {len(found)} devices where "
      f"{count * chip.devices} were expected; `Chip.devices` of {chip.name} no "
      "longer holds for this version."
    )
  return found


def _unknown(topology: str) -> str:
  return (
    f"topology={topology!r} is not known. It is a chip ({', '.join(CHIPS)}), a "
    "colon and how many chips there are along each dimension: v5e:4x8 is 32 "
    "chips, v3:4x4 is a v3-32 slice of 16 chips, v4:2x4x4 is 32 chips."
  )
