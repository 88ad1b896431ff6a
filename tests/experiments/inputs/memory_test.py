"""In-memory data sets: order, resumption, processes, padding."""

import jax
from ml_collections import ConfigDict
import numpy as np
import pytest

from experiments.inputs import images, memory, scale
from experiments.inputs.dataset import Arrays


def config(**overrides):
  values = dict(
    dataset="digits", data_dir="", seed=3, batch_size=64, eval_batch_size=500
  )
  return ConfigDict(values | overrides)


def rows(batches, count):
  return [next(batches) for _ in range(count)]


def test_every_epoch_is_a_permutation_and_batches_span_epochs():
  dataset = memory.create(config(batch_size=64))
  labels = np.concatenate([b["label"] for b in rows(dataset.train(), 19)])
  drawn = np.concatenate([b["inputs"] for b in rows(dataset.train(), 19)])
  first, second = drawn[:600], drawn[600:1200]

  def sort(x):
    x = x.reshape(len(x), -1)
    return x[np.lexsort(x.T)]

  data = images.load_digits(config())
  np.testing.assert_array_equal(sort(first), sort(data.train_inputs))
  np.testing.assert_array_equal(sort(second), sort(data.train_inputs))
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
    np.testing.assert_array_equal(a["inputs"], b["inputs"])
    np.testing.assert_array_equal(a["label"], b["label"])


def test_seeds_and_streams_differ():
  first = next(memory.create(config()).train())["inputs"]
  other_seed = next(memory.create(config(seed=4)).train())["inputs"]
  other_stream = next(memory.create(config()).train(stream=1))["inputs"]
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
    joined = np.concatenate([part[k]["inputs"] for part in parts])
    np.testing.assert_array_equal(joined, whole[k]["inputs"])


@pytest.mark.parametrize("processes", [1, 4])
def test_evaluation_counts_every_example_once(processes):
  data = images.load_digits(config())
  seen, lengths = [], set()
  for p in range(processes):
    dataset = memory.create(config(), process_index=p, process_count=processes)
    batches = list(dataset.evaluate())
    lengths.add(len(batches))
    for batch in batches:
      assert len(batch["label"]) == 500 // processes
      seen.append(batch["inputs"][batch["mask"]])
      assert not batch["inputs"][~batch["mask"]].any()
  assert lengths == {3}
  seen = np.concatenate(seen)
  assert len(seen) == 1197
  order = np.lexsort(seen.reshape(1197, -1).T)
  expected = np.lexsort(data.eval_inputs.reshape(1197, -1).T)
  np.testing.assert_array_equal(seen[order], data.eval_inputs[expected])


def test_a_batch_larger_than_the_data_set_runs_through_several_epochs():
  dataset = memory.create(config(batch_size=1500))
  batch = next(dataset.train())
  counts = np.bincount(batch["label"][:1200])
  data = images.load_digits(config())
  np.testing.assert_array_equal(counts, 2 * np.bincount(data.train_labels))


def test_missing_files_say_what_to_download(tmp_path):
  wrong = config(
    dataset="fashion_mnist",
    data_dir=str(tmp_path),
    train_split="train",
    eval_split="test",
  )
  with pytest.raises(FileNotFoundError, match="train-images-idx3-ubyte.gz"):
    memory.create(wrong)


def test_processes_must_divide_the_batch():
  with pytest.raises(ValueError, match="batch_size: .* processes, 3, got 64"):
    memory.create(config(), process_count=3)


@pytest.fixture
def toy(monkeypatch):
  """Three examples of two floats and a byte, of a name of their own."""
  identity = scale.Scale(lambda raw, dtype=np.float32: raw, None)
  inputs = {
    "columns": np.array([[0.0, 1.0], [np.nan, 3.0], [4.0, 5.0]], np.float32),
    "flag": np.array([7, 8, 9], np.uint8),
  }
  targets = np.array([0.5, 1.5, 2.5], np.float32)
  data = Arrays(inputs, targets, inputs, targets, 1, identity)
  monkeypatch.setitem(memory.LOADERS, "toy", lambda config: data)
  return data


