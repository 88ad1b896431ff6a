import hashlib
import io
import os
import pathlib
import re
import subprocess
import sys

import ml_collections
import numpy as np
from PIL import Image
import pytest

tfds = pytest.importorskip("tensorflow_datasets")

from experiments.inputs import imagenet, prepare  # noqa: E402

ROOT = pathlib.Path(__file__).parents[3]


def save_jpeg(path, seed=0):
  path.parent.mkdir(parents=True, exist_ok=True)
  values = np.random.default_rng(seed).integers(0, 256, (8, 9, 3), np.uint8)
  Image.fromarray(values).save(path, "JPEG")
  return path


@pytest.fixture
def folder(tmp_path):
  """Ten images in the class folders "cat" and "dog"."""
  for i in range(10):
    name = ["cat", "dog"][i % 2]
    save_jpeg(tmp_path / "jpegs" / name / f"{i}.JPEG", seed=i)
  (tmp_path / "jpegs" / "notes.txt").write_text("not an image")
  return tmp_path / "jpegs"


@pytest.fixture
def out(tmp_path):
  return tmp_path / "out"


def stored(out, split, name="imagenet2012"):
  """{file_name: (bytes, label)} of a split, read by tfds."""
  builder = tfds.builder_from_directory(str(out / name / "1.0.0"))
  dataset = builder.as_dataset(
    split=split, decoders={"image": tfds.decode.SkipDecoding()}
  )
  return {
    example["file_name"].decode(): (example["image"], int(example["label"]))
    for example in dataset.as_numpy_iterator()
  }


def test_stores_bytes_and_labels_unchanged(folder, out):
  done = prepare.prepare(str(folder), str(out), eval_fraction=0.3)
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


def test_validation_is_the_smallest_hashes(folder, out):
  prepare.prepare(str(folder), str(out), eval_fraction=0.3)
  names = [f"{['cat', 'dog'][i % 2]}/{i}.JPEG" for i in range(10)]
  names.sort(key=lambda name: hashlib.sha256(name.encode()).hexdigest())
  assert sorted(stored(out, "validation")) == sorted(names[:3])


def test_same_split_stores_every_image_twice(folder, out):
  prepare.prepare(str(folder), str(out), eval_split="same")
  assert stored(out, "train") == stored(out, "validation")
  assert len(stored(out, "train")) == 10


def test_eval_folder(folder, out, tmp_path):
  save_jpeg(tmp_path / "held_out" / "dog" / "deep" / "x.jpg", seed=99)
  done = prepare.prepare(
    str(folder), str(out), eval_folder=str(tmp_path / "held_out")
  )
  assert (done["train"], done["validation"]) == (10, 1)
  ((name, (_, label)),) = stored(out, "validation").items()
  assert (name, label) == ("dog/deep/x.jpg", 1)


def test_pattern_classes_name_and_shards(tmp_path, out):
  for name in ("b_1.jpg", "b_2.jpg", "a_1.jpg", "a_2.jpg"):
    save_jpeg(tmp_path / "jpegs" / name)
  classes = tmp_path / "classes.txt"
  classes.write_text("1 b Beta beast\n0 c Gamma\n\n2 a Alpha\n")
  done = prepare.prepare(
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


def test_classes_may_be_plain_names(tmp_path):
  path = tmp_path / "classes.txt"
  path.write_text("tench Tinca tinca\ngoldfish\n")
  assert prepare.read_classes(str(path)) == ["tench", "goldfish"]


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("", "is empty"),
    ("0 a\n2 b\n", "index 1 is missing"),
    ("0 a\n0 b\n", "index 1 is missing"),
    ("a\nb\na\n", "lists 'a' more than once"),
  ],
)
def test_bad_classes_files_are_errors(tmp_path, text, message):
  path = tmp_path / "classes.txt"
  path.write_text(text)
  with pytest.raises(ValueError, match=message):
    prepare.read_classes(str(path))


def test_no_images_is_an_error(tmp_path, out):
  with pytest.raises(FileNotFoundError, match="is not a folder"):
    prepare.prepare(str(tmp_path / "nowhere"), str(out))
  (tmp_path / "a.txt").write_text("")
  with pytest.raises(FileNotFoundError, match=r"no \*\.jpg .*\(1 files with"):
    prepare.prepare(str(tmp_path), str(out))


