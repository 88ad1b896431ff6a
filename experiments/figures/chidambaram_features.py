"""Which features Mixup learns: Chidambaram and Ge (2024), rebuilt in the small.

"For Better or For Worse? Learning Minimum Variance Features With Label
Augmentation" (https://arxiv.org/abs/2402.06855) proves that linear models
trained with label smoothing or Mixup learn only the features of least variance,
while training with weight decay can learn others, and concludes that label
mixing can be less robust. The data here are ours: one feature that is constant
within a class, and several that are larger, and noisy.

Why (derived here, as the paper's proof was not at hand): Mixup's loss is a
convex function of the logits of pairs, so that by Jensen's inequality it falls
when every logit is replaced by its class's mean. The feature without variance
can make any pair of opposite means by itself, and the minimum, finite since
mixed labels are never certain, is attained there alone. The same holds for the
standard loss, whose minimum lies at infinity: there the norm decides, and it
pays to use all features.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np
import optax
from scipy import optimize

from experiments.figures import drawing
from jaxmix import theory

LOW, HIGH = 0.5, 1.0  # the features' means in class 1
DEVIATION = 0.5  # of the noisy ones
WIDTH = 10
SMOOTHING = 0.1
DECAYS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
# At which robustness is looked at: as small as the figure has.
SHOWN = str(DECAYS[0])
METHODS = ("ERM", "label smoothing", "Mixup")


def data(
  seed: int, n: int, *, low: float = LOW
) -> tuple[np.ndarray, np.ndarray]:
  """n examples of either class, each the other class's mirrored.

  Args:
    seed: of the noise.
    n: examples a class.
    low: the constant feature's value in class 1; with -LOW it lies.

  Returns:
    [2 n, 1 + WIDTH] features, the constant one first, and labels, 0 or 1.
  """
  rng = np.random.default_rng(seed)
  noisy = HIGH + DEVIATION * rng.normal(size=(n, WIDTH))
  ones = np.concatenate([np.full((n, 1), low), noisy], axis=1)
  return np.concatenate([ones, -ones]), np.repeat([1, 0], n)


def loss(method: str, theta: jax.Array, x: jax.Array, y: jax.Array):
  """A method's loss of the logits x theta, without decay."""
  logit_fn = lambda x: x @ theta
  if method == "Mixup":
    return theory.mixup_loss(logit_fn, x, y, alpha=1.0, num_nodes=12)
  share = SMOOTHING if method == "label smoothing" else 0.0
  labels = (1.0 - share) * y + 0.5 * share
  return jnp.mean(optax.sigmoid_binary_cross_entropy(logit_fn(x), labels))


@functools.cache
def _value_and_grad(method):
  """Of the loss with decay, compiled once for all data of a size."""

  def whole(theta, x, y, decay):
    return loss(method, theta, x, y) + decay * theta @ theta

  return jax.jit(jax.value_and_grad(whole))


