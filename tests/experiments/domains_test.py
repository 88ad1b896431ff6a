"""What keys may hold, and what is said of what they may not."""

import fractions
import math

from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict
import numpy as np
import pytest

from experiments import domains

NO_NUMBERS = [None, True, np.bool_(True), "1", b"1", [1], (1,), {"a": 1}, 1j]


def refused(key, value):
  with pytest.raises(ValueError) as error:
    key.read("some_key", value)
  text = str(error.value)
  assert text.startswith(f"some_key must be {key.expected}")
  assert "got " in text and len(text.splitlines()) == 1 and len(text) < 400
  return text


@pytest.mark.parametrize("value", [*NO_NUMBERS, 3.0, np.float32(3), math.nan])
def test_what_is_no_integer_is_refused(value):
  refused(domains.integer(3, 1, 9), value)


@pytest.mark.parametrize(
  "value", [0, 10, -1, 2**63, 10**12, 10**5000], ids=lambda value: ""
)
def test_an_integer_out_of_range_is_refused(value):
  refused(domains.integer(3, 1, 9), value)


@pytest.mark.parametrize("value", [1, 9, np.int64(9), np.uint8(1)])
def test_an_integer_within_both_ends_becomes_pythons(value):
  read = domains.integer(3, 1, 9).read("some_key", value)
  assert read == value and type(read) is int


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_what_is_no_number_is_refused(value):
  refused(domains.number(0.5, "[0, 1]"), value)


@pytest.mark.parametrize(
  ("interval", "inside", "outside"),
  [
    ("[0, 1]", [0, 1, 0.5, np.float32(1.0)], [-1e-9, 1.1, -math.inf]),
    ("(0, 1)", [1e-30, fractions.Fraction(1, 3)], [0, 1, 1.0, -0.0]),
    ("[0, 1)", [0.0, -0.0], [1, 1.0]),
    ("(0, inf)", [3e38], [0, 4e38, 1e39, math.inf, 10**400]),
    ("(-inf, inf)", [-3e38, 0], [-1e39, -math.inf, math.inf, -(10**400)]),
  ],
)
def test_an_interval_has_the_ends_that_it_says(interval, inside, outside):
  key = domains.number(0.5, interval)
  for value in inside:
    read = key.read("some_key", value)
    assert read == float(value) and type(read) is float
  for value in [*outside, math.nan, np.float64(math.nan)]:
    refused(key, value)


@pytest.mark.parametrize("value", [0, 1, None, "True", np.int64(1), 1.0])
def test_a_claim_is_true_or_false_and_no_number(value):
  refused(domains.boolean(True), value)
  assert domains.boolean(True).read("some_key", np.bool_(False)) is False


@pytest.mark.parametrize("value", ["c", "", "A", None, 3, ("a",), ["a"]])
def test_a_choice_is_one_of_its_names(value):
  assert "one of a, b, got " in refused(domains.choice("a", ("a", "b")), value)


@pytest.mark.parametrize("value", ["c", "", None, 3, ["a"]])
def test_an_entry_is_of_the_table_as_it_is_now_or_an_address(value):
  table = {"a": 1}
  key = domains.entry("a", table)
  with pytest.raises(ValueError, match="^k must be one of a, or package.modu"):
    key.read("k", value)
  table["c"] = 2
  assert key.read("k", "c") == "c"
  assert key.read("k", "package.module:Name") == "package.module:Name"


@pytest.mark.parametrize(
  "value", ["", " a", "a\n", "a\nb", "\0", None, 3, b"a"]
)
def test_a_text_is_one_line(value):
  refused(domains.text("a"), value)
  assert domains.text("", empty=True).read("k", "") == ""


def test_a_folder_is_at_home_and_absolute(monkeypatch, tmp_path):
  monkeypatch.setenv("HOME", str(tmp_path))
  monkeypatch.chdir(tmp_path)
  read = lambda value: domains.folder("").read("k", value)
  assert read("~/data") == read("data") == str(tmp_path / "data")
  # Once: what reads it again finds what it found.
  assert read(read("~/data")) == str(tmp_path / "data")
  assert read("") == "" and read("gs://b/~/d") == "gs://b/~/d"


def test_none_is_only_for_what_is_filled_in_later():
  number = domains.number(0.5)
  refused(number, None)
  assert domains.optional(number, float).read("k", None) is None
  with pytest.raises(ValueError, match="^k must be a number"):
    domains.optional(number, float).read("k", "a")


def test_of_several_the_wrong_one_is_named():
  key = domains.several((0,), domains.integer(0, 0, 9), least=1)
  assert key.read("seeds", [1, np.int64(2)]) == (1, 2)
  with pytest.raises(ValueError, match=r"^seeds\[1\] must be an integer .*'a'"):
    key.read("seeds", (1, "a"))
  for value in (3, "12", {1: 2}, None, ()):
    refused(key, value)


def test_of_a_mapping_the_wrong_part_is_named():
  number = domains.number(0.5, "[0, 1]")
  key = domains.mapping({}, {"rate": number}.get, "a mapping of rate")
  assert key.read("options", ConfigDict({"rate": 1})) == {"rate": 1.0}
  with pytest.raises(ValueError, match=r"^options.rate must be .*, got 2"):
    key.read("options", {"rate": 2})
  with pytest.raises(ValueError, match="^options must be .* got 'rat' in it"):
    key.read("options", {"rat": 1})
  with pytest.raises(ValueError, match="^options must be .* got 3 in it"):
    key.read("options", {3: 1})
  refused(key, None)


def test_a_missing_key_is_named():
  keys = {"a": domains.integer(1, 0, 9)}
  with pytest.raises(ValueError, match=r"^a is missing .*common.base\(\)"):
    domains.settle(ConfigDict(), keys)


def test_defaults_are_made_anew():
  key = domains.mapping({"a": 1}, lambda name: None, "a mapping")
  first = domains.defaults({"options": key})
  first.options.a = 2
  assert domains.defaults({"options": key}).options.a == 1


anything = st.recursive(
  st.none()
  | st.booleans()
  | st.integers()
  | st.floats()
  | st.text(max_size=300)
  | st.binary(max_size=300),
  lambda each: st.lists(each) | st.dictionaries(st.text(), each),
  max_leaves=8,
)


@given(anything)
@settings(max_examples=50, deadline=None)
def test_values_are_told_in_a_line(value):
  text = domains.told(value)
  assert len(text.splitlines()) <= 1 and len(text) < 2000
