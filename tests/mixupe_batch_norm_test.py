"""MixupE through batch norm: the two-pass listing, split, and their cost."""

import functools

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmix
from jaxmix.models import interface

B, M = 12, 3
ETA = 0.7
MODEL = jaxmix.models.create("resnet8", 5, width=4)
KEY = jax.random.key(0)
IMAGES = jax.random.normal(KEY, (B, 8, 8, 1)) + 1.0
LABELS = jnp.arange(B) % 5
PLAN = jaxmix.draw(
  jax.random.key(1), B, policy=jaxmix.policies.mixup(alpha=1.0)
)


@functools.cache
def variables():
  found = MODEL.init(jax.random.key(2), IMAGES)
  # Away from the zero-initialised scales, so that every parameter matters.
  moved = jax.tree.map(
    lambda x: x + 0.1 * jnp.cos(jnp.arange(x.size)).reshape(x.shape),
    found["params"],
  )
  return moved, found["batch_stats"]


def apply(params, inputs, state, parts=None):
  logits, updated = MODEL.apply(
    {"params": params, "batch_stats": state},
    inputs,
    train=True,
    parts=parts,
    mutable=["batch_stats"],
  )
  return logits, updated["batch_stats"]


def library(params, clean_pass, fraction, penalty="approximate"):
  start = variables()[1]

  def apply_fn(inputs, state=start, parts=None):
    return apply(params, inputs, state, parts)

  loss, aux = jaxmix.mixupe_loss(
    apply_fn,
    IMAGES,
    LABELS,
    PLAN,
    eta=ETA,
    clean_fraction=fraction,
    clean_pass=clean_pass,
    penalty=penalty,
    has_aux=True,
  )
  return loss, (aux.penalty, aux.aux)


def listing(params, fraction):
  """MixupE's Listing 1, with one lam an example and averages of batch norm."""
  count = round(B * fraction)
  lam = PLAN.lam
  mixed = (
    lam[:, None, None, None] * IMAGES
    + (1 - lam)[:, None, None, None] * IMAGES[PLAN.partner]
  )
  onehot = jax.nn.one_hot(LABELS, 5)
  targets = lam[:, None] * onehot + (1 - lam)[:, None] * onehot[PLAN.partner]
  f, state = apply(params, mixed, variables()[1])
  loss = -jnp.mean(jnp.sum(targets * jax.nn.log_softmax(f), axis=1))
  before = jax.lax.stop_gradient(jnp.abs(loss))
  f, state = apply(params, IMAGES[:count], state)
  b = onehot[:count] - jax.nn.softmax(f, axis=1)
  term = jnp.sum(jnp.abs(jnp.sum(f * b, axis=1))) / count
  # 1 - mean of Beta(alpha + 1, alpha) at alpha = 1.
  term *= 1.0 - 2.0 / 3.0
  total = loss + ETA * term
  scale = before / jax.lax.stop_gradient(jnp.abs(total))
  return scale * total, (term, state)


def gradient_of(fun):
  (loss, aux), grads = jax.jit(jax.value_and_grad(fun, has_aux=True))(
    variables()[0]
  )
  return loss, aux, grads


def assert_same(one, two):
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-5),
    one,
    two,
  )


@pytest.mark.parametrize("fraction", [1.0, M / B])
def test_separate_is_the_listing_and_split_equals_it(fraction):
  """Loss, gradient and running averages, which move twice, mixed first."""
  expected = gradient_of(functools.partial(listing, fraction=fraction))
  for clean_pass in ("separate", "split"):
    found = gradient_of(
      functools.partial(library, clean_pass=clean_pass, fraction=fraction)
    )
    assert_same(found, expected)


def test_joint_is_another_method():
  joint = gradient_of(
    functools.partial(library, clean_pass="joint", fraction=1.0)
  )
  split = gradient_of(
    functools.partial(library, clean_pass="split", fraction=1.0)
  )
  # One move of the running averages, not two; other statistics, other loss.
  (_, one), (_, other) = joint[1], split[1]
  moves = jax.tree.map(lambda a, b: jnp.max(jnp.abs(a - b)), one, other)
  assert max(jax.tree.leaves(moves)) > 0.05
  assert abs(joint[0] - split[0]) > 5e-4


def test_the_exact_penalty_is_the_same_split_or_separate():
  split, separate = (
    gradient_of(
      functools.partial(
        library, clean_pass=clean_pass, fraction=0.5, penalty="exact"
      )
    )
    for clean_pass in ("split", "separate")
  )
  penalty, _ = separate[1]
  assert penalty > 0.01  # it was zero before the statistics were held
  assert_same(split, separate)


