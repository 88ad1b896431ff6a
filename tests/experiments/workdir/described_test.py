"""config.json and provenance: what is compared, what is written, and when."""

import functools
import json
import os

import pytest

from experiments.workdir import described, provenance, storage

DEFAULTS = {"seed": 0, "rate": 0.1, "shape": [1, 2], "late": 0.0, "log": 5}


def check(folder, **changes):
  described.check(folder, DEFAULTS | changes, free={"log"}, defaults=DEFAULTS)


def test_a_new_workdir_is_not_touched(tmp_path):
  check(tmp_path / "new", seed=3)
  assert not (tmp_path / "new").exists()


def test_the_keys_that_differ_are_named_and_free_ones_are_not(tmp_path):
  described.write(tmp_path, DEFAULTS, step=0)
  before = {p.name: p.read_text() for p in tmp_path.iterdir()}
  check(tmp_path, log=7)
  with pytest.raises(ValueError) as error:
    check(tmp_path, rate=0.2, shape=[1, 3], log=7)
  assert "rate: 0.1 there, 0.2 now; shape: [1, 2] there, [1, 3] now)" in str(
    error.value
  )
  assert {p.name: p.read_text() for p in tmp_path.iterdir()} == before


def test_a_key_that_came_later_counts_as_its_default(tmp_path):
  old = {key: value for key, value in DEFAULTS.items() if key != "late"}
  described.write(tmp_path, old, step=0)
  check(tmp_path)
  with pytest.raises(ValueError, match="late: 0.0 there, 0.5 now"):
    check(tmp_path, late=0.5)


def test_a_method_that_came_later_is_not_the_runs(tmp_path):
  own = {"erm": {"alpha": 1.0}}
  config = {"method": "erm", "recipe": own}
  described.write(tmp_path, config, step=0)
  later = own | {"newer": {"alpha": 2.0}}
  check = functools.partial(described.check, tmp_path, free=(), defaults={})
  check({"method": "erm", "recipe": later})
  with pytest.raises(ValueError, match="method: 'erm' there, 'newer' now"):
    check({"method": "newer", "recipe": later})
  with pytest.raises(ValueError, match="recipe: "):
    check({"method": "erm", "recipe": later | {"erm": {"alpha": 3.0}}})
  with pytest.raises(ValueError, match="recipe: "):
    check({"method": "erm", "recipe": {"newer": {"alpha": 2.0}}})


def test_a_key_that_was_given_up_is_named(tmp_path):
  described.write(tmp_path, DEFAULTS | {"gone": 2}, step=0)
  with pytest.raises(ValueError, match="gone: 2 there, None now"):
    check(tmp_path)


@pytest.mark.parametrize(
  "text", ['{"seed": ', "[1, 2]", "\udcff", "", "[" * 100_000]
)
def test_a_damaged_config_is_named(tmp_path, text):
  path = tmp_path / "config.json"
  path.write_bytes(text.encode(errors="surrogateescape"))
  with pytest.raises(ValueError, match=rf"{path} is damaged \("):
    check(tmp_path)


def test_each_start_that_takes_steps_has_its_entry(tmp_path, monkeypatch):
  monkeypatch.setattr("sys.argv", ["main.py", "first"])
  described.write(tmp_path, DEFAULTS, step=0)
  monkeypatch.setattr("sys.argv", ["main.py", "second"])
  described.write(tmp_path, DEFAULTS | {"log": 9}, step=20)
  entries = provenance.read(tmp_path)
  assert [
    (entry["from_step"], entry["command"].split()[-1]) for entry in entries
  ] == [(0, "first"), (20, "second")]
  assert json.loads((tmp_path / "config.json").read_text())["log"] == 9


def test_a_provenance_of_before_there_were_lists_is_kept(tmp_path):
  storage.write_json(tmp_path / "provenance.json", {"commit": "abc"})
  assert provenance.read(tmp_path) == [{"commit": "abc"}]
  provenance.add(tmp_path, 5)
  first, second = provenance.read(tmp_path)
  assert first == {"commit": "abc"} and second["from_step"] == 5


def test_a_planted_link_is_not_followed(tmp_path):
  outside = tmp_path / "outside"
  outside.write_text("precious")
  folder = storage.path(tmp_path / "run")
  folder.mkdir()
  for name in ("config.tmp", "config.json.tmp", "config.json"):
    os.symlink(outside, folder / name)
  storage.write(folder / "config.json", "{}")
  assert outside.read_text() == "precious"
  assert not os.path.islink(folder / "config.json")
  assert (folder / "config.json").read_text() == "{}"


def test_the_draft_is_opened_only_where_nothing_is(tmp_path, monkeypatch):
  monkeypatch.setattr("secrets.token_hex", lambda _: "known")
  os.symlink(tmp_path / "outside", tmp_path / ".config.json.known.tmp")
  with pytest.raises(FileExistsError):
    storage.write(storage.path(tmp_path / "config.json"), "{}")
  assert not (tmp_path / "outside").exists()


def test_a_write_that_fails_leaves_the_old_file_alone(tmp_path):
  target = storage.path(tmp_path / "config.json")
  storage.write(target, "old")
  with pytest.raises(UnicodeEncodeError):
    storage.write(target, "new \ud800")
  assert [p.name for p in tmp_path.iterdir()] == ["config.json"]
  assert target.read_text() == "old"


def test_files_are_as_readable_as_any_other(tmp_path):
  previous = os.umask(0o022)
  try:
    storage.write(storage.path(tmp_path / "config.json"), "{}")
  finally:
    os.umask(previous)
  assert (tmp_path / "config.json").stat().st_mode & 0o777 == 0o644
