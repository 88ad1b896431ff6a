"""Theorem 1 of "MixUp as Directional Adversarial Training" (2020), drawn.

Untied MixUp's loss on n drawn pairs, and that of its DAT equivalent on the same
pairs with draws of lam of its own: how their distance falls with n, Lemma 2's
bound beside what it bounds, and which reading of the paper's Du is a law.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np
from scipy import integrate, stats

from experiments.figures import drawing, moons, networks
import jaxmix
from jaxmix import policies, quadrature, theory


class Scheme(NamedTuple):
  """A policy, the Beta law that its lam is drawn from, and its gamma."""

  policy: jaxmix.MixingPolicy
  law: tuple[float, float]
  gamma: Callable[[Any], Any]


TIED = lambda lam: lam
CUBE = lambda lam: lam**3
SCHEMES = {
  "mixup(1)": Scheme(policies.mixup(1.0), (1.0, 1.0), TIED),
  "mixup(3, 1)": Scheme(policies.mixup(3.0, 1.0), (3.0, 1.0), TIED),
  "untied(1.4, 0.7)": Scheme(
    policies.untied(1.4, 0.7),
    (1.4, 0.7),
    lambda lam: theory.untied_weight(_pdf(1.4, 0.7))(lam),
  ),
  "Beta(1, 2), gamma = lam^3": Scheme(
    policies.weighted(1.0, 2.0, CUBE), (1.0, 2.0), CUBE
  ),
}
PROB = 0.05
# The law whose readings of Du are drawn.
SHOWN = "mixup(3, 1)"
READINGS = {
  "1 - gamma(1 - lam)": lambda gamma, lam: 1.0 - gamma(1.0 - lam),
  "1 - gamma(lam)": lambda gamma, lam: 1.0 - gamma(lam),
  "gamma(1 - lam)": lambda gamma, lam: gamma(1.0 - lam),
}


def _pdf(a, b):
  """Beta's density, up to its constant where only ratios count."""
  return lambda lam: jnp.power(lam, a - 1.0) * jnp.power(1.0 - lam, b - 1.0)


def slope(
  sizes: np.ndarray, differences: np.ndarray, seed: int
) -> tuple[float, float, float]:
  """Slope of log rms against log n, and its interval over repetitions.

  The interval is of 95% for all of `SCHEMES` together (Bonferroni).

  Args:
    sizes: [k] numbers of pairs.
    differences: [repetitions, k].
    seed: of the bootstrap.

  Returns:
    The slope, and the bounds of the interval.
  """

  def fit(rows):
    rms = np.sqrt(np.mean(rows**2, axis=0))
    return np.polyfit(np.log(sizes), np.log(rms), 1)[0]

  rng = np.random.default_rng(seed)
  count = len(differences)
  again = [fit(differences[rng.integers(0, count, count)]) for _ in range(2000)]
  tail = 0.5 * PROB / len(SCHEMES)
  return fit(differences), *np.quantile(again, (tail, 1.0 - tail))


