import math

import numpy as np
from PIL import Image, ImageEnhance, ImageOps
import pytest

tf = pytest.importorskip("tensorflow")

from experiments.inputs.tfrecords import randaugment  # noqa: E402


def random_image(height=31, width=23, seed=0):
  rng = np.random.default_rng(seed)
  # Channels of different ranges, so that mixing them up shows.
  low = np.array([10, 60, 0])
  high = np.array([200, 180, 256])
  return rng.integers(low, high, (height, width, 3)).astype(np.uint8)


def assert_close(actual, expected, tolerance=1):
  """Within one grey level: Pillow truncates where these ops round."""
  difference = np.abs(np.asarray(actual, int) - np.asarray(expected, int))
  assert difference.max() <= tolerance, difference.max()


@pytest.mark.parametrize("factor", [0.0, 0.1, 0.7, 1.0, 1.9, 2.8])
@pytest.mark.parametrize(
  "name", ["color", "contrast", "brightness", "sharpness"]
)
def test_enhancements_are_pillows(name, factor):
  image = random_image()
  enhance = getattr(ImageEnhance, name.capitalize())
  expected = enhance(Image.fromarray(image)).enhance(factor)
  # A degenerate image off by one is scaled by |1 - factor|.
  tolerance = 1 + math.ceil(abs(1 - factor))
  assert_close(getattr(randaugment, name)(image, factor), expected, tolerance)


def test_blend_by_hand():
  image = np.array([[[100, 200, 50]]], np.uint8)
  other = tf.constant([[[50.0, 100.0, 200.0]]])
  np.testing.assert_array_equal(
    randaugment.blend(image, other, 1.5), [[[125, 250, 0]]]
  )


@pytest.mark.parametrize("shape", [(1, 1), (2, 5), (3, 3)])
def test_sharpness_keeps_the_border(shape):
  image = random_image(*shape)
  sharp = randaugment.sharpness(image, 0.0).numpy()
  border = np.ones(shape, bool)
  border[1:-1, 1:-1] = False
  np.testing.assert_array_equal(sharp[border], image[border])


@pytest.mark.parametrize("name", ["autocontrast", "equalize"])
def test_histogram_operations_are_pillows(name):
  image = random_image(64, 64)
  expected = getattr(ImageOps, name)(Image.fromarray(image))
  assert_close(getattr(randaugment, name)(image), expected)


@pytest.mark.parametrize("name", ["autocontrast", "equalize"])
def test_histogram_operations_keep_a_flat_channel(name):
  image = random_image(64, 64)
  image[..., 1] = 77
  changed = getattr(randaugment, name)(image).numpy()
  np.testing.assert_array_equal(changed[..., 1], 77)
  assert (changed[..., 0] != image[..., 0]).any()


def test_equalize_by_hand():
  # 256 + 256 pixels at 3 and 9: step (512 - 256) // 255 = 1; table 3 -> 0,
  # 9 -> 256, at most 255.
  image = np.full((32, 16, 3), 3, np.uint8)
  image[16:] = 9
  expected = np.where(image == 3, 0, 255)
  np.testing.assert_array_equal(randaugment.equalize(image), expected)


def test_pointwise_operations_by_hand():
  image = np.array([[[0, 100, 255], [127, 128, 129]]], np.uint8)
  np.testing.assert_array_equal(
    randaugment.invert(image), [[[255, 155, 0], [128, 127, 126]]]
  )
  np.testing.assert_array_equal(
    randaugment.solarize(image, 128), [[[0, 100, 0], [127, 127, 126]]]
  )
  np.testing.assert_array_equal(randaugment.solarize(image, 256), image)
  np.testing.assert_array_equal(randaugment.solarize(image, 0), 255 - image)
  np.testing.assert_array_equal(
    randaugment.posterize(image, 2), [[[0, 64, 192], [64, 128, 128]]]
  )
  np.testing.assert_array_equal(randaugment.posterize(image, 8), image)


def bilinear_affine(image, inverse, fill):
  """Output (x, y) is input inverse @ (x, y, 1), about the centre; loops."""
  height, width, _ = image.shape
  centre = np.array([(width - 1) / 2, (height - 1) / 2])
  padded = np.full((height + 2, width + 2, 3), fill, float)
  padded[1:-1, 1:-1] = image
  result = np.full(image.shape, fill, float)
  for y in range(height):
    for x in range(width):
      offset = np.array([x, y]) - centre
      u, v = inverse @ [*offset, 1.0] + centre
      if -1 <= u < width and -1 <= v < height:
        i, j = math.floor(v), math.floor(u)
        a, b = v - i, u - j
        i, j = i + 1, j + 1  # of the padded image
        result[y, x] = (1 - a) * (
          (1 - b) * padded[i, j] + b * padded[i, j + 1]
        ) + a * ((1 - b) * padded[i + 1, j] + b * padded[i + 1, j + 1])
  return result


