"""Several processes read what one would."""

import itertools

from absl import logging as absl_logging
import numpy as np
import pytest

from experiments.inputs.tfrecords import imagenet
from tests.experiments.inputs.tfrecords.batches import (
  assert_same,
  labels,
  take,
)

NUM = 24


def of_processes(config, count, steps, start=0, stream=0):
  """The batches of `count` processes, side by side."""
  iterators = [
    imagenet.create(config, process_index=i, process_count=count).train(
      start, stream
    )
    for i in range(count)
  ]
  return [
    {
      name: np.concatenate([part[name] for part in parts])
      for name in ("inputs", "label")
    }
    for parts in itertools.islice(zip(*iterators, strict=True), steps)
  ]


# 24 records in 3 files and batches of 6: 3 lanes; or 2, or 1.
@pytest.mark.parametrize("lanes", [8, 2, 1])
@pytest.mark.parametrize("process_count", [2, 3, 6])
def test_the_number_of_processes_changes_no_batch(config, lanes, process_count):
  config.update(
    batch_size=6, eval_batch_size=6, shuffle_lanes=lanes, shuffle_buffer=48
  )
  whole = of_processes(config, 1, 9, stream=1)
  assert len({tuple(batch["label"]) for batch in whole}) > 5
  part = of_processes(config, process_count, 6, start=3, stream=1)
  assert_same(part, whole[3:])


@pytest.mark.parametrize("shuffle_buffer", [10, 48])
def test_an_epoch_is_whole_though_the_number_of_processes_changes(
  config, shuffle_buffer
):
  config.update(batch_size=6, eval_batch_size=6, shuffle_buffer=shuffle_buffer)
  drawn = []
  for step, process_count in enumerate([1, 3, 2, 6]):
    drawn += labels(of_processes(config, process_count, 1, start=step))
  assert sorted(drawn) == list(range(NUM))


def test_processes_have_records_of_their_own(config):
  config.update(batch_size=6, eval_batch_size=6, shuffle_buffer=48)
  epochs = []
  for process in range(3):
    dataset = imagenet.create(config, process_index=process, process_count=3)
    drawn = labels(take(dataset.train(), 8))
    # The same ones in every epoch: a page cache then holds them.
    assert sorted(drawn[:8]) == sorted(drawn[8:])
    epochs.append(drawn[:8])
  assert sorted(sum(epochs, [])) == list(range(NUM))


def test_more_processes_than_lanes_are_told(config, caplog, monkeypatch):
  monkeypatch.setattr(absl_logging.get_absl_logger(), "propagate", True)
  config.update(batch_size=6, eval_batch_size=6, shuffle_lanes=1)
  imagenet.create(config, process_count=3)
  remedy = (
    "A new run with shuffle_lanes=3 and shuffle_buffer=48 reads each once"
  )
  assert remedy in caplog.text
  caplog.clear()
  config.update(shuffle_lanes=3, shuffle_buffer=48)
  imagenet.create(config, process_count=3)
  imagenet.create(config, process_count=6)  # there are three files
  assert not caplog.text


def test_processes_draw_different_crops(config):
  # One record, in every row of all processes.
  config.update(train_split="train[:1]", batch_size=10, eval_batch_size=10)
  first, second = (
    next(imagenet.create(config, process_index=i, process_count=2).train())
    for i in range(2)
  )
  np.testing.assert_array_equal(first["label"], second["label"])
  assert (first["inputs"] != second["inputs"]).any(axis=(1, 2, 3)).all()
