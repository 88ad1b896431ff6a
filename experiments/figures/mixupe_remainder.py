"""The remainder of MixupE's Theorem 1 (2023) against a = 1 - lam.

psi(a) is the loss on the way from an example to a partner. Less its polynomial
of order J it is a^J psi(a) with psi(a) -> 0; for networks smoother than that it
falls as a^{J+1}, and for ReLU only until the first kink.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np

from experiments.figures import drawing, moons, networks
from jaxmix import theory

ACTIVATIONS = {"tanh": jnp.tanh, "GELU": jax.nn.gelu, "ReLU": jax.nn.relu}
FORMS = ("taylor", "composed")
# The slope is read off below this a, and above rounding.
SMALL = 0.02
ROUNDING = 1e-13


def compute(*, smoke: bool = False) -> dict[str, Any]:
  """The remainder of three networks, for several orders, in both forms."""
  n = 6 if smoke else 30
  orders = (2,) if smoke else (1, 2, 3, 4)
  shift = np.geomspace(1e-3, 1.0, 16 if smoke else 31)
  x, y = moons.draw(n, 0).train
  start = networks.init(jax.random.key(0), (2, 16, 1), biases=True)
  bias = jax.random.normal(jax.random.key(1000), (16,))
  start = [start[0] | {"bias": 0.5 * bias}, start[1]]
  curves: dict[str, Any] = {}
  chosen = ("tanh", "ReLU") if smoke else tuple(ACTIVATIONS)
  for name in chosen:
    activation = ACTIVATIONS[name]
    logits = functools.partial(networks.logits, activation=activation)

    def loss(params, logits=logits):
      return networks.mean_logistic(logits(params, x), y)

    path = networks.descend(
      loss,
      start,
      steps=20 if smoke else 100,
      learning_rate=0.1,
    )
    params = jax.tree.map(lambda leaf: leaf[-1], path)
    logit_fn = functools.partial(logits, params)
    curves[name] = {form: {} for form in FORMS}
    for form in FORMS:
      for order in orders:
        run = functools.partial(
          theory.taylor_remainder, logit_fn, order=order, form=form
        )
        left = np.asarray(jax.jit(run)(x, y, shift))
        at = (shift < SMALL) & (left > ROUNDING)
        fitted = np.polyfit(np.log(shift[at]), np.log(left[at]), 1)[0]
        curves[name][form][str(order)] = {
          "left": drawing.numbers(left, 4),
          "slope": drawing.numbers(fitted, 4),
        }
  smooth = [
    abs(one["slope"] - int(order) - 1)
    for name in chosen
    if name != "ReLU"
    for form in FORMS
    for order, one in curves[name][form].items()
  ]
  result = {
    "settings": {"n": n, "width": 16},
    "shift": drawing.numbers(shift, 4),
    "orders": list(orders),
    "curves": curves,
    "seen": bool(max(smooth) < 0.1),
  }
  return result | {"caption": _caption(result)}


def _caption(result) -> str:
  told = "; ".join(
    f"{name} "
    + ", ".join(f"{one['slope']:.2f}" for one in forms["taylor"].values())
    for name, forms in result["curves"].items()
  )
  orders = ", ".join(map(str, result["orders"]))
  last = str(result["orders"][-1])
  at_end = "; ".join(
    f"{name} {forms['taylor'][last]['left'][-1]:.2g}"
    for name, forms in result["curves"].items()
  )
  return (
    "MixupE (2023), theorem 1: the loss on the way to a partner, less its "
    "polynomial of order J, falls as a^{J+1}. "
    f"{'Seen' if result['seen'] else 'Not seen'} for smooth networks. Slopes "
    f"below a = {SMALL} for J = {orders}: {told}. A ReLU network's logits are "
    "linear up to a kink, and some are nearer than any a: beyond them its "
    "remainder is no power of a. Dashed: the theorem's own "
    "form, powers of a inside Delta_i; the same slopes. At a = 1, which lam "
    f"reaches, the remainder of order {last} is {at_end} nats. Two moons, n = "
    f"{result['settings']['n']}, {result['settings']['width']} units; mean "
    "over all pairs."
  )


def draw(result: dict[str, Any]) -> Figure:
  """A panel a network."""
  shift = np.asarray(result["shift"])
  with drawing.style():
    figure, panels = drawing.new(columns=len(result["curves"]), height=3.4)
    for axes, (name, forms) in zip(
      panels, result["curves"].items(), strict=True
    ):
      for i, order in enumerate(map(str, result["orders"])):
        one = forms["taylor"][order]
        label = f"J = {order}: slope {one['slope']:.2f}"
        axes.plot(shift, one["left"], "-", color=f"C{i}", label=label)
        other = forms["composed"][order]["left"]
        axes.plot(shift, other, "--", color=f"C{i}", linewidth=0.9)
      axes.set(xscale="log", yscale="log", xlabel="a = 1 - lam")
      axes.set_ylim(bottom=1e-15)
      axes.set_title(name, fontsize=9)
      axes.set_ylabel("|psi(a) - polynomial| (nats)")
      axes.legend(fontsize=7)
  return figure


if __name__ == "__main__":
  drawing.run("mixupe_remainder", compute, draw)
