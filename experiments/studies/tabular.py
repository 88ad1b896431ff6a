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

from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath
from matplotlib.figure import Figure
from ml_collections import ConfigDict
import numpy as np

from experiments.configs import tabular
from experiments.figures import drawing
from experiments.studies import command
from experiments.sweep import results, selection
from experiments.sweep.selection import Estimate

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
METHODS = {"ERM": "erm", "Mixup": "mixup", "MixupE": "mixupe"}
# Of a result's test part -> title, scale.
METRICS = {
  "error": ("test error (%)", 100.0),
  "loss": ("NLL (nats)", 1.0),
  "calibration_error": ("calibration error (%)", 100.0),
  "scaled_loss": ("NLL, scaled (nats)", 1.0),
  "scaled_calibration_error": ("calibration error, scaled (%)", 100.0),
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


def metric(name: str):
  """Returns what `METRICS` means by a name, of a result's part, scaled."""
  _, scale = METRICS[name]
  if name == "error":
    return lambda part: scale * selection.error(part)
  return lambda part: scale * part[name]


def summarize(found: Sequence[results.Result]) -> dict[str, Any]:
  """Returns what the table says of one data set's results.

  Args:
    found: of `grids`, all of them.

  Returns:
    "methods": name -> its chosen "cell", "validation_error" (%) and "test",
    each metric's mean, standard error and number of runs; "differences":
    "MixupE - Mixup" and "Mixup - ERM" -> each metric's paired mean and
    interval; "diverged": how many runs did; "seconds" of all.
  """
  chosen = {}
  methods = {}
  for title, method in METHODS.items():
    own = [result for result in found if result["method"] == method]
    cell, by_run = selection.select(own)
    chosen[title] = by_run
    validation = [
      100.0 * selection.error(r["validation"]) for r in by_run.values()
    ]
    methods[title] = {
      "cell": {k: v for k, v in cell.items() if k != "method"},
      "validation_error": command.rounded(np.mean(validation)),
      "test": {
        name: _told(selection.tested(by_run, metric(name))) for name in METRICS
      },
    }
  return {
    "methods": methods,
    "differences": {
      f"{ours} - {theirs}": {
        name: _told(
          selection.paired(chosen[ours], chosen[theirs], metric(name))
        )
        for name in METRICS
      }
      for ours, theirs in (("MixupE", "Mixup"), ("Mixup", "ERM"))
    },
    "runs": len(found),
    "diverged": sum("diverged_at" in result for result in found),
    "seconds": round(sum(result["seconds"] for result in found)),
  }


def markdown(summary: Mapping[str, Any]) -> str:
  """Returns the table of errors, and that of likelihood and calibration."""
  first = [
    ["data set", *METHODS, "alpha", "alpha, eta", "MixupE − Mixup, paired (%)"],
    ["---", *["--:"] * 6],
  ]
  second = [
    ["data set", "metric", *METHODS, "MixupE − Mixup, paired"],
    ["---", "---", *["--:"] * 4],
  ]
  for name, one in summary.items():
    methods = one["methods"]
    cells = {title: value["cell"] for title, value in methods.items()}
    difference = one["differences"]["MixupE - Mixup"]
    first.append(
      [
        name,
        *(_shown(methods[title]["test"]["error"], 2) for title in METHODS),
        f"{cells['Mixup']['alpha']:g}",
        f"{cells['MixupE']['alpha']:g}, {cells['MixupE']['eta']:g}",
        command.interval(difference["error"], 2),
      ]
    )
    for field in list(METRICS)[1:]:
      title, scale = METRICS[field]
      decimals = 2 if scale == 100.0 else 4
      second.append(
        [
          name,
          title,
          *(_shown(methods[t]["test"][field], decimals) for t in METHODS),
          command.interval(difference[field], decimals),
        ]
      )
  return (
    "Test error (%), mean ± standard error over seeds, of the cell that the "
    "validation error chose; the paired difference with its 95 % interval by "
    "Student's t.\n\n"
    f"{command.rows(first)}\n"
    "Of the same cells; scaled: at the temperature that the validation rows "
    f"chose.\n\n{command.rows(second)}"
  )


def draw(summary: Mapping[str, Any]) -> Figure:
  """Returns the paired differences, data set by data set, as a picture."""
  shown = ("error", "loss", "calibration_error")
  figure, panels = drawing.new(len(shown), height=1.2 + 0.28 * len(summary))
  _panels(figure, panels, summary, shown)
  return figure


def _panels(
  figure: Figure, panels: Any, summary: Mapping[str, Any], shown: Sequence[str]
) -> None:
  names = list(summary)
  for k, (field, panel) in enumerate(zip(shown, panels, strict=False)):
    panel.axvline(0.0, color="0.7", linewidth=1.0)
    for row, name in enumerate(names):
      for color, offset, pair in (
        ("C0", -0.12, "Mixup - ERM"),
        ("C1", 0.12, "MixupE - Mixup"),
      ):
        told = summary[name]["differences"][pair][field]
        panel.plot(
          [told["low"], told["high"]],
          [row + offset] * 2,
          "-",
          color=color,
          linewidth=2,
        )
        panel.plot(
          told["mean"],
          row + offset,
          "o",
          color=color,
          label=pair.replace("-", "−") if row == 0 else None,
        )
    panel.set_yticks(range(len(names)), names if k == 0 else [""] * len(names))
    panel.set_ylim(len(names) - 0.5, -0.5)
    panel.set_xlabel(f"difference in {METRICS[field][0]}")
  figure.legend(
    *panels[0].get_legend_handles_labels(),
    loc="outside upper center",
    ncols=2,
  )


def caption(summary: Mapping[str, Any]) -> str:
  """Returns what the table shows in a sentence or two, from its numbers."""
  pair = [one["differences"]["MixupE - Mixup"] for one in summary.values()]

  def counts(field):
    better = sum(told[field]["high"] < 0.0 for told in pair)
    worse = sum(told[field]["low"] > 0.0 for told in pair)
    return better, worse, len(pair) - better - worse

  told = []
  for field, name in (
    ("error", "error"),
    ("loss", "likelihood"),
    ("calibration_error", "calibration"),
    ("scaled_loss", "likelihood after temperature scaling"),
    ("scaled_calibration_error", "calibration after it"),
  ):
    better, worse, open_ = counts(field)
    told.append(
      f"in {name} better on {better}, worse on {worse}, "
      f"not told apart on {open_}"
    )
  mean = float(np.mean([t["error"]["mean"] for t in pair]))
  return (
    f"MixupE against Mixup on {len(pair)} data sets, paired by seed, 95 % "
    f"intervals: {'; '.join(told)}. Mean difference in test error "
    f"{mean:+.2f} %."
  )


def _told(number: Estimate) -> dict[str, Any]:
  return {
    name: value if isinstance(value, int) else command.rounded(value)
    for name, value in number._asdict().items()
  }


def _shown(told: Mapping[str, Any], decimals: int) -> str:
  text = f"{told['mean']:.{decimals}f}"
  if told["standard_error"] is not None:
    text += f" ± {told['standard_error']:.{decimals}f}"
  return text


def train(
  name: str, data_dir: str, folder: epath.Path, *, smoke: bool
) -> dict[str, Any]:
  """Trains what is missing of a data set's runs, and summarizes them."""
  base = make_config(name, data_dir, epochs=1.0 if smoke else 25.0)
  own = grids(**(SMOKE if smoke else THINNED.get(name, {})))
  return summarize(command.sweep(base, own, folder))


if __name__ == "__main__":
  command.run(
    "tabular",
    SETS,
    train=train,
    markdown=markdown,
    caption=caption,
    draw=draw,
  )
