"""A league of mixing methods on tables, all with the same budget of tuning.

  python -m experiments.studies.league --data_dir=FOLDER --workdir=DIR \
    --out=experiments/results/league

FOLDER holds UCI's files, see experiments/configs/tabular.py, which has the
protocol. Every method tries 12 settings on three seeds: four of its own at
three learning rates each; ERM, which has none of its own, 12 learning rates.
Validation chooses one, which trains on 20 other seeds, the same for all. Then
every method is compared with ERM on every data set, seed by seed, by Student's
t; p-values are Holm's, over all comparisons, and so are wins and losses (p < 5
%); intervals are Bonferroni's over the same number.

abalone_rings is abalone with the number of rings as a number, by squared loss;
pairing by label (C-Mixup) is in the league there. It has no part in ranks.

Resumable: the same command goes on where it was stopped. --out gets
league.json, league.md and league.png.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath
import jax
from matplotlib.figure import Figure
from ml_collections import ConfigDict
import numpy as np

from experiments.figures import drawing
from experiments.studies import command, comparison, tabular
from experiments.sweep import grid, results, selection, training

RINGS = "abalone_rings"
# Of those of table 4, the ones that train in seconds.
SETS = (*(x for x in tabular.SETS if x != "mnist_784"), RINGS)
REFERENCE, BUDGET = "ERM", 12
TUNING_SEEDS, SEEDS = (100, 101, 102), range(20)
_RATES = "learning_rate=0.001,0.003,0.01"
_ALPHAS = "alpha=0.05,0.2,0.5,2"
_MIXUPE = f"method=mixupe;alpha=0.1,1;eta=0.1,1;{_RATES}"
_TWO = "alpha=1.1,2;beta=0.1,1"
FIXED_ETA = "MixupE, relative eta 3"
METHODS = {
  REFERENCE: "method=erm;learning_rate=0.0003,0.0005,0.0007,0.001,0.0015,"
  "0.002,0.003,0.005,0.007,0.01,0.015,0.02",
  "label smoothing": f"method=erm;label_smoothing=0.01,0.05,0.1,0.2;{_RATES}",
  "weight decay": "method=erm;weight_decay=0.0001,0.001,0.003,0.01;" + _RATES,
  "ERM + penalty": f"method=erm;alpha=1;eta=0.03,0.1,0.3,1;{_RATES}",
  "Mixup": f"method=mixup;{_ALPHAS};{_RATES}",
  "MixupE": _MIXUPE,
  "MixupE, exact": f"{_MIXUPE};penalty=exact",
  "MixupE, mixed points": f"{_MIXUPE};penalty_at=mixed",
  "MixupE, order 2": f"{_MIXUPE};penalty=taylor",
  "MixupE, relative": "method=mixupe;eta_scale=relative;alpha=0.1,1;eta=1,10;"
  + _RATES,
  FIXED_ETA: f"method=mixupe;eta_scale=relative;{_ALPHAS};eta=3;{_RATES}",
  "untied MixUp": f"method=untied;{_TWO};{_RATES}",
  "DAT": f"method=dat;{_TWO};{_RATES}",
  "RegMixup": f"method=regmixup;alpha=0.5,10;eta=0.5,1;{_RATES}",
  "manifold mixup": f"method=mixup;mix_at=random;{_ALPHAS};{_RATES}",
  "k-mixup": "method=mixup;pairing=optimal;pairing_block=4,16;alpha=0.1,1;"
  + _RATES,
  "C-Mixup": "method=mixup;pairing=by_label;pairing_bandwidth=0.1,0.5;"
  f"alpha=0.5,2;{_RATES}",
}

SMOKE = (REFERENCE, "Mixup", "MixupE, relative", "k-mixup")


def methods_of(name: str) -> dict[str, str]:
  """Returns the methods that a data set has, and their grids."""
  left_out = {"label smoothing"} if name == RINGS else {"C-Mixup"}
  return {k: text for k, text in METHODS.items() if k not in left_out}


def make_config(name: str, data_dir: str, *, epochs: float) -> ConfigDict:
  """Returns what a data set's runs have in common."""
  numbers = name == RINGS
  config = tabular.make_config(
    "abalone" if numbers else name, data_dir, epochs=epochs
  )
  config.temperature_scaling = False
  config.task = "regression" if numbers else "classification"
  return config


def settings(
  text: str, base: ConfigDict, seeds: Sequence[int], number: int = BUDGET
) -> list[grid.Point]:
  """Returns the first settings of a grid, each with every seed."""
  own = f"{text};seed={','.join(map(str, seeds))}"
  return grid.points([own], base)[: number * len(seeds)]


def chosen(
  tuned: Sequence[results.Result], base: ConfigDict, seeds: Sequence[int]
) -> list[grid.Point]:
  """Returns the runs of the cell that validation picks among a method's."""
  cell, _ = selection.select(tuned)
  text = ";".join(f"{key}={value}" for key, value in cell.items())
  return settings(text, base, seeds, 1)


