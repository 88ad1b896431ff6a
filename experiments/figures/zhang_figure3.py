"""Figure 3 of Zhang et al. (2021): how R = min_i R_i grows during training.

R_i = |cos(df(x_i), x_i)| scales the radius of the attacks that Mixup guards
example i against (Theorems 3.1 and 3.3), R that for all of them. 100 examples
x ~ N(0, I) in 10 dimensions, y = 1{x theta* > 0}, a linear model and a ReLU
network of two hidden layers of 50; SGD, learning rate 0.1, momentum 0.9, 400
epochs. The paper leaves open the batch size, whether training is by Mixup and
whether layers have biases: both trainings and two batch sizes are tried,
without biases, as Theorem 3.3 asks.
"""

from __future__ import annotations

import itertools
from typing import Any

import chex
import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np
import optax
from scipy import stats

from experiments.figures import drawing, networks
import jaxmix
from jaxmix import policies, theory

DIMENSION = 10
MODELS = {"linear": (DIMENSION, 1), "ReLU network": (DIMENSION, 50, 50, 1)}
TRAININGS = {"plain": policies.erm(), "Mixup": policies.mixup(1.0)}
# The paper's, before and after training, for the ReLU network.
PAPER = (2.27e-5, 6.11e-2)
BINS = np.linspace(0.0, 1.0, 21)


def trained(
  key: chex.PRNGKey,
  *,
  widths: tuple[int, ...],
  policy: jaxmix.MixingPolicy,
  n: int,
  batch_size: int,
  epochs: int,
) -> tuple[chex.Array, chex.Array]:
  """One run from data to end: R_i and whether i is classified right.

  Args:
    key: PRNG key of the data, the initialisation and the training.
    widths: of the network's layers.
    policy: of the mixing.
    n: examples.
    batch_size: a divisor of n.
    epochs: how many.

  Returns:
    [epochs + 1, n] each, before training and after every epoch.
  """
  key_x, key_truth, key_init, key_train = jax.random.split(key, 4)
  x = jax.random.normal(key_x, (n, DIMENSION))
  y = (x @ jax.random.normal(key_truth, (DIMENSION,)) > 0.0).astype(x.dtype)
  params = networks.init(key_init, widths, biases=False)
  optimizer = optax.sgd(0.1, momentum=0.9)

  def loss(params, inputs, targets):
    outputs = networks.logits(params, inputs)
    losses = jaxmix.mixed_loss(jaxmix.losses.logistic, outputs, targets)
    return jnp.mean(losses)

  def step(carry, batch):
    params, state = carry
    key, index = batch
    plan = jaxmix.draw(key, batch_size, policy=policy)
    gradient = jax.grad(loss)(
      params, plan.mix(x[index]), plan.targets(y[index])
    )
    updates, state = optimizer.update(gradient, state)
    return (optax.apply_updates(params, updates), state), None

  def measure(params):
    logit_fn = lambda x: networks.logits(params, x)
    right = (logit_fn(x) > 0.0) == (y > 0.5)
    return theory.cosines(logit_fn, x), right

  def epoch(carry, key):
    key_order, key_steps = jax.random.split(key)
    order = jax.random.permutation(key_order, n).reshape(-1, batch_size)
    keys = jax.random.split(key_steps, len(order))
    before = measure(carry[0])
    return jax.lax.scan(step, carry, (keys, order))[0], before

  start = (params, optimizer.init(params))
  last, path = jax.lax.scan(epoch, start, jax.random.split(key_train, epochs))
  return jax.tree.map(
    lambda leaf, end: jnp.concatenate([leaf, end[None]]), path, measure(last[0])
  )


def by_chance(n: int, prob: float) -> float:
  """A quantile of R if gradients pointed anywhere: cos^2 ~ Beta(1/2, 9/2)."""
  each = -np.expm1(np.log1p(-prob) / n)
  law = stats.beta(0.5, 0.5 * (DIMENSION - 1))
  return float(np.sqrt(law.ppf(each)))


def compute(*, smoke: bool = False) -> dict[str, Any]:
  """Trains both models both ways at both batch sizes, many seeds at once."""
  n = 20 if smoke else 100
  epochs = 3 if smoke else 400
  seeds = 3 if smoke else 10
  sizes = (10, n)
  shown = np.unique(np.linspace(0, epochs, 41).astype(int))
  keys = jax.random.split(jax.random.key(0), seeds)
  runs = []
  names = itertools.product(MODELS, TRAININGS, sizes)
  for model, training, batch_size in names:
    run = lambda key, model=model, training=training, size=batch_size: trained(
      key,
      widths=MODELS[model],
      policy=TRAININGS[training],
      n=n,
      batch_size=size,
      epochs=epochs,
    )
    aligned, right = map(np.asarray, jax.jit(jax.vmap(run))(keys))
    smallest = np.min(aligned, axis=-1)
    count = lambda values: np.histogram(values, BINS)[0].tolist()
    runs.append(
      {
        "model": model,
        "training": training,
        "batch_size": batch_size,
        "r": drawing.numbers(smallest[:, shown]),
        "median_r_i": drawing.numbers(np.median(aligned, axis=-1)[:, shown]),
        "accuracy": drawing.numbers(np.mean(right, axis=-1)[:, shown]),
        "grew": int(np.sum(smallest[:, -1] > smallest[:, 0])),
        "r_first": drawing.numbers(_spread(smallest[:, 0]), 3),
        "r_last": drawing.numbers(_spread(smallest[:, -1]), 3),
        "counts_first": count(aligned[:, 0]),
        "counts_last": count(aligned[:, -1]),
      }
    )
  chance = [by_chance(n, prob) for prob in (0.05, 0.5, 0.95)]
  majority = [
    run["grew"] > seeds / 2
    for run in runs
    if run["model"] != "linear" or run["training"] == "plain"
  ]
  seen = all(majority)
  return {
    "settings": {
      "n": n,
      "dimension": DIMENSION,
      "epochs": epochs,
      "seeds": seeds,
      "learning_rate": 0.1,
      "momentum": 0.9,
      "biases": False,
      "mixup_alpha": 1.0,
    },
    "paper": PAPER,
    "epochs": shown.tolist(),
    "bins": drawing.numbers(BINS),
    "by_chance": drawing.numbers(chance, 3),
    "runs": runs,
    "seen": seen,
    "caption": _caption(runs, chance, n, epochs, seeds, seen),
  }


