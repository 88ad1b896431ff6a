"""Which images there are, what their labels are, and which are held out."""

import hashlib
import os

import pytest

from experiments.inputs.prepare import labels


def test_images_are_found_at_any_depth_in_order(tmp_path, save_jpeg):
  for name in ("b/2.JPG", "a/deep/1.jpeg", "a/0.jpg"):
    save_jpeg(tmp_path / name)
  (tmp_path / "a" / "notes.txt").write_text("not an image")
  found, left_out = labels.find_images(str(tmp_path))
  assert left_out == {"files with other names": 1}
  assert list(found) == ["a/0.jpg", "a/deep/1.jpeg", "b/2.JPG"]
  assert found["a/deep/1.jpeg"] == str(tmp_path / "a" / "deep" / "1.jpeg")


def test_no_images_is_an_error(tmp_path):
  with pytest.raises(FileNotFoundError, match="is not a folder"):
    labels.find_images(str(tmp_path / "nowhere"))
  (tmp_path / "a.txt").write_text("")
  with pytest.raises(FileNotFoundError, match=r"no \*\.jpg .*: 1 files with"):
    labels.find_images(str(tmp_path))


def test_what_systems_leave_behind_is_no_image(tmp_path, save_jpeg):
  for name in (
    "fox/0.jpg",
    "fox/._0.jpg",
    "fox/.ipynb_checkpoints/0-checkpoint.jpg",
    ".ipynb_checkpoints/fox.jpg",
    "__MACOSX/fox/0.jpg",
    "fox/@eaDir/0.jpg",
  ):
    save_jpeg(tmp_path / name)
  os.mkfifo(tmp_path / "fox" / "pipe.jpg")
  (tmp_path / "fox" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
  found, left_out = labels.find_images(str(tmp_path))
  assert list(found) == ["fox/0.jpg"]
  assert left_out == {
    "hidden or system files and folders": 5,
    "pipes, devices and dangling links": 2,
  }
  assert labels.summary(left_out).startswith("5 hidden or system")


def test_every_folder_is_looked_into_once(tmp_path, save_jpeg):
  for name in ("jpegs/cat/0.jpg", "jpegs/dog/1.jpg", "away/2.jpg"):
    save_jpeg(tmp_path / name)
  folder = tmp_path / "jpegs"
  (folder / "cat" / "self").symlink_to(folder / "cat")
  (folder / "cat" / "up").symlink_to(folder)
  (folder / "ape").symlink_to(folder / "dog")  # sorted before the real one
  (folder / "eel").symlink_to(tmp_path / "away")
  found, left_out = labels.find_images(str(folder))
  assert list(found) == ["cat/0.jpg", "dog/1.jpg", "eel/2.jpg"]
  assert left_out == {"links to folders seen already": 3}


def test_a_label_is_the_topmost_folder_or_what_the_pattern_says():
  assert labels.label_of("fox/deep/1.jpg", "") == "fox"
  assert labels.label_of("fox/n1_2.jpg", r"(?P<label>n\d)_.*") == "n1"
  with pytest.raises(ValueError, match="'stray.jpg' lies in no class folder"):
    labels.label_of("stray.jpg", "")
  with pytest.raises(ValueError, match=r"does not match .*'cat/0.JPEG'"):
    labels.label_of("cat/0.JPEG", "(?P<label>x).*")


def test_labels_are_numbered_as_the_classes_are():
  images = ["cat/0.jpg", "dog/1.jpg"]
  numbers = labels.index_labels(images, "", ["dog", "eel", "cat"], "--classes")
  assert numbers == {"cat/0.jpg": 2, "dog/1.jpg": 0}
  with pytest.raises(ValueError, match="label 'dog' of 'dog/1.jpg' is not in"):
    labels.index_labels(images, "", ["cat"], "--classes")


@pytest.mark.parametrize(
  ("text", "found", "names"),
  [
    ("tench Tinca tinca\ngoldfish\n", {"tench"}, ["tench", "goldfish"]),
    ("1 b Beta\n0 c Gamma\n\n2 a\n", {"a", "b"}, ["c", "b", "a"]),
    ("polar bear\n  red fox \n", {"polar bear"}, ["polar bear", "red fox"]),
    ("1 polar bear\n0 red fox\n", {"red fox"}, ["red fox", "polar bear"]),
    ("0 dogs\n1 cats\n", {"1 cats", "0 dogs"}, ["0 dogs", "1 cats"]),
    ("\ufefftench\ngoldfish\n", {"tench", "goldfish"}, ["tench", "goldfish"]),
    ("\ufeff0 tench\n1 goldfish\n", {"tench"}, ["tench", "goldfish"]),
  ],
)
def test_classes_are_read_as_the_labels_say(tmp_path, text, found, names):
  path = tmp_path / "classes.txt"
  path.write_text(text, encoding="utf-8")
  assert labels.read_classes(str(path), found) == names


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
    labels.read_classes(str(path), {"a"})


def test_validation_is_the_smallest_hashes():
  names = [f"{i}.jpg" for i in range(10)]
  train, validation = labels.split_by_hash(names, 0.3)
  names.sort(key=lambda name: hashlib.sha256(name.encode()).hexdigest())
  assert validation == sorted(names[:3])
  assert train == sorted(names[3:])


@pytest.mark.parametrize("fraction", [0.0, 1.0, 0.97])
def test_a_split_leaves_something_to_both(fraction):
  message = f"eval_fraction: .*of the 10 images.*got {fraction}.*=same"
  with pytest.raises(ValueError, match=message):
    labels.split_by_hash([f"{i}.jpg" for i in range(10)], fraction)
