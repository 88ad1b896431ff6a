"""Kimura's two figures: their numbers, and that they can be drawn."""

import io
import json

import matplotlib.image
import numpy as np
import pytest

from experiments.figures import drawing, kimura_figure1, kimura_figure2


@pytest.fixture(scope="module")
def first():
  return kimura_figure1.compute(smoke=True)


@pytest.fixture(scope="module")
def second():
  return kimura_figure2.compute(smoke=True)


def test_linear_gaps_are_the_known_ones(first):
  assert first["seen"] and first["caption"].startswith("Theorem 2 is seen")
  assert len(first["rows"]) == 2 * 3 * 3
  for row in first["rows"]:
    n, d, sigma = row["n"], row["d"], row["sigma2"] ** 0.5
    # Constant 1: s = sigma sqrt(d (n - 1) / n) is the mean, noise in four
    # samples aside.
    noise = 4 / np.sqrt(2 * 4 * n * d)
    assert row["bound"] / (sigma * np.sqrt(d * (n - 1)) / n) == pytest.approx(
      1, abs=noise
    )
    # E|sum xi_i x_i| / sqrt(sum |x_i|^2) tends to E|z| / sqrt(d).
    if n > 10:
      expected = {1: 0.798, 10: 0.975}[d]
      ratio = row["complexity_gap"] / row["bound"]
      assert ratio == pytest.approx(expected, abs=0.08)
      # Above the bound with Var|x|, sigma^2 (1 - 2 / pi) in one dimension.
      assert row["norm_bound"] < row["complexity_gap"]
    assert row["complexity_gap"] < row["bound"]
    assert row["bounds_gap"] <= row["bound"] * (1 + 1e-6)
  assert first["above_norm_bound"] >= 12


@pytest.mark.parametrize(
  "change",
  [
    lambda row: row["complexity_gap"] * 1.5,  # above the bound
    lambda row: row["complexity_gap"] / row["bound"] / 10,  # flat
  ],
)
def test_a_wrong_gap_is_noticed(change, monkeypatch):
  sides = kimura_figure1._sides

  def wrong(*arguments):
    row = sides(*arguments)
    return row | {"complexity_gap": change(row)}

  monkeypatch.setattr(kimura_figure1, "_sides", wrong)
  result = kimura_figure1.compute(smoke=True)
  assert not result["seen"]
  assert result["caption"].startswith("Theorem 2 is not seen")


def test_network_gaps_are_the_known_ones(second):
  assert second["seen"] and second["caption"].startswith("Theorem 3 is seen")
  for row in second["rows"]:
    assert row["printed_gap"] <= row["gap"] <= row["bound"]
    n, noise = row["n"], row["noise"]
    if noise == 40.0:
      # The outlier alone matters: |eps| = 40 (1 - 1/n), up to the others' mean.
      expected = 40 * (1 - 1 / n) / np.sqrt(n)
      assert row["bound"] == pytest.approx(expected, rel=0.03)
    if noise == 40.0 and n == 160:
      # The paper's takes |xbar| off, about |mu| = 3.
      lost = (row["bound"] - row["printed_gap"]) * np.sqrt(n)
      assert lost == pytest.approx(3.0, abs=1.5)


def test_the_printed_theorem_fails_half_the_time(second):
  # Fewer 3s than 0s, and not none: 1/2 - 2^-n. 200 samples, 4 standard errors.
  assert [f["n"] for f in second["failures"]] == [3, 11, 101]
  for failure in second["failures"]:
    expected = 0.5 - 0.5 ** failure["n"]
    assert failure["population"] == pytest.approx(expected, abs=0.142)
    assert failure["sample"] == 0.0


def test_a_gap_above_the_bound_is_noticed(second, monkeypatch):
  gaps = kimura_figure2._gaps

  def wrong(x, mean):
    sides = gaps(x, mean)
    return sides._replace(bound=0.5 * sides.bound)

  monkeypatch.setattr(kimura_figure2, "_gaps", wrong)
  assert not kimura_figure2.compute(smoke=True)["seen"]


@pytest.mark.parametrize("module", [kimura_figure1, kimura_figure2])
def test_figures_hold_ink(module, request, tmp_path):
  name = {kimura_figure1: "first", kimura_figure2: "second"}[module]
  result = request.getfixturevalue(name)
  # What is drawn can come back from the file.
  result = json.loads(json.dumps(result))
  target = tmp_path / "figure.png"
  drawing.save(module.draw(result), result["caption"], target)
  pixels = matplotlib.image.imread(io.BytesIO(target.read_bytes()))
  ink = (pixels[..., :3] < 0.95).any(-1).mean()
  assert 0.02 < ink < 0.3
