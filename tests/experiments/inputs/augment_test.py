"""Crops, flips and Cutout, bit by bit against NumPy."""

from hypothesis import given, settings
from hypothesis import strategies as st
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import pytest

from experiments import inputs
from experiments.inputs import augment, memory
from experiments.inputs.augment import Augment, Draw


def reference(own, draw, images):
  """Image by image, of what was drawn."""
  found = []
  by = own.crop_padding
  for image, (row, column), flip, centre in zip(
    images, *(np.array(x) for x in draw), strict=True
  ):
    image = np.pad(image, ((by, by), (by, by), (0, 0)))
    height, width = images.shape[1:3]
    image = image[row : row + height, column : column + width].copy()
    if own.hflip and flip:
      image = np.fliplr(image)
    if own.cutout:  # as DeVries and Taylor's code has it, clipped
      edges = []
      for at, side in zip(centre, (height, width), strict=True):
        start = at - own.cutout // 2
        edges.append((max(start, 0), max(min(start + own.cutout, side), 0)))
      (top, bottom), (left, right) = edges
      image = image.copy()
      image[top:bottom, left:right] = own.fill
    found.append(image)
  return np.array(found)


FILL = (120, 3)
SETTINGS = [
  Augment(),
  Augment(crop_padding=2),
  Augment(hflip=0.5),
  Augment(cutout=3, fill=FILL),
  Augment(3, 1.0, 4, FILL),
  Augment(1, 0.5, 99, FILL),
]


@pytest.mark.parametrize("own", SETTINGS, ids=str)
def test_every_pixel_is_numpys(own):
  run = jax.jit(own)
  shape = (3, 5, 7, 2)

  @settings(max_examples=20, deadline=None)
  @given(st.integers(0, 2**31))
  def check(seed):
    images = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    key = jax.random.key(seed)
    found = run(key, images)
    assert found.dtype == jnp.uint8
    draw = own.draw(key, shape)
    np.testing.assert_array_equal(found, reference(own, draw, images))

  check()


def test_by_hand():
  image = np.array([[[1], [2], [3]]], np.uint8)[None]
  draw = Draw(np.array([[1, 2]]), np.array([True]), np.array([[0, 2]]))
  # Padded by 1 to 3 x 5, and cropped from (1, 2).
  assert Augment(1).apply(draw, image).ravel().tolist() == [2, 3, 0]
  assert Augment(1, 0.1).apply(draw, image).ravel().tolist() == [0, 3, 2]
  cut = Augment(cutout=2, fill=(9,))
  assert cut.apply(draw, image).ravel().tolist() == [1, 9, 9]


def test_draws_are_uniform_and_each_images_own():
  own = Augment(2, 0.25, 4, fill=(0,))
  count = 20_000
  draw = own.draw(jax.random.key(0), (count, 6, 3, 1))
  for values, sides in ((draw.offset, (5, 5)), (draw.centre, (6, 3))):
    for k, side in enumerate(sides):
      share = np.bincount(np.array(values[:, k]), minlength=side) / count
      assert len(share) == side
      # Four standard errors.
      error = 4 * np.sqrt((1 - 1 / side) / side / count)
      np.testing.assert_allclose(share, 1 / side, atol=error)
  error = 4 * np.sqrt(0.25 * 0.75 / count)
  assert abs(np.mean(draw.flip) - 0.25) < error
  for one, other in (
    (draw.offset, draw.centre),
    (draw.offset, draw.flip[:, None]),
  ):
    coefficient = np.corrcoef(one[:, 0], np.array(other)[:, 0])[0, 1]
    assert abs(coefficient) < 4 / np.sqrt(count)


def asked(**overrides):
  own = inputs.defaults()
  own.update(overrides)
  return own


def test_a_config_asks_for_it():
  plain, spec = (
    inputs.describe(asked(dataset="cifar10", **keys))
    for keys in ({}, dict(crop_padding=4, hflip=0.5, cutout=16))
  )
  assert plain.augment is None
  # Cutout fills with the mean pixel, which standardised images have as 0.
  assert spec.augment == Augment(4, 0.5, 16, fill=(125, 123, 114))
  zero = spec.scale.to_float(np.array([[[spec.augment.fill]]], np.uint8))
  assert np.max(np.abs(zero)) < 0.5 / 62.0 + 1e-6
  # By value, so that runs share their programs.
  again = asked(dataset="cifar10", crop_padding=4, hflip=0.5, cutout=16)
  assert hash(inputs.describe(again)) == hash(spec)
  _, digits = memory.load(asked(dataset="digits", hflip=1.0))
  assert digits.augment == Augment(hflip=1.0, fill=(78,))


@pytest.mark.parametrize(
  ("overrides", "message"),
  [
    (
      {"dataset": "imagenet2012", "crop_padding": 4},
      "crop_padding does not apply to dataset='imagenet2012', whose images",
    ),
    (
      {"dataset": "pictures", "cutout": 4},
      "cutout does not apply to dataset='pictures': it is of images in memory",
    ),
  ],
)
def test_other_data_refuse_it(monkeypatch, overrides, message):
  flat = inputs.describe(asked())._replace(
    inputs=jax.ShapeDtypeStruct((64,), np.float32)
  )
  monkeypatch.setitem(memory.SPECS, "pictures", flat)
  monkeypatch.setitem(memory.LOADERS, "pictures", None)
  with pytest.raises(ValueError, match=message):
    inputs.describe(asked(**overrides))


def test_a_config_without_the_keys_asks_for_none():
  spec = inputs.describe(asked())
  assert augment.augmented(ConfigDict({"dataset": "digits"}), spec) is spec
