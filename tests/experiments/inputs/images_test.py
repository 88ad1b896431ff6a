"""Small image data sets: what is read, and what is known without reading."""

import gzip
import os
import pathlib

from ml_collections import ConfigDict
import numpy as np
import pytest

from experiments import inputs
from experiments.inputs import images, memory


def config(**overrides):
  return ConfigDict(dict(dataset="digits", data_dir="") | overrides)


def test_digits_are_split_once_and_for_all():
  data = images.load_digits(config())
  assert data.train_inputs.shape == (600, 8, 8, 1)
  assert data.eval_inputs.shape == (1197, 8, 8, 1)
  assert data.train_inputs.dtype == np.uint8
  assert data.train_inputs.max() == 255
  counts = np.bincount(data.train_labels)
  assert counts.min() >= 57 and counts.max() <= 62
  again = images.load_digits(config())
  np.testing.assert_array_equal(data.train_labels, again.train_labels)


def assert_described(name, data):
  """What is written down of a data set is what its data say, to the last bit.

  And what the float64 copy said that they were once computed from, rounded to
  the float32 that the step uses.
  """
  described = memory.SPECS[name]
  assert memory.measure(data) == described
  pixels = data.train_inputs.astype(np.float64)
  to_float = described.scale.to_float
  for ours, theirs in (
    (to_float.mean, pixels.mean((0, 1, 2))),
    (to_float.std, pixels.std((0, 1, 2))),
  ):
    np.testing.assert_array_equal(np.float32(ours), theirs.astype(np.float32))


def test_digits_are_as_described():
  assert_described("digits", images.load_digits(config()))


def test_fashion_mnist_is_as_described():
  root = pathlib.Path(__file__).parents[3]
  shared = os.environ.get("JAXMIX_SHARED_DATA", root.parent / "shared" / "data")
  folder = pathlib.Path(shared) / "fashion-mnist"
  if not folder.is_dir():
    pytest.skip("no fashion-mnist: set JAXMIX_SHARED_DATA to its parent")
  data = images.load_fashion_mnist(config(data_dir=str(folder)))
  assert_described("fashion_mnist", data)


def test_a_description_needs_no_data(monkeypatch):
  monkeypatch.setitem(memory.LOADERS, "fashion_mnist", None)
  described = inputs.describe(config(dataset="fashion_mnist"))
  assert described is images.FASHION_MNIST
  assert inputs.describe(config(), num_classes=3) == images.DIGITS._replace(
    num_classes=3
  )
  assert hash(described) != hash(images.DIGITS)


def test_fashion_mnist_reads_idx_files(tmp_path):
  def write(name, array):
    head = bytes([0, 0, 8, array.ndim])
    head += np.asarray(array.shape, ">i4").tobytes()
    with gzip.open(tmp_path / name, "wb") as file:
      file.write(head + array.tobytes())

  values = np.arange(3 * 28 * 28, dtype=np.int64).reshape(3, 28, 28)
  write("train-images-idx3-ubyte.gz", (values % 251).astype(np.uint8))
  write("train-labels-idx1-ubyte.gz", np.array([5, 0, 9], np.uint8))
  write("t10k-images-idx3-ubyte.gz", (values[:2] % 7).astype(np.uint8))
  write("t10k-labels-idx1-ubyte.gz", np.array([1, 2], np.uint8))
  data = images.load_fashion_mnist(config(data_dir=str(tmp_path)))
  np.testing.assert_array_equal(data.train_inputs[..., 0], values % 251)
  np.testing.assert_array_equal(data.eval_inputs[..., 0], values[:2] % 7)
  np.testing.assert_array_equal(data.train_labels, [5, 0, 9])
  assert data.train_labels.dtype == np.int32


def test_a_file_that_is_not_idx_is_named(tmp_path):
  for name in (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
  ):
    with gzip.open(tmp_path / name, "wb") as file:
      file.write(b"plain text")
  with pytest.raises(ValueError, match="not an idx file"):
    images.load_fashion_mnist(config(data_dir=str(tmp_path)))


def test_an_idx_file_cut_short_is_named(tmp_path):
  path = tmp_path / "values.gz"
  head = bytes([0, 0, 8, 1]) + np.array([900], ">i4").tobytes()
  whole = gzip.compress(head + np.random.default_rng(0).bytes(900))
  path.write_bytes(whole)
  assert images.read_idx(path).shape == (900,)
  for wrong, message in (
    (whole[:500], "values.gz is damaged .*; download it again"),
    (b"not gzip", "values.gz is damaged .*; download it again"),
    (gzip.compress(head + bytes(7)), r"expected \[900\] bytes, got 7"),
  ):
    path.write_bytes(wrong)
    with pytest.raises(ValueError, match=message):
      images.read_idx(path)
