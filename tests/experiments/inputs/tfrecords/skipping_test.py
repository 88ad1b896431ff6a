"""Damaged data sets: what is skipped, what is said, what stops the run."""

import io
import itertools
import logging
import pathlib
import shutil

from absl import logging as absl_logging
import numpy as np
from PIL import Image
import pytest

from experiments import inputs
from experiments.inputs.tfrecords import imagenet, skipping

NUM = 24


@pytest.fixture
def data_dir(prepared, tmp_path):
  shutil.copytree(prepared, tmp_path / "data")
  return tmp_path / "data"


@pytest.fixture
def said(caplog, monkeypatch):
  """The warnings, one string each."""
  monkeypatch.setattr(absl_logging.get_absl_logger(), "propagate", True)
  caplog.set_level(logging.WARNING, logger="absl")
  return lambda: [record.getMessage() for record in caplog.records]


def describe(data_dir, **changes):
  config = inputs.defaults()
  config.seed = 3
  config.update(
    dataset="imagenet2012",
    data_dir=str(data_dir),
    batch_size=6,
    eval_batch_size=6,
    image_size=8,
    resize_size=10,
    shuffle_buffer=32,
  )
  config.update(changes)
  return imagenet.create(config)


def file(data_dir, split="train", number=0):
  found = sorted(pathlib.Path(data_dir).glob(f"*/*/*-{split}.tfrecord*"))
  assert len(found) == 3
  return found[number]


def contents(path):
  tf = pytest.importorskip("tensorflow")
  return list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())


def rewrite(path, records):
  tf = pytest.importorskip("tensorflow")
  with tf.io.TFRecordWriter(str(path)) as writer:
    for record in records:
      writer.write(record)


def label(record):
  tf = pytest.importorskip("tensorflow")
  example = tf.train.Example.FromString(record)
  return example.features.feature["label"].int64_list.value[0]


def with_feature(record, **values):
  tf = pytest.importorskip("tensorflow")
  example = tf.train.Example.FromString(record)
  for name, value in values.items():
    feature = example.features.feature[name]
    kind = "bytes_list" if isinstance(value, bytes) else "int64_list"
    getattr(feature, kind).value[0] = value
  return example.SerializeToString()


def spoil(data_dir, change, split="train", number=2):
  """Changes one record of the first file; returns its label."""
  path = file(data_dir, split)
  records = contents(path)
  lost = label(records[number])
  records[number] = change(records[number])
  rewrite(path, records)
  return lost


def not_a_jpeg(record):
  return with_feature(record, image=b"not a JPEG")


