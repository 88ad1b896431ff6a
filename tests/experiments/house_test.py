"""A data kind, a task, a network and a method of one's own: no file of ours.

Everything here is defined here, and trained by the one loop.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import inputs, methods, parallel, steps, tasks, train
from experiments.configs import common
from experiments.inputs import memory
from experiments.inputs.dataset import Arrays
from experiments.inputs.scale import Scale
from experiments.programs import Cache
from experiments.tasks import Measure, Task
from experiments.workdir import metrics
import jaxmix

SLOPE, OFFSET = 3.0, -1.0
ERROR = Measure("squared_error", "mse", "squared error", decimals=4)


def load_line(config):
  """y = 3 x - 1 of 64 numbers, 40 to test on."""
  del config
  x = np.linspace(-1.0, 1.0, 104, dtype=np.float32)[:, None]
  x = np.random.default_rng(0).permutation(x)
  y = (SLOPE * x[:, 0] + OFFSET).astype(np.float32)
  floats = Scale(lambda raw, dtype: raw.astype(dtype), None)
  return Arrays(x[:64], y[:64], x[64:], y[64:], 1, floats)


def regression(config, spec):
  """Half the squared distance: h(f) - y f, but for a constant."""
  del config

  def loss_fn(outputs, labels):
    return 0.5 * jnp.square(outputs[:, 0] - labels)

  def sums(predict, batch):
    losses = loss_fn(predict(batch["inputs"]), batch["label"])
    return {"squares": jnp.sum(jnp.where(batch["mask"], losses, 0.0))}

  def means(sums, examples):
    return {"squared_error": 2.0 * float(sums["squares"]) / examples}

  return Task(spec.num_classes, loss_fn, None, {}, sums, means, (ERROR,))


class Line(nn.Module):
  """slope x + offset."""

  num_outputs: int
  start: float = 0.0
  undecayed = ("offset",)

  @nn.compact
  def __call__(self, x, train=False):
    slope = self.param("kernel", nn.initializers.constant(self.start), (1,))
    offset = self.param("offset", nn.initializers.zeros, (1,))
    return x * slope[None] + offset[None]


def halves(alpha, beta, **options):
  """Every example goes half of beta towards its partner, label and all."""
  del alpha, options

  def sample(key, shape):
    lam = jnp.broadcast_to(1.0 - 0.5 * beta, shape)
    return lam, lam

  return jaxmix.MixingPolicy(sample, 0.5 * beta)


@pytest.fixture
def house(monkeypatch):
  every = lambda config: (ERROR,)
  monkeypatch.setitem(memory.LOADERS, "line", load_line)
  monkeypatch.setitem(
    tasks.TASKS,
    "regression",
    tasks.Entry(regression, every, every),
  )
  monkeypatch.setitem(
    methods.METHODS,
    "halves",
    methods.Entry(methods.mixing.by_policy(halves), check=lambda config: None),
  )


def make_config(**changes):
  config = common.base()
  config.update(
    dict(
      dataset="line",
      task="regression",
      model=f"{__name__}:Line",
      method="halves",
      batch_size=32,
      eval_batch_size=16,
      total_steps=120,
      log_every=30,
      eval_every=120,
      checkpoint_every=120,
      learning_rate=0.5,
      momentum=0.0,
      polyak_rate=0.5,
    )
    | changes
  )
  return config


def test_all_four_train_through_the_one_loop(house, tmp_path):
  result = train.train_and_evaluate(make_config(), tmp_path)
  # A line stays one under mixing of points and labels alike.
  assert result["polyak_squared_error"] < 1e-3
  first, *_ = metrics.read(tmp_path / "metrics.jsonl")
  assert "accuracy" not in first and first["loss"] > 0.0
  assert result.keys() == {
    "step",
    "split",
    "examples",
    "squared_error",
    "polyak_squared_error",
  }


def test_the_first_step_by_hand(house):
  """loss = mean (lam y + (1 - lam) y')^2 / 2 in expectation over pairs."""
  config = common.resolve(make_config(beta=0.0, learning_rate=0.25))
  dataset = inputs.create(config)
  mapped = parallel.create("pmap", steps.create(config, dataset.spec))
  batch = next(dataset.train())
  state, told = mapped.train(
    mapped.init(jax.random.key(0)),
    mapped.place([batch]),
    jax.random.key(1),
    methods.values(config),
  )
  # beta = 0 mixes nothing: half the mean of y^2; the gradient is -mean(x y).
  x, y = batch["inputs"][:, 0], batch["label"]
  np.testing.assert_allclose(told["loss"][0], np.mean(y**2) / 2, rtol=1e-5)
  slope = 0.25 * np.mean(x * y)
  np.testing.assert_allclose(state.params["kernel"], [slope], rtol=1e-5)
  np.testing.assert_allclose(
    state.params["offset"], [0.25 * np.mean(y)], rtol=1e-5
  )


def test_values_share_programs_and_are_not_baked_in(house, tmp_path):
  """beta = 0 and 1 in one program give losses of their own."""
  cache, losses = Cache(), []
  for beta in (0.0, 1.0):
    config = make_config(beta=beta, total_steps=1, model_options={"start": 9.0})
    train.train_and_evaluate(config, tmp_path / str(beta), cache)
    losses.append(metrics.read(tmp_path / str(beta) / "metrics.jsonl")[0])
  assert len(cache) == 1
  # Halfway to the partner an error of (9 - 3) x shrinks by its square's half.
  assert losses[1]["loss"] < 0.8 * losses[0]["loss"]


def test_a_penalty_without_a_link_is_refused(house, tmp_path):
  with pytest.raises(ValueError, match="eta: .* task='regression' does not"):
    train.train_and_evaluate(make_config(eta=0.1), tmp_path / "run")
  assert not (tmp_path / "run").exists()


def test_attacks_without_a_box_and_unknown_names_are_refused(house, tmp_path):
  for changes, message in (
    ({"task": "regresion"}, "task must be one of classification, cosine, regr"),
    ({"method": "half"}, "method must be one of erm, .*halves, or package"),
    ({"model": "no.such:Net"}, "model='no.such:Net': no module named 'no'"),
    ({"model": f"{__name__}:Lin"}, "has no 'Lin'; it has .*Line"),
    (
      {"task": "classification", "fgsm_epsilon": 0.1},
      "fgsm_epsilon does not apply to dataset='line'",
    ),
  ):
    with pytest.raises(ValueError, match=message):
      train.train_and_evaluate(make_config(**changes), tmp_path / "run")
  assert not (tmp_path / "run").exists()


class Tapless(nn.Module):
  """Names a stage that it never taps."""

  num_outputs: int
  stages = ("input", "middle")

  @nn.compact
  def __call__(self, x, train=False, tap=None):
    return nn.Dense(self.num_outputs)(x)


class Moving(nn.Module):
  """Has statistics, and takes no parts."""

  num_outputs: int

  @nn.compact
  def __call__(self, x, train=False):
    return nn.Dense(self.num_outputs)(nn.BatchNorm(not train)(x))


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (
      {"model": f"{__name__}:Tapless", "method": "mixup", "mix_at": "middle"},
      r"mix_at must be a place of the model, got 1; apply_fn called .* \[\]",
    ),
    (
      {"model": f"{__name__}:Moving", "method": "mixupe", "dataset": "digits"}
      | {"task": "classification"},
      "takes no `parts`: clean_pass='split' cannot",
    ),
    (
      {"model": f"{__name__}:Moving", "method": "mixupe", "dataset": "digits"}
      | {"task": "classification", "penalty": "exact"},
      "penalty='exact' is a derivative in each example alone",
    ),
    (
      {"weight_decay": 0.1, "model": f"{__name__}:Odd"},
      "'gate' in the modul",
    ),
  ],
)
def test_what_only_shows_in_the_model_is_found_before_anything_is_written(
  house, tmp_path, changes, message
):
  config = make_config(eval_batch_size=40, **changes)
  with pytest.raises(ValueError, match=message):
    train.train_and_evaluate(config, tmp_path / "run")
  assert not (tmp_path / "run").exists()


class Odd(nn.Module):
  """Has a parameter of an unknown name."""

  num_outputs: int

  @nn.compact
  def __call__(self, x, train=False):
    return x * self.param("gate", nn.initializers.ones, (1,))[None]
