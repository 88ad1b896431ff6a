"""Folders of images, and what has been made of them."""

import pathlib
import sys

import numpy as np
from PIL import Image
import pytest

from tests import quick

ROOT = pathlib.Path(__file__).parents[4]


@pytest.fixture(scope="session")
def save_jpeg():
  """(path, seed) -> the path of a JPEG of noise, 8 x 9 pixels."""

  def save(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 256, (8, 9, 3), np.uint8)
    Image.fromarray(values).save(path, "JPEG")
    return path

  return save


@pytest.fixture
def folder(tmp_path, save_jpeg):
  """Ten images in the class folders "cat" and "dog"."""
  for i in range(10):
    name = ["cat", "dog"][i % 2]
    save_jpeg(tmp_path / "jpegs" / name / f"{i}.JPEG", seed=i)
  (tmp_path / "jpegs" / "notes.txt").write_text("not an image")
  return tmp_path / "jpegs"


@pytest.fixture
def out(tmp_path):
  return tmp_path / "out"


@pytest.fixture(scope="session")
def stored():
  """(out, split) -> {file_name: (bytes, label)}, read by tfds."""
  tfds = pytest.importorskip("tensorflow_datasets")

  def read(out, split, name="imagenet2012"):
    builder = tfds.builder_from_directory(str(out / name / "1.0.0"))
    dataset = builder.as_dataset(
      split=split, decoders={"image": tfds.decode.SkipDecoding()}
    )
    return {
      example["file_name"].decode(): (example["image"], int(example["label"]))
      for example in dataset.as_numpy_iterator()
    }

  return read


@pytest.fixture(scope="session")
def command():
  """The words and the settings of `python -m experiments.inputs.prepare`."""
  words = [sys.executable, "-m", "experiments.inputs.prepare"]
  return words, dict(cwd=ROOT, env=quick.environment())
