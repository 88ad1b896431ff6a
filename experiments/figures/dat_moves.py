"""What moves where: Mixup, untied MixUp and DAT as one law.

Figures 1 and 2 of "MixUp as Directional Adversarial Training" (2020) are
sketches: DAT moves an example towards a partner and keeps its label, which
between classes resembles an attack; Mixup is DAT under one family of laws,
untied MixUp under all. Here both are drawn from samples and from numbers.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Circle
import numpy as np
from scipy import stats

from experiments.figures import drawing, moons, networks
import jaxmix
from jaxmix import policies, theory

# One law three times: untied(a + 1, a) is mixup(a), and D~ of mixup(1) is
# Beta(2, 1).
SAME = {
  "mixup(1)": policies.mixup(1.0),
  "untied(2, 1)": policies.untied(2.0, 1.0),
  "dat(2, 1)": policies.dat(2.0, 1.0),
}
RADIUS = 0.5
BINS = np.linspace(0.0, 1.0, 26)


def compute(*, smoke: bool = False) -> dict[str, Any]:
  """Samples of the three laws, and their losses for one network."""
  n = 24 if smoke else 100
  draws = 2_000 if smoke else 100_000
  shown = 100 if smoke else 800
  data = moons.draw(n, 0).train
  x, y = data
  start = networks.init(jax.random.key(0), (2, 50, 1), biases=True)

  @jax.jit
  def fit(x, y):
    # Smooth, so that quadratures over different laws agree to the last digits.
    logits = functools.partial(networks.logits, activation=jnp.tanh)
    path = networks.descend(
      lambda params: networks.mean_logistic(logits(params, x), y),
      start,
      steps=20 if smoke else 300,
      learning_rate=0.1,
    )
    params = jax.tree.map(lambda leaf: leaf[-1], path)
    logit_fn = functools.partial(logits, params)
    losses = [
      theory.mixup_loss(logit_fn, x, y, policy=policy, num_nodes=64)
      for policy in SAME.values()
    ]
    attacked = jaxmix.pgd(
      jax.random.key(0),
      logit_fn,
      x,
      y,
      epsilon=RADIUS,
      norm="l2",
      steps=20,
      random_start=False,
      loss_fn=jaxmix.losses.logistic,
    )
    return jnp.stack(losses), attacked

  losses, attacked = jax.device_get(fit(x, y))

  keys = jax.random.split(jax.random.key(1), 2 * len(SAME) + 1)
  laws, samples = {}, {}
  reference = stats.beta(2.0, 1.0)
  for i, (name, policy) in enumerate(SAME.items()):
    lam, weight = _sample(policy, keys[2 * i], draws)
    moved, _ = _sample(jaxmix.as_dat(policy), keys[2 * i + 1], draws)
    samples[name] = (lam, weight)
    laws[name] = {
      "density": drawing.numbers(np.histogram(moved, BINS, density=True)[0], 4),
      "ks": drawing.numbers(stats.kstest(moved, reference.cdf).statistic, 3),
      "loss": drawing.numbers(losses[i], 15),
    }
  pair = stats.ks_2samp(samples["mixup(1)"][0], samples["untied(2, 1)"][0])
  tie = max(np.max(np.abs(lam - w)) for lam, w in list(samples.values())[:2])
  # 1.63: the 1% point of sqrt(n) D; two samples of n count as one of n / 2.
  limit = 1.63 / np.sqrt(draws)
  both = limit * np.sqrt(2.0)
  seen = bool(
    all(law["ks"] < limit for law in laws.values())
    and pair.statistic < both
    and tie < 1e-6
    and np.ptp(losses) < 1e-5
  )
  clouds = _clouds(keys[-1], np.asarray(x), np.asarray(y), shown)
  return {
    "settings": {"n": n, "draws": draws, "radius": RADIUS},
    "x": drawing.numbers(x, 4),
    "y": np.asarray(y, int).tolist(),
    "attacked": drawing.numbers(attacked[clouds["chosen"]], 4),
    "clouds": clouds,
    "laws": laws,
    "weights": _weights(),
    "reach": _reach(),
    "ks_untied_mixup": drawing.numbers(pair.statistic, 3),
    "ks_limit": drawing.numbers([limit, both], 3),
    "largest_untie": drawing.numbers(tie, 3),
    "loss_spread": drawing.numbers(np.ptp(losses), 3),
    "seen": seen,
    "caption": (
      '"MixUp as Directional Adversarial Training" (2020), figures 1 and 2: '
      "Mixup is DAT under a law D~ of its own, and untied MixUp reaches all of "
      f"DAT. {'Seen' if seen else 'Not seen'}: lam of as_dat(mixup(1)) is "
      f"Beta(2, 1) (KS distance {laws['mixup(1)']['ks']:.4f}, 1% point "
      f"{limit:.4f}, {draws:,} draws), untied(2, 1) is mixup(1) (KS "
      f"{pair.statistic:.4f}, 1% point {both:.4f}; label weight and lam differ "
      f"by {tie:.1g} at most), and the three expected losses of one tanh "
      f"network differ by {np.ptp(losses):.0e} nats. Top: mixed examples "
      "coloured by label; what DAT makes of one example, beside the attack of "
      f"length {RADIUS} (circle). Bottom right: whatever its law, Mixup has "
      "E[(1 - lam)^2] = E[1 - lam] / 2 under D~ (dots: mixup(a, b)), one curve "
      "in all that DAT, and so untied MixUp, can be."
    ),
  }


def _sample(policy, key, draws):
  sample = jax.jit(policy.sample, static_argnums=1)
  lam, weight = sample(key, (draws,))
  return np.asarray(lam, float), np.asarray(weight, float)


def _clouds(key, x, y, shown) -> dict[str, Any]:
  """Mixed examples with soft labels, and DAT's with whole ones."""
  clouds = {}
  for i, name in enumerate(("mixup(1)", "dat(2, 1)")):
    key_pairs, key_lam = jax.random.split(jax.random.fold_in(key, i))
    own, other = np.asarray(
      jax.random.randint(key_pairs, (2, shown), 0, len(x))
    )
    lam, weight = _sample(SAME[name], key_lam, shown)
    points = lam[:, None] * x[own] + (1.0 - lam[:, None]) * x[other]
    clouds[name] = {
      "x": drawing.numbers(points, 3),
      "y": drawing.numbers(weight * y[own] + (1.0 - weight) * y[other], 3),
    }
  # Towards every partner of one example, which is mid-arc of the upper moon.
  chosen = int(np.argmax(np.where(y < 0.5, x[:, 1], -np.inf)))
  lam, _ = _sample(SAME["dat(2, 1)"], key, len(x))
  points = lam[:, None] * x[chosen] + (1.0 - lam[:, None]) * x
  return clouds | {"chosen": chosen, "moved": drawing.numbers(points, 3)}


