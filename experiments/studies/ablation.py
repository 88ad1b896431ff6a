"""MixupE's table 7 with the rows it lacks: where do the gains come from?

  python -m experiments.studies.ablation --data_dir=FOLDER --workdir=DIR \
    --out=experiments/results/ablation

Fashion-MNIST, whose official files FOLDER holds, by a small pre-activation
ResNet (three stages of one block, 8 to 32 channels, 19,650 parameters) on the
first 2,000 training images: ERM, Mixup, Mixup with MixupE's clean pass and
eta = 0, which is the control of all that follows, and MixupE by four eta, with
the exact penalty, with the released code's sign, on a half, a quarter and an
eighth of the clean batch, and at the mixed points; eight seeds each, of which
differences are taken pair by pair. Errors are of the 10,000 test images.

The paper's question needs a size at which Mixup helps. It was looked for on the
last 5,000 training images with seeds 0 and 1, by batches of 100, a cosine from
0.1 and L2 5e-4. Validation errors in %:

              ERM        Mixup, alpha = 0.2   Mixup, alpha = 1
  50 epochs   18.6 19.0  not run              16.8 17.1
  100 epochs  18.0 18.4  16.9 16.8            16.8 16.4

50 epochs and alpha = 1 were taken: half the cost, and as much of a gain. The
rows' eta where none is named, 0.3, was not chosen by anything.

Cost: 1,000 steps a run; 18 ms of a core each for Mixup, about twice that with
the clean pass: all 104 runs take an hour of two cores, or half of one, by what
else these have to do. Resumable. --out gets ablation.json, ablation.md and
ablation.png.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath
from matplotlib.figure import Figure
from ml_collections import ConfigDict

from experiments import methods
from experiments.configs import small_images
from experiments.figures import drawing
from experiments.studies import command, comparison
from experiments.sweep import results, selection

SETS = ("fashion_mnist",)
SEEDS = 8
ALPHA = 1.0
ETAS = (1e-3, 0.1, 0.3, 1.0)
ETA = 0.3

Row = Mapping[str, Any]
_MIXUPE = {"method": "mixupe"}
ROWS: Mapping[str, Row] = {
  "ERM": {"method": "erm"},
  "Mixup": {"method": "mixup"},
  "Mixup, clean pass, η = 0": {**_MIXUPE, "eta": 0.0},
  **{f"MixupE, η = {eta:g}": {**_MIXUPE, "eta": eta} for eta in ETAS},
  "exact": {**_MIXUPE, "eta": ETA, "penalty": "exact"},
  "release's sign": {**_MIXUPE, "eta": ETA, "penalty_form": "release"},
  "half clean": {**_MIXUPE, "eta": ETA, "clean_fraction": 0.5},
  "a quarter clean": {**_MIXUPE, "eta": ETA, "clean_fraction": 0.25},
  "an eighth clean": {**_MIXUPE, "eta": ETA, "clean_fraction": 0.125},
  "at mixed points": {**_MIXUPE, "eta": ETA, "penalty_at": "mixed"},
}
BASELINE, CONTROL = "Mixup", "Mixup, clean pass, η = 0"
FULL = f"MixupE, η = {ETA:g}"
# The rows that --smoke trains, which are one program.
_SMOKE = (CONTROL, FULL)


def sweeps(
  name: str, data_dir: str, *, smoke: bool = False
) -> tuple[ConfigDict, list[str]]:
  """Returns what a data set's runs have in common, and their grids."""
  base = small_images.base(name)
  base.data_dir = data_dir
  base.train_split = f"train[:{100 if smoke else 2000}]"
  base.eval_split = "train[-100:]" if smoke else "train[-5000:]"
  options: dict[str, Any] = {
    "stage_sizes": (1, 1, 1),
    "width": 8,
    "stem_stride": 2,
  }
  if (
    smoke
  ):  # most of its seconds would be a convolutional network's compilation
    base.model, options = "mlp", {"features": (8,)}
  base.model_options = ConfigDict(options)
  base.recipe = methods.recipe(mixup_alpha=ALPHA, eta=ETA)
  base.batch_size = 50 if smoke else 100
  base.eval_batch_size = 1000
  base.weight_decay = 5e-4
  base.schedule = "cosine"
  base.schedule_boundaries = ()
  base.epochs = 1.0 if smoke else 50.0
  # Looked at once, at the end.
  base.eval_every_epochs = base.epochs
  seeds = f"seed=0..{(2 if smoke else SEEDS) - 1}"
  rows = {title: ROWS[title] for title in (_SMOKE if smoke else ROWS)}
  return base, [
    ";".join([*(f"{key}={value}" for key, value in row.items()), seeds])
    for row in rows.values()
  ]


def by_row(
  found: Sequence[results.Result],
) -> dict[str, Mapping[Any, results.Result]]:
  """Returns each row's results by seed, of the rows that were trained."""
  cells = selection.cells(found)
  return {
    title: by_seed
    for title, row in ROWS.items()
    for cell, by_seed in cells
    if cell == row
  }


def error(part: Mapping[str, float]) -> float:
  """In %."""
  return 100.0 * selection.error(part)


