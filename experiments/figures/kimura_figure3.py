"""Figure 3 and table 1 of Kimura (2021), small: the gap against alpha.

The paper trains ResNet-18 on CIFAR-10 and finds that the difference between
training and test loss is smaller for smaller alpha of Beta(alpha, alpha). It
does not say whether the training loss is of mixed examples; both are shown. An
MLP on scikit-learn's digits here.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np
import optax

from experiments.figures import drawing, pictures
import jaxmix
from jaxmix import models, policies

# The paper's.
ALPHAS = (0.1, 0.2, 0.4, 0.8, 1.0, 2.0, 4.0)
MEASURES = {
  "test_loss": "test loss",
  "test_error": "test error",
  "mixed_gap": "|training loss of mixed examples - test loss|",
  "clean_gap": "test loss - training loss of unmixed examples",
}
BATCH = 100


def trained(key, alpha, data, steps):
  """The measures at the end of one run of Mixup training."""
  (x, y), (test_x, test_y) = data
  model = models.create("mlp", 10)
  key_init, key_steps, key_end = jax.random.split(key, 3)
  params = model.init(key_init, x[:1])
  schedule = optax.cosine_decay_schedule(0.1, steps)
  optimizer = optax.sgd(schedule, momentum=0.9)
  cross_entropy = jaxmix.losses.softmax_cross_entropy
  policy = policies.mixup(alpha)

  def loss(params, x, y, key):
    plan = jaxmix.draw(key, len(x), policy=policy)
    logits = model.apply(params, plan.mix(x))
    mixed = jaxmix.mixed_loss(cross_entropy, logits, plan.targets(y))
    return jnp.mean(mixed)

  def step(carry, key):
    params, state = carry
    key_index, key_plan = jax.random.split(key)
    index = jax.random.choice(key_index, len(x), (BATCH,), replace=False)
    gradient = jax.grad(loss)(params, x[index], y[index], key_plan)
    updates, state = optimizer.update(gradient, state)
    return (optax.apply_updates(params, updates), state), None

  start = params, optimizer.init(params)
  (params, _), _ = jax.lax.scan(step, start, jax.random.split(key_steps, steps))
  mixed = jnp.mean(
    jax.vmap(lambda key: loss(params, x, y, key))(jax.random.split(key_end, 10))
  )
  logits: Any = model.apply(params, test_x)
  test = jnp.mean(cross_entropy(logits, test_y))
  clean = jnp.mean(cross_entropy(model.apply(params, x), y))
  wrong = jnp.argmax(logits, axis=-1) != test_y
  return {
    "test_loss": test,
    "test_error": jnp.mean(wrong.astype(test.dtype)),
    "mixed_gap": jnp.abs(mixed - test),
    "clean_gap": test - clean,
  }


def compute(*, smoke: bool = False) -> dict[str, Any]:
  """Trains several seeds at every alpha."""
  steps = 5 if smoke else 500
  seeds = 2 if smoke else 5
  data = pictures.load("digits", 600, 50 if smoke else 1197)
  data = jax.tree.map(jnp.asarray, data)
  run = jax.jit(lambda key, alpha: trained(key, alpha, data, steps))
  keys = jax.random.split(jax.random.key(0), seeds)
  found = [
    [jax.device_get(run(key, jnp.float32(alpha))) for key in keys]
    for alpha in ALPHAS
  ]
  curves = {
    name: drawing.numbers(
      [[float(one[name]) for one in row] for row in found], 4
    )
    for name in MEASURES
  }
  mean = {name: np.mean(one, axis=1) for name, one in curves.items()}
  rising = float(np.corrcoef(np.log(ALPHAS), mean["mixed_gap"])[0, 1])
  result = {
    "settings": {
      "steps": steps,
      "seeds": seeds,
      "batch_size": BATCH,
      "learning_rate": 0.1,
      "momentum": 0.9,
      "n": 600,
    },
    "alphas": list(ALPHAS),
    "curves": curves,
    "seen": bool(mean["mixed_gap"][0] < mean["mixed_gap"][-1] and rising > 0.5),
  }
  ends = lambda name: f"{mean[name][0]:.3f} to {mean[name][-1]:.3f}"
  best = int(np.argmin(mean["test_loss"]))
  result["caption"] = (
    "Kimura (2021), figure 3 and table 1: the gap between training and test "
    "loss is small where alpha is. "
    f"{'Seen' if result['seen'] else 'Not seen'} where the training loss is of "
    f"mixed examples: {ends('mixed_gap')} nats from alpha = {ALPHAS[0]} to "
    f"{ALPHAS[-1]}, which says that mixed examples are harder to fit. Between "
    f"unmixed training examples and test it goes from {ends('clean_gap')}; the "
    f"test loss, {ends('test_loss')}, is least at alpha = {ALPHAS[best]}, test "
    f"error {ends('test_error')}. Digits, an MLP of 128 and 128 units, "
    f"{steps} steps of {BATCH}, {seeds} seeds (range shaded)."
  )
  return result


def draw(result: dict[str, Any]) -> Figure:
  """A panel a measure."""
  with drawing.style():
    figure, panels = drawing.new(columns=2, rows=2, height=2.5)
    for axes, (name, title) in zip(panels, MEASURES.items(), strict=True):
      values = np.asarray(result["curves"][name])
      alphas = result["alphas"]
      axes.plot(alphas, np.mean(values, axis=1), "o-", markersize=3)
      ends = np.min(values, axis=1), np.max(values, axis=1)
      axes.fill_between(alphas, *ends, alpha=0.15, linewidth=0)
      axes.set_xscale("log")
      axes.set_title(title, fontsize=9)
      axes.set_xlabel("alpha")
  return figure


if __name__ == "__main__":
  drawing.run("kimura_figure3", compute, draw)
