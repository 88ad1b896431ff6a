"""ERM, Mixup, MixupE, DAT and CutMix on a fifth of CIFAR-10.

  python -m experiments.studies.cifar --data_dir=FOLDER --workdir=DIR \
    --out=experiments/results/cifar

FOLDER needs two of the official files, data_batch_1.bin and test_batch.bin. The
recipe is the config `cifar10`: crops, flips, a cosine from 0.1, alpha = 1. The
network has ResNet-20's three stages of three blocks, pre-activated, on images
halved at the stem, with 8 to 32 channels for 16 to 64. It trains on the first
9,000 images for 12 epochs; the other 1,000 of that file choose nothing, and the
10,000 test images are looked at once. MixupE is beside its control, the same
clean pass with eta = 0; its 0.3 is the ablation's and was not chosen here.

The size is what 40 minutes of a core allow: a network that has seen each image
twelve times underfits, where no regularizer can be expected to help. What the
table says is of such short runs; longer ones, at the price, by EPOCHS.

Cost: 1,080 steps a run, of 90 ms of a core each, twice that with a clean pass:
18 runs take 40 minutes of one core. Resumable. --out gets cifar.json, cifar.md
and cifar.png.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from experiments.configs import cifar10
from experiments.studies import rows, small
from experiments.studies.ablation import CONTROL, ETA, FULL

SETS = ("cifar10",)
# ResNet-20's blocks, pre-activated, on images halved at the stem.
NETWORK = {**small.NETWORK, "stage_sizes": (3, 3, 3)}
EPOCHS = 12.0
SEEDS = 3
ROWS = rows.Rows(
  {
    "ERM": {"method": "erm"},
    "Mixup": {"method": "mixup"},
    CONTROL: {"method": "mixupe", "eta": 0.0},
    FULL: {"method": "mixupe", "eta": ETA},
    "DAT": {"method": "dat"},
    "CutMix": {"method": "cutmix"},
  },
  against={"ERM": "ERM", "Mixup": "Mixup"},
  asked=(
    ("Mixup", "ERM"),
    ("CutMix", "ERM"),
    (FULL, "Mixup"),
    (CONTROL, "Mixup"),
    ("DAT", "Mixup"),
  ),
)
# The rows that --smoke trains, which are one program.
_SMOKE = (CONTROL, FULL)


def sweeps(
  name: str, data_dir: str, *, smoke: bool = False
) -> tuple[ConfigDict, list[str]]:
  """Returns what a data set's runs have in common, and their grids."""
  base = cifar10.get_config(f"dataset={name}")
  small.use(base, data_dir, epochs=EPOCHS, examples=9000, smoke=smoke)
  base.eval_split = "train[9900:10000]" if smoke else "train[9000:10000]"
  if not smoke:
    base.model_options = ConfigDict(NETWORK)
  return base, ROWS.grids(2 if smoke else SEEDS, _SMOKE if smoke else ())


if __name__ == "__main__":
  rows.run("cifar", SETS, ROWS, sweeps)
