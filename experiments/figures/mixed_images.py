"""What each way of mixing makes of the same images, and with whom.

  python -m experiments.figures.mixed_images --out=docs/assets

mixed_policies.png: a row each of Fashion-MNIST's images, all with the same
partners, by Mixup, untied MixUp, DAT, CutMix, ResizeMix, FMix, GridMix and two
of them by chance. mixed_pairings.png: halves of an image and its partner, by
each pairing that one device can draw. Above each image its labels and their
weights. Looks for the data as `experiments.figures.pictures` does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import functools
import math
from typing import Any

from absl import flags
import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np

from experiments import cli
from experiments.figures import pictures
from experiments.workdir import storage
import jaxmix
from jaxmix import pairing, policies

CLASSES = (
  # Short: two of them and their weights stand above an image.
  *("top", "pants", "jumper", "dress", "coat"),
  *("sandal", "shirt", "shoe", "bag", "boot"),
)
COLUMNS = 8
ALPHA = 1.0
BANDWIDTH = 1.0  # of by_label, in classes
BLOCK = 4  # of optimal: of all eight, most would be their own partners


def by_policy(key: jax.Array, images: Any) -> dict[str, Any]:
  """Returns the plans by which images [B, H, W, C] are mixed, by their names.

  Args:
    key: the same for all: partners are, too, but for the mixture's.
    images: their shape alone is looked at.
  """
  size, shape = len(images), images.shape
  policy = {
    "Mixup": policies.mixup(ALPHA),
    "untied MixUp": policies.untied(2.0, 1.0),
    "DAT": policies.dat(2.0, 1.0),
  }
  draws: dict[str, Callable[..., Any]] = {
    name: functools.partial(
      jaxmix.draw, batch_size=size, policy=own, pairing=pairing.roll
    )
    for name, own in policy.items()
  }
  pasting: dict[str, Callable[..., Any]] = {
    "CutMix": jaxmix.draw_cutmix,
    "ResizeMix": jaxmix.draw_resizemix,
    "FMix": jaxmix.draw_fmix,
    "GridMix": jaxmix.draw_gridmix,
  }
  draws |= {
    name: functools.partial(draw, image_shape=shape, pairing=pairing.roll)
    for name, draw in pasting.items()
  }
  plans: dict[str, Any] = {name: draw(key) for name, draw in draws.items()}
  both = [draws["Mixup"], draws["CutMix"]]
  plans["Mixup or CutMix"] = jaxmix.draw_mixture(
    key, both, prob=0.8, per_example=True
  )
  return plans


def by_pairing(
  key: jax.Array, images: Any, labels: Any, partners: Any
) -> dict[str, Any]:
  """Returns plans of halves, by how they choose partners.

  Args:
    key: PRNG key.
    images: [B, H, W, C].
    labels: [B] classes.
    partners: images and labels of another batch.
  """
  pairings = {
    "permutation": pairing.permutation,
    "roll": pairing.roll,
    "flip": pairing.flip,
    "between": pairing.between(partners),
    "optimal": pairing.optimal(images, block=BLOCK),
    "by_label": pairing.by_label(labels, bandwidth=BANDWIDTH),
  }
  side = math.sqrt(0.5)
  half = policies.scaled(side, side)  # lam is 1 - side^2
  draw = functools.partial(jaxmix.draw, key, len(images), policy=half)
  return {name: draw(pairing=own) for name, own in pairings.items()}


def grid(images: Any, labels: Any, plans: Mapping[str, Any]) -> Figure:
  """Returns the images as they are, and below them as each plan mixes them.

  Args:
    images: [B, H, W, C] in [0, 1].
    labels: [B] classes.
    plans: by their names, which stand at the left.
  """
  mixed = [images, *(plan.mix(images) for plan in plans.values())]
  ones = jnp.ones(len(images))
  targets = [
    jaxmix.MixedTargets(labels, labels, ones),
    *(plan.targets(labels) for plan in plans.values()),
  ]
  together = jax.tree.map(lambda *parts: jnp.concatenate(parts), *targets)
  figure = jaxmix.show(
    (jnp.concatenate(mixed), together),
    names=CLASSES,
    columns=len(images),
    limit=len(mixed) * len(images),
  )
  for row, name in enumerate(["as they are", *plans]):
    axes = figure.axes[row * len(images)]
    axes.text(
      *(-0.12, 0.5, name),
      transform=axes.transAxes,
      rotation=90,
      ha="right",
      va="center",
    )
  return figure


def draw() -> dict[str, Figure]:
  """Returns the two pictures by their names."""
  (x, labels), _ = pictures.load("Fashion-MNIST", 2 * COLUMNS)
  x = np.asarray(x)
  x = jnp.asarray((x - x.min()) / (x.max() - x.min()))
  own, others = np.split(np.asarray(labels), 2)
  images, partners = jnp.split(x, 2)
  key_plans, key_pairs = jax.random.split(jax.random.key(0))
  return {
    "mixed_policies": grid(images, own, by_policy(key_plans, images)),
    "mixed_pairings": grid(
      images,
      own,
      by_pairing(key_pairs, images, own, (partners, jnp.asarray(others))),
    ),
  }


def run() -> None:
  """Draws both as a program."""
  out = flags.DEFINE_string(
    "out", None, "Folder for the two pictures.", required=True
  )

  def main() -> None:
    folder = storage.path(out.value)
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in draw().items():
      with (folder / f"{name}.png").open("wb") as file:
        figure.savefig(file, format="png", dpi=80)

  cli.run(main)


if __name__ == "__main__":
  run()
