"""Does Mixup raise |df_k| where alpha_{k,i} < 0?

MixupE (2023), section 2.2, reads eq. (3), q_i = sum_k alpha_{k,i} |df_k(x_i)|
|xbar - x_i|, as a sum that training lowers: where alpha_{k,i} is negative,
"Mixup has an unintended effect of maximizing" |df_k(x_i)|. But alpha depends on
the parameters, too, and all examples share them. So here the derivative of
log |df_k(x_i)| in the size of a step is measured: of the step on q_i alone, of
that on Lemma 3.1's R1, and of a Mixup step less an ERM step.
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

CLASSES = 10
STEPS = {
  "own": "a step on q_i alone",
  "first": "a step on R1",
  "whole": "Mixup's step less ERM's",
}
# Draws that the expected step of Mixup is averaged over.
ROUNDS = 64


def measure(model, params, x, y, mean, key, watched, rounds):
  """How |df_k(x_i)| moves under three steps, and alpha_{k,i}.

  Returns:
    "alpha" [watched, K], and for every step [watched, K] derivatives of log
    |df_k(x_i)|.
  """

  def logits(params, point):
    return model.apply({"params": params}, point[None])[0]

  def log_lengths(params, point):
    jacobian = jax.jacrev(lambda p: logits(params, p))(point)
    return 0.5 * jnp.log(jnp.sum(jacobian.reshape(CLASSES, -1) ** 2, axis=-1))

  def q(params, point, label):
    f, moved = jax.jvp(lambda p: logits(params, p), (point,), (mean - point,))
    return (jax.nn.softmax(f) - jax.nn.one_hot(label, CLASSES)) @ moved

  def alpha(point, label):
    f = logits(params, point)
    jacobian = jax.jacrev(lambda p: logits(params, p))(point)
    jacobian = jacobian.reshape(CLASSES, -1)
    towards = (mean - point).ravel()
    cosine = jacobian @ towards / jnp.linalg.norm(jacobian, axis=-1)
    residual = jax.nn.softmax(f) - jax.nn.one_hot(label, CLASSES)
    return residual * cosine / jnp.linalg.norm(towards)

  minus = lambda tree: jax.tree.map(jnp.negative, tree)

  def along(step, point):
    return jax.jvp(lambda p: log_lengths(p, point), (params,), (step,))[1]

  def own(point, label):
    return along(minus(jax.grad(q)(params, point, label)), point)

  def r1(params):
    return jnp.mean(jax.vmap(q, (None, 0, 0))(params, x, y))

  def excess(params, key):
    """Mixup's loss on one draw of the whole set, less the standard one."""
    plan = jaxmix.draw(key, len(x), policy=policies.mixup(1.0))
    apply = lambda x: model.apply({"params": params}, x)
    cross_entropy = jaxmix.losses.softmax_cross_entropy
    mixed = jaxmix.mixed_loss(
      cross_entropy, apply(plan.mix(x)), plan.targets(y)
    )
    return jnp.mean(mixed) - jnp.mean(cross_entropy(apply(x), y))

  gradients = jax.lax.map(
    lambda key: jax.grad(excess)(params, key), jax.random.split(key, rounds)
  )
  whole = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), gradients)
  some, labels = x[:watched], y[:watched]
  first = minus(jax.grad(r1)(params))
  return {
    "alpha": jax.vmap(alpha)(some, labels),
    "own": jax.lax.map(lambda pair: own(*pair), (some, labels), batch_size=50),
    "first": jax.vmap(along, (None, 0))(first, some),
    "whole": jax.vmap(along, (None, 0))(minus(whole), some),
  }


def trained(seed, data, shown, watched, rounds):
  """One run of Mixup training: the measures at every step shown."""
  x, y = map(jnp.asarray, data)
  mean = jnp.mean(x, axis=0)
  model = models.create("mlp", CLASSES)
  params = model.init(jax.random.key(seed), x[:1])["params"]
  optimizer = optax.sgd(0.05, momentum=0.9)
  state = optimizer.init(params)

  @jax.jit
  def step(params, state, key):
    key_index, key_plan = jax.random.split(key)
    index = jax.random.choice(key_index, len(x), (100,), replace=False)
    plan = jaxmix.draw(key_plan, 100, policy=policies.mixup(1.0))

    def loss(params):
      logits = model.apply({"params": params}, plan.mix(x[index]))
      losses = jaxmix.mixed_loss(
        jaxmix.losses.softmax_cross_entropy, logits, plan.targets(y[index])
      )
      return jnp.mean(losses)

    updates, state = optimizer.update(jax.grad(loss)(params), state)
    return optax.apply_updates(params, updates), state

  run = jax.jit(
    lambda params, key: measure(model, params, x, y, mean, key, watched, rounds)
  )
  keys = jax.random.split(jax.random.key(1000 + seed), int(shown[-1]) + 1)
  found = []
  for k in range(int(shown[-1]) + 1):
    if k in shown:
      found.append(jax.device_get(run(params, jax.random.fold_in(keys[k], 1))))
    params, state = step(params, state, keys[k])
  return found


