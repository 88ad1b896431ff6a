"""Corollary 3.1 and Theorem 3.5 of Zhang et al. (2021) beside the real gap.

A population of which everything is known: scikit-learn's 1,797 digits, with the
uniform law. Samples of n of them train a logistic regression (odd or even), and
the last layer of a random ReLU network by squared loss, on what Lemmas 3.3 and
3.4 say that Mixup is. The gap is the population's mean loss less the sample's.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np
import optax
from sklearn import datasets

from experiments.figures import drawing
from jaxmix import theory

PROB = 0.05
WIDTH = 32
ALPHA = 1.0


def logistic_curvature(u):
  """A'' of the logistic loss."""
  return jax.nn.sigmoid(u) * jax.nn.sigmoid(-u)


def fit_logistic(x, y, steps):
  """Minimises the logistic loss and Mixup's regulariser by descent."""

  def loss(theta):
    # At theta / E[lam] as everywhere in Lemma 3.3; the scale is free.
    added = theory.glm_regularizer(theta, x, logistic_curvature, alpha=ALPHA)
    return jnp.mean(optax.sigmoid_binary_cross_entropy(x @ theta, y)) + added

  def step(carry, _):
    theta, velocity = carry
    velocity = 0.9 * velocity - 0.1 * jax.grad(loss)(theta)
    return (theta + velocity, velocity), None

  zero = jnp.zeros(x.shape[1], x.dtype)
  (theta, _), _ = jax.lax.scan(step, (zero, zero), None, length=steps)
  return theta


def fit_layer(hidden, y):
  """The least squares of Lemma 3.4: (1 + c) Sigma theta = E[h y]."""
  n = len(hidden)
  sigma = hidden.T @ hidden / n
  # The regulariser at theta = e_1 of two examples is its factor.
  unit = jnp.array([[-1.0], [1.0]], hidden.dtype)
  one = jnp.ones(1, hidden.dtype)
  factor = theory.two_layer_regularizer(one, unit, alpha=ALPHA)
  ridge = 1e-6 * jnp.eye(len(sigma), dtype=sigma.dtype)
  return jnp.linalg.solve((1.0 + factor) * sigma + ridge, hidden.T @ y / n)


def compute(*, smoke: bool = False) -> dict[str, Any]:
  """Gaps and bounds over sizes of sample."""
  sizes = (100,) if smoke else (50, 100, 200, 400, 800, 1600)
  samples = 4 if smoke else 40
  steps = 20 if smoke else 300
  images, labels = datasets.load_digits(return_X_y=True)
  x = images / 16.0
  x = jnp.asarray(x - np.mean(x, axis=0))
  y = jnp.asarray(labels % 2, x.dtype)
  layer = jax.random.normal(jax.random.key(0), (x.shape[1], WIDTH), x.dtype)
  hidden = jax.nn.relu(x @ layer)
  # The population's mean off: no bias then, which the theorem's class leaves
  # free, and no mean in its bound.
  centre = jnp.mean(hidden, axis=0, keepdims=True)
  hidden = (hidden - centre) / jnp.std(hidden)
  signs = 2.0 * y - 1.0
  sigma, sigma_hidden = (data.T @ data / len(data) for data in (x, hidden))
  rank = int(jnp.linalg.matrix_rank(sigma))

  def logistic(index):
    theta = fit_logistic(x[index], y[index], steps)
    losses = optax.sigmoid_binary_cross_entropy(x @ theta, y)
    reach = jnp.max(jnp.abs(x @ theta))
    # Theta: those with |theta x| <= reach. There A'' >= A''(reach), so that
    # rho = A''(reach)^2 will do.
    level = logistic_curvature(reach)
    gamma = jnp.mean(logistic_curvature(x @ theta)) * (theta @ sigma @ theta)
    gap = jnp.mean(losses) - jnp.mean(losses[index])
    return gap, gamma, level, jax.nn.softplus(reach)

  def two_layer(index):
    theta = fit_layer(hidden[index], signs[index])
    out = hidden @ theta
    losses = (out - signs) ** 2
    reach = jnp.max(jnp.abs(out)) + 1.0
    gamma = theta @ sigma_hidden @ theta
    gap = jnp.mean(losses) - jnp.mean(losses[index])
    return gap, gamma, 2.0 * reach, reach**2

  rng = np.random.default_rng(0)
  rows: dict[str, list[dict[str, Any]]] = {"logistic": [], "two layers": []}
  for n in sizes:
    index = jnp.asarray(rng.integers(0, len(x), (samples, n)))
    key = jax.random.key(n)
    for name, run in (("logistic", logistic), ("two layers", two_layer)):
      gap, gamma, slope, size = map(
        np.asarray, jax.lax.map(jax.jit(run), index)
      )
      # The class is chosen once for all samples: that of the largest gamma.
      level_of, largest = float(np.max(gamma)), float(np.max(size))
      if name == "logistic":
        level = float(np.min(slope))
        radius, lipschitz = (level_of / level) ** 0.5, 1.0
        shape = x, sigma
        printed = theory.rademacher_bound(level_of, level**2, rank, n)
      else:
        radius, lipschitz = level_of**0.5, float(np.max(slope))
        shape = hidden, sigma_hidden
        mean = jnp.zeros(WIDTH, hidden.dtype)
        printed = theory.two_layer_bound(level_of, sigma_hidden, mean, n)
      data, covariance = shape
      found = theory.rademacher_ellipsoid(
        key, data[index[0]], covariance, radius=radius, num_draws=200
      )
      of = lambda complexity, n=n, **options: float(
        theory.generalization_bound(complexity, n, prob=PROB, **options)
      )
      both = {"lipschitz": lipschitz, "size": largest}
      rows[name].append(
        {
          "n": n,
          "gap": drawing.numbers(np.mean(gap), 4),
          "quantile": drawing.numbers(np.quantile(gap, 1.0 - PROB), 4),
          "gamma": drawing.numbers(level_of, 4),
          "monte_carlo": drawing.numbers(of(found.value, **both), 4),
          "complexity": drawing.numbers(2.0 * lipschitz * found.value, 4),
          "bound": drawing.numbers(of(float(printed), **both), 4),
        }
      )
  held = all(
    row["quantile"] <= row["monte_carlo"]
    for one in rows.values()
    for row in one
  )
  result = {
    "settings": {
      "samples": samples,
      "prob": PROB,
      "width": WIDTH,
      "alpha": ALPHA,
      "steps": steps,
      "rank": rank,
    },
    "rows": rows,
    "seen": bool(held),
  }
  return result | {"caption": _caption(result)}


