"""Crops, flips and Cutout of a batch of images, on the device, as uint8.

In the order and by the conventions of torchvision's RandomCrop and
RandomHorizontalFlip and of the code of DeVries and Taylor (2017,
https://arxiv.org/abs/1708.04552). Every image draws its own.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np

from experiments.inputs.dataset import Spec

KEYS = ("crop_padding", "hflip", "cutout")


class Draw(NamedTuple):
  """What is drawn for a batch.

  Attributes:
    offset: [B, 2] int32, of the crop in the padded image, rows first.
    flip: [B] bool.
    centre: [B, 2] int32, of Cutout's square in the crop.
  """

  offset: jax.Array
  flip: jax.Array
  centre: jax.Array


@dataclasses.dataclass(frozen=True)
class Augment:
  """(key, images [B, H, W, C] uint8) -> the same, augmented.

  Attributes:
    crop_padding: pixels of zeros on all sides, of which a crop of the image's
      own size is taken, uniformly.
    hflip: probability of a flip left to right.
    cutout: side of a square that is filled, its centre uniform over the image,
      what reaches beyond left out; 0: none.
    fill: by channel, what it is filled with.
  """

  crop_padding: int = 0
  hflip: float = 0.0
  cutout: int = 0
  fill: tuple[int, ...] = ()

  def __call__(self, key: jax.Array, images: Any) -> jax.Array:
    """Draws and applies."""
    return self.apply(self.draw(key, images.shape), images)

  def draw(self, key: jax.Array, shape: tuple[int, ...]) -> Draw:
    """Draws for a batch of a shape [B, H, W, C]."""
    key_crop, key_flip, key_cut = jax.random.split(key, 3)
    size = shape[0]
    most = 2 * self.crop_padding + 1
    sides = jnp.broadcast_to(jnp.array([shape[1:3]]), (size, 2))
    return Draw(
      jax.random.randint(key_crop, (size, 2), 0, most),
      jax.random.bernoulli(key_flip, self.hflip, (size,)),
      jax.random.randint(key_cut, (size, 2), 0, sides),
    )

  def apply(self, draw: Draw, images: Any) -> jax.Array:
    """Crops, flips, and cuts out."""
    images = jnp.asarray(images)
    if self.crop_padding:
      images = jax.vmap(self._crop)(draw.offset, images)
    if self.hflip:
      flip = draw.flip[:, None, None, None]
      images = jnp.where(flip, images[:, :, ::-1], images)
    if self.cutout:
      rows, columns = (
        self._covered(draw.centre[:, k], images.shape[1 + k]) for k in (0, 1)
      )
      inside = (rows[:, :, None] & columns[:, None, :])[..., None]
      fill = np.array(self.fill, np.uint8).reshape(1, 1, 1, -1)
      images = jnp.where(inside, fill, images)
    return images

  def _crop(self, offset: jax.Array, image: jax.Array) -> jax.Array:
    by = self.crop_padding
    padded = jnp.pad(image, ((by, by), (by, by), (0, 0)))
    return jax.lax.dynamic_slice(padded, (*offset, 0), image.shape)

  def _covered(self, centre: jax.Array, side: int) -> jax.Array:
    start = centre - self.cutout // 2
    at = jnp.arange(side)[None]
    return (at >= start[:, None]) & (at < start[:, None] + self.cutout)


def augmented(config: ConfigDict, spec: Spec) -> Spec:
  """Returns a spec with the augmentation that a config asks for.

  Args:
    config: reads crop_padding, hflip and cutout.
    spec: of the data set.

  Raises:
    ValueError: if there is any, and the inputs are no images, or have an
      augmentation of their own.
  """
  asked = {key: config[key] for key in KEYS if config.get(key)}
  if not asked:
    return spec
  name, one = next(iter(asked)), spec.inputs
  image = getattr(one, "ndim", 0) == 3 and one.dtype == np.uint8
  if not image or spec.augment is not None:
    raise ValueError(
      f"{name} does not apply to dataset={config.dataset!r}: it is of images "
      "in memory, [H, W, C] of uint8, that have no augmentation of their own."
    )
  mean = getattr(spec.scale.to_float, "mean", (0.0,))
  # What standardised images have as 0, to half a grey level: DeVries and Taylor
  # cut out after they standardise.
  fill = tuple(round(value) for value in mean)
  return spec._replace(augment=Augment(**asked, fill=fill))


def refuse(config: ConfigDict) -> None:
  """Raises ValueError for augmentation of what is not in memory."""
  for key in KEYS:
    if config.get(key):
      raise ValueError(
        f"{key} does not apply to dataset={config.dataset!r}, whose images are "
        "read from TFRecord files, with random resized crops and flips; it is "
        "of images in memory."
      )
