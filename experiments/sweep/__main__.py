"""Many runs as one program: every combination of a grid's values.

  python -m experiments.sweep --config=experiments/configs/digits.py:model=mlp \
    --grid="alpha=0.1,1;eta=0,0.1,1;seed=0..4" --workdir=DIR

Runs that differ in alpha, beta, eta, learning_rate, seed and fold alone are
trained side by side; other keys may be in the grid, too, each value with a
program of its own. Several --grid flags are one after another. The same command
again goes on where it was stopped; a larger grid adds to what is there.
DIR/results.jsonl has an object a run, DIR/table.md the cells.
"""

from __future__ import annotations

from absl import flags, logging
from ml_collections import config_flags

from experiments import cli
from experiments.sweep import grid, table, together, training
from experiments.workdir import storage

_CONFIG = config_flags.DEFINE_config_file(
  "config",
  "experiments/configs/digits.py",
  "What the runs have in common, with an optional argument after a colon.",
)
_GRID = flags.DEFINE_multi_string(
  "grid",
  None,
  "key=value,value;key=first..last: all combinations.",
  required=True,
)
_WORKDIR = flags.DEFINE_string(
  "workdir", None, "Where results.jsonl and table.md go.", required=True
)
_TOGETHER = flags.DEFINE_integer(
  "together",
  None,
  "Runs side by side; by default as many as memory has room for.",
  lower_bound=1,
)
_OVER = flags.DEFINE_string(
  "over", "seed", "The key that tells a cell's runs apart: seed, or fold."
)


def main() -> None:
  """Trains the grid and prints its table."""
  logging.set_verbosity(logging.INFO)
  together.use_all_cores()
  config = _CONFIG.value
  points = grid.points(_GRID.value, config)
  found = training.run(points, config, _WORKDIR.value, _TOGETHER.value)
  text = table.markdown(found, _OVER.value)
  storage.write(storage.path(_WORKDIR.value) / "table.md", text)
  print(text)


if __name__ == "__main__":
  cli.run(main, resumable=True)
