"""The gap between training and test loss: against alpha, and as it grows.

  python -m experiments.studies.gap --data_dir=FOLDER --workdir=DIR \
    --out=experiments/results/gap

Two claims of generalisation, small, on Fashion-MNIST, whose official files
FOLDER holds. Kimura (2021), figure 3 and table 1: the gap is smaller for
smaller alpha of Beta(alpha, alpha); here by the paper's seven. Zhang et al.
(2021), figure 7: Mixup's test error, test loss and gap end below ERM's, with
augmentation and without; here with alpha = 1, which the paper does not name.

Losses are of the training images and of the 10,000 test images as they are,
neither mixed nor augmented. Kimura does not say which the paper's training loss
is; of mixed examples it is in `experiments.figures.kimura_figure3`. The network
is that of `experiments.studies.small`, on the first 2,000 training images for
50 epochs; it is looked at every fifth.

Cost: 1,000 steps of 23 ms of a core and ten evaluations of 1.4 s a run: 30 runs
take 19 minutes of one core. Resumable. --out gets gap.json, gap.md and gap.png.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath
from matplotlib.figure import Figure
from ml_collections import ConfigDict
import numpy as np

from experiments.configs import kimura_images
from experiments.figures import drawing
from experiments.report import against
from experiments.studies import command, rows, small
from experiments.sweep import results, selection

SETS = ("fashion_mnist",)
SEEDS = 3
EVERY = 5.0  # epochs
ALPHAS = kimura_images.ALPHAS

_AUGMENTED = {"crop_padding": 4, "hflip": 0.5}
# Zhang's, of which the first pair is Kimura's alpha = 1 and its control, too.
CURVES: Mapping[str, Mapping[str, Any]] = {
  "ERM": {"method": "erm"},
  "Mixup": {"method": "mixup", "alpha": 1.0},
  "ERM, augmented": {"method": "erm", **_AUGMENTED},
  "Mixup, augmented": {"method": "mixup", "alpha": 1.0, **_AUGMENTED},
}
# Kimura's; the one of alpha = 1 is "Mixup", and trained once.
ALONG = {
  f"α = {alpha:g}": {"method": "mixup", "alpha": alpha} for alpha in ALPHAS
}
ROWS = rows.Rows({**CURVES, **ALONG}, against={}, asked=())
# The rows that --smoke trains.
_SMOKE = ("ERM", "α = 0.1", "α = 1", "α = 4")
# Of a result, in nats and %; its "validation" is of the training images.
MEASURES = {
  "gap": lambda r: r["test"]["loss"] - r["validation"]["loss"],
  "train_loss": lambda r: r["validation"]["loss"],
  "test_loss": lambda r: r["test"]["loss"],
  "test_error": lambda r: rows.error(r["test"]),
}
_PAIRS = {"plain": ("ERM", "Mixup"), "augmented": tuple(CURVES)[2:]}


def sweeps(
  name: str, data_dir: str, *, smoke: bool = False
) -> tuple[ConfigDict, list[str]]:
  """Returns what a data set's runs have in common, and their grids."""
  base = kimura_images.get_config(f"{name},plain")
  base.model = "preact_resnet18"
  small.use(base, data_dir, smoke=smoke)
  base.eval_split = base.train_split
  base.eval_every_epochs = base.epochs / 2 if smoke else EVERY
  return base, ROWS.grids(2 if smoke else SEEDS, _SMOKE if smoke else ())


def summarize(found: Sequence[results.Result]) -> dict[str, Any]:
  """Returns what the table says of one data set's results.

  Args:
    found: of `sweeps`, all of them.

  Returns:
    "rows": title -> each of MEASURES at the end, or how many runs "diverged";
    "rise": the gap at the largest alpha less that at the smallest, paired;
    "mixup_minus_erm": "plain" and "augmented" -> the measures' paired
    differences; "curves": title -> "step", and the means of "test_error",
    "test_loss", "train_loss" and "gap" with their standard errors by it; and
    "seeds" and "seconds" of all runs.
  """
  runs = rows.by_row(ROWS, found)
  told: dict[str, Any] = {}
  for title, own in list(runs.items()):
    diverged = sum("diverged_at" in result for result in own.values())
    if diverged:
      told[title] = {"diverged": diverged}
      del runs[title]
      continue
    told[title] = {
      name: command.told(selection.estimate([of(r) for r in own.values()]))
      for name, of in MEASURES.items()
    }

  def differences(ours: str, theirs: str) -> dict[str, Any]:
    return {
      name: command.told(
        selection.estimate(
          [of(runs[ours][k]) - of(runs[theirs][k]) for k in runs[ours]]
        )
      )
      for name, of in MEASURES.items()
    }

  first, *_, last = ALONG
  return {
    "rows": told,
    "rise": (
      differences(last, first)["gap"] if {last, first} <= runs.keys() else None
    ),
    "mixup_minus_erm": {
      name: differences(mixup, erm)
      for name, (erm, mixup) in _PAIRS.items()
      if {mixup, erm} <= runs.keys()
    },
    "curves": {
      title: _curves(list(runs[title].values()))
      for title in CURVES
      if title in runs
    },
    "seeds": len({result["seed"] for result in found}),
    "seconds": round(sum(result["seconds"] for result in found)),
  }


