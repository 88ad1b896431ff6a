"""What is wrong with this mixup? `jaxmix.audit` calls anybody's and tells.

The package is behind the function: `from jaxmix.audit import Report` finds the
rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import inspect
from typing import Any

import numpy as np

from jaxmix import checks, policies
from jaxmix.audit import compiled, laws, rules, sizes
from jaxmix.audit.calls import Caller
from jaxmix.audit.evidence import Evidence, fault, words
from jaxmix.audit.report import FAULT
from jaxmix.audit.report import Finding as Finding
from jaxmix.audit.report import Report as Report

_ALPHAS = (0.01, 0.1, 1.0, 4.0)
_SHAPES = {"jax": (8, 8, 3), "numpy": (8, 8, 3), "torch": (3, 8, 8)}


def audit(
  fn: Callable[..., Any],
  *,
  alpha: float | Sequence[float] | None = None,
  policy: policies.MixingPolicy | None = None,
  kind: str = "jax",
  num_classes: int = 10,
  image_shape: tuple[int, ...] | None = None,
  draws: int = 4096,
  seed: int = 0,
) -> Report:
  """Calls anybody's mixup on small made inputs and tells what is wrong with it.

  The checks are listed in docs/audit.md. Each ends in pass, fault or not
  applicable, with numbers; a fault with the smallest input that shows it. One
  cause is told once: what cannot be judged for another fault is not applicable.
  A correct function is told faulty with a probability below 1e-6.

  Args:
    fn: called as fn(key, images, labels) with a key of `jax.random.key`, or for
      other kinds as fn(seed, images, labels), an integer, from which NumPy's,
      Python's and torch's global generators have been seeded, too. Returns
      (images, targets); targets are `MixedTargets`, (a, b, lam), dense [B, K],
      or kornia's packed [B, 3].
    alpha: the law that is meant, lam ~ Beta(alpha, alpha). Of a function that
      takes a keyword alpha, one or several to call it with; None means small
      and large ones. Of another, the one that it draws with; None means that
      the law is not judged.
    policy: instead, any law of lam and of the label's weight.
    kind: "jax", "numpy" or "torch": whose arrays it takes.
    num_classes: K of dense targets, at least 4.
    image_shape: of an image; None means (8, 8, 3), for torch (3, 8, 8).
    draws: how many lam each law is judged by.
    seed: the first of the seeds.

  Returns:
    The `Report`: print it, or in a test `report.raise_for_faults()`.

  Raises:
    ValueError: if an argument is out of range, or both alpha and policy are
      given.

  Example:
    >>> def halves(seed, images, labels):
    ...   mixed = 0.5 * images + 0.5 * images[::-1]
    ...   return mixed, (labels, labels[::-1], 0.4)
    >>> print(jaxmix.audit(halves, kind="numpy")["weights"].status)
    fault
  """
  checks.choice("kind", kind, tuple(_SHAPES))
  num_classes = checks.count("num_classes", num_classes, 4)
  draws = checks.count("draws", draws, 256)
  seed = checks.count("seed", seed, 0)
  if alpha is not None and policy is not None:
    raise ValueError("alpha must be None beside a policy, which has its own.")
  alphas, takes = _alphas(fn, alpha, policy)
  main = min(alphas, key=lambda a: abs(np.log(a or 1.0)))
  callers = {
    a: Caller(fn, kind, num_classes, **({"alpha": a} if takes else {}))
    for a in alphas
  }
  name = getattr(fn, "__name__", type(fn).__name__)
  caller = callers[main]
  shape = _SHAPES[kind] if image_shape is None else tuple(image_shape)
  gamma, constant = (lambda lam: lam), False
  law: dict[Any, laws.Law | None] = {
    a: None if a is None else laws.beta_law(a) for a in alphas
  }
  if policy is not None:
    law[None], gamma, constant = laws.sampled_law(policy)
  largest = min(8, (num_classes - 1) // 2 * 2)
  e = Evidence(caller, shape, num_classes, seed, (), gamma, set())
  findings: list[Finding] = []

  def told(finding: Finding) -> None:
    findings.append(finding)
    if finding.status == FAULT:
      e.failed.add(finding.check)

  given = e.given(largest)
  try:
    caller(seed, *given)
    told(compiled.repeats(caller, seed, *given))
    if not e.failed:
      told(compiled.jit(caller, seed, *given))
    e = e._replace(pool=(e.mixed(largest),))
  except Exception as error:  # anybody's code, and whatever it returns
    smallest = f"a batch of {largest}, seed {seed}"
    wrong = fault("call", words(error), smallest, (seed, *given))
    return Report(name, (wrong,))
  rules_of_one = (
    *(rules.mixture, rules.smoothing),
    *(rules.partners, rules.weights, rules.area),
  )
  # Of the largest first: what only shorter ones do is told of those.
  for check in rules_of_one:
    if check(e).status == FAULT:
      e.failed.add(check.__name__)
  finding, e = sizes.short(e, [2, 4])
  e.failed.difference_update(check.__name__ for check in rules_of_one)
  told(finding)
  for check in rules_of_one:
    told(check(e))
  drawn: dict[Any, laws.Drawn | Exception] = {}
  for a, one in callers.items():
    one.compiles = caller.compiles
    try:
      drawn[a] = laws.draw(e._replace(caller=one), draws)
    except Exception as error:
      drawn[a] = error
  variants: list[str] = []
  at_main = drawn[main]
  if not isinstance(at_main, Exception):
    told(laws.replicas(e, at_main, constant))
    variants += _variants(at_main)
  finding, folded = laws.law(e, drawn, law)
  told(finding)
  if not isinstance(at_main, Exception):
    told(laws.dependence(e, at_main))
  for check in (rules.class_ids, rules.dtype, rules.scale, rules.in_place):
    told(check(e))
  for check in (sizes.odd, sizes.one, compiled.gradients):
    told(check(e))
  return Report(name, tuple(findings), (*variants, *folded))


def _alphas(fn, alpha, policy) -> tuple[list[Any], bool]:
  """The concentrations to look at, and whether fn is told them."""
  try:
    takes = "alpha" in inspect.signature(fn).parameters
  except (TypeError, ValueError):  # builtins have no signature
    takes = False
  if policy is not None:
    return [None], False
  if alpha is None:
    return (list(_ALPHAS) if takes else [None]), takes
  several = [alpha] if np.ndim(alpha) == 0 else list(alpha)
  found = [checks.scalar("alpha", a, low=0.0, open_low=True) for a in several]
  if len(found) != 1 and not takes:
    raise ValueError(
      f"alpha must be one number where fn takes no alpha, got {alpha!r}."
    )
  return found, takes


def _variants(drawn: laws.Drawn) -> list[str]:
  found = []
  if (drawn.partner < 0).all():
    return ["nothing is mixed"]
  if drawn.one_lam:
    found.append("one lam a batch")
  if laws.fixed_partners(drawn):
    found.append("partners are not drawn")
  return found
