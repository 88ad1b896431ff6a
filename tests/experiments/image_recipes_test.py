"""The recipes of small images: the papers' values, variants, and a start."""

import os
import pathlib

from ml_collections import ConfigDict
import pytest

from experiments import inputs, sweep, train
from experiments.configs import (
  cifar10,
  common,
  kimura_images,
  mixupe_images,
  umixup_images,
  zhang_images,
)
from jaxmix import models

SHARED = pathlib.Path(
  os.environ.get(
    "JAXMIX_SHARED_DATA", pathlib.Path(__file__).parents[3] / "shared" / "data"
  )
)
MODULES = (cifar10, mixupe_images, umixup_images, kimura_images, zhang_images)


def resolved(module, arg):
  return common.resolve(module.get_config(arg))


@pytest.mark.parametrize(
  ("arg", "dataset", "alpha"),
  [
    (None, "cifar10", 1.0),
    ("cifar100", "cifar100", 1.0),
    ("svhn", "svhn_cropped", 1.0),
    ("tiny_imagenet", "tiny_imagenet", 0.2),
  ],
)
def test_mixupes_recipe(arg, dataset, alpha):
  config = resolved(mixupe_images, arg)
  assert (config.dataset, config.alpha, config.eta) == (dataset, alpha, 1e-3)
  assert (config.batch_size, config.epochs) == (100, 200.0)
  assert (config.learning_rate, config.momentum) == (0.1, 0.9)
  assert (config.weight_decay, config.optimizer) == (1e-4, "sgd")
  assert config.schedule_boundaries == (0.5, 0.75)
  assert (config.schedule, config.schedule_factor) == ("steps", 0.1)
  assert config.clean_pass == "separate"
  # A digit that is flipped is another character.
  assert config.hflip == (0.0 if arg == "svhn" else 0.5)
  assert inputs.describe(config).num_eval in (10_000, 26_032)


def test_the_release_by_name():
  config = resolved(mixupe_images, "cifar100,release")
  assert (config.model, config.epochs) == ("preact_resnet50", 800.0)
  assert (config.alpha, config.eta) == (2.0, 1e-3)
  assert config.penalty_form == "release"
  assert (config.per_example, config.share_lam) == (False, True)


@pytest.mark.parametrize("arg", umixup_images.POLICIES)
def test_untied_mixups_policies(arg):
  dataset, own, alpha, beta = umixup_images.POLICIES[arg]
  untied = resolved(umixup_images, arg)
  assert (untied.alpha, untied.beta) == (alpha, beta)
  mixup = resolved(umixup_images, f"{arg},method=mixup")
  assert (mixup.alpha, mixup.beta) == (own, own)
  assert untied.pairing == "between" and untied.per_example
  cosine = arg.endswith("_nc")
  assert untied.task == ("cosine" if cosine else "classification")
  if cosine:
    assert untied.embedding_dim == (700 if dataset == "cifar100" else 300)


def test_kimuras_and_zhangs_recipes():
  config = resolved(kimura_images, "svhn")
  assert config.model == "resnet18_cifar" and config.epochs == 200.0
  # What is evaluated is what is trained on, and the test images come last.
  spec = inputs.describe(config)
  assert spec.num_train == spec.num_eval == 73_257
  config = resolved(zhang_images, "kmnist,plain")
  assert (config.batch_size, config.learning_rate) == (64, 0.1)
  assert (config.crop_padding, config.hflip) == (0, 0.0)
  config = resolved(zhang_images, "figure_1a")
  assert (config.model, config.dataset) == ("wrn_16_8", "svhn_cropped")
  assert (config.alpha, config.beta) == (5.0, 0.5)
  assert config.fgsm_epsilon > 0.0
  assert inputs.describe(config).num_eval == 1000
  config = resolved(zhang_images, "figure_1b,cifar10")
  assert (config.dataset, config.epochs) == ("cifar10", 400.0)


@pytest.mark.parametrize(
  ("module", "arg"),
  [
    (cifar10, "compare"),
    (mixupe_images, "ablation"),
    (mixupe_images, "compare"),
    (umixup_images, "compare"),
    (zhang_images, "compare"),
  ],
)
def test_every_run_of_a_comparison_resolves(module, arg):
  jobs = list(sweep.runs(module.get_config(arg)))
  names = {name for name, _, _ in jobs}
  seeds = {seed for _, seed, _ in jobs}
  assert len(jobs) == len(names) * len(seeds)
  assert {"ERM", "Mixup"} <= names and len(seeds) >= 3


def test_variants_may_stand_in_any_order():
  for module, one, other in (
    (mixupe_images, "svhn,tiny", "tiny,svhn"),
    (mixupe_images, "cifar100,smoke", "smoke,cifar100"),
    (umixup_images, "mnist_nc,plain,smoke", "plain,smoke,mnist_nc"),
    (zhang_images, "figure_1a,smoke", "smoke,figure_1a"),
    (kimura_images, "stl10,plain,seed=3", "seed=3,plain,stl10"),
  ):
    assert module.get_config(one) == module.get_config(other)
  assert mixupe_images.get_config("tiny,svhn").model_options.width == 8


SMALL = ("preact", "wrn", "resnet18", "resnet20")


@pytest.mark.parametrize(
  "model", [name for name in models.names() if name.startswith(SMALL)]
)
def test_tiny_is_of_every_network_of_these(model):
  config = common.resolve(cifar10.get_config(f"model={model},tiny"))
  options = config.model_options.to_dict()
  models.create(model, 10, **options)
  assert options["width"] == 8


@pytest.mark.parametrize("module", MODULES)
def test_smoke_names_what_is_missing(module, tmp_path):
  config = module.get_config("smoke")
  config.data_dir = str(tmp_path)
  with pytest.raises(
    FileNotFoundError, match=r"is missing.*Download .*\(.*\."
  ) as error:
    train.train_and_evaluate(config, tmp_path / "run")
  if config.dataset == "cifar10":
    assert "data_batch_1.bin" in str(error.value)
    assert "data_batch_2.bin" not in str(error.value)
  assert not (tmp_path / "run").exists()


def test_a_recipe_trains_on_real_images(tmp_path):
  """Two shuffled copies, each cropped, flipped and cut out by itself."""
  if not (SHARED / "cifar10").is_dir():
    pytest.skip("no cifar10: set JAXMIX_SHARED_DATA to its parent")
  config = umixup_images.get_config("cifar10,smoke")
  config.model_options = ConfigDict({"stage_sizes": (1,), "width": 4})
  config.data_dir = str(SHARED)
  config.cutout = 8
  config.train_split, config.eval_split = "train[:32]", "train[32:48]"
  config.batch_size, config.epochs = 16, 1.0
  config.eval_batch_size = 16
  result = train.train_and_evaluate(config, tmp_path)
  assert result["examples"] == 16
  assert 1.5 < result["loss"] < 3.0
