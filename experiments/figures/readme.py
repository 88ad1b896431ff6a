"""The README's picture: one batch as it is and mixed in three ways.

  python -m experiments.figures.readme --out=docs/assets

writes mixed.png, by `jaxmix.show`, of images of Fashion-MNIST (MIT licence);
looks for them as `experiments.figures.pictures` does.
"""

from __future__ import annotations

from typing import Any

from absl import flags
import jax
import jax.numpy as jnp

from experiments import cli
from experiments.figures import mixed_images, pictures
from experiments.workdir import storage
import jaxmix
from jaxmix import pairing, policies

COLUMNS = 6


def rows(key: Any, images: Any, labels: Any) -> tuple[Any, Any]:
  """The batch, then Mixup's, CutMix's and FMix's of it, with one pairing.

  Args:
    key: PRNG key.
    images: [B, H, W, C].
    labels: [B].

  Returns:
    [4 B, H, W, C] images and their `MixedTargets`.
  """
  keys = jax.random.split(key, 3)
  law = policies.mixup(2.0, stratified=True)  # small lam beside large ones
  options: dict[str, Any] = {"policy": law, "pairing": pairing.roll}
  plans: list[jaxmix.Plan] = [
    jaxmix.draw(keys[0], len(images), policy=policies.erm()),
    jaxmix.draw(keys[0], len(images), **options),
    jaxmix.draw_cutmix(keys[1], images.shape, **options),
    jaxmix.draw_fmix(keys[2], images.shape, **options),
  ]
  mixed = [(plan.mix(images), plan.targets(labels)) for plan in plans]
  return jax.tree.map(lambda *parts: jnp.concatenate(parts), *mixed)


def main() -> None:
  """Draws, and writes the picture."""
  folder = storage.path(OUT.value)
  folder.mkdir(parents=True, exist_ok=True)
  images, labels = pictures.load("Fashion-MNIST", 200).train
  # One of each of six classes that mix visibly.
  first = [int(jnp.argmax(labels == k)) for k in (9, 3, 8, 1, 5, 2)]
  images, labels = jnp.asarray(images)[jnp.array(first)], labels[first]
  batch = rows(jax.random.key(SEED.value), images, jnp.asarray(labels))
  figure = jaxmix.show(
    batch, names=mixed_images.CLASSES, columns=COLUMNS, limit=4 * COLUMNS
  )
  figure.savefig(folder / "mixed.png", dpi=80)


if __name__ == "__main__":
  OUT = flags.DEFINE_string("out", None, "Folder.", required=True)
  SEED = flags.DEFINE_integer("seed", 2, "Of the draw.")
  cli.run(main)
