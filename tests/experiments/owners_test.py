"""Every key has an owner, a type and a range; none reaches a run outside it."""

import importlib
import math
import types

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict
import numpy as np
import pytest

from experiments import domains, optimizers, train
from experiments.configs import common, digits
from experiments.networks import options
from jaxmix import models

RECIPES = ("digits", "imagenet_resnet50", "imagenet_vit_b16")
# What no key may hold, whatever its type.
NOWHERE = [object(), 1j, b"x", math.nan, "a\nb", -(10**400), {"": {3: "x"}}]


@pytest.mark.parametrize("name", sorted(common.keys()))
def test_every_key_has_a_type_and_a_range(name):
  """What reads anything has neither: a new key without them fails here."""
  key = common.keys()[name]
  assert key.expected and key.expected == key.expected.strip()
  for value in NOWHERE:
    with pytest.raises(ValueError) as error:
      key.read(name, value)
    assert str(error.value).startswith(name)
    assert "must be" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", sorted(common.keys()))
def test_every_default_is_in_its_range_and_settled(name):
  key = common.keys()[name]
  read = key.read(name, key.default)
  if isinstance(read, dict):
    assert ConfigDict(read) == ConfigDict(key.default)
  else:
    assert read == key.default and type(read) is type(key.default)


@pytest.mark.parametrize("model", models.names())
def test_every_option_of_every_model_has_a_type_and_a_range(model):
  module = models.create(model, 10)
  for name in models.options(model) - {"axis_name", "dtype"}:
    key = options.OPTIONS[name]
    key.read(name, getattr(module, name))  # the model's own is in it
    for value in NOWHERE:
      with pytest.raises(ValueError, match=f"^{name}"):
        key.read(name, value)


def test_a_models_options_are_checked_by_the_model():
  for given_, message in (
    ({"width": 0}, "model_options.width must be an integer from 1 to"),
    ({"width": True}, "model_options.width must be an integer .*got True"),
    ({"features": (8,)}, "model_options must be .* width, got 'features' in"),
    ({"dtype": "bfloat16"}, "model_options must be .*got 'dtype' in it"),
    ({"stage_sizes": [1, 0]}, r"model_options.stage_sizes\[1\] must be"),
  ):
    config = digits.get_config()
    config.model_options = given_
    with pytest.raises(ValueError, match=message):
      common.resolve(config)
  config.model, config.model_options = "vit_b16", {"dropout": 1}
  with pytest.raises(ValueError, match="model_options.dropout must be a numb"):
    common.resolve(config)
  # A model from elsewhere knows its own.
  config.model, config.model_options = "math:pi", {"any": (1, "a")}
  assert common.resolve(config).model_options.any == (1, "a")


def test_what_no_owner_has_is_refused():
  config = digits.get_config()
  config.lern_rate = 0.1
  with pytest.raises(ValueError, match="Unknown config key 'lern_rate'; known"):
    common.resolve(config)
  del config.lern_rate, config.seed
  with pytest.raises(ValueError, match="^seed is missing in the config"):
    common.resolve(config)


def test_numpys_numbers_become_pythons():
  config = digits.get_config()
  with config.ignore_type():
    config.seed, config.learning_rate = np.int64(3), np.float64(0.25)
    config.sweep_seeds = [np.int32(4)]
  resolved = common.resolve(config)
  assert type(resolved.seed) is int and type(resolved.learning_rate) is float
  assert resolved.sweep_seeds == (4,) and '"seed": 3' in resolved.to_json()


@pytest.fixture
def owner():
  made = types.ModuleType("my_owner")
  made.KEYS = {"huber_delta": domains.number(1.0, "(0, 10]")}
  yield made
  common.OWNERS[:] = [o for o in common.OWNERS if o.__name__ != "my_owner"]


def test_an_owner_of_a_users_own_is_like_all_others(owner):
  owner.FREE = frozenset({"huber_delta"})
  owner.check = lambda config: None
  common.register(owner)
  common.register(owner)  # a config file that is loaded again
  config = digits.get_config("huber_delta=2")
  assert common.resolve(config).huber_delta == 2.0
  assert "huber_delta" in common.free_keys()
  with pytest.raises(ValueError, match=r"huber_delta must .*\(0, 10\], got 0"):
    digits.get_config("huber_delta=0")
  config.huber_delta = math.inf
  with pytest.raises(ValueError, match="huber_delta must .*got inf"):
    common.resolve(config)


def test_a_key_has_one_owner(owner):
  owner.KEYS["learning_rate"] = domains.number(1.0)
  common.register(owner)
  with pytest.raises(
    ValueError, match="my_owner.KEYS must not .*learning_rate"
  ):
    common.base()


# Values that keys hold, at the ends of what is usual and beyond.
VALUES = st.one_of(
  st.sampled_from(
    [None, True, False, 0, 1, -1, 2, 3, 20, 40, 2**31, 2**32, 2**63, 10**12]
    + [0.5, -0.5, 1.5, 1e-46, 1e38, 1e39, math.nan, math.inf, -math.inf]
    + ["", "erm", "dat", "cutmix", "exact", "taylor", "theory", "cosine"]
    + ["logistic", "random", "readout", "random:input+readout", "mixed"]
    + ["joint", "separate", "release", "ring", "between", "adamw", "l2"]
    + ["2,15", "2,", "garbage", "bfloat16", "shard_map", (), (1,), [2], {}]
  ),
  st.integers(),
  st.floats(),
  st.text(max_size=9),
)


@given(
  st.dictionaries(
    st.sampled_from(sorted({*common.keys()} - {"dataset", "model"})),
    VALUES,
    min_size=1,
    max_size=3,
  )
)
@settings(
  max_examples=60,
  deadline=None,
  suppress_health_check=[HealthCheck.too_slow],
)
def test_any_config_is_refused_in_a_line_or_can_be_run(changes):
  config = digits.get_config(
    "model=mlp,model_options.features=(4,),batch_size=40,warmup_steps=5"
  )
  with config.ignore_type():
    for name, value in changes.items():
      try:
        config[name] = ConfigDict(value) if value == {} else value
      except OverflowError:  # of ConfigDict itself
        return
  try:
    resolved = common.resolve(config)
    resolved, _, dataset, programs = train.build(resolved)
  except ValueError as error:
    text = str(error)
    assert "\n" not in text and any(name in text for name in changes), text
    return
  for name, key in common.keys().items():
    if not (resolved[name] is None or isinstance(resolved[name], ConfigDict)):
      assert key.read(name, resolved[name]) == resolved[name]
  rates = optimizers.schedule(resolved)(np.arange(0, resolved.total_steps, 97))
  assert np.all(np.isfinite(rates)) and np.all(np.asarray(rates) >= 0.0)
  assert programs.measures and dataset.spec.num_classes == 10


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_set_nothing_out_of_range(recipe):
  module = importlib.import_module(f"experiments.configs.{recipe}")
  common.resolve(module.get_config())
  common.resolve(module.get_config("smoke"))
