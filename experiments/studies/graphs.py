"""MixupE's table 6: ERM, Mixup and MixupE on graphs, chosen in two ways.

  python -m experiments.studies.graphs --data_dir=FOLDER --workdir=DIR \
    --out=experiments/results/graphs --sets=mutag

FOLDER holds the TUDataset collection's folders; the protocol is that of
experiments/configs/graphs.py, ten folds (NCI1: five, see IN_PART). Of the same
runs, which train on eight folds each, the table tells the errors that two
choices of cell and epoch lead to: the paper's, by the mean test accuracy over
the folds, which looks at what it reports, and an honest one, by the mean
accuracy on the validation folds. And of the same network with its sums as they
are, which is the paper's, and divided by the mean number of nodes, under which
fewer runs collapse to one constant output. Resumable. --out gets graphs.json,
graphs.md and graphs.png.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath
from matplotlib.figure import Figure
from ml_collections import ConfigDict
import numpy as np

from experiments.configs import graphs
from experiments.figures import drawing
from experiments.inputs import memory
from experiments.studies import command
from experiments.sweep import results, selection

SETS = tuple(graphs.SETS)
FOLDS = 10
# Fewer where a run takes long, and divided sums alone: six minutes on NCI1.
IN_PART = {"nci1": 5}
# Of the paper's nine alphas and five etas: its grid on one set takes hours.
ALPHAS = (1.0,)
ETAS = (1e-2, 1.0)
METHODS = {"ERM": "erm", "Mixup": "mixup", "MixupE": "mixupe"}
SCALE = "model_options.readout_scale"


def sweeps(
  name: str, data_dir: str, *, smoke: bool = False
) -> tuple[ConfigDict, list[str]]:
  """Returns what a data set's runs have in common, and their grids."""
  base = graphs.get_config(name)
  base.data_dir = data_dir
  base.polyak_rate = 0.0
  if smoke:
    base.model_options.hidden_size, base.model_options.num_layers = 8, 2
  # Folds differ by a graph; epochs of as many steps let them share a program.
  _, spec = memory.load(base)
  steps = -(-spec.num_train // base.batch_size)
  base.epochs = base.eval_every_epochs = None
  base.total_steps = (3 if smoke else 350) * steps
  base.eval_every = steps
  plain = "" if smoke or name in IN_PART else "1.0,"
  scales = f"{SCALE}={plain}{graphs.SETS[name]}"
  folds = f"fold=0..{(2 if smoke else IN_PART.get(name, FOLDS)) - 1}"
  alphas = f"alpha={','.join(map(str, ALPHAS[:1] if smoke else ALPHAS))}"
  etas = f"eta={','.join(map(str, ETAS[:1] if smoke else ETAS))}"
  return base, [
    f"method=erm;mix_at=input;{scales};{folds}",
    f"method=mixup;{scales};{alphas};{folds}",
    f"method=mixupe;{scales};{alphas};{etas};{folds}",
  ]


def curves(
  by_run: Mapping[Any, results.Result], part: str, field: str = "accuracy"
) -> np.ndarray:
  """Returns a cell's curves, [folds, epochs], zeros of a run that diverged.

  Args:
    by_run: the cell's results, by fold.
    part: "validation" or "test".
    field: of them.
  """
  runs = [by_run[fold] for fold in sorted(by_run)]
  known = [r["curve"][part][field] if "curve" in r else [] for r in runs]
  length = max(map(len, known), default=1) or 1
  return np.array([one or [0.0] * length for one in known])


def choose(
  groups: Sequence[tuple[selection.Cell, Mapping[Any, results.Result]]],
  part: str,
) -> tuple[selection.Cell, int, np.ndarray]:
  """Returns the cell and epoch of the best mean accuracy on a part, and errors.

  Of those that tie, the earlier epoch of the cell that stands first.

  Args:
    groups: cells with their results by fold, the simplest first.
    part: that chooses, "validation" or "test".

  Returns:
    (cell, number of the epoch from 0, test errors in % of the folds there).
  """
  best: tuple[float, int, int] | None = None
  for i, (_, by_run) in enumerate(groups):
    mean = curves(by_run, part).mean(axis=0)
    epoch = int(np.argmax(mean))
    if best is None or round(float(mean[epoch]) - best[0], 12) > 0.0:
      best = float(mean[epoch]), i, epoch
  if best is None:
    raise ValueError("No cell to choose: no results.")
  _, i, epoch = best
  cell, by_run = groups[i]
  return cell, epoch, 100.0 * (1.0 - curves(by_run, "test")[:, epoch])


Shares = dict[str, np.ndarray]


def shares(base: ConfigDict, fold: int) -> Shares:
  """Returns the classes' shares of a fold's "validation" and "test" parts."""
  config = base.copy_and_resolve_references()
  config.fold = fold
  data, spec = memory.load(config)
  parts = {"validation": data.eval_labels, "test": data.test_labels}
  return {
    name: np.bincount(labels, minlength=spec.num_classes) / len(labels)
    for name, labels in parts.items()
    if labels is not None
  }


def has_collapsed(result: results.Result, known: Shares) -> bool:
  """Whether a run ended telling every example to be of one class.

  Its accuracy on both parts is then that class's share. A run that diverged
  has collapsed, too.

  Args:
    result: of the run.
    known: the classes' shares of its fold, see `shares`.
  """
  if result.get("diverged_at"):
    return True
  hits = [
    np.isclose(values, result["curve"][part]["accuracy"][-1], atol=2e-6)
    for part, values in known.items()
  ]
  return bool(np.any(np.all(hits, axis=0)))


def summarize(
  found: Sequence[results.Result], base: ConfigDict
) -> dict[str, Any]:
  """Returns what the table says of one data set's results.

  Args:
    found: all of its results.
    base: what its runs have in common.

  Returns:
    read-out's scale -> method -> "paper" and "honest", each with its "cell",
    "epoch" and the folds' "error" in % (mean, standard deviation, standard
    error) and, but for ERM, its "difference" from ERM's, fold by fold, with a
    95 % interval; and "collapsed" of "runs", those of each eta "by_eta".
  """
  known = {fold: shares(base, fold) for fold in {r["fold"] for r in found}}
  scales: dict[str, Any] = {}
  for scale in sorted({result[SCALE] for result in found}):
    methods: dict[str, Any] = {}
    reference: dict[str, np.ndarray] = {}
    for title, method in METHODS.items():
      own = [r for r in found if (r["method"], r[SCALE]) == (method, scale)]
      groups = sorted(
        selection.cells(own, over="fold"),
        key=lambda group: (group[0].get("eta", 0.0), group[0].get("alpha", 0)),
      )
      gone = [r for r in own if has_collapsed(r, known[r["fold"]])]
      etas = sorted({r["eta"] for r in own if "eta" in r})
      methods[title] = {
        "collapsed": len(gone),
        "by_eta": {f"{e:g}": sum(r["eta"] == e for r in gone) for e in etas},
        "runs": len(own),
      }
      for way, part in (("paper", "test"), ("honest", "validation")):
        cell, epoch, errors = choose(groups, part)
        spread = float(np.std(errors, ddof=1)) if len(errors) > 1 else 0.0
        methods[title][way] = {
          "cell": {k: cell[k] for k in ("alpha", "eta") if k in cell},
          "epoch": epoch + 1,
          "error": command.rounded(errors.mean()),
          "standard_deviation": command.rounded(spread),
          "standard_error": command.rounded(spread / len(errors) ** 0.5),
        }
        if title == "ERM":
          reference[way] = errors
        else:
          methods[title][way]["difference"] = command.told(
            selection.estimate(errors - reference[way])
          )
    scales[f"{scale:g}"] = methods
  seconds = round(sum(result["seconds"] for result in found))
  return {"scales": scales, "seconds": seconds}


def _collapsed(told: Mapping[str, Any]) -> str:
  text = f"{told['collapsed']} of {told['runs']}"
  if not told["by_eta"]:
    return text
  etas = (f"{count} at eta {eta}" for eta, count in told["by_eta"].items())
  return f"{text} ({', '.join(etas)})"


def markdown(summary: Mapping[str, Any]) -> str:
  """Returns the table: a line for each data set, form and method."""
  lines = [
    [
      "data set",
      "sums divided by",
      "method",
      "chosen by test (%)",
      "chosen by validation (%)",
      "less ERM's, 95 % interval",
      "optimism (%)",
      "collapsed",
    ],
    ["---", "--:", "---", *["--:"] * 5],
  ]
  for name, one in summary.items():
    for scale, methods in one["scales"].items():
      for title, told in methods.items():
        paper, honest = told["paper"], told["honest"]
        lines.append(
          [
            name,
            scale,
            title,
            *(
              f"{way['error']:.2f} ± {way['standard_deviation']:.2f}"
              for way in (paper, honest)
            ),
            command.interval(honest["difference"], 2)
            if "difference" in honest
            else "",
            f"{honest['error'] - paper['error']:.2f}",
            _collapsed(told),
          ]
        )
  ran = {
    name: next(iter(one["scales"].values()))["ERM"]["runs"]
    for name, one in summary.items()
  }
  fewer = [f"{name} {n}" for name, n in ran.items() if n != FOLDS]
  of_them = f" ({', '.join(fewer)})" if fewer else ""
  return (
    f"Test error, mean ± standard deviation over ten folds{of_them}, of the "
    "cell and epoch of the best mean accuracy on the test folds (the paper's "
    "choice, which sees what it reports) and on validation folds, which the "
    "difference from ERM, fold by fold, is of; optimism is what the first "
    "choice gains on the second. Collapsed: runs of all cells that end with "
    f"one constant output.\n\n{command.rows(lines)}"
  )


def caption(summary: Mapping[str, Any]) -> str:
  """Returns what the table shows in a sentence or two, from its numbers."""
  told = [m for one in summary.values() for m in one["scales"].values()]
  gains = {
    f"{m['ERM']['honest']['error'] - m['ERM']['paper']['error']:.1f}"
    for m in told
  }
  least, most = (pick(gains, key=float) for pick in (min, max))
  parts = [
    "Choosing by the test folds lowers ERM's own error by "
    f"{least if least == most else f'{least} to {most}'} points."
  ]
  apart = [
    f"{title} ({name}, / {scale})"
    for name, one in summary.items()
    for scale, methods in one["scales"].items()
    for title, m in methods.items()
    if (less := m["honest"].get("difference")) is not None
    and less["low"] is not None
    and not less["low"] <= 0.0 <= less["high"]
  ]
  parts.append(
    "Chosen by validation, "
    + (", ".join(apart) if apart else "none")
    + f" {'are' if len(apart) > 1 else 'is'} told apart from ERM."
  )
  for name, one in summary.items():
    counts = {
      scale: (
        sum(m["collapsed"] for m in methods.values()),
        sum(m["runs"] for m in methods.values()),
      )
      for scale, methods in one["scales"].items()
    }
    parts.append(
      f"{name}: "
      + ", ".join(
        f"{bad} of {runs} runs collapse with sums divided by {scale}"
        for scale, (bad, runs) in counts.items()
      )
      + "."
    )
  return " ".join(parts)


def draw(summary: Mapping[str, Any]) -> Figure:
  """Returns both choices' errors, method by method, as a picture."""
  columns = min(3, len(summary))
  rows = -(-len(summary) // columns)
  figure, places = drawing.new(columns, rows, height=3.6)
  panels = list(places)
  for panel in panels[len(summary) :]:
    panel.set_axis_off()
  for panel, (name, one) in zip(panels, summary.items(), strict=False):
    ticks: list[str] = []
    for scale, methods in one["scales"].items():
      for title, told in methods.items():
        row = len(ticks)
        ticks.append(f"{title}, / {scale}")
        for way, color, offset in (
          ("paper", "C1", -0.12),
          ("honest", "C0", 0.12),
        ):
          panel.errorbar(
            told[way]["error"],
            row + offset,
            xerr=told[way]["standard_error"],
            fmt="o",
            color=color,
            label={"paper": "by test", "honest": "by validation"}[way]
            if row == 0
            else None,
          )
    panel.set_yticks(range(len(ticks)), ticks)
    panel.invert_yaxis()
    panel.set_title(name)
    panel.set_xlabel("test error (%), standard errors")
  panels[0].legend(loc="lower center", bbox_to_anchor=(0.5, 1.08), ncols=2)
  return figure


def train(
  name: str, data_dir: str, folder: epath.Path, *, smoke: bool
) -> dict[str, Any]:
  """Trains what is missing of a data set's runs, and summarizes them."""
  base, grids = sweeps(name, data_dir, smoke=smoke)
  return summarize(command.sweep(base, grids, folder), base)


if __name__ == "__main__":
  command.run(
    "graphs",
    SETS,
    train=train,
    markdown=markdown,
    caption=caption,
    draw=draw,
  )
