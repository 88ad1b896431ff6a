"""Why graph networks collapse: the head's hidden units, dead one after another.

  python -m experiments.studies.collapse --data_dir=FOLDER --workdir=DIR \
    --out=experiments/results/graphs --sets=ptc_mr

MixupE at the largest eta, under which most collapse, on ten folds as in
`experiments.studies.graphs`, with the paper's sums of nodes as the head's
inputs and with sums divided by the mean number of nodes.
Looked at every ten epochs, on all training graphs: the share of the head's
hidden ReLUs that are zero on every one of them, the largest read-out, and
whether all logits are the same. A unit that is zero everywhere has no gradient
and stays so; when the last one is, the output is the last bias. --workdir is
not written to. --out gets collapse.json, collapse.md and collapse.png.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from absl import logging
from etils import epath
import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
from ml_collections import ConfigDict
import numpy as np

from experiments.configs import common
from experiments.figures import drawing
from experiments.inputs import memory
from experiments.studies import command, graphs
from experiments.sweep import grid, together
from jaxmix import models

EVERY = 10  # epochs between two looks


def train(
  name: str, data_dir: str, folder: epath.Path, *, smoke: bool
) -> dict[str, Any]:
  """Trains a data set's runs, and returns what was seen of each."""
  del folder
  base, (*_, mixupe) = graphs.sweeps(name, data_dir, smoke=smoke)
  found: dict[str, Any] = {}
  points = grid.points([mixupe], base)
  largest = max(point.keys["eta"] for point in points)
  for point in points:
    if point.keys["eta"] < largest:
      continue
    config = common.resolve(point.config)
    scale = f"{config.model_options.readout_scale:g}"
    found.setdefault(scale, []).append(config)
  return {scale: watch(configs) for scale, configs in found.items()}


def watch(configs: list[ConfigDict]) -> dict[str, Any]:
  """Trains runs of one program, and looks at them now and then.

  Args:
    configs: resolved, one a fold.

  Returns:
    "epochs", those after which it looked, and of each look and run: "dead",
    the share of hidden units; "readout", the largest of the head's inputs;
    "constant", whether the output was.
  """
  loaded = [memory.load(config) for config in configs]
  # Folds differ by a graph; all runs look at the same number of them.
  count = min(spec.num_train for _, spec in loaded)
  steps = configs[0].eval_every
  program = together.Program(configs[0], together.common(loaded[0][1]))
  runs = list(range(len(configs)))
  runs += runs[-1:] * (-len(runs) % program.devices)
  group = together.gather(configs, loaded)
  look = _look(configs[0], loaded[0][1], count)
  told: dict[str, list[Any]] = {
    "epochs": [],
    "dead": [],
    "readout": [],
    "constant": [],
  }
  starts = jnp.array([group.data.starts[group.which[i]] for i in runs])
  for side in together.train(program, group, runs, EVERY * steps):
    seen = jax.device_get(
      look(side.state.params, side.state.batch_stats, group.data.train, starts)
    )
    told["epochs"].append(side.step // steps)
    for key, values in seen.items():
      own = [round(float(x), 4) for x in values[: len(configs)]]
      told[key].append(own)
    logging.info("epoch %d: dead %s", told["epochs"][-1], told["dead"][-1])
  return told


def _look(config: ConfigDict, spec, count: int):
  """(params, statistics, data, starts) -> what is seen of each run."""
  options = config.model_options.to_dict()
  model = models.create(config.model, spec.num_classes, **options)

  def one(params, state, data, start):
    inputs = jax.tree.map(
      lambda x: jax.lax.dynamic_slice_in_dim(x, start, count), data["inputs"]
    )
    seen = []

    def tap(place, x, parts):
      del place
      seen.append(x)
      return x, parts

    logits, variables = model.apply(
      {"params": params, "batch_stats": state},
      spec.scale.to_float(inputs, jnp.float32),
      tap=tap,
      capture_intermediates=lambda module, _: module.name == "head_dense1",
      mutable=["intermediates"],
    )
    (hidden,) = variables["intermediates"]["head_dense1"]["__call__"]
    readouts = seen[-1]
    return {
      "dead": jnp.mean(jnp.all(hidden <= 0.0, axis=0)),
      "readout": jnp.max(jnp.abs(readouts)),
      "constant": jnp.all(logits == logits[:1]),
    }

  return jax.jit(
    lambda params, state, data, starts: jax.lax.map(
      lambda own: one(own[0], own[1], data, own[2]), (params, state, starts)
    )
  )


def collapsed(told: Mapping[str, Any]) -> list[int | None]:
  """Returns each run's first epoch of a constant output to its end, or None."""
  constant = np.array(told["constant"], bool)
  found: list[int | None] = []
  for run in constant.T:
    alive = np.flatnonzero(~run)
    first = alive[-1] + 1 if len(alive) else 0
    found.append(told["epochs"][first] if first < len(run) else None)
  return found


def markdown(sets: Mapping[str, Any]) -> str:
  """Returns the table: a line for each data set and form."""
  lines = [
    [
      "data set",
      "sums divided by",
      "collapsed runs",
      "largest read-out at the first look",
      "dead at the end: collapsed, others (%)",
    ],
    ["---", *["--:"] * 4],
  ]
  for name, scales in sets.items():
    for scale, told in scales.items():
      gone = np.array([epoch is not None for epoch in collapsed(told)])
      last = 100.0 * np.array(told["dead"][-1])
      shares = [
        f"{last[which].mean():.0f}" if which.any() else "—"
        for which in (gone, ~gone)
      ]
      lines.append(
        [
          name,
          scale,
          f"{gone.sum()} of {len(gone)}",
          f"{np.median(told['readout'][0]):.0f}",
          ", ".join(shares),
        ]
      )
  return command.rows(lines)


def caption(sets: Mapping[str, Any]) -> str:
  """Returns what is seen in a sentence or two, from its numbers."""
  parts = []
  for name, scales in sets.items():
    for scale, told in scales.items():
      gone = collapsed(told)
      dead = [
        told["dead"][-1][run]
        for run, epoch in enumerate(gone)
        if epoch is not None
      ]
      text = (
        f"{name}, sums divided by {scale}: {len(dead)} of {len(gone)} runs "
        "end with a constant output"
      )
      if dead:
        text += (
          f", {sum(share == 1.0 for share in dead)} of them with all hidden "
          "units of the head dead"
        )
      parts.append(f"{text}.")
  return " ".join([*parts, "Coloured: those runs."])


def draw(sets: Mapping[str, Any]) -> Figure:
  """Returns the share of dead units over training, a line a run."""
  panels_of = [
    (n, s, told) for n, one in sets.items() for s, told in one.items()
  ]
  figure, panels = drawing.new(len(panels_of), height=3.0)
  for panel, (name, scale, told) in zip(panels, panels_of, strict=True):
    dead = 100.0 * np.array(told["dead"])
    for run, epoch in enumerate(collapsed(told)):
      panel.plot(
        told["epochs"],
        dead[:, run],
        color="0.6" if epoch is None else "C3",
        linewidth=1.2,
      )
    panel.set_title(f"{name}, sums / {scale}")
    panel.set_xlabel("epoch")
    panel.set_ylabel("dead hidden units (%)")
    panel.set_ylim(-3, 103)
  return figure


if __name__ == "__main__":
  command.run(
    "collapse",
    graphs.SETS,
    train=train,
    markdown=markdown,
    caption=caption,
    draw=draw,
  )
