"""A prepared data set of images that tell who they are."""

import numpy as np
from PIL import Image
import pytest

from experiments.inputs import prepare

NUM = 24


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
  """24 JPEGs in three files, each of a class of its own: its label is it."""
  pytest.importorskip("tensorflow_datasets")
  folder = tmp_path_factory.mktemp("jpegs")
  for i in range(NUM):
    values = np.random.default_rng(i).integers(0, 256, (6, 7, 3), np.uint8)
    image = Image.fromarray(values).resize((44, 36), Image.Resampling.BICUBIC)
    image.save(folder / f"class{i:02d}_image.jpg", quality=95)
  out = tmp_path_factory.mktemp("data")
  prepare.prepare(
    str(folder),
    str(out),
    pattern="(?P<label>[^_]*)_.*",
    eval_split="same",
    shards=3,
  )
  return out
