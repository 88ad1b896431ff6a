"""method=mixture, the methods that paste, and mixing that ends."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import methods, steps, tasks
from experiments.configs import common, digits
from experiments.inputs import images
import jaxmix
from tests.experiments.accumulate_test import make_config, trained

IMAGES = jax.random.normal(jax.random.key(7), (6, 8, 8, 1))
BATCH = {"inputs": IMAGES, "label": jnp.arange(6)}


def method_of(config):
  task = tasks.create(config, images.DIGITS)
  return methods.create(config, task, steps.AXIS)


@pytest.mark.parametrize(
  ("method", "changes", "draw"),
  [
    (
      "resizemix",
      {"resize_scope": (0.5, 0.75)},
      lambda key, shape: jaxmix.draw_resizemix(
        key, shape, policy=jaxmix.policies.scaled(0.5, 0.75)
      ),
    ),
    (
      "fmix",
      {"fmix_decay": 2.0, "alpha": 3.0},
      lambda key, shape: jaxmix.draw_fmix(key, shape, alpha=3.0, decay=2.0),
    ),
    (
      "gridmix",
      {"grid_cells": (2, 4)},
      lambda key, shape: jaxmix.draw_gridmix(key, shape, cells=(2, 4)),
    ),
  ],
)
def test_methods_draw_the_librarys_plans(method, changes, draw, key):
  config = make_config(method=method, **changes)
  own = method_of(config)
  values = methods.values(config)
  plan, expected = jax.jit(
    lambda key: (own.draw(values, key, BATCH), draw(key, IMAGES.shape))
  )(key)
  np.testing.assert_array_equal(plan.masks, expected.masks)
  np.testing.assert_array_equal(plan.partner, expected.partner)
  assert 0.0 < float(plan.lam.mean()) < 1.0


def test_pasting_is_of_images():
  own = method_of(make_config(method="fmix"))
  batch = {"inputs": IMAGES[:, 0, 0], "label": BATCH["label"]}
  with pytest.raises(
    ValueError, match=r"method='fmix' mixes images .*\(6, 1\)"
  ):
    own.draw({"alpha": 1.0, "beta": 1.0}, jax.random.key(0), batch)


def mixture_config(**changes):
  """ERM's, DAT's and ResizeMix's, without a Beta law to compile."""
  parts = {name: {"weight": 0.0} for name in ("mixup", "cutmix")}
  parts |= {"resizemix": {"weight": 1.0}, "dat": {"weight": 3.0, "alpha": 2.0}}
  return make_config(method="mixture", mixture=parts, **changes)


def test_a_mixture_has_each_methods_own_law(key):
  config = mixture_config(mixture_prob=0.5)
  draw = jax.jit(
    jax.vmap(
      lambda key, shared: method_of(config).draw(
        {}, key, BATCH, shared_key=shared
      )
    )
  )
  keys = jax.random.split(key, 400)
  plan = draw(keys, keys)
  # 4.5 standard errors of 400 draws.
  for number, want in ((-1, 0.5), (0, 0.375), (1, 0.125)):
    error = np.sqrt(want * (1.0 - want) / 400)
    assert abs(np.mean(plan.choice == number) - want) < 4.5 * error
  dat, resized = plan.plans  # by their names
  assert isinstance(resized, jaxmix.masks.MaskPlan)
  np.testing.assert_array_equal(dat.weight, 1.0)
  # Beta(2, 1): alpha is DAT's own, and beta 1, as its law has two.
  lam = np.asarray(dat.lam).ravel()
  assert abs(lam.mean() - 2.0 / 3.0) < 4.5 * lam.std() / np.sqrt(lam.size)
  shift = 0.5 * (0.25 * jaxmix.policies.scaled().mean_shift + 0.75 / 3.0)
  np.testing.assert_allclose(plan.mean_shift[0], shift, rtol=1e-5)
  # One for all replicas, which draw their plans themselves.
  shared = draw(keys[:8], jnp.broadcast_to(keys[0], (8,)))
  assert len(np.unique(shared.choice)) == 1
  assert len(np.unique(shared.plans[0].lam)) == 48


def test_a_mixture_trains_under_mixupe_until_mixing_ends():
  """Two replicas; afterwards L + eta R is the plain loss."""
  config = mixture_config(eta=0.5, mix_off_after=2)
  state, told = trained(config, 2)
  assert float(told["penalty"]) > 0.0 and float(told["scale"]) != 1.0
  _, told = trained(config, 1, state)
  assert float(told["penalty"]) == 0.0 and float(told["scale"]) == 1.0
  assert all(np.isfinite(value) for value in told.values())


