"""What is known of small image data sets without their data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Known(NamedTuple):
  """A data set.

  Attributes:
    shape: of an image, [H, W, C].
    num_classes: labels are 0 .. num_classes - 1.
    sizes: split -> images, "train" first.
    mean: of the training pixels, by channel, on the scale 0 .. 255; here so
      that a description needs no data, and a part of the images is scaled as
      all of them are.
    std: as `mean`.
  """

  shape: tuple[int, int, int]
  num_classes: int
  sizes: Mapping[str, int]
  mean: tuple[float, ...]
  std: tuple[float, ...]


_MNIST_SIZES = {"train": 60_000, "test": 10_000}
_CIFAR_SIZES = {"train": 50_000, "test": 10_000}

# Names are tfds', where it has the set. Moments of MNIST, Fashion-MNIST and
# digits are those that `memory.pixel_moments` gives, the others those published
# with the papers' code, to the digits that were at hand.
SETS: Mapping[str, Known] = {
  "mnist": Known(
    (28, 28, 1),
    10,
    _MNIST_SIZES,
    mean=(33.318421449829934,),
    std=(78.56748998339799,),
  ),
  "fashion_mnist": Known(
    (28, 28, 1),
    10,
    _MNIST_SIZES,
    mean=(72.94035223214286,),
    std=(90.02118235130526,),
  ),
  "kmnist": Known((28, 28, 1), 10, _MNIST_SIZES, (48.909,), (88.8165,)),
  "cifar10": Known(
    (32, 32, 3),
    10,
    _CIFAR_SIZES,
    mean=(125.306918046875, 122.950394140625, 113.86538318359375),
    std=(62.993219278136884, 62.08870764001421, 66.70489964063091),
  ),
  "cifar100": Known(
    (32, 32, 3),
    100,
    _CIFAR_SIZES,
    mean=(129.30416561, 124.0699627, 112.43405006),
    std=(68.1702429, 65.39180804, 70.41837019),
  ),
  "svhn_cropped": Known(
    (32, 32, 3),
    10,
    {"train": 73_257, "test": 26_032},
    mean=(111.60893668, 113.16127466, 120.56512767),
    std=(50.49768174, 51.258984, 50.24421614),
  ),
  "stl10": Known(
    (96, 96, 3),
    10,
    {"train": 5_000, "test": 8_000},
    mean=(113.9085, 112.149, 103.683),
    std=(66.3765, 65.433, 69.1815),
  ),
  # Its test images have no labels.
  "tiny_imagenet": Known(
    (64, 64, 3),
    200,
    {"train": 100_000, "validation": 10_000},
    mean=(122.451, 114.2655, 101.3625),
    std=(70.635, 68.6205, 71.9355),
  ),
}
