"""The study of a fifth of CIFAR-10: methods, split and files."""

from experiments.configs import common
from experiments.inputs import images
from experiments.studies import cifar, command, rows
from experiments.sweep import grid


def test_the_rows_are_three_paired_seeds_each_of_the_files_at_hand():
  base, grids = cifar.sweeps("cifar10", "")
  points = grid.points(grids, base)
  assert len(points) == 3 * 6
  configs = [common.resolve(point.config) for point in points]
  assert {config.method for config in configs} == {
    *("erm", "mixup", "mixupe", "dat", "cutmix")
  }
  etas = {config.eta for config in configs if config.method == "mixupe"}
  assert etas == {0.0, cifar.ETA}
  for config in configs:
    parts = images.parts(config)
    # Of the first file alone; nothing is trained and chosen on.
    assert parts.train == [("train", range(9000))]
    assert parts.evaluate == [("train", range(9000, 10_000))]
    assert parts.test == [("test", range(10_000))]


def test_it_trains_from_two_files(tmp_path, shared):
  base, _ = cifar.sweeps("cifar10", shared("cifar10"), smoke=True)
  grids = cifar.ROWS.grids(1, ["ERM"])  # the quickest to compile
  told = rows.summarize(cifar.ROWS, command.sweep(base, grids, tmp_path))
  found = told["rows"]["ERM"]
  assert 50.0 < found["error"]["mean"] < 100.0
  assert found["error"]["mean"] != found["validation_error"]["mean"]
