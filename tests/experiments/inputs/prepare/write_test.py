"""Folders written as data sets, and read again by tfds."""

import io
import json
import os
import re
import shutil

import numpy as np
from PIL import Image
import pytest

pytest.importorskip("tensorflow_datasets")

from experiments import inputs  # noqa: E402
from experiments.inputs.prepare import examples, write  # noqa: E402
from experiments.inputs.tfrecords import imagenet  # noqa: E402


def test_stores_bytes_and_labels_unchanged(folder, out, stored):
  done = write.prepare(str(folder), str(out), eval_fraction=0.3)
  assert done == {
    "train": 7,
    "validation": 3,
    "classes": 2,
    "path": str(out / "imagenet2012" / "1.0.0"),
  }
  train, validation = stored(out, "train"), stored(out, "validation")
  assert len(train) == 7 and len(validation) == 3
  everything = train | validation
  assert len(everything) == 10
  for name, (data, label) in everything.items():
    assert data == (folder / name).read_bytes()
    assert label == ["cat", "dog"].index(name.partition("/")[0])


def test_what_is_left_out_is_no_class_and_said(folder, out, save_jpeg, capsys):
  save_jpeg(folder / ".ipynb_checkpoints" / "0-checkpoint.jpg")
  done = write.prepare(str(folder), str(out), eval_split="same")
  assert (done["train"], done["classes"]) == (10, 2)
  message = f"Left out in {folder}: 1 .*, 1 .*\n"
  printed = capsys.readouterr().out
  assert re.search(message, printed)
  assert "1 hidden or system" in printed and "1 files named *.txt" in printed
  assert "Images of each class" in printed
  assert "  0 cat: 5 + 5\n  1 dog: 5 + 5\n" in printed


def test_same_split_stores_every_image_twice(folder, out, stored):
  write.prepare(str(folder), str(out), eval_split="same")
  assert stored(out, "train") == stored(out, "validation")
  assert len(stored(out, "train")) == 10


def test_eval_folder(folder, out, tmp_path, save_jpeg, stored):
  save_jpeg(tmp_path / "held_out" / "dog" / "deep" / "x.jpg", seed=99)
  done = write.prepare(
    str(folder), str(out), eval_folder=str(tmp_path / "held_out")
  )
  assert (done["train"], done["validation"]) == (10, 1)
  ((name, (_, label)),) = stored(out, "validation").items()
  assert (name, label) == ("dog/deep/x.jpg", 1)


def test_a_png_named_jpeg_is_read_all_the_same(tmp_path, out):
  # ImageNet has one.
  image = Image.new("RGB", (12, 12), (10, 20, 30))
  for label in "ab":
    (tmp_path / "jpegs" / label).mkdir(parents=True)
    image.save(tmp_path / "jpegs" / label / "0.JPEG", "PNG")
  write.prepare(str(tmp_path / "jpegs"), str(out), eval_split="same")
  config = inputs.defaults()
  config.seed = 0
  config.update(
    dataset="imagenet2012",
    data_dir=str(out),
    batch_size=2,
    eval_batch_size=2,
    image_size=8,
    resize_size=8,
  )
  dataset = imagenet.create(config)
  expected = np.broadcast_to([10, 20, 30], (2, 8, 8, 3))
  np.testing.assert_array_equal(next(dataset.train())["inputs"], expected)
  (batch,) = dataset.evaluate()
  np.testing.assert_array_equal(batch["inputs"], expected)


def test_overwrite(folder, out, save_jpeg, stored):
  write.prepare(str(folder), str(out), eval_split="same")
  with pytest.raises(FileExistsError, match="exists already. Add --overwrite"):
    write.prepare(str(folder), str(out))

  broken = folder / "cat" / "2.JPEG"
  data = broken.read_bytes()
  broken.write_bytes(b"")
  with pytest.raises(ValueError, match="2.JPEG"):
    write.prepare(str(folder), str(out), overwrite=True)
  assert len(stored(out, "train")) == 10, "a failure must keep the old data"

  broken.write_bytes(data)
  save_jpeg(folder / "eel" / "new.jpg")
  done = write.prepare(str(folder), str(out), eval_split="same", overwrite=True)
  assert (done["train"], done["classes"]) == (11, 3)
  assert len(stored(out, "train")) == 11
  assert os.listdir(out / "imagenet2012") == ["1.0.0"]


def test_progress_says_how_long_it_will_take(folder, out, capsys, monkeypatch):
  monkeypatch.setattr(examples, "_SECONDS_UNTIL_PROGRESS", 0.0)
  write.prepare(str(folder), str(out), eval_fraction=0.3)
  printed = capsys.readouterr().out
  assert re.search(r"  7 of 7 images, about 0\.0 minutes left", printed)


def damage(*paths):
  for path in paths:
    path.write_bytes(path.read_bytes()[:200])


@pytest.mark.parametrize("eval_split", ["fraction", "same", "folder"])
def test_all_broken_files_are_listed_and_nothing_is_left(
  folder, out, tmp_path, eval_split
):
  broken = [folder / "cat" / "2.JPEG", folder / "dog" / "3.JPEG"]
  options = dict(eval_split=eval_split, eval_fraction=0.5)
  total = 10
  if eval_split == "folder":
    held_out = shutil.copytree(folder, tmp_path / "held_out")
    options = dict(eval_folder=str(held_out))
    broken.append(held_out / "dog" / "9.JPEG")
    total = 20
  damage(*broken)
  (folder / "cat" / "4.JPEG").write_bytes(b"")
  broken.append(folder / "cat" / "4.JPEG")
  with pytest.raises(ValueError) as error:
    write.prepare(str(folder), str(out), max_unreadable=0.1, **options)
  message = str(error.value)
  assert message.startswith(f"{len(broken)} of {total} images cannot be read:")
  for path in broken:
    assert message.count(f"'{path}'") == 1
  assert "--max_unreadable is 0.1" in message
  assert os.listdir(out) == []


