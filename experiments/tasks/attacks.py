"""Attacks on the evaluated inputs, as the config asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments import domains
import jaxmix

# Sizes are shares of the box of inputs, and 0 is no attack.
KEYS = {
  "fgsm_epsilon": domains.number(0.0, "[0, 1]"),  # pixels: on [0, 1]
  "pgd_epsilon": domains.number(0.0, "[0, 1e4]"),  # in l2, of one image's whole
  "pgd_norm": domains.choice("linf", jaxmix.attacks.NORMS),
  # From the image itself, each of 2.5 epsilon / steps.
  "pgd_steps": domains.integer(20, 1, 100_000),
}


def names(config: Mapping[str, Any]) -> tuple[str, ...]:
  """The attacks that evaluations run: of "fgsm", "pgd"."""
  # Runs from before there was PGD do not have its keys.
  asked = [name for name in ("fgsm", "pgd") if config.get(f"{name}_epsilon")]
  return tuple(asked)


def setting(config: Mapping[str, Any]) -> dict[str, Any]:
  """The attacks that evaluations ran, as summary.json tells them."""
  pgd = {
    "norm": config.get("pgd_norm"),
    "steps": config.get("pgd_steps"),
    "epsilon": config.get("pgd_epsilon"),
  }
  return {
    "fgsm_epsilon": config.get("fgsm_epsilon", 0.0),
    "pgd": pgd if "pgd" in names(config) else None,
  }


def check_bounds(config: ConfigDict, bounds: Any) -> None:
  """Raises ValueError for an attack on inputs that have no box."""
  if names(config) and bounds is None:
    raise ValueError(
      f"{names(config)[0]}_epsilon does not apply to "
      f"dataset={config.dataset!r}: its inputs have no bounds to attack in."
    )


def attacked(
  config: ConfigDict,
  predict: Callable[[jax.Array], jax.Array],
  inputs: jax.Array,
  labels: jax.Array,
  bounds: tuple[float, float] | None,
) -> Iterator[tuple[str, jax.Array]]:
  """Yields each attack's name and its outputs.

  They are deterministic, so that evaluation lines depend on the weights alone.

  Args:
    config: resolved.
    predict: maps raw inputs, as floats, to logits.
    inputs: raw.
    labels: [B].
    bounds: of the raw inputs.
  """
  if bounds is None:
    return
  # In raw units, so that what is attacked is what was evaluated, to the bit.
  raw = inputs.astype(jnp.float32)
  whole = bounds[1] - bounds[0]
  if config.fgsm_epsilon > 0.0:
    moved = jaxmix.fgsm(
      predict,
      raw,
      labels,
      epsilon=config.fgsm_epsilon * whole,
      bounds=bounds,
    )
    yield "fgsm", predict(moved)
  if config.pgd_epsilon > 0.0:
    moved = jaxmix.pgd(
      jax.random.key(0),  # unused: there is no random start
      predict,
      raw,
      labels,
      epsilon=config.pgd_epsilon * whole,
      norm=config.pgd_norm,
      steps=config.pgd_steps,
      random_start=False,
      bounds=bounds,
    )
    yield "pgd", predict(moved)
