"""The config's keys of data."""

import re

import numpy as np
import pytest

from experiments import domains, inputs
from experiments.configs import common
from experiments.inputs import keys, memory
from experiments.inputs.dataset import Arrays


def test_defaults_pass_and_are_made_anew():
  config = inputs.defaults()
  inputs.check(config)
  config.batch_size = 7
  assert inputs.defaults().batch_size == 128
  assert set(config) > inputs.FREE


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (dict(batch_size=0), "^batch_size must be .* from 1 to .*got 0"),
    (dict(eval_batch_size=-1), "eval_batch_size must be .* from 1 .*got -1"),
    (dict(image_size=300), "image_size must .* resize_size=256, .* got 300"),
    (dict(image_size=0), "image_size must be .*got 0"),
    (dict(shuffle_buffer=1), "shuffle_buffer must be .* from 2 .*got 1"),
    (dict(shuffle_lanes=0), "shuffle_lanes must be .* from 1 .*got 0"),
    (dict(interpolation="nearest"), "interpolation must be one of .*'nearest'"),
    (
      dict(max_unreadable_fraction=1.5),
      r"max_unreadable_fraction must .*\[0, 1\], got 1.5",
    ),
    (
      dict(max_unreadable_fraction=float("nan")),
      r"max_unreadable_fraction must .*got nan",
    ),
    (dict(randaugment="2"), "randaugment must be .*such as .2,15.,.* got '2'"),
    (dict(randaugment="0,15"), "randaugment must be .*got '0,15'"),
    (dict(randaugment="2,31"), "randaugment must be .*got '2,31'"),
    (dict(randaugment="2,nan"), "randaugment must be .*got '2,nan'"),
    (dict(randaugment="strong:2,15"), "randaugment .*got 'strong:2,15'"),
    (dict(randaugment=":2,15"), "randaugment must be .*got ':2,15'"),
  ],
)
def test_unusable_values_are_refused(change, message):
  config = inputs.defaults()
  config.update(change)
  with pytest.raises(ValueError, match=message):
    domains.settle(config, inputs.KEYS)
    inputs.check(config)


def test_randaugment_by_hand():
  config = inputs.defaults()
  assert keys.randaugment(config) is None
  config.randaugment = "2,15"
  assert keys.randaugment(config) == (2, 15.0)
  config.randaugment = "paper:2,15"
  assert keys.randaugment(config) == (2, 15.0, "paper")


@pytest.mark.parametrize(
  ("dataset", "change", "message"),
  [
    ("digits", {"train_split": "train[:100]"}, "leave it at 'train', got"),
    ("digits", {"fold": 3}, "leave it at 0, got 3"),
    ("digits", {"target": "class"}, "leave it at '', got 'class'"),
    ("imagenet2012", {"inner_validation": False}, "leave it at True"),
    ("imagenet2012", {"speech_split": "speaker"}, "leave it at 'official'"),
  ],
)
def test_a_key_of_another_kind_of_data_is_refused(dataset, change, message):
  config = common.base()
  config.update(change, dataset=dataset)
  (name,) = change
  expected = f"{name} does not apply to dataset='{dataset}'; {message}"
  with pytest.raises(ValueError, match=re.escape(expected)):
    inputs.create(config)


def test_a_loader_of_ones_own_may_read_any_key(monkeypatch):
  def load(config):
    x = np.arange(10 * config.folds, dtype=np.uint8)[:, None]
    labels = np.zeros(len(x), np.int32)
    return Arrays(x[:-10], labels[:-10], x[-10:], labels[-10:], 1)

  monkeypatch.setitem(memory.LOADERS, "made", load)
  config = common.base()
  config.update(dataset="made", folds=3)
  loaded = memory.Loaded()
  assert inputs.create(config, loaded).spec.num_train == 20
  # What was loaded before is asked, too.
  config.image_size = 32
  with pytest.raises(ValueError, match="image_size does not apply to .*'made'"):
    inputs.create(config, loaded)