def train(
  name: str, data_dir: str, folder: epath.Path, *, smoke: bool
) -> dict[str, Any]:
  """Trains what is missing of a data set's runs, and returns `told` of them."""
  base = make_config(name, data_dir, epochs=1.0 if smoke else 25.0)
  tuning, seeds = (
    (TUNING_SEEDS[:1], range(2)) if smoke else (TUNING_SEEDS, SEEDS)
  )
  grids = methods_of(name)
  if smoke:
    grids = {method: grids[method] for method in SMOKE}

  def run(points: Mapping[str, list[grid.Point]]) -> dict[str, list[Any]]:
    # In one call, so that every split is read once.
    flat = [point for own in points.values() for point in own]
    # As many together as there are devices, whatever their number: tuning and
    # the chosen cells then share their programs.
    found = iter(training.run(flat, base, folder, jax.local_device_count()))
    return {
      method: [next(found) for _ in own] for method, own in points.items()
    }

  tuned = run(
    {
      method: settings(text, base, tuning, 2 if smoke else BUDGET)
      for method, text in grids.items()
    }
  )
  final = run(
    {method: chosen(found, base, seeds) for method, found in tuned.items()}
  )
  return told(final, "RMSE" if name == RINGS else "error (%)")


def told(
  final: Mapping[str, Sequence[results.Result]], metric: str
) -> dict[str, Any]:
  """Returns a data set's part of league.json.

  Args:
    final: method -> results of its chosen cell, one a seed.
    metric: what "test" holds: "error (%)" or "RMSE".

  Returns:
    "metric", "seeds", and "methods": name -> its "cell", and "test" in the
    order of the seeds (None where a run diverged), both in short.
  """
  scale = 1.0 if metric == "RMSE" else 100.0

  def number(result):
    if "diverged_at" in result:
      return None
    return float(f"{scale * selection.error(result['test']):.6g}")

  methods = {}
  for method, found in final.items():
    cell = results.keys(found[0])
    seeds = [result["seed"] for result in found]
    del cell["seed"]
    methods[method] = {"cell": cell, "test": [number(r) for r in found]}
  return {"metric": metric, "seeds": seeds, "methods": methods}


