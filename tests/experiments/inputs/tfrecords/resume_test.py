"""A run that goes on must find the files that it began with."""

import shutil

import numpy as np
from PIL import Image
import pytest

pytest.importorskip("tensorflow_datasets")

from experiments import train  # noqa: E402
from experiments.configs import common  # noqa: E402
from experiments.inputs import prepare  # noqa: E402


@pytest.fixture
def folder(tmp_path):
  for i in range(12):
    values = np.random.default_rng(i).integers(0, 256, (9, 9, 3), np.uint8)
    path = tmp_path / "images" / f"c{i % 2}" / f"{i}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
  return tmp_path / "images"


def prepared(folder, out, **options):
  prepare.prepare(str(folder), str(out), eval_split="same", **options)
  return str(out)


def test_a_run_goes_on_with_its_own_files_alone(folder, tmp_path):
  first = prepared(folder, tmp_path / "first", shards=2)
  config = common.base()
  config.update(dataset="imagenet2012", data_dir=first, image_size=8)
  config.update(resize_size=8, batch_size=8, eval_batch_size=8, model="mlp")
  config.update(total_steps=1, eval_every=1, checkpoint_every=1, log_every=1)
  config.update(warmup_steps=0)
  workdir = tmp_path / "run"
  done = train.train_and_evaluate(config, workdir)

  config.data_dir = str(tmp_path / "moved")
  shutil.copytree(first, config.data_dir)
  assert train.train_and_evaluate(config, workdir) == done

  other = prepared(folder, tmp_path / "other", shards=3)
  smaller = prepared(folder, tmp_path / "smaller", shards=2, shorter_side=4)
  for data_dir in (other, smaller):
    config.data_dir = data_dir
    with pytest.raises(ValueError, match="data: '24 records in 4 files, dig"):
      train.train_and_evaluate(config, workdir)
