"""A stranger's program: `mypy --strict` and pyright find its types, and no Any.

tests/typed_test.py has mypy read it beside the sources; `make release-check`
has both read it beside the wheel.
"""

from typing import assert_type

import jax
import jax.numpy as jnp

import jaxmix
from jaxmix import losses, pairing, penalties, policies
from jaxmix.audit import Report

Params = dict[str, jax.Array]


def apply(params: Params, images: jax.Array) -> jax.Array:
  return images @ params["weights"] + params["bias"]


def loss_fn(
  params: Params, key: jax.Array, images: jax.Array, labels: jax.Array
) -> tuple[jax.Array, jaxmix.MixupEAux]:
  policy = policies.untied(1.7, 0.8)
  assert_type(policy, jaxmix.MixingPolicy)
  plan = jaxmix.draw(key, len(images), policy=policy, pairing=pairing.flip)
  assert_type(plan, jaxmix.MixPlan)
  loss, aux = jaxmix.mixupe_loss(
    lambda x: apply(params, x),
    images,
    labels,
    plan,
    eta=0.1,
    penalty=penalties.approximate(),
  )
  assert_type(aux, jaxmix.MixupEAux)
  return jnp.asarray(loss), aux


def own_plan(plan: jaxmix.Plan) -> float:
  """Every plan of the library's is a `Plan`."""
  return float(plan.lam.mean())


def pasted(key: jax.Array, images: jax.Array, labels: jax.Array) -> jax.Array:
  box = jaxmix.draw_cutmix(key, images.shape)
  mixture = jaxmix.draw_mixture(key, [lambda k: box], prob=0.5)
  shares = own_plan(box) + own_plan(mixture) + own_plan(box)
  targets = jaxmix.MixedTargets(labels, labels[::-1], jnp.ones(len(labels)))
  each = jaxmix.mixed_loss(losses.softmax_cross_entropy, images, targets)
  return jnp.asarray(each).sum() + shares


def looked_at(seed: int) -> bool:
  report = jaxmix.audit(jaxmix.mixup, alpha=1.0, seed=seed)
  assert_type(report, Report)
  return not report.faults