def _caption(runs, chance, n, epochs, seeds, seen) -> str:
  """What is seen: R of the network, R of the linear model, R_i."""
  network = [run for run in runs if run["model"] != "linear"]
  before = network[0]["r_first"][1]
  after = [run["r_last"][1] for run in network]
  median = [np.median(run["median_r_i"], axis=0) for run in network]
  large = [
    sum(run["counts_last"][BINS.searchsorted(0.8) :]) / n / seeds
    for run in network
  ]
  linear = ", ".join(
    f"{run['grew']} ({run['training']}, batch {run['batch_size']})"
    for run in runs
    if run["model"] == "linear"
  )
  return (
    "Zhang et al. (2021), figure 3: R = min R_i grows during training. "
    f"{'Seen' if seen else 'Not seen'}. ReLU network: R grows in "
    f"at least {min(run['grew'] for run in network)} of {seeds} seeds, its "
    f"median from {before:.2g} to {min(after):.2g} - {max(after):.2g} (paper, "
    f"one run: {PAPER[0]:.2g} to {PAPER[1]:.2g}); gradients that point "
    f"anywhere give R = {chance[1]:.2g}, {chance[0]:.2g} to {chance[2]:.2g} in "
    "90% of draws, so the paper starts unusually low, and the growth is no "
    f"chance. Linear model: R grows in {linear} of {seeds} seeds, by little, "
    "and as by chance where Mixup keeps accuracy under 100%. A typical R_i "
    f"grows less in the network (median {median[0][0]:.2f} to "
    f"{min(m[-1] for m in median):.2f} - {max(m[-1] for m in median):.2f}), "
    f"{min(large):.1%} - {max(large):.1%} exceed 0.8. n = {n}, d = "
    f"{DIMENSION}, {epochs} epochs of SGD, no biases, Beta(1, 1); left: median "
    "and, for one training, range of the seeds; right: all seeds, batch "
    f"{network[0]['batch_size']}."
  )


def _spread(values):
  """Smallest, median, largest."""
  return [np.min(values), np.median(values), np.max(values)]


def draw(result: dict[str, Any]) -> Figure:
  """For each model R, its accuracy, and R_i before and after."""
  epochs = result["epochs"]
  with drawing.style():
    figure, panels = drawing.new(columns=3, rows=2, height=2.7)
    for row, model in enumerate(MODELS):
      smallest, accuracy, histogram = (panels[3 * row + k] for k in range(3))
      low, middle, high = result["by_chance"]
      smallest.axhspan(low, high, color="0.5", alpha=0.15, linewidth=0)
      smallest.axhline(middle, color="0.5", linewidth=0.8)
      runs = [run for run in result["runs"] if run["model"] == model]
      first = runs[0]["batch_size"]
      for run in runs:
        color = {"plain": "C4", "Mixup": "C5"}[run["training"]]
        looks = {
          "color": color,
          "linestyle": "-" if run["batch_size"] == first else "--",
          "label": f"{run['training']}, batch {run['batch_size']}",
          "linewidth": 1.4,
        }
        smallest.plot(epochs, np.median(run["r"], axis=0), **looks)
        accuracy.plot(epochs, np.mean(run["accuracy"], axis=0), **looks)
        if run is runs[0]:
          ends = np.min(run["r"], axis=0), np.max(run["r"], axis=0)
          smallest.fill_between(
            epochs, *ends, color=color, alpha=0.15, linewidth=0
          )
          _steps(histogram, run["counts_first"], "0.6", "before", fill=True)
        if run["batch_size"] == first:
          after = f"after, {run['training']}"
          _steps(histogram, run["counts_last"], color, after)
      if model != "linear":
        ends = epochs[0], epochs[-1]
        paper = {"marker": "x", "color": "k", "linestyle": "", "clip_on": False}
        smallest.plot(ends, result["paper"], label="paper", **paper)
      smallest.set_yscale("log")
      smallest.set_ylim(1e-5, 1.0)
      smallest.set_title(f"{model}: R (grey: by chance, 90%)", fontsize=9)
      accuracy.set_title(f"{model}: training accuracy, mean", fontsize=9)
      histogram.set_title(f"{model}: R_i", fontsize=9)
      smallest.set_ylabel("R")
      accuracy.set_ylabel("accuracy")
      histogram.set_ylabel("density")
      histogram.set_xlabel("R_i")
      histogram.legend()
      for axes in (smallest, accuracy):
        axes.set_xlabel("epoch")
    handles, labels = panels[3].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=5)
  return figure


def _steps(axes, counts, color, label, *, fill=False):
  """A histogram as a density."""
  density = np.asarray(counts) / np.sum(counts) / np.diff(BINS)
  axes.stairs(
    density, BINS, color=color, label=label, fill=fill, alpha=0.4 if fill else 1
  )


if __name__ == "__main__":
  drawing.run("zhang_figure3", compute, draw)
