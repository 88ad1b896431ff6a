"""ERM, Mixup and MixupE beside each other: table, picture and words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
import numpy as np

from experiments.figures import drawing
from experiments.studies import command
from experiments.sweep import results, selection

METHODS = {"ERM": "erm", "Mixup": "mixup", "MixupE": "mixupe"}
PAIRED = ("Mixup - ERM", "MixupE - Mixup")
# Of a result's test part -> title, scale.
METRICS = {
  "error": ("test error (%)", 100.0),
  "loss": ("NLL (nats)", 1.0),
  "calibration_error": ("calibration error (%)", 100.0),
  "scaled_loss": ("NLL, scaled (nats)", 1.0),
  "scaled_calibration_error": ("calibration error, scaled (%)", 100.0),
}


def metric(name: str):
  """Returns what `METRICS` means by a name, of a result's part, scaled."""
  _, scale = METRICS[name]
  if name == "error":
    return lambda part: scale * selection.error(part)
  return lambda part: scale * part[name]


def summarize(found: Sequence[results.Result]) -> dict[str, Any]:
  """Returns what the table says of one data set's results.

  Args:
    found: of the three methods, all of them.

  Returns:
    "methods": name -> its chosen "cell", "validation_error" (%) and "test",
    each metric's mean, standard error and number of runs; "differences": of
    `PAIRED` -> each metric's paired mean and interval; "diverged": how many
    runs did; "seconds" of all.
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
        name: command.told(selection.tested(by_run, metric(name)))
        for name in METRICS
      },
    }
  differences = {}
  for pair in PAIRED:
    ours, theirs = (chosen[title] for title in pair.split(" - "))
    differences[pair] = {
      name: command.told(selection.paired(ours, theirs, metric(name)))
      for name in METRICS
    }
  return {
    "methods": methods,
    "differences": differences,
    "runs": len(found),
    "diverged": sum("diverged_at" in result for result in found),
    "seconds": round(sum(result["seconds"] for result in found)),
  }


def markdown(summary: Mapping[str, Any], what: str = "data set") -> str:
  """Returns the table of errors, and that of likelihood and calibration.

  Args:
    summary: name -> what `summarize` returned.
    what: the names are of.
  """
  pairs = [pair.replace("-", "−") for pair in PAIRED]
  first = [
    [what, *METHODS, "alpha", "alpha, eta", *(f"{one} (%)" for one in pairs)],
    ["---", *["--:"] * 7],
  ]
  second = [
    [what, "metric", *METHODS, *pairs],
    ["---", "---", *["--:"] * 5],
  ]
  for name, one in summary.items():
    methods = one["methods"]
    cells = {title: value["cell"] for title, value in methods.items()}
    differences = [one["differences"][pair] for pair in PAIRED]
    first.append(
      [
        name,
        *(
          command.shown(methods[title]["test"]["error"], 2) for title in METHODS
        ),
        f"{cells['Mixup']['alpha']:g}",
        f"{cells['MixupE']['alpha']:g}, {cells['MixupE']['eta']:g}",
        *(command.interval(pair["error"], 2) for pair in differences),
      ]
    )
    for field in list(METRICS)[1:]:
      title, scale = METRICS[field]
      decimals = 2 if scale == 100.0 else 4
      second.append(
        [
          name,
          title,
          *(
            command.shown(methods[t]["test"][field], decimals) for t in METHODS
          ),
          *(command.interval(pair[field], decimals) for pair in differences),
        ]
      )
  return (
    "Test error (%), mean ± standard error over seeds, of the cell that the "
    "validation error chose; differences, paired by seed, with their 95 % "
    "intervals by Student's t.\n\n"
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
      for color, offset, pair in zip(
        ("C0", "C1"), (-0.12, 0.12), PAIRED, strict=True
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


def caption(summary: Mapping[str, Any], what: str = "data set") -> str:
  """Returns what the table shows in a sentence or two, from its numbers.

  Args:
    summary: name -> what `summarize` returned.
    what: a name is of.
  """
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
    f"MixupE against Mixup on {len(pair)} {what}{'s' * (len(pair) > 1)}, "
    f"paired by seed, 95 % intervals: {'; '.join(told)}. "
    f"Mean difference in test error {mean:+.2f} %."
  )
