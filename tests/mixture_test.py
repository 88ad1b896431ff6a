"""Mixtures of plans: whose mix it is, how often, and the law's mean shift."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmix
from jaxmix import pairing, policies

RUNS = pytest.mark.parametrize(
  "run", [lambda f: f, jax.jit], ids=["eager", "jit"]
)
LAM = jnp.array([0.75, 0.5, 0.25])
FIRST = jaxmix.MixPlan(LAM, LAM, jnp.array([1, 2, 0]), mean_shift=0.25)
KEPT = jnp.array([[[True, False]], [[False, False]], [[True, True]]])
SECOND = jaxmix.mask_plan(KEPT, jnp.array([2, 0, 1]), mean_shift=0.5)
IMAGES = jnp.array([[[1.0, 2.0]], [[4.0, 8.0]], [[16.0, 32.0]]])
LABELS = jnp.array([5, 6, 7])


def mixture(choice):
  return jaxmix.MixturePlan((FIRST, SECOND), jnp.asarray(choice))


@RUNS
def test_each_example_is_mixed_by_its_own_plan(run):
  plan = mixture([0, 1, -1])
  mixed = run(plan.mix)(IMAGES)
  np.testing.assert_array_equal(mixed[0], FIRST.mix(IMAGES)[0])
  np.testing.assert_array_equal(mixed[1], SECOND.mix(IMAGES)[1])
  np.testing.assert_array_equal(mixed[2], IMAGES[2])
  targets = run(plan.targets)(LABELS)
  np.testing.assert_array_equal(targets.first, LABELS)
  np.testing.assert_array_equal(targets.second[:2], [6, 5])
  np.testing.assert_array_equal(targets.weight, [0.75, 0.0, 1.0])
  np.testing.assert_array_equal(plan.lam, [0.75, 0.0, 1.0])


@RUNS
@pytest.mark.parametrize("choice", [-1, 0, 1])
def test_a_choice_a_batch_is_that_plan(run, choice):
  plan = mixture(choice)
  own = (FIRST, SECOND)[choice]
  mixed, targets = run(plan.mix)(IMAGES), run(plan.targets)(LABELS)
  if choice == -1:
    np.testing.assert_array_equal(mixed, IMAGES)
    np.testing.assert_array_equal(targets.weight, 1.0)
    return
  np.testing.assert_array_equal(mixed, own.mix(IMAGES))
  np.testing.assert_array_equal(plan.lam, own.lam)
  for name in ("first", "second", "weight"):
    np.testing.assert_array_equal(
      getattr(targets, name), getattr(own.targets(LABELS), name)
    )


def test_only_the_chosen_plan_of_a_batch_is_applied():
  """One conditional whose branches the plans are; by example there is none."""
  count = lambda choice: str(
    jax.make_jaxpr(lambda x, c: mixture(c).mix(x))(IMAGES, choice)
  ).count("cond[")
  assert count(jnp.array(1)) == 1 and count(jnp.array([1, 0, 1])) == 0


@pytest.mark.parametrize("choice", [1, [0, 1, -1]], ids=["batch", "example"])
def test_gradients_are_the_plans_own(choice):
  cotangent = jnp.arange(1.0, 7.0).reshape(3, 1, 2)
  pull = lambda mix: jax.vjp(mix, IMAGES)[1](cotangent)[0]
  found = jax.jit(lambda: pull(mixture(choice).mix))()
  # By example: each plan's pull of its own rows of the cotangent.
  own = np.broadcast_to(choice, 3)
  rows = lambda number: jnp.where((own == number)[:, None, None], cotangent, 0)
  expected = rows(-1)
  for number, plan in enumerate((FIRST, SECOND)):
    expected += jax.vjp(plan.mix, IMAGES)[1](rows(number))[0]
  np.testing.assert_allclose(found, expected, rtol=1e-6)
  assert np.any(np.asarray(found) != 0.0)


def uniform(whole_label):
  """lam ~ U(0, 1), as Mixup's and DAT's at alpha = beta = 1, but cheap."""

  def sample(key, shape):
    lam = jax.random.uniform(key, shape)
    return lam, jnp.ones_like(lam) if whole_label else lam

  return policies.MixingPolicy(sample, 0.5 if whole_label else 1.0 / 3.0)


def draws(size):
  mixup, dat = uniform(False), uniform(True)
  half = lambda key: jnp.full((size, 2, 2), jax.random.bernoulli(key))
  return [
    lambda key: jaxmix.draw(key, size, policy=mixup, pairing=pairing.flip),
    lambda key: jaxmix.mask_plan(
      half(key), jnp.zeros(size, int), mean_shift=0.0
    ),
    lambda key: jaxmix.draw(key, size, policy=dat, pairing=pairing.roll),
  ]


@pytest.mark.parametrize("per_example", [False, True])
def test_plans_are_chosen_as_often_as_asked(per_example):
  """Each within 4.5 standard errors of prob * its weight, none of 1 - prob."""
  n, size = (2_000, 1) if not per_example else (40, 50)
  weights, prob = jnp.array([1.0, 2.0, 0.0]), 0.6

  def choice(key):
    plan = jaxmix.draw_mixture(
      key, draws(size), weights=weights, prob=prob, per_example=per_example
    )
    assert plan.choice.shape == ((size,) if per_example else ())
    return plan.choice

  found = np.asarray(
    jax.jit(jax.vmap(choice))(jax.random.split(jax.random.key(0), n))
  ).ravel()
  assert len(found) == 2_000
  for number, want in ((-1, 0.4), (0, 0.2), (1, 0.4)):
    error = math.sqrt(want * (1.0 - want) / len(found))
    assert abs((found == number).mean() - want) < 4.5 * error
  assert not np.any(found == 2)


def test_the_mean_shift_is_the_laws():
  """E[w (1 - lam) + (1 - w) lam] of 4,000 draws, within 4.5 standard errors."""
  n, weights = 4_000, (1.0, 1.0, 2.0)
  plan = jax.jit(
    lambda key: jaxmix.draw_mixture(
      key, draws(n), weights=weights, prob=0.75, per_example=True
    )
  )(jax.random.key(1))
  lam, weight = np.asarray(plan.lam), np.asarray(plan.weight)
  shift = weight * (1.0 - lam) + (1.0 - weight) * lam
  error = shift.std() / math.sqrt(n)
  assert abs(shift.mean() - float(plan.mean_shift)) < 4.5 * error
  # By hand: 1 / 3, 0 (all of one image or the other), and 1 / 2.
  want = 0.75 * (0.25 / 3.0 + 0.5 / 2.0)
  np.testing.assert_allclose(plan.mean_shift, want, rtol=1e-6)


def test_always_and_never(key):
  def choices(prob):
    plan = jaxmix.draw_mixture(key, draws(64), prob=prob, per_example=True)
    return plan.choice

  run = jax.jit(choices)
  assert set(np.asarray(run(0.0))) == {-1}
  assert set(np.asarray(run(1.0))) == {0, 1, 2}


def test_without_one_mean_shift_there_is_none(key):
  lawless = lambda key: FIRST.replace(mean_shift=None)
  assert jaxmix.draw_mixture(key, [lawless]).mean_shift is None


def test_replicas_share_a_choice_by_its_key():
  """And draw lam and partners of their own."""

  def drawn(key, choice_key=None):
    plan = jaxmix.draw_mixture(key, draws(8), choice_key=choice_key)
    return plan.choice, plan.plans[0].lam

  keys = jax.random.split(jax.random.key(0), 32)
  own, lam = jax.jit(jax.vmap(drawn))(keys)
  assert set(np.asarray(own)) == {0, 1, 2}
  shared, same_lam = jax.jit(jax.vmap(drawn, (0, None)))(keys, keys[0])
  assert len(set(np.asarray(shared))) == 1
  np.testing.assert_array_equal(lam, same_lam)


def test_replicas_with_choices_of_their_own_may_pass_a_ring():
  """No branch may hold what all replicas must do: no conditional is made."""
  ring = pairing.ring("replica")

  def mix(key, x, choice):
    plan = jaxmix.draw(key, 3, policy=uniform(False), pairing=ring)
    return jaxmix.MixturePlan((plan,), choice).mix(x), plan.mix(x)

  x = jnp.stack([IMAGES, IMAGES + 1.0])
  keys = jax.random.split(jax.random.key(0), 2)
  args = keys, x, jnp.array([0, -1])
  run = jax.pmap(mix, axis_name="replica", devices=jax.devices()[:2])
  assert "cond[" not in str(jax.make_jaxpr(run)(*args))
  mixed, own = run(*args)
  np.testing.assert_array_equal(mixed[0], own[0])
  np.testing.assert_array_equal(mixed[1], x[1])
  assert np.any(np.asarray(own != x))


def test_mixupe_takes_a_mixture():
  plan = mixture([0, 1, -1]).replace(mean_shift=0.25)
  model = lambda x: x.reshape(x.shape[0], 2) / 32.0
  labels = jnp.array([0, 1, 1])

  @jax.jit
  def terms():
    loss, aux = jaxmix.mixupe_loss(model, IMAGES, labels, plan, eta=1.0)
    loss_fn = jaxmix.losses.softmax_cross_entropy
    mixed = jaxmix.mixed_loss(
      loss_fn, model(plan.mix(IMAGES)), plan.targets(labels)
    )
    return loss, mixed.mean(), aux.penalty

  loss, mixed, penalty = terms()
  np.testing.assert_allclose(loss, mixed, rtol=1e-6)
  assert float(penalty) > 0.0


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"draws": []}, "draws must be at least one function"),
    ({"weights": (1.0, 2.0)}, "weights must be one a draw, 3, got 2"),
    ({"weights": (1.0, -2.0, 1.0)}, r"weights must lie in \[0, inf\), got -2"),
    ({"weights": (0.0, 0.0, 0.0)}, "weights must not all be 0"),
    ({"prob": 1.5}, r"prob must lie in \[0, 1\], got 1.5"),
    (
      {
        "draws": [
          lambda key: FIRST,
          lambda key: jaxmix.draw(key, 2, policy=uniform(False)),
        ]
      },
      r"draws must be of one batch size, got \[3, 2\]",
    ),
  ],
)
def test_errors(options, message, key):
  given = {"draws": draws(3), **options}
  with pytest.raises(ValueError, match=message):
    jaxmix.draw_mixture(key, given.pop("draws"), **given)
