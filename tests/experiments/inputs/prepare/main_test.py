"""python -m experiments.inputs.prepare."""

import os
import pathlib
import subprocess
import sys

import pytest

pytest.importorskip("tensorflow_datasets")

ROOT = pathlib.Path(__file__).parents[4]


def run(*args):
  return subprocess.run(
    [sys.executable, "-m", "experiments.inputs.prepare", *args],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )


def test_command_line_on_the_imagenet_sample(out, stored):
  shared = os.environ.get("JAXMIX_SHARED_DATA", ROOT.parent / "shared" / "data")
  sample = pathlib.Path(shared) / "imagenet_sample"
  if not sample.is_dir():
    pytest.skip("no imagenet_sample: set JAXMIX_SHARED_DATA to its parent")
  done = run(
    f"--folder={sample}",
    f"--out={out}",
    r"--pattern=(?P<label>n\d+)_.*",
    f"--classes={sample / 'classes.txt'}",
    "--eval_split=same",
  )
  assert done.returncode == 0, done.stderr
  assert "300 training and 300 validation images of 1,000" in done.stdout
  assert f"--config.data_dir={out}" in done.stdout

  train = stored(out, "train")
  assert len(train) == 300
  indices = {}
  for line in (sample / "classes.txt").read_text().splitlines():
    index, wnid, *_ = line.split()
    indices[wnid] = int(index)
  for name, (data, label) in train.items():
    assert data == (sample / name).read_bytes()
    assert label == indices[name.partition("_")[0]]


def test_command_line_errors_have_no_traceback(tmp_path):
  done = run(f"--folder={tmp_path}", f"--out={tmp_path / 'out'}")
  assert done.returncode == 1
  assert "Error: folder: no image in" in done.stderr
  assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
  ("module", "message"),
  [("tensorflow", "needs TensorFlow"), ("PIL", "needs Pillow")],
)
def test_what_is_not_installed_is_named_in_a_line(
  folder, out, module, message, command
):
  code = (
    f"import runpy, sys; sys.modules[{module!r}] = None\n"
    f"sys.argv += ['--folder={folder}', '--out={out}']\n"
    "runpy.run_module('experiments.inputs.prepare', run_name='__main__')"
  )
  words = [sys.executable, "-c", code]
  done = subprocess.run(words, capture_output=True, text=True, **command[1])
  assert done.returncode == 1 and "Traceback" not in done.stderr
  last = done.stderr.splitlines()[-1]
  assert last.startswith("ImportError: ") and message in last
  assert "-e '.[tfds]'" in last and not out.exists()
