"""Checks of what frameworks do with a function: repeat, compile, differentiate."""

from __future__ import annotations

import importlib

import jax
import jax.numpy as jnp
import numpy as np

from jaxmix.audit import reading
from jaxmix.audit.calls import Caller, Outcome, seed_others
from jaxmix.audit.evidence import (
  Evidence,
  fault,
  not_applicable,
  passed,
  words,
)
from jaxmix.audit.report import Finding

_SEEDS = 8


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
  arguments = (seed, images, labels)
  seeds = [seed, seed + 1]
  eager = [caller(s, images, labels) for s in seeds]
  caller.compiles = True
  try:
    both = caller.many(seeds, images, labels)
  except Exception as error:  # whatever tracing makes of anybody's code
    caller.compiles = False
    return fault(
      check, f"Under jit and vmap over keys: {words(error)}", smallest, arguments
    )
  for n, plain in enumerate(eager):
    one = Outcome(
      *(part[n] if isinstance(part, np.ndarray) else part for part in both)
    )
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
  return close(
    *(
      reading.rows(
        Outcome(
          *(p[None] if isinstance(p, np.ndarray) else p for p in outcome)
        ),
        num_classes,
      )
      for outcome in (a, b)
    )
  )


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
  images, labels = e.given(4)
  generator = np.random.default_rng(0)
  towards = generator.normal(size=images.shape).astype(np.float32)
  step = generator.uniform(-0.1, 0.1, images.shape).astype(np.float32)
  gradient = _jax_gradient if e.caller.kind == "jax" else _torch_gradient
  worst = 0.0
  for seed in range(e.seed, e.seed + _SEEDS):
    smallest = f"a batch of 4, seed {seed}"
    try:
      along = np.sum(gradient(e.caller, seed, images, labels, towards) * step)
      ends = [
        e.caller.many([seed], x, labels).images for x in (images, images + step)
      ]
    except Exception as error:
      return fault(check, words(error), smallest, (seed, images, labels))
    moved = np.sum((ends[1] - ends[0]) * towards)
    worst = max(worst, abs(along - moved))
    if not abs(along - moved) < 1e-2:
      return fault(
        check,
        f"A change of the images changes a sum of the mixed ones by "
        f"{moved:.4g}, by the gradient {along:.4g}.",
        smallest,
        (seed, images, labels),
      )
  return passed(check, f"Those of the mixture, to {worst:.1g}.")


def _jax_gradient(caller, seed, images, labels, towards):
  def total(x):
    mixed, _ = caller.fn(
      jax.random.key(seed), x, jnp.asarray(labels), **dict(caller.options)
    )
    return jnp.sum(mixed * towards)

  return np.asarray(jax.grad(total)(jnp.asarray(images)), np.float64)


def _torch_gradient(caller, seed, images, labels, towards):
  torch = importlib.import_module("torch")
  seed_others("torch", seed)
  leaf = torch.from_numpy(images.copy()).requires_grad_(True)
  # A copy, for what changes its argument, which is told elsewhere.
  mixed, _ = caller.fn(
    seed, leaf.clone(), torch.from_numpy(labels.copy()), **dict(caller.options)
  )
  (mixed * torch.from_numpy(towards)).sum().backward()
  if leaf.grad is None:
    raise ValueError("no gradient reaches the images.")
  return leaf.grad.numpy().astype(np.float64)
