import io
import math
import os
import pathlib

import numpy as np
from PIL import Image
import pytest

tf = pytest.importorskip("tensorflow")

from experiments.inputs.tfrecords import crops  # noqa: E402


def encode(image, image_format="JPEG"):
  buffer = io.BytesIO()
  # Full chroma resolution: decoders differ in how they interpolate it.
  options = {"quality": 95, "subsampling": 0} if image_format == "JPEG" else {}
  Image.fromarray(image).save(buffer, image_format, **options)
  return buffer.getvalue()


def smooth_image(height, width):
  y, x = np.mgrid[:height, :width].astype(float)
  channels = [
    128 + 120 * np.sin(x / 7 + y / 11),
    128 + 100 * np.cos(y / 9),
    255 * x / width,
  ]
  return np.stack(channels, -1).round().astype(np.uint8)


def cubic(distance):
  """Keys (1981), a = -1/2."""
  t = abs(distance)
  if t < 1:
    return 1.5 * t**3 - 2.5 * t**2 + 1
  return -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2 if t < 2 else 0.0


def linear(distance):
  return max(0.0, 1.0 - abs(distance))


def weights(size, new_size, kernel):
  """[new_size, size] weights, pixel centres at half integers."""
  matrix = np.zeros((new_size, size))
  for i in range(new_size):
    centre = (i + 0.5) * size / new_size - 0.5
    for j in range(math.floor(centre) - 1, math.floor(centre) + 3):
      if 0 <= j < size:
        matrix[i, j] = kernel(centre - j)
  return matrix / matrix.sum(axis=1, keepdims=True)


def bicubic(image, height, width, kernel=cubic):
  rows = weights(image.shape[0], height, kernel)
  columns = weights(image.shape[1], width, kernel)
  resized = np.tensordot(rows, image.astype(float), axes=(1, 0))
  resized = np.moveaxis(np.tensordot(resized, columns, axes=(1, 1)), 2, 1)
  return np.clip(resized, 0, 255)


@pytest.mark.parametrize("size", [(20, 31), (60, 45)])
def test_bilinear_is_the_triangle_without_antialiasing(size):
  image = smooth_image(40, 48)
  found = crops.resize(image, *size, "bilinear").numpy()
  assert_close(found, bicubic(image, *size, linear))


def assert_close(actual, expected, tolerance=1):
  """Within one grey level: the results are rounded, the references not."""
  actual, expected = np.asarray(actual, float), np.asarray(expected, float)
  assert actual.shape == expected.shape
  assert np.abs(actual - expected).max() <= tolerance


@pytest.mark.parametrize(
  ("shape", "resized"),
  [
    ((60, 90), (32, 48)),
    ((91, 50), (58, 32)),  # 58.24
    ((20, 20), (32, 32)),  # enlarged
    ((33, 64), (32, 62)),  # 62.06
  ],
)
def test_centre_crop_resizes_whole_then_cuts(shape, resized):
  data = encode(smooth_image(*shape))
  decoded = np.asarray(Image.open(io.BytesIO(data)))
  # An odd margin, here 9, leaves the smaller half above and to the left.
  y, x = (resized[0] - 23) // 2, (resized[1] - 23) // 2
  expected = bicubic(decoded, *resized)[y : y + 23, x : x + 23]
  actual = crops.centre_crop(data, 23, 32)
  assert actual.dtype == tf.uint8
  assert_close(actual, expected)


def test_centre_crop_on_real_photographs():
  root = pathlib.Path(__file__).parents[4]
  shared = os.environ.get("JAXMIX_SHARED_DATA", root.parent / "shared" / "data")
  folder = pathlib.Path(shared) / "imagenet_sample"
  if not folder.is_dir():
    pytest.skip("no imagenet_sample: set JAXMIX_SHARED_DATA to its parent")
  for path in sorted(folder.glob("*.JPEG"))[:4]:
    decoded = np.asarray(Image.open(path).convert("RGB"))
    height, width, _ = decoded.shape
    scale = 256 / min(height, width)
    resized = round(height * scale), round(width * scale)
    y, x = (resized[0] - 224) // 2, (resized[1] - 224) // 2
    expected = bicubic(decoded, *resized)[y : y + 224, x : x + 224]
    assert_close(crops.centre_crop(path.read_bytes(), 224, 256), expected)


def window(height, width, draws):
  return crops.crop_window(height, width, tf.constant(draws, tf.float32))


def test_crop_window_by_hand():
  # Aspect 1 at u = 1/2 (uniform in the logarithm); area 0.08 + 0.92 / 4 = 0.31
  # of 100 x 200: side sqrt(6200) = 78.7; y = floor(0.5 * 22), x = floor(0.25 *
  # 122).
  actual = window(100, 200, [[0.25, 0.5, 0.5, 0.25]])
  np.testing.assert_array_equal(actual, [11, 30, 79, 79])


def test_crop_window_takes_the_first_that_fits():
  # Area 0.954 of a 100 x 200 image at aspect 1 is 138 high: too high.
  too_large = [0.95, 0.5, 0.0, 0.0]
  actual = window(100, 200, [too_large, [0.25, 0.5, 0.5, 0.25], [0, 0.5, 0, 0]])
  np.testing.assert_array_equal(actual, [11, 30, 79, 79])