def compute(*, smoke: bool = False) -> dict[str, Any]:
  """Draws pairs for one tanh network trained on two moons."""
  n = 16 if smoke else 60
  repetitions = 40 if smoke else 1000
  most = 9 if smoke else 13
  nodes = 64 if smoke else 200
  sizes = 2 ** np.arange(4, most + 1)
  x, y = moons.draw(n, 0).train
  start = networks.init(jax.random.key(0), (2, 50, 1), biases=True)

  def logits(params, x):
    return networks.logits(params, x, activation=jnp.tanh)

  path = networks.descend(
    lambda params: networks.mean_logistic(logits(params, x), y),
    start,
    steps=20 if smoke else 300,
    learning_rate=0.1,
  )
  params = jax.tree.map(lambda leaf: leaf[-1], path)
  logit_fn = lambda x: logits(params, x)
  of_pairs = jax.jit(lambda *drawn: theory.pair_losses(logit_fn, x, y, *drawn))
  every = np.indices((n, n)).reshape(2, -1)

  def expected(lam, weight, prob):
    """E[l] of all n^2 pairs, [n, n]."""
    full = lambda value: np.full(n * n, value)
    drawn = zip(lam, weight, prob, strict=True)
    found = sum(p * of_pairs(*every, full(v), full(w)) for v, w, p in drawn)
    return np.asarray(found).reshape(n, n)

  found, lemma = {}, {}
  names = [SHOWN] if smoke else list(SCHEMES)
  for k, name in enumerate(names):
    scheme = SCHEMES[name]
    lam, prob = quadrature.spread(*scheme.law, nodes)
    kept = np.asarray(scheme.gamma(lam))
    if name.startswith("untied"):  # lam is drawn, and flipped by a coin
      lam, prob = np.append(lam, 1 - lam), 0.5 * np.append(prob, prob)
      kept = np.append(kept, 1.0 - kept)
    of_untied = expected(lam, kept, prob)
    both, share = np.append(lam, 1 - lam), np.append(kept, 1.0 - kept)
    of_dat = expected(both, np.ones_like(both), share * np.append(prob, prob))

    @jax.jit
    def one(key, policy=scheme.policy, of_dat=of_dat):
      untied, dat, pairs = _sampled(key, of_pairs, n, int(sizes[-1]), policy)
      means = lambda terms: jnp.cumsum(terms)[sizes - 1] / sizes
      away = dat - jnp.asarray(of_dat)[tuple(pairs)]
      return means(untied - dat), means(away)

    keys = jax.random.split(jax.random.key(k), repetitions)
    running, away = map(np.stack, zip(*map(one, keys), strict=True))
    lemma[name] = drawing.numbers(
      np.quantile(np.abs(away), 1.0 - PROB, axis=0), 4
    )
    fitted = slope(sizes, running, k)
    found[name] = {
      "rms": drawing.numbers(np.sqrt(np.mean(running**2, axis=0)), 4),
      "largest": drawing.numbers(np.max(np.abs(running), axis=0), 4),
      "slope": drawing.numbers(fitted, 4),
      "expected": drawing.numbers([np.mean(of_untied), np.mean(of_dat)], 12),
      "unequal_symmetric": drawing.numbers(
        np.max(np.abs(of_untied + of_untied.T - of_dat - of_dat.T)), 3
      ),
      "unequal_single": drawing.numbers(np.max(np.abs(of_untied - of_dat)), 3),
    }
  size = float(theory.loss_range(logit_fn, x, y))
  bound = np.asarray(theory.concentration(size, sizes, prob=PROB))
  seen = bool(
    all(one["slope"][1] <= -0.5 <= one["slope"][2] for one in found.values())
    and all(np.all(np.asarray(one) <= bound) for one in lemma.values())
    and all(one["unequal_symmetric"] < 1e-4 for one in found.values())
  )
  readings = _readings(SCHEMES[SHOWN])
  result = {
    "settings": {
      "n": n,
      "repetitions": repetitions,
      "width": 50,
      "nodes": nodes,
      "prob": PROB,
    },
    "sizes": sizes.tolist(),
    "schemes": found,
    "loss_range": drawing.numbers(size, 4),
    "bound": drawing.numbers(bound, 4),
    "lemma": lemma,
    "readings": readings,
    "seen": seen,
  }
  return result | {"caption": _caption(result)}


def _sampled(key, of_pairs, n, count, policy):
  """Losses of `count` pairs under a policy and its DAT equivalent."""
  key_pairs, *keys = jax.random.split(key, 3)
  pairs = jax.random.randint(key_pairs, (2, count), 0, n)
  untied, dat = (
    of_pairs(*pairs, *law.sample(key, (count,)))
    for law, key in zip((policy, jaxmix.as_dat(policy)), keys, strict=True)
  )
  return untied, dat, pairs