def fit(method: str, x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
  """The minimisers at all decays, the largest first in the search."""
  y = y.astype(x.dtype)
  run = _value_and_grad(method)
  theta, found = np.zeros(x.shape[1]), []
  for decay in DECAYS[::-1]:
    result = optimize.minimize(
      lambda theta, decay=decay: jax.tree.map(
        lambda leaf: np.asarray(leaf, float), run(theta, x, y, decay)
      ),
      theta,
      jac=True,
      method="L-BFGS-B",
      options={"maxiter": 2000, "gtol": 1e-9, "ftol": 1e-15},
    )
    theta = result.x
    found.append(theta)
  return found[::-1]


def share(theta: np.ndarray) -> float:
  """Of theta's length, the noisy features'."""
  return float(np.linalg.norm(theta[1:]) / np.linalg.norm(theta))


def distances(theta: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
  """How far the boundary is, < 0 where the example is wrong; l2."""
  signs = 2.0 * np.asarray(y) - 1.0
  return signs * (x @ theta) / np.linalg.norm(theta)


def compute(*, smoke: bool = False) -> dict[str, Any]:
  """Minimisers of three losses over weight decay, and what they stand."""
  # Well more a class than noisy features, or some mean of them hardly varies.
  n, seeds, tests = (20, 1, 50) if smoke else (20, 5, 1000)
  radii = np.linspace(0.0, 4.0, 41)
  shares: dict[str, list[Any]] = {name: [] for name in METHODS}
  standing: dict[str, list[Any]] = {name: [] for name in METHODS}
  errors: dict[str, list[Any]] = {name: [] for name in METHODS}
  smallest: dict[str, list[Any]] = {name: [] for name in METHODS}
  for seed in range(seeds):
    x, y = data(seed, n)
    test, labels = data(1000 + seed, tests)
    lying, _ = data(1000 + seed, tests, low=-LOW)
    for name in METHODS:
      found = fit(name, x, y)
      shares[name].append([share(theta) for theta in found])
      theta = found[DECAYS.index(float(SHOWN))]
      away = distances(theta, test, labels)
      standing[name].append([np.mean(away > radius) for radius in radii])
      smallest[name].append(np.min(distances(theta, x, y)))
      errors[name].append(
        [np.mean(distances(theta, part, labels) < 0) for part in (test, lying)]
      )
  mean = lambda rows: np.mean(rows, axis=0)
  numbers = lambda table, of=mean: {
    name: drawing.numbers(of(rows), 4) for name, rows in table.items()
  }
  result = {
    "settings": {
      "n": 2 * n,
      "features": 1 + WIDTH,
      "low": LOW,
      "high": HIGH,
      "deviation": DEVIATION,
      "smoothing": SMOOTHING,
      "mixup_alpha": 1.0,
      "seeds": seeds,
      "test": 2 * tests,
      "shown_decay": float(SHOWN),
    },
    "decays": list(DECAYS),
    "radii": drawing.numbers(radii, 3),
    "shares": numbers(shares, np.asarray),
    "standing": numbers(standing),
    "radius": numbers(smallest),
    "errors": numbers(errors),
  }
  first = {name: np.asarray(rows)[:, 0] for name, rows in shares.items()}
  result["seen"] = bool(
    np.max(first["Mixup"]) < 0.1
    and np.max(first["label smoothing"]) < 0.1
    and np.min(first["ERM"]) > 0.5
    and np.max(smallest["Mixup"]) < np.min(smallest["ERM"])
  )
  return result | {"caption": _caption(result)}


def _caption(result) -> str:
  told = lambda table, k=None, style=".2f": ", ".join(
    f"{name} {one if k is None else one[k]:{style}}"
    for name, one in table.items()
  )
  shares = {name: np.mean(v, axis=0) for name, v in result["shares"].items()}
  settings = result["settings"]
  back = ", ".join(
    f"{part:.2f} at {decay:g}"
    for decay, part in zip(result["decays"], shares["Mixup"], strict=True)
    if part > 0.1 and decay < 0.01
  )
  return (
    "Chidambaram and Ge (2024): with label smoothing or Mixup linear models "
    "learn only the features of least variance, and can be less robust. "
    f"{'Seen' if result['seen'] else 'Not seen'}. Share of the weights' length "
    "on the noisy features at the smallest decay: "
    f"{told(shares, 0)}. Weight decay gives Mixup them back: {back}. The "
    "smallest l2 step to the boundary from a "
    f"training example: {told(result['radius'])}. Test error: "
    f"{told(result['errors'], 0, '.1%')}; where the constant feature has the "
    f"other class's sign: {told(result['errors'], 1, '.1%')}. One feature of "
    f"{LOW} and deviation 0, {WIDTH} of {HIGH} and {DEVIATION}; n = "
    f"{settings['n']}, mean of {settings['seeds']} seeds (range shaded). The "
    "data are ours."
  )


def draw(result: dict[str, Any]) -> Figure:
  """What is learnt over weight decay, and what is stood."""
  with drawing.style():
    figure, panels = drawing.new(columns=2, height=3.6)
    for i, name in enumerate(METHODS):
      rows = np.asarray(result["shares"][name])
      # Mixup lies on label smoothing.
      look = {"color": f"C{i}", "linestyle": "--" if name == "Mixup" else "-"}
      panels[0].plot(
        result["decays"],
        np.mean(rows, axis=0),
        marker="o",
        markersize=3,
        **look,
      )
      ends = np.min(rows, axis=0), np.max(rows, axis=0)
      panels[0].fill_between(
        result["decays"], *ends, alpha=0.15, linewidth=0, **look
      )
      panels[1].plot(
        result["radii"], result["standing"][name], label=name, **look
      )
    panels[0].set(xscale="log", xlabel="weight decay", ylim=(0.0, 1.02))
    panels[0].set_title("Share of |theta| on the noisy features", fontsize=9)
    panels[1].set(xlabel="l2 step", ylabel="test accuracy", ylim=(0.0, 1.02))
    panels[1].set_title(
      f"Under the worst step, weight decay {SHOWN}", fontsize=9
    )
    panels[1].legend(fontsize=8)
  return figure


if __name__ == "__main__":
  drawing.run("chidambaram_features", compute, draw)
