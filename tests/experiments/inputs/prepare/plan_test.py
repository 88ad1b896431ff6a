"""What becomes which class and split, or is refused before it is written."""

import json
import os
import unicodedata

import pytest

pytest.importorskip("tensorflow_datasets")

from experiments.inputs.prepare import write  # noqa: E402


@pytest.mark.parametrize(
  ("spoil", "message"),
  [
    (lambda image: image.unlink(), r"^eval_folder: no image in"),
    (
      lambda image: image.write_bytes(b""),
      r"^1 of 11 images .*\n  eval_folder: .* is an empty file",
    ),
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
    (dict(pattern="(["), "pattern: .* is no regular expression"),
    (dict(eval_fraction=0.0), "eval_fraction: .*--eval_split=same"),
    (dict(eval_fraction=float("nan")), r"eval_fraction: .*\(0, 1\), got nan"),
    (dict(eval_fraction=-0.1), "eval_fraction: .*got -0.1"),
    (dict(eval_fraction=1), "eval_fraction: .*got 1"),
    (dict(max_unreadable=float("nan")), "max_unreadable: .*got nan"),
    (dict(max_unreadable=1.0), r"max_unreadable: .*\[0, 1\), got 1"),
    (dict(eval_labels="x"), "eval_labels: expected eval_folder beside it"),
    (dict(eval_numbers="x"), "eval_numbers: expected eval_labels beside it"),
    (dict(classes="~nobody_here/x"), "classes: .* no such user.*/~nobody"),
    (dict(shorter_side=-1), "shorter_side: .*got -1"),
    (dict(jpeg_quality=0), r"jpeg_quality: expected 1 \.\. 100, got 0"),
    (dict(shards=2), r"shards: expected 0 \.\. 1, .*got 2"),
  ],
)
def test_unusable_options_are_errors(folder, out, options, message):
  with pytest.raises(ValueError, match=message):
    write.prepare(str(folder), str(out), **options)
  assert not out.exists()


def test_an_empty_class_folder_is_an_error_or_a_class(folder, out, tmp_path):
  (folder / "ape").mkdir()
  (folder / "eel" / "deep").mkdir(parents=True)
  (folder / "eel" / "deep" / "0.tiff").touch()
  message = (
    r"folder: 2 class folders hold no image: 'ape' .*nothing\), 'eel' .*"
    r"1 files named \*.tiff\).*--allow_empty"
  )
  with pytest.raises(ValueError, match=message):
    write.prepare(str(folder), str(out), eval_split="same")
  done = write.prepare(
    str(folder), str(out), eval_split="same", allow_empty=True
  )
  assert done["classes"] == 4
  found = json.loads((out / "imagenet2012/1.0.0/prepared.json").read_text())
  assert [(row["name"], row["train"]) for row in found["classes"]] == [
    ("ape", 0),
    ("cat", 5),
    ("dog", 5),
    ("eel", 0),
  ]


def test_a_folder_a_level_too_high_writes_nothing(tmp_path, out, save_jpeg):
  for split in ("train", "val"):
    for label in ("cat", "dog"):
      save_jpeg(tmp_path / "data" / split / label / "0.jpg")
  data = tmp_path / "data"
  with pytest.raises(ValueError) as error:
    write.prepare(str(data), str(out))
  flags = dict(
    word.removeprefix("--").rstrip(";").split("=")
    for word in str(error.value).split()
    if word.startswith(("--folder", "--eval_folder"))
  )
  assert not out.exists()
  done = write.prepare(**flags, out=str(out))  # the remedy works
  assert (done["train"], done["validation"], done["classes"]) == (2, 2, 2)
  classes = tmp_path / "classes.txt"
  classes.write_text("train\nval\n")  # unless that is what is meant
  done = write.prepare(str(data), str(out), classes=str(classes), name="splits")
  assert done["classes"] == 2


def test_a_class_with_one_image_is_trained_on(folder, out, save_jpeg, stored):
  for i in range(10, 40):
    save_jpeg(folder / "cat" / f"{i}.jpg", seed=i)
  save_jpeg(folder / "owl" / "0.jpg")
  write.prepare(str(folder), str(out), eval_fraction=0.4)
  assert "owl/0.jpg" in stored(out, "train")
  labels = [label for _, label in stored(out, "validation").values()]
  assert len(labels) == 16 and set(labels) == {0, 1}


