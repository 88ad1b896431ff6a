"""Which clips train, validate and test: no speaker is in two parts.

The data set's own rule, as its README publishes it (Warden, 2018,
https://arxiv.org/abs/1804.03209, section 5.3), hashes the speaker's name, so
that clips that are added later leave others where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import hashlib
import os
import pathlib
import re
from typing import NamedTuple

from absl import logging

# Of the clips, about, by either rule: the data set's own shares.
VALIDATION, TEST = 10, 10  # per cent
MAX_NUM_WAVS_PER_CLASS = 2**27 - 1  # of the published rule
LISTS = {"eval": "validation_list.txt", "test": "testing_list.txt"}
NAMES = {"train": "training", "eval": "validation", "test": "test"}


class Parts(NamedTuple):
  """Clips of the three parts, each in the order of all of them."""

  train: list[pathlib.Path]
  eval: list[pathlib.Path]
  test: list[pathlib.Path]


def speaker(name: str) -> str:
  """Returns who speaks in a file; one of another pattern is its own speaker.

  Example:
    >>> speaker("0a7c2a8d_nohash_1.wav"), speaker("own.wav")
    ('0a7c2a8d', 'own.wav')
  """
  return re.sub(r"_nohash_.*$", "", name)


def official(name: str) -> str:
  """Returns a file's part by the published rule: train, eval or test.

  Example:
    >>> official("18f8afd5_nohash_1.wav")
    'test'
  """
  digest = int(hashlib.sha1(os.fsencode(speaker(name))).hexdigest(), 16)
  percent = digest % (MAX_NUM_WAVS_PER_CLASS + 1) * 100 / MAX_NUM_WAVS_PER_CLASS
  return _part(percent)


def by_speaker(name: str) -> str:
  """Returns a file's part by another hash of its speaker: shares as official.

  It divides what the published rule has in one part, such as its test clips
  alone, and is the same for every seed.
  """
  digest = hashlib.sha256(os.fsencode(speaker(name))).digest()
  return _part(int.from_bytes(digest) % 100)


RULES: Mapping[str, Callable[[str], str]] = {
  "official": official,
  "speaker": by_speaker,
}


def divide(
  folder: pathlib.Path, clips: Sequence[pathlib.Path], rule: str
) -> Parts:
  """Returns clips by the parts that they are in.

  Args:
    folder: of the words' folders; its testing_list.txt and validation_list.txt,
      if it has them, decide in place of the published rule.
    clips: the files, folder/WORD/NAME.
    rule: of `RULES`.

  Raises:
    ValueError: if a part has no clips, naming the key that helps; or if there
      is one list of the two, or a clip is in both.
  """
  listed = _listed(folder) if rule == "official" else None
  parts = Parts([], [], [])
  for clip in clips:
    if listed is None:
      part = RULES[rule](clip.name)
    else:
      part = listed.get(f"{clip.parent.name}/{clip.name}", "train")
    getattr(parts, part).append(clip)
  empty = [NAMES[p] for p, found in parts._asdict().items() if not found]
  if empty:
    how = (
      "use speech_split=speaker, a split by speakers of these clips, or the "
      "whole data set"
      if rule == "official"
      else "clips of more speakers are needed"
    )
    by = "" if listed is None else " (by its lists)"
    raise ValueError(
      f"speech_split={rule!r} leaves no {' and no '.join(empty)} clips of the "
      f"{len(clips):,} in {folder}{by}; {how}."
    )
  logging.info(
    "%s: speech_split=%s%s: %d clips to train on, %d to validate, %d to test.",
    folder,
    rule,
    "" if listed is None else ", by its lists",
    *map(len, parts),
  )
  return parts


def _part(percent: float) -> str:
  if percent < VALIDATION:
    return "eval"
  return "test" if percent < VALIDATION + TEST else "train"


def _listed(folder: pathlib.Path) -> dict[str, str] | None:
  """The folder's lists, "WORD/NAME" to part; None: it has none."""
  there = {part: folder / name for part, name in LISTS.items()}
  missing = [path.name for path in there.values() if not path.is_file()]
  if len(missing) == len(LISTS):
    return None
  if missing:
    raise ValueError(
      f"{folder} must have both {' and '.join(LISTS.values())}, or neither; "
      f"{missing[0]} is missing."
    )
  found: dict[str, str] = {}
  for part, path in there.items():
    for line in os.fsdecode(path.read_bytes()).splitlines():
      name = line.strip("\ufeff \t").replace("\\", "/").removeprefix("./")
      if not name:
        continue
      if found.setdefault(name, part) != part:
        raise ValueError(
          f"{folder}: {name} is in both {' and '.join(LISTS.values())}."
        )
  return found
