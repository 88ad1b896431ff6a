"""From a compiled step to seconds, hours, and what to change.

A model: the time is that of the busiest of three resources, each at its peak
and the other two hidden behind it. A real step takes longer.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ml_collections import ConfigDict

from experiments import methods
from experiments.forecast import hlo
from experiments.forecast.chips import Chip
from experiments.forecast.program import Compiled
from jaxmix import models


class Roofline(NamedTuple):
  """The three times of a step, in seconds.

  Attributes:
    compute: operations over peak operations a second.
    memory: bytes read from and written to memory, over its bandwidth.
    interconnect: bytes sent over interconnect bandwidth.
  """

  compute: float
  memory: float
  interconnect: float

  @property
  def step(self) -> float:
    """The longest of the three."""
    return max(self)

  @property
  def bound(self) -> str:
    """Which of the three is the longest."""
    return self._fields[self.index(self.step)]


def roofline(
  chip: Chip, *, flops: float, memory_bytes: float, bytes_sent: float
) -> Roofline:
  """Returns the times of one chip's operations and bytes."""
  return Roofline(
    flops / chip.peak_flops,
    memory_bytes / chip.hbm_bandwidth,
    bytes_sent / chip.ici_bandwidth,
  )


def per_chip(
  config: ConfigDict, compiled: Compiled, chip: Chip, chips: int
) -> dict[str, Any]:
  """Everything known of one chip and of the run, ready for JSON.

  Args:
    config: resolved.
    compiled: one device's program.
    chip: a chip has `chip.devices` of them.
    chips: number of chips.
  """
  devices = chip.devices
  row: dict[str, Any] = {
    "fits": compiled.fits,
    "replicas": chips * devices,
    "examples_per_chip": config.batch_size // chips,
    "argument_bytes": compiled.argument_bytes * devices,
    "temporary_bytes": compiled.temporary_bytes * devices,
    "peak_bytes": compiled.peak_bytes * devices,
    "hbm_bytes": chip.hbm_bytes,
    "compile_seconds": round(compiled.seconds, 1),
  }
  if not compiled.fits:
    return row | {"advice": advice(config, compiled, chip, chips)}
  assert compiled.donated_bytes is not None
  assert compiled.flops is not None and compiled.bytes_accessed is not None
  assert compiled.traffic is not None and compiled.collectives is not None
  sent = hlo.sent(compiled.collectives, chips * devices)
  times = roofline(
    chip,
    flops=compiled.flops * devices,
    memory_bytes=compiled.traffic.memory * devices,
    bytes_sent=sent * devices,
  )
  return row | {
    "donated_bytes": compiled.donated_bytes * devices,
    "flops": compiled.flops * devices,
    "memory_traffic_bytes": compiled.traffic.memory * devices,
    "on_chip_traffic_bytes": compiled.traffic.on_chip * devices,
    "bytes_accessed": compiled.bytes_accessed * devices,
    "collectives": {
      kind: {"count": each.number, "bytes": each.bytes * devices}
      for kind, each in compiled.collectives.items()
    },
    "bytes_sent": sent * devices,
    "seconds": times._asdict() | {"step": times.step},
    "bound": times.bound,
    "images_per_second": config.batch_size / times.step,
    "hours": times.step * config.total_steps / 3600,
  }


def advice(
  config: ConfigDict, compiled: Compiled, chip: Chip, chips: int
) -> list[str]:
  """What to change, most helpful first, for a step that does not fit.

  The batch size named is where temporaries, taken as proportional to the batch,
  would fit; it must be compiled again to be sure.
  """
  tips = []
  model = models.create(config.model, 10, **config.model_options)
  if getattr(model, "remat", None) == "none":
    tips.append(
      "model_options.remat=blocks (same numbers; recomputes each block, about "
      "a third more operations)"
    )
  clean = methods.is_enhanced(config) and config.penalty_at == "clean"
  if clean and config.clean_pass != "separate":
    tips.append(
      "clean_pass=separate (the clean pass begins when the mixed one's "
      "activations are gone)"
    )
  if clean and config.clean_fraction > 0.25:
    tips.append(
      "clean_fraction=0.25 (an unbiased estimate of the same penalty; 1.25 "
      f"instead of {1 + config.clean_fraction:g} examples a pass)"
    )
  replicas = chips * chip.devices
  free = chip.hbm_bytes / chip.devices - compiled.argument_bytes
  size = int(config.batch_size * free / max(compiled.temporary_bytes, 1))
  size = size // replicas * replicas
  if size > 0:
    tips.append(f"batch_size={size} (changes the recipe: scale learning_rate)")
  tips.append(f"more chips than {chips}, at the same batch_size")
  return tips
