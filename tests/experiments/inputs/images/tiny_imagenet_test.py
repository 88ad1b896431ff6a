"""Tiny-ImageNet's folder, at two classes."""

import pathlib

from ml_collections import ConfigDict
import numpy as np
from PIL import Image
import pytest

from experiments.inputs import images, memory
from experiments.inputs.images import known

CLASSES = ("n02", "n01")  # the list's order, and not the alphabet's


def save(path, value, mode="RGB"):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.new(mode, (64, 64), value).save(path, quality=95)


@pytest.fixture
def of(tmp_path, monkeypatch):
  folder = tmp_path / "tiny-imagenet-200"
  for label, name in enumerate(CLASSES):
    for k in range(2):
      place = folder / "train" / name / "images" / f"{name}_{k}.JPEG"
      save(place, (100 * label + 50 * k, 0, 7))
  # One in grey, as some of the real ones are.
  save(folder / "val" / "images" / "val_0.JPEG", 90, "L")
  (folder / "wnids.txt").write_text("\n".join(CLASSES) + "\n")
  (folder / "val" / "val_annotations.txt").write_text(
    "val_0.JPEG\tn01\t0\t0\t63\t63\n"
  )
  sizes = {"train": 4, "validation": 1}
  monkeypatch.setitem(
    known.SETS,
    "tiny_imagenet",
    known.SETS["tiny_imagenet"]._replace(sizes=sizes, num_classes=2),
  )
  return ConfigDict(
    dict(
      dataset="tiny_imagenet",
      data_dir=str(tmp_path),
      train_split="train",
      eval_split="validation",
    )
  )


def test_a_folder_is_read_class_by_class(of):
  data, _ = memory.load(of)
  assert data.train_labels.tolist() == [0, 1, 0, 1]
  reds = data.train_inputs[:, 32, 32, 0].astype(int)
  np.testing.assert_allclose(reds, [0, 100, 50, 150], atol=3)
  assert data.train_inputs.dtype == np.uint8
  assert data.eval_labels.tolist() == [1]
  np.testing.assert_allclose(data.eval_inputs.astype(int), 90, atol=2)
  # A part has as many of each class, and its images alone are opened.
  of.train_split = "train[:2]"
  (root(of) / "train" / "n02" / "images" / "n02_1.JPEG").write_bytes(b"")
  assert images.load(of).train_labels.tolist() == [0, 1]


def root(of):
  return pathlib.Path(of.data_dir) / "tiny-imagenet-200"


def test_what_is_missing_or_damaged_is_named(of):
  image = root(of) / "train" / "n01" / "images" / "n01_0.JPEG"
  labels = root(of) / "val" / "val_annotations.txt"
  whole, text = image.read_bytes(), labels.read_text()
  for wrong in (b"", whole[:300], b"no image"):
    image.write_bytes(wrong)
    with pytest.raises(ValueError, match=f"{image} cannot be read"):
      images.load(of)
  Image.new("RGB", (64, 32)).save(image)
  with pytest.raises(
    ValueError, match=f"{image} should have 64 x 64 .*64 x 32"
  ):
    images.load(of)
  image.unlink()
  with pytest.raises(
    ValueError, match="should hold 4 train images, got 3.*cs2"
  ):
    images.load(of)
  image.write_bytes(whole)
  labels.write_text(text.replace("n01", "n09"))
  with pytest.raises(ValueError, match="val_annotations.txt, line 1: expected"):
    images.load(of)
  labels.unlink()
  with pytest.raises(
    FileNotFoundError, match="annotations.txt is missing.*231"
  ):
    images.load(of)