def _caption(result) -> str:
  told = []
  for name, rows in result["rows"].items():
    first, last = rows[0], rows[-1]
    told.append(
      f"{name}: gap {first['gap']:.2f} at n = {first['n']} and "
      f"{last['gap']:.3f} at {last['n']}, the complexity's term "
      f"{first['complexity']:.2g} and {last['complexity']:.2g}, the whole "
      f"bound {first['monte_carlo']:.2g} and {last['monte_carlo']:.2g}, with "
      f"the theorem's complexity {first['bound']:.2g} and {last['bound']:.2g}"
    )
  settings = result["settings"]
  return (
    "Zhang et al. (2021), corollary 3.1 and theorem 3.5, lemma A.1: the gap "
    f"is below the bound. {'Seen' if result['seen'] else 'Not seen'}, and "
    f"far below it. {'; '.join(told)}. Digits as a population, odd against "
    f"even; rank {settings['rank']} of 64 pixels, {settings['width']} random "
    f"ReLU units; alpha {settings['alpha']}; {settings['samples']} samples a "
    "size; classes of the largest gamma and reach among them, at "
    f"{settings['prob']:.0%}."
  )


def draw(result: dict[str, Any]) -> Figure:
  """A panel a model."""
  lines = {
    "gap": "gap, mean",
    "quantile": "gap, 95% quantile",
    "complexity": "2 L Rad",
    "monte_carlo": "bound, complexity by Monte Carlo",
    "bound": "bound as in the theorem",
  }
  with drawing.style():
    figure, panels = drawing.new(columns=2, height=3.5)
    for axes, (name, rows) in zip(panels, result["rows"].items(), strict=False):
      sizes = [row["n"] for row in rows]
      for i, (key, label) in enumerate(lines.items()):
        style = "--" if key == "complexity" else "-"
        values = [row[key] for row in rows]
        axes.plot(sizes, values, f"o{style}", color=f"C{i}", label=label)
      axes.set(xscale="log", yscale="log", xlabel="n", ylabel="nats")
      axes.set_title(name, fontsize=9)
    panels[1].set_ylabel("squared error")
    panels[1].legend(fontsize=7)
  return figure


if __name__ == "__main__":
  drawing.run("zhang_generalization", compute, draw)