def _weights() -> dict[str, Any]:
  """The label's weight against lam, from draws of four policies."""
  named = {
    "mixup(1)": SAME["mixup(1)"],
    "untied(2, 1)": SAME["untied(2, 1)"],
    "untied(4, 1)": policies.untied(4.0, 1.0),
    "dat(2, 1)": SAME["dat(2, 1)"],
  }
  drawn = {}
  for name, policy in named.items():
    lam, weight = _sample(policy, jax.random.key(2), 200)
    order = np.argsort(lam)
    drawn[name] = {
      "lam": drawing.numbers(lam[order], 3),
      "weight": drawing.numbers(weight[order], 3),
    }
  return drawn


def _reach() -> list[list[float]]:
  """Mean and standard deviation of 1 - lam under D~ of mixup(a, b)."""
  points = []
  for total in np.geomspace(0.02, 200.0, 9):
    for share in (0.02, 0.1, 0.25, 0.5):
      a, b = share * total, (1.0 - share) * total
      first, second = (float(theory.beta_moment(a, b, j)) for j in (1, 2))
      points.append([first, (second - first**2) ** 0.5])
  return drawing.numbers(points, 3)


def draw(result: dict[str, Any]) -> Figure:
  """Above what is moved where, below the laws of it."""
  x, y = np.asarray(result["x"]), np.asarray(result["y"])
  clouds = result["clouds"]
  with drawing.style():
    figure, panels = drawing.new(columns=3, rows=2, height=3.0)
    # Panels of equal scales leave their titles too little room otherwise.
    figure.set_layout_engine("constrained", h_pad=0.12)
    for axes, name in zip(panels, ("mixup(1)", "dat(2, 1)"), strict=False):
      points = np.asarray(clouds[name]["x"])
      dots = axes.scatter(
        *points.T, c=clouds[name]["y"], s=5, cmap=_colours(), vmin=0, vmax=1
      )
      axes.set_title(f"examples mixed by {name}", fontsize=9)
    figure.colorbar(dots, ax=panels[1], label="label")
    _moves(panels[2], x, y, clouds, np.asarray(result["attacked"]))
    limits = {"xlim": (-2.1, 2.1), "ylim": (-1.3, 1.5), "aspect": "equal"}
    for k in range(3):
      panels[k].set(**limits, xticks=[-2, -1, 0, 1, 2], yticks=[-1, 0, 1])

    axes = panels[3]
    looks = (("C4", "-", 3.0), ("C1", "--", 2.0), ("C3", ":", 2.0))
    for (name, law), (color, line, width) in zip(
      result["laws"].items(), looks, strict=True
    ):
      axes.stairs(
        law["density"],
        BINS,
        baseline=None,
        color=color,
        linestyle=line,
        linewidth=width,
        label=f"as_dat({name})",
      )
    axes.plot(BINS, 2.0 * BINS, color="k", linestyle="-", label="Beta(2, 1)")
    axes.set(xlabel="lam", ylabel="density")
    axes.set_title("lam under the DAT equivalents", fontsize=9)
    axes.legend()

    axes = panels[4]
    for i, (name, drawn) in enumerate(result["weights"].items()):
      lines = {"linestyle": "-", "color": ("C4", "C1", "C5", "C3")[i]}
      width = 3.0 if i == 0 else 1.2
      axes.plot(drawn["lam"], drawn["weight"], label=name, lw=width, **lines)
    axes.set(xlabel="lam", ylabel="weight of the own label")
    axes.set_title("how labels follow inputs", fontsize=9)
    axes.legend()

    axes = panels[5]
    mean = np.linspace(0.0, 1.0, 101)
    arch = np.sqrt(mean * (1.0 - mean))
    lesser = 0.5 * mean
    curve = np.sqrt(lesser * (0.5 - lesser))
    axes.fill_between(mean, arch, color="C3", alpha=0.2, lw=0, label="DAT")
    axes.plot(lesser, curve, color="C4", linestyle="-", label="Mixup")
    axes.plot(*np.transpose(result["reach"]), ".", color="C4", markersize=4)
    axes.set_ylim(0.0, 0.6)
    axes.set(xlabel="mean of 1 - lam", ylabel="standard deviation")
    axes.set_title("what DAT equivalents can be", fontsize=9)
    axes.legend(loc="upper left")
  return figure


