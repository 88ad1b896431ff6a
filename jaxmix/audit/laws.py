"""Checks of laws: what many calls draw, against what they should.

A correct function is told faulty with a probability of less than 1e-6 an audit:
lam's law by the bound of Dvoretzky, Kiefer and Wolfowitz (Massart, 1990), which
holds for every number of draws, at 1e-7 an alpha; dependence by rank
correlations beyond 6.5 standard errors, of which an audit looks at 16 at most.
"""

from __future__ import annotations

from collections.abc import Callable
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import betainc
import numpy as np

from jaxmix import policies
from jaxmix.audit import reading
from jaxmix.audit.evidence import (
  Evidence,
  fault,
  not_applicable,
  passed,
  words,
)
from jaxmix.audit.report import Finding

Law = Callable[[np.ndarray], np.ndarray]
_PROB = 1e-7  # of a false alarm, an alpha
_SIGMAS = 6.5
_POSITIONS = 16  # of a batch whose partner is looked at beside its one lam
_REFERENCE = 20_000
_GRID = np.linspace(2e-3, 1.0 - 2e-3, 499)


class Drawn(NamedTuple):
  """What many calls drew at one alpha.

  Attributes:
    kept: [N, B], the shares that the images keep.
    partner: [N, B], -1 where none is seen.
    blend: whether all was read, and nothing was pasted.
    one_lam: whether a call has one lam for all its examples.
    calls: N, in words.
  """

  kept: np.ndarray
  partner: np.ndarray
  blend: bool
  one_lam: bool
  calls: str