def test_labels_that_cannot_be_had_are_errors(folder, out, tmp_path):
  with pytest.raises(ValueError, match=r"does not match .*'cat/0.JPEG'"):
    prepare.prepare(str(folder), str(out), pattern="(?P<label>x).*")
  with pytest.raises(ValueError, match=r"a group \(\?P<label>"):
    prepare.prepare(str(folder), str(out), pattern=".*")
  classes = tmp_path / "classes.txt"
  classes.write_text("cat\n")
  with pytest.raises(ValueError, match="label 'dog' of 'dog/1.JPEG' is not in"):
    prepare.prepare(str(folder), str(out), classes=str(classes))
  save_jpeg(folder / "stray.jpg")
  with pytest.raises(ValueError, match="'stray.jpg' lies in no class folder"):
    prepare.prepare(str(folder), str(out))
  assert not out.exists()


@pytest.mark.parametrize(
  ("options", "message"),
  [
    (dict(name="My-Data"), "name: expected lower case"),
    (dict(eval_split="half"), "eval_split: .*got 'half'"),
    (dict(eval_fraction=0.0), "eval_fraction: .*--eval_split=same"),
    (dict(eval_fraction=1.0), "eval_fraction: .*got 1.0"),
    (dict(eval_fraction=0.97), "eval_fraction: .*of the 10 images"),
    (dict(shorter_side=-1), "shorter_side: .*got -1"),
    (dict(jpeg_quality=0), r"jpeg_quality: expected 1 \.\. 100, got 0"),
    (dict(shards=2), r"shards: expected 0 \.\. 1, .*got 2"),
  ],
)
def test_unusable_options_are_errors(folder, out, options, message):
  with pytest.raises(ValueError, match=message):
    prepare.prepare(str(folder), str(out), **options)
  assert not out.exists()


