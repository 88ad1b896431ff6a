"""Kimura, 2021, Figure 1: mixup and the complexity of linear classifiers.

x ~ N(0, sigma^2 I) and the theorem's constant, radius (1 - lam), set to 1, as
in the paper, in the paper's one dimension and in ten. Seconds on one core.

  python -m experiments.figures.kimura_figure1 --out=FOLDER
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
import numpy as np

from experiments.figures import drawing
from jaxmix.theory import kimura, rademacher

_LAM = 0.5
_RADIUS = 1.0 / (1.0 - _LAM)
_DIMENSIONS = (1, 10)
_VARIANCES = (0.25, 1.0, 4.0)


def compute(*, smoke: bool = False) -> dict[str, Any]:
  """Returns the gaps and their bounds, means over samples, on the grid."""
  sizes = (10, 40, 160) if smoke else (10, 22, 46, 100, 215, 464, 1000)
  samples, draws = (4, 200) if smoke else (40, 2000)
  rows = []
  for d in _DIMENSIONS:
    for i, variance in enumerate(_VARIANCES):
      for n in sizes:
        key = jax.random.fold_in(jax.random.key(10 * i + d), n)
        values = _sides(key, n, d, variance, samples, draws)
        row = {"d": d, "sigma2": variance, "n": n}
        rows.append(row | {name: float(v) for name, v in values.items()})
  slopes = [_slope(rows, d, v) for d in _DIMENSIONS for v in _VARIANCES]
  below = all(r["complexity_gap"] <= r["bound"] for r in rows)
  above_norm = sum(r["complexity_gap"] > r["norm_bound"] for r in rows)
  ratio = {d: _ratio(rows, d) for d in _DIMENSIONS}
  gaps = np.reshape(
    [r["complexity_gap"] for r in rows], (len(_DIMENSIONS), len(_VARIANCES), -1)
  )
  rises = np.all(np.diff(gaps, axis=1) > 0)
  falls = all(-0.6 < slope < -0.4 for slope in slopes)
  seen = bool(below and rises and falls)
  caption = (
    f"Theorem 2 is {'seen' if seen else 'not seen'}: what mixup takes off the "
    f"Rademacher complexity of linear classifiers falls like n to the "
    f"{np.mean(slopes):.2f}, grows with sigma, and is "
    f"{ratio[1]:.2f} (d = 1) and {ratio[10]:.2f} (d = 10) of the bound. The "
    f"bound must be read with the total variance of x: with the variance of "
    f"the norm |x|, the paper's words, it fails at {above_norm} of {len(rows)} "
    f"points. Constant 1, lam = {_LAM:g}, means over {samples} samples."
  )
  return {
    "lam": _LAM,
    "samples": samples,
    "draws": draws,
    "rows": rows,
    "slopes": slopes,
    "above_norm_bound": above_norm,
    "seen": seen,
    "caption": caption,
  }


@functools.partial(jax.jit, static_argnames="draws")
def _one(key, x, *, draws):
  mixed = _LAM * x + (1.0 - _LAM) * jnp.mean(x, axis=0, keepdims=True)
  options = {"radius": _RADIUS, "num_draws": draws}
  # One key: the same signs in both complexities.
  plain = rademacher.rademacher_linear(key, x, **options).value
  less = rademacher.rademacher_linear(key, mixed, **options).value
  sides = kimura.kimura_linear_gap(x, _LAM, radius=_RADIUS)
  of_norm = jnp.std(jnp.linalg.norm(x, axis=1)) / x.shape[0] ** 0.5
  return {
    "complexity_gap": plain - less,
    "bounds_gap": sides.gap,
    "bound": sides.bound,
    "norm_bound": _RADIUS * (1.0 - _LAM) * of_norm,
  }


def _sides(key, n, d, variance, samples, draws):
  key_x, key_signs = jax.random.split(key)
  x = variance**0.5 * jax.random.normal(key_x, (samples, n, d))
  keys = jax.random.split(key_signs, samples)
  # One sample at a time: the signs of all would take half a gigabyte.
  each = [_one(keys[i], x[i], draws=draws) for i in range(samples)]
  return {name: np.mean([e[name] for e in each]) for name in each[0]}


def _select(rows, d, variance):
  return [r for r in rows if r["d"] == d and r["sigma2"] == variance]


def _slope(rows, d, variance):
  chosen = _select(rows, d, variance)
  n, gap = ([r[name] for r in chosen] for name in ("n", "complexity_gap"))
  return float(np.polyfit(np.log(n), np.log(gap), 1)[0])


def _ratio(rows, d):
  return np.mean(
    [r["complexity_gap"] / r["bound"] for r in rows if r["d"] == d]
  )


def draw(result: dict[str, Any]) -> Figure:
  """Draws a panel a dimension: gaps and bounds against n."""
  with drawing.style():
    figure, panels = drawing.new(columns=2)
    # "C0" would be looked up on saving, when the style is gone.
    colors = [one["color"] for one in matplotlib.rcParams["axes.prop_cycle"]]
    for axes, d in zip(panels, _DIMENSIONS, strict=True):
      for i, variance in enumerate(_VARIANCES):
        rows = _select(result["rows"], d, variance)
        column = lambda name, rows=rows: [r[name] for r in rows]
        n, color = column("n"), colors[i]
        axes.plot(n, column("bound"), "-", color=color, linewidth=1)
        axes.plot(n, column("norm_bound"), ":", color=color, linewidth=1)
        axes.plot(n, column("bounds_gap"), "x", color=color, markersize=6)
        axes.plot(n, column("complexity_gap"), "o", color=color, markersize=3)
        axes.annotate(
          f"σ² = {variance:g}",
          (n[-1], rows[-1]["bound"]),
          xytext=(4, 0),
          textcoords="offset points",
          va="center",
          color=color,
        )
      axes.set_xscale("log")
      axes.set_yscale("log")
      axes.set_xlim(right=4 * max(r["n"] for r in result["rows"]))
      axes.set_xlabel("examples n")
      axes.set_title(f"x in {d} dimension{'s' if d > 1 else ''}", fontsize=9)
    panels[0].set_ylabel("fall in complexity")
    looks: dict[str, dict[str, Any]] = {
      "bound (total variance)": {"linestyle": "-"},
      "bound (variance of |x|)": {"linestyle": ":"},
      "gap of upper bounds": {"linestyle": "", "marker": "x"},
      "gap of complexities": {"linestyle": "", "marker": "o", "markersize": 3},
    }
    handles = [
      Line2D([], [], color="0.3", label=label, **look)
      for label, look in looks.items()
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=4)
  return figure


if __name__ == "__main__":
  drawing.run("kimura_figure1", compute, draw)
