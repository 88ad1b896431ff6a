"""Grids of images: what is drawn, and what stands above it."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmix

IMAGES = jnp.arange(3.0).reshape(3, 1, 1) / 4 + jnp.zeros((3, 2, 2))
TARGETS = jaxmix.MixedTargets(
  jnp.array([0, 1, 2]), jnp.array([1, 1, 0]), jnp.array([0.75, 0.3, 1.0])
)


def drawn(figure):
  figure.draw_without_rendering()
  return [np.asarray(axis.images[0].get_array()) for axis in figure.axes]


def titles(*arguments, **options):
  figure = jaxmix.show(*arguments, **options)
  return [axis.get_title() for axis in figure.axes]


def test_labels_and_weights_stand_above_the_images():
  names = ["cat", "dog", "fox"]
  mixed = titles(IMAGES, TARGETS, names=names)
  assert mixed == ["0.75 cat + 0.25 dog", "dog", "fox"]
  assert titles((IMAGES, TARGETS)) == ["0.75 0 + 0.25 1", "1", "2"]
  assert titles(IMAGES, TARGETS.dense(3), names=names) == mixed
  assert titles({"image": IMAGES, "label": np.array([2, 1, 0])}) == list("210")
  assert titles(IMAGES) == ["", "", ""]
  assert titles(IMAGES, np.array([0.5, 1.25, 3.0])) == ["0.5", "1.25", "3"]


def test_what_mixing_returns_is_drawn_as_it_is(key):
  mixed, targets = jaxmix.mixup(key, IMAGES, jnp.arange(3))
  for shown, image in zip(
    drawn(jaxmix.show((mixed, targets))), mixed, strict=True
  ):
    np.testing.assert_array_equal(shown, image)


def test_one_scale_for_all_where_floats_leave_0_to_1():
  values = [shown[0, 0] for shown in drawn(jaxmix.show(8 * IMAGES - 2))]
  np.testing.assert_allclose(values, [0.0, 0.5, 1.0])


def test_bytes_and_channels():
  images = np.zeros((2, 2, 2, 3), np.uint8)
  images[1] = 51
  shown = drawn(jaxmix.show(images))
  assert shown[1].shape == (2, 2, 3)
  np.testing.assert_allclose(shown[1], 0.2, rtol=1e-6)
  assert drawn(jaxmix.show(images[..., :1]))[0].shape == (2, 2)


def test_no_more_than_the_limit_in_the_columns_that_are_asked_for():
  figure = jaxmix.show(np.zeros((9, 2, 2)), limit=5, columns=2)
  assert len(figure.axes) == 5
  assert figure.axes[0].get_gridspec().get_geometry() == (3, 2)


@pytest.mark.parametrize(
  "arguments, error, message",
  [
    ((np.zeros((2, 3, 8, 8)),), ValueError, r"transpose\(0, 2, 3, 1\)"),
    ((np.zeros((0, 8, 8)),), ValueError, "images must be"),
    ((np.zeros((2, 4)),), ValueError, r"got shape \(2, 4\)"),
    ((IMAGES, np.arange(2)), ValueError, "axes must agree"),
    (({"pixels": IMAGES},), ValueError, "batch must have one of"),
    (("cat.png",), TypeError, "images must be an array"),
  ],
)
def test_what_is_no_image_is_refused(arguments, error, message):
  with pytest.raises(error, match=message):
    jaxmix.show(*arguments)


def test_without_matplotlib_an_error_says_what_to_install(monkeypatch):
  monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
  with pytest.raises(ImportError, match="pip install matplotlib"):
    jaxmix.show(IMAGES)


def test_bfloat16_is_drawn():
  assert jax.numpy.bfloat16 not in {
    shown.dtype for shown in drawn(jaxmix.show(IMAGES.astype(jnp.bfloat16)))
  }