def draw(e: Evidence, draws: int) -> Drawn:
  """Makes as many calls as show `draws` lam, or half as many of one lam each.

  Args:
    e: whose caller is called with its own alpha.
    draws: how many lam.
  """
  one_lam = _one_lam(e)
  if "paste" in e.ways():  # no law to compare with: what is there will do
    seen = e.pool[-1].seen
    calls = f"{len(seen.kept)} batches of {len(e.pool[-1].labels)}"
    return Drawn(seen.kept, seen.partner, False, one_lam, calls)
  for size in (16 if one_lam else reading.MOST, len(e.pool[-1].labels)):
    count = max(draws // 2 if one_lam else draws // size, 4)
    images, labels = e.given(size)
    seeds = range(e.seed + 1000, e.seed + 1000 + count)
    try:
      mixed = e.caller.many(seeds, images, labels).images
      break
    except Exception:  # what takes no larger batches is asked by its own
      if size == len(e.pool[-1].labels):
        raise
  way, kept, partner, _ = reading.read_images(images, mixed)
  blend = bool(np.isin(way, ("blend", "same", "swap")).all())
  return Drawn(kept, partner, blend, one_lam, f"{count} batches of {size}")


def _one_lam(e: Evidence) -> bool:
  seen = e.pool[-1].seen
  shares = np.where(seen.partner >= 0, seen.kept, np.nan)
  several = (~np.isnan(shares)).sum(axis=1) > 1
  if not several.any():
    return False
  spread = np.nanmax(shares[several], 1) - np.nanmin(shares[several], 1)
  return bool((spread < reading.TOLERANCE).all())


def replicas(e: Evidence, drawn: Drawn, constant: bool) -> Finding:
  """Replicas with keys of their own draw their own lam."""
  check = "replicas"
  if "mixture" in e.failed:
    return not_applicable(check, "See mixture.")
  if (drawn.partner < 0).all():
    return not_applicable(check, "Nothing was mixed.")
  if constant:
    return not_applicable(check, "lam is not drawn.")
  count = len(drawn.kept)
  same = np.ptp(drawn.kept, axis=0).max() < 1e-5
  if same:
    told = "key" if e.caller.kind == "jax" else "seed"
    return fault(
      check,
      f"{count} calls with {told}s of their own draw the same lam, "
      f"{np.round(drawn.kept[0, :3], 4).tolist()}: the {told} that is given is "
      "not what it is drawn from.",
      f"two batches of {len(e.pool[0].labels)}, seeds {e.seed}, {e.seed + 1}",
    )
  return passed(check, f"{count} keys draw {count} times their own.")


def law(
  e: Evidence, drawn: dict[Any, Drawn | Exception], laws: dict[Any, Law | None]
) -> tuple[Finding, list[str]]:
  """lam follows the law that is meant, by Kolmogorov and Smirnov's distance.

  Args:
    e: the evidence.
    drawn: alpha -> what was drawn with it.
    laws: alpha -> its distribution function; None where it is not known.

  Returns:
    The finding, and variants.
  """
  check, told, variants = "law", [], set()
  if e.failed & {"mixture", "replicas"}:
    return not_applicable(check, "See mixture, replicas."), []
  if "paste" in e.ways():
    return not_applicable(
      check, "Areas follow no Beta law: boxes are rounded and clipped."
    ), []
  for alpha, found in drawn.items():
    cdf = laws[alpha]
    if cdf is None:
      return not_applicable(
        check, "fn takes no alpha: say which it draws with, alpha=."
      ), []
    at = f"alpha={alpha:g}" if isinstance(alpha, float) else str(alpha)
    if isinstance(found, Exception):
      return fault(check, f"At {at}: {words(found)}", f"{at}, a batch"), []
    if not found.blend:
      count = int((~np.isfinite(found.kept)).sum())
      return fault(
        check,
        f"At {at} images are no mixtures ({count} not finite).",
        f"{at}, {found.calls}",
      ), []
    lam = np.sort(_lam(found))
    ecdf = np.searchsorted(lam, _GRID, side="right") / len(lam)
    # A partner that is the example itself hides its lam, which then seems 1.
    hidden = 0.0 if found.one_lam else 1.0 / found.kept.shape[1]
    limit = math.sqrt(math.log(2.0 / _PROB) / 2.0 / len(lam))
    if alpha is None or not isinstance(alpha, float):  # a sampled reference
      limit += math.sqrt(math.log(2.0 / _PROB) / 2.0 / _REFERENCE)
    whole = cdf(_GRID)
    folded = {
      "": whole,
      "max(lam, 1 - lam)": np.maximum(whole - cdf(1.0 - _GRID), 0.0),
      "min(lam, 1 - lam)": np.minimum(1.0 + whole - cdf(1.0 - _GRID), 1.0),
    }
    distances = {
      name: float(np.maximum(ecdf - f, (1.0 - hidden) * f - ecdf).max())
      for name, f in folded.items()
    }
    name = min(distances, key=lambda k: distances[k])
    if distances[""] <= limit:
      name = ""
    if distances[name] > limit:
      return fault(
        check,
        f"At {at} the distance to the law is {distances['']:.3f} (limit "
        f"{limit:.3f}, {len(lam)} lam); lam's mean is {lam.mean():.3f}, its "
        f"standard deviation {lam.std():.3f}.",
        f"{at}, {found.calls}, seeds from {e.seed + 1000}",
      ), []
    if name:
      variants.add(f"lam is folded to {name}")
    told.append(f"{at}: {distances[name]:.3f} of {limit:.3f}")
  return passed(check, f"Distance and limit, {'; '.join(told)}."), [*variants]


def _lam(drawn: Drawn) -> np.ndarray:
  if not drawn.one_lam:
    return np.clip(drawn.kept, 0.0, 1.0).reshape(-1)
  # Of one lam a call every example tells that has another for its partner.
  return np.clip(drawn.kept.min(axis=1), 0.0, 1.0)


def beta_law(alpha: float) -> Law:
  """The distribution function of Beta(alpha, alpha)."""
  a = jnp.float32(alpha)

  def cdf(x):
    # By symmetry from the nearer end, where float32 has its digits.
    near = jnp.asarray(np.minimum(x, 1.0 - x), jnp.float32)
    low = np.asarray(betainc(a, a, near), np.float64)
    return np.where(x <= 0.5, low, 1.0 - low)

  return cdf


def sampled_law(
  policy: policies.MixingPolicy,
) -> tuple[Law, Callable[[np.ndarray], np.ndarray], bool]:
  """A policy's law of lam, its label weight, and whether lam is constant."""
  known, labels = _rising(policy.sample)

  def cdf(x):
    return np.asarray(np.searchsorted(known, x, side="right") / _REFERENCE)

  def gamma(x):
    return np.asarray(np.interp(x, known, labels))

  return cdf, gamma, bool(np.ptp(known) < 1e-6)


@functools.lru_cache(maxsize=8)
def _rising(sample: policies.Sampler) -> tuple[np.ndarray, np.ndarray]:
  """Draws of lam in order, and their label weights; kept, as they compile."""
  keys = jax.random.split(jax.random.key(20180226), _REFERENCE)
  lam, weight = jax.jit(jax.vmap(lambda key: sample(key, ())))(keys)
  order = np.argsort(np.asarray(lam), kind="stable")
  return (
    np.asarray(lam, np.float64)[order],
    np.asarray(weight, np.float64)[order],
  )


def dependence(e: Evidence, drawn: Drawn) -> Finding:
  """lam and the partner are drawn apart: no key serves both."""
  check = "dependence"
  reused = _reused(e)
  if reused:
    return fault(
      check,
      f"A key is used twice, which makes draws depend on each other: {reused}",
      f"a batch of {len(e.pool[-1].labels)}, seed {e.seed}",
      (e.seed, *e.given(len(e.pool[-1].labels))),
    )
  told = "No key is used twice. " if e.caller.kind == "jax" else ""
  if e.failed & {"mixture", "replicas"}:
    return not_applicable(check, f"{told}See mixture, replicas.")
  if fixed_partners(drawn):
    return not_applicable(check, f"{told}Partners are not drawn.")
  worst = max(_correlations(drawn), key=abs, default=0.0)
  if abs(worst) > _SIGMAS:
    return fault(
      check,
      "lam and the partner are correlated, by ranks "
      f"{worst:.1f} standard errors from 0.",
      f"{drawn.calls}, seeds from {e.seed + 1000}",
    )
  return passed(check, f"{told}Rank correlations: {worst:.1f} standard errors.")


def _reused(e: Evidence) -> str:
  """What JAX says of a key that is used twice; "" where it says nothing."""
  if e.caller.kind != "jax":
    return ""
  caller, given = e.caller, e.given(len(e.pool[-1].labels))
  return _reuse(caller.fn, caller.options, caller.compiles, given[0].shape)


@functools.lru_cache(maxsize=64)
def _reuse(fn, options, compiles, shape):
  """As `_reused`; kept, since it is the same for every key."""
  # Compiled: otherwise every operation would be asked, one by one.
  call: Callable[..., Any] = functools.partial(fn, **dict(options))
  if compiles:
    call = jax.jit(call)
  images = jnp.asarray(reading.made_images(shape[0], shape[1:]))
  with jax.debug_key_reuse(True):
    try:
      call(jax.random.key(0), images, jnp.arange(shape[0], dtype=jnp.int32))
    except jax.errors.KeyReuseError as error:
      return str(error).splitlines()[0]
    except Exception:  # the check's own limits, and faults told elsewhere
      pass
  return ""


def fixed_partners(drawn: Drawn) -> bool:
  """Whether everybody's partner is the same in all calls."""
  seen = drawn.partner >= 0
  first = np.max(drawn.partner, axis=0)
  return bool((np.where(seen, drawn.partner, first) == first).all())


def _correlations(drawn: Drawn) -> list[float]:
  """Rank correlations of lam and partner, each in standard errors."""
  if drawn.one_lam:
    lam = _lam(drawn)
    found = []
    for i in range(min(_POSITIONS, drawn.kept.shape[1])):
      known = np.flatnonzero(drawn.partner[:, i] >= 0)
      if len(known) > 9:
        found.append(_sigmas(lam[known], drawn.partner[known, i]))
    return found
  # Within each call: whose partner I am is looked at, too.
  ahead, behind = [], []
  for kept, partner in zip(drawn.kept, drawn.partner, strict=True):
    seen = np.flatnonzero(partner >= 0)
    if len(seen) < 4:
      continue
    ahead.append(_sigmas(kept[seen], partner[seen]))
    whose = np.full(len(partner), -1)
    whose[partner[seen]] = seen
    both = np.flatnonzero((whose >= 0) & (partner >= 0))
    if len(both) >= 4:
      behind.append(_sigmas(kept[both], whose[both]))
  return [
    float(np.sum(found) / math.sqrt(len(found)))
    for found in (ahead, behind)
    if found
  ]


def _sigmas(x: np.ndarray, y: np.ndarray) -> float:
  """Spearman's correlation times sqrt(n - 1), of variance 1 if independent."""
  a, b = (np.argsort(np.argsort(v, kind="stable")) for v in (x, y))
  if np.ptp(x) == 0.0 or np.ptp(y) == 0.0:
    return 0.0
  return float(np.corrcoef(a, b)[0, 1] * math.sqrt(len(x) - 1))
