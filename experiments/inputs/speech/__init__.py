"""Speech Commands: a folder of WAV files, one second a word, as spectrograms.

The folder is the data set's own, WORD/SPEAKER_nohash_N.wav; any that is laid
out so will do. tfds' data set of this name is another: ten words, silence and
"unknown".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import pathlib

from absl import logging
from ml_collections import ConfigDict
import numpy as np

from experiments.inputs.dataset import Arrays
from experiments.inputs.speech import folder, split, wav
from experiments.inputs.speech.spectrogram import SPECTROGRAM

_NAMED = 20


def load(config: ConfigDict) -> Arrays:
  """Returns waves [N, 16000] int16 and words in the order of the alphabet.

  Clips that are shorter than a second have zeros at their end, and of longer
  ones the first second counts. What cannot be read is left out, up to the share
  that the config allows.

  Args:
    config: reads data_dir, speech_split and max_unreadable_fraction.

  Raises:
    FileNotFoundError: if there is no such folder, saying where it is from.
    ValueError: if too many files cannot be read, naming them; if a part would
      have no clips.
  """
  place, clips = folder.find(config.data_dir)
  parts = split.divide(place, clips, config.speech_split)
  words = sorted({clip.parent.name for clip in clips})
  unreadable: list[str] = []
  waves, labels = {}, {}
  done = {"padded": 0, "cut": 0, "resampled": 0}
  for name, files in parts._asdict().items():
    waves[name], kept = _read(files, unreadable, done)
    labels[name] = np.array(
      [words.index(clip.parent.name) for clip in kept], np.int32
    )
  _report(place, len(clips), unreadable, config.max_unreadable_fraction)
  for name, found in labels.items():
    if not len(found):
      raise ValueError(
        f"{place}: none of the {split.NAMES[name]} clips could be read."
      )
  untaught = [
    words[k] for k in np.setdiff1d(range(len(words)), labels["train"])
  ]
  if untaught:
    logging.warning("%s: no training clips of %s.", place, ", ".join(untaught))
  logging.info(
    "%s: %d clips of %d words; %d shorter than a second, with zeros at their "
    "end; %d longer, of which the first second counts; %d resampled to 16 kHz.",
    place,
    sum(map(len, labels.values())),
    len(words),
    done["padded"],
    done["cut"],
    done["resampled"],
  )
  return Arrays(
    train_inputs=waves["train"],
    train_labels=labels["train"],
    eval_inputs=waves["eval"],
    eval_labels=labels["eval"],
    test_inputs=waves["test"],
    test_labels=labels["test"],
    num_classes=len(words),
    scale=SPECTROGRAM,
  )


LOADERS: Mapping[str, Callable[[ConfigDict], Arrays]] = {folder.NAME: load}


def _read(
  files: Sequence[pathlib.Path], unreadable: list[str], done: dict[str, int]
) -> tuple[np.ndarray, list[pathlib.Path]]:
  """Returns waves, and the files that they are of."""
  waves = np.empty((len(files), wav.RATE), np.int16)
  kept: list[pathlib.Path] = []
  for path in files:
    try:
      clip = wav.read(path)
    except OSError as error:
      unreadable.append(f"{path} cannot be opened: {error.strerror}")
      continue
    except ValueError as error:
      unreadable.append(f"{path} {error}")
      continue
    waves[len(kept)] = clip.samples
    kept.append(path)
    done["padded"] += clip.length < wav.RATE
    done["cut"] += clip.length > wav.RATE
    done["resampled"] += clip.rate != wav.RATE
  return waves[: len(kept)], kept


def _report(
  place: pathlib.Path, total: int, unreadable: list[str], limit: float
) -> None:
  if not unreadable:
    return
  named = "; ".join(unreadable[:_NAMED])
  if len(unreadable) > _NAMED:
    named += f"; and {len(unreadable) - _NAMED} more"
  if len(unreadable) > limit * total:
    raise ValueError(
      f"{place}: {len(unreadable)} of {total:,} clips cannot be used: {named}. "
      "Mend or remove them, or let more be left out: max_unreadable_fraction "
      f"is {limit:g}."
    )
  logging.warning(
    "%s: %d of %d clips left out: %s.", place, len(unreadable), total, named
  )
