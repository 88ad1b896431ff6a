"""Tables as data sets: what loaders return, and runs on them."""

import json

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import pytest

from experiments import inputs, train
from experiments.configs import tabular as recipe
from experiments.inputs import memory, tabular
from experiments.inputs.tabular.columns import encode
from experiments.inputs.tabular.split import split
from experiments.programs import Cache
from experiments.workdir import metrics

NAMES = """arrhythmia letter balance_scale mfeat_factors mfeat_fourier
mfeat_karhunen mfeat_morphological mfeat_zernike mfeat_pixel cmc optdigits
pendigits iris abalone volkert mnist_784""".split()
ROWS = 57


def rows():
  """A number with gaps, a colour, and a class of 30, 25 or 2 rows."""
  random = np.random.default_rng(0)
  for k in range(ROWS):
    label = 0 if k < 30 else 1 if k < 55 else 2
    number = "?" if k % 7 == 0 else f"{random.normal() + label:.4f}"
    yield number, random.choice(["red", "blue", "green"]), str(label)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp("tables")
  lines = [",".join(row) for row in rows()]
  (folder / "t.csv").write_text("\n".join(["x,colour,y", *lines]))
  head = ["@relation t", "@attribute x numeric", "@attribute colour string"]
  head += ["@attribute y {0,1,2,3}", "@data"]
  (folder / "t.arff").write_text("\n".join([*head, *lines]))
  return folder


def config(**changes):
  values = inputs.defaults().to_dict() | {"seed": 0, "target": "y"}
  values |= {"task": "classification"}
  return ConfigDict(values | changes)


def load(**changes):
  settings = config(**changes)
  return memory.loader(settings.dataset)(settings)


def test_the_papers_sets_have_names():
  assert set(NAMES) <= set(memory.LOADERS)
  assert all(memory.has(f"{kind}:x") for kind in ("csv", "arff", "openml"))
  assert not memory.has("csv") and not memory.has("parquet:x")


def test_a_loader_returns_the_split_encoded(folder):
  data = load(dataset=f"csv:{folder}/t.csv", split_seed=5)
  labels = np.array([int(row[-1]) for row in rows()])
  parts = split(labels, 5)
  numbers = [np.nan if r[0] == "?" else float(r[0]) for r in rows()]
  colours = ("blue", "green", "red")
  codes = np.array([colours.index(row[1]) for row in rows()])
  columns = [
    tabular.table.Column("x", np.array(numbers)),
    tabular.table.Column("colour", codes, colours),
  ]
  expected = encode(columns, parts.train)
  for name, at in parts._asdict().items():
    part = getattr(data, f"{name}_inputs")
    assert part.shape == (len(at), 4) and part.dtype == np.float32
    np.testing.assert_array_equal(part, expected[at])
    np.testing.assert_array_equal(getattr(data, f"{name}_labels"), labels[at])
    assert getattr(data, f"{name}_labels").dtype == np.int32
  assert data.num_classes == 3


def test_arff_is_the_same_table(folder):
  text, arff = (
    load(dataset=f"{kind}:t.{kind}", data_dir=str(folder))
    for kind in ("csv", "arff")
  )
  jax.tree.map(np.testing.assert_array_equal, text[:4], arff[:4])
  assert text[4:6] == arff[4:6]


def test_specs_compare_equal_over_splits_of_one_size(folder):
  first, other = (
    config(dataset=f"csv:{folder}/t.csv", seed=seed) for seed in (0, 1)
  )
  assert memory.create(first).spec == memory.create(other).spec
  assert memory.create(first).spec == inputs.describe(other)
  spec = memory.create(first).spec
  assert spec.inputs == jax.ShapeDtypeStruct((4,), np.float32)
  assert spec[1:4] == (3, 35, 11)
  batch = next(memory.create(first).test())
  assert batch["mask"].sum() == 11


def test_split_seed_decides_alone_and_is_the_seed_where_there_is_none(folder):
  name = f"csv:{folder}/t.csv"
  base = load(dataset=name, seed=0)
  same = load(dataset=name, seed=1, split_seed=0)
  other = load(dataset=name, seed=1)
  given = load(dataset=name, seed=0, split_seed=1)
  for a, b in ((base, same), (other, given)):
    np.testing.assert_array_equal(a.train_inputs, b.train_inputs)
    np.testing.assert_array_equal(a.test_labels, b.test_labels)
  assert not np.array_equal(base.train_inputs, other.train_inputs)


