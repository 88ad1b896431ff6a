"""Which images are held out."""

import hashlib

from hypothesis import given, strategies
import pytest

from experiments.inputs.prepare import split


def digest(name):
  return hashlib.sha256(name.encode()).hexdigest()


def test_validation_is_the_smallest_hashes_of_every_class():
  labels = {f"{c}/{i}.jpg": c for c, n in enumerate((10, 20)) for i in range(n)}
  train, validation = split.split_by_hash(labels, 0.3)
  expected = []
  for c, count in ((0, 3), (1, 6)):
    own = sorted((name for name in labels if labels[name] == c), key=digest)
    expected += own[:count]
  assert validation == sorted(expected)
  assert train == sorted(labels.keys() - set(expected))


def test_a_class_with_one_image_is_trained_on():
  labels = {f"big/{i}": 0 for i in range(40)} | {"small/0": 1}
  for fraction in (0.01, 0.1, 0.5, 0.9):
    train, validation = split.split_by_hash(labels, fraction)
    assert "small/0" in train
    assert len(validation) == max(1, round(fraction * 41))


@given(
  sizes=strategies.lists(strategies.integers(1, 30), min_size=1, max_size=8),
  fraction=strategies.floats(0.001, 0.999),
)
def test_every_class_has_its_share(sizes, fraction):
  labels = {f"{c}/{i}": c for c, n in enumerate(sizes) for i in range(n)}
  total = max(1, round(fraction * len(labels)))
  if total > len(labels) - len(sizes):
    with pytest.raises(ValueError, match="at least one image of each of the"):
      split.split_by_hash(labels, fraction)
    return
  train, validation = split.split_by_hash(labels, fraction)
  assert sorted(train + validation) == sorted(labels)
  assert len(validation) == total
  held_out = [
    sum(labels[name] == c for name in validation) for c in range(len(sizes))
  ]
  capped = any(
    fraction * size > size - 1 for size in sizes
  )  # others then make up for it
  for size, count in zip(sizes, held_out, strict=True):
    assert 0 <= count < size or count == 0 == size - 1
    if not capped and fraction * len(labels) >= 1:
      assert abs(count - fraction * size) <= 1 + 1e-9


def test_the_order_of_listing_is_no_matter():
  labels = {f"{i % 3}/{i}": i % 3 for i in range(31)}
  backwards = dict(reversed(labels.items()))
  assert split.split_by_hash(labels, 0.4) == split.split_by_hash(backwards, 0.4)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_what_is_no_share_is_an_error(fraction):
  message = rf"eval_fraction: expected a number in \(0, 1\), got {fraction}"
  with pytest.raises(ValueError, match=message):
    split.split_by_hash({"a/0": 0, "a/1": 0}, fraction)


def test_many_classes_take_no_time():
  labels = {f"{c}/{i}": c for c in range(20_000) for i in range(1 + c % 3)}
  train, validation = split.split_by_hash(labels, 0.1)
  assert {labels[name] for name in train} == set(range(20_000))
