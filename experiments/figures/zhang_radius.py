"""Does the radius of Zhang et al. (2021) predict what a network stands?

Theorems 3.1 and 3.3 say that training by Mixup guards against attacks of eps_i
at example i, and of eps_mix, the smallest of them, at all. Here many small
networks, trained with and without mixing, are ranked by that radius and by the
l2 steps at which projected gradient ascent really changes what they say. Twice:
as the theorem has it, binary and without biases, and ten classes with biases.
"""

from __future__ import annotations

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np
from scipy import stats

from experiments.figures import drawing, networks, pictures, radii, varied
from jaxmix import policies, theory

HIDDEN = (32, 32)
METHODS = ("ERM", "Mixup")
# One law for all networks: that of their own would tell the groups apart by
# E[1 - lam] alone, and of ERM's is 0.
LAW = policies.mixup(1.0)
RESAMPLES = 2000

SETTINGS = {
  "binary, without biases": varied.Setting(1, False),
  "ten classes, with biases": varied.Setting(10, True),
}
PREDICTORS = {
  "smallest": "eps_mix",
  "mean": "mean eps_i",
  "linear": "|f| / |df|",
  "accuracy": "test accuracy",
}


def measure(
  key: chex.PRNGKey,
  params: networks.Params,
  *,
  setting: varied.Setting,
  train: tuple[chex.Array, chex.Array],
  test: tuple[chex.Array, chex.Array],
) -> dict[str, chex.Array]:
  """A network's radii of each example, all in l2, of a whole picture.

  Args:
    key: PRNG key of PGD's starts.
    params: from `trained`.
    setting: of `SETTINGS`.
    train: the pictures that the theory's radius is of, and labels.
    test: those that PGD attacks.

  Returns:
    "train", "own": eps_i sqrt(d) of the two; "linear": the distance to the
    boundary of the network's tangent; "measured": PGD's; "train_right" and
    "right": whether the answers are.
  """
  logit_fn = setting.logit_fn(params)
  (x, y), (test_x, test_y) = train, test
  root = x.shape[1] ** 0.5
  radius = lambda x, y: theory.mixup_radius(logit_fn, x, y, policy=LAW)
  return {
    "train": root * radius(x, y).per_example,
    "own": root * radius(test_x, test_y).per_example,
    "linear": radii.linear(logit_fn, test_x, test_y),
    "measured": radii.measured(key, logit_fn, test_x, test_y, setting.loss_fn),
    "train_right": radii.right(logit_fn(x), y),
    "right": radii.right(logit_fn(test_x), test_y),
  }


