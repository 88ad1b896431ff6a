"""Folders a level too high or too low are refused, with the likely one."""

import pytest

from experiments.inputs.prepare import levels


def names(*patterns):
  return [p.replace("*", str(i)) for p in patterns for i in range(2)]


HIGH = names("train/cat/*.jpg", "train/dog/*.jpg", "val/cat/*.jpg")


@pytest.mark.parametrize(
  ("images", "likely"),
  [
    (HIGH, "--folder=/d/train --eval_folder=/d/val;"),
    (names("Train/cat/*.jpg", "Test/cat/*.jpg"), "--folder=/d/Train --eval_"),
    (names("train/cat/*.jpg", "extra/*.jpg"), "--folder=/d/train;"),
    (names("val/cat/*.jpg", "test/cat/*.jpg"), "--folder=/d/test;"),
    (
      names("train/*.jpg", "valid/*.jpg"),
      "--folder=/d/train --eval_folder=/d/",
    ),
    (names("training/cat/*.jpg"), "--folder=/d/training;"),
  ],
)
def test_splits_are_no_classes(images, likely):
  with pytest.raises(ValueError) as error:
    levels.check_no_splits(images, "/d", "folder", by_folder=True)
  message = str(error.value)
  assert message.startswith("folder: ") and "a level too high" in message
  assert f"Give {likely}" in message and "--classes" in message


def test_splits_are_not_mixed_where_file_names_are_labels():
  with pytest.raises(
    ValueError, match="Give --folder=/d/train --eval_f.*=/d/v"
  ):
    levels.check_no_splits(HIGH, "/d", "folder", by_folder=False)
  # Whatever other folders are called says nothing of the labels.
  levels.check_no_splits(names("test/*.jpg"), "/d", "folder", by_folder=False)


def test_a_folder_for_validation_is_pointed_to_the_held_out_one():
  with pytest.raises(
    ValueError, match="^eval_folder.*Give --eval_folder=/d/val"
  ):
    levels.check_no_splits(HIGH, "/d", "eval_folder", by_folder=True)


def test_a_class_may_be_called_as_a_split_is():
  images = names("test/*.jpg", "exam/*.jpg", "train/*.jpg", "ship/*.jpg")
  with pytest.raises(ValueError):  # train and test among others: not guessed
    levels.check_no_splits(images, "/d", "folder", by_folder=True)
  for images in (
    names("test/*.jpg", "exam/*.jpg"),
    names("train/*.jpg", "a/*"),
  ):
    levels.check_no_splits(images, "/d", "folder", by_folder=True)


@pytest.mark.parametrize(
  ("images", "likely"),
  [
    (names("images/cat/*.jpg", "images/dog/*.jpg"), "--folder=/d/images, "),
    (
      names("CLS/train/cat/*.jpg", "CLS/train/dog/*.jpg", "CLS/val/cat/*.jpg"),
      "--folder=/d/CLS/train, whose folders are 'cat', 'dog'",
    ),
    (names("cat/*.jpg"), "put a folder for each class"),
  ],
)
def test_a_single_class_is_refused(images, likely):
  top = images[0].partition("/")[0]
  with pytest.raises(ValueError, match=f"a single class, '{top}'") as error:
    levels.check_several([top], images, "/d", pattern="")
  assert likely in str(error.value)
  levels.check_several([top, "other"], images, "/d", pattern="")


def test_a_pattern_that_gives_one_label_is_refused():
  with pytest.raises(ValueError, match="pattern: .* label 'n'"):
    levels.check_several(["n"], ["n1.jpg"], "/d", pattern="(?P<label>n).*")


def test_images_in_no_class_folder_are_named():
  with pytest.raises(ValueError) as error:
    levels.check_in_folders(["a.jpg", "b.jpg"], "/d/fox/", "folder")
  message = str(error.value)
  assert message.startswith("folder: 'a.jpg', 'b.jpg' lie in no class folder")
  assert "if 'fox' is itself a class" in message.replace("''", "'fox'")
  assert "--folder=/d" in message and "--eval_labels" not in message
  with pytest.raises(
    ValueError, match="'a.jpg' lies in.*--eval_labels=FILE"
  ) as e:
    levels.check_in_folders(["a.jpg", "cat/b.jpg"], "/d", "eval_folder")
  assert "level too low" not in str(e.value)
