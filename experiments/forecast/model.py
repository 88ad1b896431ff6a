"""forecast(config, topology): compile, model, and say what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import logging
from typing import Any

from ml_collections import ConfigDict

from experiments import parallel
from experiments.configs import common
from experiments.forecast import chips, program
from experiments.forecast import roofline as roofline_lib

NOTE = (
  "A model, not a measurement: the step was compiled for this topology, not "
  "run. Its time is the longest of operations / peak, memory traffic / memory "
  "bandwidth and bytes sent / interconnect bandwidth. A real step takes more, "
  "and input, evaluation and checkpoints come on top. Operations are the "
  "compiler's own count; traffic is that of its program's arrays that are not "
  "kept on the chip."
)
_CLEAN = {"method": "mixupe", "penalty": "approximate", "penalty_at": "clean"}
COMPARISONS: dict[str, dict[str, Mapping[str, Any]]] = {
  "method": {
    "Mixup": {"method": "mixup", "eta": 0.0},
    "MixupE": {**_CLEAN, "clean_fraction": 1.0},
    "MixupE, clean 1/2": {**_CLEAN, "clean_fraction": 0.5},
    "MixupE, clean 1/4": {**_CLEAN, "clean_fraction": 0.25},
    # One concatenated pass would push tangents through the mixed part, too.
    "MixupE, exact": {
      **_CLEAN,
      "penalty": "exact",
      "clean_fraction": 1.0,
      "clean_pass": "separate",
    },
    # Last: but for a scalar or two it is Mixup's program.
    "MixupE, at mixed": {**_CLEAN, "penalty_at": "mixed"},
  },
  "parallel": {
    "pmap": {"parallel": "pmap"},
    "shard_map": {"parallel": "shard_map"},
  },
  "clean_pass": {
    kind: {**_CLEAN, "clean_fraction": 1.0, "clean_pass": kind}
    for kind in ("joint", "split", "separate")
  },
  "pairing": {
    "permutation": {"pairing": "permutation"},
    "ring": {"pairing": "ring"},
  },
  "remat": {
    "none": {"model_options.remat": "none"},
    "blocks": {"model_options.remat": "blocks"},
  },
}


def forecast(
  config: ConfigDict,
  topology: str,
  *,
  compare: str | None = None,
  num_classes: int | None = None,
  known: Sequence[dict[str, Any]] = (),
  report: Callable[[dict[str, Any], str], None] | None = None,
) -> dict[str, Any]:
  """Forecasts a run of `config`, or the variants of a comparison.

  Args:
    config: see `experiments.configs.common`; resolved here.
    topology: such as v5e:4x8; see `chips.parse`.
    compare: None, or one of `COMPARISONS`.
    num_classes: see `program.describe`.
    known: rows of the same forecast, begun earlier; not compiled again.
    report: called with the result so far as soon as a row is known, and with
      that row's optimised HLO ("" where it does not fit).

  Returns:
    {"note", "topology", "chips", "chip", "rows"}, rows as `roofline.per_chip`
    gives them with the name and the changes to the config.

  Raises:
    ImportError: if libtpu is not installed.
    ValueError: if the topology, the config or the comparison is wrong, or the
      batch does not divide.
  """
  if compare is not None and compare not in COMPARISONS:
    raise ValueError(
      f"compare must be one of {', '.join(COMPARISONS)}; got {compare!r}."
    )
  chip, count = chips.parse(topology)
  parallel.check_batch_size(config.batch_size, count * chip.devices)
  dataset = program.describe(config, num_classes)
  devices = chips.devices(topology)
  variants = COMPARISONS[compare] if compare else {config.method: {}}
  described = {k: v for k, v in chip._asdict().items() if k != "options"}
  rows: list[dict[str, Any]] = []
  result = {
    "note": NOTE,
    "topology": topology,
    "chips": count,
    "chip": described,
    "model": config.model,
    "batch_size": config.batch_size,
    "total_steps": config.total_steps,
    "parallel": config.parallel,
    "rows": rows,
  }
  for name, changes in variants.items():
    same = [
      row
      for row in known
      if (row["name"], row["changes"]) == (name, dict(changes))
    ]
    if same:
      rows.append(same[0])
      continue
    own = config.copy_and_resolve_references()
    with own.unlocked():
      own.update_from_flattened_dict(changes)
    own = common.resolve(own)
    logging.info("Compiling %s for %s.", name, topology)
    compiled = program.compile_step(own, dataset, devices)
    row = roofline_lib.per_chip(own, compiled, chip, count)
    rows.append({"name": name, "changes": dict(changes)} | row)
    if report is not None:
      report(result, compiled.text)
  return result
