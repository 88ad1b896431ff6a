"""The library's types, as a program that uses it sees them."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
CONSUMER = ROOT / "tests" / "consumer.py"


def strictly(path, folder):
  """mypy's complaints of one file; what it imports is read, not judged."""
  pytest.importorskip("mypy")
  done = subprocess.run(
    [
      *(sys.executable, "-m", "mypy", "--strict", "--config-file="),
      *("--follow-imports=silent", f"--cache-dir={folder}", str(path)),
    ],
    cwd=ROOT,
    env=os.environ | {"MYPY_FORCE_COLOR": "0"},
    capture_output=True,
    text=True,
  )
  assert done.returncode in (0, 1), done.stderr
  return re.findall(r":\d+: error: (.*)", done.stdout)


def test_a_consumer_is_typed_and_its_mistakes_are_found(tmp_path):
  """One process for both: reading JAX's types is what takes the time."""
  wrong = CONSUMER.read_text()
  for right, mistake in (
    ("len(images), policy=policy", "policy, len(images)"),
    ("labels[::-1], jnp.ones(len(labels))", "labels[::-1]"),
    ("prob=0.5", "probability=0.5"),
    ("eta=0.1,", ""),
  ):
    assert wrong.count(right) == 1
    wrong = wrong.replace(right, mistake)
  (tmp_path / "wrong.py").write_text(wrong)
  assert strictly(CONSUMER, tmp_path / "cache") == []
  found = " ".join(strictly(tmp_path / "wrong.py", tmp_path / "cache"))
  assert 'Missing named argument "policy" for "draw"' in found
  assert 'Missing positional argument "weight" in call' in found
  assert 'Unexpected keyword argument "probability"' in found
  assert 'Missing named argument "eta"' in found
