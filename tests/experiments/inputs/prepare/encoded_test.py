"""The images' bytes: checked, stored as they are, or encoded anew."""

import io

import numpy as np
from PIL import Image, ImageOps
import pytest

pytest.importorskip("tensorflow_datasets")

from experiments.inputs.prepare import encoded  # noqa: E402

AS_IS = encoded.Options()


def opened(data):
  return Image.open(io.BytesIO(data))


def pixels(data):
  return np.asarray(opened(data).convert("RGB"), int)


@pytest.mark.parametrize(
  ("damage", "message"),
  [
    (lambda data: b"", "2.jpg' is an empty file"),
    (lambda data: b"<html>", "2.jpg' is no JPEG, .* bytes 3c 68 74 6d"),
    (lambda data: data[: len(data) // 2], "2.jpg' is damaged: "),
  ],
)
def test_broken_files_are_named(tmp_path, save_jpeg, damage, message):
  path = save_jpeg(tmp_path / "2.jpg")
  path.write_bytes(damage(path.read_bytes()))
  with pytest.raises(encoded.UnreadableError, match=message):
    encoded.read(str(path), AS_IS)


@pytest.mark.parametrize("form", ["PNG", "WEBP", "BMP", "GIF"])
def test_broken_files_of_other_formats_are_named(tmp_path, form):
  path = tmp_path / "2.jpg"
  noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
  Image.fromarray(noise).save(path, form)
  path.write_bytes(path.read_bytes()[:200])
  with pytest.raises(encoded.UnreadableError, match="2.jpg' is damaged: "):
    encoded.read(str(path), AS_IS)


def test_a_file_that_does_not_open_is_named(tmp_path):
  with pytest.raises(encoded.UnreadableError, match="cannot be read: No such"):
    encoded.read(str(tmp_path / "gone.jpg"), AS_IS)


def test_without_verify_only_the_beginning_is_looked_at(tmp_path, save_jpeg):
  path = save_jpeg(tmp_path / "2.jpg")
  path.write_bytes(path.read_bytes()[:200])
  unverified = encoded.Options(verify=False)
  assert encoded.read(str(path), unverified) == (path.read_bytes(), ())
  # What is to be made smaller is decoded in any case.
  with pytest.raises(encoded.UnreadableError, match="2.jpg' is damaged"):
    encoded.read(str(path), unverified._replace(shorter_side=4))


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_what_training_decodes_is_stored_byte_for_byte(tmp_path, form):
  path = tmp_path / "0.gif"  # the bytes tell, not the name
  Image.new("RGB", (5, 4), (10, 20, 30)).save(path, form)
  assert encoded.read(str(path), AS_IS) == (path.read_bytes(), ())


@pytest.mark.parametrize("form", ["WebP", "BMP", "GIF"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_other_formats_become_pngs_without_loss(tmp_path, form, mode):
  path = tmp_path / "0.jpg"
  noise = np.random.default_rng(0).integers(0, 256, (6, 7, 3), np.uint8)
  image = Image.fromarray(noise).convert(mode)
  options = {"lossless": True} if form == "WebP" else {}
  image.save(path, form, **options)
  data, notes = encoded.read(str(path), AS_IS)
  assert opened(data).format == "PNG" and opened(data).mode == "RGB"
  np.testing.assert_array_equal(pixels(data), pixels(path.read_bytes()))
  assert pixels(data).std() > 0
  assert notes == (f"{form}s, stored as PNGs",)


def test_of_an_animation_the_first_frame_is_taken(tmp_path):
  frames = [Image.new("RGB", (5, 4), (c, 0, 0)) for c in (200, 50)]
  for form in ("GIF", "WEBP"):
    path = tmp_path / form
    frames[0].save(path, form, save_all=True, append_images=frames[1:])
    found = pixels(encoded.read(str(path), AS_IS).data)
    assert found.shape == (4, 5, 3)
    assert abs(found[..., 0] - 200).max() < 8


def oriented(path, orientation, form="JPEG"):
  """Three coloured fields on grey, with EXIF's tag."""
  values = np.full((32, 48, 3), 128, np.uint8)
  values[:16, :16], values[:16, 16:32] = (255, 0, 0), (0, 255, 0)
  values[16:, :16] = (0, 0, 255)
  exif = Image.Exif()
  exif[0x0112] = orientation
  Image.fromarray(values).save(path, form, exif=exif, quality=95)
  return path


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WebP"])
def test_images_are_turned_as_viewers_do(tmp_path, orientation, form):
  path = oriented(tmp_path / "0.jpg", orientation, form)
  options = AS_IS._replace(apply_orientation=True, quality=95)
  data, notes = encoded.read(str(path), options)
  expected = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
  assert opened(data).size == expected.size
  assert (
    np.abs(pixels(data) - np.asarray(expected, int)).mean() < 5
  )  # a wrong turn: 50
  turned = any("turned" in note for note in notes)
  assert turned == (orientation > 1)
  if orientation == 1 and form != "WebP":
    assert data == path.read_bytes()
  elif form == "JPEG":
    assert opened(data).format == "JPEG"
  assert opened(data).getexif().get(0x0112, 1) == 1  # not turned again


def test_an_orientation_that_is_not_applied_is_told(tmp_path):
  path = oriented(tmp_path / "0.jpg", 6)
  data, notes = encoded.read(str(path), AS_IS)
  assert data == path.read_bytes()
  assert len(notes) == 1 and "--apply_orientation" in notes[0]
  assert encoded.read(str(oriented(path, 1)), AS_IS).notes == ()


def test_a_turned_image_is_encoded_once(tmp_path):
  path = oriented(tmp_path / "0.jpg", 6)
  options = encoded.Options(shorter_side=16, apply_orientation=True)
  data, notes = encoded.read(str(path), options)
  assert opened(data).size == (16, 24)
  assert len(notes) == 2
  np.testing.assert_allclose(pixels(data)[1, -2], [255, 0, 0], atol=30)


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
  found = opened(encoded.read(str(path), AS_IS._replace(shorter_side=60)).data)
  assert (found.size, found.format) == (size, "JPEG")
  # Pillow's kernel of the same name, of the same radius.
  expected = Image.open(path).resize(size, Image.Resampling.LANCZOS)
  difference = np.asarray(found, int) - np.asarray(expected, int)
  assert np.abs(difference).mean() < 2.5


def test_images_that_are_no_larger_stay_as_they_are(tmp_path):
  path = smooth_jpeg(tmp_path / "0.jpg", 60, 90)
  found = encoded.read(str(path), AS_IS._replace(shorter_side=60))
  assert found == (path.read_bytes(), ())


def test_jpeg_quality_is_that_of_smaller_images(tmp_path, save_jpeg):
  path = str(save_jpeg(tmp_path / "0.jpg"))
  low, high = (
    len(encoded.read(path, options).data)
    for options in (
      encoded.Options(shorter_side=7, quality=30),
      encoded.Options(shorter_side=7, quality=95),
    )
  )
  assert low < high
