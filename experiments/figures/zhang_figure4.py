"""Figure 4 of Zhang et al. (2021): an adversarial loss and eqs. (5) and (6).

The setting of figure 2, with the loss under the worst l2 step of length eps
sqrt(d) = 0.5 in Mixup's place: exact for logistic regression, by projected
gradient ascent from several starts for the ReLU network.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import optax

from experiments.figures import drawing, moons, networks
import jaxmix
from jaxmix import theory

RADIUS = 0.5  # eps sqrt(d), the paper's
ASCENT = 20
STARTS = 8


def worst_linear_loss(params, x, y):
  """The mean loss when each margin is lowered by the radius times |theta|."""
  length = jnp.linalg.norm(params[0]["kernel"])
  towards = RADIUS * length * (1.0 - 2.0 * y)
  return networks.mean_logistic(networks.logits(params, x) + towards, y)


def attacked_loss(params, x, y):
  """The mean loss at the worst steps that projected gradient ascent finds."""
  # By Danskin's theorem the worst step counts as a constant beside params.
  fixed = jax.lax.stop_gradient(params)

  def ascend(key):
    return jaxmix.pgd(
      key,
      lambda x: networks.logits(fixed, x),
      x,
      y,
      epsilon=RADIUS,
      norm="l2",
      steps=ASCENT,
      loss_fn=jaxmix.losses.logistic,
    )

  # One ascent ends at a local maximum, some 3% below the largest loss.
  found = jax.vmap(ascend)(jax.random.split(jax.random.key(0), STARTS))
  found = jax.lax.stop_gradient(found)
  losses = jax.vmap(
    lambda points: optax.sigmoid_binary_cross_entropy(
      networks.logits(params, points), y
    )
  )(found)
  return jnp.mean(jnp.max(losses, axis=0))


def quadratic_loss(params, x, y):
  """Eqs. (5) and (6)."""
  logit_fn = lambda x: networks.logits(params, x)
  return theory.quadratic_adversarial_loss(logit_fn, x, y, RADIUS)


def compute(*, smoke: bool = False) -> dict[str, Any]:
  """Trains and compares, see `moons.compare`."""
  settings: dict[str, Any] = {
    "n": 12 if smoke else 100,
    "steps": 6 if smoke else 300,
    "seeds": 2 if smoke else 3,
    "learning_rate": 0.1,
  }
  losses = dict(
    zip(moons.MODELS, (worst_linear_loss, attacked_loss), strict=True)
  )
  curves = moons.compare(losses, quadratic_loss, plain=True, **settings)
  gaps = moons.gaps(curves)
  seen = moons.close(gaps)
  largest = "; ".join(
    f"{moons.lower(name)} {moons.percent(gap['plain_largest'])}"
    for name, gap in gaps.items()
  )
  return {
    "settings": settings
    | {
      "radius": RADIUS,
      "ascent_steps": ASCENT,
      "ascent_starts": STARTS,
      "noise": moons.NOISE,
      "momentum": 0.9,
    },
    "gaps": gaps,
    "curves": curves,
    "seen": seen,
    "caption": (
      "Zhang et al. (2021), figure 4: eqs. (5) and (6) are close to the loss "
      f"under the worst l2 step of {RADIUS}. "
      f"{'Seen, within 10%' if seen else 'Not seen within 10%'} in the mean "
      "over seeds, where training is on it. Approximation over loss, on "
      f"training data: {moons.tell(gaps)}. Trained on the standard loss "
      "instead (last row), at "
      f"most: {largest}. Two moons, n = {settings['n']}, mean and range of "
      f"{settings['seeds']} seeds; the worst step is exact for the linear "
      f"model, else found by {ASCENT} steps of ascent from {STARTS} starts. "
      "Sizes and optimiser are ours."
    ),
  }


def draw(result: dict[str, Any]) -> Figure:
  """Draws the paper's two panels, and ours below them."""
  curves = result["curves"]
  rows = [
    moons.Row("each by its own", curves, "own_loss", "own_approximation"),
    moons.Row("one network", curves, "own_loss", "same_approximation"),
    moons.Row(
      "trained on the standard loss",
      curves,
      "plain_loss",
      "plain_approximation",
    ),
  ]
  return moons.plot(rows, "adversarial loss", "approximation")


if __name__ == "__main__":
  drawing.run("zhang_figure4", compute, draw)
