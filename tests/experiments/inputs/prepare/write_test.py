"""Folders written as data sets, and read again by tfds."""

import io
import os
import re

import numpy as np
from PIL import Image
import pytest

pytest.importorskip("tensorflow_datasets")

from experiments import inputs  # noqa: E402
from experiments.inputs.prepare import write  # noqa: E402
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
  assert "1 hidden or system" in printed and "1 files with other" in printed


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


@pytest.mark.parametrize(
  ("spoil", "message"),
  [
    (lambda image: image.unlink(), r"^eval_folder: no \*\.jpg"),
    (lambda image: image.write_bytes(b""), "^eval_folder: .* is not a JPEG"),
    (
      lambda image: image.rename(image.parents[1] / "stray.jpg"),
      "^eval_folder: 'stray.jpg' lies in no class folder",
    ),
  ],
)
def test_errors_name_the_flag_of_the_folder(
  folder, out, tmp_path, save_jpeg, spoil, message
):
  spoil(save_jpeg(tmp_path / "held_out" / "dog" / "x.jpg"))
  with pytest.raises((ValueError, FileNotFoundError), match=message):
    write.prepare(str(folder), str(out), eval_folder=str(tmp_path / "held_out"))


def test_pattern_classes_name_and_shards(tmp_path, out, save_jpeg, stored):
  for name in ("b_1.jpg", "b_2.jpg", "a_1.jpg", "a_2.jpg"):
    save_jpeg(tmp_path / "jpegs" / name)
  classes = tmp_path / "classes.txt"
  classes.write_text("1 b Beta beast\n0 c Gamma\n\n2 a Alpha\n")
  done = write.prepare(
    str(tmp_path / "jpegs"),
    str(out),
    pattern=r"(?P<label>\w)_\d\.jpg",
    classes=str(classes),
    name="letters",
    eval_fraction=0.5,
    shards=2,
  )
  assert done["classes"] == 3
  both = stored(out, "train", "letters") | stored(out, "validation", "letters")
  assert {name: label for name, (_, label) in both.items()} == {
    "b_1.jpg": 1,
    "b_2.jpg": 1,
    "a_1.jpg": 2,
    "a_2.jpg": 2,
  }
  files = sorted(path.name for path in (out / "letters/1.0.0").glob("*record*"))
  assert files == [
    f"letters-{split}.tfrecord-{i:05d}-of-00002"
    for split in ("train", "validation")
    for i in range(2)
  ]


@pytest.mark.parametrize(
  ("options", "message"),
  [
    (dict(name="My-Data"), "name: expected lower case"),
    (dict(eval_split="half"), "eval_split: .*got 'half'"),
    (dict(pattern=".*"), r"pattern: .*a group \(\?P<label>"),
    (dict(eval_fraction=0.0), "eval_fraction: .*--eval_split=same"),
    (dict(shorter_side=-1), "shorter_side: .*got -1"),
    (dict(jpeg_quality=0), r"jpeg_quality: expected 1 \.\. 100, got 0"),
    (dict(shards=2), r"shards: expected 0 \.\. 1, .*got 2"),
  ],
)
def test_unusable_options_are_errors(folder, out, options, message):
  with pytest.raises(ValueError, match=message):
    write.prepare(str(folder), str(out), **options)
  assert not out.exists()


def test_a_png_named_jpeg_is_read_all_the_same(tmp_path, out):
  # ImageNet has one.
  image = Image.new("RGB", (12, 12), (10, 20, 30))
  (tmp_path / "jpegs/a").mkdir(parents=True)
  image.save(tmp_path / "jpegs/a/0.JPEG", "PNG")
  write.prepare(str(tmp_path / "jpegs"), str(out), eval_split="same")
  config = inputs.defaults()
  config.seed = 0
  config.update(
    dataset="imagenet2012",
    data_dir=str(out),
    batch_size=1,
    eval_batch_size=1,
    image_size=8,
    resize_size=8,
  )
  dataset = imagenet.create(config)
  expected = np.broadcast_to([10, 20, 30], (1, 8, 8, 3))
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
  monkeypatch.setattr(write, "_SECONDS_UNTIL_PROGRESS", 0.0)
  write.prepare(str(folder), str(out), eval_fraction=0.3)
  printed = capsys.readouterr().out
  assert re.search(r"  7 of 7 images, about 0\.0 minutes left", printed)


def test_a_broken_file_ends_it_by_name_and_leaves_nothing(folder, out):
  path = folder / "cat" / "2.JPEG"
  path.write_bytes(path.read_bytes()[:200])
  with pytest.raises(ValueError, match="2.JPEG' is damaged"):
    write.prepare(str(folder), str(out))
  assert not (out / "imagenet2012" / "1.0.0").exists()


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
