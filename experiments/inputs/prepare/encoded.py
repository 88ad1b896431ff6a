"""An image's bytes: stored as they are where training decodes them, or anew."""

from __future__ import annotations

import io
from typing import NamedTuple
import warnings

import numpy as np

from experiments.inputs.tfrecords import records

_BEGINNINGS = {
  b"\xff\xd8\xff": "JPEG",
  b"\x89PNG\r\n\x1a\n": "PNG",
  b"BM": "BMP",
  b"GIF8": "GIF",
}
_ORIENTATION = 0x0112  # EXIF's tag


class UnreadableError(ValueError):
  """An image that cannot be read, with its path and what is wrong with it."""


class Options(NamedTuple):
  """How images are read and stored.

  Attributes:
    verify: whether to decode an image that is stored as it is, which finds
      truncated files.
    shorter_side: of images made smaller, in pixels; 0: none are.
    quality: of the JPEGs that are encoded anew, 1 .. 100.
    apply_orientation: whether to turn pixels as EXIF's tag says.
  """

  verify: bool = True
  shorter_side: int = 0
  quality: int = 90
  apply_orientation: bool = False


class Encoded(NamedTuple):
  """An image's bytes, and what was done or seen, for the count of it."""

  data: bytes
  notes: tuple[str, ...] = ()


def check_pillow() -> None:
  """Refuses to begin without what formats and orientations are read with.

  Raises:
    ImportError: with what to install.
  """
  try:
    import PIL.Image  # noqa: F401
  except ImportError as error:
    raise ImportError(
      f"Preparing images needs Pillow, and it is missing ({error}). Install it"
      " in the checkout: pip install -e '.[tfds]'"
    ) from None


def read(path: str, options: Options) -> Encoded:
  """Returns the file's image, a JPEG or a PNG.

  What a file is, its first bytes say, not its name (ImageNet's
  n02105855_2933.JPEG is a PNG). JPEGs and PNGs are stored byte for byte; WebP,
  BMP and a GIF's first frame become PNGs, without loss. Transparency is left
  out. An image that is turned or made smaller (by Lanczos's kernel of radius 3,
  with antialiasing) becomes a JPEG; if it is turned only, a PNG stays one.

  Args:
    path: of the file.
    options: what to do with it.

  Raises:
    UnreadableError: if the bytes are no such image, or cannot be decoded.
  """
  try:
    with open(path, "rb") as file:
      data = file.read()
  except OSError as error:
    raise UnreadableError(
      f"{path!r} cannot be read: {error.strerror}. Make it readable, or move it"
      " out of the folder."
    ) from error
  kind = _kind(data, path)
  turn = _orientation(data)
  notes = []
  if turn != 1:
    notes.append(
      "turned as their EXIF orientation says"
      if options.apply_orientation
      else "with an EXIF orientation, which training does not look at (turn"
      " them with --apply_orientation)"
    )
  turns = options.apply_orientation and turn != 1
  kept = kind in ("JPEG", "PNG")
  if kept and not (options.verify or options.shorter_side or turns):
    return Encoded(data, tuple(notes))
  pixels = _decode(data, kind, path)
  if turns:
    pixels = turned(pixels, turn)
  smaller = 0 < options.shorter_side < min(pixels.shape[:2])
  if smaller:
    pixels = _smaller(pixels, options.shorter_side)
    notes.append("made smaller, as JPEGs")
  if smaller or turns and kind == "JPEG":
    return Encoded(_jpeg(pixels, options.quality), tuple(notes))
  if kept and not turns:
    return Encoded(data, tuple(notes))
  if not kept:
    notes.append(f"{kind}s, stored as PNGs")
  return Encoded(_png(pixels), tuple(notes))


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
  """Returns the image as a viewer shows it that knows EXIF's orientations.

  Args:
    pixels: [H, W, C] as stored.
    orientation: 1 .. 8; from 5 on height and width change places.
  """
  if orientation >= 5:
    pixels = np.swapaxes(pixels, 0, 1)
  if orientation in (3, 4, 7, 8):
    pixels = pixels[::-1]
  if orientation in (2, 3, 6, 7):
    pixels = pixels[:, ::-1]
  return np.ascontiguousarray(pixels)


def _kind(data: bytes, path: str) -> str:
  for beginning, kind in _BEGINNINGS.items():
    if data.startswith(beginning):
      return kind
  if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
    return "WebP"
  raise UnreadableError(
    f"{path!r} is no JPEG, PNG, WebP, BMP or GIF: it begins with the bytes"
    f" {data[:4].hex(' ')}. Download it again, convert it, or move it out of"
    " the folder."
    if data
    else f"{path!r} is an empty file. Download it again, or move it out of the"
    " folder."
  )


def _orientation(data: bytes) -> int:
  """EXIF's orientation, 1 .. 8; 1, which is upright, if there is none."""
  # Opening each image would cost more than this look at its bytes.
  if not any(mark in data for mark in (b"Exif", b"eXIf", b"EXIF")):
    return 1
  try:
    with _opened(data) as image:
      found = image.getexif().get(_ORIENTATION, 1)
  except Exception:  # whatever Pillow raises: a tag that nobody can read
    return 1
  return found if found in range(1, 9) else 1


def _opened(data: bytes):
  from PIL import Image

  with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    return Image.open(io.BytesIO(data))


def _decode(data: bytes, kind: str, path: str) -> np.ndarray:
  """Returns [H, W, 3] uint8."""
  try:
    if kind in ("JPEG", "PNG"):
      return _as_training_does(data)
    with _opened(data) as image:
      if "transparency" in image.info:
        image = image.convert("RGBA")
      return np.asarray(image.convert("RGB"))
  except Exception as error:  # Pillow's are of many kinds
    reason = getattr(error, "message", str(error)).split("[Op:")[0].strip()
    raise UnreadableError(
      f"{path!r} is damaged: {reason}. Download it again, or move it out of the"
      " folder."
    ) from error


def _as_training_does(data: bytes) -> np.ndarray:
  tf, _ = records.import_tensorflow()
  return tf.io.decode_image(data, channels=3, expand_animations=False).numpy()


def _smaller(pixels: np.ndarray, shorter_side: int) -> np.ndarray:
  """The longer side is rounded to the nearest pixel."""
  tf, _ = records.import_tensorflow()
  shape = np.array(pixels.shape[:2])
  shape = np.rint(shape * shorter_side / shape.min()).astype(int)
  resized = tf.image.resize(
    pixels, shape, method=tf.image.ResizeMethod.LANCZOS3, antialias=True
  )
  return tf.saturate_cast(tf.round(resized), tf.uint8).numpy()


def _jpeg(pixels: np.ndarray, quality: int) -> bytes:
  tf, _ = records.import_tensorflow()
  return tf.io.encode_jpeg(pixels, quality=quality).numpy()


def _png(pixels: np.ndarray) -> bytes:
  tf, _ = records.import_tensorflow()
  return tf.io.encode_png(pixels).numpy()
