"""Speech Commands' folder: one of each word, with WAV files in it."""

from __future__ import annotations

import pathlib

from absl import logging

NAME = "speech_commands"


def find(data_dir: str) -> tuple[pathlib.Path, list[pathlib.Path]]:
  """Returns the folder of the words' folders, and all clips, sorted.

  Folders whose names begin with "_" or "." are no words (_background_noise_
  holds noise of a minute each), and folders without WAV files neither.

  Args:
    data_dir: that folder, or one that holds it as speech_commands.

  Raises:
    FileNotFoundError: if there are no clips, saying where they are from.
    ValueError: if there is one word alone.
  """
  own = pathlib.Path(data_dir).expanduser()
  folders = [own, own / NAME] if data_dir else []
  for folder in folders:
    clips = _clips(folder)
    words = {clip.parent.name for clip in clips}
    if len(words) == 1:
      raise ValueError(
        f"{folder} must hold folders of two words or more, got one, "
        f"{words.pop()!r}."
      )
    if clips:
      return folder, clips
  raise FileNotFoundError(
    f"There are no clips WORD/NAME.wav in {' or '.join(map(str, folders))}. "
    "Unpack download.tensorflow.org/data/speech_commands_v0.01.tar.gz (30 "
    "words, the papers') or speech_commands_v0.02.tar.gz (35) into a folder, "
    f"and pass it as --config.data_dir; tfds' {NAME} has other classes, and is "
    "not read."
    if folders
    else f"data_dir must be the folder of dataset={NAME!r}, got ''; unpack "
    "download.tensorflow.org/data/speech_commands_v0.01.tar.gz into one."
  )


def _clips(folder: pathlib.Path) -> list[pathlib.Path]:
  if not folder.is_dir():
    return []
  clips, others = [], 0
  for word in sorted(folder.iterdir()):
    if word.name.startswith(("_", ".")) or not word.is_dir():
      continue
    for path in sorted(word.iterdir()):
      # macOS leaves ._NAME.wav beside what it copies.
      if path.suffix.lower() == ".wav" and not path.name.startswith("."):
        clips.append(path)
      else:
        others += 1
  if clips and others:
    logging.warning("%s: %d files that are no .wav left out.", folder, others)
  return clips