def test_a_few_broken_files_may_be_left_out(folder, out, stored, capsys):
  damage(folder / "cat" / "2.JPEG", folder / "dog" / "3.JPEG")
  options = dict(eval_split="same", max_unreadable=0.2)
  done = write.prepare(str(folder), str(out), **options)
  assert (done["train"], done["validation"]) == (8, 8)
  train = stored(out, "train")
  assert len(train) == 8 and "cat/2.JPEG" not in train
  printed = capsys.readouterr().out
  assert "Left out, unreadable: 2" in printed and "3.JPEG' is dam" in printed
  assert "0 cat: 4 + 4" in printed
  path = out / "imagenet2012" / "1.0.0" / "prepared.json"
  assert list(json.loads(path.read_text())["unreadable"]) == [
    str(folder / "cat" / "2.JPEG"),
    str(folder / "dog" / "3.JPEG"),
  ]


def test_a_class_whose_images_are_all_broken_is_an_error(folder, out):
  damage(*(folder / "cat").iterdir())
  with pytest.raises(ValueError, match="no training image .* of 'cat':"):
    write.prepare(str(folder), str(out), eval_split="same", max_unreadable=0.9)
  assert os.listdir(out) == []


def test_a_split_whose_images_are_all_broken_is_an_error(
  folder, out, tmp_path, save_jpeg
):
  broken = save_jpeg(tmp_path / "held_out" / "cat" / "x.jpg")
  damage(broken)
  with pytest.raises(ValueError, match="1 of 11 images cannot be read") as e:
    write.prepare(
      str(folder),
      str(out),
      eval_folder=str(tmp_path / "held_out"),
      max_unreadable=0.5,
    )
  assert str(broken) in str(e.value) and os.listdir(out) == []


def test_every_format_that_is_decoded_is_taken(tmp_path, out, stored, capsys):
  folder = tmp_path / "images"
  for i, name in enumerate(
    ["fox/0.PNG", "fox/1.webp", "owl/2.Bmp", "owl/3.gif", "owl/4.JPG"]
  ):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", (12, 12), (10 * i, 20, 30))
    image.save(folder / name, lossless=True)
  (folder / "fox" / "5.tiff").touch()
  done = write.prepare(str(folder), str(out), eval_split="same")
  assert (done["train"], done["classes"]) == (5, 2)
  train = stored(out, "train")
  for name, (data, _) in train.items():
    as_is = name in ("fox/0.PNG", "owl/4.JPG")
    assert (data == (folder / name).read_bytes()) == as_is
    assert data.startswith(b"\x89PNG") or name == "owl/4.JPG"
  printed = capsys.readouterr().out
  assert f"Left out in {folder}: 1 files named *.tiff" in printed
  for kind in ("WebP", "BMP", "GIF"):
    assert f"In train, 1 {kind}s, stored as PNGs" in printed
  # As training decodes them, the pixels are the files'.
  config = inputs.defaults()
  config.seed = 0
  config.update(dataset="imagenet2012", data_dir=str(out), image_size=8)
  config.update(batch_size=5, eval_batch_size=5, resize_size=8)
  (batch,) = imagenet.create(config).evaluate()
  reds = sorted(batch["inputs"][:, 4, 4, 0].tolist())
  np.testing.assert_allclose(reds, [0, 10, 20, 30, 40], atol=2)


def test_orientations_are_told_or_applied(folder, out, stored, capsys):
  exif = Image.Exif()
  exif[0x0112] = 6
  image = Image.new("RGB", (9, 5))
  for label in ("cat", "dog"):
    image.save(folder / label / "turned.jpg", exif=exif)
  write.prepare(str(folder), str(out), eval_split="same")
  assert "In train, 2 with an EXIF orientation" in capsys.readouterr().out
  write.prepare(
    str(folder),
    str(out),
    eval_split="same",
    overwrite=True,
    apply_orientation=True,
  )
  assert "In train, 2 turned as their EXIF" in capsys.readouterr().out
  for split in ("train", "validation"):
    data, _ = stored(out, split)["cat/turned.jpg"]
    assert Image.open(io.BytesIO(data)).size == (5, 9)


def test_only_training_images_are_made_smaller(
  tmp_path, out, save_jpeg, stored
):
  # More images than are read ahead, to see that none is lost or moved.
  for i in range(40):
    save_jpeg(tmp_path / "jpegs" / "c" / f"{i}.jpg", seed=i)
  large = tmp_path / "jpegs" / "a" / "0.jpg"
  large.parent.mkdir()
  Image.new("RGB", (30, 20), (10, 20, 30)).save(large)
  write.prepare(
    str(tmp_path / "jpegs"), str(out), eval_split="same", shorter_side=10
  )
  train, validation = stored(out, "train"), stored(out, "validation")
  assert len(train) == len(validation) == 41
  for name, (data, _) in validation.items():
    original = (tmp_path / "jpegs" / name).read_bytes()
    assert data == original
    if name != "a/0.jpg":
      assert train[name][0] == original
  assert Image.open(io.BytesIO(train["a/0.jpg"][0])).size == (15, 10)
