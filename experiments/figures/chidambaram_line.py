"""Where Mixup fails: the alternating line of Chidambaram et al. (2022).

"Towards Understanding the Data Dependency of Mixup-style Training"
(https://arxiv.org/abs/2110.07647), section 2.3: two classes that alternate on
the points 0, 1, 2. Mixed examples of the outer points lie on the middle one,
with the other label; the closed form of the Mixup-optimal classifier says where
they outweigh its own. The published runs have Beta(alpha, alpha) with alpha =
1, 32 and 128 and a hidden layer of 512; widths, steps and seeds here are ours.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np
import optax

from experiments.figures import drawing, networks
from jaxmix import policies, theory
from jaxmix.theory import moments

POINTS = np.array([[0.0], [1.0], [2.0]])
LABELS = np.array([0, 1, 0])
# The paper's, and one between.
ALPHAS = (1.0, 8.0, 32.0, 128.0)
RADII = (0.02, 0.1, 0.3)
SHOWN = 0.1  # the radius along the line
NODES = 64


def mixtures(policy: policies.MixingPolicy | None) -> dict[str, np.ndarray]:
  """All mixed points, their labels and probabilities; None mixes nothing."""
  if policy is None:
    lam, prob = np.array([1.0]), np.array([1.0])
  else:
    lam, _, prob = map(np.asarray, moments.quadrature(policy, NODES))
  lam = lam[:, None, None]
  x, y = POINTS[:, 0], LABELS.astype(float)
  mix = lambda v: (lam * v[:, None] + (1.0 - lam) * v[None]).reshape(-1)
  count = x.size**2
  return {
    "points": mix(x)[:, None],
    "labels": mix(y),
    "prob": np.repeat(prob / count, count),
  }


def trained(key, data, *, width, steps):
  """The probability of class 1 on a grid, after Adam on the exact loss."""
  # Centred: at 0 and 2 a ReLU network without luck has few kinks.
  net = lambda params, x: networks.logits(params, x - 1.0)
  params = networks.init(key, (1, width, 1), biases=True)
  # Kinks all over the line, as PyTorch's default biases have them.
  params[0]["bias"] = jax.random.uniform(
    jax.random.fold_in(key, 1), (width,), params[0]["kernel"].dtype, -1.0, 1.0
  )
  optimizer = optax.adam(optax.cosine_decay_schedule(1e-2, steps))

  def loss(params):
    logits = net(params, data["points"])
    each = optax.sigmoid_binary_cross_entropy(logits, data["labels"])
    return jnp.sum(data["prob"] * each)

  def step(carry, _):
    params, state = carry
    updates, state = optimizer.update(jax.grad(loss)(params), state)
    return (optax.apply_updates(params, updates), state), None

  start = params, optimizer.init(params)
  (params, _), _ = jax.lax.scan(step, start, None, length=steps)
  return jax.nn.sigmoid(net(params, jnp.asarray(_grid())))


def _grid():
  return np.linspace(0.0, 2.0, 81)[:, None]


def compute(*, smoke: bool = False) -> dict[str, Any]:
  """The closed form over alpha and along the line, and trained networks."""
  width, steps, seeds = (8, 5, 2) if smoke else (128, 3000, 5)
  one_hot = np.eye(2)[LABELS]
  optimal = jax.jit(
    lambda points, radius, alpha: theory.mixup_optimal(
      POINTS, one_hot, points, radius=radius, alpha=alpha
    ).prob[:, 1]
  )
  alphas = np.geomspace(0.25, 512.0, 34)
  middle = {
    str(radius): [float(optimal(POINTS[1:2], radius, a)[0]) for a in alphas]
    for radius in RADII
  }
  along = {str(a): optimal(_grid(), SHOWN, a) for a in ALPHAS}
  laws = [None, *(policies.mixup(alpha) for alpha in ALPHAS)]
  names = ["ERM", *(str(alpha) for alpha in ALPHAS)]
  keys = jax.random.split(jax.random.key(0), seeds)
  run = jax.jit(
    jax.vmap(
      lambda key, data: trained(key, data, width=width, steps=steps), (0, None)
    )
  )
  curves = {
    name: np.asarray(run(keys, mixtures(law)))
    for name, law in zip(names, laws, strict=True)
  }
  at = [int(np.argmin(abs(_grid() - point))) for point in POINTS[:, 0]]
  wrong = {
    name: (one[:, at] > 0.5) != LABELS.astype(bool)
    for name, one in curves.items()
  }
  strongest = names[-1]
  result = {
    "settings": {
      "points": POINTS[:, 0].tolist(),
      "labels": LABELS.tolist(),
      "radii": RADII,
      "shown_radius": SHOWN,
      "width": width,
      "steps": steps,
      "seeds": seeds,
      "optimizer": "Adam, 0.01 to 0 by a cosine",
    },
    "alphas": drawing.numbers(alphas, 4),
    "middle": {k: drawing.numbers(v, 4) for k, v in middle.items()},
    "grid": drawing.numbers(_grid()[:, 0], 4),
    "along": {k: drawing.numbers(v, 4) for k, v in along.items()},
    "networks": {k: drawing.numbers(v, 4) for k, v in curves.items()},
    "wrong": {k: int(np.sum(v)) for k, v in wrong.items()},
    "middle_wrong": {k: int(np.sum(v[:, 1])) for k, v in wrong.items()},
    "fails_from": {
      k: next(
        (float(f"{a:.2g}") for a, p in zip(alphas, v, strict=True) if p < 0.5),
        None,
      )
      for k, v in middle.items()
    },
    # Mixup misses a training example in most networks, and ERM none.
    "seen": bool(
      np.mean(wrong[strongest][:, 1]) > 0.5 and not np.any(wrong["ERM"])
    ),
  }
  return result | {"caption": _caption(result)}


def _caption(result) -> str:
  settings = result["settings"]
  told = ", ".join(
    f"{count} ({'ERM' if name == 'ERM' else f'alpha {float(name):g}'})"
    for name, count in result["middle_wrong"].items()
  )
  fails = "; ".join(
    f"radius {radius}: {_from(low, result['alphas'][-1])}"
    for radius, low in result["fails_from"].items()
  )
  others = sum(result["wrong"].values()) - sum(result["middle_wrong"].values())
  return (
    "Chidambaram et al. (2022), section 2.3: on an alternating line minimising "
    "Mixup's loss can leave a training example misclassified, which ERM never "
    f"does. {'Seen' if result['seen'] else 'Not seen'}. The middle point is "
    f"wrong in so many of {settings['seeds']} networks: {told}; the outer "
    f"points in {others}. By the closed form, wrong where the curve is below "
    f"one half ({fails}): the law must be narrow beside the radius within "
    "which a function cannot tell points apart. As alpha grows the own label "
    "keeps 1/3. Points 0, 1, 2; one hidden layer of "
    f"{settings['width']}, {settings['steps']} steps of Adam on the exact "
    "loss."
  )


def _from(low, last):
  return f"not up to {last:g}" if low is None else f"from alpha {low:g} on"


def draw(result: dict[str, Any]) -> Figure:
  """The middle's probability over alpha, and the line."""
  grid = result["grid"]
  middle = int(np.argmin(np.abs(np.asarray(grid) - 1.0)))
  with drawing.style():
    figure, panels = drawing.new(columns=2, height=3.6)
    axes = panels[0]
    for i, (radius, values) in enumerate(result["middle"].items()):
      label = f"Mixup-optimal, radius {radius}"
      axes.plot(result["alphas"], values, color=f"C{i}", label=label)
    for name, curves in result["networks"].items():
      if name != "ERM":
        values = np.asarray(curves)[:, middle]
        first = name == str(ALPHAS[0])
        axes.plot(
          [float(name)] * len(values),
          values,
          "x",
          color="0.2",
          markersize=5,
          label="networks" if first else None,
        )
    axes.axhline(0.5, color="0.6", linewidth=0.8)
    axes.set(
      xscale="log",
      xlabel="alpha",
      ylabel="probability of its own class",
      ylim=(0.0, 1.02),
    )
    axes.set_title("The middle example", fontsize=9)
    axes.legend(fontsize=7)
    axes = panels[1]
    for i, name in enumerate(("1.0", "128.0")):
      color, alpha = f"C{3 * i}", f"alpha = {float(name):g}"
      curves = np.asarray(result["networks"][name])
      axes.plot(grid, result["along"][name], color=color, label=alpha)
      axes.plot(grid, np.mean(curves, axis=0), "--", color=color)
    erm = np.mean(np.asarray(result["networks"]["ERM"]), axis=0)
    axes.plot(grid, erm, ":", color="0.3", label="ERM, networks")
    axes.plot(POINTS[:, 0], LABELS, "o", color="0.1", markersize=5)
    axes.axhline(0.5, color="0.6", linewidth=0.8)
    axes.set(xlabel="x", ylabel="probability of class 1", ylim=(-0.05, 1.25))
    axes.set_title(
      f"Along the line: optimal at radius {SHOWN}, networks dashed", fontsize=9
    )
    axes.legend(fontsize=7, ncols=3, loc="upper center")
  return figure


if __name__ == "__main__":
  drawing.run("chidambaram_line", compute, draw)
