"""Folders of clips, made here, and the real ones where there are any."""

import os
import pathlib

import numpy as np
import pytest
from scipy.io import wavfile

ROOT = pathlib.Path(__file__).parents[4]


@pytest.fixture(scope="session")
def shared():
  folder = pathlib.Path(
    os.environ.get("JAXMIX_SHARED_DATA", ROOT.parent / "shared" / "data")
  )
  if not (folder / "speech_commands").is_dir():
    pytest.skip(f"no clips at {folder}/speech_commands: set JAXMIX_SHARED_DATA")
  return folder / "speech_commands"


@pytest.fixture
def folder(tmp_path):
  """Two words of 30 speakers each, of all parts by either rule."""
  times = np.arange(16_000) / 16_000
  for k, word in enumerate(("down", "up")):
    (tmp_path / word).mkdir()
    for i in range(30):
      path = tmp_path / word / f"{i:08x}_nohash_0.wav"
      sound = 8_000 * np.sin(2 * np.pi * (200 + 400 * k + i) * times)
      wavfile.write(path, 16_000, sound.astype(np.int16))
  return tmp_path
