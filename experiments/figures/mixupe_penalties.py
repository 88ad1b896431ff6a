"""How good MixupE's eq. (2) is in networks that people train.

qbar_i = (y_i - g(f_i)) f_i stands for q_i = (g(f_i) - y_i) df_i (xbar - x_i)
where xbar = 0 and df_i x_i = f_i, "which is the case in many common problems"
(MixupE, 2023, section 2.2). Here both during Mixup training, with and without
biases and batch norm, whose statistics are held (`jaxmix.hold`) or running.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np
import optax

from experiments.figures import drawing, pictures
import jaxmix
from jaxmix import models, policies

CLASSES = 10
BATCH = 100
MLP_RATE, CONV_RATE = 0.05, 0.05


class Case(NamedTuple):
  """What is trained, on what, and in which mode q is taken.

  Attributes:
    model: by `models.create`.
    options: of it.
    centred: whether each pixel's mean is taken off, so that xbar = 0.
    train: whether q is of the network in training mode.
  """

  model: str
  options: dict[str, Any]
  centred: bool = False
  train: bool = False


RESNET = {"width": 4}
CASES = {
  "MLP, no biases, xbar = 0": Case("mlp", {"use_bias": False}, centred=True),
  "MLP, no biases": Case("mlp", {"use_bias": False}),
  "MLP": Case("mlp", {}),
  "ResNet-8, statistics held": Case("resnet8", RESNET, train=True),
  "ResNet-8, running averages": Case("resnet8", RESNET),
}
MEASURES = {
  "error": "|qbar - q| / |q|",
  "correlation": "correlation of qbar and q",
  "size": "mean |qbar| / mean |q|",
  "gradient": "cosine of their gradients",
}


def measure(
  apply: Callable[[Any, chex.Array], chex.Array],
  params: Any,
  x: chex.Array,
  y: chex.Array,
  mean: chex.Array,
) -> dict[str, chex.Array]:
  """Compares q and qbar over examples, and the penalties' gradients.

  Args:
    apply: maps (params, x) to logits.
    params: of the network.
    x: [n, ...] floats.
    y: [n] classes.
    mean: xbar, shaped like one example.

  Returns:
    Scalars, by the names of MEASURES.
  """

  def exact(params):
    return jaxmix.exact_directional_penalty(
      lambda x: apply(params, x), x, y, mean[None]
    )

  def approximate(params):
    return jaxmix.directional_penalty(apply(params, x), y)

  q, qbar = exact(params), approximate(params)
  size = lambda fn: jax.grad(lambda p: jnp.mean(jnp.abs(fn(p))))(params)
  one, other = (
    jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(size(fn))])
    for fn in (exact, approximate)
  )
  norm = jnp.linalg.norm
  return {
    "error": norm(qbar - q) / norm(q),
    "correlation": jnp.corrcoef(qbar, q)[0, 1],
    "size": jnp.mean(jnp.abs(qbar)) / jnp.mean(jnp.abs(q)),
    "gradient": one @ other / (norm(one) * norm(other)),
  }


def trained(
  seed: int,
  cases: dict[str, Case],
  data: tuple[np.ndarray, np.ndarray],
  shown: np.ndarray,
  watched: int,
) -> dict[str, list[dict[str, float]]]:
  """One training run, and what several cases of one network measure.

  Args:
    seed: of the initialisation, the order and the mixing.
    cases: by name; all of one model and one scale.
    data: images and labels.
    shown: the steps measured at, ascending.
    watched: how many examples q is taken of.

  Returns:
    For each case, the measures at every step shown.
  """
  case = next(iter(cases.values()))
  images, labels = data
  if case.centred:
    images = images - np.mean(images, axis=0)
  mean = jnp.asarray(np.mean(images, axis=0))
  x, y = jnp.asarray(images), jnp.asarray(labels)
  model = models.create(case.model, CLASSES, **case.options)
  variables = model.init(jax.random.key(seed), x[:2])
  params = variables["params"]
  stats = {k: v for k, v in variables.items() if k != "params"}
  rate = MLP_RATE if case.model == "mlp" else CONV_RATE
  optimizer = optax.sgd(rate, momentum=0.9)
  policy = policies.mixup(1.0)

  @jax.jit
  def step(params, stats, state, key):
    key_index, key_plan = jax.random.split(key)
    index = jax.random.choice(key_index, len(x), (BATCH,), replace=False)
    plan = jaxmix.draw(key_plan, BATCH, policy=policy)
    targets = plan.targets(y[index])

    def loss(params):
      logits, moved = model.apply(
        {"params": params, **stats},
        plan.mix(x[index]),
        train=True,
        mutable=list(stats),
      )
      losses = jaxmix.mixed_loss(
        jaxmix.losses.softmax_cross_entropy, logits, targets
      )
      return jnp.mean(losses), moved

    gradient, stats = jax.grad(loss, has_aux=True)(params)
    updates, state = optimizer.update(gradient, state)
    return optax.apply_updates(params, updates), stats, state

  def at(params, stats, train):
    def apply(params, x):
      found = model.apply(
        {"params": params, **stats},
        x,
        train=train,
        mutable=list(stats) if train else False,
      )
      return found[0] if train else found

    found = measure(apply, params, x[:watched], y[:watched], mean)
    right = jnp.argmax(apply(params, x[:watched]), axis=-1) == y[:watched]
    return found | {"accuracy": jnp.mean(right.astype(jnp.float32))}

  at = jax.jit(at, static_argnums=2)
  state = optimizer.init(params)
  found: dict[str, list[dict[str, float]]] = {name: [] for name in cases}
  keys = jax.random.split(jax.random.key(1000 + seed), int(shown[-1]) + 1)
  for k in range(int(shown[-1]) + 1):
    if k in shown:
      for name, own in cases.items():
        values = jax.device_get(at(params, stats, own.train))
        found[name].append({key: float(v) for key, v in values.items()})
    params, stats, state = step(params, stats, state, keys[k])
  return found


def compute(*, smoke: bool = False) -> dict[str, Any]:
  """Trains every network on both data sets."""
  steps = 1 if smoke else 200
  seeds = 1 if smoke else 2
  watched = 32 if smoke else 100
  n = 120 if smoke else 600
  names = pictures.NAMES[:1] if smoke else pictures.NAMES
  shown = np.unique(np.geomspace(1, steps + 1, 9).round().astype(int)) - 1
  together = [["MLP, no biases, xbar = 0"], ["MLP, no biases"], ["MLP"]]
  together.append([name for name in CASES if name.startswith("ResNet")])
  if smoke:
    together = together[:2]
  curves: dict[str, Any] = {}
  for data_name in names:
    data = pictures.load(data_name, n).train
    curves[data_name] = {}
    for group in together:
      runs = [
        trained(
          seed, {name: CASES[name] for name in group}, data, shown, watched
        )
        for seed in range(seeds)
      ]
      for name in group:
        keys = (*MEASURES, "accuracy")
        curves[data_name][name] = {
          key: drawing.numbers(
            [[point[key] for point in run[name]] for run in runs], 4
          )
          for key in keys
        }
  exact = [
    np.max(one["MLP, no biases, xbar = 0"]["error"]) for one in curves.values()
  ]
  result = {
    "settings": {
      "n": n,
      "watched": watched,
      "steps": steps,
      "seeds": seeds,
      "batch_size": BATCH,
      "learning_rate": MLP_RATE,
      "momentum": 0.9,
      "mixup_alpha": 1.0,
    },
    "steps": shown.tolist(),
    "curves": curves,
    # Is the one close to the other in the networks that people train?
    "seen": bool(
      max(exact) < 1e-3
      and all(
        np.mean(np.asarray(one[name]["error"])[:, -1]) < 0.3
        for one in curves.values()
        for name in one
      )
    ),
  }
  return result | {"caption": _caption(result)}


def _caption(result) -> str:
  last = lambda one, key: np.mean(np.asarray(one[key])[:, -1])
  told = " ".join(
    f"{data}: "
    + "; ".join(
      f"{name} {last(one, 'error'):.2g} ({last(one, 'correlation'):.2f}, "
      f"{last(one, 'size'):.2f}, {last(one, 'gradient'):.2f})"
      for name, one in cases.items()
    )
    + "."
    for data, cases in result["curves"].items()
  )
  settings = result["settings"]
  return (
    "MixupE (2023), eq. (2): qbar stands for q where xbar = 0 and the network "
    "is homogeneous, and nearly does in common problems. "
    f"{'Seen' if result['seen'] else 'Not seen'}: exact in the first case "
    "alone. |qbar - q| / |q| at the end of training (correlation; ratio of "
    f"mean sizes; cosine of the penalties' gradients): {told} Mixup training, "
    f"alpha 1, {settings['steps']} steps of {settings['batch_size']}, "
    f"{settings['n']} examples, q of {settings['watched']}, "
    f"{settings['seeds']} seeds; pixels less one mean and over one deviation, "
    "as trainers scale them, except where xbar = 0."
  )


def draw(result: dict[str, Any]) -> Figure:
  """A row a data set, a column a measure."""
  rows, columns = len(result["curves"]), len(MEASURES)
  steps = np.asarray(result["steps"]) + 1
  with drawing.style():
    figure, panels = drawing.new(columns, rows, height=2.8)
    for row, (data, cases) in enumerate(result["curves"].items()):
      for column, (key, title) in enumerate(MEASURES.items()):
        axes = panels[row * columns + column]
        for i, (name, one) in enumerate(cases.items()):
          values = np.asarray(one[key])
          mean = np.mean(values, axis=0)
          axes.plot(steps, mean, color=f"C{i}", linestyle="-", label=name)
          ends = np.min(values, axis=0), np.max(values, axis=0)
          axes.fill_between(
            steps, *ends, color=f"C{i}", alpha=0.15, linewidth=0
          )
        axes.set_xscale("log")
        axes.set_title(f"{data}: {title}", fontsize=9)
        axes.set_xlabel("iteration + 1")
        if key in ("error", "size"):
          axes.set_yscale(
            "symlog" if key == "error" else "log",
            **({"linthresh": 1e-2} if key == "error" else {}),
          )
        else:
          axes.axhline(0.0, color="0.5", linewidth=0.6)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3)
  return figure


if __name__ == "__main__":
  drawing.run("mixupe_penalties", compute, draw)
