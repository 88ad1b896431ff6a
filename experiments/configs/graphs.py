"""Graph classification by GIN on the TUDataset collection, mixed at read-outs.

  python -m experiments.main --workdir=runs/mutag \
    --config=experiments/configs/graphs.py:mutag,data_dir=DIR,fold=0

DIR holds the folders of graphlearning.io, MUTAG for instance. Variants: mutag,
ptc_mr, nci1, proteins, imdb_binary, imdb_multi; method=erm and method=mixup
compare; `:smoke` ends in seconds.

Source: MixupE (Zou et al., 2023, https://arxiv.org/abs/2212.13381), section
3.4, whose baseline is Xu et al. (2019, https://arxiv.org/abs/1810.00826): 350
epochs, Adam at 0.01, halved every 50 epochs, batches of 32; 5 layers that count
the input, 64 wide, batch norm. Mixup and MixupE act on the read-outs. Test
errors in its table 6, in %, ten folds:

               MUTAG   NCI1    PTC  PROTEINS  IMDB-B  IMDB-M
  ERM          10.15  17.79  38.37     25.43   25.60   50.33
  Mixup        10.67  18.59  34.87     24.44   25.30   49.27
  MixupE       10.06  17.74  35.50     23.72   25.20   48.53

They are those of the epoch, of nine alphas in 0.01 .. 5 and of five etas in
1e-4 .. 1 with the best test error. inner_validation=False is that protocol:
nine folds to train on, and the tenth evaluated every epoch. By default a fold
of the nine is kept from training instead, to choose by; the tenth is looked at
once.

Ours: sums are divided by the mean number of nodes (readout_scale): the paper's
own collapse some runs, at this rate, to a constant output. Chosen as there, of
one alpha and two etas (experiments/results/graphs, which has the paper's sums,
too, and an honest choice, by which none of these is told apart from ERM's):

                 MUTAG   NCI1    PTC  PROTEINS  IMDB-B  IMDB-M
    ERM          12.19  16.98  36.64     24.08   23.80   49.00
    Mixup        13.80  17.03  38.66     23.99   24.30   48.33
    MixupE       11.67  17.32  36.62     24.89   23.60   48.00

(NCI1: five of the ten folds.) Cost: MUTAG, one fold, 36 CPU-seconds,
compilation included; NCI1, PROTEINS, IMDB-MULTI and IMDB-BINARY, in a sweep,
310, 150, 100 and 86.
"""

from ml_collections import ConfigDict

from experiments import methods
from experiments.configs import arguments, common

# Mean numbers of nodes.
SETS = {
  "mutag": 18.0,
  "ptc_mr": 14.0,
  "nci1": 30.0,
  "proteins": 39.0,
  "imdb_binary": 20.0,
  "imdb_multi": 13.0,
}


def get_config(arg: str | None = None) -> ConfigDict:
  """Returns the config; arg: variants, see above, and key=value items."""
  config = common.base()
  config.model = "gin"
  config.mix_at = "readout"
  config.recipe = methods.recipe(mixup_alpha=1.0, eta=0.01)
  config.batch_size = 32
  config.eval_batch_size = 128
  config.optimizer = "adam"
  config.learning_rate = 0.01
  config.schedule = "steps"
  config.schedule_boundaries = tuple(k / 7 for k in range(1, 7))
  config.epochs = 350.0
  config.eval_every_epochs = 1.0
  config.checkpoint_every = 1000
  config.polyak_rate = 0.9
  config.log_every = 50
  config.keep_checkpoints = 2  # should one be damaged
  _use(config, "mutag")
  variants = {name: _variant(name) for name in SETS}
  arguments.with_argument(config, arg, {**variants, "smoke": _smoke})
  # ERM mixes nowhere.
  entry = methods.METHODS.get(config.method)
  if entry is not None and "mix_at" in entry.refused:
    config.mix_at = entry.refused["mix_at"]
  return config


def _variant(name: str):
  return lambda config: _use(config, name)


def _use(config: ConfigDict, name: str) -> None:
  config.dataset = name
  options = config.model_options.to_dict() | {"readout_scale": SETS[name]}
  config.model_options = ConfigDict(options)


def _smoke(config: ConfigDict) -> None:
  config.epochs = 4.0
  config.eval_every_epochs = 2.0
  config.log_every = 10
  config.model_options.hidden_size = 16
  config.model_options.num_layers = 2
