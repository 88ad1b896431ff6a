"""MixupE's ablation: rows, paired differences and files."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.configs import common
from experiments.studies import ablation
from experiments.sweep import grid
from jaxmix import models

SHARED = pathlib.Path(
  os.environ.get(
    "JAXMIX_SHARED_DATA", pathlib.Path(__file__).parents[4] / "shared" / "data"
  )
)


def result(title, seed, error, validation=0.5):
  part = lambda accuracy: {
    "accuracy": accuracy,
    "loss": 1.0,
    "calibration_error": 0.0,
  }
  return {
    **ablation.ROWS[title],
    "seed": seed,
    "validation": part(validation),
    "test": part(1.0 - error / 100.0),
    "seconds": 3.0,
  }


def test_the_rows_are_eight_paired_seeds_each():
  base, grids = ablation.sweeps("fashion_mnist", "")
  points = grid.points(grids, base)
  assert len(points) == 8 * len(ablation.ROWS) == 8 * 13
  configs = [common.resolve(point.config) for point in points]
  assert {config.seed for config in configs} == set(range(8))
  # The control has the clean pass, and no weight on what it is for.
  keys = ablation.ROWS[ablation.CONTROL]
  (control,) = {
    (config.method, config.eta, config.alpha)
    for point, config in zip(points, configs, strict=True)
    if {k: v for k, v in point.keys.items() if k != "seed"} == keys
  }
  assert control == ("mixupe", 0.0, ablation.ALPHA)
  found = [dict(point.keys) for point in points]
  assert {t: len(r) for t, r in ablation.by_row(found).items()} == (
    dict.fromkeys(ablation.ROWS, 8)
  )


def test_the_networks_size_is_as_said():
  base, _ = ablation.sweeps("fashion_mnist", "")
  model = models.create("preact_resnet18", 10, **base.model_options.to_dict())
  x = jax.ShapeDtypeStruct((1, 28, 28, 1), jnp.float32)
  params = jax.eval_shape(model.init, jax.random.key(0), x)["params"]
  count = sum(leaf.size for leaf in jax.tree.leaves(params))
  assert f"{count:,} parameters" in ablation.__doc__


def test_differences_are_paired_by_hand():
  errors = {
    "ERM": (12.0, 14.0),
    "Mixup": (10.0, 11.0),
    ablation.CONTROL: (9.0, 10.5),
    ablation.FULL: (8.0, 8.5),
  }
  found = [
    result(title, seed, error)
    for title, both in errors.items()
    for seed, error in enumerate(both)
  ]
  told = ablation.summarize(found)
  assert told["seeds"] == 2 and told["seconds"] == 24
  rows = told["rows"]
  assert rows["Mixup"]["error"]["mean"] == 10.5
  assert rows["Mixup"]["validation_error"]["mean"] == 50.0
  assert "minus_mixup" not in rows["Mixup"]
  assert rows["ERM"]["minus_mixup"]["mean"] == 2.5
  assert rows[ablation.CONTROL]["minus_mixup"]["mean"] == -0.75
  ours = rows[ablation.FULL]["minus_control"]
  # -1 and -2: a standard error of a half, and 12.706 of them either way.
  np.testing.assert_allclose(ours["mean"], -1.5)
  np.testing.assert_allclose(ours["low"], -1.5 - 6.3531, rtol=1e-4)
  # |t| is 13, 3 and 3 for ERM, Mixup and this row, with one degree of freedom:
  # p = 1 - 2 arctan(|t|) / pi, and Holm doubles the second smallest of three.
  np.testing.assert_allclose(ours["p"], 2 - 4 * np.arctan(3) / np.pi, rtol=1e-4)
  summary = {"fashion_mnist": told}
  text = ablation.markdown(summary)
  assert "| fashion_mnist | ERM | 13.00 ± 1.00 | +2.50 (" in text
  assert f"{ablation.FULL} − Mixup: −2.25 (" in ablation.caption(summary)


def test_a_row_that_diverged_says_so_and_no_more():
  found = [result("Mixup", seed, 10.0 + seed) for seed in range(2)]
  found += [result("ERM", 0, 12.0)]
  found.append({**ablation.ROWS["ERM"], "seed": 1, "diverged_at": 7})
  found[-1]["seconds"] = 1.0
  told = ablation.summarize(found)
  assert told["rows"]["ERM"] == {"seconds": 2.0, "diverged": 1}
  assert "| ERM | 1 diverged | —" in ablation.markdown({"a": told})
  assert "ERM −" not in ablation.caption({"a": told})


def test_the_command_makes_table_numbers_and_picture(tmp_path):
  if not (SHARED / "fashion-mnist").is_dir():
    pytest.skip("no fashion-mnist: set JAXMIX_SHARED_DATA to its parent")
  command = [
    sys.executable,
    *("-m", "experiments.studies.ablation", "--smoke"),
    *(f"--data_dir={SHARED}", f"--workdir={tmp_path / 'runs'}"),
    f"--out={tmp_path / 'out'}",
  ]
  subprocess.run(command, check=True, capture_output=True)
  told = json.loads((tmp_path / "out" / "ablation.json").read_text())
  rows = told["sets"]["fashion_mnist"]["rows"]
  assert rows.keys() == {ablation.CONTROL, ablation.FULL}
  assert rows[ablation.FULL]["loss"] != rows[ablation.CONTROL]["loss"]
  assert rows[ablation.FULL]["minus_control"]["runs"] == 2
  assert (tmp_path / "out" / "ablation.png").stat().st_size > 10_000
  text = (tmp_path / "out" / "ablation.md").read_text()
  assert f"| fashion_mnist | {ablation.CONTROL} |" in text
