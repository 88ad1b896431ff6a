"""docs/audit.md says what the audits of public packages found."""

import json
import pathlib
import re

from benchmarks import audits

ROOT = pathlib.Path(__file__).parents[2]
RESULTS = ROOT / "experiments" / "results" / "benchmarks"
PAGE = (ROOT / "docs" / "audit.md").read_text()
FOUND = json.loads((RESULTS / "audits.json").read_text())
REPEATED = json.loads((RESULTS / "audits_seeds.json").read_text())


def test_the_page_s_table_is_the_committed_result():
  lines = PAGE.splitlines()
  for line in audits.table(FOUND).splitlines():
    assert line in lines, line
  assert [row["name"] for row in FOUND] == list(audits.PEERS)


def test_no_alarm_was_false_and_the_page_counts_the_audits():
  assert [row["name"] for row in REPEATED] == list(audits.OWN | audits.PEERS)
  assert not [alarm for row in REPEATED for alarm in row["alarms"]]
  (each,) = {row["seeds"] for row in REPEATED}
  total = sum(row["seeds"] for row in REPEATED)
  told = re.search(r"([\d,]+) audits,\s+([\d,]+) seeds each", PAGE)
  assert told.groups() == (f"{total:,}", f"{each:,}")


def test_a_false_alarm_is_counted():
  def smoothed(seed, images, labels):
    mixed = 0.5 * images + 0.5 * images[::-1]
    one_hot = 0.9 * (labels[:, None] == range(10)) + 0.01
    return mixed, 0.5 * one_hot + 0.5 * one_hot[::-1]

  options = {"kind": "numpy", "alpha": 1.0}
  checks = lambda known: {
    check for _, check, _ in audits.alarms(smoothed, options, range(1), known)
  }
  assert "smoothing" in checks(set())
  assert "smoothing" not in checks({"smoothing"})
