"""The soak itself: what it counts, what it does to a job, and a short one."""

import json
import pathlib
import random
import signal
import subprocess
import sys

import pytest

from benchmarks import soak

ROOT = pathlib.Path(__file__).parents[2]
LINE = {"step": 50, "split": "eval", "loss": 0.25}


@pytest.mark.parametrize(
  "found, count",
  [
    ([LINE, LINE], 0),
    ([LINE], 1),
    ([LINE, LINE, LINE], 1),
    ([LINE, LINE | {"loss": 0.25000000000000006}], 1),
    ([], 2),
  ],
)
def test_a_line_missing_or_off_by_one_bit_differs(found, count):
  assert soak.differing(found, [LINE, LINE]) == count


def test_totals_are_what_was_committed():
  """Counted otherwise when that file was written."""
  path = ROOT / "experiments/results/soak.json"
  committed = json.loads(path.read_text())
  found = soak.totals(committed["jobs"])
  assert found == {name: committed[name] for name in found}
  assert found["kills"] == sum(found["by_signal"].values()) == 50


def sleeper(code="time.sleep(60)"):
  return subprocess.Popen([sys.executable, "-c", f"import time; {code}"])


def test_a_job_that_ends_before_its_moment_is_left_alone():
  processes = [sleeper("pass"), sleeper("time.sleep(0.3)")]
  assert soak.disturb(processes, 30.0, random.Random(0)) is None
  assert [process.returncode for process in processes] == [0, 0]


@pytest.mark.parametrize("kind", ["SIGKILL", "SIGTERM"])
def test_every_process_of_a_job_ends(monkeypatch, kind):
  monkeypatch.setattr(soak, "_GRACE", 0.2)
  rng = random.Random(0)
  monkeypatch.setattr(rng, "choice", lambda _: getattr(signal, kind))
  processes = [sleeper(), sleeper()]
  done = soak.disturb(processes, 0.1, rng)
  assert done["signal"] == kind
  # The other one has no part in this job, and is killed with it.
  expected = [-signal.SIGKILL] * 2
  expected[done["process"]] = -getattr(signal, kind)
  assert done["exit_codes"] == expected


def test_a_job_that_fails_by_itself_is_an_error(tmp_path, monkeypatch):
  monkeypatch.setattr(soak, "start", lambda *_: [sleeper("exit(3)")])
  with pytest.raises(RuntimeError, match=r"ended with \[3\]"):
    next(soak.soak(1, 0, 50, tmp_path))


def test_two_kills_lose_nothing(tmp_path):
  # All kills may fall on the first job, but each job ends by itself.
  done = list(soak.soak(kills=2, seed=1, steps=300, folder=tmp_path))
  assert sum(len(job["kills"]) for job in done) == 2
  for job in done:
    assert (job["lines"], job["differing_lines"]) == (6, 0)
    for kill in job["kills"]:
      assert 0 <= kill["after_seconds"] <= job["seconds_undisturbed"]
      assert kill["last_line"] <= 300
      assert len(kill["exit_codes"]) == job["processes"]
