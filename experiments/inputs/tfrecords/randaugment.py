"""RandAugment as stateless TensorFlow ops (Cubuk et al., 2020).

https://arxiv.org/abs/1909.13719. `num_layers` times, one operation is drawn
uniformly from `OPERATIONS` and applied at the strength `magnitude`.

Conventions, where published code disagrees:

- The list is that of the authors' released code without its two later
  additions (Cutout, SolarizeAdd): fourteen operations, with Invert where the
  paper's own list has Identity.
- `magnitude` is on the paper's scale, 0 to 30, in units in which 10 is the end
  of AutoAugment's ranges (the released code's maximum level of 10). The "2,15"
  of the EfficientNet, CoAtNet and MaxViT recipes is in these units: it rotates
  by 45 degrees.
- Strengths are by default those that the released code of these recipes
  (tensorflow/tpu, models/official/efficientnet/autoaugment.py) effectively
  has, as the recipes were tuned with them. At 15: Solarize inverts pixels from
  128 on (its threshold, 384, is cast to uint8), Posterize keeps 6 bits, and
  the enhancing operations have the factor 2.8, whatever the sign. These do not
  grow with magnitude: at 0 they are as strong as they get, and Solarize is
  Invert again at 10, 20 and 30.
- "paper" has the letter of the paper, which lets every strength grow with
  magnitude from nothing at 0: at 15 Solarize inverts all pixels, so that with
  Invert 26.5 % of images of "2,15" see a whole inversion, and Posterize keeps 4
  bits, the ends of AutoAugment's ranges; an enhancing operation's sign is drawn
  as geometric ones' are, of the factor 2.35 or 0.1.
- AutoContrast, Equalize and Invert have no strength.

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
def _reference_enhancement(level, sign):
  del sign  # above 1 or below, as the level has it
  return 1.8 * level + 0.1


def _reference_bits(level):
  # A shift by int(4 level) bits less than 8, as uint8; TensorFlow shifts by 7
  # bits at most, so that one is left.
  return 8 - min((8 - int(4 * level)) % 256, 7)


def _reference_threshold(level):
  return int(256 * level) % 256


def _paper_enhancement(level, sign):
  # AutoAugment's range is 0.1 .. 1.9; beyond level 1 only the upper side grows.
  return tf.maximum(1.0 + sign * 0.9 * level, 0.1)


def _paper_bits(level):
  # AutoAugment's range is 8 .. 4 bits; it does not go on beyond level 1.
  return 8 - round(4 * min(level, 1.0))


def _paper_threshold(level):
  return round(256 * (1.0 - min(level, 1.0)))


def _operations(factor, bits, threshold, farthest):
  """Name -> f(image, level, sign), level a Python float, sign a scalar.

  Args:
    factor: (level, sign) -> of the enhancing operations.
    bits: level -> kept by Posterize.
    threshold: level -> of Solarize.
    farthest: fraction of the image that Translate moves at level 1.
  """

  def enhancing(enhance):
    return lambda image, level, sign: enhance(image, factor(level, sign))

  def moving(move, end):
    return lambda image, level, sign: move(image, sign * end * level)

  return {
    "AutoContrast": lambda image, level, sign: autocontrast(image),
    "Equalize": lambda image, level, sign: equalize(image),
    "Invert": lambda image, level, sign: invert(image),
    "Rotate": moving(rotate, 30.0),
    "Posterize": lambda image, level, sign: posterize(image, bits(level)),
    "Solarize": lambda image, level, sign: solarize(image, threshold(level)),
    "Color": enhancing(color),
    "Contrast": enhancing(contrast),
    "Brightness": enhancing(brightness),
    "Sharpness": enhancing(sharpness),
    "ShearX": moving(shear_x, 0.3),
    "ShearY": moving(shear_y, 0.3),
    "TranslateX": moving(translate_x, farthest),
    "TranslateY": moving(translate_y, farthest),
  }


# The released code moves by up to 100 pixels a level, at 224.
OPERATIONS = _operations(
  _reference_enhancement, _reference_bits, _reference_threshold, 100 / 224
)
# AutoAugment moved by up to 150 of 331 pixels.
PAPER_OPERATIONS = _operations(
  _paper_enhancement, _paper_bits, _paper_threshold, 150 / 331
)


def randaugment(
  image,
  seed,
  num_layers: int,
  magnitude: float,
  strengths: str = "reference",
):
  """Applies `num_layers` random operations at strength `magnitude`.

  Args:
    image: [H, W, 3] uint8.
    seed: [2] integers; the result is a pure function of (image, seed).
    num_layers: operations in a row, drawn with replacement.
    magnitude: strength, 0 to 30, the same for every operation; see the module's
      docstring for its scale.
    strengths: "reference" or "paper", see there.

  Returns:
    The augmented image, shape and dtype kept.
  """
  shape = image.shape
  operations = PAPER_OPERATIONS if strengths == "paper" else OPERATIONS
  level = magnitude / MAX_LEVEL
  draws = tf.random.stateless_uniform([num_layers, 2], seed, alg="philox")
  chosen = tf.cast(draws[:, 0] * len(operations), tf.int32)
  signs = tf.where(draws[:, 1] < 0.5, -1.0, 1.0)
  for layer in range(num_layers):
    sign = signs[layer]
    image = tf.switch_case(
      chosen[layer],
      [
        # Defaults bind now; a closure would see the last image.
        lambda apply=apply, image=image, sign=sign: apply(image, level, sign)
        for apply in operations.values()
      ],
    )
    image.set_shape(shape)
  return image