def compare(sets: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the league, of the data sets' parts.

  A run that diverged is no number, and counts as its data set's worst one.

  Args:
    sets: name -> what `told` returned.

  Returns:
    "comparisons", how many there are; "differences": data set -> method -> its
    difference from ERM, "mean", "low" and "high" (simultaneous), "p" (Holm's);
    "table": method -> "mean_rank" (over data sets with classes), "wins",
    "losses", "open"; "regret": data set -> MixupE at one relative eta less
    MixupE tuned, its mean and 95 % interval.
  """
  values = {name: _numbers(one) for name, one in sets.items()}
  pairs = [
    (name, method)
    for name, own in values.items()
    for method in own
    if method != REFERENCE
  ]
  level = 1.0 - 0.05 / max(len(pairs), 1)
  found = [
    selection.estimate(values[n][method] - values[n][REFERENCE], level)
    for n, method in pairs
  ]
  corrected = comparison.holm([comparison.p_value(one) for one in found])
  differences: dict[str, dict[str, Any]] = {name: {} for name in sets}
  for (name, method), one, p in zip(pairs, found, corrected, strict=True):
    differences[name][method] = _shown(one) | {"p": float(f"{p:.3g}")}
  classes = {
    name: {method: float(x.mean()) for method, x in own.items()}
    for name, own in values.items()
    if sets[name]["metric"] != "RMSE"
  }
  ranks = comparison.mean_ranks(classes) if classes else {}
  table = {}
  for method in dict.fromkeys(m for own in values.values() for m in own):
    own = [d[method] for d in differences.values() if method in d]
    wins = sum(one["p"] < 0.05 and one["mean"] < 0.0 for one in own)
    losses = sum(one["p"] < 0.05 and one["mean"] > 0.0 for one in own)
    table[method] = {
      "mean_rank": round(ranks[method], 2) if method in ranks else None,
      "wins": wins,
      "losses": losses,
      "open": len(own) - wins - losses,
    }
  regret = {
    name: _shown(selection.estimate(own[FIXED_ETA] - own["MixupE"]))
    for name, own in values.items()
    if {FIXED_ETA, "MixupE"} <= own.keys()
  }
  return {
    "comparisons": len(pairs),
    "differences": differences,
    "table": table,
    "regret": regret,
  }


def _numbers(one: Mapping[str, Any]) -> dict[str, np.ndarray]:
  found = {
    method: np.array(own["test"], np.float64)
    for method, own in one["methods"].items()
  }
  worst = np.nanmax(list(found.values()))
  return {method: np.nan_to_num(x, nan=worst) for method, x in found.items()}


def _shown(one: selection.Estimate) -> dict[str, float | None]:
  return {
    key: float(f"{value:.4g}") if np.isfinite(value) else None
    for key, value in (("mean", one.mean), ("low", one.low), ("high", one.high))
  }


def markdown(sets: Mapping[str, Any], league: Mapping[str, Any]) -> str:
  """Returns the league, the errors of each data set, and the differences."""
  table = league["table"]
  order = sorted(table, key=lambda m: (table[m]["mean_rank"] or np.inf, m))
  rank = lambda method: (
    "—" if table[method]["mean_rank"] is None else table[method]["mean_rank"]
  )
  first = [["method", "mean rank", f"better than {REFERENCE}", "worse", "open"]]
  first += [
    [m, rank(m), table[m]["wins"], table[m]["losses"], table[m]["open"]]
    for m in order
  ]
  first[-len(order) :] = [
    [*row[:2], "—", "—", "—"] if row[0] == REFERENCE else row
    for row in first[1:]
  ]
  second = [["data set", "", *order]]
  third = [["data set", *(m for m in order if m != REFERENCE)]]
  for name, one in sets.items():
    means = {m: float(x.mean()) for m, x in _numbers(one).items()}
    cells = [f"{means[m]:.2f}" if m in means else "" for m in order]
    second.append([name, one["metric"], *cells])
    own = league["differences"][name]
    third.append([name, *(_cell(own.get(m)) for m in third[0][1:])])
  fourth = [["data set", f"{FIXED_ETA} less MixupE tuned, 95 % interval"]]
  fourth += [
    [k, command.interval(one, 2)] for k, one in league["regret"].items()
  ]
  return "\n".join(
    [
      f"Chosen by validation among {BUDGET} settings each; compared by seed, "
      f"p-values by Holm over {league['comparisons']} comparisons.\n",
      _lines(first),
      "Mean test error of the chosen settings.\n",
      _lines(second),
      f"Difference from {REFERENCE}, simultaneous 95 % interval; bold: told "
      "apart.\n",
      _lines(third),
      "What one relative eta for all data sets costs.\n",
      _lines(fourth),
    ]
  )


def _lines(rows: Sequence[Sequence[Any]]) -> str:
  head, *others = [[str(cell) for cell in row] for row in rows]
  return command.rows([head, ["---"] * len(head), *others])


def _cell(one: Mapping[str, Any] | None) -> str:
  if one is None:
    return ""
  text = command.interval(one, 2)
  return f"**{text}**" if one["p"] < 0.05 else text


def caption(league: Mapping[str, Any]) -> str:
  """Returns what the league shows in a sentence or two, from its numbers."""
  table = league["table"]
  ranked = {m: one for m, one in table.items() if one["mean_rank"] is not None}
  if not ranked:
    return f"{len(league['differences'])} data set(s), none with classes."
  best = min(ranked, key=lambda method: ranked[method]["mean_rank"])
  others = [method for method in table if method != REFERENCE]
  wins = max(table[method]["wins"] for method in others)
  winners = [
    f"{method} (worse on {table[method]['losses']})"
    for method in others
    if table[method]["wins"] == wins
  ]
  most = (
    f"most often better than {REFERENCE}, on {wins}: {', '.join(winners)}"
    if wins
    else f"none is told to be better than {REFERENCE} on any"
  )
  return (
    f"{len(table)} methods, {BUDGET} settings each, on "
    f"{len(league['differences'])} data set(s): the best mean rank is "
    f"{best}'s, {table[best]['mean_rank']:.1f} ({REFERENCE}: "
    f"{table[REFERENCE]['mean_rank']:.1f}); {most}, after Holm's correction "
    f"for {league['comparisons']} comparisons."
  )


def draw(league: Mapping[str, Any]) -> Figure:
  """Returns every method's differences from ERM, a dot a data set."""
  table = {m: one for m, one in league["table"].items() if m != REFERENCE}
  order = sorted(table, key=lambda m: (table[m]["mean_rank"] or np.inf, m))
  figure, (panel,) = drawing.new(1, height=1.5 + 0.28 * len(order))
  panel.axvline(0.0, color="0.7", linewidth=1.0)
  for row, method in enumerate(order):
    for own in league["differences"].values():
      if method not in own:
        continue
      apart = own[method]["p"] < 0.05
      face = "C0" if apart else "none"
      panel.plot(
        own[method]["mean"], row, "o", color="C0", markerfacecolor=face
      )
  panel.set_yticks(range(len(order)), order)
  panel.set_ylim(len(order) - 0.5, -0.5)
  panel.set_xlabel(f"test error less {REFERENCE}'s; filled: told apart")
  return figure


if __name__ == "__main__":
  command.run(
    "league",
    SETS,
    train=train,
    markdown=lambda sets: markdown(sets, compare(sets)),
    caption=lambda sets: caption(compare(sets)),
    draw=lambda sets: draw(compare(sets)),
    derive=lambda sets: {"league": compare(sets)},
  )
