"""Small image sets as tfds prepares them."""

import shutil

from ml_collections import ConfigDict
import numpy as np
import pytest

from experiments.inputs import images, memory
from experiments.inputs.images import known


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """cifar10, of six training images and three to test, by tfds' own writer."""
  tfds = pytest.importorskip("tensorflow_datasets")
  tf = pytest.importorskip("tensorflow")
  out = tmp_path_factory.mktemp("tfds")

  def split(count, first):
    rng = np.random.default_rng(first)
    return tf.data.Dataset.from_tensor_slices(
      {
        "image": rng.integers(0, 256, (count, 32, 32, 3), np.uint8),
        "label": np.arange(first, first + count),
      }
    )

  tfds.dataset_builders.store_as_tfds_dataset(
    name="cifar10",
    version="3.0.2",
    features=tfds.features.FeaturesDict(
      {
        "image": tfds.features.Image(shape=(32, 32, 3)),
        "label": tfds.features.ClassLabel(num_classes=10),
      }
    ),
    split_datasets={"train": split(6, 0), "test": split(3, 6)},
    data_dir=str(out),
    disable_shuffling=True,
  )
  return out


def config(data_dir, **overrides):
  plain = dict(train_split="train", eval_split="validation")
  return ConfigDict(
    dict(dataset="cifar10", data_dir=str(data_dir)) | plain | overrides
  )


def test_images_are_tfds_own(folder, monkeypatch):
  sizes = {"train": 6, "test": 3}
  monkeypatch.setitem(
    known.SETS, "cifar10", known.SETS["cifar10"]._replace(sizes=sizes)
  )
  data, spec = memory.load(config(folder))
  expected = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
  np.testing.assert_array_equal(data.train_inputs, expected)
  assert data.train_inputs.dtype == np.uint8
  assert data.train_labels.tolist() == list(range(6))
  assert data.eval_labels.tolist() == [6, 7, 8]
  assert spec == memory.describe(config(folder))
  part = config(folder, train_split="train[4:]", eval_split="train[:1]")
  data, _ = memory.load(part)
  np.testing.assert_array_equal(data.train_inputs, expected[4:])
  assert data.test_labels.tolist() == [6, 7, 8]


def test_a_set_of_another_size_is_refused(folder):
  with pytest.raises(ValueError, match="hold 50,000 train images, got 6"):
    images.load(config(folder))


def test_official_files_are_looked_for_where_tfds_has_none(folder, tmp_path):
  shutil.copytree(folder / "cifar10", tmp_path / "cifar100")
  with pytest.raises(FileNotFoundError, match="Or pass a.*tfds build cifar10"):
    images.load(config(tmp_path))
