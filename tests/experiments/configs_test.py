"""Configs: arguments, resolution, errors, and the recipes' published values."""

import importlib
import math
import pathlib
import re

from ml_collections import ConfigDict
import pytest

from experiments import methods
from experiments.configs import common

ROOT = pathlib.Path(__file__).parents[2]
NAMES = [
  "digits",
  "graphs",
  "imagenet_resnet50",
  "imagenet_vit_b16",
  "imagenet_coatnet0",
  "tabular",
  "speech",
  "cifar10",
  "mixupe_images",
  "umixup_images",
  "kimura_images",
  "zhang_images",
]


def get(name, arg=None):
  return importlib.import_module(f"experiments.configs.{name}").get_config(arg)


@pytest.mark.parametrize("name", NAMES)
def test_every_config_has_the_shared_keys_and_resolves(name):
  config = get(name)
  assert set(config) == set(common.base())
  resolved = common.resolve(config)
  assert None not in (resolved.alpha, resolved.beta, resolved.eta)
  assert config.eta is None  # resolve works on a copy


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", methods.METHODS)
def test_every_method_resolves_on_every_config(name, method):
  config = common.resolve(get(name, f"method={method}"))
  recipe = config.recipe[method]
  assert (config.alpha, config.beta) == (recipe.alpha, recipe.beta)
  assert (config.eta > 0) == (method in ("mixupe", "regmixup"))
  assert methods.is_enhanced(config) == (method == "mixupe")


def test_the_recipes_are_the_papers():
  resnet = common.resolve(get("imagenet_resnet50"))
  vit = common.resolve(get("imagenet_vit_b16"))
  coatnet = common.resolve(get("imagenet_coatnet0"))
  for config in (resnet, vit, coatnet):
    assert (config.batch_size, config.total_steps) == (4096, 100_000)
    assert (config.image_size, config.polyak_rate) == (224, 0.999)
    assert config.final_learning_rate_ratio == 1e-3
    assert config.dtype == "bfloat16"
  assert (resnet.optimizer, resnet.momentum) == ("sgd", 0.9)
  assert (resnet.learning_rate, resnet.weight_decay) == (1.6, 1e-4)
  assert (resnet.alpha, resnet.eta) == (0.2, 1e-3)
  for config, decay in ((vit, 0.3), (coatnet, 0.05)):
    assert (config.optimizer, config.b1, config.b2) == ("adamw", 0.9, 0.99)
    assert (config.learning_rate, config.weight_decay) == (1e-3, decay)
    assert (config.alpha, config.eta, config.grad_clip) == (0.4, 5e-4, 1.0)


def test_arguments_are_variants_and_typed_keys():
  config = get(
    "imagenet_resnet50",
    "smoke,method=untied,seed=7,eta=1,model_options.width=4,dtype=bfloat16",
  )
  assert config.model == "resnet50_tiny"
  assert (config.method, config.seed, config.dtype) == (
    "untied",
    7,
    "bfloat16",
  )
  assert config.eta == 1.0 and isinstance(config.eta, float)
  assert config.model_options.width == 4


def test_variants_stand_in_any_order():
  first, second = (get("graphs", arg) for arg in ("smoke,nci1", "nci1,smoke"))
  assert first == second and first.model_options.hidden_size == 16


def test_eta_zero_for_mixupe_is_a_control_that_keeps_its_pass():
  config = common.resolve(get("digits", "method=mixupe,eta=0"))
  assert config.eta == 0.0 and methods.is_enhanced(config)


def test_a_given_eta_enhances_any_method():
  config = common.resolve(get("digits", "method=untied,eta=0.5"))
  assert config.eta == 0.5 and methods.is_enhanced(config)


def test_an_alpha_alone_is_symmetric_where_lam_is_tied():
  assert common.resolve(get("digits", "method=mixup,alpha=0.3")).beta == 0.3
  untied = common.resolve(get("digits", "method=untied,alpha=2.0"))
  assert (untied.alpha, untied.beta) == (2.0, 0.3)