@pytest.mark.parametrize(
  ("name", "argument", "inverse"),
  [
    ("rotate", 30.0, [[0.75**0.5, -0.5, 0], [0.5, 0.75**0.5, 0]]),
    ("shear_x", 0.3, [[1, 0.3, 0], [0, 1, 0]]),
    ("shear_y", -0.2, [[1, 0, 0], [-0.2, 1, 0]]),
    ("translate_x", 0.25, [[1, 0, 0.25 * 16], [0, 1, 0]]),
    ("translate_y", -0.13, [[1, 0, 0], [0, 1, -0.13 * 20]]),
  ],
)
def test_geometric_operations_against_loops(name, argument, inverse):
  image = random_image(20, 16)
  actual = getattr(randaugment, name)(image, argument)
  assert_close(actual, bilinear_affine(image, np.array(inverse), 128))


def test_translate_moves_left_and_up_and_fills():
  image = random_image(10, 10)
  expected = np.full_like(image, 128)
  expected[:, :8] = image[:, 2:]
  np.testing.assert_array_equal(randaugment.translate_x(image, 0.2), expected)
  expected = np.full_like(image, 128)
  expected[:7] = image[3:]
  np.testing.assert_array_equal(randaugment.translate_y(image, 0.3), expected)


def test_rotate_is_counter_clockwise():
  image = random_image(9, 9)
  assert_close(randaugment.rotate(image, 90.0), np.rot90(image))


WITHOUT_STRENGTH = ("AutoContrast", "Equalize", "Invert")


@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("name", list(randaugment.PAPER_OPERATIONS))
def test_the_papers_level_zero_is_the_identity(name, sign):
  image = random_image()
  changed = randaugment.PAPER_OPERATIONS[name](image, 0.0, tf.constant(sign))
  same = (np.asarray(changed) == image).all()
  assert same == (name not in WITHOUT_STRENGTH)


@pytest.mark.parametrize(
  ("name", "expected"),
  [
    ("Rotate", lambda x: randaugment.rotate(x, 45.0)),
    ("Posterize", lambda x: randaugment.posterize(x, 4)),
    ("Solarize", lambda x: randaugment.solarize(x, 0)),
    ("Color", lambda x: randaugment.color(x, 2.35)),
    ("Contrast", lambda x: randaugment.contrast(x, 2.35)),
    ("Brightness", lambda x: randaugment.brightness(x, 2.35)),
    ("Sharpness", lambda x: randaugment.sharpness(x, 2.35)),
    ("ShearX", lambda x: randaugment.shear_x(x, 0.45)),
    ("ShearY", lambda x: randaugment.shear_y(x, 0.45)),
    ("TranslateX", lambda x: randaugment.translate_x(x, 225 / 331)),
    ("TranslateY", lambda x: randaugment.translate_y(x, 225 / 331)),
  ],
)
def test_the_papers_strength_at_magnitude_15(name, expected):
  image = random_image()
  actual = randaugment.PAPER_OPERATIONS[name](image, 1.5, tf.constant(1.0))
  assert_close(actual, expected(image))


def test_the_papers_enhancement_does_not_fall_below_a_tenth():
  image = random_image()
  actual = randaugment.PAPER_OPERATIONS["Color"](image, 1.5, tf.constant(-1.0))
  assert_close(actual, randaugment.color(image, 0.1))


@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize(
  ("name", "expected"),
  [
    ("Rotate", lambda x, sign: randaugment.rotate(x, sign * 45.0)),
    ("Posterize", lambda x, sign: randaugment.posterize(x, 6)),
    ("Solarize", lambda x, sign: randaugment.solarize(x, 128)),
    ("Color", lambda x, sign: randaugment.color(x, 2.8)),
    ("Contrast", lambda x, sign: randaugment.contrast(x, 2.8)),
    ("Brightness", lambda x, sign: randaugment.brightness(x, 2.8)),
    ("Sharpness", lambda x, sign: randaugment.sharpness(x, 2.8)),
    ("ShearX", lambda x, sign: randaugment.shear_x(x, sign * 0.45)),
    ("ShearY", lambda x, sign: randaugment.shear_y(x, sign * 0.45)),
    (
      "TranslateX",
      lambda x, sign: randaugment.translate_x(x, sign * 150 / 224),
    ),
    (
      "TranslateY",
      lambda x, sign: randaugment.translate_y(x, sign * 150 / 224),
    ),
  ],
)
def test_the_released_codes_strength_at_magnitude_15(name, sign, expected):
  image = random_image()
  actual = randaugment.OPERATIONS[name](image, 1.5, tf.constant(sign))
  assert_close(actual, expected(image, sign))