def test_imagenets_flat_validation_folder(
  folder, out, tmp_path, save_jpeg, stored
):
  for i in range(1, 4):
    name = f"ILSVRC2012_val_0000000{i}.JPEG"
    save_jpeg(tmp_path / "val" / name, seed=i)
  flat = dict(eval_folder=str(tmp_path / "val"))
  with pytest.raises(ValueError, match="no class folder.*--eval_labels=FILE"):
    write.prepare(str(folder), str(out), **flat)
  labels = tmp_path / "ground_truth.txt"
  labels.write_text("2\n1\n2\n")
  with pytest.raises(ValueError, match="eval_labels: .*--eval_numbers=FILE"):
    write.prepare(str(folder), str(out), **flat, eval_labels=str(labels))
  numbers = tmp_path / "numbers.txt"
  numbers.write_text("1 dog\n2 cat\n")
  write.prepare(
    str(folder),
    str(out),
    **flat,
    eval_labels=str(labels),
    eval_numbers=str(numbers),
  )
  found = [label for _, label in sorted(stored(out, "validation").values())]
  assert sorted(found) == [0, 0, 1]
  assert stored(out, "validation")["ILSVRC2012_val_00000002.JPEG"][1] == 1
  labels.write_text("dog\nowl\ncat\n")
  with pytest.raises(ValueError, match="^eval_labels: labels 'owl', the first"):
    write.prepare(
      str(folder), str(out), **flat, eval_labels=str(labels), overwrite=True
    )


def test_accented_names_are_one_whichever_form_they_have(
  tmp_path, out, save_jpeg, stored
):
  found = []
  for form in ("NFC", "NFD"):
    folder = tmp_path / form
    for i in range(8):
      label = unicodedata.normalize(form, ["caf\u00e9", "ni\u00f1o"][i % 2])
      save_jpeg(folder / label / f"{label}{i}.jpg", seed=i)
    name = form.lower()
    write.prepare(str(folder), str(out), name=name, eval_fraction=0.4)
    found.append([stored(out, s, name) for s in ("train", "validation")])
  assert found[0] == found[1]
  assert len(found[0][1]) == 3
  names = json.loads((out / "nfd" / "1.0.0" / "prepared.json").read_text())
  assert names["classes"][0]["name"] == "caf\u00e9"
  # Across flags, too.
  done = write.prepare(
    str(tmp_path / "NFC"), str(out), eval_folder=str(tmp_path / "NFD")
  )
  assert done["classes"] == 2


@pytest.mark.parametrize("name", ["a\nb", " a", "a ", "a\x7fb"])
def test_class_folders_that_tfds_would_rename_are_refused(
  folder, out, save_jpeg, name
):
  save_jpeg(folder / name / "0.jpg")
  with pytest.raises(ValueError, match="classes: a class name must not") as e:
    write.prepare(str(folder), str(out))
  assert repr(name) in str(e.value) and not out.exists()


def test_a_name_that_is_not_utf8_is_named_before_anything_is_written(
  folder, out
):
  os.rename(folder / "cat/2.JPEG", os.fsencode(folder) + b"/cat/\xe9.JPEG")
  with pytest.raises(ValueError, match=r"folder: 1 names .* b'cat/\\xe9.JPEG'"):
    write.prepare(str(folder), str(out))
  assert not out.exists()


def test_every_path_may_begin_with_a_tilde(
  folder, tmp_path, monkeypatch, save_jpeg, stored
):
  monkeypatch.setenv("HOME", str(tmp_path))
  monkeypatch.chdir(folder)
  save_jpeg(tmp_path / "val" / "1.jpg")
  for name, text in {
    "classes": "dog\ncat\n",
    "labels": "1\n",
    "numbers": "1 cat\n",
  }.items():
    (tmp_path / name).write_text(text)
  done = write.prepare(
    "~/jpegs",
    "~/out",
    classes="~/classes",
    eval_folder="~/val",
    eval_labels="~/labels",
    eval_numbers="~/numbers",
  )
  assert done["path"] == str(tmp_path / "out" / "imagenet2012" / "1.0.0")
  assert stored(tmp_path / "out", "validation")["1.jpg"][1] == 1
  assert sorted(os.listdir(folder)) == ["cat", "dog", "notes.txt"]
