"""The config's keys of data: defaults, checks, and what a resume may change."""

from __future__ import annotations

from collections.abc import Container
import re
from typing import Any

from ml_collections import ConfigDict

from experiments import domains
from experiments.inputs.speech import split as speech_split

# None of these decides what a training batch holds, nor what is evaluated.
FREE = frozenset({"data_dir", "eval_batch_size", "max_unreadable_fraction"})

# These decide which examples train, and no program.
PARTITION = frozenset(
  {"split_seed", "fold", "folds", "inner_validation", "validation_fraction"}
)

# What TFRecord files of images are read by.
OF_RECORDS = frozenset(
  {
    *("train_split", "eval_split", "image_size", "resize_size"),
    *("interpolation", "randaugment", "shuffle_buffer", "shuffle_lanes"),
  }
)
# Of some kinds of data alone. Of one that does not read them nobody would see
# that they do nothing.
_OF_SOME = OF_RECORDS | {
  *("target", "folds", "fold", "inner_validation", "speech_split"),
}


def randaugment(
  config: ConfigDict,
) -> tuple[int, float] | tuple[int, float, str] | None:
  """Returns RandAugment's (num_layers, magnitude), and strengths where named.

  None: no RandAugment.
  """
  text = KEYS["randaugment"].read("randaugment", config.randaugment)
  if not text:
    return None
  strengths, colon, numbers = text.rpartition(":")
  first, second = numbers.split(",")
  layers, magnitude = int(first), float(second)
  return (layers, magnitude, strengths) if colon else (layers, magnitude)


def _randaugment(name: str, value: Any) -> str:
  found = _RANDAUGMENT.fullmatch(value) if isinstance(value, str) else None
  if value != "" and not (found and float(found[2]) <= 30):
    domains.refuse(name, _EXPECTED, value)
  return str(value)


RANDAUGMENT_STRENGTHS = ("reference", "paper")
_RANDAUGMENT = re.compile(
  rf"(?:(?:{'|'.join(RANDAUGMENT_STRENGTHS)}):)?"
  r"\s*([1-9]\d?)\s*,\s*(\d+(?:\.\d*)?)\s*"
)
_EXPECTED = (
  "'', or 'layers,magnitude' with layers from 1 to 99 and a magnitude in "
  "[0, 30], such as '2,15', and before it 'reference:', the default, or "
  "'paper:', for one of the two scales"
)
KEYS = {
  # In memory, or a tfds name: "NAME/CONFIG:VERSION".
  "dataset": domains.text("digits"),
  "data_dir": domains.folder(""),  # local or gs://; "" is tfds's own default
  "batch_size": domains.integer(128, 1, 2**24),  # global
  "eval_batch_size": domains.integer(512, 1, 2**24),  # global
  # Images in memory, in training: zeros around them, of which a crop of their
  # size is taken (torchvision's RandomCrop(padding=4)); the probability of a
  # flip left to right; the side of Cutout's square. In pixels; 0: none.
  "crop_padding": domains.integer(0, 0, 2**10),
  "hflip": domains.number(0.0, "[0, 1]"),
  "cutout": domains.integer(0, 0, 2**10),
  # Tables and graphs, which come without a split of their own.
  "target": domains.text("", empty=True),  # a column; "" is the set's own
  # None: the run's seed.
  "split_seed": domains.optional(domains.integer(0, 0, 2**32 - 1), int),
  # Data sets in memory without a validation part: a share of the training
  # examples to evaluate on; what was evaluated is tested at the end.
  "validation_fraction": domains.number(0.0, "[0, 0.5]"),
  # Graphs: fold 0 .. folds - 1 is left out to test on.
  "folds": domains.integer(10, 2),
  "fold": domains.integer(0, 0),
  # Graphs: whether the fold after it is evaluated, and only at the end the one
  # left out; False trains on all others and evaluates the one left out.
  "inner_validation": domains.boolean(True),
  # Speech: by the data set's own rule, or, for clips of one of its parts alone,
  # by speakers; both are the same for every seed.
  "speech_split": domains.choice("official", tuple(speech_split.RULES)),
  # Slices such as "train[:99%]" work, of images in memory, too.
  "train_split": domains.text("train"),
  # Of small image sets without one "validation" is "test"; where it is neither,
  # the test images have a line at the end.
  "eval_split": domains.text("validation"),
  # Images in TFRecord files only, from here on.
  "image_size": domains.integer(224, 1, 2**13),
  # Shorter side before evaluation's crop.
  "resize_size": domains.integer(256, 1, 2**13),
  # bilinear: less work for the host.
  "interpolation": domains.choice("bicubic", ("bicubic", "bilinear")),
  # "layers,magnitude", of the strengths of the released code;
  # "paper:layers,magnitude" of those of the paper's letter.
  "randaugment": domains.Key("", _EXPECTED, _randaugment),
  # Compressed records in the memory of all processes, at most. Half are in use
  # while the other half is read: about 2.2 GB of ImageNet for each stream, with
  # a whole file of it for each lane. Lanes are what processes divide among
  # them: a multiple of their number, if each record is to be read once.
  "shuffle_buffer": domains.integer(20_480, 2),
  "shuffle_lanes": domains.integer(8, 1),
  # Of 10,000 records or more, before the run stops. In training copies of
  # others in the batch take their places; in evaluation they do not count. Of
  # speech, of all clips, and they are left out.
  "max_unreadable_fraction": domains.number(1e-3, "[0, 1]"),
}


def defaults() -> ConfigDict:
  """Returns the keys of data with their defaults; they stand nowhere else."""
  return domains.defaults(KEYS)


def refuse_unread(config: ConfigDict, read: Container[str]) -> None:
  """Raises ValueError for a key of other kinds of data that was set.

  Args:
    config: resolved.
    read: the keys that the config's data set reads.
  """
  for name in sorted(_OF_SOME):
    default = KEYS[name].default
    value = config.get(name, default)
    if name not in read and value != default:
      raise ValueError(
        f"{name} does not apply to dataset={config.dataset!r}; leave it at "
        f"{default!r}, got {value!r}."
      )


def check(config: ConfigDict) -> None:
  """Raises ValueError for an evaluation that would crop what is not there.

  Or for a fold that is none.
  """
  if config.fold >= config.folds:
    raise ValueError(
      f"fold must be smaller than folds={config.folds}, got {config.fold}."
    )
  if config.image_size > config.resize_size:
    raise ValueError(
      "image_size must be no larger than resize_size="
      f"{config.resize_size}, the shorter side that evaluation crops from; got "
      f"{config.image_size}."
    )
