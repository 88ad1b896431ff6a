"""Methods that paste: images mixed by masks, whose labels say what is seen."""

from __future__ import annotations

from collections.abc import Callable
import functools
import itertools
from typing import Any

from ml_collections import ConfigDict

from experiments import domains
from experiments.methods import mixing
from experiments.methods.method import Method, Setting
import jaxmix


def _rising(each: domains.Key, default: tuple[Any, Any]) -> domains.Key:
  """Two values, of which the first is not the larger."""
  expected = f"two, rising or equal, each {each.expected}"
  both = domains.several(default, each)

  def read(name, value):
    if not isinstance(value, (tuple, list)) or len(value) != 2:
      domains.refuse(name, expected, value)
    found = both.read(name, value)
    if any(low > high for low, high in itertools.pairwise(found)):
      domains.refuse(name, expected, value)
    return found

  return domains.Key(default, expected, read)


KEYS = {
  # resizemix: sides of what is pasted, by the image's.
  "resize_scope": _rising(domains.number(0.1, "[0, 1]"), (0.1, 0.8)),
  # fmix: the power of the frequency; larger values make rounder shapes.
  "fmix_decay": domains.number(3.0, "(0, 16]"),
  # gridmix: the fewest and the most squares in a row.
  "grid_cells": _rising(domains.integer(2, 1, 2**12), (2, 6)),
}

# (config, values, key, image shape, pairing=, mask=) -> plan.
Draw = Callable[..., Any]


def by_draw(draw: Draw) -> Callable[[Setting], Method]:
  """Returns the `create` of a method whose plans are drawn for images."""

  def build(setting):
    config = setting.config

    def plan(values, key, batch):
      inputs = batch["inputs"]
      if not hasattr(inputs, "shape") or inputs.ndim < 3:
        raise ValueError(
          f"method={config.method!r} mixes images by masks, and needs inputs "
          f"that are one array [B, H, W, C]; got "
          f"{getattr(inputs, 'shape', type(inputs).__name__)}, of "
          f"dataset={config.dataset!r}."
        )
      return draw(
        *(config, values, key, inputs.shape),
        pairing=mixing.make_pairing(setting, batch),
        mask=batch.get("mask"),
      )

    gradient = functools.partial(
      mixing.mixed_gradient, setting, mixing.mixed_loss
    )
    return Method(plan, gradient)

  return build


def cutmix(config, values, key, shape, **pairs):
  """CutMix, whose boxes have no law of lam: they are clipped."""
  policy = jaxmix.policies.mixup(
    values["alpha"], per_example=config.per_example
  )
  return jaxmix.draw_cutmix(key, shape, policy=policy, **pairs)


def resizemix(config, values, key, shape, **pairs):
  """ResizeMix, which has a scope in place of alpha and beta."""
  del values
  policy = jaxmix.policies.scaled(
    *config.resize_scope, per_example=config.per_example
  )
  return jaxmix.draw_resizemix(key, shape, policy=policy, **pairs)


def fmix(config, values, key, shape, **pairs):
  """FMix."""
  policy, decay = _policy(config, values), config.fmix_decay
  return jaxmix.draw_fmix(key, shape, policy=policy, decay=decay, **pairs)


def gridmix(config, values, key, shape, **pairs):
  """GridMix."""
  policy, cells = _policy(config, values), config.grid_cells
  return jaxmix.draw_gridmix(key, shape, policy=policy, cells=cells, **pairs)


def _policy(config, values):
  return jaxmix.policies.mixup(
    values["alpha"],
    values["beta"],
    per_example=config.per_example,
    stratified=config.stratified,
  )


def no_concentrations(config: ConfigDict) -> None:
  """Raises ValueError for an alpha or a beta, which nothing would read."""
  for key in ("alpha", "beta"):
    if config[key] != 1.0:
      raise ValueError(
        f"{key} does not apply to method={config.method!r}; leave it at 1.0, "
        f"got {config[key]}."
      )
