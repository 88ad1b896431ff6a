"""Figure 2 of MixupE (2023): the smallest alpha_{k,i} during Mixup training.

alpha_{k,i} is the sign and share of class k at example i in Mixup's first-order
regulariser, eq. (3): where negative, Mixup sharpens the network there, which is
what MixupE's penalty is for. The paper trains PreActResNet18 and 50 on
CIFAR-10; here it is an MLP on scikit-learn's digits, which runs anywhere.
"""

from __future__ import annotations

from typing import Any

import chex
import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np
import optax
from sklearn import datasets

from experiments.figures import drawing
import jaxmix
from jaxmix import models, policies, theory

TRAININGS = {"Mixup": policies.mixup(1.0), "ERM": policies.erm()}
CLASSES = 10
# Iterations that the caption names.
EARLY = 10


def trained(
  key: chex.PRNGKey,
  x: chex.Array,
  y: chex.Array,
  *,
  policy: jaxmix.MixingPolicy,
  epochs: int,
  batch_size: int,
  watched: int,
) -> dict[str, chex.Array]:
  """One run, watching the first examples.

  Args:
    key: PRNG key of the initialisation and the training.
    x: [n, 64] floats, centred.
    y: [n] integer classes.
    policy: of the mixing.
    epochs: how many.
    batch_size: what is left over of n sits out an epoch.
    watched: how many examples alpha is computed for.

  Returns:
    Arrays [epochs * n // batch_size + 1], before training and after each
    iteration: the "smallest" alpha, the 1% "quantile", the share "negative" of
    alphas and "rising" of examples with q_i < 0, "mean_q", and "accuracy".
  """
  model = models.create("mlp", CLASSES)
  key_init, key_train = jax.random.split(key)
  variables = model.init(key_init, x[:1])
  optimizer = optax.sgd(0.1, momentum=0.9)

  def loss(variables, inputs, targets):
    logits = model.apply(variables, inputs)
    losses = jaxmix.mixed_loss(
      jaxmix.losses.softmax_cross_entropy, logits, targets
    )
    return jnp.mean(losses)

  def measure(variables):
    logit_fn = lambda x: model.apply(variables, x)
    some, labels, mean = x[:watched], y[:watched], jnp.mean(x, axis=0)
    coefficients = theory.direction_coefficients(
      logit_fn, some, labels, input_mean=mean, examples_at_once=watched
    )
    logits, moved = jax.jvp(logit_fn, (some,), (mean[None] - some,))
    residual = jax.nn.softmax(logits) - jax.nn.one_hot(labels, CLASSES)
    q = jnp.sum(residual * moved, axis=-1)
    right = jnp.argmax(logits, axis=-1) == labels
    return {
      "smallest": jnp.min(coefficients),
      "quantile": jnp.quantile(coefficients, 0.01),
      "negative": jnp.mean((coefficients < 0.0).astype(logits.dtype)),
      "rising": jnp.mean((q < 0.0).astype(logits.dtype)),
      "mean_q": jnp.mean(q),
      "accuracy": jnp.mean(right.astype(logits.dtype)),
    }

  def step(carry, batch):
    variables, state = carry
    key, index = batch
    before = measure(variables)
    plan = jaxmix.draw(key, batch_size, policy=policy)
    targets = plan.targets(y[index])
    gradient = jax.grad(loss)(variables, plan.mix(x[index]), targets)
    updates, state = optimizer.update(gradient, state)
    return (optax.apply_updates(variables, updates), state), before

  def batches(key):
    order = jax.random.permutation(key, len(x))
    order = order[: len(x) // batch_size * batch_size]
    return order.reshape(-1, batch_size)

  key_order, key_steps = jax.random.split(key_train)
  indices = jax.vmap(batches)(jax.random.split(key_order, epochs))
  indices = indices.reshape(-1, batch_size)
  start = (variables, optimizer.init(variables))
  keys = jax.random.split(key_steps, len(indices))
  last, path = jax.lax.scan(step, start, (keys, indices))
  return jax.tree.map(
    lambda leaf, end: jnp.concatenate([leaf, end[None]]), path, measure(last[0])
  )


def compute(*, smoke: bool = False) -> dict[str, Any]:
  """Trains by Mixup and by ERM."""
  settings: dict[str, Any] = {
    "epochs": 1 if smoke else 40,
    "batch_size": 100,
    "watched": 64 if smoke else 512,
  }
  seeds = 1 if smoke else 3
  images, labels = datasets.load_digits(return_X_y=True)
  images = images[:400] if smoke else images
  images = images / 16.0
  x = jnp.asarray(images - np.mean(images, axis=0), jnp.float32)
  y = jnp.asarray(labels[: len(images)], jnp.int32)
  curves = {}
  for name, policy in TRAININGS.items():
    run = lambda key, policy=policy: trained(
      key, x, y, policy=policy, **settings
    )
    run = jax.jit(run)
    every = [run(jax.random.key(seed)) for seed in range(seeds)]
    curves[name] = jax.tree.map(lambda *leaves: np.stack(leaves), *every)
  # Early iterations matter most: as many points for 1 to 10 as for 10 to 100.
  last = curves["Mixup"]["smallest"].shape[1] - 1
  shown = np.unique(np.geomspace(1, last + 1, 48).round().astype(int)) - 1
  curves = {
    name: {key: drawing.numbers(one[:, shown]) for key, one in found.items()}
    for name, found in curves.items()
  }
  early = int(np.searchsorted(shown, EARLY))
  early = min(early, len(shown) - 1)
  seen = bool(np.max(np.asarray(curves["Mixup"]["smallest"])[:, :early]) < 0.0)
  return {
    "settings": settings
    | {
      "n": len(x),
      "seeds": seeds,
      "learning_rate": 0.1,
      "momentum": 0.9,
      "mixup_alpha": 1.0,
      "model": "mlp, 128 and 128 hidden units",
    },
    "iterations": shown.tolist(),
    "curves": curves,
    "seen": seen,
    "caption": _caption(curves, shown, early, seeds, seen, settings["watched"]),
  }


def _caption(curves, shown, early, seeds, seen, watched) -> str:
  at = lambda name, key, k: float(np.mean(curves[name][key], axis=0)[k])
  three = lambda name, key, form: ", ".join(
    format(at(name, key, k), form) for k in (0, early, -1)
  )
  return (
    "MixupE (2023), figure 2: alpha_{k,i} is negative for some k and i early "
    f"in Mixup training. {'Seen' if seen else 'Not seen'}, and late too. At "
    f"iterations 0, {shown[early]} and {shown[-1]} the smallest alpha is "
    f"{three('Mixup', 'smallest', '.2f')} (ERM "
    f"{three('ERM', 'smallest', '.2f')}), the share of negative alphas "
    f"{three('Mixup', 'negative', '.0%')}. Their sum q_i, weighted by lengths, "
    f"is negative for {three('Mixup', 'rising', '.1%')} of examples (ERM "
    f"{three('ERM', 'rising', '.1%')}): sharpening on balance ends in some "
    "tens of iterations. Not the paper's setting: digits instead of CIFAR-10, "
    "an MLP instead of PreActResNets, no weight decay, constant step, batches "
    f"of 100. First {watched} training examples, {seeds} seeds: mean and range."
  )


def draw(result: dict[str, Any]) -> Figure:
  """The smallest alpha, shares of negative ones, and the mean of q_i."""
  iterations = np.asarray(result["iterations"]) + 1
  measures = {
    "smallest": "min of alpha over k, i",
    "negative": "share of negative alpha",
    "rising": "share of examples with q_i < 0",
    "mean_q": "mean of q_i",
    "accuracy": "training accuracy",
  }
  with drawing.style():
    figure, panels = drawing.new(columns=3, rows=2, height=2.5)
    for axes, (key, title) in zip(panels, measures.items(), strict=False):
      for name, color in zip(TRAININGS, ("C5", "C4"), strict=True):
        values = np.asarray(result["curves"][name][key])
        mean = np.mean(values, axis=0)
        axes.plot(iterations, mean, color=color, linestyle="-", label=name)
        ends = np.min(values, axis=0), np.max(values, axis=0)
        axes.fill_between(
          iterations, *ends, color=color, alpha=0.15, linewidth=0
        )
        if key == "smallest":
          quantile = np.mean(result["curves"][name]["quantile"], axis=0)
          axes.plot(
            iterations,
            quantile,
            color=color,
            linestyle="--",
            label=f"{name}, 1% quantile",
          )
      if key in ("smallest", "mean_q"):
        axes.axhline(0.0, color="0.4", linewidth=0.8, linestyle="-")
      else:
        axes.set_ylim(0.0, 1.0)
      axes.set_xscale("log")
      axes.set_title(title, fontsize=9)
      axes.set_xlabel("iteration + 1")
    handles, labels = panels[0].get_legend_handles_labels()
    panels[5].legend(handles, labels, loc="center")
    panels[5].axis("off")
  return figure


if __name__ == "__main__":
  drawing.run("mixupe_figure2", compute, draw)
