"""MixupE's table 5, small: its protocol, and on clips of tones."""

import numpy as np
from scipy.io import wavfile

from experiments.configs import common
from experiments.studies import speech, three


def test_the_protocol_is_the_papers():
  config = common.resolve(speech.make_config("vgg11", "data", smoke=False))
  assert (config.batch_size, config.epochs) == (100, 20.0)
  assert (config.optimizer, config.learning_rate) == ("adam", 1e-3)
  assert config.model_options.width == 8
  assert len(speech.SEEDS) == 5


def test_a_network_on_tones(tmp_path):
  time = np.arange(16_000) / 16_000.0
  rng = np.random.default_rng(0)
  for word, pitch in (("low", 300.0), ("high", 2_000.0)):
    (tmp_path / "clips" / word).mkdir(parents=True)
    for k in range(24):
      wave = np.sin(2.0 * np.pi * pitch * time) + rng.normal(size=16_000)
      wavfile.write(
        tmp_path / "clips" / word / f"{k:08x}_nohash_0.wav",
        16_000,
        (8_000.0 * wave).astype(np.int16),
      )
  told = speech.train(
    "lenet", str(tmp_path / "clips"), tmp_path / "runs", smoke=True
  )
  assert told["runs"] == 6
  assert told["methods"]["Mixup"]["cell"] == {"alpha": 0.2}
  assert told["methods"]["MixupE"]["cell"] == {"alpha": 0.2, "eta": 0.01}
  text = three.markdown({"lenet": told}, "network")
  assert text.count("| network |") == 2
  assert "on 3 networks" in three.caption(dict.fromkeys("abc", told), "network")
