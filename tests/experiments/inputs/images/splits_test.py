"""Slices of splits, by tfds' notation."""

from hypothesis import given
from hypothesis import strategies as st
import pytest

from experiments.inputs.images import splits

SIZES = {"train": 200, "test": 30}


@pytest.mark.parametrize(
  ("text", "expected"),
  [
    ("train", [("train", 0, 200)]),
    ("train[:]", [("train", 0, 200)]),
    ("test[10:]", [("test", 10, 30)]),
    ("train[-20:]", [("train", 180, 200)]),
    ("train[10%:-10%]", [("train", 20, 180)]),
    ("train[:999]", [("train", 0, 200)]),
    # 7 % of 30 are 2.1.
    ("test[:7%] + train[ :5]", None),
    ("test[:7%] + train[:5]", [("test", 0, 2), ("train", 0, 5)]),
  ],
)
def test_slices_by_hand(text, expected):
  if expected is None:
    with pytest.raises(ValueError, match="train_split must be splits of train"):
      splits.pieces("train_split", text, SIZES)
    return
  found = splits.pieces("train_split", text, SIZES)
  assert found == [(name, range(a, b)) for name, a, b in expected]


edge = st.one_of(
  st.just(""),
  st.integers(-250, 250).map(str),
  st.integers(-120, 120).map(lambda n: f"{n}%"),
)


@given(edge, edge)
def test_slices_are_pythons(start, stop):
  def position(text):
    return round(int(text[:-1]) * 2) if text.endswith("%") else int(text)

  at = slice(*(position(x) if x else None for x in (start, stop)))
  expected = list(range(200))[at]
  text = f"train[{start}:{stop}]"
  if not expected:
    with pytest.raises(ValueError, match="has no examples"):
      splits.pieces("eval_split", text, SIZES)
    return
  ((name, rows),) = splits.pieces("eval_split", text, SIZES)
  assert (name, list(rows)) == ("train", expected)


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("valid", r"k must be splits of train \(200\), test \(30\), or .*'valid'"),
    ("train[5]", "k must be splits .*'train.5.'"),
    ("train[:5", "k must be splits"),
    ("train[:1.5]", "k must be splits"),
    ("", "k must be splits"),
    ("train+", "k must be splits"),
    ("test[:0]", "k: 'test.:0.' has no examples"),
    ("train[:9]+train[8:]", "k: .* has examples twice"),
  ],
)
def test_what_is_no_slice_is_named(text, message):
  with pytest.raises(ValueError, match=message):
    splits.pieces("k", text, SIZES)


def test_common_examples_by_hand():
  one = splits.pieces("k", "train[:50]+test", SIZES)
  other = splits.pieces("k", "train[40:60]+test[-1:]", SIZES)
  assert splits.count(one) == 80
  assert splits.common(one, other) == splits.common(other, one) == 11
  assert splits.common(one, splits.pieces("k", "train[50:]", SIZES)) == 0
