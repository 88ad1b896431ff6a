"""Untied MixUp's study: the paper's policies and losses, small."""

import pytest

from experiments.configs import common, umixup_images
from experiments.studies import command, rows, untied
from experiments.sweep import grid


@pytest.mark.parametrize("name", untied.SETS)
def test_runs_have_the_papers_policies_and_losses(name):
  base, grids = untied.sweeps(name, "")
  points = grid.points(grids, base)
  assert len(points) == 4 * untied.SEEDS
  configs = [common.resolve(point.config) for point in points]
  dataset, own, alpha, beta = umixup_images.POLICIES[name]
  assert {config.dataset for config in configs} == {dataset}
  assert {config.task for config in configs} == {
    "cosine" if name.endswith("_nc") else "classification"
  }
  laws = {config.method: (config.alpha, config.beta) for config in configs}
  assert laws["untied"] == laws["dat"] == (alpha, beta)
  assert laws["mixup"] == (own, own)
  # Seeds are paired: nothing but the method differs.
  for config in configs:
    assert (config.pairing, config.epochs) == ("between", 50.0)
    assert config.model_options.width == 8
    assert config.train_split == "train[:2000]"


def test_the_negative_cosine_is_trained_and_told(tmp_path, shared):
  base, _ = untied.sweeps(
    "fashion_mnist_nc", shared("fashion-mnist"), smoke=True
  )
  # The quickest to compile.
  grids = untied.ROWS.grids(1, ["ERM"])
  told = rows.summarize(untied.ROWS, command.sweep(base, grids, tmp_path))
  loss = told["rows"]["ERM"]["loss"]["mean"]
  assert -1.0 < loss < 0.0
  text = rows.markdown(untied.ROWS, {"fashion_mnist_nc": told})
  assert f"−{-loss:.3f}" in text and "| fashion_mnist_nc | ERM |" in text
