"""Section 7 of Kimura (2021): the Bregman divergence that mixup looks at.

For x = -1 or 1, psi(theta) = log cosh theta. Mixup's D_{psi_lam}[theta :
theta'] is D_psi[lam theta : lam theta']: smaller around the origin, by lam^2,
and larger where psi is nearly linear.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np

from experiments.figures import drawing
from jaxmix import theory

LAM = 0.5
REACH = 6.0


def compute(*, smoke: bool = False) -> dict[str, Any]:
  """The divergences on a grid of pairs of parameters."""
  # Even, so that no theta is its own theta'.
  axis = np.linspace(-REACH, REACH, 12 if smoke else 60)
  other = axis + 0.5 * (axis[1] - axis[0])
  x = jnp.array([[-1.0], [1.0]])
  one = lambda theta, other: theory.bregman_divergence(
    x, theta[None], other[None], LAM
  )
  surface = jax.jit(jax.vmap(jax.vmap(one, (0, None)), (None, 0)))
  found = surface(jnp.asarray(axis), jnp.asarray(other))
  ratio = np.asarray(found.mixed / found.plain)
  apart = np.max(np.abs(np.asarray(found.mixed - found.scaled)))
  raised = float(np.mean(ratio > 1.0))
  result = {
    "settings": {"lam": LAM},
    "theta": drawing.numbers(axis, 4),
    "other": drawing.numbers(other, 4),
    "plain": drawing.numbers(found.plain, 3),
    "mixed": drawing.numbers(found.mixed, 3),
    "ratio": drawing.numbers(ratio, 3),
    "raised": drawing.numbers(raised, 3),
    "unequal": drawing.numbers(apart, 3),
    # Does mixup smooth, that is, is the divergence smaller everywhere?
    "seen": bool(raised == 0.0),
  }
  result["caption"] = (
    "Kimura (2021), section 7: mixup smooths the parameter space. "
    f"{'Seen' if result['seen'] else 'Not seen everywhere'}: "
    f"D_psi_lam[theta : theta'] = D_psi[lam theta : lam theta'] (they differ "
    f"by {apart:.0e} at most), which is lam^2 = {LAM**2} times the plain "
    f"divergence around the origin, and larger than it at {raised:.0%} of the "
    f"pairs shown, by up to {np.max(ratio):.2g} times (right, above the line "
    f"at 1). psi = log cosh, the family of x = -1 or 1; lam = {LAM}."
  )
  return result


def draw(result: dict[str, Any]) -> Figure:
  """Without mixup, with it, and the ratio."""
  theta, other = np.asarray(result["theta"]), np.asarray(result["other"])
  with drawing.style():
    figure, panels = drawing.new(columns=3, height=3.5)
    for axes, key, title in (
      (panels[0], "plain", "D_psi[theta : theta']"),
      (panels[1], "mixed", f"mixed, lam = {result['settings']['lam']}"),
    ):
      levels = np.linspace(0.0, np.max(result["plain"]), 15)
      drawn = axes.contourf(theta, other, result[key], levels, cmap="viridis")
      axes.set_title(title, fontsize=9)
      figure.colorbar(drawn, ax=axes)
    ratio = np.log10(np.asarray(result["ratio"]))
    size = np.max(np.abs(ratio))
    drawn = panels[2].contourf(
      theta, other, ratio, np.linspace(-size, size, 21), cmap="RdBu_r"
    )
    panels[2].contour(theta, other, ratio, [0.0], colors="k", linewidths=1.0)
    panels[2].set_title("log10 of mixed / plain; line: 1", fontsize=9)
    figure.colorbar(drawn, ax=panels[2])
    for k in range(3):
      panels[k].set(xlabel="theta", ylabel="theta'", aspect="equal")
  return figure


if __name__ == "__main__":
  drawing.run("kimura_bregman", compute, draw)