def test_the_scale_only_casts():
  raw = np.array([[1.5, -2.0]], np.float32)
  to_float, bounds = tabular.STANDARDIZED
  assert bounds is None
  floats = to_float(raw, jnp.bfloat16)
  assert floats.dtype == jnp.bfloat16
  np.testing.assert_array_equal(floats.astype(np.float32), raw)


def test_files_are_found_from_home_and_from_data_dir(folder, monkeypatch):
  monkeypatch.setenv("HOME", str(folder))
  monkeypatch.chdir(folder)
  for name, data_dir in (
    ("~/t.csv", ""),
    ("~/t.csv", "/elsewhere"),
    ("t.csv", "~"),
    ("t.csv", ""),
  ):
    assert load(dataset=f"csv:{name}", data_dir=data_dir).num_classes == 3


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"dataset": "csv:"}, "must name a file, csv:FILE; got 'csv:'"),
    ({"dataset": "arff:no.arff"}, "no.arff is missing"),
    ({"dataset": "csv:t.csv", "target": "z"}, "'z'; it has x, colour, y"),
    ({"dataset": "csv:t.csv", "target": ""}, "target: name the column"),
    ({"dataset": "csv:t.csv", "split_seed": -1}, "split_seed must be at least"),
    ({"dataset": "csv:t.csv", "target": "x"}, "t.csv, line 2: the target 'x'"),
    ({"dataset": "mnist_784"}, "target does not apply to dataset='mnist_784'"),
  ],
)
def test_errors_say_what_and_where(folder, changes, message):
  with pytest.raises((ValueError, FileNotFoundError), match=message):
    load(**{"data_dir": str(folder)} | changes)


def run_config(folder, arg=""):
  common = f"smoke,dataset=csv:{folder}/t.csv,target=y,batch_size=16"
  return recipe.get_config(f"{common},model_options.features=(8,),{arg}")


def test_epochs_become_steps_and_seeds_share_programs(folder, tmp_path):
  cache = Cache()
  for seed in (0, 1):
    result = train.train_and_evaluate(
      run_config(folder, f"method=mixupe,seed={seed}"),
      tmp_path / str(seed),
      cache,
    )
    # 2 epochs of 35 rows in batches of 16 are 4.4 steps; one is 2.2.
    assert (result["step"], result["examples"]) == (5, 11)
  assert len(cache) == 1
  described = json.loads((tmp_path / "0" / "config.json").read_text())
  assert (described["total_steps"], described["eval_every"]) == (5, 3)
  assert (described["epochs"], described["eval_every_epochs"]) == (2.0, 1.0)
  read = metrics.read(tmp_path / "0" / "metrics.jsonl")
  assert [r["step"] for r in read if r["split"] == "eval"] == [3, 5]
  assert {r["learning_rate"] for r in read if r["split"] == "train"} == {
    float(np.float32(1e-3))
  }


def test_a_run_in_epochs_goes_on_and_is_compared(folder, tmp_path, monkeypatch):
  arg = "method=mixup,checkpoint_every=2,schedule=cosine"
  whole = train.train_and_evaluate(run_config(folder, arg), tmp_path / "whole")
  write = metrics.MetricsWriter.write

  class Stop(Exception):
    pass

  def stop(self, step, split, values):
    if step == 4:
      raise Stop
    write(self, step, split, values)

  with monkeypatch.context() as patch:
    patch.setattr(metrics.MetricsWriter, "write", stop)
    with pytest.raises(Stop):
      train.train_and_evaluate(run_config(folder, arg), tmp_path / "broken")
  workdir = tmp_path / "broken"
  for change, message in (
    ("epochs=3", "epochs: 2.0 there, 3.0 now.*total_steps: 5 there, 7 now"),
    ("split_seed=0", "split_seed: None there, 0 now"),
    ("steps_per_dispatch=2,log_every=2", "total_steps: 5 there, 6 now"),
  ):
    with pytest.raises(ValueError, match=message):
      train.train_and_evaluate(run_config(folder, f"{arg},{change}"), workdir)
  assert train.train_and_evaluate(run_config(folder, arg), workdir) == whole


def test_the_smoke_variant_trains_on_the_real_iris(shared, tmp_path):
  config = recipe.get_config("smoke,batch_size=96")  # of 8 devices
  config.data_dir = str(shared / "uci")
  result = train.train_and_evaluate(config, tmp_path)
  assert (result["step"], result["examples"]) == (2, 30)
