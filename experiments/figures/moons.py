"""Two moons and the models trained on them, which figures 2 and 4 share.

Zhang et al. (2021), section 3.1 and C.2: a logistic regression and a two-layer
ReLU network on scikit-learn's two moons, each trained twice from the same
initialisation, on a loss and on its quadratic approximation. Sizes, optimiser
and noise are not in the paper; those here are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import itertools
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np
from sklearn import datasets

from experiments.figures import drawing, networks

NOISE = 0.1
# A relative difference that the eye calls close.
CLOSE = 0.1
POINTS = 31  # iterations shown
# Widths of the input, the hidden layer and the logit, and whether biased:
# logistic regression is the paper's f = theta'x.
MODELS = {
  "Logistic regression": ((2, 1), False),
  "Two-layer ReLU network": ((2, 50, 1), True),
}
# loss(params, x, y), a scalar
Loss = Callable[[networks.Params, chex.Array, chex.Array], chex.Array]


class Data(NamedTuple):
  """Examples [n, 2] and labels [n], 0 or 1, to train on and to test with."""

  train: tuple[chex.Array, chex.Array]
  test: tuple[chex.Array, chex.Array]


def draw(n: int, seed: int) -> Data:
  """Draws n examples for each part, moved by the training examples' mean."""
  x, y = datasets.make_moons(2 * n, noise=NOISE, random_state=seed)
  x = x - np.mean(x[:n], axis=0)
  wide = jnp.zeros(()).dtype  # float64 where JAX allows it
  x, y = jnp.asarray(x, wide), jnp.asarray(y, wide)
  return Data((x[:n], y[:n]), (x[n:], y[n:]))


def compare(
  loss: Mapping[str, Loss],
  approximation: Loss,
  *,
  n: int,
  steps: int,
  seeds: int,
  learning_rate: float,
  plain: bool = False,
) -> dict[str, Any]:
  """Trains each model on a loss and on its approximation, and compares them.

  Args:
    loss: each model's; names of MODELS.
    approximation: of it, for both models.
    n: examples to train on; as many to test with.
    steps: of gradient descent.
    seeds: runs, each with its own data and initialisation.
    learning_rate: of the descent.
    plain: whether to train on the standard loss as well.

  Returns:
    "steps", and for every model curves [seeds][points] by name: "own_loss"
    (trained on and measured by the loss), "own_approximation" (likewise), and
    "same_approximation": the approximation, at the parameters trained on the
    loss; "crossed_loss": the loss, at those trained on the approximation; with
    plain, "plain_loss" and "plain_approximation" at those trained
    on the standard loss. Each for "train" and "test", beside "accuracy" at the
    end of training on the loss.
  """
  shown = np.unique(np.linspace(0, steps, POINTS).astype(int))
  result: dict[str, Any] = {"steps": shown.tolist()}
  for name, (widths, biases) in MODELS.items():

    def run(key, data, widths=widths, biases=biases, exact=loss[name]):
      start = networks.init(key, widths, biases=biases)
      curves = {}

      def path(own):
        every = networks.descend(
          lambda params: own(params, *data.train),
          start,
          steps=steps,
          learning_rate=learning_rate,
        )
        return jax.tree.map(lambda leaf: leaf[shown], every)

      by_loss, by_approximation = path(exact), path(approximation)
      if plain:
        by_standard = path(standard_loss)
      for part, (x, y) in data._asdict().items():
        along = lambda own, x=x, y=y: (
          lambda every: jax.lax.map(lambda params: own(params, x, y), every)
        )
        curves[part] = {
          "own_loss": along(exact)(by_loss),
          "own_approximation": along(approximation)(by_approximation),
          "same_approximation": along(approximation)(by_loss),
          "crossed_loss": along(exact)(by_approximation),
        }
        if plain:
          curves[part] |= {
            "plain_loss": along(exact)(by_standard),
            "plain_approximation": along(approximation)(by_standard),
          }
        last = jax.tree.map(lambda leaf: leaf[-1], by_loss)
        right = (networks.logits(last, x) > 0.0) == (y > 0.5)
        curves[part]["accuracy"] = jnp.mean(right.astype(x.dtype))
      return curves

    run = jax.jit(run)
    every = [run(jax.random.key(seed), draw(n, seed)) for seed in range(seeds)]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *every)
    result[name] = jax.tree.map(drawing.numbers, stacked)
  return result


