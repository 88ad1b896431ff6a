import shutil
import subprocess
import sys

import jax
import numpy as np
from PIL import Image
import pytest

from experiments import inputs
from experiments.inputs.tfrecords import imagenet
from tests.experiments.inputs.tfrecords.batches import (
  assert_same,
  labels,
  take,
)

NUM = 24


def test_describes_the_data(config):
  dataset = imagenet.create(config)
  spec = dataset.spec
  assert spec.inputs == jax.ShapeDtypeStruct((8, 8, 3), np.uint8)
  assert spec.num_classes == spec.num_train == spec.num_eval == NUM
  scale = spec.scale.to_float
  np.testing.assert_allclose(scale.mean, [123.675, 116.28, 103.53], rtol=1e-6)
  np.testing.assert_allclose(scale.std, [58.395, 57.12, 57.375], rtol=1e-6)
  # As without the files, but for what only they know.
  whole = imagenet.describe(config)
  assert whole[1:4] == (1000, 1_281_167, 50_000)
  assert whole._replace(num_classes=NUM, num_train=NUM, num_eval=NUM) == spec
  batch = next(dataset.train())
  assert batch.keys() == {"inputs", "label"}
  assert batch["inputs"].shape == (5, 8, 8, 3)
  assert batch["inputs"].dtype == np.uint8
  assert batch["label"].dtype == np.int32


@pytest.mark.parametrize("process_count", [1, 2])
def test_resumes_exactly_at_any_step(config, process_count):
  config.batch_size = config.eval_batch_size = 5 * process_count
  dataset = imagenet.create(config, process_count=process_count)
  whole = take(dataset.train(stream=1), 14)
  # In the first group, in the middle of an epoch, at batches that span two
  # epochs (4, 9: 24 records an epoch, or 12), and later.
  for start in (1, 2, 4, 9, 11):
    assert_same(take(dataset.train(start, stream=1), 3), whole[start:][:3])


def test_what_a_resume_may_change_leaves_the_epoch_as_it_is(
  config, prepared, tmp_path
):
  whole = take(imagenet.create(config).train(), 9)
  elsewhere = shutil.copytree(prepared, tmp_path / "elsewhere")
  changes = {
    "data_dir": str(elsewhere),
    "eval_batch_size": 7,
    "max_unreadable_fraction": 0.5,
  }
  assert changes.keys() == inputs.FREE
  for key, value in changes.items():
    changed = config.copy_and_resolve_references()
    changed[key] = value
    assert changed[key] != config[key]
    assert_same(take(imagenet.create(changed).train(2), 7), whole[2:])
  config.shuffle_buffer = 16  # not among them
  assert labels(take(imagenet.create(config).train(2), 7)) != labels(whole[2:])


def test_every_epoch_shows_every_example_once_in_a_new_order(config):
  drawn = labels(take(imagenet.create(config).train(), 15))
  epochs = [drawn[i : i + NUM] for i in (0, 24, 48)]
  for epoch in epochs:
    assert sorted(epoch) == list(range(NUM))
  assert epochs[0] != epochs[1] != epochs[2]


def test_the_same_example_is_cropped_anew_in_each_epoch(config):
  batches = take(imagenet.create(config).train(), 10)
  images = np.concatenate([batch["inputs"] for batch in batches])
  numbers = labels(batches)
  first, second = [i for i, label in enumerate(numbers) if label == 0]
  assert (images[first] != images[second]).any()


def test_what_does_not_divide_evenly_is_left_out(config):
  config.update(train_split="train[:23]", batch_size=6, shuffle_buffer=48)
  # 23 = 3 * 7 + 2: the last two stored are never shown.
  drawn = labels(take(imagenet.create(config).train(), 7))
  assert sorted(drawn) == sorted(2 * list(set(drawn)))
  assert len(set(drawn)) == 21


def test_streams_and_seeds_differ_and_repeat(config):
  config.batch_size = NUM

  def epoch(seed, stream):
    config.seed = seed
    return next(imagenet.create(config).train(stream=stream))

  epochs = [epoch(3, 0), epoch(3, 1), epoch(4, 0)]
  orders = {tuple(batch["label"]) for batch in epochs}
  assert len(orders) == 3
  for batch in epochs:
    assert sorted(batch["label"]) == list(range(NUM))
  assert_same([epoch(3, 0), epoch(3, 1)], epochs[:2])


def test_streams_and_seeds_draw_different_crops(config):
  # Of one record, so that its position is the same for all.
  config.train_split = "train[:1]"

  def images(seed, stream):
    config.seed = seed
    return next(imagenet.create(config).train(stream=stream))["inputs"]

  first = images(3, 0)
  assert (first != images(3, 1)).any(axis=(1, 2, 3)).all()
  assert (first != images(4, 0)).any(axis=(1, 2, 3)).all()


