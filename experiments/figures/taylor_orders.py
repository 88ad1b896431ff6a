"""How fast the expansion of Mixup's loss converges, by network and order.

MixupE's Theorem 1 (2023) expands Mixup's loss to any order J, with a remainder
o(a^J). Small o of a = 1 - lam says nothing about growing J: here the
polynomial's distance from Mixup's loss, for tanh, GELU and ReLU networks with
small and large weights. Ours; no paper has it.
"""

from __future__ import annotations

from typing import Any

import chex
import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator
import numpy as np

from experiments.figures import drawing, moons, networks
from jaxmix import theory

ALPHA = 1.0
WIDTH = 16
# GELU by its tanh form, JAX's default.
ACTIVATIONS = {"tanh": jnp.tanh, "GELU": jax.nn.gelu, "ReLU": jax.nn.relu}
SCALES = {"small": 0.2, "large": 2.0}
# At kinks the quadrature's error falls with the square of the nodes only.
NODES = 128


def crossings(params: networks.Params, x: chex.Array) -> chex.Array:
  """How many ReLU kinks lie between x_i and x_j, [n, n].

  Exact for one hidden layer: a unit's input is linear along the segment, and
  has a kink where it changes sign.
  """
  hidden = params[0]
  above = x @ hidden["kernel"] + hidden["bias"][None] > 0.0
  return jnp.sum(above[:, None] != above[None], axis=-1)


def radii(params: networks.Params, x: chex.Array) -> chex.Array:
  """Where the series of a tanh network diverges on the way to x_j, [n, n].

  tanh z has its nearest poles at +-i pi / 2, so a unit with input u at x_i and
  v at x_j has them at |a| = sqrt(u^2 + pi^2 / 4) / |v - u|. Below 1 the series
  diverges before a = 1; where logits are large, it may before.
  """
  hidden = params[0]
  inputs = x @ hidden["kernel"] + hidden["bias"][None]
  poles = jnp.sqrt(jnp.square(inputs) + 0.25 * jnp.pi**2)[:, None]
  moves = jnp.abs(inputs[:, None] - inputs[None])
  return jnp.min(poles / jnp.maximum(moves, 1e-300), axis=-1)


def compute(*, smoke: bool = False) -> dict[str, Any]:
  """Mixup's loss and its expansions of order 0 to 8."""
  n = 6 if smoke else 24
  highest = 3 if smoke else 8
  seeds = 1 if smoke else 5
  nodes = 16 if smoke else NODES
  orders = list(range(highest + 1))
  data = [moons.draw(n, seed).train for seed in range(seeds)]
  starts = [
    networks.init(jax.random.key(seed), (2, WIDTH, 1), biases=True)
    for seed in range(seeds)
  ]
  starts = [_with_biases(start, seed) for seed, start in enumerate(starts)]
  found_networks = {}
  for name, activation in ACTIVATIONS.items():

    def losses(params, x, y, activation=activation):
      logit_fn = lambda x: networks.logits(params, x, activation=activation)
      exact = theory.mixup_loss(logit_fn, x, y, alpha=ALPHA, num_nodes=nodes)
      expansions = [
        theory.taylor_mixup_loss(logit_fn, x, y, alpha=ALPHA, order=order)
        for order in orders
      ]
      return exact, jnp.stack(expansions), jnp.max(jnp.abs(logit_fn(x)))

    losses = jax.jit(losses)
    for size, scale in SCALES.items():
      times = lambda weight, scale=scale: scale * weight
      scaled = [jax.tree.map(times, start) for start in starts]
      found = [
        losses(params, *own) for params, own in zip(scaled, data, strict=True)
      ]
      exact, expansions, largest = (
        np.stack(part) for part in zip(*found, strict=True)
      )
      one = {
        "mixup_loss": drawing.numbers(exact, 15),
        "expansions": drawing.numbers(expansions, 15),
        "gaps": drawing.numbers(np.abs(expansions - exact[:, None]), 3),
        "largest_logit": drawing.numbers(largest, 3),
      }
      inputs = [x for x, _ in data]
      if name == "ReLU":
        kinks = np.stack(list(map(crossings, scaled, inputs)))
        one["kinks"] = drawing.numbers(np.mean(kinks), 3)
        one["share_crossing"] = drawing.numbers(np.mean(kinks > 0), 3)
      if name == "tanh":
        near = np.stack(list(map(radii, scaled, inputs))) < 1.0
        one["share_diverging"] = drawing.numbers(np.mean(near), 3)
      found_networks[f"{name}, {size}"] = one
  seen = all(
    _gap(found_networks[f"{name}, small"], highest)
    < _gap(found_networks[f"{name}, small"], 2)
    for name in ("tanh", "GELU")
  )
  return {
    "settings": {
      "n": n,
      "width": WIDTH,
      "seeds": seeds,
      "alpha": ALPHA,
      "scales": SCALES,
      "nodes": nodes,
    },
    "orders": orders,
    "networks": found_networks,
    "seen": seen,
    "caption": _caption(found_networks, highest, n, seeds, seen),
  }