@pytest.mark.parametrize(
  ("damage", "message"),
  [
    (lambda data: b"", "2.JPEG' is not a JPEG: .*an empty file"),
    (lambda data: b"<html>", "2.JPEG' is not a JPEG: .*got 3c 68 74"),
    (lambda data: data[: len(data) // 2], "2.JPEG' is damaged: "),
  ],
)
def test_broken_files_are_named(folder, out, damage, message):
  path = folder / "cat" / "2.JPEG"
  path.write_bytes(damage(path.read_bytes()))
  with pytest.raises(ValueError, match=message):
    prepare.prepare(str(folder), str(out))
  assert not (out / "imagenet2012" / "1.0.0").exists()


def test_without_verify_only_the_beginning_is_looked_at(folder, out):
  path = folder / "cat" / "2.JPEG"
  path.write_bytes(path.read_bytes()[:200])
  prepare.prepare(str(folder), str(out), verify=False)


def test_a_png_named_jpeg_is_read_all_the_same(tmp_path, out):
  # ImageNet has one.
  image = Image.new("RGB", (12, 12), (10, 20, 30))
  (tmp_path / "jpegs/a").mkdir(parents=True)
  image.save(tmp_path / "jpegs/a/0.JPEG", "PNG")
  prepare.prepare(str(tmp_path / "jpegs"), str(out), eval_split="same")
  config = ml_collections.ConfigDict(
    dict(seed=0, data_dir=str(out), batch_size=1, image_size=8, resize_size=8)
  )
  dataset = imagenet.create(config)
  expected = np.broadcast_to([10, 20, 30], (1, 8, 8, 3))
  np.testing.assert_array_equal(next(dataset.train())["image"], expected)
  (batch,) = dataset.evaluate()
  np.testing.assert_array_equal(batch["image"], expected)


def smooth_jpeg(path, height, width):
  """Waves that survive both a resize and a JPEG."""
  path.parent.mkdir(parents=True, exist_ok=True)
  y, x = np.mgrid[:height, :width] / 40
  waves = np.stack([np.sin(x), np.cos(y), np.sin(x + y)], axis=-1)
  Image.fromarray(np.uint8(127 + 100 * waves)).save(path, "JPEG", quality=95)
  return path


def test_larger_training_images_are_made_smaller(tmp_path, out):
  sizes = {"a/0.jpg": (200, 301), "a/1.jpg": (500, 100), "b/2.jpg": (60, 90)}
  for name, (height, width) in sizes.items():
    smooth_jpeg(tmp_path / "jpegs" / name, height, width)
  # More images than are read ahead, to see that none is lost or moved.
  for i in range(40):
    save_jpeg(tmp_path / "jpegs" / "c" / f"{i}.jpg", seed=i)
  prepare.prepare(
    str(tmp_path / "jpegs"), str(out), eval_split="same", shorter_side=60
  )
  train, validation = stored(out, "train"), stored(out, "validation")
  assert len(train) == len(validation) == 43
  for name, (data, _) in validation.items():
    original = (tmp_path / "jpegs" / name).read_bytes()
    assert data == original
    if name not in ("a/0.jpg", "a/1.jpg"):
      assert train[name][0] == original
  for name, size in {"a/0.jpg": (90, 60), "a/1.jpg": (60, 300)}.items():
    found = Image.open(io.BytesIO(train[name][0]))
    assert found.size == size
    # Pillow's kernel of the same name, of the same radius.
    image = Image.open(tmp_path / "jpegs" / name)
    expected = image.resize(size, Image.Resampling.LANCZOS)
    difference = np.asarray(found, int) - np.asarray(expected, int)
    assert np.abs(difference).mean() < 2.5


def test_jpeg_quality_is_that_of_smaller_images(tmp_path, out):
  save_jpeg(tmp_path / "jpegs" / "a" / "0.jpg")
  sizes = []
  for quality in (30, 95):
    prepare.prepare(
      str(tmp_path / "jpegs"),
      str(out),
      eval_split="same",
      shorter_side=7,
      jpeg_quality=quality,
      overwrite=True,
    )
    sizes.append(len(stored(out, "train")["a/0.jpg"][0]))
  assert sizes[0] < sizes[1]


def test_images_to_be_made_smaller_are_verified(folder, out):
  path = folder / "cat" / "2.JPEG"
  path.write_bytes(path.read_bytes()[:200])
  with pytest.raises(ValueError, match="2.JPEG' is damaged"):
    prepare.prepare(
      str(folder), str(out), eval_split="same", verify=False, shorter_side=4
    )


def test_overwrite(folder, out):
  prepare.prepare(str(folder), str(out), eval_split="same")
  with pytest.raises(FileExistsError, match="exists already. Add --overwrite"):
    prepare.prepare(str(folder), str(out))

  broken = folder / "cat" / "2.JPEG"
  data = broken.read_bytes()
  broken.write_bytes(b"")
  with pytest.raises(ValueError, match="2.JPEG"):
    prepare.prepare(str(folder), str(out), overwrite=True)
  assert len(stored(out, "train")) == 10, "a failure must keep the old data"

  broken.write_bytes(data)
  save_jpeg(folder / "eel" / "new.jpg")
  done = prepare.prepare(
    str(folder), str(out), eval_split="same", overwrite=True
  )
  assert (done["train"], done["classes"]) == (11, 3)
  assert len(stored(out, "train")) == 11
  assert os.listdir(out / "imagenet2012") == ["1.0.0"]


def test_progress_says_how_long_it_will_take(folder, out, capsys, monkeypatch):
  monkeypatch.setattr(prepare, "_SECONDS_UNTIL_PROGRESS", 0.0)
  prepare.prepare(str(folder), str(out), eval_fraction=0.3)
  printed = capsys.readouterr().out
  assert re.search(r"  7 of 7 images, about 0\.0 minutes left", printed)


def run(*args):
  return subprocess.run(
    [sys.executable, "-m", "experiments.inputs.prepare", *args],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )


def test_command_line_on_the_imagenet_sample(out):
  shared = os.environ.get("JAXMIX_SHARED_DATA", ROOT.parent / "shared" / "data")
  sample = pathlib.Path(shared) / "imagenet_sample"
  if not sample.is_dir():
    pytest.skip("no imagenet_sample: set JAXMIX_SHARED_DATA to its parent")
  done = run(
    f"--folder={sample}",
    f"--out={out}",
    r"--pattern=(?P<label>n\d+)_.*",
    f"--classes={sample / 'classes.txt'}",
    "--eval_split=same",
  )
  assert done.returncode == 0, done.stderr
  assert "300 training and 300 validation images of 1,000" in done.stdout
  assert f"--config.data_dir={out}" in done.stdout

  train = stored(out, "train")
  assert len(train) == 300
  indices = {}
  for line in (sample / "classes.txt").read_text().splitlines():
    index, wnid, *_ = line.split()
    indices[wnid] = int(index)
  for name, (data, label) in train.items():
    assert data == (sample / name).read_bytes()
    assert label == indices[name.partition("_")[0]]


def test_command_line_errors_have_no_traceback(tmp_path):
  done = run(f"--folder={tmp_path}", f"--out={tmp_path / 'out'}")
  assert done.returncode == 1
  assert "Error: folder: no *.jpg" in done.stderr
  assert "Traceback" not in done.stderr