@pytest.mark.parametrize(
  ("shape", "expected"),
  [
    ((10, 100), [0, 43, 10, 13]),  # aspect 4/3: width 13.33
    ((100, 10), [43, 0, 13, 10]),  # aspect 3/4: height 13.33
    ((10, 12), [0, 0, 10, 12]),  # allowed as it is
  ],
)
def test_crop_window_falls_back_to_the_centre(shape, expected):
  # Nearly the whole area at aspect 4/3, then 3/4: neither fits any of these.
  draws = [[0.99, 0.999, 0.5, 0.5], [0.99, 0.0, 0.5, 0.5]]
  np.testing.assert_array_equal(window(*shape, draws), expected)


@pytest.mark.parametrize("shape", [(375, 500), (500, 333), (1, 1), (2, 300)])
def test_crop_windows_lie_inside_and_keep_their_bounds(shape):
  height, width = shape
  num = 500
  draws = np.random.default_rng(0).uniform(size=(num, 10, 4))

  @tf.function
  def windows_of(draws):
    return tf.map_fn(
      lambda d: crops.crop_window(height, width, d),
      draws,
      fn_output_signature=tf.int32,
    )

  windows = windows_of(tf.constant(draws, tf.float32)).numpy()
  y, x, h, w = windows.T
  assert (h >= 1).all() and (w >= 1).all()
  assert (y >= 0).all() and (y + h <= height).all()
  assert (x >= 0).all() and (x + w <= width).all()
  if min(shape) > 100:
    # Sides are rounded to pixels.
    assert ((h + 0.5) * (w + 0.5) >= 0.08 * height * width).all()
    assert ((w + 0.5) / (h - 0.5) >= 3 / 4).all()
    assert ((w - 0.5) / (h + 0.5) <= 4 / 3).all()
    # Every part of the range occurs: below 12 %, above 80 %, both shapes.
    area = h * w / (height * width)
    assert area.min() < 0.12 and area.max() > 0.8
    assert (w / h).min() < 0.78 and (w / h).max() > 1.28
    # In 500 draws, some touch each side.
    assert y.min() == 0 and x.min() == 0
    assert (y + h).max() == height and (x + w).max() == width


def random_crops(data, num, image_size=16, randaugment=None):
  @tf.function
  def crop(i):
    return crops.random_crop(data, (7, i), image_size, randaugment)

  return np.stack([crop(tf.constant(i)).numpy() for i in range(num)])


@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
def test_random_crop_is_the_window_resized(image_format):
  image = smooth_image(60, 90)
  data = encode(image, image_format)
  decoded = np.asarray(Image.open(io.BytesIO(data)))
  flips = set()
  for i, actual in enumerate(random_crops(data, 6)):
    draws = tf.random.stateless_uniform([11, 4], [7, i], alg="philox")
    y, x, h, w = crops.crop_window(60, 90, draws[1:]).numpy()
    expected = bicubic(decoded[y : y + h, x : x + w], 16, 16)
    flip = bool(draws[0, 0] < 0.5)
    assert_close(actual, expected[:, ::-1] if flip else expected)
    flips.add(flip)
  assert flips == {True, False}


def test_half_of_the_crops_are_flipped():
  ramp = np.broadcast_to(np.arange(0, 240, 4, np.uint8), (60, 60))
  num = 400
  images = random_crops(encode(np.stack([ramp] * 3, -1)), num).astype(int)
  flipped = (images[:, :, 0, 0] > images[:, :, -1, 0]).all(axis=1)
  # 4.5 standard errors.
  assert abs(flipped.sum() - num / 2) < 4.5 * num**0.5 / 2


@pytest.mark.parametrize("crop", ["random", "centre"])
def test_greyscale_becomes_three_equal_channels(crop):
  data = encode(smooth_image(40, 50)[..., 0])
  if crop == "random":
    image = crops.random_crop(data, (0, 0), 16)
  else:
    image = crops.centre_crop(data, 16, 20)
  image = np.asarray(image)
  assert image.shape == (16, 16, 3) and image.std() > 1
  np.testing.assert_array_equal(image[..., 0], image[..., 1])
  np.testing.assert_array_equal(image[..., 0], image[..., 2])


def test_cmyk_jpegs_decode():
  # ImageNet has 22 of them.
  buffer = io.BytesIO()
  image = Image.fromarray(smooth_image(40, 50)).convert("CMYK")
  image.save(buffer, "JPEG", quality=95)
  assert crops.random_crop(buffer.getvalue(), (0, 0), 16).shape == (16, 16, 3)
  assert crops.centre_crop(buffer.getvalue(), 16, 20).shape == (16, 16, 3)


def test_randaugment_follows_the_crop_and_flip():
  data = encode(smooth_image(40, 50))
  plain = random_crops(data, 3)
  augmented = random_crops(data, 3, randaugment=(2, 15))
  for i in range(3):
    expected = crops.randaugment_lib.randaugment(
      tf.constant(plain[i]), tf.constant([7 + 2**40, i], tf.int64), 2, 15
    )
    np.testing.assert_array_equal(augmented[i], expected)
  assert (augmented != plain).any()
