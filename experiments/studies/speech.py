"""MixupE's table 5, small: ERM, Mixup and MixupE on spoken words.

  python -m experiments.studies.speech --data_dir=FOLDER --workdir=DIR \
    --out=experiments/results/speech

FOLDER holds clips as Speech Commands has them; experiments/configs/speech.py
has the protocol: alpha = 0.2, eta = 0.01, 20 epochs, five seeds. A hash of ours
of the speakers divides the clips, so that a folder of one of the data set's
parts will do. LeNet is the paper's; of VGG-11, a narrow one. --sets names
networks. Resumable: the same command goes on where it was stopped. --out gets
speech.json, speech.md and speech.png.
"""

from __future__ import annotations

from typing import Any

from etils import epath
from ml_collections import ConfigDict

from experiments.configs import speech
from experiments.studies import command, three

# Network -> its options.
NETWORKS: dict[str, dict[str, Any]] = {
  "lenet": {},
  "vgg11": {"width": 8},
}
SEEDS = range(5)


def make_config(network: str, data_dir: str, *, smoke: bool) -> ConfigDict:
  """Returns what a network's runs have in common.

  Their weights are the last step's, not an average, as the paper's are.
  """
  config = speech.get_config(f"model={network},temperature_scaling=True")
  config.data_dir = data_dir
  config.speech_split = "speaker"
  config.polyak_rate = 0.0
  config.model_options = ConfigDict(NETWORKS[network])
  if smoke:
    config.epochs = config.eval_every_epochs = 1.0
    config.batch_size = config.eval_batch_size = 20
    small = {"widths": (4, 4), "features": (8,)}
    config.model_options = small if network == "lenet" else {"width": 2}
  return config


def train(
  network: str, data_dir: str, folder: epath.Path, *, smoke: bool
) -> dict[str, Any]:
  """Trains what is missing of a network's runs, and summarizes them."""
  base = make_config(network, data_dir, smoke=smoke)
  seeds = f"seed={','.join(map(str, SEEDS[:2] if smoke else SEEDS))}"
  alpha, eta = (f"{key}={base.recipe.mixupe[key]}" for key in ("alpha", "eta"))
  grids = [
    f"method=erm;{seeds}",
    f"method=mixup;{alpha};{seeds}",
    f"method=mixupe;{alpha};{eta};{seeds}",
  ]
  return three.summarize(command.sweep(base, grids, folder))


if __name__ == "__main__":
  command.run(
    "speech",
    tuple(NETWORKS),
    train=train,
    markdown=lambda summary: three.markdown(summary, "network"),
    caption=lambda summary: three.caption(summary, "network"),
    draw=three.draw,
  )
