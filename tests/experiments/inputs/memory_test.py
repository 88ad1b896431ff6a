"""In-memory data sets: order, resumption, processes, padding."""

import gzip

from ml_collections import ConfigDict
import numpy as np
import pytest

from experiments.inputs import memory


def config(**overrides):
  values = dict(
    dataset="digits", data_dir="", seed=3, batch_size=64, eval_batch_size=500
  )
  return ConfigDict(values | overrides)


def rows(batches, count):
  return [next(batches) for _ in range(count)]


def test_digits_are_split_once_and_for_all():
  data = memory.load_digits(config())
  assert data.train_images.shape == (600, 8, 8, 1)
  assert data.eval_images.shape == (1197, 8, 8, 1)
  assert data.train_images.dtype == np.uint8
  assert data.train_images.max() == 255
  counts = np.bincount(data.train_labels)
  assert counts.min() >= 57 and counts.max() <= 62
  again = memory.load_digits(config(seed=99))
  np.testing.assert_array_equal(data.train_labels, again.train_labels)


def test_every_epoch_is_a_permutation_and_batches_span_epochs():
  dataset = memory.create(config(batch_size=64))
  labels = np.concatenate([b["label"] for b in rows(dataset.train(), 19)])
  images = np.concatenate([b["image"] for b in rows(dataset.train(), 19)])
  first, second = images[:600], images[600:1200]

  def sort(x):
    x = x.reshape(len(x), -1)
    return x[np.lexsort(x.T)]

  data = memory.load_digits(config())
  np.testing.assert_array_equal(sort(first), sort(data.train_images))
  np.testing.assert_array_equal(sort(second), sort(data.train_images))
  assert not np.array_equal(first, second)
  np.testing.assert_array_equal(
    np.bincount(labels[:600]), np.bincount(data.train_labels)
  )


@pytest.mark.parametrize("start", [1, 9, 10, 37])
def test_batch_k_does_not_depend_on_where_iteration_began(start):
  dataset = memory.create(config())
  whole = rows(dataset.train(), start + 3)
  late = rows(dataset.train(start_step=start), 3)
  for a, b in zip(whole[start:], late, strict=True):
    np.testing.assert_array_equal(a["image"], b["image"])
    np.testing.assert_array_equal(a["label"], b["label"])


def test_seeds_and_streams_differ():
  first = next(memory.create(config()).train())["image"]
  other_seed = next(memory.create(config(seed=4)).train())["image"]
  other_stream = next(memory.create(config()).train(stream=1))["image"]
  assert not np.array_equal(first, other_seed)
  assert not np.array_equal(first, other_stream)
  assert not np.array_equal(other_seed, other_stream)


def test_processes_share_out_each_batch():
  whole = rows(memory.create(config()).train(start_step=8), 3)
  parts = [
    rows(
      memory.create(config(), process_index=p, process_count=4).train(
        start_step=8
      ),
      3,
    )
    for p in range(4)
  ]
  for k in range(3):
    joined = np.concatenate([part[k]["image"] for part in parts])
    np.testing.assert_array_equal(joined, whole[k]["image"])


@pytest.mark.parametrize("processes", [1, 4])
def test_evaluation_counts_every_example_once(processes):
  data = memory.load_digits(config())
  seen, lengths = [], set()
  for p in range(processes):
    dataset = memory.create(config(), process_index=p, process_count=processes)
    batches = list(dataset.evaluate())
    lengths.add(len(batches))
    for batch in batches:
      assert len(batch["label"]) == 500 // processes
      seen.append(batch["image"][batch["mask"]])
      assert not batch["image"][~batch["mask"]].any()
  assert lengths == {3}
  seen = np.concatenate(seen)
  assert len(seen) == 1197
  order = np.lexsort(seen.reshape(1197, -1).T)
  expected = np.lexsort(data.eval_images.reshape(1197, -1).T)
  np.testing.assert_array_equal(seen[order], data.eval_images[expected])


def test_mean_and_std_are_the_training_pixels():
  dataset = memory.create(config())
  pixels = memory.load_digits(config()).train_images.astype(np.float64)
  np.testing.assert_allclose(dataset.mean, [pixels.mean()])
  np.testing.assert_allclose(dataset.std, [pixels.std()])


def test_a_batch_larger_than_the_data_set_runs_through_several_epochs():
  dataset = memory.create(config(batch_size=1500))
  batch = next(dataset.train())
  counts = np.bincount(batch["label"][:1200])
  data = memory.load_digits(config())
  np.testing.assert_array_equal(counts, 2 * np.bincount(data.train_labels))


def test_fashion_mnist_reads_idx_files(tmp_path):
  def write(name, array):
    head = bytes([0, 0, 8, array.ndim])
    head += np.asarray(array.shape, ">i4").tobytes()
    with gzip.open(tmp_path / name, "wb") as file:
      file.write(head + array.tobytes())

  images = np.arange(3 * 28 * 28, dtype=np.int64).reshape(3, 28, 28)
  write("train-images-idx3-ubyte.gz", (images % 251).astype(np.uint8))
  write("train-labels-idx1-ubyte.gz", np.array([5, 0, 9], np.uint8))
  write("t10k-images-idx3-ubyte.gz", (images[:2] % 7).astype(np.uint8))
  write("t10k-labels-idx1-ubyte.gz", np.array([1, 2], np.uint8))
  data = memory.load_fashion_mnist(config(data_dir=str(tmp_path)))
  np.testing.assert_array_equal(data.train_images[..., 0], images % 251)
  np.testing.assert_array_equal(data.eval_images[..., 0], images[:2] % 7)
  np.testing.assert_array_equal(data.train_labels, [5, 0, 9])
  assert data.train_labels.dtype == np.int32


def test_missing_files_say_what_to_download(tmp_path):
  wrong = config(dataset="fashion_mnist", data_dir=str(tmp_path))
  with pytest.raises(FileNotFoundError, match="train-images-idx3-ubyte.gz"):
    memory.create(wrong)


def test_a_file_that_is_not_idx_is_named(tmp_path):
  for name in (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
  ):
    with gzip.open(tmp_path / name, "wb") as file:
      file.write(b"plain text")
  with pytest.raises(ValueError, match="not an idx file"):
    memory.load_fashion_mnist(config(data_dir=str(tmp_path)))


def test_processes_must_divide_the_batch():
  with pytest.raises(ValueError, match="batch_size=64.*3 processes"):
    memory.create(config(), process_count=3)