def _gap(found, order):
  """Median over seeds of the distance at one order."""
  return float(np.median([gaps[order] for gaps in found["gaps"]]))


def _caption(found, highest, n, seeds, seen) -> str:
  told = "; ".join(
    f"{name} weights {_gap(one, 2):.1e}, {_gap(one, highest):.1e}"
    for name, one in found.items()
  )
  relu = found["ReLU, small"]
  tanh = [found[f"tanh, {size}"]["share_diverging"] for size in SCALES]
  return (
    "MixupE (2023), Theorem 1: Mixup's loss as an expansion of order J. Higher "
    f"orders come closer for smooth networks of small weights: "
    f"{'seen' if seen else 'not seen'}. Distance in nats at J = 2 and J = "
    f"{highest}, median of {seeds} seeds: {told}. With large weights the "
    f"series diverges (tanh: before it reaches the partner for {tanh[1]:.0%} "
    f"of pairs, {tanh[0]:.0%} with small ones). For ReLU it stops short of "
    f"the loss: {relu['share_crossing']:.0%} of pairs have kinks between them, "
    f"{relu['kinks']:.1f} on average. Two moons, n = {n}, one hidden layer of "
    f"{WIDTH}, Beta(1, 1); thin lines are seeds. Not in any paper."
  )


def draw(result: dict[str, Any]) -> Figure:
  """A panel for each size of weights."""
  with drawing.style():
    figure, panels = drawing.new(len(SCALES), height=3.6)
    for axes, (size, scale) in zip(panels, SCALES.items(), strict=True):
      for i, name in enumerate(ACTIVATIONS):
        gaps = np.asarray(result["networks"][f"{name}, {size}"]["gaps"])
        color = f"C{(4, 3, 5)[i]}"
        axes.plot(
          result["orders"],
          np.median(gaps, axis=0),
          color=color,
          label=name,
          linestyle="-",
          marker="o",
          markersize=3,
        )
        thin = {"linestyle": "-", "linewidth": 0.5, "alpha": 0.5}
        axes.plot(result["orders"], gaps.T, color=color, **thin)
      axes.set_yscale("log")
      axes.set_title(f"{size} weights (x {scale})", fontsize=9)
      axes.set_xlabel("order J")
      axes.set_ylabel("|expansion - Mixup's loss| (nats)")
      axes.xaxis.set_major_locator(MultipleLocator(1))
      axes.legend()
  return figure


def _with_biases(params, seed):
  """Biases as wide as weights: kinks and poles away from the data's centre."""
  bias = jax.random.normal(jax.random.key(1000 + seed), (WIDTH,))
  return [params[0] | {"bias": 0.5 * bias}, *params[1:]]


if __name__ == "__main__":
  drawing.run("taylor_orders", compute, draw)
