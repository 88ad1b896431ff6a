"""RandAugment as stateless TensorFlow ops (Cubuk et al., 2020).

https://arxiv.org/abs/1909.13719. `num_layers` times, one operation is drawn
uniformly from `OPERATIONS` and applied at the strength `magnitude`.

Conventions, where published code disagrees:

- The list is that of the authors' released code without its two later
  additions (Cutout, SolarizeAdd): fourteen operations, with Invert where the
  paper's own list has Identity.
- `magnitude` is on the paper's scale, 0 to 30, in units in which 10 is the end
  of AutoAugment's ranges (the released code's maximum level of 10). The "2,15"
  of the EfficientNet and CoAtNet recipes is in these units: it rotates by 45
  degrees.
- Strength grows with magnitude everywhere and 0 changes nothing, except in the
  operations without a strength (AutoContrast, Equalize, Invert). In the
  released code Posterize, Solarize and the enhancing operations instead run
  from strong to weak, and at level 15 its Solarize is the identity.
- Signs are drawn: for the geometric operations as in the paper, and also for
  the enhancing operations (below or above 1).

Importing this module imports TensorFlow.
"""

import math

import tensorflow as tf

MAX_LEVEL = 10.0
# Geometric operations uncover pixels; the middle of the range hides them best.
FILL = 128
_GREY = (0.299, 0.587, 0.114)  # ITU-R 601-2 luma.


def _to_uint8(image):
  return tf.cast(tf.clip_by_value(tf.round(image), 0.0, 255.0), tf.uint8)


def blend(image, other, factor):
  """Returns image + (factor - 1) (image - other), rounded and clipped.

  Args:
    image: [H, W, 3] uint8.
    other: float32, broadcastable to [H, W, 3]: the image at factor 0.
    factor: float scalar, >= 0; 1 keeps the image, above 1 exaggerates.
  """
  image = tf.cast(image, tf.float32)
  return _to_uint8(other + factor * (image - other))


def _grey(image):
  image = tf.cast(image, tf.float32)
  grey = tf.reduce_sum(image * tf.constant(_GREY), axis=-1, keepdims=True)
  return tf.round(grey)


def color(image, factor):
  """Blends with the image's own grey version: 0 is grey, 1 the image."""
  return blend(image, _grey(image), factor)


def contrast(image, factor):
  """Blends with the constant image of the mean grey level."""
  return blend(image, tf.round(tf.reduce_mean(_grey(image))), factor)


def brightness(image, factor):
  """Blends with black."""
  return blend(image, tf.zeros([]), factor)


