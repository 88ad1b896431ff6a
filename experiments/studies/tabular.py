"""MixupE's table 4, at the paper's own size: ERM, Mixup and MixupE on tables.

  python -m experiments.studies.tabular --data_dir=FOLDER --workdir=DIR \
    --out=experiments/results/tabular

FOLDER holds UCI's files, see experiments/configs/tabular.py, which has the
protocol. For every data set the paper's whole grid is trained (see GRID) as one
sweep, in DIR/NAME; validation chooses each method's cell, and its runs are
tested. Resumable: the same command goes on where it was stopped. --out gets
tabular.json, tabular.md and tabular.png.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from etils import epath
from ml_collections import ConfigDict

from experiments.configs import tabular
from experiments.studies import command, three

SETS = (
  "arrhythmia",
  "letter",
  "balance_scale",
  "mfeat_factors",
  "mfeat_fourier",
  "mfeat_karhunen",
  "mfeat_morphological",
  "mfeat_zernike",
  "mfeat_pixel",
  "cmc",
  "optdigits",
  "pendigits",
  "iris",
  "abalone",
  "mnist_784",
)
ALPHAS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
ETAS = (1e-4, 1e-3, 1e-2, 0.1, 1.0)
SEEDS = range(5)
SMOKE: dict[str, Any] = dict(alphas=(0.1,), etas=(0.1,), seeds=range(2))
# 42,000 training rows of 784 columns: the paper's grid would take a day.
THINNED: dict[str, dict[str, Any]] = {
  "mnist_784": dict(alphas=(0.1, 1.0), etas=(1e-2, 1.0), seeds=range(3))
}


def make_config(name: str, data_dir: str, *, epochs: float) -> ConfigDict:
  """Returns what a data set's runs have in common.

  Their weights are the last step's, not an average, as the paper's are.
  """
  config = tabular.get_config(f"dataset={name},temperature_scaling=True")
  config.data_dir = data_dir
  config.epochs = config.eval_every_epochs = epochs
  config.polyak_rate = 0.0
  return config


def grids(
  alphas: Sequence[float] = ALPHAS,
  etas: Sequence[float] = ETAS,
  seeds: Sequence[int] = SEEDS,
) -> list[str]:
  """Returns the grids of the three methods, see `experiments.sweep.grid`."""
  own = f"seed={','.join(map(str, seeds))}"
  alpha = f"alpha={','.join(map(str, alphas))}"
  eta = f"eta={','.join(map(str, etas))}"
  return [
    f"method=erm;{own}",
    f"method=mixup;{alpha};{own}",
    f"method=mixupe;{alpha};{eta};{own}",
  ]


def train(
  name: str, data_dir: str, folder: epath.Path, *, smoke: bool
) -> dict[str, Any]:
  """Trains what is missing of a data set's runs, and summarizes them."""
  base = make_config(name, data_dir, epochs=1.0 if smoke else 25.0)
  own = grids(**(SMOKE if smoke else THINNED.get(name, {})))
  return three.summarize(command.sweep(base, own, folder))


if __name__ == "__main__":
  command.run(
    "tabular",
    SETS,
    train=train,
    markdown=three.markdown,
    caption=three.caption,
    draw=three.draw,
  )
