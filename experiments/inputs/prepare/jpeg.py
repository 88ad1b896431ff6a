"""The images' bytes: checked, and made smaller where that is asked for."""

from __future__ import annotations

import numpy as np

from experiments.inputs.tfrecords import records


def read_jpeg(path: str, *, verify: bool, flag: str = "folder") -> bytes:
  """Returns the file's bytes once sure that they are a JPEG.

  A PNG under a JPEG's name (ImageNet's n02105855_2933.JPEG is one) is accepted:
  training decodes it, if more slowly.

  Args:
    path: of the file.
    verify: whether to decode the image, which finds truncated files.
    flag: that named the folder, for the errors.

  Raises:
    ValueError: if the bytes are not a JPEG, or cannot be decoded; the message
      names the file.
  """
  with open(path, "rb") as file:
    data = file.read()
  if not data.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")):
    raise ValueError(
      f"{flag}: {path!r} is not a JPEG: expected it to begin with the bytes"
      f" ff d8 ff, got {data[:3].hex(' ') or 'an empty file'}. Download it"
      " again, convert it, or move it out of the folder."
    )
  if verify:
    _decode(data, path, flag)
  return data


def read_smaller(path: str, shorter_side: int, quality: int) -> bytes:
  """Returns the file's image as a JPEG whose shorter side is `shorter_side`.

  Resized with Lanczos's kernel of radius 3 and antialiasing. The bytes of an
  image that is no larger are returned as they are.

  Args:
    path: of the file.
    shorter_side: in pixels; the longer side is rounded to the nearest pixel.
    quality: of the JPEG, 1 .. 100.

  Raises:
    ValueError: as `read_jpeg`, which decodes an image to verify it.
  """
  tf, _ = records.import_tensorflow()
  data = read_jpeg(path, verify=False)
  image = _decode(data, path, "folder")
  shape = np.array(image.shape[:2])
  if shape.min() <= shorter_side:
    return data
  shape = np.rint(shape * shorter_side / shape.min()).astype(int)
  image = tf.image.resize(
    image, shape, method=tf.image.ResizeMethod.LANCZOS3, antialias=True
  )
  image = tf.saturate_cast(tf.round(image), tf.uint8)
  return tf.io.encode_jpeg(image, quality=quality).numpy()


def _decode(data: bytes, path: str, flag: str):
  """Returns the image of a file's bytes; an error names the file."""
  tf, _ = records.import_tensorflow()
  try:
    return tf.io.decode_image(data, channels=3, expand_animations=False)
  except tf.errors.InvalidArgumentError as error:
    reason = error.message.split("[Op:")[0].strip()
    raise ValueError(
      f"{flag}: {path!r} is damaged: {reason}. Download it again, or move"
      " it out of the folder."
    ) from error
