"""The figures: they hold ink, and draw what runs may come to."""

import math

import matplotlib.image
import pytest

from experiments import report
from experiments.report import runs


@pytest.mark.parametrize("seeds", [1, 3])
def test_figures_decode(tmp_path, seeds, make_group, figures):
  for i in range(9):
    errors = {seed: 2.0 + i + seed for seed in range(seeds)}
    make_group(tmp_path / f"method {i}", errors, alpha=float(i))
  report.write([tmp_path], tmp_path / "out")
  for name in ("curves.png", "results.png"):
    pixels = matplotlib.image.imread(tmp_path / "out" / name)
    height, width = pixels.shape[:2]
    assert width == 1200 and 400 < height < 1200
    ink = (pixels[..., :3] < 0.95).any(-1).mean()
    assert 0.01 < ink < 0.3


def test_attacks_have_their_panels(tmp_path, evaluation, make_run, figures):
  extra = {"polyak_fgsm_accuracy": 0.5, "polyak_pgd_accuracy": 0.25}
  make_run(
    tmp_path / "mixup",
    0.0,
    evals=[evaluation(300, 10.0, **extra)],
    fgsm_epsilon=0.1,
    pgd_epsilon=0.1,
    pgd_norm="linf",
    pgd_steps=20,
  )
  groups = runs.group(runs.find([tmp_path]))
  labels = [
    axes.get_xlabel().replace("\n", " ").replace("\u00a0", " ")
    for axes in figures._results(groups, "polyak").axes
  ]
  assert labels[3:] == [
    "FGSM error (%) at ε = 0.1",
    "PGD-20 error (%) at ε = 0.1",
  ]


@pytest.mark.parametrize("errors", [(0.0, 0.0), (0.0, 4.0)])
def test_zeros_and_infinities_are_drawn(
  tmp_path, errors, evaluation, make_group, make_run, figures
):
  for seed, error in enumerate(errors):
    evals = [evaluation(step, error) for step in (100, 300)]
    make_run(tmp_path / "m" / f"seed_{seed}", 0.0, evals=evals, seed=seed)
  make_group(tmp_path / "erm", {0: 0.0, 1: 0.0}, method="erm")
  make_run(
    tmp_path / "dat",
    0.0,
    method="dat",
    evals=[evaluation(300, 10.0, polyak_loss=math.inf)],
  )
  report.write([tmp_path], tmp_path / "out")
  assert (tmp_path / "out" / "curves.png").stat().st_size > 5_000
