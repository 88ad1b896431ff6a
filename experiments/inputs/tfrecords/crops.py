"""ImageNet's crops as TensorFlow ops: encoded image in, uint8 image out.

Importing this module imports TensorFlow.
"""

import numpy as np
import tensorflow as tf

from experiments.inputs.tfrecords import randaugment as randaugment_lib

# The usual random resized crop (Szegedy et al., 2015): fraction of the area,
# width / height, and how often to try before the centre crop.
AREA_RANGE = (0.08, 1.0)
ASPECT_RANGE = (3 / 4, 4 / 3)
CROP_ATTEMPTS = 10
# TensorFlow's default is a faster, coarser transform, off by up to 19 levels (1
# on average); its SIMD code is no faster, and this one equals Pillow's.
_DCT = "INTEGER_ACCURATE"


def crop_window(height, width, draws):
  """Returns the random resized crop [y, x, height, width], int32.

  Area and aspect ratio are drawn until the window fits in the image; if none
  of the attempts does, the window is the largest centred one whose aspect
  ratio is allowed.

  Args:
    height: of the image, int32 scalar.
    width: of the image, int32 scalar.
    draws: [attempts, 4] float32 in [0, 1): area, aspect ratio, y and x.
  """
  # As few operations as can be: at 2 to 5 microseconds each they add up.
  sides = tf.cast(tf.stack([height, width]), tf.float32)
  area, aspect, *corner = tf.unstack(draws, axis=1)
  low, high = AREA_RANGE
  root = tf.sqrt(tf.reduce_prod(sides) * (low + (high - low) * area))
  low, high = np.log(ASPECT_RANGE).astype(np.float32) / 2
  stretch = tf.exp(low + (high - low) * aspect)
  crops = tf.round(tf.stack([root / stretch, root * stretch], axis=1))
  fits = tf.reduce_all((crops <= sides) & (crops >= 1), axis=1)
  first = tf.argmax(fits)  # 0 if none fits
  crop = crops[first]
  begin = tf.floor(tf.stack(corner, axis=1)[first] * (sides - crop + 1))

  low, high = ASPECT_RANGE
  across = tf.reverse(sides, [0]) * np.array([1 / low, high], np.float32)
  centre = tf.minimum(sides, tf.maximum(1.0, tf.round(across)))
  window = tf.where(
    fits[first],
    tf.concat([begin, crop], 0),
    tf.concat([tf.floor((sides - centre) / 2), centre], 0),
  )
  return tf.cast(window, tf.int32)


def resize(image, height, width, interpolation="bicubic"):
  """Bicubic or bilinear, without antialiasing, rounded to uint8."""
  image = tf.image.resize(image, [height, width], method=interpolation)
  # Bicubic interpolation overshoots.
  return tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8)


def draw(key):
  """Returns all of an image's draws in [0, 1), [attempts + 1, 4] float32.

  Row 0 decides on the flip, the others are attempts at a crop.

  Args:
    key: [2] int64.
  """
  return tf.random.stateless_uniform([CROP_ATTEMPTS + 1, 4], key, alg="philox")


def decode_crop(encoded, draws):
  """Decodes the random resized crop of an image, at its own resolution.

  Args:
    encoded: as in `random_crop`.
    draws: as in `crop_window`.

  Returns:
    [height, width, 3] uint8.
  """

  def from_jpeg():
    height, width = tf.unstack(tf.io.extract_jpeg_shape(encoded)[:2])
    window = crop_window(height, width, draws)
    return tf.io.decode_and_crop_jpeg(
      encoded, window, channels=3, dct_method=_DCT
    )

  def from_other():
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    height, width = tf.unstack(tf.shape(image)[:2])
    y, x, height, width = tf.unstack(crop_window(height, width, draws))
    return image[y : y + height, x : x + width]

  image = tf.cond(tf.io.is_jpeg(encoded), from_jpeg, from_other)
  image.set_shape([None, None, 3])
  return image


def random_crop(
  encoded,
  key,
  image_size: int,
  randaugment=None,
  interpolation: str = "bicubic",
):
  """Decodes, crops and flips at random, resizes, and applies RandAugment.

  Args:
    encoded: scalar string, a JPEG (decoded only where the crop is) or any
      format that tf.io.decode_image knows. One channel becomes three, equal.
    key: two integers; the result is a pure function of (encoded, key).
    image_size: side of the result, in pixels.
    randaugment: None or (num_layers, magnitude, strengths), the last optional.
    interpolation: "bicubic" or "bilinear".

  Returns:
    [image_size, image_size, 3] uint8.
  """
  key = tf.stack([tf.cast(part, tf.int64) for part in key])
  draws = draw(key)
  image = decode_crop(encoded, draws[1:])
  image = resize(image, image_size, image_size, interpolation)
  flip = tf.stack([False, draws[0, 0] < 0.5, False])
  image = tf.raw_ops.Reverse(tensor=image, dims=flip)  # one operation, no cond
  if randaugment:
    # A key of its own: the crop's draws must not decide the operations.
    own_key = key + tf.constant([2**40, 0], tf.int64)
    image = randaugment_lib.randaugment(image, own_key, *randaugment)
  return image


def centre_crop(
  encoded,
  image_size: int,
  resize_size: int,
  interpolation: str = "bicubic",
):
  """Resizes the shorter side to `resize_size` and cuts out the centre.

  The whole image is resized, then cropped: no shortcut, hence no rounding of
  the crop to the original's pixels.

  Args:
    encoded: as in `random_crop`.
    image_size: side of the result, in pixels, <= `resize_size`.
    resize_size: shorter side after resizing, in pixels. The longer side is
      rounded to the nearest pixel.
    interpolation: "bicubic" or "bilinear".

  Returns:
    [image_size, image_size, 3] uint8.
  """
  image = tf.cond(
    tf.io.is_jpeg(encoded),
    lambda: tf.io.decode_jpeg(encoded, channels=3, dct_method=_DCT),
    lambda: tf.io.decode_image(encoded, channels=3, expand_animations=False),
  )
  image.set_shape([None, None, 3])
  shape = tf.shape(image)[:2]
  shorter = tf.reduce_min(shape)
  # To nearest, in integers: exact, where floats might fall below `resize_size`.
  shape = (2 * shape * resize_size + shorter) // (2 * shorter)
  height, width = tf.unstack(shape)
  image = resize(image, height, width, interpolation)
  y, x = (height - image_size) // 2, (width - image_size) // 2
  image = image[y : y + image_size, x : x + image_size]
  image.set_shape([image_size, image_size, 3])
  return image
