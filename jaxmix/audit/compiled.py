"""Checks of what frameworks do with a function: repeat, compile, derive."""

from __future__ import annotations

import functools
import importlib
import operator

import jax
import jax.numpy as jnp
import numpy as np

from jaxmix.audit import reading
from jaxmix.audit.calls import Caller, Outcome, over_keys, seed_others
from jaxmix.audit.evidence import (
  COUNT,
  Evidence,
  fault,
  not_applicable,
  passed,
  words,
)
from jaxmix.audit.report import Finding


def repeats(caller: Caller, seed: int, images: np.ndarray, labels: np.ndarray):
  """The same key gives the same result."""
  check = "same key"
  first, second = (caller(seed, images, labels) for _ in range(2))
  if _alike(first, second, caller.num_classes):
    return passed(check, "The same key gives the same, twice.")
  return fault(
    check,
    "The same key gives different results: something is drawn from elsewhere.",
    f"a batch of {len(labels)}, seed {seed}, twice",
    (seed, images, labels),
  )


def jit(caller: Caller, seed: int, images: np.ndarray, labels: np.ndarray):
  """The function runs under jit, and under vmap over keys, with its numbers.

  Where it does, later calls are compiled.
  """
  check = "jit"
  if caller.kind != "jax":
    return not_applicable(check, "No function of JAX's.")
  smallest = f"a batch of {len(labels)}, seed {seed}"
  seeds = range(seed, seed + COUNT)
  caller.compiles = True
  try:
    both = caller.many(seeds, images, labels)
  except Exception as error:  # whatever tracing makes of anybody's code
    caller.compiles = False
    told = f"Under jit and vmap over keys: {words(error)}"
    return fault(check, told, smallest, (seed, images, labels))
  for n in range(2):
    plain = caller(seeds[n], images, labels)
    one = both.each(operator.itemgetter(n))
    if not _alike(plain, one, caller.num_classes):
      caller.compiles = False
      return fault(
        check,
        "Compiled it gives other results than not compiled.",
        f"a batch of {len(labels)}, seed {seeds[n]}",
        (seeds[n], images, labels),
      )
  return passed(check, "The same under jit and vmap over keys.")


def _alike(a: Outcome, b: Outcome, num_classes: int) -> bool:
  close = lambda x, y: np.allclose(x, y, atol=1e-4, equal_nan=True)
  if not close(a.images, b.images):
    return False
  one_call = lambda part: part[None]
  return close(*(reading.rows(o.each(one_call), num_classes) for o in (a, b)))


def gradients(e: Evidence) -> Finding:
  """Gradients reach the images, and are those of the mixture.

  For one key a mixture is linear in the images: what a change of the images
  changes is the gradient's product with it.
  """
  check = "gradients"
  if e.caller.kind == "numpy":
    return not_applicable(check, "NumPy has none.")
  if e.failed & {"mixture", "same key"}:
    return not_applicable(check, "See mixture, same key.")
  images, labels = e.given(4 if "short batch" not in e.failed else 8)
  generator = np.random.default_rng(0)
  towards = generator.normal(size=images.shape).astype(np.float32)
  step = generator.uniform(-0.1, 0.1, images.shape).astype(np.float32)
  seeds = range(e.seed, e.seed + COUNT)
  smallest = f"a batch of {len(labels)}, seed {e.seed}"
  gradient = _jax_gradients if e.caller.kind == "jax" else _torch_gradients
  try:
    slopes = gradient(e.caller, seeds, images, labels, towards)
    ends = [
      e.caller.many(seeds, x, labels).images for x in (images, images + step)
    ]
  except Exception as error:
    return fault(check, words(error), smallest, (e.seed, images, labels))
  axes = tuple(range(1, images.ndim + 1))
  along = np.sum(slopes * step, axis=axes)
  moved = np.sum((ends[1] - ends[0]) * towards, axis=axes)
  wrong = np.flatnonzero(~(np.abs(along - moved) < 1e-2))
  if len(wrong):
    n = wrong[0]
    return fault(
      check,
      f"A change of the images changes a sum of the mixed ones by "
      f"{moved[n]:.4g}, by the gradient {along[n]:.4g}.",
      f"a batch of {len(labels)}, seed {seeds[n]}",
      (seeds[n], images, labels),
    )
  worst = np.abs(along - moved).max()
  return passed(check, f"Those of the mixture, to {worst:.1g}.")


def _jax_gradients(caller, seeds, images, labels, towards):
  keys = jax.vmap(jax.random.key)(np.asarray(seeds, np.uint32))
  given = jnp.asarray(images), jnp.asarray(labels), jnp.asarray(towards)
  slope = _slope(caller.fn, caller.options, caller.compiles)
  if caller.compiles:
    return np.asarray(slope(keys, *given), np.float64)
  return np.stack([np.asarray(slope(key, *given), np.float64) for key in keys])


@functools.lru_cache(maxsize=64)
def _slope(fn, options, compiles):
  """The gradient of a sum of mixed images, over many keys if it compiles."""

  def total(images, key, labels, towards):
    mixed, _ = fn(key, images, labels, **dict(options))
    return jnp.sum(mixed * towards)

  def slope(key, images, labels, towards):
    return jax.grad(total)(images, key, labels, towards)

  if not compiles:
    return slope
  return over_keys(slope)


def _torch_gradients(caller, seeds, images, labels, towards):
  torch = importlib.import_module("torch")
  slopes = []
  for seed in seeds:
    seed_others("torch", seed)
    leaf = torch.from_numpy(images.copy()).requires_grad_(True)
    # A copy, for what changes its argument, which is told elsewhere.
    mixed, _ = caller.fn(
      seed,
      leaf.clone(),
      torch.from_numpy(labels.copy()),
      **dict(caller.options),
    )
    (mixed * torch.from_numpy(towards)).sum().backward()
    if leaf.grad is None:
      raise ValueError("no gradient reaches the images.")
    slopes.append(leaf.grad.numpy().astype(np.float64))
  return np.stack(slopes)
