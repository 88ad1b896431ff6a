"""Graphs as a data set of the trainer's, from folder to error."""

import os
import pathlib

import jax
import numpy as np
import pytest

from experiments import inputs, optimizers, train
from experiments.configs import common
from experiments.configs import graphs as graphs_config
from experiments.inputs import graphs, memory

SHARED = pathlib.Path(
  os.environ.get(
    "JAXMIX_SHARED_DATA", pathlib.Path(__file__).parents[5] / "shared" / "data"
  )
)


@pytest.fixture(autouse=True)
def standard_promotion():
  with jax.numpy_dtype_promotion("standard"):
    yield


@pytest.fixture(scope="module")
def stars(tmp_path_factory):
  """Thirty stars, and thirty paths of as many nodes."""
  folder = tmp_path_factory.mktemp("data") / "STARS"
  folder.mkdir()
  rows, indicator, start = [], [], 0
  for k in range(60):
    n = 4 + k // 2 % 6
    pairs = [(0 if k % 2 else v, v + 1) for v in range(n - 1)]
    for u, v in pairs:
      rows += [(start + u + 1, start + v + 1), (start + v + 1, start + u + 1)]
    indicator += [k + 1] * n
    start += n
  text = lambda lines: "".join(f"{line}\n" for line in lines)
  for kind, lines in (
    ("A", (f"{u}, {v}" for u, v in rows)),
    ("graph_indicator", indicator),
    ("graph_labels", (3 if k % 2 else -1 for k in range(60))),
  ):
    (folder / f"STARS_{kind}.txt").write_text(text(lines))
  return str(folder.parent)


def make_config(stars, arg="", **changes):
  config = graphs_config.get_config(arg)
  config.update(dict(dataset="tu:STARS", data_dir=stars) | changes)
  return config


def test_a_fold_is_left_out_and_the_next_one_evaluated(stars):
  data = graphs.load(make_config(stars, fold=9))
  parts = data.train_labels, data.eval_labels, data.test_labels
  assert [np.bincount(part).tolist() for part in parts] == [
    [24, 24],
    [3, 3],
    [3, 3],
  ]
  whole = graphs.load(make_config(stars, fold=9, inner_validation=False))
  assert len(whole.train_labels) == 54 and whole.test_labels is None
  jax.tree.map(
    np.testing.assert_array_equal, whole.eval_inputs, data.test_inputs
  )
  # Degrees are labels, and padding is zeros: 1, 2 and up to 8 occur.
  assert data.scale.to_float.num_labels == 8
  assert data.eval_inputs["nodes"].shape == (6, 9)


def test_the_split_is_of_its_own_seed_or_the_runs(stars):
  def tested(**changes):
    return graphs.load(make_config(stars, **changes)).test_inputs["edges"]

  given = tested(seed=1, split_seed=5)
  np.testing.assert_array_equal(given, tested(seed=2, split_seed=5))
  np.testing.assert_array_equal(given, tested(seed=5))
  assert not np.array_equal(given, tested(seed=6))


def test_folds_and_seeds_share_programs(stars):
  """Their specs differ in nothing compiled, though folds' sizes may."""
  config = make_config(stars)
  specs = [
    memory.describe(make_config(stars, fold=fold, seed=fold)) for fold in (0, 7)
  ]
  assert specs[0] == specs[1] == inputs.describe(common.resolve(config))


@pytest.mark.parametrize("method", ["mixupe", "erm"])
def test_it_learns_stars_from_paths(stars, tmp_path, method):
  config = make_config(
    stars,
    f"smoke,method={method}",
    batch_size=16,
    eval_batch_size=16,
    epochs=20.0,
    eval_every_epochs=20.0,
  )
  config.model_options.update(num_layers=2, hidden_size=8, readout_scale=6.0)
  result = train.train_and_evaluate(config, tmp_path)
  assert result["examples"] == 6
  assert result["accuracy"] == 1.0


@pytest.mark.parametrize(
  ("changes", "error", "message"),
  [
    (
      {"mix_at": "input"},
      TypeError,
      r"x must be floating point to be mixed, got int16 in x.nodes.*\(mix_at\)",
    ),
    (
      {"method": "cutmix", "mix_at": "input"},
      ValueError,
      "one array .*; got Graphs, of dataset='tu:STARS'",
    ),
    ({"mix_at": "random"}, TypeError, "to be mixed, got int16"),
    ({"fgsm_epsilon": 0.1}, ValueError, "fgsm_epsilon does not apply"),
    ({"monitor": "theory"}, ValueError, "monitor='theory' needs inputs that"),
    ({"fold": 10}, ValueError, "fold must be smaller than folds=10, got 10"),
    ({"dataset": "tu:"}, ValueError, "expected one of mutag, .* got 'tu:'"),
    ({"dataset": "tu:../X"}, ValueError, "or tu:NAME, a folder of data_dir"),
    ({"dataset": "tu:STAR"}, FileNotFoundError, "STAR_A.txt is missing"),
    ({"dataset": "nci1"}, FileNotFoundError, "NCI1_A.txt is missing"),
  ],
)
def test_what_is_refused_leaves_nothing_behind(
  stars, tmp_path, changes, error, message
):
  config = make_config(stars, "smoke", batch_size=16, eval_batch_size=32)
  config.update(changes)
  with pytest.raises(error, match=message):
    train.train_and_evaluate(config, tmp_path / "run")
  assert not (tmp_path / "run").exists()


def test_every_set_of_the_config_has_a_name():
  assert set(graphs_config.SETS) == set(graphs.NAMES)
  for name in graphs.NAMES:
    config = graphs_config.get_config(name)
    assert config.dataset == name
    common.resolve(config)
  config = graphs_config.get_config()
  # Halved every 50 epochs; 150 graphs are 350 x 150 / 32 steps.
  config = common.in_steps(common.resolve(config), 150)
  assert config.total_steps == 1641
  rate = optimizers.schedule(config)
  for epoch, expected in (
    (49, 0.01),
    (51, 0.005),
    (99, 0.005),
    (349, 0.01 / 64),
  ):
    np.testing.assert_allclose(rate(epoch * 150 / 32), expected, rtol=1e-5)


def test_mutag_trains(tmp_path):
  folder = SHARED / "tudataset"
  if not folder.exists():
    pytest.skip(f"No {folder}; set JAXMIX_SHARED_DATA to its parent.")
  config = graphs_config.get_config(f"mutag,smoke,data_dir={folder}")
  result = train.train_and_evaluate(config, tmp_path)
  assert result["examples"] == 19
  assert np.isfinite(result["loss"])