def _colours():
  """From the one class's colour to the other's."""
  return LinearSegmentedColormap.from_list("labels", ["#0072B2", "#D55E00"])


def _moves(axes, x, y, clouds, attacked):
  """One example: the attack on it, and where DAT moves it."""
  chosen, moved = clouds["chosen"], np.asarray(clouds["moved"])
  axes.scatter(*x.T, c=y, s=3, cmap=_colours(), alpha=0.35)
  for label, color, name in (
    (0, "C2", "intra-class"),
    (1, "C6", "inter-class"),
  ):
    of_class = moved[y == label]
    start = np.broadcast_to(x[chosen], of_class.shape)
    axes.plot(
      *np.stack([start, of_class]).transpose(2, 0, 1),
      color=color,
      linestyle="-",
      linewidth=0.3,
      alpha=0.6,
    )
    axes.scatter(*of_class.T, s=6, color=color, label=f"DAT, {name}")
  axes.add_patch(Circle(x[chosen], RADIUS, fill=False, color="0.3"))
  axes.annotate(
    "",
    attacked,
    x[chosen],
    arrowprops={"arrowstyle": "->", "color": "k", "linewidth": 1.8},
  )
  axes.plot(*x[chosen], "k*", markersize=9, label="the example")
  axes.set_title("one example: attack (arrow) and DAT", fontsize=9)
  axes.legend(loc="lower left", fontsize=7)


if __name__ == "__main__":
  drawing.run("dat_moves", compute, draw)
