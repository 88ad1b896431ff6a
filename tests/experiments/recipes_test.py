"""The ImageNet recipes' tiny siblings on real JPEGs, by imagenet2012's path."""

import os
import pathlib

import numpy as np
import pytest

from experiments import programs, train
from experiments.configs import (
  imagenet_coatnet0,
  imagenet_resnet50,
  imagenet_vit_b16,
)
from experiments.workdir import metrics

pytest.importorskip("tensorflow_datasets")

SHARED = pathlib.Path(
  os.environ.get(
    "JAXMIX_SHARED_DATA", pathlib.Path(__file__).parents[3] / "shared" / "data"
  )
)
SAMPLE = SHARED / "imagenet_sample"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  if not SAMPLE.exists():
    pytest.skip(
      f"No ImageNet sample at {SAMPLE}; set JAXMIX_SHARED_DATA to its folder."
    )
  from experiments.inputs import prepare

  out = tmp_path_factory.mktemp("tfds")
  prepare.prepare(
    folder=str(SAMPLE),
    out=str(out),
    pattern=r"(?P<label>n\d+)_.*",
    classes=str(SAMPLE / "classes.txt"),
    eval_split="same",
  )
  return str(out)


def smoke(recipe, data_dir, arg=""):
  config = recipe.get_config(f"smoke,{arg}" if arg else "smoke")
  config.data_dir = data_dir
  config.image_size, config.resize_size = 32, 36
  config.total_steps = 4
  config.warmup_steps = 1
  config.log_every = config.eval_every = 4
  config.checkpoint_every = 2
  config.eval_split = "validation[:70]"
  return config


@pytest.mark.parametrize(
  ("recipe", "arg"),
  [
    (imagenet_resnet50, "method=mixupe,model_options.stage_sizes=(1,1)"),
    (
      imagenet_vit_b16,
      "method=mixupe,clean_fraction=0.25,model_options.depth=1",
    ),
    (imagenet_coatnet0, "method=untied,pairing=between"),
  ],
  ids=["resnet50", "vit_b16", "coatnet0"],
)
def test_recipes_train_and_resume_on_real_jpegs(
  tmp_path, data_dir, monkeypatch, recipe, arg
):
  config = smoke(recipe, data_dir, arg)
  cache = programs.Cache()
  result = train.train_and_evaluate(config, tmp_path / "whole", cache)
  assert result["examples"] == 70
  # Near the loss of a guess among 1,000 classes: it has not blown up.
  assert np.log(1000) - 0.5 < result["polyak_loss"] < np.log(1000) + 1.5

  class Stop(Exception):
    pass

  def stop(self, step, split, values):
    raise Stop

  with monkeypatch.context() as patch:
    # Ends at step 4's log line: the checkpoint of step 2 is all there is.
    patch.setattr(metrics.MetricsWriter, "write", stop)
    with pytest.raises(Stop):
      train.train_and_evaluate(config, tmp_path / "broken", cache)
  again = train.train_and_evaluate(config, tmp_path / "broken", cache)
  assert again == result