class Small(nn.Module):
  """Dense layers with batch norm on both sides of a tap, quick to compile."""

  stages = ("input", "hidden")

  @nn.compact
  def __call__(self, x, train, parts=None, tap=None, mask=None):
    tapped = interface.named(tap, self.stages)
    x, parts, mask = tapped("input", x, parts, mask)
    norm = functools.partial(
      jaxmix.models.BatchNorm, use_running_average=not train
    )
    x = nn.relu(norm()(nn.Dense(6)(x), parts=parts, mask=mask))
    x, parts, mask = tapped("hidden", x, parts, mask)
    x = nn.tanh(norm()(nn.Dense(6)(x), parts=parts, mask=mask))
    return nn.Dense(5)(x)


REAL = np.array([0, 1, 2, 4, 6, 7, 9, 10])  # of B rows; four only pad
PARTNER = np.array([3, 0, 1, 2, 5, 4, 7, 6])  # among the real


def padded_and_left_out():
  """(inputs, labels, plan, clean fraction) twice: nine of B rows are clean,
  or the six of them that are real."""
  x = jax.random.normal(KEY, (B, 4)) + 1.0
  lam = PLAN.lam[: len(REAL)]
  without = jaxmix.MixPlan(lam, lam, jnp.asarray(PARTNER), mean_shift=1 / 3)
  partner = np.arange(B)
  partner[REAL] = REAL[PARTNER]
  lam = jnp.full(B, 0.5).at[REAL].set(lam)
  mask = jnp.asarray(np.isin(np.arange(B), REAL))
  plan = jaxmix.MixPlan(lam, lam, jnp.asarray(partner), 1 / 3, mask)
  return (
    # Padding that would be seen.
    (jnp.full_like(x, 3.0).at[REAL].set(x[REAL]), LABELS, plan, 9 / 12),
    (x[REAL], LABELS[REAL], without, 6 / 8),
  )


@pytest.mark.parametrize(
  ("mix_at", "options"),
  [
    (0, {"clean_pass": "joint"}),
    (0, {"clean_pass": "split", "penalty": "exact"}),
    (0, {"clean_pass": "separate"}),
    (0, {"penalty_at": "mixed"}),
    (0, {"penalty": "exact"}),
    (1, {"clean_pass": "joint", "penalty": "exact"}),
    (1, {"clean_pass": "split"}),
    (1, {}),
  ],
)
def test_padded_rows_change_nothing(mix_at, options):
  """Loss, penalty, running averages and gradients; {} is value_and_grad."""
  model = Small()
  two_passes = not {"clean_pass", "penalty_at"} & options.keys()
  start = model.init(jax.random.key(2), jnp.ones((1, 4)), True)

  def call(params, x, state=start["batch_stats"], mask=None, **passed):
    logits, updated = model.apply(
      {"params": params, "batch_stats": state},
      *(x, True),
      mask=mask,
      mutable=["batch_stats"],
      **passed,
    )
    return logits, updated["batch_stats"]

  def result(x, y, plan, fraction):
    own = dict(
      eta=ETA,
      clean_fraction=fraction,
      mix_at=mix_at,
      has_aux=True,
      **options,
    )

    def loss(params):
      own_call = functools.partial(call, params)
      return jaxmix.mixupe_loss(own_call, x, y, plan, **own)

    def run(params):
      if two_passes:
        return jaxmix.mixupe_value_and_grad(call, params, x, y, plan, **own)
      return jax.value_and_grad(loss, has_aux=True)(params)

    (value, aux), grads = jax.jit(run)(start["params"])
    return value, aux.penalty, aux.aux, grads

  padded, without = (result(*batch) for batch in padded_and_left_out())
  assert padded[1] > 1e-3
  assert_same(padded, without)


def operations(clean_pass, fraction):
  run = jax.grad(
    functools.partial(library, clean_pass=clean_pass, fraction=fraction),
    has_aux=True,
  )
  compiled = jax.jit(run).lower(variables()[0]).compile()
  return compiled.cost_analysis()["flops"]


def test_split_costs_what_joint_costs():
  joint, split = operations("joint", 1.0), operations("split", 1.0)
  assert split == pytest.approx(joint, rel=0.02)
  quarter = operations("split", 0.25)
  assert quarter / split == pytest.approx(1.25 / 2.0, rel=0.05)
