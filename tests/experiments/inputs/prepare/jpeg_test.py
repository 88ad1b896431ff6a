"""The images' bytes: checked, and made smaller where that is asked for."""

import io

import numpy as np
from PIL import Image
import pytest

pytest.importorskip("tensorflow_datasets")

from experiments.inputs.prepare import jpeg  # noqa: E402


@pytest.mark.parametrize(
  ("damage", "message"),
  [
    (lambda data: b"", "2.jpg' is not a JPEG: .*an empty file"),
    (lambda data: b"<html>", "2.jpg' is not a JPEG: .*got 3c 68 74"),
    (lambda data: data[: len(data) // 2], "2.jpg' is damaged: "),
  ],
)
def test_broken_files_are_named(tmp_path, save_jpeg, damage, message):
  path = save_jpeg(tmp_path / "2.jpg")
  path.write_bytes(damage(path.read_bytes()))
  with pytest.raises(ValueError, match=message):
    jpeg.read_jpeg(str(path), verify=True)


def test_without_verify_only_the_beginning_is_looked_at(tmp_path, save_jpeg):
  path = save_jpeg(tmp_path / "2.jpg")
  path.write_bytes(path.read_bytes()[:200])
  assert jpeg.read_jpeg(str(path), verify=False) == path.read_bytes()
  # What is to be made smaller is decoded in any case.
  with pytest.raises(ValueError, match="2.jpg' is damaged"):
    jpeg.read_smaller(str(path), 4, 90)


def smooth_jpeg(path, height, width):
  """Waves that survive both a resize and a JPEG."""
  y, x = np.mgrid[:height, :width] / 40
  waves = np.stack([np.sin(x), np.cos(y), np.sin(x + y)], axis=-1)
  Image.fromarray(np.uint8(127 + 100 * waves)).save(path, "JPEG", quality=95)
  return path


@pytest.mark.parametrize(
  ("shape", "size"), [((200, 301), (90, 60)), ((500, 100), (60, 300))]
)
def test_larger_images_are_made_smaller(tmp_path, shape, size):
  path = smooth_jpeg(tmp_path / "0.jpg", *shape)
  found = Image.open(io.BytesIO(jpeg.read_smaller(str(path), 60, 90)))
  assert found.size == size
  # Pillow's kernel of the same name, of the same radius.
  expected = Image.open(path).resize(size, Image.Resampling.LANCZOS)
  difference = np.asarray(found, int) - np.asarray(expected, int)
  assert np.abs(difference).mean() < 2.5


def test_images_that_are_no_larger_stay_as_they_are(tmp_path):
  path = smooth_jpeg(tmp_path / "0.jpg", 60, 90)
  assert jpeg.read_smaller(str(path), 60, 90) == path.read_bytes()


def test_jpeg_quality_is_that_of_smaller_images(tmp_path, save_jpeg):
  path = str(save_jpeg(tmp_path / "0.jpg"))
  sizes = [len(jpeg.read_smaller(path, 7, quality)) for quality in (30, 95)]
  assert sizes[0] < sizes[1]