def standard_loss(params, x, y):
  """The mean logistic loss of unmoved examples."""
  return networks.mean_logistic(networks.logits(params, x), y)


def gaps(curves: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
  """How far an approximation is from its loss on training data.

  Args:
    curves: from `compare`.

  Returns:
    For each model (approximation - loss) / loss, means over seeds: "own" and
    "same" at the end, "same_largest" where it is largest in size; "own_seeds"
    the smallest and largest seed of "own"; and "plain_largest", where there is
    a network trained on the standard loss.
  """
  result = {}
  for name in MODELS:
    train = {key: np.asarray(one) for key, one in curves[name]["train"].items()}

    def gap(approximation, loss, train=train):
      ratios = train[f"{approximation}_approximation"] / train[f"{loss}_loss"]
      return ratios - 1.0

    seeds = gap("own", "own")
    own, same = np.mean(seeds, axis=0), np.mean(gap("same", "own"), axis=0)
    found = {
      "own": own[-1],
      "own_seeds": (np.min(seeds[:, -1]), np.max(seeds[:, -1])),
      "same": same[-1],
      "same_largest": _largest(same),
    }
    if "plain_loss" in train:
      found["plain_largest"] = _largest(np.mean(gap("plain", "plain"), axis=0))
    result[name] = {key: drawing.numbers(v, 3) for key, v in found.items()}
  return result


def _largest(values):
  return values[np.argmax(np.abs(values))]


def close(gaps: Mapping[str, Mapping[str, Any]]) -> bool:
  """Whether losses and approximations, as the paper shows them, are close."""
  shown = ("own", "same_largest")
  return all(abs(gap[k]) < CLOSE for gap in gaps.values() for k in shown)


def tell(gaps: Mapping[str, Mapping[str, Any]]) -> str:
  """Says the gaps in words."""
  return "; ".join(
    f"{lower(name)} {percent(gap['own'])} at the end, each by its own (seeds "
    f"{' to '.join(map(percent, gap['own_seeds']))}), and at most "
    f"{percent(gap['same_largest'])} on one network"
    for name, gap in gaps.items()
  )


def lower(name: str) -> str:
  """A model's name within a sentence."""
  return name[0].lower() + name[1:]


def percent(share: float) -> str:
  """A signed percentage, none of them -0.0%."""
  return f"{round(share, 3) + 0.0:+.1%}"


class Row(NamedTuple):
  """A row of `plot`.

  Attributes:
    title: below the model's name.
    curves: from `compare`.
    solid: the name of the loss's curve.
    other: and of the approximation's.
  """

  title: str
  curves: Mapping[str, Any]
  solid: str
  other: str


def plot(rows: Sequence[Row], loss: str, approximation: str) -> Figure:
  """Draws `compare`'s curves, a column a model."""
  with drawing.style():
    figure, panels = drawing.new(len(MODELS), len(rows), height=2.6)
    for k, (row, name) in enumerate(itertools.product(rows, MODELS)):
      axes = panels[k]
      for i, curve in enumerate((row.solid, row.other)):
        for part, line in (("train", "-"), ("test", "--")):
          _band(
            axes,
            row.curves["steps"],
            np.asarray(row.curves[name][part][curve]),
            color=f"C{4 + i}",
            linestyle=line,
            label=f"{(loss, approximation)[i]}, {part}",
          )
      axes.set_title(f"{name}\n{row.title}", fontsize=9)
      axes.set_ylim(bottom=0.0)
      axes.set_xlabel("iteration")
      axes.set_ylabel("loss (nats)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2)
  return figure


def _band(axes, steps, curves, **looks):
  """Mean over seeds, and all that they cover."""
  axes.plot(steps, np.mean(curves, axis=0), linewidth=1.4, **looks)
  low, high = np.min(curves, axis=0), np.max(curves, axis=0)
  axes.fill_between(
    steps, low, high, color=looks["color"], alpha=0.12, linewidth=0
  )