def half_a_jpeg(record):
  buffer = io.BytesIO()
  noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
  Image.fromarray(noise).save(buffer, "JPEG")
  whole = buffer.getvalue()
  return with_feature(record, image=whole[: len(whole) // 2])


def take(dataset, num, start=0):
  return list(itertools.islice(dataset.train(start), num))


@pytest.mark.parametrize("change", [not_a_jpeg, half_a_jpeg, lambda _: b""])
def test_a_bad_record_is_skipped_in_training(data_dir, said, change):
  lost = spoil(data_dir, change)
  batches = take(describe(data_dir), 8)  # two epochs
  for epoch in (batches[:4], batches[4:]):
    drawn = [int(x) for batch in epoch for x in batch["label"]]
    # A copy of another takes its place, so that batches keep their size.
    assert set(drawn) == set(range(NUM)) - {lost}
    assert len(drawn) == NUM
  for batch in batches:
    for i, j in itertools.combinations(range(6), 2):
      if batch["label"][i] == batch["label"][j]:
        np.testing.assert_array_equal(batch["inputs"][i], batch["inputs"][j])
  named = [line for line in said() if line.startswith("Skipped:")]
  assert len(named) == 1, said()  # once, though it came twice
  assert f"{file(data_dir)}, record 2: " in named[0]
  assert "2 of " in said()[-1]


def test_the_others_are_as_if_nothing_had_been_wrong(prepared, data_dir):
  lost = spoil(data_dir, not_a_jpeg)
  for good, bad in zip(
    take(describe(prepared), 8), take(describe(data_dir), 8), strict=True
  ):
    same = good["label"] != lost
    np.testing.assert_array_equal(good["label"][same], bad["label"][same])
    np.testing.assert_array_equal(good["inputs"][same], bad["inputs"][same])


@pytest.mark.parametrize("start", range(1, 8))
def test_resuming_beside_a_bad_record_is_exact(data_dir, start):
  spoil(data_dir, not_a_jpeg)
  dataset = describe(data_dir)
  for ours, theirs in zip(
    take(dataset, 3, start), take(dataset, 3 + start)[start:], strict=True
  ):
    for name in ("inputs", "label"):
      np.testing.assert_array_equal(ours[name], theirs[name])


def test_a_bad_record_does_not_count_in_evaluation(data_dir, said):
  lost = spoil(data_dir, not_a_jpeg, "validation", 5)
  seen = [
    int(value)
    for batch in describe(data_dir, eval_batch_size=7).evaluate()
    for value in batch["label"][batch["mask"]]
  ]
  assert sorted(seen) == sorted(set(range(NUM)) - {lost})
  assert any(f"{file(data_dir, 'validation')}, record 5" in x for x in said())


# The file ends in record 3's header, in its body, and where record 4 begins.
@pytest.mark.parametrize("end", ["header", "body", "boundary"])
@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_truncated_file_loses_what_it_lost(data_dir, said, end, split):
  path = file(data_dir, split, 1)
  records = contents(path)
  begins = np.cumsum([0, *(len(record) + 16 for record in records)])
  size = {
    "header": begins[3] + 5,
    "body": begins[3] + 40,
    "boundary": begins[3],
  }
  path.write_bytes(path.read_bytes()[: size[end]])
  lost = {label(record) for record in records[3:]}
  dataset = describe(data_dir)
  if split == "train":
    drawn = [int(x) for batch in take(dataset, 4) for x in batch["label"]]
  else:
    drawn = [
      int(x)
      for batch in dataset.evaluate()
      for x in batch["label"][batch["mask"]]
    ]
  assert set(drawn) == set(range(NUM)) - lost
  named = [line for line in said() if line.startswith("Skipped:")]
  assert len(named) == 5
  for number in range(3, 8):
    assert any(f"{path}, record {number}: " in line for line in named)


def test_past_the_rate_the_run_stops(data_dir):
  spoil(data_dir, not_a_jpeg)
  dataset = describe(data_dir, max_unreadable_fraction=0.0)
  message = (
    r"1 of \d+ records could not be read, the last one being .*tfrecord.*"
    r"record 2: .* Prepare the data set anew, .*max_unreadable_fraction is 0 "
  )
  with pytest.raises(ValueError, match=message):
    take(dataset, 4)


def test_the_rate_is_of_at_least_ten_thousand():
  def unreadable(limit):
    return skipping.Unreadable(limit, lambda p: None, lambda r: None)

  counts = unreadable(1e-3)
  counts.place = counts.reason = str
  counts.count(np.arange(10), 20)
  with pytest.raises(ValueError, match="11 of 30 records"):
    counts.count(np.arange(1), 10)
  counts = unreadable(1e-3)
  counts.place = counts.reason = str
  counts.count(np.arange(0), 50_000)
  counts.count(np.arange(50), 50)
  with pytest.raises(ValueError, match="51 of 50051 records"):
    counts.count(np.arange(1), 1)


def test_nothing_readable_is_an_error_and_not_a_wait(data_dir):
  for number in range(3):
    file(data_dir, number=number).write_bytes(b"")
  with pytest.raises(ValueError, match="None of 6 records in a row"):
    take(describe(data_dir), 1)


def test_a_missing_file_is_named(data_dir):
  path = file(data_dir)
  path.unlink()
  dataset = describe(data_dir, max_unreadable_fraction=0.0)
  with pytest.raises(ValueError, match=rf"{path.name}, record \d: .*No such"):
    take(dataset, 4)


@pytest.mark.parametrize("wrong", [-1, NUM])
@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_label_out_of_range_is_an_error(data_dir, wrong, split):
  spoil(data_dir, lambda r: with_feature(r, label=wrong), split)
  dataset = describe(data_dir)
  message = rf"-{split}.tfrecord.*, record 2: its label is {wrong}, .* 0 .. 23"
  with pytest.raises(ValueError, match=message):
    take(dataset, 4) if split == "train" else list(dataset.evaluate())


def test_fill_repeats_the_readable_rows_in_turn():
  batch = {"label": np.array([0, 5, 0, 7, 0])}
  readable = np.array([False, True, False, True, False])
  assert list(skipping.fill(batch, readable)["label"]) == [5, 5, 7, 7, 5]
  assert skipping.fill(batch, np.ones(5, bool)) is batch
