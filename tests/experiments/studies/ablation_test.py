"""MixupE's ablation: rows, paired differences and files."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp

from experiments.configs import common
from experiments.studies import ablation, rows
from experiments.sweep import grid
from jaxmix import models


def test_the_rows_are_eight_paired_seeds_each():
  base, grids = ablation.sweeps("fashion_mnist", "")
  points = grid.points(grids, base)
  assert len(points) == 8 * len(ablation.ROWS.keys) == 8 * 25
  configs = [common.resolve(point.config) for point in points]
  assert {config.seed for config in configs} == set(range(8))
  # The control has the clean pass, and no weight on what it is for.
  keys = ablation.ROWS.keys[ablation.CONTROL]
  (control,) = {
    (config.method, config.eta, config.alpha)
    for point, config in zip(points, configs, strict=True)
    if {k: v for k, v in point.keys.items() if k != "seed"} == keys
  }
  assert control == ("mixupe", 0.0, ablation.ALPHA)
  found = [dict(point.keys) for point in points]
  by_row = rows.by_row(ablation.ROWS, found)
  assert {title: len(runs) for title, runs in by_row.items()} == (
    dict.fromkeys(ablation.ROWS.keys, 8)
  )


def test_a_row_and_its_control_differ_in_the_penalty_alone():
  own = {
    title: ablation.ROWS.other("control", title) for title in ablation.ROWS.keys
  }
  assert own[ablation.CONTROL] is None
  assert {
    t: c for t, c in own.items() if c not in (None, ablation.CONTROL)
  } == {
    "joint": "joint, η = 0",
    "separate": "separate, η = 0",
    "ERM, penalty": "ERM",
    "untied MixUp, penalty": "untied MixUp",
    "CutMix, penalty": "CutMix",
    "manifold mixup, penalty": "manifold mixup",
  }
  for title in ("joint", "separate", "ERM, penalty", "CutMix, penalty"):
    keys = dict(ablation.ROWS.keys[title])
    control = dict(ablation.ROWS.keys[own[title]])
    assert keys.pop("eta") == ablation.ETA and control.pop("eta", 0.0) == 0.0
    assert keys == control


def test_the_networks_size_is_as_said():
  base, _ = ablation.sweeps("fashion_mnist", "")
  model = models.create("preact_resnet18", 10, **base.model_options.to_dict())
  x = jax.ShapeDtypeStruct((1, 28, 28, 1), jnp.float32)
  params = jax.eval_shape(model.init, jax.random.key(0), x)["params"]
  count = sum(leaf.size for leaf in jax.tree.leaves(params))
  assert f"{count:,} parameters" in ablation.__doc__


def test_the_command_makes_table_numbers_and_picture(tmp_path, shared):
  command = [
    sys.executable,
    *("-m", "experiments.studies.ablation", "--smoke"),
    *(
      f"--data_dir={shared('fashion-mnist')}",
      f"--workdir={tmp_path / 'runs'}",
    ),
    f"--out={tmp_path / 'out'}",
  ]
  subprocess.run(command, check=True, capture_output=True)
  told = json.loads((tmp_path / "out" / "ablation.json").read_text())
  found = told["sets"]["fashion_mnist"]["rows"]
  assert found.keys() == {ablation.CONTROL, ablation.FULL}
  assert found[ablation.FULL]["loss"] != found[ablation.CONTROL]["loss"]
  assert found[ablation.FULL]["minus_control"]["runs"] == 2
  assert (tmp_path / "out" / "ablation.png").stat().st_size > 10_000
  text = (tmp_path / "out" / "ablation.md").read_text()
  assert f"| fashion_mnist | {ablation.CONTROL} |" in text
