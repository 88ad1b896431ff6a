"""Data sets that are not there, or not as training needs them."""

import io

import numpy as np
from PIL import Image
import pytest

from experiments import inputs
from experiments.inputs.tfrecords import imagenet

NUM = 24


@pytest.fixture
def config(prepared):
  config = inputs.defaults()
  config.seed = 3
  config.update(dataset="imagenet2012", data_dir=str(prepared))
  return config


def test_missing_imagenet_says_how_to_get_it(config, tmp_path):
  config.data_dir = str(tmp_path)
  with pytest.raises(FileNotFoundError) as error:
    imagenet.create(config)
  message = str(error.value)
  for part in (
    "ILSVRC2012_img_train.tar",
    "ILSVRC2012_img_val.tar",
    "image-net.org",
    f"to {tmp_path}/downloads/manual",
    f"tfds build imagenet2012 --data_dir={tmp_path}"
    f" --manual_dir={tmp_path}/downloads/manual",
    f"python -m experiments.inputs.prepare --folder=JPEGS --out={tmp_path}",
  ):
    assert part in message


def test_other_missing_data_sets_say_how_to_get_them(config, tmp_path):
  config.data_dir = str(tmp_path)
  config.dataset = "imagenette/320px-v2"
  with pytest.raises(FileNotFoundError, match="tfds build imagenette/320px-v2"):
    imagenet.create(config)


IMAGE, LABEL = ("image", "label")


def features_of(tfds):
  """{case: (features, an example without its image)}."""
  kinds = tfds.features
  classes = kinds.ClassLabel(num_classes=3)
  return {
    "no label": ({}, {}),
    "another name": ({"fine_label": classes}, {"fine_label": 1}),
    "scalar": ({LABEL: kinds.Scalar(np.int64)}, {LABEL: 1}),
    "one-hot": (
      {LABEL: kinds.Tensor(shape=(3,), dtype=np.int64)},
      {LABEL: [0, 1, 0]},
    ),
    "sequence": ({LABEL: kinds.Sequence(classes)}, {LABEL: [0, 1]}),
    "text": ({LABEL: kinds.Text()}, {LABEL: "fox"}),
    "nested": ({LABEL: {"class": classes}}, {LABEL: {"class": 1}}),
    "no image": ({IMAGE: kinds.Text(), LABEL: classes}, {IMAGE: "x", LABEL: 1}),
  }


@pytest.mark.parametrize(
  ("case", "message"),
  [
    ("no label", "the feature 'label' of .* is not there"),
    ("another name", r"'label' of .* not there.* \(it has fine_label\)"),
    ("scalar", "'label' of .* is Scalar"),
    ("one-hot", r"'label' of .* is Tensor\(shape=\(3,\)"),
    ("sequence", r"'label' of .* is Sequence\(ClassLabel"),
    ("text", "'label' of .* is Text"),
    ("nested", "'label' of .* is FeaturesDict"),
    ("no image", "'image' of .* is Text"),
  ],
)
def test_a_feature_that_cannot_be_trained_on_is_named(
  config, tmp_path, case, message
):
  tfds = pytest.importorskip("tensorflow_datasets")
  buffer = io.BytesIO()
  Image.new("RGB", (9, 9)).save(buffer, "JPEG")
  features, example = features_of(tfds)[case]
  tfds.dataset_builders.store_as_tfds_dataset(
    name="odd",
    version="1.0.0",
    data_dir=str(tmp_path),
    features=tfds.features.FeaturesDict(
      {IMAGE: tfds.features.Image()} | features
    ),
    split_datasets={"train": [(0, {IMAGE: buffer.getvalue()} | example)]},
    download_config=tfds.download.DownloadConfig(try_download_gcs=False),
  )
  config.update(data_dir=str(tmp_path), dataset="odd", eval_split="train")
  with pytest.raises(ValueError, match=f"dataset: .*{message}") as error:
    imagenet.create(config)
  kind = "Image" if case == "no image" else "ClassLabel"
  assert f"expected a tfds {kind}" in str(error.value)
  assert "experiments.inputs.prepare" in str(error.value)


def test_data_dir_may_begin_with_a_tilde(config, prepared, monkeypatch):
  monkeypatch.setenv("HOME", str(prepared.parent))
  config.data_dir = f"~/{prepared.name}"
  assert imagenet.create(config).spec.num_train == NUM