def _readings(scheme) -> dict[str, Any]:
  """Du's density and its integral, by what the bar is read to cover."""
  law = stats.beta(*scheme.law)
  at = np.linspace(0.0, 1.0, 101)
  found = {}
  for name, other in READINGS.items():
    density = lambda lam, other=other: (
      scheme.gamma(lam) * law.pdf(lam)
      + other(scheme.gamma, lam) * law.pdf(1.0 - lam)
    )
    found[name] = {
      "density": drawing.numbers(density(at), 4),
      "integral": drawing.numbers(integrate.quad(density, 0.0, 1.0)[0], 6),
    }
  return found


def _caption(result) -> str:
  schemes, sizes = result["schemes"], result["sizes"]
  slopes = "; ".join(
    f"{name} {one['slope'][0]:.3f} ({one['slope'][1]:.3f} to "
    f"{one['slope'][2]:.3f})"
    for name, one in schemes.items()
  )
  ratio = max(
    own / bound
    for one in result["lemma"].values()
    for own, bound in zip(one, result["bound"], strict=True)
  )
  equal = max(one["unequal_symmetric"] for one in schemes.values())
  single = max(one["unequal_single"] for one in schemes.values())
  read = ", ".join(
    f"{one['integral']:.2f} with {name}"
    for name, one in result["readings"].items()
  )
  settings = result["settings"]
  return (
    '"MixUp as Directional Adversarial Training" (2020), theorem 1: untied '
    "MixUp's loss and that of its DAT equivalent converge to each other. "
    f"{'Seen' if result['seen'] else 'Not seen'}. Left: |L_UMix - L_DAT| on n "
    f"pairs falls as n^s, s (95% intervals together) {slopes}. Middle: Lemma "
    f"2's bound at {settings['prob']:.0%}, delta = {result['loss_range']:.2f}, "
    f"is above what it bounds, whose 95% quantile is {ratio:.2f} of it at "
    f"most. Lemmas 4 and 5: over a pair and its reverse the expected losses "
    f"differ by {equal:.0e} at most, on one pair alone by up to {single:.2f}. "
    f"Right: Du of {SHOWN} is a law in one reading alone; its integral is "
    f"{read}. Two moons, n = {settings['n']}, a tanh network of "
    f"{settings['width']} units, {settings['repetitions']} repetitions, up to "
    f"{sizes[-1]:,} pairs."
  )


def draw(result: dict[str, Any]) -> Figure:
  """Theorem 1, Lemma 2, and Du's readings."""
  sizes = np.asarray(result["sizes"])
  with drawing.style():
    figure, panels = drawing.new(columns=3, height=3.6)
    for i, (name, one) in enumerate(result["schemes"].items()):
      looks = {"color": f"C{i}", "linestyle": "-", "markersize": 3}
      panels[0].plot(sizes, one["rms"], marker="o", label=name, **looks)
      panels[1].plot(
        sizes, result["lemma"][name], marker="o", label=name, **looks
      )
    first = next(iter(result["schemes"].values()))["rms"][0]
    guide = first * np.sqrt(sizes[0] / sizes)
    panels[0].plot(sizes, guide, "k--", linewidth=0.8, label="slope -1/2")
    panels[0].set_title("Theorem 1: |L_UMix - L_DAT|, rms", fontsize=9)
    panels[1].plot(sizes, result["bound"], "k-", label="Lemma 2's bound")
    panels[1].set_title("|L_DAT - its mean over lam|, 95%", fontsize=9)
    for axes in (panels[0], panels[1]):
      axes.set(xscale="log", yscale="log", xlabel="pairs n", ylabel="nats")
      axes.legend(fontsize=7, loc="lower left")
    at = np.linspace(0.0, 1.0, 101)
    lines = ("-", "--", ":")
    for (name, one), line in zip(
      result["readings"].items(), lines, strict=True
    ):
      label = f"{name}: {one['integral']:.2f}"
      panels[2].plot(at, one["density"], linestyle=line, label=label)
    panels[2].set_title(f"Du of {SHOWN}, and its integral", fontsize=9)
    panels[2].set(xlabel="lam", ylabel="density")
    panels[2].legend(title="weight of p(1 - lam)", fontsize=7)
  return figure


if __name__ == "__main__":
  drawing.run("dat_equivalence", compute, draw)
