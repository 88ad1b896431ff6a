"""MixupE's table 7 with the rows it lacks: where do the gains come from?

  python -m experiments.studies.ablation --data_dir=FOLDER --workdir=DIR \
    --out=experiments/results/ablation

Fashion-MNIST, whose official files FOLDER holds, by a small pre-activation
ResNet (three stages of one block, 8 to 32 channels, 19,650 parameters) on the
first 2,000 training images: ERM, Mixup, Mixup with MixupE's clean pass and
eta = 0, which is the control of most that follows; MixupE by four eta and by
one in units of the loss, with the exact penalty, with the released code's sign,
on a half, a quarter and an eighth of the clean batch, at the mixed points, and
with either other arrangement of its passes; the penalty on ERM, on untied
MixUp, on CutMix and on manifold mixup. Eight seeds each, of which differences
are taken pair by pair. Errors are of the 10,000 test images.

The paper's question needs a size at which Mixup helps. It was looked for on the
last 5,000 training images with seeds 0 and 1, by batches of 100, a cosine from
0.1 and L2 5e-4. Validation errors in %:

              ERM        Mixup, alpha = 0.2   Mixup, alpha = 1
  50 epochs   18.6 19.0  not run              16.8 17.1
  100 epochs  18.0 18.4  16.9 16.8            16.8 16.4

50 epochs and alpha = 1 were taken: half the cost, and as much of a gain. The
rows' eta where none is named, 0.3, was not chosen by anything.

Cost: 1,000 steps a run; 16 ms of a core each for Mixup, 30 with the clean pass,
60 for the exact penalty, 100 and more where every stage is a branch (the
penalty at a random one): all 200 runs took two hours of one core, when it was
of manifold mixup without a penalty, too.
Resumable. --out gets ablation.json, ablation.md and ablation.png.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from experiments import methods
from experiments.configs import small_images
from experiments.studies import rows, small

SETS = ("fashion_mnist",)
SEEDS = 8
ALPHA = 1.0
ETAS = (1e-3, 0.1, 0.3, 1.0)
ETA = 0.3

_MIXUPE = {"method": "mixupe"}
_FULL = {**_MIXUPE, "eta": ETA}
_named = "MixupE, η = {:g}".format
CONTROL = "Mixup, clean pass, η = 0"
FULL = _named(ETA)
_KEYS: Mapping[str, Mapping[str, Any]] = {
  "ERM": {"method": "erm"},
  "Mixup": {"method": "mixup"},
  CONTROL: {**_MIXUPE, "eta": 0.0},
  **{_named(eta): {**_MIXUPE, "eta": eta} for eta in ETAS},
  "relative η = 3": {**_MIXUPE, "eta": 3.0, "eta_scale": "relative"},
  "exact": {**_FULL, "penalty": "exact"},
  "release's sign": {**_FULL, "penalty_form": "release"},
  "half clean": {**_FULL, "clean_fraction": 0.5},
  "a quarter clean": {**_FULL, "clean_fraction": 0.25},
  "an eighth clean": {**_FULL, "clean_fraction": 0.125},
  "at mixed points": {**_FULL, "penalty_at": "mixed"},
  "joint, η = 0": {**_MIXUPE, "eta": 0.0, "clean_pass": "joint"},
  "joint": {**_FULL, "clean_pass": "joint"},
  "separate, η = 0": {**_MIXUPE, "eta": 0.0, "clean_pass": "separate"},
  "separate": {**_FULL, "clean_pass": "separate"},
  "ERM, penalty": {"method": "erm", "eta": ETA},
  "untied MixUp": {"method": "untied"},
  "untied MixUp, penalty": {"method": "untied", "eta": ETA},
  "CutMix": {"method": "cutmix"},
  "CutMix, penalty": {"method": "cutmix", "eta": ETA},
  "manifold mixup": {"method": "mixup", "mix_at": "random"},
  "manifold mixup, penalty": {**_FULL, "mix_at": "random"},
}
# What a row has but for the penalty; the last three have no clean pass without
# it, so that their differences are of both together.
_CONTROLS = {
  **dict.fromkeys(_KEYS, CONTROL),
  "joint": "joint, η = 0",
  "separate": "separate, η = 0",
  **{
    f"{title}, penalty": title
    for title in ("ERM", "untied MixUp", "CutMix", "manifold mixup")
  },
}
# The rows that --smoke trains, which are one program.
_SMOKE = (CONTROL, FULL)
ROWS = rows.Rows(
  _KEYS,
  against={"Mixup": "Mixup", "control": _CONTROLS},
  asked=(
    ("ERM", "Mixup"),
    (CONTROL, "Mixup"),
    (FULL, "Mixup"),
    (FULL, "control"),
    ("a quarter clean", "control"),
    ("exact", "control"),
    ("release's sign", "control"),
    ("ERM, penalty", "control"),
  ),
  note=(
    f"η is {ETA:g} where none is named. The control of a row called penalty is "
    "the row of that name without it, those of joint and separate have η = 0, "
    f"that of all others is {CONTROL!r}."
  ),
  along={CONTROL: 0.0, **{_named(eta): eta for eta in ETAS}},
)


def sweeps(
  name: str, data_dir: str, *, smoke: bool = False
) -> tuple[ConfigDict, list[str]]:
  """Returns what a data set's runs have in common, and their grids."""
  base = small_images.base(name)
  base.recipe = methods.recipe(mixup_alpha=ALPHA, eta=ETA)
  small.use(base, data_dir, smoke=smoke)
  return base, ROWS.grids(2 if smoke else SEEDS, _SMOKE if smoke else ())


if __name__ == "__main__":
  rows.run("ablation", SETS, ROWS, sweeps)