def test_a_loader_is_all_that_a_new_data_set_needs(toy):
  dataset = memory.create(config(dataset="toy", batch_size=3))
  spec = dataset.spec
  assert spec == memory.describe(config(dataset="toy"))
  assert spec.inputs == {
    "columns": jax.ShapeDtypeStruct((2,), np.float32),
    "flag": jax.ShapeDtypeStruct((), np.uint8),
  }
  assert spec[1:5] == (1, 3, 3, toy.scale)
  batch = next(dataset.train())
  rows = np.array(batch["inputs"]["flag"]) - 7
  assert sorted(rows) == [0, 1, 2]
  np.testing.assert_array_equal(
    batch["inputs"]["columns"], toy.train_inputs["columns"][rows]
  )
  np.testing.assert_array_equal(batch["label"], toy.train_labels[rows])


def test_padding_is_zeros_whatever_the_first_example_is(toy):
  toy.eval_inputs["columns"][0] = np.nan
  dataset = memory.create(config(dataset="toy", eval_batch_size=5))
  (batch,) = dataset.evaluate()
  assert not batch["inputs"]["columns"][3:].any()
  assert not batch["label"][3:].any()
  assert batch["inputs"]["flag"].dtype == np.uint8
  np.testing.assert_array_equal(batch["mask"], [True] * 3 + [False] * 2)


def test_pixel_moments_are_exact():
  values = np.random.default_rng(0).integers(0, 256, (50, 4, 2), np.uint8)
  values[..., 1] //= 3
  mean, std = memory.pixel_moments(values)
  wide = values.reshape(-1, 2).astype(np.float64)
  np.testing.assert_allclose(mean, wide.mean(0), rtol=1e-15)
  np.testing.assert_allclose(std, wide.std(0), rtol=1e-14)
  # Where a difference of two means of squares would lose the difference.
  mean, std = memory.pixel_moments(
    np.array([[254]] * 9_999 + [[255]], np.uint8)
  )
  np.testing.assert_allclose(std, [np.sqrt(9_999) / 10_000], rtol=1e-15)


def test_arrays_of_bytes_are_measured():
  values = np.array([[[0, 10]], [[4, 30]]], np.uint8)
  labels = np.array([0, 1], np.int32)
  spec = memory.measure(Arrays(values, labels, values[:1], labels[:1], 2))
  assert spec.inputs == jax.ShapeDtypeStruct((1, 2), np.uint8)
  assert spec.scale == scale.pixels(mean=[2.0, 20.0], std=[2.0, 10.0])
  assert spec[1:4] == (2, 2, 1)


def test_other_arrays_need_a_scale():
  values, labels = np.zeros((2, 3), np.float32), np.zeros(2, np.int32)
  with pytest.raises(
    ValueError, match=r"scale: .*got none for float32\[2, 3\]"
  ):
    memory.measure(Arrays(values, labels, values, labels, 2))


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (dict(train_labels=np.zeros(2)), r"3 training examples.*got \[2, 3\]"),
    (dict(train_labels=np.zeros(0), train_inputs=np.zeros(0)), "some train"),
    (
      dict(eval_inputs={"flag": np.zeros(3)}),
      "should have evaluation examples",
    ),
  ],
)
def test_arrays_that_are_not_what_they_should_be(
  toy, monkeypatch, change, message
):
  data = toy._replace(**change)
  monkeypatch.setitem(memory.LOADERS, "toy", lambda config: data)
  monkeypatch.setitem(memory.SPECS, "toy", memory.measure(toy))
  if "some" in message:
    monkeypatch.delitem(memory.SPECS, "toy")
  with pytest.raises(ValueError, match=message):
    memory.create(config(dataset="toy"))
