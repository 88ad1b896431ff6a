"""--help says which configs and keys there are."""

import ast
import pathlib
import re
import subprocess
import sys

import jax
import pytest

from experiments import connecting, listing
from experiments.configs import common
from tests import quick

ROOT = pathlib.Path(__file__).parents[2]


def test_help_lists_every_config_and_every_key_once():
  done = subprocess.run(
    [sys.executable, "-m", "experiments.main", "--help"],
    cwd=ROOT,
    env=quick.environment(),
    capture_output=True,
    text=True,
  )
  assert listing.text() in done.stdout and "--workdir" in done.stdout
  configs, _, keys = listing.text().partition("\n\n")
  for path in (ROOT / "experiments/configs").glob("*.py"):
    is_one = "def get_config" in path.read_text()
    assert (f"experiments/configs/{path.name}\n" in configs) == is_one
    if is_one:
      line = configs.split(f"{path.name}\n")[1].splitlines()[0].strip()
      doc = ast.get_docstring(ast.parse(path.read_text()))
      assert line and doc.startswith(line)
  names = re.findall(r"(?:^ +|, )(\w+)(?==|,|$)", keys, re.MULTILINE)
  assert sorted(names) == sorted(common.keys())
  assert max(map(len, listing.text().splitlines())) <= 80


def test_who_reads_a_key_is_told():
  owners = common.by_owner()
  assert "seed" in owners["train"] and "alpha" in owners["methods"]
  assert re.search(r"\n  methods:\n    .*\balpha\b", listing.text())


@pytest.mark.parametrize(
  "words, asked",
  [
    (["main", "--help"], True),
    (["main", "-help"], True),
    (["main", "--config=help", "help"], False),
  ],
)
def test_only_asking_asks(words, asked):
  assert listing.is_asked(words) == asked


def test_a_gpu_that_jax_does_not_see_is_told(tmp_path, monkeypatch):
  assert jax.default_backend() == "cpu"
  monkeypatch.delenv("JAX_PLATFORMS", raising=False)
  assert connecting.missing_accelerator(str(tmp_path)) == ""
  (tmp_path / "dev").mkdir()
  (tmp_path / "dev" / "nvidia0").touch()
  told = connecting.missing_accelerator(str(tmp_path))
  assert "an NVIDIA GPU" in told and "'.[cuda]'" in told
  monkeypatch.setenv("JAX_PLATFORMS", "cpu")
  assert connecting.missing_accelerator(str(tmp_path)) == ""