def compute(*, smoke: bool = False) -> dict[str, Any]:
  """Trains an MLP by Mixup on both data sets, and takes steps on the way."""
  steps = 1 if smoke else 1000
  seeds = 1 if smoke else 3
  watched = 16 if smoke else 200
  rounds = 2 if smoke else ROUNDS
  n = 120 if smoke else 600
  names = pictures.NAMES[:1] if smoke else pictures.NAMES
  shown = np.unique(np.geomspace(1, steps + 1, 8).round().astype(int)) - 1
  curves: dict[str, Any] = {}
  for name in names:
    data = pictures.load(name, n).train
    runs = [
      trained(seed, data, shown, watched, rounds) for seed in range(seeds)
    ]
    summary = lambda fn, runs=runs: [
      [fn(point) for point in run] for run in runs
    ]
    curves[name] = {
      "negative": drawing.numbers(
        summary(lambda point: np.mean(point["alpha"] < 0)), 4
      )
    }
    for key in STEPS:
      for sign in ("negative", "positive"):

        def raised(point, key=key, sign=sign):
          chosen = (point["alpha"] < 0) == (sign == "negative")
          return np.mean(point[key][chosen] > 0) if chosen.any() else np.nan

        curves[name][f"{key}_{sign}"] = drawing.numbers(summary(raised), 4)
  ends = {
    key: [
      float(np.nanmin(np.asarray(one[f"{key}_negative"], float)))
      for one in curves.values()
    ]
    for key in STEPS
  }
  result = {
    "settings": {
      "n": n,
      "watched": watched,
      "seeds": seeds,
      "rounds": rounds,
      "steps": steps,
    },
    "steps": shown.tolist(),
    "curves": curves,
    # Raised where alpha < 0 more often than not, always?
    "seen": bool(min(ends["whole"]) > 0.5),
  }
  return result | {"caption": _caption(result)}


def _caption(result) -> str:
  steps = result["steps"]
  told = []
  for name, one in result["curves"].items():
    parts = []
    for key, title in STEPS.items():
      below, above = (
        np.nanmean(np.asarray(one[f"{key}_{sign}"], float), axis=0)
        for sign in ("negative", "positive")
      )
      parts.append(
        f"{title}: {below[0]:.0%} at first, {below[-1]:.0%} at last (where "
        f"alpha > 0: {above[0]:.0%}, {above[-1]:.0%})"
      )
    told.append(f"{name}, " + "; ".join(parts) + ".")
  settings = result["settings"]
  return (
    "MixupE (2023), section 2.2: where alpha_{k,i} < 0 Mixup raises |df_k(x_i)|"
    f". {'Seen' if result['seen'] else 'Not seen'} as a rule. Share of (k, i) "
    f"with alpha < 0 whose |df_k(x_i)| rises along {' '.join(told)} MLP of 128 "
    "and 128 units trained by Mixup, alpha 1, "
    f"iterations {steps[0]} to {steps[-1]}; {settings['n']} examples, "
    f"{settings['watched']} of them watched, {settings['seeds']} seeds, "
    f"Mixup's step the mean of {settings['rounds']} draws of the whole set."
  )


def draw(result: dict[str, Any]) -> Figure:
  """A row a data set, a column a step."""
  steps = np.asarray(result["steps"]) + 1
  rows = len(result["curves"])
  with drawing.style():
    figure, panels = drawing.new(len(STEPS), rows, height=2.7)
    for row, (name, one) in enumerate(result["curves"].items()):
      for column, (key, title) in enumerate(STEPS.items()):
        axes = panels[row * len(STEPS) + column]
        for sign, color in (("negative", "C3"), ("positive", "C0")):
          values = np.asarray(one[f"{key}_{sign}"], float)
          label = f"alpha {'<' if sign == 'negative' else '>'} 0"
          mean = np.nanmean(values, axis=0)
          axes.plot(steps, mean, color=color, linestyle="-", label=label)
          ends = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
          axes.fill_between(steps, *ends, color=color, alpha=0.15, linewidth=0)
        axes.axhline(0.5, color="0.5", linewidth=0.6)
        axes.set(xscale="log", ylim=(0, 1), xlabel="iteration + 1")
        axes.set_ylabel("share raised")
        axes.set_title(f"{name}: {title}", fontsize=9)
        axes.legend()
  return figure


if __name__ == "__main__":
  drawing.run("mixupe_steps", compute, draw)
