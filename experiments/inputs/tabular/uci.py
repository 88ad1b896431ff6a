"""The tables of MixupE's section 3.2, as UCI and OpenML publish them.

What a column holds is as the sets' own documentation says, whichever copy is
read, so that both copies give the same inputs:

- arrhythmia: sex and the 72 flags "existence of ..." are categories.
- balance_scale: the four weights and distances are numbers, as at OpenML.
- cmc: all but the wife's age and the number of children are categories.
- abalone: sex is one of categories. Its target is the number of rings: the 28
  that occur are classes, as at OpenML (set 183); `target=rings3` cuts them in
  three, up to 8, 9 and 10, 11 and more, the cut in the set's own documentation.
- mfeat: numbers, also the pixels of mfeat_pixel, whose grey levels OpenML takes
  for categories. UCI's files have no labels: 200 rows of each digit in turn.
- optdigits, pendigits: UCI's training and test file in one, as at OpenML, for a
  random split.
- volkert is at OpenML alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

_BINARY = ("0", "1")
_FOUR = ("1", "2", "3", "4")


class Known(NamedTuple):
  """What is known of a data set without its data.

  Attributes:
    rows: how many it has.
    features: how many columns there are beside the target.
    classes: how many the target has.
    target: the target's name in OpenML's copy.
    openml: its number at OpenML, openml.org/d/NUMBER.
    arff: OpenML's file, less ".arff".
    files: UCI's, read one after another; (): there are none.
    folder: a name of a folder for them.
    uci: its number at UCI, archive.ics.uci.edu/dataset/NUMBER.
    position: of the target in UCI's files; None: they have none, and are in
      blocks of one class, all of one size.
    delimiter: of UCI's files; None: white space.
    label: the target's name here.
    categories: of the features, by their place among the features; the others
      are numbers.
    cuts: other targets, by name: the numbers at which each of its classes but
      the first begins.
  """

  rows: int
  features: int
  classes: int
  target: str
  openml: int
  arff: str
  files: tuple[str, ...] = ()
  folder: str = ""
  uci: int = 0
  position: int | None = -1
  delimiter: str | None = ","
  label: str = "class"
  categories: Mapping[int, tuple[str, ...]] = {}
  cuts: Mapping[str, tuple[float, ...]] = {}


def _mfeat(kind: str, features: int, openml: int) -> Known:
  """One of the six descriptions of the same 2,000 handwritten digits."""
  return Known(
    rows=2000,
    features=features,
    classes=10,
    target="class",
    openml=openml,
    arff=f"mfeat-{kind}",
    files=(f"mfeat-{kind[:3]}",),
    folder="mfeat",
    uci=72,
    position=None,
    delimiter=None,
  )


SETS: dict[str, Known] = {
  "arrhythmia": Known(
    rows=452,
    features=279,
    classes=13,  # of the 16 that its documentation names
    target="class",
    openml=5,
    arff="arrhythmia",
    files=("arrhythmia.data",),
    folder="arrhythmia",
    uci=5,
    # The sex, and the last six of the twelve wave columns of each of the twelve
    # leads, which begin after the first fifteen columns.
    categories={1: _BINARY}
    | {15 + 12 * lead + k: _BINARY for lead in range(12) for k in range(6, 12)},
  ),
  "letter": Known(
    rows=20_000,
    features=16,
    classes=26,
    target="class",
    openml=6,
    arff="letter",
    files=("letter-recognition.data",),
    folder="letter",
    uci=59,
    position=0,
  ),
  "balance_scale": Known(
    rows=625,
    features=4,
    classes=3,
    target="class",
    openml=11,
    arff="balance-scale",
    files=("balance-scale.data",),
    folder="balance-scale",
    uci=12,
    position=0,
  ),
  "mfeat_factors": _mfeat("factors", 216, 12),
  "mfeat_fourier": _mfeat("fourier", 76, 14),
  "mfeat_karhunen": _mfeat("karhunen", 64, 16),
  "mfeat_morphological": _mfeat("morphological", 6, 18),
  "mfeat_pixel": _mfeat("pixel", 240, 20),
  "mfeat_zernike": _mfeat("zernike", 47, 22),
  "cmc": Known(
    rows=1473,
    features=9,
    classes=3,
    target="Contraceptive_method_used",
    openml=23,
    arff="cmc",
    files=("cmc.data",),
    folder="cmc",
    uci=30,
    categories={1: _FOUR, 2: _FOUR, 4: _BINARY, 5: _BINARY}
    | {6: _FOUR, 7: _FOUR, 8: _BINARY},
  ),
  "optdigits": Known(
    rows=5620,
    features=64,
    classes=10,
    target="class",
    openml=28,
    arff="optdigits",
    files=("optdigits.tra", "optdigits.tes"),
    folder="optdigits",
    uci=80,
  ),
  "pendigits": Known(
    rows=10_992,
    features=16,
    classes=10,
    target="class",
    openml=32,
    arff="pendigits",
    files=("pendigits.tra", "pendigits.tes"),
    folder="pendigits",
    uci=81,
  ),
  "iris": Known(
    rows=150,
    features=4,
    classes=3,
    target="class",
    openml=61,
    arff="iris",
    files=("iris.data",),
    folder="iris",
    uci=53,
  ),
  "abalone": Known(
    rows=4177,
    features=8,
    classes=28,
    target="Class_number_of_rings",
    openml=183,
    arff="abalone",
    files=("abalone.data",),
    folder="abalone",
    uci=1,
    categories={0: ("F", "I", "M")},
    label="rings",
    cuts={"rings3": (9, 11)},
  ),
  "volkert": Known(
    rows=58_310,
    features=180,
    classes=10,
    target="class",
    openml=41_166,
    arff="volkert",
  ),
}