def summarize(found: Sequence[results.Result]) -> dict[str, Any]:
  """Returns what the table says of one data set's results.

  Args:
    found: of `sweeps`, all of them.

  Returns:
    "rows": title -> test "error" and "validation_error" in %, "negative
    log-likelihood", "calibration_error" in %, and the paired differences of the
    test error from Mixup, "minus_mixup", and from its control, "minus_control",
    each with its p by Holm's correction over the rows; of a row with runs that
    diverged only how many did. And "seeds", "seconds" a run by row.
  """
  groups = by_row(found)
  whole = {
    title: runs
    for title, runs in groups.items()
    if not any(result.get("diverged_at") for result in runs.values())
  }
  rows: dict[str, Any] = {}
  for title, runs in groups.items():
    seconds = [result["seconds"] for result in runs.values()]
    rows[title] = {"seconds": command.rounded(sum(seconds) / len(seconds))}
    if title not in whole:
      rows[title]["diverged"] = sum("diverged_at" in r for r in runs.values())
      continue
    validation = [error(result["validation"]) for result in runs.values()]
    rows[title] |= {
      "error": told(selection.tested(runs, error)),
      "validation_error": told(selection.estimate(validation)),
      "loss": told(selection.tested(runs, lambda part: part["loss"])),
      "calibration_error": told(
        selection.tested(runs, lambda part: 100.0 * part["calibration_error"])
      ),
    }
  for name, theirs in (("minus_mixup", BASELINE), ("minus_control", CONTROL)):
    if theirs not in whole:
      continue
    differences = {
      title: selection.paired(runs, whole[theirs], error)
      for title, runs in whole.items()
      if title != theirs
    }
    corrected = comparison.holm(
      [comparison.p_value(one) for one in differences.values()]
    )
    for (title, one), p in zip(differences.items(), corrected, strict=True):
      rows[title][name] = told(one) | {"p": command.rounded(p)}
  return {
    "rows": rows,
    "seeds": len({result["seed"] for result in found}),
    "seconds": round(sum(result["seconds"] for result in found)),
  }


def told(one: selection.Estimate) -> dict[str, float | None]:
  """An estimate as JSON files hold it."""
  return {name: command.rounded(value) for name, value in one._asdict().items()}


def markdown(summary: Mapping[str, Any]) -> str:
  """Returns the table, a line a row."""
  head = ["test error (%)", "− Mixup (%)", "p", "− control (%)", "p"]
  lines = [
    ["data set", "row", *head, "NLL (nats)", "seconds"],
    ["---", "---", *["--:"] * 7],
  ]
  for name, one in summary.items():
    for title, row in one["rows"].items():
      line = [name, title]
      if "diverged" in row:
        lines.append([*line, f"{row['diverged']} diverged", *["—"] * 6])
        continue
      line.append(_shown(row["error"], 2))
      for against in ("minus_mixup", "minus_control"):
        line += _difference(row.get(against))
      lines.append([*line, _shown(row["loss"], 3), f"{row['seconds']:.0f}"])
  return (
    "± is the standard error over seeds; differences are paired by seed, with "
    "intervals of 95 % by Student's t and p by Holm's correction over the "
    f"rows. The control is {CONTROL!r}. η is {ETA:g} where none is named.\n\n"
    f"{command.rows(lines)}"
  )


def _shown(one: Mapping[str, Any], decimals: int) -> str:
  text = f"{one['mean']:.{decimals}f}"
  if one["standard_error"] is not None:
    text += f" ± {one['standard_error']:.{decimals}f}"
  return text


def _difference(one: Mapping[str, Any] | None) -> list[str]:
  if one is None:
    return ["—", "—"]
  return [command.interval(one, 2), f"{one['p']:.2g}"]


def caption(summary: Mapping[str, Any]) -> str:
  """Returns what the table shows in a sentence or two, from its numbers."""
  asked = (
    ("ERM", BASELINE, "minus_mixup"),
    (CONTROL, BASELINE, "minus_mixup"),
    (FULL, BASELINE, "minus_mixup"),
    (FULL, "control", "minus_control"),
    ("a quarter clean", "control", "minus_control"),
    ("exact", "control", "minus_control"),
    ("release's sign", "control", "minus_control"),
  )
  parts = []
  for name, one in summary.items():
    rows = one["rows"]
    said = [
      f"{title} − {against}: {command.interval(rows[title][field], 2)}"
      for title, against, field in asked
      if field in rows.get(title, {})
    ]
    parts.append(
      f"{name}, {one['seeds']} paired seeds, points of test error. "
      + "; ".join(said)
      + "."
    )
  return " ".join(parts)


def draw(summary: Mapping[str, Any]) -> Figure:
  """Returns the differences from Mixup and from its control as a picture."""
  figure, panels = drawing.new(2, height=4.2)
  for panel, (field, against) in zip(
    panels,
    (("minus_mixup", BASELINE), ("minus_control", "its clean pass, η = 0")),
    strict=True,
  ):
    ticks: list[str] = []
    for name, one in summary.items():
      for title, row in one["rows"].items():
        if field not in row:
          continue
        value = row[field]
        low, high = (
          abs(value[end] - value["mean"]) if value[end] is not None else 0.0
          for end in ("low", "high")
        )
        panel.errorbar(
          value["mean"], len(ticks), xerr=[[low], [high]], fmt="o", color="C0"
        )
        ticks.append(title if len(summary) == 1 else f"{name}: {title}")
    panel.axvline(0.0, color="0.5", linewidth=0.8)
    panel.set_yticks(range(len(ticks)), ticks)
    panel.invert_yaxis()
    panel.set_xlabel(f"test error − {against} (%)")
  return figure


def train(
  name: str, data_dir: str, folder: epath.Path, *, smoke: bool
) -> dict[str, Any]:
  """Trains what is missing of a data set's runs, and summarizes them."""
  base, grids = sweeps(name, data_dir, smoke=smoke)
  return summarize(command.sweep(base, grids, folder))


if __name__ == "__main__":
  command.run(
    "ablation",
    SETS,
    train=train,
    markdown=markdown,
    caption=caption,
    draw=draw,
  )