@pytest.mark.parametrize(
  ("arg", "message"),
  [
    (
      "lern_rate=1",
      r"Unknown config key 'lern_rate'; known keys: accumulate_steps.*",
    ),
    ("model.width=1", r"Unknown config key 'model.width'"),
    ("huge", r"Unknown variant 'huge'; known variants: compare, smoke"),
    (
      "seed=three",
      "seed must be an integer from 0 to 4,294,967,295, got 'three'",
    ),
  ],
)
def test_bad_arguments_are_named(arg, message):
  with pytest.raises(ValueError, match=message):
    get("digits", arg)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"method": "mixpu"}, "method must be one of erm, mixup, mixupe.*'mixpu'"),
    ({"parallel": "xmap"}, "parallel must be one of pmap, shard_map"),
    ({"pairing": "next"}, "pairing must be one of permutation"),
    ({"penalty": "both"}, "penalty must be one of"),
    ({"penalty_at": "random"}, "penalty_at must be one of"),
    ({"penalty_form": "signed"}, "penalty_form must be one of"),
    ({"clean_pass": "twice"}, "clean_pass must be one of"),
    (
      {"method": "mixup", "alpha": 0.0},
      "alpha must lie .*got 0.0.*=erm",
    ),
    ({"method": "cutmix", "alpha": -1.0}, "alpha must lie in .*got -1.0"),
    ({"method": "untied", "beta": -1.0}, "beta must lie in .*got -1.0"),
    ({"method": "dat", "beta": math.nan}, "beta must be a number in .*got nan"),
    ({"eta": math.nan}, r"eta must be a number in \[0, 1e6\].*got nan"),
    ({"eta": 1e39}, "eta must be a number in .*got 1e.39"),
    ({"eta": -1.0}, "eta must be a number in .*got -1.0"),
    ({"beta": 1e11, "method": "mixup"}, r"beta must .*\(0, 1e10\], got 1"),
    ({"clean_fraction": 2.0}, r"clean_fraction must .* in \(0, 1\], got 2.0"),
    (
      {"stratified": True, "per_example": False},
      "stratified=True needs per_example=True",
    ),
    ({"share_lam": True}, "share_lam=True needs per_example=False"),
    (
      {"monitor": "theory", "monitor_examples": 9, "eval_batch_size": 8},
      "monitor_examples=9 must not exceed eval_batch_size=8",
    ),
    (
      {"penalty_form": "release", "penalty": "exact"},
      "penalty_form='release' takes penalty='approximate', got 'exact'",
    ),
    (
      {"method": "cutmix", "alpha": 0.5, "beta": 50.0},
      "beta does not apply to method='cutmix'.*beta=50.0, alpha=0.5",
    ),
    (
      {"method": "cutmix", "mix_at": "stage1"},
      "mix_at does not apply to method='cutmix'",
    ),
    ({"optimizer": "lion"}, "optimizer must be one of sgd, adam, adamw"),
    ({"schedule": "linear"}, "schedule must be one of cosine, constant, steps"),
    ({"schedule": "steps"}, r"schedule_boundaries and .*got \(\) and 'steps'"),
    ({"schedule_boundaries": (0.5,)}, r"got \(0.5,\) and 'cosine'"),
    *(
      (
        {"schedule": "steps", "schedule_boundaries": wrong},
        r"schedule_boundaries.* must be .*number in \(0, 1\)",
      )
      for wrong in ((0.5, 0.5), (0.0,), (0.5, 1.0), (50.0, 100.0), (math.nan,))
    ),
    (
      {"schedule_factor": 0.0},
      r"schedule_factor must be a number in \(0, 1e6\]",
    ),
    ({"epochs": 0.0}, r"epochs must be a number in \(0, 1e9\).*got 0.0"),
    ({"epochs": math.nan}, r"epochs must be a number in .*got nan"),
    ({"eval_every_epochs": -1.0}, r"eval_every_epochs must be .*got -1.0"),
    ({"dtype": "float16"}, "dtype must be one of"),
    ({"dropout_prng": "philox"}, "dropout_prng must be one of .*'philox'"),
    ({"batch_size": 0}, "batch_size must be an integer from 1 to .*got 0"),
    ({"pgd_steps": 0}, "pgd_steps must be an integer from 1 .*got 0"),
    ({"pgd_norm": "l1"}, "pgd_norm must be one of linf, l2, got 'l1'"),
    ({"pgd_epsilon": -0.1}, r"pgd_epsilon must .* in \[0, 1e4\], got -0.1"),
    ({"fgsm_epsilon": math.nan}, r"fgsm_epsilon must .* in \[0, 1\], got nan"),
    ({"polyak_rate": 1.0}, r"polyak_rate must .* in \[0, 1\), got 1.0"),
    ({"steps_per_dispatch": 7}, "log_every=50 must be a multiple of"),
    (
      {"method": "cutmix", "stratified": True},
      "stratified does not apply to method='cutmix'",
    ),
  ],
)
def test_bad_values_are_named(changes, message):
  config = get("digits")
  config.update(changes)
  with pytest.raises(ValueError, match=message):
    common.resolve(config)


@pytest.mark.parametrize(
  ("epochs", "batch_size", "dispatch", "expected"),
  [
    (2.0, 10, 1, 6),
    (1.0, 100, 1, 1),
    (2.5, 10, 1, 8),
    (2.0, 10, 4, 8),
    (0.1, 1, 1, 3),  # 0.1 * 30 is more than 3 in floats
    (1e-9, 10, 4, 4),
  ],
)
def test_epochs_become_full_steps(epochs, batch_size, dispatch, expected):
  arg = f"batch_size={batch_size},steps_per_dispatch={dispatch},log_every=4"
  config = get("tabular", f"{arg},eval_every=4,checkpoint_every=4")
  config.epochs = config.eval_every_epochs = epochs
  config = common.in_steps(common.resolve(config), 30)
  assert (config.total_steps, config.eval_every) == (expected, expected)


def test_without_epochs_steps_stay():
  config = common.resolve(get("digits"))
  assert common.in_steps(config, 0) == config
  config.epochs = 2.0
  with pytest.raises(ValueError, match="epochs: how many .*use total_steps"):
    common.in_steps(config, 0)
  config = common.in_steps(config, 600)
  assert (config.total_steps, config.eval_every) == (12, 50)


def test_every_key_is_read_somewhere():
  source = "".join(
    path.read_text()
    for path in (ROOT / "experiments").rglob("*.py")
    if "configs" not in path.parts or path.name == "common.py"
  )
  # Less where keys get their defaults.
  source = re.sub(r"^ +config\.\w+ = .*\n", "", source, flags=re.MULTILINE)
  unread = [
    key
    for key in common.base()
    if not re.search(rf"config\.{key}\b|[\"']{key}[\"']", source)
  ]
  assert unread == []


def test_docstrings_give_the_launch_command():
  for name in NAMES:
    doc = importlib.import_module(f"experiments.configs.{name}").__doc__
    assert f"--config=experiments/configs/{name}.py" in doc


def test_recipes_are_config_dicts_with_one_entry_a_method():
  recipe = methods.recipe(mixup_alpha=0.5, eta=0.1)
  assert isinstance(recipe, ConfigDict)
  assert set(recipe) == set(methods.METHODS)
  assert (recipe.untied.alpha, recipe.untied.beta) == (1.5, 0.5)
