"""The library's types, as a program that uses it sees them."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
CONSUMER = ROOT / "tests" / "consumer.py"


MISTAKES = {
  ("len(images), policy=policy", "len(images)"): (
    'Missing named argument "policy" for "draw"'
  ),
  ("labels[::-1], jnp.ones(len(labels))", "labels[::-1]"): (
    'Missing positional argument "weight" in call to "MixedTargets"'
  ),
  ("prob=0.5", "probability=0.5"): (
    'Unexpected keyword argument "probability" for "draw_mixture"'
  ),
  ("eta=0.1,", ""): 'Missing named argument "eta" for "mixupe_loss"',
}


def test_a_consumer_is_typed_and_its_mistakes_are_found(tmp_path):
  """By one process: reading JAX's types is what takes the time."""
  pytest.importorskip("mypy")
  text = CONSUMER.read_text()
  for right, mistake in MISTAKES:
    assert text.count(right) == 1
    text = text.replace(right, mistake)
  (tmp_path / "wrong.py").write_text(text)
  done = subprocess.run(
    [
      *(sys.executable, "-m", "mypy", "--strict", "--config-file="),
      # What is imported is read, and not judged.
      *("--follow-imports=silent", f"--cache-dir={tmp_path / 'cache'}"),
      *(str(CONSUMER), str(tmp_path / "wrong.py")),
    ],
    cwd=ROOT,
    env=os.environ | {"MYPY_FORCE_COLOR": "0"},
    capture_output=True,
    text=True,
  )
  told = re.findall(r"(\w+)\.py:\d+: error: (.*?)  \[", done.stdout)
  assert {file for file, _ in told} == {"wrong"}, done.stdout + done.stderr
  found = " ".join(error for _, error in told)
  for error in MISTAKES.values():
    assert error in found
