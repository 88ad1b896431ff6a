"""docs/coming_from.md: both cells of every row give equal numbers."""

import json
import pathlib
import re

import numpy as np
import pytest

from benchmarks import coming_from

ROOT = pathlib.Path(__file__).parents[2]
ROWS = coming_from.rows()
KEPT = json.loads(
  (ROOT / "experiments/results/benchmarks/coming_from.json").read_text()
)
name_of = lambda row: f"{row.peer}: {row.theirs}"


def faults(found):
  """What is wrong with a row; the page says what is right."""
  wrong = []
  if not found["images apart"] < 3e-7:
    wrong.append("images")
  if not found.get("labels apart", 0.0) < 3e-7:
    wrong.append("labels")
  if not found.get("loss apart", 0.0) < 3e-6:
    wrong.append("loss")
  for name in ("lam of", "partners"):
    theirs, ours = found[name]
    if theirs != ours:
      wrong.append(name)
  if abs(np.subtract(*found["batches mixed"])) > 0.12:  # 5 standard errors
    wrong.append("probability")
  distance, limit = found["law"]
  # Boxes of other roundings have other areas, on 8 x 8 pixels by much.
  if distance > limit and (
    "paste" not in found["ways"] or found["peer"] == "timm"
  ):
    wrong.append("law")
  return wrong


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_a_row_s_two_sides_are_equal_where_the_peer_is_installed(row):
  try:
    found = coming_from.compare(row)
  except ImportError as error:
    pytest.skip(f"{row.peer} is not installed: {error}")
  assert faults(found) == [], found


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_what_was_found_of_a_row_is_kept(row):
  (found,) = (k for k in KEPT if k["theirs"] == row.theirs)
  assert (found["peer"], found["ours"]) == (row.peer, row.ours)
  assert faults(found) == [], found
  section = coming_from.PAGE.read_text().split(f"\n## {row.peer}\n")[1]
  version = re.search(rf"^\| {row.peer} (\S+) \| jaxmix", section, re.MULTILINE)
  assert version[1] == found["version"]


def test_every_row_of_the_page_is_one_of_these():
  text = coming_from.PAGE.read_text()
  assert len(ROWS) == text.count("\n| `") == len(KEPT) > 20
  assert {row.peer for row in ROWS} == coming_from.PEERS.keys()


def of_numpy(seed, images, labels):
  """One lam a batch, partners by a flip, labels dense and smoothed by 0.1."""
  lam = np.random.beta(0.4, 0.4)
  rows = 0.9 * np.eye(10)[labels] + 0.01
  blend = lambda x: np.float32(lam * x + (1 - lam) * x[::-1])
  return blend(images), blend(rows)


RIGHT = "draw(policy=mixup(0.4, per_example=False), pairing=flip)"
SMOOTH = "partial(softmax_cross_entropy, label_smoothing=0.1)"


@pytest.mark.parametrize(
  "ours, loss, wrong",
  [
    (RIGHT, SMOOTH, []),
    (RIGHT, "", ["labels"]),
    (RIGHT, SMOOTH.replace("0.1", "0.2"), ["loss"]),
    (RIGHT.replace("flip", "roll"), SMOOTH, ["images", "loss", "partners"]),
    (RIGHT.replace("0.4", "2"), SMOOTH, ["law"]),
    (RIGHT.replace("False", "True"), SMOOTH, ["lam of"]),
  ],
)
def test_a_row_that_is_wrong_is_seen(ours, loss, wrong, monkeypatch):
  peer = coming_from.Peer(
    "numpy", lambda: {"mix": of_numpy}, lambda mix, x, y: mix(0, x, y)
  )
  monkeypatch.setitem(coming_from.PEERS, "numpy", peer)
  row = coming_from.Row("numpy", "mix", ours, loss, "")
  assert faults(coming_from.compare(row)) == wrong
