"""ERM, Mixup, untied MixUp and DAT, with two losses, on two data sets.

  python -m experiments.studies.untied --data_dir=FOLDER --workdir=DIR \
    --out=experiments/results/untied

Tables 3 and 4 of "MixUp as Directional Adversarial Training" (2020), small, and
with DAT, which is in none of its tables: MNIST and Fashion-MNIST, whose
official files FOLDER holds, by cross-entropy and, as _nc, by the negative
cosine in 300 dimensions. Policies and pairing are the paper's, by the config
`umixup_images`; of DAT the policy is untied MixUp's, of which it is the
equivalent in expectation. The network is that of `experiments.studies.small`,
on the first 2,000 training images, without augmentation: 50 epochs, the size at
which Mixup helps in `ablation`. Where the paper averages the last ten epochs'
errors, a cosine has brought the rate to 0, and the last one counts.

Cost: 1,000 steps of 23 ms of a core a run: 80 runs take 35 minutes of one core,
9 a data set and loss, which --sets names. Resumable. --out gets untied.json,
untied.md and untied.png.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from experiments.configs import umixup_images
from experiments.studies import rows, small

SETS = ("fashion_mnist", "fashion_mnist_nc", "mnist", "mnist_nc")
SEEDS = 5
ROWS = rows.Rows(
  {
    "ERM": {"method": "erm"},
    "Mixup": {"method": "mixup"},
    "untied MixUp": {"method": "untied"},
    "DAT": {"method": "dat"},
  },
  against={"ERM": "ERM", "Mixup": "Mixup"},
  asked=(("Mixup", "ERM"), ("untied MixUp", "Mixup"), ("DAT", "Mixup")),
  note="_nc is the negative cosine, whose loss that is.",
)
# The rows that --smoke trains.
_SMOKE = ("ERM", "untied MixUp")


def sweeps(
  name: str, data_dir: str, *, smoke: bool = False
) -> tuple[ConfigDict, list[str]]:
  """Returns what a data set's runs have in common, and their grids."""
  base = umixup_images.get_config(f"{name},plain")
  small.use(base, data_dir, smoke=smoke)
  return base, ROWS.grids(2 if smoke else SEEDS, _SMOKE if smoke else ())


if __name__ == "__main__":
  rows.run("untied", SETS, ROWS, sweeps)