def summary(each: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Numbers of whole networks, from [networks, examples] of each."""
  pairs = zip(each["own"], each["measured"], strict=True)
  found = np.where(each["right"], each["measured"], radii.FARTHEST)
  return {
    "smallest": np.min(each["train"], axis=1),
    "mean": np.mean(each["train"], axis=1),
    "linear": np.median(each["linear"], axis=1),
    "accuracy": np.mean(each["right"], axis=1),
    "all_right": np.all(each["train_right"], axis=1),
    "measured": np.median(each["measured"], axis=1),
    "measured_smallest": np.min(found, axis=1),
    "examples": np.array([stats.spearmanr(*pair)[0] for pair in pairs]),
  }


def correlation(
  predictor: chex.Array, measured: chex.Array, strata: chex.Array
) -> list[float]:
  """Spearman's rho and its interval, by drawing networks again.

  Args:
    predictor: [n].
    measured: [n].
    strata: [n], groups that networks are drawn within.

  Returns:
    rho, and the ends of 95 % of it; 0 of a constant.
  """
  predictor, measured = np.asarray(predictor), np.asarray(measured)
  rng = np.random.default_rng(0)
  rows = [np.flatnonzero(strata == one) for one in np.unique(strata)]
  drawn = np.concatenate(
    [rng.choice(own, (RESAMPLES, len(own))) for own in rows], axis=1
  )
  ranks = lambda values: stats.rankdata(values, axis=-1)

  def rho(index):
    a, b = ranks(predictor[index]), ranks(measured[index])
    a, b = (v - np.mean(v, axis=-1, keepdims=True) for v in (a, b))
    lengths = np.sqrt(np.sum(a**2, axis=-1) * np.sum(b**2, axis=-1))
    return np.sum(a * b, axis=-1) / np.maximum(lengths, 1e-9)

  whole = rho(np.arange(len(measured)))
  return drawing.numbers([whole, *np.quantile(rho(drawn), (0.025, 0.975))], 3)


def survey(
  setting: varied.Setting, loaded: pictures.Pictures, count: int, most: int
) -> dict[str, np.ndarray]:
  """Trains and measures `count` networks of either method.

  Args:
    setting: of `SETTINGS`.
    loaded: the pictures.
    count: networks a method.
    most: steps that a network may take.

  Returns:
    `summary`, and how each was trained.
  """
  data = _arrays(loaded, setting)
  drawn = varied.draws(
    np.random.default_rng(0), count, len(data.train[1]), most
  )
  key_train, key_watch = jax.random.split(jax.random.key(0))
  keys = lambda key: jax.random.split(key, 2 * count)
  train = functools.partial(
    varied.trained, setting=setting, hidden=HIDDEN, train=data.train
  )
  watch = functools.partial(
    measure, setting=setting, train=data.train, test=data.test
  )
  params = jax.jit(jax.vmap(train))(keys(key_train), drawn)
  each = jax.device_get(jax.jit(jax.vmap(watch))(keys(key_watch), params))
  told = ("learning_rate", "decay", "steps", "alpha", "mixed")
  return summary(each) | {key: getattr(drawn, key) for key in told}


def compute(*, smoke: bool = False) -> dict[str, Any]:
  """Trains, measures and ranks all networks."""
  most = 4 if smoke else 300
  count = 3 if smoke else 60
  loaded = pictures.load("digits", 300, 8 if smoke else 64)
  settings = dict(list(SETTINGS.items())[:1]) if smoke else SETTINGS
  found = {
    name: survey(setting, loaded, count, most)
    for name, setting in settings.items()
  }
  correlations = {name: _correlations(one) for name, one in found.items()}
  binary = correlations[next(iter(SETTINGS))]
  result = {
    "settings": {
      "networks": 2 * count,
      "hidden": HIDDEN,
      "n_train": len(loaded.train[1]),
      "n_test": len(loaded.test[1]),
      "batch_size": varied.BATCH,
      "most_steps": most,
      "dtype": "float32",
      "pgd_steps": radii.STEPS,
      "pgd_starts": radii.STARTS,
      "bisections": radii.BISECTIONS,
      "resamples": RESAMPLES,
    },
    "networks": {
      name: {key: drawing.numbers(v, 4) for key, v in one.items()}
      for name, one in found.items()
    },
    "correlations": correlations,
    "within": {
      name: drawing.numbers(np.median(one["examples"]), 3)
      for name, one in found.items()
    },
    # Whether it ranks the networks of either method, where the theorem holds.
    "seen": all(
      binary[method]["measured"]["smallest"][1] > 0.0 for method in METHODS
    ),
  }
  return result | {"caption": _caption(result)}


def _arrays(loaded, setting):
  """Pictures as vectors, centred as the theorems ask, and labels."""
  train = loaded.train[0].reshape(len(loaded.train[0]), -1)
  mean = np.mean(train, axis=0)

  def part(x, y):
    x = jnp.asarray(x.reshape(len(x), -1) - mean, jnp.float32)
    labels = y if setting.outputs > 1 else y >= 5
    return x, jnp.asarray(labels, jnp.int32)

  return pictures.Pictures(part(*loaded.train), part(*loaded.test))


def _correlations(rows):
  """By group, what is measured, and predictor."""
  mixed = rows["mixed"].astype(bool)
  groups = {"all": np.full(len(mixed), True), "ERM": ~mixed, "Mixup": mixed}
  return {
    group: {
      measured: {
        name: correlation(
          rows[name][chosen],
          rows[measured][chosen],
          # Networks of both methods stay as many.
          mixed[chosen],
        )
        for name in PREDICTORS
      }
      for measured in ("measured", "measured_smallest")
    }
    for group, chosen in groups.items()
  }


def _caption(result) -> str:
  settings = result["settings"]

  def told(name, measured="measured", predictor="smallest"):
    groups = result["correlations"][name]
    parts = []
    for group in ("ERM", "Mixup", "all"):
      rho, low, high = groups[group][measured][predictor]
      parts.append(f"{group} {rho:+.2f} ({low:+.2f} to {high:+.2f})")
    return ", ".join(parts)

  names = list(result["correlations"])
  theorem = names[0]
  smallest = "; ".join(f"{name}: {told(name)}" for name in names)
  within = ", ".join(f"{v:+.2f}" for v in result["within"].values())
  return (
    "Zhang et al. (2021), Theorems 3.1 and 3.3: does the radius that Mixup is "
    "proved to guard against, eps_mix, tell which network stands larger "
    f"attacks? {'Seen' if result['seen'] else 'Not seen'} within either method "
    "where the theorem holds. Spearman's rho (95 % of resampled networks) of "
    "eps_mix, from training examples, with the median l2 step that PGD needs "
    f"on test examples. {smallest}. The mean of eps_i instead, {theorem}: "
    f"{told(theorem, predictor='mean')}; the tangent's distance |f| / |df|: "
    f"{told(theorem, predictor='linear')}; test accuracy: "
    f"{told(theorem, predictor='accuracy')}. Within a network eps_i ranks "
    f"examples by {within} (median). {settings['networks']} networks of "
    f"{settings['dtype']} a panel, with learning rate, decay, "
    f"steps and alpha drawn at random; {settings['n_train']} digits. One law, "
    "Beta(1, 1), for all."
  )


def draw(result: dict[str, Any]) -> Figure:
  """The radii, and how well the theory's, and others, rank the measured."""
  groups = {"ERM": "C0", "Mixup": "C1", "all": "0.3"}
  with drawing.style():
    figure, panels = drawing.new(len(result["networks"]), 2, height=2.9)
    for k, (name, rows) in enumerate(result["networks"].items()):
      axes = panels[k]
      mixed = np.asarray(rows["mixed"]) > 0.5
      for method, chosen in (("ERM", ~mixed), ("Mixup", mixed)):
        # A log axis has no place for radii of 0.
        radius = np.maximum(np.asarray(rows["smallest"])[chosen], 1e-4)
        measured = np.asarray(rows["measured"])[chosen]
        color = groups[method]
        axes.plot(
          radius, measured, "o", color=color, markersize=3, label=method
        )
      axes.set(
        xscale="log",
        xlabel="eps_mix, l2, from training examples (0 at 1e-4)",
        ylabel="PGD's median radius",
      )
      axes.set_title(name, fontsize=9)
      axes.legend(fontsize=7)
      axes = panels[len(result["networks"]) + k]
      found = result["correlations"][name]
      for i, (group, color) in enumerate(groups.items()):
        rho, low, high = np.transpose(
          [found[group]["measured"][one] for one in PREDICTORS]
        )
        at = np.arange(len(PREDICTORS)) + 0.2 * (i - 1)
        axes.errorbar(
          rho,
          at,
          xerr=[rho - low, high - rho],
          fmt="o",
          color=color,
          markersize=3,
          label=group,
        )
      axes.axvline(0.0, color="0.6", linewidth=0.8)
      axes.set_yticks(range(len(PREDICTORS)), PREDICTORS.values(), fontsize=8)
      axes.invert_yaxis()
      axes.set(xlabel="Spearman's rho with it", xlim=(-1.0, 1.02))
      axes.legend(fontsize=7)
  return figure


if __name__ == "__main__":
  drawing.run("zhang_radius", compute, draw)
