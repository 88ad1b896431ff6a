"""Runs of a sweep: their folders, and what is wrong before the first trains."""

import numpy as np
import pytest

from experiments import sweep
from experiments.configs import digits
from experiments.inputs import memory
from experiments.inputs.images import load_digits

QUICK = (
  "smoke,model=mlp,model_options.features=(4,),batch_size=40,fgsm_epsilon=0.0"
)


def make_config(*runs, seeds=(0,)):
  config = digits.get_config(QUICK)
  config.model_options = {"features": (4,)}
  config.sweep, config.sweep_seeds = runs, seeds
  return config


def folders(config):
  return [f"{sweep.slug(name)}/{seed}" for name, seed, _ in sweep.runs(config)]


def test_each_run_has_a_folder_of_its_own():
  config = make_config(
    ("Mixup, α = 0.5", {"alpha": 0.5}), ("Mixup", {}), seeds=(0, 3)
  )
  assert folders(config) == ["mixup_0_5/0", "mixup_0_5/3", "mixup/0", "mixup/3"]


@pytest.mark.parametrize(
  ("first", "second"),
  [
    ("Mixup", "mixup"),  # one folder where case does not count
    ("Mixup", "Mixup"),
    ("Mixup", "Mixup."),
    ("Mixup", "Mixup/"),
    ("Mixup", " Mixup"),
    ("a/b", "a b"),
    ("a-1", "a_1"),
    ("MixupE", "MixupE\u2009+"),
    ("caf\u00e9", "cafe\u0301"),  # composed and decomposed
    ("\ufb01t", "fit"),
  ],
)
def test_names_that_are_one_folders_are_refused(first, second):
  with pytest.raises(ValueError, match="^sweep: .* must be told apart"):
    folders(make_config((first, {}), (second, {})))


@pytest.mark.parametrize(
  "name", ["", ".", "..", "/", "\u6df7\u5408", "α", "a" * 300]
)
def test_names_that_make_no_folder_are_refused(name):
  with pytest.raises(ValueError, match="^sweep: a run's name must make a fold"):
    folders(make_config(("good", {}), (name, {})))


@pytest.mark.parametrize("name", ["checkpoints", "Checkpoints/", "XLA"])
def test_names_of_what_is_there_already_are_refused(name):
  with pytest.raises(ValueError, match="not checkpoints or xla"):
    folders(make_config((name, {})))


@pytest.mark.parametrize(
  ("overrides", "message"),
  [
    ({"lr": 1.0}, "run 'second': Unknown config key 'lr'; known keys"),
    ({"learning_rate": "x"}, "run 'second': learning_rate must be a number"),
    ({"learning_rate": -1}, "run 'second': learning_rate must be .*got -1"),
    ({"per_example": None}, "run 'second': per_example must be True or False"),
    ({"model_options": {"widht": 1}}, "run 'second': model_options must be"),
    ({"model_options.features": (0,)}, r"model_options.features\[0\] must be"),
    ({"recipe": {"mixup": {"alpha": "x"}}}, "recipe.mixup.alpha must be a num"),
    ({"recipe.mixpu.alpha": 1.0}, "Unknown config key 'recipe.mixpu.alpha'"),
    ({"seed": 1}, "run 'second': seed must not be among its overrides"),
    ({"sweep_seeds": (1,)}, "sweep_seeds must not be among its overrides"),
    ({3: 4}, "run 'second': Unknown config key 3"),
    ({"warmup_steps": 20}, "warmup_steps=20 must be smaller than total_steps"),
    # What only shows in shapes and in data.
    ({"mix_at": "stage9"}, "run 'second': mix_at must be a stage of model"),
    ({"batch_size": 7}, "run 'second': batch_size=7 cannot be divided"),
  ],
)
def test_a_wrong_second_run_is_found_before_the_first_trains(
  tmp_path, overrides, message
):
  config = make_config(("first", {}), ("second", overrides))
  with pytest.raises(ValueError, match=f"^sweep: .*{message}") as error:
    sweep.run(config, tmp_path / "out")
  assert len(str(error.value).splitlines()) == 1
  assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("runs", [("ab",), (("a", 5),), ((5, {}),), (("a",),)])
def test_what_is_no_pair_is_named(runs):
  with pytest.raises(ValueError, match=r"^sweep\[0\] must be a \(name, overr"):
    folders(make_config(*runs))


@pytest.mark.parametrize("seeds", [(), (0, 0), (1, 0, 1)])
def test_seeds_are_one_or_more_each_once(seeds):
  with pytest.raises(ValueError, match="^sweep_seeds must be one or more"):
    folders(make_config(("a", {}), seeds=seeds))


def test_options_of_a_model_are_added_to_its_own():
  config = make_config(
    ("a", {"model_options": {"use_bias": False}}),
    ("b", {"model_options.use_bias": False}),
  )
  for _, _, own in sweep.runs(config):
    assert own.model_options.to_dict() == {"features": (4,), "use_bias": False}


def test_data_in_memory_are_loaded_once_for_runs_that_read_the_same(
  monkeypatch,
):
  loaded = []

  def load(config):
    loaded.append(config.data_dir)
    return load_digits(config)

  monkeypatch.setitem(memory.LOADERS, "counted", load)
  monkeypatch.setitem(memory.SPECS, "counted", memory.SPECS["digits"])
  config = make_config(("a", {}), ("b", {"method": "erm"}), seeds=(0, 1))
  config.dataset = "counted"
  arrays = memory.Loaded()
  sets = {
    seed: memory.create(own, loaded=arrays)
    for _, seed, own in sweep.runs(config)
  }
  assert len(loaded) == 1
  # The order is each seed's own all the same.
  first, second = (next(sets[seed].train())["label"] for seed in (0, 1))
  assert not np.array_equal(first, second)
  config.data_dir = "elsewhere"
  memory.create(config, loaded=arrays)
  assert len(loaded) == 2


@pytest.mark.parametrize(
  "read",
  [
    lambda config: config.seed,
    lambda config: config["seed"],
    lambda config: config.get("seed"),
    lambda config: dict(config)["seed"],
    lambda config: config.to_dict()["seed"],
  ],
)
def test_data_that_depend_on_a_key_are_loaded_for_each_of_its_values(
  monkeypatch, read
):
  def load(config):
    arrays = load_digits(config)
    return arrays._replace(train_labels=arrays.train_labels * 0 + read(config))

  monkeypatch.setitem(memory.LOADERS, "seeded", load)
  arrays, config = memory.Loaded(), make_config()
  config.dataset = "seeded"
  for seed in (3, 4, 3):
    config.seed = seed
    batch = next(memory.create(config, loaded=arrays).train())
    assert set(batch["label"].tolist()) == {seed}
