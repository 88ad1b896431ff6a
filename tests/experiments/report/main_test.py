"""The command line, as a user calls it."""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[3]


def run(*arguments):
  return subprocess.run(
    [sys.executable, "-m", "experiments.report", *map(str, arguments)],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=120,
  )


def test_program(two, table):
  done = run(two / "mixup", two / "mixupe", f"--out={two}/out")
  assert done.returncode == 0, done.stderr
  assert list(table(done.stdout)) == ["mixup", "mixupe"]
  assert (two / "out" / "results.png").exists()


def test_program_says_its_error_without_a_traceback(tmp_path):
  done = run(tmp_path)
  assert done.returncode == 1
  assert done.stderr.startswith("ValueError: No runs found at or below")