@pytest.mark.parametrize("magnitude", [0, 1, 5, 9, 10, 12, 15, 20, 25, 30])
def test_released_strengths_are_what_tensorflow_makes_of_its_code(magnitude):
  """Its arguments, which leave uint8, as TensorFlow casts and shifts."""
  image, level = tf.constant(random_image()), magnitude / 10
  with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    values = tf.constant(image.numpy())
    below = values < int(level * 256)
    shift = tf.constant((8 - int(level * 4)) % 256, tf.uint8)
    kept = tf.bitwise.right_shift(values, shift)
    kept = tf.bitwise.left_shift(kept, shift)
    below, kept = session.run((below, kept))
  operations, sign = randaugment.OPERATIONS, tf.constant(1.0)
  np.testing.assert_array_equal(
    operations["Solarize"](image, level, sign),
    np.where(below, image, 255 - image.numpy()),
  )
  np.testing.assert_array_equal(
    operations["Posterize"](image, level, sign), kept
  )


def test_at_2_15_one_operation_in_fourteen_inverts_whole_images():
  """At the released strengths; of the paper's two do, in 26.5 % of pairs."""
  image, sign = random_image(), tf.constant(1.0)
  inverting = lambda operations: [
    name
    for name, apply in operations.items()
    if np.array_equal(apply(image, 1.5, sign), 255 - image)
  ]
  assert inverting(randaugment.OPERATIONS) == ["Invert"]
  assert inverting(randaugment.PAPER_OPERATIONS) == ["Invert", "Solarize"]
  assert 1 - (12 / 14) ** 2 == pytest.approx(0.265, abs=5e-4)


def test_strengths_are_taken_by_name():
  """The same operations are drawn; Solarize alone differs at a grey level."""
  image = np.full((8, 8, 3), 50, np.uint8)

  @tf.function
  def results(seed):
    draw = lambda name: randaugment.randaugment(image, seed, 1, 15, name)
    return draw("reference"), draw("paper")

  pairs = [results(tf.constant([i, 0])) for i in range(60)]
  differ = [not np.array_equal(*pair) for pair in pairs]
  assert 0 < sum(differ) < len(pairs)


def test_result_is_a_function_of_the_seed():
  image = random_image(16, 16)
  apply = tf.function(lambda seed: randaugment.randaugment(image, seed, 2, 9))
  results = [apply(tf.constant([1, i])).numpy() for i in range(8)]
  np.testing.assert_array_equal(apply(tf.constant([1, 3])), results[3])
  assert len({result.tobytes() for result in results}) > 4
  assert results[0].shape == image.shape
  assert results[0].dtype == np.uint8


def test_every_operation_is_drawn_equally_often(monkeypatch):
  # Operation i adds 14^layer (i + 1) to a blank image, so the pixel tells
  # which were drawn; and the sign of the last is in the other channel.
  count = len(randaugment.OPERATIONS)
  fakes = {
    str(i): lambda image, level, sign, i=i: tf.stack(
      [
        image[..., 0] * 15 + i + 1,
        tf.cast((sign + 1) / 2, tf.uint8) * tf.ones([1, 1], tf.uint8),
        image[..., 2],
      ],
      axis=-1,
    )
    for i in range(count)
  }
  monkeypatch.setattr(randaugment, "OPERATIONS", fakes)
  image = tf.zeros([1, 1, 3], tf.uint8)
  num = 4000

  def draw(i):
    return randaugment.randaugment(image, tf.stack([i, 7]), 2, 15)[0, 0]

  @tf.function
  def draw_all():
    return tf.map_fn(draw, tf.range(num), fn_output_signature=tf.uint8)

  drawn = draw_all().numpy()
  first, second = np.divmod(drawn[:, 0].astype(int), 15)
  sizes = np.zeros((count, count))
  np.add.at(sizes, (first - 1, second - 1), 1)
  # 4.5 standard errors of a binomial share.
  error = 4.5 * math.sqrt(num / count)
  assert np.abs(sizes.sum(0) - num / count).max() < error
  assert np.abs(sizes.sum(1) - num / count).max() < error
  assert (sizes > 0).all()  # layers are drawn independently
  assert abs(drawn[:, 1].sum() - num / 2) < 4.5 * math.sqrt(num) / 2
