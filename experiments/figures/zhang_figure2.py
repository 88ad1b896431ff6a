"""Figure 2 of Zhang et al. (2021): Mixup's loss and its expansion.

Two models from one initialisation, trained on eq. (1) over all pairs and on
eq. (3). Below, which the paper has not: both losses of one network, and the
same for weaker mixing.
"""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
import numpy as np

from experiments.figures import drawing, moons, networks
from jaxmix import theory

# The paper does not say which Beta law; 1 mixes strongly, 0.2 is usual too.
ALPHAS = (1.0, 0.2)
NODES = 8


def losses(alpha: float) -> tuple[moons.Loss, moons.Loss]:
  """Eq. (1), over all pairs, and eq. (3)."""

  def mixup(params, x, y):
    logit_fn = lambda x: networks.logits(params, x)
    return theory.mixup_loss(logit_fn, x, y, alpha=alpha, num_nodes=NODES)

  def quadratic(params, x, y):
    logit_fn = lambda x: networks.logits(params, x)
    return theory.quadratic_mixup_loss(logit_fn, x, y, alpha=alpha)

  return mixup, quadratic


def compute(*, smoke: bool = False) -> dict[str, Any]:
  """Trains and compares, see `moons.compare`."""
  settings: dict[str, Any] = {
    "n": 12 if smoke else 100,
    "steps": 6 if smoke else 300,
    "seeds": 2 if smoke else 3,
    "learning_rate": 0.1,
  }
  curves, gaps = {}, {}
  for alpha in ALPHAS:
    mixup, quadratic = losses(alpha)
    named = dict.fromkeys(moons.MODELS, mixup)
    curves[str(alpha)] = moons.compare(named, quadratic, **settings)
    gaps[str(alpha)] = moons.gaps(curves[str(alpha)])
  seen = all(moons.close(gap) for gap in gaps.values())
  told = ". ".join(
    f"Beta({alpha}, {alpha}): {moons.tell(gap)}" for alpha, gap in gaps.items()
  )
  relu = curves[str(ALPHAS[0])]["Two-layer ReLU network"]["train"]
  own, crossed = (
    np.mean(relu[name], axis=0)[-1]
    for name in ("own_approximation", "crossed_loss")
  )
  verdict = (
    "Seen, within 10%."
    if seen
    else "Not seen within 10%, though the curves fall alike: orders above the "
    "second count, and eq. (3) knows a network at its examples only. Trained "
    f"on it with Beta(1, 1), the ReLU network brings it to {own:.2f} nats, "
    f"where Mixup's own loss is {crossed:.2f}."
  )
  return {
    "settings": settings
    | {"alphas": ALPHAS, "nodes": NODES, "noise": moons.NOISE, "momentum": 0.9},
    "gaps": gaps,
    "curves": curves,
    "seen": seen,
    "caption": (
      "Zhang et al. (2021), figure 2: the quadratic approximation, eq. (3), is "
      f"quite close to Mixup's loss. {verdict} Approximation over loss, on "
      f"training data. {told}. Two moons, n = {settings['n']}, mean and range "
      f"of {settings['seeds']} seeds; Beta law, sizes and optimiser are ours, "
      "the paper gives none."
    ),
  }


def draw(result: dict[str, Any]) -> Figure:
  """Draws the paper's two panels, and ours below them."""
  strong, weak = (result["curves"][str(alpha)] for alpha in ALPHAS)
  own, same = "own_approximation", "same_approximation"
  rows = [
    moons.Row("each by its own, Beta(1, 1)", strong, "own_loss", own),
    moons.Row("one network, Beta(1, 1)", strong, "own_loss", same),
    moons.Row("each by its own, Beta(0.2, 0.2)", weak, "own_loss", own),
  ]
  return moons.plot(rows, "Mixup loss", "approximation")


if __name__ == "__main__":
  drawing.run("zhang_figure2", compute, draw)
