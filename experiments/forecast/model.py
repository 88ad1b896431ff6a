"""forecast(config, topology): compile, model, and say what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
import logging
import multiprocessing
from typing import Any

import jax
from ml_collections import ConfigDict

from experiments import inputs, parallel
from experiments.configs import common
from experiments.forecast import chips, program
from experiments.forecast import roofline as roofline_lib
from jaxmix import mixupe

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
    for kind in mixupe.CLEAN_PASSES
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
  jobs: int | None = None,
  report: Callable[[dict[str, Any], dict[str, Any], str], None] | None = None,
) -> dict[str, Any]:
  """Forecasts a run of `config`, or the variants of a comparison.

  Args:
    config: see `experiments.configs.common`; resolved here.
    topology: such as v5e:4x8; see `chips.parse`.
    compare: None, or one of `COMPARISONS`.
    num_classes: of a data set that is not known without its files.
    known: rows of the same forecast, begun earlier; not compiled again.
    jobs: how many rows to compile at a time, each in a process of its own,
      which returns its memory. None compiles here, one after the other. (The
      processes import the main script: in one, call under
      `if __name__ == "__main__"`.)
    report: called as soon as a row is known with the result so far, the row
      and its optimised HLO ("" where it does not fit).

  Returns:
    {"note", "topology", "chips", "chip", "rows"}, rows as `roofline.per_chip`
    gives them with the name and the changes to the config.

  Raises:
    ImportError: if libtpu is not installed.
    RuntimeError: if a process ends before its row, as it does where memory runs
      out.
    ValueError: if the topology, the config or the comparison is wrong, or the
      batch does not divide.
  """
  if compare is not None and compare not in COMPARISONS:
    raise ValueError(
      f"compare must be one of {', '.join(COMPARISONS)}; got {compare!r}."
    )
  if config.epochs is not None:
    spec = inputs.describe(config, num_classes)
    config = common.in_steps(config, spec.num_train)
  chip, count = chips.parse(topology)
  parallel.check_batch_size(config.batch_size, count * chip.devices)
  variants = COMPARISONS[compare] if compare else {config.method: {}}
  described = {k: v for k, v in chip._asdict().items() if k != "options"}
  rows = {
    row["name"]: row
    for row in known
    if row["changes"] == dict(variants.get(row["name"], {}))
  }

  def result():
    return {
      "note": NOTE,
      "topology": topology,
      "chips": count,
      "chip": described,
      "model": config.model,
      "batch_size": config.batch_size,
      "total_steps": config.total_steps,
      "parallel": config.parallel,
      "rows": [rows[name] for name in variants if name in rows],
    }

  tasks = {}
  for name, changes in variants.items():
    if name not in rows:
      own = config.copy_and_resolve_references()
      with own.unlocked():
        own.update_from_flattened_dict(changes)
      tasks[name] = (common.resolve(own), num_classes, topology)
  compiled = _in_turn(tasks) if jobs is None else _in_processes(tasks, jobs)
  for name, row, text in compiled:
    rows[name] = {"name": name, "changes": dict(variants[name])} | row
    if report is not None:
      report(result(), rows[name], text)
  return result()


def _row(config, num_classes, topology) -> tuple[dict[str, Any], str]:
  """Compiles a resolved config's step; (roofline.per_chip's row, HLO)."""
  chip, count = chips.parse(topology)
  spec = inputs.describe(config, num_classes)
  compiled = program.compile_step(config, spec, chips.devices(topology))
  return roofline_lib.per_chip(config, compiled, chip, count), compiled.text


def stay_on_cpu() -> None:
  """Keeps JAX from opening a TPU: libtpu is there to compile."""
  jax.config.update("jax_platforms", "cpu")


def _in_turn(tasks: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
  """Yields (name, row, HLO) of each task."""
  for name, task in tasks.items():
    logging.info("Compiling %s for %s.", name, task[-1])
    yield name, *_row(*task)


def _in_processes(
  tasks: Mapping[str, Any], jobs: int
) -> Iterator[tuple[str, Any, str]]:
  """As `_in_turn`, but in the order in which they end."""
  if not tasks:
    return
  logging.info("Compiling %s, %d at a time.", "; ".join(tasks), jobs)
  with futures.ProcessPoolExecutor(
    jobs,
    multiprocessing.get_context("spawn"),
    initializer=stay_on_cpu,
    max_tasks_per_child=1,
  ) as pool:
    names = {pool.submit(_row, *task): name for name, task in tasks.items()}
    try:
      for done in futures.as_completed(names):
        yield names[done], *done.result()
    except futures.process.BrokenProcessPool as error:
      raise RuntimeError(
        "A process ended before its row was compiled, as it does where memory "
        "runs out (a row of ViT-B/16 takes up to 12 GB). Rows that were done "
        "are kept: fewer jobs at a time, or the same command again."
      ) from error
    finally:
      for waiting in names:
        waiting.cancel()
