"""The grids of mixed images: their rows, names and labels."""

import pathlib

import jax
import jax.numpy as jnp
import matplotlib.image
import numpy as np
import pytest

from experiments.figures import mixed_images
import jaxmix

ASSETS = pathlib.Path(__file__).parents[3] / "docs" / "assets"
IMAGES = jnp.array([0.0, 0.25, 0.75, 1.0])[:, None, None, None] * jnp.ones(
  (1, 2, 2, 1)
)
LABELS = np.array([0, 0, 9, 9])


def test_rows_are_the_images_and_what_plans_make_of_them():
  half, next_one = jnp.full(4, 0.5), jnp.array([1, 2, 3, 0])
  plan = jaxmix.MixPlan(half, half, next_one)
  figure = mixed_images.grid(IMAGES, LABELS, {"halves": plan})
  drawn = [float(axes.images[0].get_array()[0, 0]) for axes in figure.axes]
  np.testing.assert_allclose(
    drawn, [0.0, 0.25, 0.75, 1.0, 0.125, 0.5, 0.875, 0.5]
  )
  titles = [axes.get_title() for axes in figure.axes]
  assert titles == [
    *("top", "top", "boot", "boot"),
    *("top", "0.50 top + 0.50 boot", "boot", "0.50 boot + 0.50 top"),
  ]
  names = [
    (place, text.get_text())
    for place, axes in enumerate(figure.axes)
    for text in axes.texts
  ]
  assert names == [(0, "as they are"), (4, "halves")]


def test_halves_are_of_each_pairings_partners():
  partners = (IMAGES[::-1], jnp.array([5, 6, 7, 8]))
  plans = mixed_images.by_pairing(
    jax.random.key(0), IMAGES, jnp.asarray(LABELS), partners
  )
  for plan in plans.values():
    np.testing.assert_allclose(plan.lam, 0.5, rtol=1e-6)
  assert plans["roll"].partner.tolist() == [1, 2, 3, 0]
  assert plans["flip"].partner.tolist() == [3, 2, 1, 0]
  targets = plans["between"].targets(jnp.asarray(LABELS))
  assert targets.second.tolist() == [5, 6, 7, 8]
  # Far fewer than a class apart are those of the same one.
  mates = plans["by_label"].partner
  assert (LABELS[np.asarray(mates)] == LABELS).all()


@pytest.mark.parametrize("name", ["mixed_policies", "mixed_pairings"])
def test_the_docs_have_the_pictures(name):
  text = (ASSETS.parent / "images.md").read_text()
  assert f"(assets/{name}.png)" in text
  pixels = matplotlib.image.imread(ASSETS / f"{name}.png")
  assert pixels.shape[1] > 800 and np.ptp(pixels[..., 0]) > 0.9