def sharpness(image, factor):
  """Blends with a smoothed copy; the outermost pixels are kept.

  The smoothing kernel is (1 1 1; 1 5 1; 1 1 1) / 13, Pillow's SMOOTH. Images
  less than 3 pixels high or wide have no interior and come back unchanged.
  """
  values = tf.cast(image, tf.float32)
  kernel = tf.constant([[1.0, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13
  kernel = tf.tile(kernel[:, :, None, None], [1, 1, 3, 1])
  padded = tf.nn.depthwise_conv2d(
    values[None], kernel, strides=[1, 1, 1, 1], padding="SAME"
  )[0]
  shape = tf.shape(image)
  rows, columns = tf.range(shape[0]), tf.range(shape[1])
  inside_rows = (rows > 0) & (rows < shape[0] - 1)
  inside_columns = (columns > 0) & (columns < shape[1] - 1)
  inside = inside_rows[:, None, None] & inside_columns[None, :, None]
  return blend(image, tf.where(inside, tf.round(padded), values), factor)


def autocontrast(image):
  """Stretches each channel linearly to 0 .. 255; a flat channel is kept."""
  values = tf.cast(image, tf.float32)
  low = tf.reduce_min(values, axis=[0, 1])
  high = tf.reduce_max(values, axis=[0, 1])
  scale = 255.0 / tf.maximum(high - low, 1.0)
  # Truncated, not rounded: Pillow's tables are.
  stretched = tf.clip_by_value((values - low) * scale, 0.0, 255.0)
  return tf.where(high > low, tf.cast(stretched, tf.uint8), image)


def equalize(image):
  """Equalizes each channel's histogram, by Pillow's integer table.

  With `step` = (pixels - count of the brightest level present) // 255, level v
  becomes (step // 2 + number of pixels darker than v) // step, at most 255; a
  channel with step 0 is kept.
  """

  # One histogram for the three channels: each has its own 256 bins.
  values = tf.cast(image, tf.int32) + tf.constant([0, 256, 512])
  histogram = tf.math.bincount(tf.reshape(values, [-1]), minlength=768)
  histogram = tf.reshape(histogram, [3, 256])
  pixels = tf.size(image) // 3
  brightest = tf.reduce_max(tf.cast(image, tf.int32), axis=[0, 1])
  step = (pixels - tf.gather(histogram, brightest, batch_dims=1)) // 255
  step = step[:, None]
  darker = tf.cumsum(histogram, axis=1, exclusive=True)
  table = tf.minimum((step // 2 + darker) // tf.maximum(step, 1), 255)
  table = tf.where(step > 0, table, tf.range(256)[None])
  return tf.gather(tf.cast(tf.reshape(table, [-1]), tf.uint8), values)


def invert(image):
  """255 - image."""
  return 255 - image


def solarize(image, threshold: int):
  """Inverts the pixels at or above `threshold`, in 0 .. 256."""
  if threshold > 255:
    return image
  return tf.where(image < tf.constant(threshold, tf.uint8), image, 255 - image)


def posterize(image, bits: int):
  """Keeps the `bits` (1 .. 8) highest bits of each value."""
  shift = tf.constant(8 - bits, tf.uint8)
  return tf.bitwise.left_shift(tf.bitwise.right_shift(image, shift), shift)


def affine(image, matrix):
  """Moves pixels; uncovered ones become `FILL`.

  Args:
    image: [H, W, 3] uint8.
    matrix: six floats (a, b, c, d, e, f). The output at (x, y), measured from
      the image's centre, is the input at (a x + b y + c, d x + e y + f),
      interpolated bilinearly.
  """
  a, b, c, d, e, f = (tf.cast(value, tf.float32) for value in matrix)
  shape = tf.cast(tf.shape(image), tf.float32)
  centre_y, centre_x = (shape[0] - 1) / 2, (shape[1] - 1) / 2
  c += centre_x - a * centre_x - b * centre_y
  f += centre_y - d * centre_x - e * centre_y
  return tf.raw_ops.ImageProjectiveTransformV3(
    images=image[None],
    transforms=tf.stack([a, b, c, d, e, f, 0.0, 0.0])[None],
    output_shape=tf.shape(image)[:2],
    fill_value=tf.constant(float(FILL)),
    interpolation="BILINEAR",
    fill_mode="CONSTANT",
  )[0]


def rotate(image, degrees):
  """Turns counter-clockwise about the centre."""
  angle = tf.cast(degrees, tf.float32) * (math.pi / 180)
  cos, sin = tf.cos(angle), tf.sin(angle)
  return affine(image, (cos, -sin, 0.0, sin, cos, 0.0))


def shear_x(image, slope):
  """Shifts each row by `slope` times its distance from the middle row."""
  return affine(image, (1.0, slope, 0.0, 0.0, 1.0, 0.0))


def shear_y(image, slope):
  """Shifts each column by `slope` times its distance from the middle one."""
  return affine(image, (1.0, 0.0, 0.0, slope, 1.0, 0.0))


def translate_x(image, fraction):
  """Moves the image left by `fraction` of its width."""
  width = tf.cast(tf.shape(image)[1], tf.float32)
  return affine(image, (1.0, 0.0, fraction * width, 0.0, 1.0, 0.0))


def translate_y(image, fraction):
  """Moves the image up by `fraction` of its height."""
  height = tf.cast(tf.shape(image)[0], tf.float32)
  return affine(image, (1.0, 0.0, 0.0, 0.0, 1.0, fraction * height))


# Strengths: level = magnitude / 10 (1 at the end of AutoAugment's ranges) and
# sign = -1 or 1 to the operation's argument.
def _enhancement(level, sign):
  # AutoAugment's range is 0.1 .. 1.9; beyond level 1 only the upper side grows.
  return tf.maximum(1.0 + sign * 0.9 * level, 0.1)


def _posterize_bits(level):
  # AutoAugment's range is 8 .. 4 bits; it does not go on beyond level 1.
  return 8 - round(4 * min(level, 1.0))


def _solarize_threshold(level):
  return round(256 * (1.0 - min(level, 1.0)))


# Name -> f(image, level, sign), level a Python float, sign a float32 scalar.
OPERATIONS = {
  "AutoContrast": lambda image, level, sign: autocontrast(image),
  "Equalize": lambda image, level, sign: equalize(image),
  "Invert": lambda image, level, sign: invert(image),
  "Rotate": lambda image, level, sign: rotate(image, sign * 30.0 * level),
  "Posterize": lambda image, level, sign: posterize(
    image, _posterize_bits(level)
  ),
  "Solarize": lambda image, level, sign: solarize(
    image, _solarize_threshold(level)
  ),
  "Color": lambda image, level, sign: color(image, _enhancement(level, sign)),
  "Contrast": lambda image, level, sign: contrast(
    image, _enhancement(level, sign)
  ),
  "Brightness": lambda image, level, sign: brightness(
    image, _enhancement(level, sign)
  ),
  "Sharpness": lambda image, level, sign: sharpness(
    image, _enhancement(level, sign)
  ),
  "ShearX": lambda image, level, sign: shear_x(image, sign * 0.3 * level),
  "ShearY": lambda image, level, sign: shear_y(image, sign * 0.3 * level),
  # AutoAugment moved by up to 150 of 331 pixels.
  "TranslateX": lambda image, level, sign: translate_x(
    image, sign * (150 / 331) * level
  ),
  "TranslateY": lambda image, level, sign: translate_y(
    image, sign * (150 / 331) * level
  ),
}


def randaugment(image, seed, num_layers: int, magnitude: float):
  """Applies `num_layers` random operations at strength `magnitude`.

  Args:
    image: [H, W, 3] uint8.
    seed: [2] integers; the result is a pure function of (image, seed).
    num_layers: operations in a row, drawn with replacement.
    magnitude: strength, 0 to 30, the same for every operation; see the module's
      docstring for its scale.

  Returns:
    The augmented image, shape and dtype kept.
  """
  shape = image.shape
  level = magnitude / MAX_LEVEL
  draws = tf.random.stateless_uniform([num_layers, 2], seed, alg="philox")
  chosen = tf.cast(draws[:, 0] * len(OPERATIONS), tf.int32)
  signs = tf.where(draws[:, 1] < 0.5, -1.0, 1.0)
  for layer in range(num_layers):
    sign = signs[layer]
    image = tf.switch_case(
      chosen[layer],
      [
        # Defaults bind now; a closure would see the last image.
        lambda apply=apply, image=image, sign=sign: apply(image, level, sign)
        for apply in OPERATIONS.values()
      ],
    )
    image.set_shape(shape)
  return image