def test_randaugment_changes_images_only(config):
  plain = next(imagenet.create(config).train())
  config.randaugment = "2,15"
  augmented = next(imagenet.create(config).train())
  np.testing.assert_array_equal(plain["label"], augmented["label"])
  assert (plain["inputs"] != augmented["inputs"]).any()


@pytest.mark.parametrize(
  ("process_count", "eval_batch_size", "num_batches"),
  [(1, 8, 3), (1, 7, 4), (3, 9, 3), (5, 10, 3)],
)
def test_evaluates_every_example_once(
  config, process_count, eval_batch_size, num_batches
):
  config.batch_size = 30
  config.eval_batch_size = eval_batch_size
  seen = []
  for process in range(process_count):
    dataset = imagenet.create(
      config, process_index=process, process_count=process_count
    )
    batches = list(dataset.evaluate())
    assert len(batches) == num_batches
    for batch in batches:
      size = eval_batch_size // process_count
      assert batch["inputs"].shape == (size, 8, 8, 3)
      assert batch["inputs"].dtype == np.uint8
      assert batch["label"].dtype == np.int32
      assert batch["mask"].dtype == bool
      assert not batch["inputs"][~batch["mask"]].any()
      seen += list(batch["label"][batch["mask"]])
  assert sorted(seen) == list(range(NUM))


def test_interpolation_is_of_training_and_evaluation(config):
  first = imagenet.create(config)
  config.interpolation = "bilinear"
  second = imagenet.create(config)
  for one, other in (
    (next(first.train()), next(second.train())),
    (next(first.evaluate()), next(second.evaluate())),
  ):
    np.testing.assert_array_equal(one["label"], other["label"])
    assert (one["inputs"] != other["inputs"]).any(axis=(1, 2, 3)).all()


def test_evaluates_fewer_examples_than_processes(config):
  config.eval_split = "validation[:3]"
  seen = []
  for process in range(5):
    dataset = imagenet.create(config, process_index=process, process_count=5)
    (batch,) = dataset.evaluate()
    seen.append(batch["mask"].sum())
  assert sorted(seen) == [0, 0, 1, 1, 1]


def test_evaluation_pairs_images_with_their_labels(config):
  # The stored image is smooth: its crop resembles the source's.
  batch = next(imagenet.create(config).evaluate())
  for image, label in zip(batch["inputs"], batch["label"], strict=True):
    values = np.random.default_rng(label).integers(0, 256, (6, 7, 3), np.uint8)
    source = Image.fromarray(values).resize((44, 36), Image.Resampling.BICUBIC)
    source = source.resize((12, 10)).crop((2, 1, 10, 9))
    correlation = np.corrcoef(image.ravel(), np.asarray(source).ravel())[0, 1]
    assert correlation > 0.9


def test_slices_of_splits_work(config):
  config.train_split = "train[:18]"
  config.eval_split = "train[18:]"
  config.batch_size = config.eval_batch_size = 18
  dataset = imagenet.create(config)
  assert dataset.spec[2:4] == (18, 6)
  trained = labels(take(dataset.train(), 2))
  (batch,) = dataset.evaluate()
  held_out = list(batch["label"][batch["mask"]])
  assert sorted(trained[:18] + held_out) == list(range(NUM))
  assert sorted(trained[18:]) == sorted(trained[:18])


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (dict(seed=-1), r"seed: expected an integer in 0 \.\."),
    (dict(batch_size=5), "batch_size: .* processes, 2, got 5"),
    (dict(eval_batch_size=7), "eval_batch_size: .* processes, 2, got 7"),
    (dict(train_split="trian"), "train_split: .*'train', 'validation'"),
    (dict(eval_split="train[:0]"), "eval_split: .*no examples.*24"),
    (dict(dataset="imagenet2021"), "neither .* Did you mean imagenet"),
  ],
)
def test_unusable_configs_are_errors(config, change, message):
  config.batch_size = config.eval_batch_size = 4
  config.update(change)
  with pytest.raises(ValueError, match=message):
    imagenet.create(config, process_count=2)


def test_unusable_arguments_are_errors(config):
  with pytest.raises(ValueError, match="process_index: .* = 0, got 1"):
    imagenet.create(config, process_index=1)
  dataset = imagenet.create(config)
  with pytest.raises(ValueError, match="start_step: .* or more, got -1"):
    dataset.train(-1)
  with pytest.raises(ValueError, match="stream: expected 0 or 1, got 2"):
    dataset.train(stream=2)


def test_a_description_needs_classes_of_an_unknown_data_set(config):
  config.dataset = "my_images"
  with pytest.raises(ValueError, match="known: imagenet2012.*--num_classes"):
    imagenet.describe(config)
  assert imagenet.describe(config, 7)[1:4] == (7, 0, 0)


def test_importing_the_module_does_not_import_tensorflow():
  code = (
    "import sys; from experiments.inputs.tfrecords import imagenet, store;"
    " assert 'tensorflow' not in sys.modules"
  )
  subprocess.run([sys.executable, "-c", code], check=True)