def test_the_usual_recipe_is_the_default():
  """timm's for vision transformers: Mixup 0.8 or CutMix 1.0, evenly."""
  config = make_config(method="mixture")
  found = methods.mixture.parts(config, methods.METHODS)
  points = [(own.method, own.alpha, own.beta, w) for _, own, w in found]
  assert points == [("cutmix", 1.0, 1.0, 1.0), ("mixup", 0.8, 0.8, 1.0)]
  config = digits.get_config("method=mixture,mixture.cutmix.weight=0.25")
  found = methods.mixture.parts(common.resolve(config), methods.METHODS)
  assert [weight for _, _, weight in found] == [0.25, 1.0]


@pytest.mark.parametrize("pastes", [False, True])
def test_an_ended_plan_mixes_nothing(pastes):
  """Whatever its class; until then it is the plan."""
  lam, partner = jnp.full(6, 0.25), jnp.arange(6)[::-1]
  plan = jaxmix.MixPlan(lam, lam, partner, mean_shift=0.5)
  if pastes:
    plan = jaxmix.mask_plan(jnp.zeros((6, 8, 8), bool), partner, mean_shift=0.5)

  @jax.jit
  def applied(over):
    found = methods.ended(plan, over)
    targets = found.targets(BATCH["label"])
    return found.mix(IMAGES), targets.weight, found.lam, found.mean_shift

  for got, want in zip(
    applied(False), (plan.mix(IMAGES), plan.weight, plan.lam, 0.5), strict=True
  ):
    np.testing.assert_array_equal(got, want)
  mixed, weight, lam, shift = applied(True)
  np.testing.assert_array_equal(mixed, IMAGES)
  np.testing.assert_array_equal(weight, 1.0)
  np.testing.assert_array_equal(lam, 1.0)
  assert shift == 0.0


def test_a_share_is_of_all_steps():
  for after, expected in ((0.75, 3), (0.1, 0), (3, 3), (3.0, 3), (None, None)):
    config = make_config(mix_off_after=after)
    assert methods.last_mixed_step(config) == expected


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"mix_off_after": 2.5}, "mix_off_after must be None, a share .*got 2.5"),
    ({"mix_off_after": 0.0}, "mix_off_after must be a number in .0.*got 0.0"),
    (
      {"mix_off_after": 2, "method": "regmixup"},
      "mix_off_after does not apply to method='regmixup'",
    ),
    (
      {"mix_off_after": 2, "penalty": "taylor", "eta": 1.0},
      "mix_off_after does not apply to penalty='taylor'",
    ),
    (
      {"method": "mixture", "mixture": {"regmixup": {}}},
      "mixture must name methods of mixup, untied.*got 'regmixup'",
    ),
    (
      {
        "method": "mixture",
        "mixture": {name: {"weight": 0.0} for name in ("mixup", "cutmix")},
      },
      "mixture must have a weight that is not 0",
    ),
    (
      {"method": "mixture", "mixture": {"mixup": {"gamma": 1.0}}},
      "mixture.mixup must be weight, alpha and beta, got 'gamma' in it",
    ),
    (
      {"method": "mixture", "mixture": {"cutmix": {"alpha": -1.0}}},
      "alpha must lie in .*got -1.0",
    ),
    (
      {"method": "mixture", "mixture": {"cutmix": {"beta": 2.0}}},
      "beta does not apply to method='cutmix'.*beta=2.0, alpha=1.0",
    ),
    (
      {"method": "mixture", "alpha": 0.5},
      "alpha does not apply to method='mixture'.*mixture.mixup.alpha",
    ),
    (
      {"method": "mixture", "mix_at": "random"},
      "mix_at does not apply to method='mixture'",
    ),
    (
      {"method": "resizemix", "alpha": 0.5},
      "alpha does not apply to method='resizemix'",
    ),
    (
      {"resize_scope": (0.8, 0.1)},
      r"resize_scope must be two, rising or equal.*got \(0.8, 0.1\)",
    ),
    ({"grid_cells": (2,)}, r"grid_cells must be two, rising.*got \(2,\)"),
  ],
)
def test_errors(changes, message):
  with pytest.raises(ValueError, match=message):
    make_config(**changes)
