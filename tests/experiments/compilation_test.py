"""The cache of compiled programs: where it is, and that it only saves time."""

import os
import pathlib
import subprocess
import sys
import warnings

import jax
import pytest

from experiments import compilation
from tests import quick

ROOT = pathlib.Path(__file__).parents[2]
OPTIONS = (
  "jax_compilation_cache_dir",
  "jax_enable_compilation_cache",
  "jax_persistent_cache_enable_xla_caches",
  "jax_persistent_cache_min_compile_time_secs",
)


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch):
  monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
  monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
  before = {name: getattr(jax.config, name) for name in OPTIONS}
  yield
  for name, value in before.items():
    jax.config.update(name, value)


def test_the_default_is_in_the_user_s_cache(monkeypatch, tmp_path):
  monkeypatch.setenv("HOME", str(tmp_path / "home"))
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  assert compilation.folder().parent == tmp_path / "cache" / "jaxmix" / "xla"
  monkeypatch.setenv("XDG_CACHE_HOME", "relative")
  parent = tmp_path / "home" / ".cache" / "jaxmix" / "xla"
  assert compilation.folder().parent == parent
  compilation.keep(None, None)
  assert jax.config.jax_compilation_cache_dir == str(compilation.folder())
  assert compilation.folder().stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
  ("chosen", "workdir", "variable", "expected"),
  [
    ("{}/mine", "gs://bucket/run", "{}/env", "{}/mine"),
    ("gs://bucket/xla", None, "", "gs://bucket/xla"),
    (None, "gs://bucket/run/", "{}/env", "{}/env"),
    (None, "gs://bucket/run/", "", "gs://bucket/run/xla"),
    (None, "{}/run", "{}/env", "{}/env"),
  ],
)
def test_who_decides(
  monkeypatch, tmp_path, chosen, workdir, variable, expected
):
  chosen, workdir, variable, expected = (
    text and text.format(tmp_path)
    for text in (chosen, workdir, variable, expected)
  )
  monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", variable)
  compilation.keep(chosen, workdir)
  assert jax.config.jax_compilation_cache_dir == expected
  assert jax.config.jax_enable_compilation_cache
  xla_s = jax.config.jax_persistent_cache_enable_xla_caches
  assert (xla_s == "none") == expected.startswith("gs://")


def test_without_a_home_none_are_kept(monkeypatch, caplog):
  monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
  monkeypatch.setattr(os.path, "expanduser", lambda path: path)
  compilation.keep(None, None)
  assert not jax.config.jax_enable_compilation_cache
  assert "without a home" in caplog.text


def test_none_keeps_none():
  compilation.keep("none", None)
  assert not jax.config.jax_enable_compilation_cache


@pytest.mark.parametrize("below", ["", "/xla"])
def test_where_no_folder_can_be_a_line_warns(tmp_path, caplog, below):
  (tmp_path / "file").touch()
  compilation.keep(f"{tmp_path}/file{below}", None)
  assert not jax.config.jax_enable_compilation_cache
  (record,) = caplog.records
  assert "Compiled programs are not kept: [Errno" in record.getMessage()
  assert f"{tmp_path}/file{below}" in record.getMessage()


def test_what_was_not_read_for_longest_goes_first(tmp_path):
  for name, age in (("old", 30), ("older", 40), ("new", 10), ("read", 20)):
    path = tmp_path / f"{name}-cache"
    path.write_bytes(b"x" * 100)
    os.utime(path, (path.stat().st_mtime - age,) * 2)
  os.utime(tmp_path / "older-cache", (2e9, 0))  # but read again
  (tmp_path / "notes").write_text("another's")
  compilation._shrink(tmp_path, 400)
  assert len(list(tmp_path.iterdir())) == 5
  compilation._shrink(tmp_path, 399)
  assert sorted(p.name for p in tmp_path.iterdir()) == [
    "new-cache",
    "notes",
    "older-cache",
  ] or sorted(p.name for p in tmp_path.iterdir()) == ["notes", "older-cache"]


def lines(workdir, cache):
  """A run's evaluation lines, as text, and what it said."""
  done = subprocess.run(
    [
      *(sys.executable, "-m", "experiments.main"),
      "--config=experiments/configs/digits.py:smoke,model=mlp,method=erm",
      "--config.fgsm_epsilon=0.0",
      "--config.model_options={'features': (8,)}",
      f"--workdir={workdir}",
      f"--compilation_cache={cache}",
    ],
    cwd=ROOT,
    env=quick.environment(JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0"),
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  text = (workdir / "metrics.jsonl").read_text()
  return [line for line in text.splitlines() if '"eval"' in line], done.stderr


def test_the_cache_only_saves_time(tmp_path):
  """Written, read, and damaged: the same lines as without, byte for byte."""
  cache = tmp_path / "cache"
  expected, _ = lines(tmp_path / "none", "none")
  assert len(expected) == 2 and not cache.exists()
  written, _ = lines(tmp_path / "written", cache)
  names = {path.name: path.stat().st_mtime_ns for path in cache.iterdir()}
  assert len(names) > 5
  found, said = lines(tmp_path / "read", cache)
  assert {p.name: p.stat().st_mtime_ns for p in cache.iterdir()} == names
  assert "WARNING" not in said
  for k, path in enumerate(sorted(cache.glob("*-cache"))):
    data = path.read_bytes()
    path.write_bytes((b"garbage", b"", data[: len(data) // 2])[k % 3])
  damaged, said = lines(tmp_path / "damaged", cache)
  assert said.count("cannot be read in") == 1 and "Warning" not in said
  assert written == found == damaged == expected
