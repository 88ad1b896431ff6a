"""Which runs share compiled programs, without compiling any."""

import pytest

from experiments import programs
from experiments.configs import common, digits
from experiments.inputs import images


@pytest.fixture
def cache(monkeypatch):
  """A cache of programs that are only told apart."""
  made = iter(range(100))

  class Mapped:
    def __init__(self, number):
      self.number = self.evaluate = number

    def _replace(self, evaluate):
      other = Mapped(self.number)
      other.evaluate = evaluate
      return other

  monkeypatch.setattr(programs.steps, "create", lambda config, spec: None)
  monkeypatch.setattr(programs, "_trace", lambda config, spec, mapped: None)
  monkeypatch.setattr(
    programs.parallel, "create", lambda kind, steps: Mapped(next(made))
  )
  return programs.Cache()


def get(cache, arg="method=mixup", spec=images.DIGITS):
  return cache.get(common.resolve(digits.get_config(arg)), spec)


@pytest.mark.parametrize(
  "arg",
  [
    "method=mixup,seed=3",
    "method=mixup,alpha=0.7",
    "method=mixup,alpha=0.7,beta=2.0",
    "method=mixup,log_every=7,eval_every=14,checkpoint_every=7",
    "method=mixup,data_dir=elsewhere,keep_checkpoints=9",
    "method=mixup,eval_batch_size=7",
  ],
)
def test_what_is_not_compiled_is_shared(cache, arg):
  get(cache)
  get(cache, arg)
  # Another folder holds other data.
  assert len(cache) == (2 if "data_dir" in arg else 1)


@pytest.mark.parametrize(
  "arg",
  [
    "method=untied",
    "method=mixup,eta=0.5",  # the penalty's pass
    "method=mixup,learning_rate=0.2",
    "method=mixup,label_smoothing=0.1",
    "method=mixup,parallel=shard_map",
    "method=mixup,total_steps=500",
    "method=mixup,monitor=theory",
    "method=mixup,mix_at=stage1",
  ],
)
def test_what_is_compiled_is_not(cache, arg):
  get(cache)
  get(cache, arg)
  assert len(cache) == 2


def test_values_of_eta_share_where_the_pass_runs_anyway(cache):
  for arg in ("method=mixupe", "method=mixupe,eta=0", "method=mixupe,eta=2"):
    get(cache, arg)
  assert len(cache) == 1


def test_the_monitor_holds_its_law(cache):
  get(cache, "method=mixup,monitor=theory")
  get(cache, "method=mixup,monitor=theory,alpha=0.7")
  assert len(cache) == 2


def test_methods_share_their_evaluation_and_tasks_do_not(cache):
  first = get(cache)
  assert get(cache, "method=dat").evaluate == first.evaluate
  assert get(cache, "method=mixup,optimizer=adamw").evaluate == first.evaluate
  for arg in ("fgsm_epsilon=0.2", "model=resnet20", "parallel=shard_map"):
    assert get(cache, f"method=mixup,{arg}").evaluate != first.evaluate


def test_another_spec_under_the_same_name_is_compiled_anew(cache):
  """A test set of another size, which the monitor's program holds."""
  first = get(cache)
  smaller = images.DIGITS._replace(num_eval=5)
  assert get(cache, spec=smaller).number != first.number
  assert get(cache, spec=smaller).evaluate != first.evaluate


@pytest.mark.parametrize("key", ["seed", "eval_every", "sweep", "log_every"])
def test_what_is_shared_over_cannot_be_baked_in(monkeypatch, key):
  """A builder that read it would give every run the first one's."""
  monkeypatch.setattr(
    programs.steps, "create", lambda config, spec: getattr(config, key)
  )
  with pytest.raises(AttributeError, match=key):
    get(programs.Cache())
