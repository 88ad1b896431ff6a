"""Mixtures of methods, each with a weight; and mixing that ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments import domains
from experiments.methods import mixing
from experiments.methods.method import Entry, Method, Setting
import jaxmix

_PART = {
  "weight": domains.number(1.0, "[0, 1e6]"),
  "alpha": domains.number(1.0),
  # Without it alpha is both.
  "beta": domains.number(1.0),
}
_EXPECTED = "None, a share of total_steps in (0, 1), or a step from 1 on"


def _end(name: str, value: Any) -> float | int | None:
  if value is None:
    return None
  number = domains.number(0.5, "(0, 2147483647]").read(name, value)
  if number >= 1.0 and number != math.floor(number):
    domains.refuse(name, _EXPECTED, value)
  return number


KEYS = {
  # How likely each method is beside the others, and its own alpha and beta. As
  # vision transformers are trained: Mixup or CutMix, by even chances.
  "mixture": domains.mapping(
    {
      "mixup": {"weight": 1.0, "alpha": 0.8},
      "cutmix": {"weight": 1.0, "alpha": 1.0},
      **{
        name: {"weight": 0.0, "alpha": 1.0}
        for name in ("resizemix", "fmix", "gridmix", "untied", "dat")
      },
    },
    lambda name: domains.mapping({}, _PART.get, "weight, alpha and beta"),
    "a mapping of methods to their weight, alpha and beta",
  ),
  # That anything is mixed.
  "mixture_prob": domains.number(1.0, "[0, 1]"),
  # False: one method a step, the same on all replicas.
  "mixture_per_example": domains.boolean(False),
  # The step, or the share of all, after which nothing is mixed.
  "mix_off_after": domains.Key(None, _EXPECTED, _end, float),
}


def parts(
  config: ConfigDict, table: Mapping[str, Entry]
) -> Iterator[tuple[Entry, ConfigDict, float]]:
  """The methods that a config mixes: entry, config of its own, weight.

  Raises:
    ValueError: if one is none that can be a part, or none has a weight.
  """
  found = 0
  known = [name for name, entry in table.items() if entry.part]
  for name, own in sorted(config.mixture.items()):
    if name not in known:
      raise ValueError(
        f"mixture must name methods of {', '.join(known)}; got {name!r}."
      )
    if not own.get("weight", 1.0):
      continue
    found += 1
    entry, sub = table[name], config.copy_and_resolve_references()
    alpha = own.get("alpha", 1.0)
    with sub.ignore_type():
      sub.method, sub.alpha = name, alpha
      sub.beta = own.get("beta", alpha if entry.tied else 1.0)
    yield entry, sub, own.get("weight", 1.0)
  if not found:
    raise ValueError("mixture must have a weight that is not 0.")


def check_point(config: ConfigDict) -> None:
  """Raises ValueError for an alpha or a beta beside those of the parts."""
  for key in ("alpha", "beta"):
    if config[key] != 1.0:
      raise ValueError(
        f"{key} does not apply to method='mixture', whose methods have their "
        f"own, such as mixture.mixup.alpha; leave it at 1.0, got {config[key]}."
      )


def create(setting: Setting, table: Mapping[str, Entry]) -> Method:
  """One of several methods' plans for each step, or each example."""
  config = setting.config
  made, weights, points = [], [], []
  for entry, sub, weight in parts(config, table):
    made.append(entry.create(setting._replace(config=sub)))
    weights.append(weight)
    points.append({"alpha": sub.alpha, "beta": sub.beta})
  shares_lam = any(method.shares for method in made)

  def draw(values, key, batch, shared_key=None):
    del values
    draws = [
      functools.partial(
        _drawn, method, point, batch, shared_key if method.shares else None
      )
      for method, point in zip(made, points, strict=True)
    ]
    together = {}
    if shared_key is not None and not config.mixture_per_example:
      # Apart from the key of a lam that is shared, too.
      together["choice_key"] = jax.random.fold_in(shared_key, 1)
    return jaxmix.draw_mixture(
      key,
      draws,
      weights=weights,
      prob=config.mixture_prob,
      per_example=config.mixture_per_example,
      **together,
    )

  gradient = functools.partial(
    mixing.mixed_gradient, setting, mixing.mixed_loss
  )
  return Method(
    draw, gradient, shares=shares_lam or not config.mixture_per_example
  )


def _drawn(method, point, batch, shared_key, key):
  together = {} if shared_key is None else {"shared_key": shared_key}
  return method.draw(point, key, batch, **together)


def last_mixed_step(config: ConfigDict) -> int | None:
  """How many steps are mixed; None: all are."""
  after = config.mix_off_after
  if after is None:
    return None
  return round(after * config.total_steps) if after < 1.0 else int(after)


def ended(plan: jaxmix.Plan, over: jax.Array) -> jaxmix.Plan:
  """The plan, or where `over` is true one that mixes nothing.

  Its mean_shift is then 0, and so MixupE's penalty: what is left is ERM.
  """
  choice = jnp.where(over, -1, 0).astype(jnp.int32)
  shift = plan.mean_shift
  if shift is not None:
    shift = jnp.where(over, 0.0, jnp.asarray(shift, jnp.float32))
  return jaxmix.MixturePlan((plan,), choice, shift)
