"""Labels of a flat validation folder."""

import numpy as np
import pytest

from experiments.inputs.prepare import eval_labels

IMAGES = [f"ILSVRC2012_val_0000000{i}.JPEG" for i in (1, 2, 3)]
CLASSES = ["n01", "n02", "polar bear"]
KAGGLE = """ImageId,PredictionString
ILSVRC2012_val_00000003,n02 1 2 3 4 n02 5 6 7 8
ILSVRC2012_val_00000001,n01 1 2 3 4
ILSVRC2012_val_00000002,n02 1 2 3 4
"""


def lines(*labels):
  pairs = zip(IMAGES, labels, strict=True)
  return "".join(f"{name} {label}\n" for name, label in pairs)


def read(tmp_path, text, numbers="", images=IMAGES, classes=CLASSES):
  path = tmp_path / "labels"
  path.write_text(text)
  if numbers and not numbers.endswith(".mat"):
    (tmp_path / "numbers").write_text(numbers)
    numbers = str(tmp_path / "numbers")
  found = eval_labels.read_eval_labels(str(path), numbers, images, classes)
  assert list(found) == sorted(images)
  return list(found.values())


@pytest.mark.parametrize(
  "text",
  [
    KAGGLE,
    KAGGLE.replace("\n", "\r\n"),
    "n01\nn02\nn02\n",
    lines("n01", "n02", "n02"),
    "\ufeffILSVRC2012_val_00000002.JPEG,n02\nval/" + IMAGES[0] + ",n01\n"
    "ILSVRC2012_val_00000003, n02\nILSVRC2012_val_00000009,n01\n",
  ],
)
def test_three_forms_are_understood(tmp_path, text):
  assert read(tmp_path, text) == ["n01", "n02", "n02"]


def test_names_may_have_spaces(tmp_path):
  text = "polar bear\nn01\npolar bear\n"
  assert read(tmp_path, text) == ["polar bear", "n01", "polar bear"]
  assert read(tmp_path, lines(*["polar bear"] * 3)) == ["polar bear"] * 3


@pytest.mark.parametrize("text", ["2\n1\n3\n", lines("2", "1", "3")])
def test_numbers_mean_nothing_by_themselves(tmp_path, text):
  message = "the labels .* are numbers.*--eval_numbers=FILE.*meta.mat"
  with pytest.raises(ValueError, match=message):
    read(tmp_path, text)
  numbers = "1 n02\n2 polar bear\n3 n01\n4 n99\n"
  assert read(tmp_path, text, numbers) == ["polar bear", "n02", "n01"]


def test_numbers_are_understood_by_the_development_kit(tmp_path):
  io = pytest.importorskip("scipy.io")
  kind = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("num_children", "O")]
  synsets = np.zeros((3, 1), kind)
  for i, wnid in enumerate(("n02", "n00", "n01")):
    synsets[i, 0] = (i + 1, wnid, 0)
  path = str(tmp_path / "meta.mat")
  io.savemat(path, {"synsets": synsets})
  assert read(tmp_path, "3\n1\n1\n", path) == ["n01", "n02", "n02"]
  io.savemat(path, {"other": synsets})
  with pytest.raises(ValueError, match="is not the meta.mat of"):
    read(tmp_path, "3\n1\n1\n", path)


@pytest.mark.parametrize(
  ("text", "numbers", "message"),
  [
    ("n01\nn02\n", "", "has 2 labels .* there are 3 images"),
    ("\n".join(KAGGLE.splitlines()[:3]), "", "no label for 1 of 3 images.*02"),
    (KAGGLE.replace("n02 5", "n01 5"), "", "of one label in .*n01 5 6"),
    (f"{KAGGLE}ILSVRC2012_val_00000001,n02 1 2 3 4\n", "", "'n01', 'n02'.*one"),
    ("a,b,c\n" * 3, "", "expected lines"),
    ("1\n2\n3\n", "1 n01\n2 n02\n", "does not say what '3' in"),
    ("1\n2\n3\n", "n01 1\n", 'expected lines "number name"'),
    ("1\n2\n3\n", "1 n01\n1 n02\n", "has 1 more than once"),
    ("", "", "is empty"),
  ],
)
def test_what_is_not_understood_is_an_error(tmp_path, text, numbers, message):
  with pytest.raises(ValueError, match=message) as error:
    read(tmp_path, text, numbers)
  assert str(error.value).startswith(("eval_labels: ", "eval_numbers: "))


def test_two_images_of_one_name_are_an_error(tmp_path):
  with pytest.raises(ValueError, match="2 images .* go by the name '1'"):
    read(tmp_path, "1.jpg n01\n", images=["a/1.jpg", "b/1.png"])
