"""Tables of UCI and OpenML, MixupE's section 3.2 (UAI 2023); any CSV or ARFF.

  python -m experiments.main --workdir=DIR --config.data_dir=FOLDER \
    --config=experiments/configs/tabular.py:dataset=letter,method=mixupe

Sets by name: arrhythmia, letter, balance_scale, mfeat_factors, mfeat_fourier,
mfeat_karhunen, mfeat_morphological, mfeat_zernike, mfeat_pixel, cmc, optdigits,
pendigits, iris, mnist_784, abalone (28 numbers of rings; target=rings3: three
classes) and volkert, from UCI's files or OpenML's ARFF copies in FOLDER; which
files, and where they are from, an error says. Others:
`dataset=csv:FILE,target=COLUMN` and `dataset=arff:FILE,target=COLUMN`; and,
fetched from openml.org, `dataset=openml:NAME`. With `task=regression` a target
is a number (abalone's rings): squared loss, RMSE and MAE.

The paper's MLP of two hidden layers of 128, Adam at 1e-3, batches of 100, 25
epochs; categories one-hot, missing values by mean or mode. What it leaves open:
inputs are standardised, and rows divided 60 : 20 : 20 into training, validation
and test rows, stratified, by split_seed (None: the run's seed). It chooses
alpha among 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5 and eta among 1e-4, 1e-3,
0.01, 0.1, 1 on the validation rows of each set, and does not say what they are;
here they are the middle ones.

Published: MixupE below Mixup and ERM in test error on most sets (table 4, five
trials). `:compare` runs the three with five seeds, in one process. Evaluations
show the model as it is, which is the paper's, and its Polyak average.

Ours: `python -m experiments.studies.tabular` trains the paper's grid, 275 runs
on each set, and writes experiments/results/tabular. It says how MixupE and
Mixup differ, seed by seed; the numbers of table 4 were not at hand to compare
with.

Cost: `:smoke` (iris, 2 epochs) ends in seconds on a CPU. The grid takes 19
seconds on iris and 4 and a half minutes on letter, on two cores.
"""

from ml_collections import ConfigDict

from experiments import methods
from experiments.configs import arguments, common, variants


def get_config(arg: str | None = None) -> ConfigDict:
  """Returns the config; arg: compare, smoke and key=value items."""
  config = common.base()
  config.dataset = "iris"
  config.batch_size = 100
  config.eval_batch_size = 1000
  config.model = "mlp"
  config.model_options = ConfigDict({"features": (128, 128)})
  config.recipe = methods.recipe(mixup_alpha=0.2, eta=0.01)
  config.optimizer = "adam"
  config.learning_rate = 1e-3
  config.schedule = "constant"
  config.polyak_rate = 0.99
  config.epochs = 25.0
  config.eval_every_epochs = 5.0
  config.checkpoint_every = 1000
  return arguments.with_argument(
    config, arg, {"compare": variants.compare_mixupe, "smoke": _smoke}
  )


def _smoke(config: ConfigDict) -> None:
  config.epochs = 2.0
  config.eval_every_epochs = 1.0
  config.log_every = 1