def _curves(own: Sequence[results.Result]) -> dict[str, Any]:
  """Means over runs and their standard errors, by the step."""
  parts = {
    "test_error": [
      100.0 * (1.0 - np.asarray(r["curve"]["test"]["accuracy"])) for r in own
    ],
    "test_loss": [np.asarray(r["curve"]["test"]["loss"]) for r in own],
    "train_loss": [np.asarray(r["curve"]["validation"]["loss"]) for r in own],
  }
  parts["gap"] = [
    test - train
    for test, train in zip(parts["test_loss"], parts["train_loss"], strict=True)
  ]
  return {
    "step": own[0]["curve"]["step"],
    **{
      name: {
        "mean": drawing.numbers(np.mean(values, axis=0)),
        "standard_error": drawing.numbers(
          np.std(values, axis=0, ddof=1) / np.sqrt(len(values))
        ),
      }
      for name, values in parts.items()
    },
  }


def markdown(summary: Mapping[str, Any]) -> str:
  """Returns the table, a line a row."""
  lines = [
    [
      "data set",
      "row",
      *("gap (nats)", "training loss", "test loss", "test error (%)"),
    ],
    ["---", "---", *["--:"] * 4],
  ]
  for name, one in summary.items():
    for title, row in one["rows"].items():
      values = [
        command.shown(row[measure], 2 if measure == "test_error" else 3)
        for measure in MEASURES
        if measure in row
      ] or [f"{row['diverged']} diverged", "—", "—", "—"]
      lines.append([name, title, *values])
  return (
    "± is the standard error over seeds. Gap: test loss − training loss, of "
    "images as they are. Mixup is that of α = 1.\n\n"
    f"{command.rows(lines)}"
  )


def caption(summary: Mapping[str, Any]) -> str:
  """Returns what the table shows in a sentence or two, from its numbers."""
  parts = []
  for name, one in summary.items():
    said = []
    if one["rise"]:
      first, *_, last = ALONG
      gap = lambda title, found=one["rows"]: found[title]["gap"]["mean"]
      said.append(
        f"Gap {gap(first):.3f} nats at {first}, {gap(last):.3f} at {last}, "
        f"a difference of {command.interval(one['rise'], 3)}"
      )
    for which, differences in one["mixup_minus_erm"].items():
      said.append(
        f"Mixup − ERM, {which}: test error "
        f"{command.interval(differences['test_error'], 2)} points, test loss "
        f"{command.interval(differences['test_loss'], 3)}, gap "
        f"{command.interval(differences['gap'], 3)} nats"
      )
    parts.append(f"{name}, {one['seeds']} paired seeds. {'; '.join(said)}.")
  return " ".join(parts)


def draw(summary: Mapping[str, Any]) -> Figure:
  """Returns gap and test error against alpha, and the curves, as a picture."""
  figure, panels = drawing.new(2, 2)
  along, errors, curves, gaps = panels
  for number, (name, one) in enumerate(summary.items()):
    there = {
      alpha: one["rows"][title]
      for alpha, title in zip(ALPHAS, ALONG, strict=True)
      if "gap" in one["rows"].get(title, {})
    }
    erm = one["rows"].get("ERM", {})
    for panel, measure in ((along, "gap"), (errors, "test_error")):
      against.curve(
        panel,
        list(there),
        [row[measure] for row in there.values()],
        level=erm.get(measure),
        color=f"C{number}",
        label=name,
      )
    for k, (title, curve) in enumerate(one["curves"].items()):
      for panel, measure in ((curves, "test_error"), (gaps, "gap")):
        mean = np.asarray(curve[measure]["mean"])
        spread = np.asarray(
          [value or 0.0 for value in curve[measure]["standard_error"]]
        )
        look = {"color": f"C{k}"}
        panel.plot(curve["step"], mean, label=title, **look)
        panel.fill_between(
          curve["step"], mean - spread, mean + spread, alpha=0.2, **look
        )
  along.set_ylabel("test − training loss (nats)")
  errors.set_ylabel("test error (%)")
  curves.set_ylabel("test error (%)")
  gaps.set_ylabel("test − training loss (nats)")
  for panel in (along, errors):
    panel.set_xlabel("α (dashed: ERM)")
  for panel in (curves, gaps):
    panel.set_xlabel("training step")
  curves.legend(fontsize=7)
  return figure


def train(
  name: str, data_dir: str, folder: epath.Path, *, smoke: bool
) -> dict[str, Any]:
  """Trains what is missing of a data set's runs, and summarizes them."""
  base, grids = sweeps(name, data_dir, smoke=smoke)
  return summarize(command.sweep(base, grids, folder))


if __name__ == "__main__":
  command.run(
    "gap", SETS, train=train, markdown=markdown, caption=caption, draw=draw
  )
