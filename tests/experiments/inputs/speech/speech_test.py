"""Folders of clips as a data set, and runs on them."""

import jax
from ml_collections import ConfigDict
import numpy as np
import pytest
from scipy.io import wavfile

from experiments import inputs, train
from experiments.configs import common
from experiments.configs import speech as recipe
from experiments.inputs import memory, speech
from experiments.inputs.speech import split


def load(folder, **changes):
  config = ConfigDict(inputs.defaults().to_dict() | {"seed": 0})
  config.update({"dataset": "speech_commands", "data_dir": str(folder)})
  config.update(changes)
  return memory.loader("speech_commands")(config)


def test_waves_and_words_are_those_of_the_files(folder):
  data = load(folder)
  clips = sorted(folder.glob("*/*.wav"))
  parts = split.divide(folder, clips, "official")
  for name, files in parts._asdict().items():
    waves = getattr(data, f"{name}_inputs")
    assert waves.dtype == np.int16 and len(files) > 0
    np.testing.assert_array_equal(
      waves, [wavfile.read(path)[1] for path in files]
    )
    labels = getattr(data, f"{name}_labels")
    assert labels.dtype == np.int32
    assert labels.tolist() == [int(path.parent.name == "up") for path in files]
  assert (data.num_classes, data.scale) == (2, speech.SPECTROGRAM)
  spec = memory.measure(data)
  assert spec.inputs == jax.ShapeDtypeStruct((16_000,), np.int16)


def test_seeds_share_a_split_and_the_key_changes_it(folder):
  first, same = load(folder), load(folder, seed=1, split_seed=3)
  jax.tree.map(np.testing.assert_array_equal, first[:4], same[:4])
  other = load(folder, speech_split="speaker")
  assert not np.array_equal(first.eval_inputs, other.eval_inputs)


def test_a_folder_that_holds_the_folder_will_do(folder, monkeypatch):
  inner = folder / "speech_commands"
  inner.mkdir()
  for word in ("down", "up"):
    (folder / word).rename(inner / word)
  assert len(load(folder).train_labels) == len(load(inner).train_labels)
  monkeypatch.setenv("HOME", str(folder))
  assert load("~/speech_commands").num_classes == 2


def test_what_is_no_word_is_left_out(folder):
  for name in ("_background_noise_", ".hidden", "empty"):
    (folder / name).mkdir()
  noise = np.ones(20_000, np.int16)
  wavfile.write(folder / "_background_noise_" / "noise.wav", 16_000, noise)
  wavfile.write(folder / ".hidden" / "a.wav", 16_000, noise)
  wavfile.write(folder / "stray.wav", 16_000, noise)
  (folder / "up" / "._a_nohash_0.wav").write_bytes(b"of macOS")
  (folder / "up" / "notes.txt").write_text("no clip")
  before = load(folder)
  assert before.num_classes == 2
  assert sum(len(getattr(before, f"{p}_labels")) for p in split.NAMES) == 60


def test_all_that_cannot_be_read_is_named_at_once(folder):
  clips = sorted(folder.glob("*/*.wav"))
  for path in clips[:2]:
    path.write_bytes(path.read_bytes()[:-7])
  clips[40].write_text("hello")
  clips[41].unlink()
  clips[41].symlink_to("gone")
  clips[42].unlink()
  clips[42].mkdir()
  with pytest.raises(ValueError, match="5 of 60 clips") as error:
    load(folder)
  for path in (*clips[:2], *clips[40:43]):
    assert str(path) in str(error.value)
  assert "max_unreadable_fraction is 0.001" in str(error.value)


def test_a_share_may_be_left_out_and_the_rest_is_as_before(folder):
  before = load(folder)
  files = split.divide(folder, sorted(folder.glob("*/*.wav")), "official")
  files.train[3].write_bytes(b"")
  data = load(folder, max_unreadable_fraction=1 / 60)
  keep = np.arange(len(files.train)) != 3
  np.testing.assert_array_equal(data.train_inputs, before.train_inputs[keep])
  np.testing.assert_array_equal(data.train_labels, before.train_labels[keep])
  np.testing.assert_array_equal(data.test_inputs, before.test_inputs)


def test_a_part_of_which_nothing_can_be_read_is_named(folder):
  files = split.divide(folder, sorted(folder.glob("*/*.wav")), "official")
  for path in files.eval:
    path.write_bytes(b"")
  with pytest.raises(ValueError, match="none of the validation clips"):
    load(folder, max_unreadable_fraction=0.9)


def test_missing_folders_say_where_clips_are_from(tmp_path):
  with pytest.raises(FileNotFoundError, match="speech_commands_v0.01.tar.gz"):
    load(tmp_path)
  with pytest.raises(FileNotFoundError, match="data_dir must be .*got ''"):
    load("")
  (tmp_path / "up").mkdir()
  wavfile.write(tmp_path / "up" / "a.wav", 16_000, np.ones(9, np.int16))
  with pytest.raises(ValueError, match="two words or more, got one, 'up'"):
    load(tmp_path)


def test_the_key_has_two_values():
  config = recipe.get_config()
  assert common.resolve(config).speech_split == "official"
  config.speech_split = "random"
  with pytest.raises(ValueError, match="speech_split must be one of official,"):
    common.resolve(config)


def test_the_recipe_is_the_papers():
  config = common.resolve(recipe.get_config("method=mixupe"))
  assert (config.optimizer, config.learning_rate) == ("adam", 1e-3)
  assert (config.batch_size, config.epochs) == (100, 20.0)
  assert (config.alpha, config.eta) == (0.2, 0.01)
  names = [name for name, _ in recipe.get_config("compare").sweep]
  assert names == ["ERM", "Mixup", "MixupE"]


@pytest.mark.parametrize("model", ["lenet", "vgg11"])
def test_mixupe_trains_on_a_folder(folder, tmp_path_factory, model):
  arg = f"smoke,method=mixupe,model={model},batch_size=16,epochs=1"
  config = recipe.get_config(arg)
  config.data_dir = str(folder)
  if model == "vgg11":
    config.model_options = ConfigDict({"width": 1})
  result = train.train_and_evaluate(config, tmp_path_factory.mktemp("run"))
  size = len(load(folder, speech_split="speaker").eval_labels)
  assert result["examples"] == size
  # Of two words, and it has not blown up.
  assert 0.0 < result["loss"] < 3.0


def test_attacks_are_refused(folder, tmp_path_factory):
  config = recipe.get_config("smoke,fgsm_epsilon=0.1,batch_size=16")
  config.data_dir = str(folder)
  with pytest.raises(ValueError, match="its inputs have no bounds to attack"):
    train.train_and_evaluate(config, tmp_path_factory.mktemp("run"))


def test_the_real_clips_are_whole_and_loud(shared):
  data = load(shared, speech_split="speaker")
  assert data.num_classes == 10
  sizes = [len(getattr(data, f"{part}_labels")) for part in split.NAMES]
  assert sum(sizes) == 1300
  assert np.bincount(data.train_labels, minlength=10).min() > 50
  assert data.train_inputs.std() > 100
