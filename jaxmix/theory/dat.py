"""Mixup as directional adversarial training: lemmas 1 to 5 and theorem 1.

"MixUp as Directional Adversarial Training", 2020, section 5. Pairs (x, x') of a
data set come from a law that is symmetric in the two (axiom 2), losses are
linear in the label (axiom 1; here h(f) - y f, see `likelihood`). With f taken
at lam x + (1 - lam) x', an untied MixUp loss has the label gamma(lam) y + (1 -
gamma(lam)) y', a DAT loss the label y, which is gamma = 1.

Lemma 1: l_UMix(x, x', lam) is gamma(lam) l_DAT(x, x', lam) + (1 - gamma(lam))
l_DAT(x', x, 1 - lam). Lemmas 4 and 5 take one scheme to another of the same
expected loss, on every sequence of pairs that holds each as often as its
reverse: U takes DAT's law p to untied MixUp (`untied_density`,
`untied_weight`), Du untied MixUp to DAT (`dat_density`). Lemmas 2 and 3 are
`concentration`, Theorem 1 is `dat_gap`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxmix import checks, policies
from jaxmix.policies import as_dat
from jaxmix.theory import arguments, likelihood
from jaxmix.theory.likelihood import LogitFn, LogPartition

# Elementwise on [0, 1]: a density of lam, or a weight gamma(lam).
Curve = Callable[[chex.Array], chex.Array]


class DatGap(NamedTuple):
  """The two losses of Theorem 1 on the same pairs, scalars in nats.

  Attributes:
    untied: L_UMix, eq. (3) with the label's own weight.
    dat: L_DAT, eq. (4), under the equivalent law, with draws of its own.
  """

  untied: chex.Array
  dat: chex.Array


def untied_density(density: Curve) -> Curve:
  """The law of lam in U(p), eq. (5): (p(lam) + p(1 - lam)) / 2.

  U takes DAT under p to untied MixUp of the same expected loss (Lemma 4), and
  Du takes it back; U after Du need not come back, as one DAT scheme stands for
  many untied ones.

  Args:
    density: p, elementwise on [0, 1].

  Returns:
    The density of the untied scheme, elementwise.

  Example:
    >>> density = jaxmix.theory.untied_density(lambda lam: 3 * lam**2)
    >>> round(float(density(jnp.array(0.5))), 4), float(density(jnp.array(1.0)))
    (0.75, 1.5)
  """

  def found(lam):
    lam = jnp.asarray(lam)
    return 0.5 * (density(lam) + density(1.0 - lam))

  return found


def untied_weight(density: Curve) -> Curve:
  """The label's weight in U(p), eq. (5): p(lam) / (p(lam) + p(1 - lam)).

  Where p is 0 at both (such lam are never drawn), or infinite at both, 1/2.

  Args:
    density: p, elementwise on [0, 1].

  Returns:
    gamma, elementwise.

  Example:
    >>> gamma = jaxmix.theory.untied_weight(lambda lam: 3 * lam**2)
    >>> round(float(gamma(jnp.array(0.75))), 4)  # 9 / (9 + 1)
    0.9
  """

  def weight(lam):
    lam = jnp.asarray(lam)
    own, other = density(lam), density(1.0 - lam)
    # p(1) may be infinite beside a p(0) that is not.
    ratio = jnp.where(jnp.isinf(own), 0.0, other / own)
    lost = (own == other) & ((own == 0.0) | jnp.isinf(own))
    return jnp.where(lost, 0.5, 1.0 / (1.0 + ratio))

  return weight


def dat_density(density: Curve, weight_fn: Curve) -> Curve:
  """Du(p, gamma), Lemma 5: gamma(lam) p(lam) + (1 - gamma(1 - lam)) p(1 - lam).

  The law of lam in the DAT scheme whose expected loss is that of untied MixUp
  with lam ~ p and the weight gamma; `jaxmix.as_dat` is its sampler.

  The complement is of gamma at 1 - lam, as the change of variable in Lemma 5's
  proof has it, and only so it always integrates to one. With 1 - gamma(lam) in
  its place (the bar over the second factor read as over gamma(lam)) the
  integral is 1 + E[gamma(lam) - gamma(1 - lam)]: for Mixup's gamma(lam) = lam
  and Beta(a, b) it is 2 a / (a + b), 1.5 at Beta(3, 1). The readings agree
  where p is symmetric and gamma(lam) + gamma(1 - lam) = 1, as U's are.

  With gamma(lam) = lam it is lam (p(lam) + p(1 - lam)), so that Mixup's law
  counts only through its symmetric part: "symmetric laws suffice" (section
  6.2). Beta(a, a) do not: no Beta(a, a) has all moments of Beta(3, 1)'s.

  Args:
    density: p, elementwise on [0, 1].
    weight_fn: gamma, elementwise from [0, 1] to [0, 1].

  Returns:
    The density of the DAT scheme, elementwise.

  Example:
    >>> uniform, tied = jnp.ones_like, lambda lam: lam  # mixup(1)
    >>> density = jaxmix.theory.dat_density(uniform, tied)
    >>> float(density(jnp.array(0.75)))  # Beta(2, 1)'s 2 lam
    1.5
  """

  def found(lam):
    lam = jnp.asarray(lam)
    kept = weight_fn(lam) * density(lam)
    swapped = (1.0 - weight_fn(1.0 - lam)) * density(1.0 - lam)
    return kept + swapped

  return found


def pair_losses(
  logit_fn: LogitFn,
  x: chex.Array,
  y: chex.Array,
  first: chex.Array,
  second: chex.Array,
  lam: chex.Array,
  weight: chex.Array,
  *,
  log_partition: LogPartition = likelihood.log_partition,
) -> chex.Array:
  """l_UMix of drawn pairs, the summands of eqs. (3) and (4).

  h(f) - (gamma y + (1 - gamma) y') f with f taken at lam x + (1 - lam) x'.
  MixUp has gamma = lam, DAT gamma = 1.

  Args:
    logit_fn: maps [n, ...] to logits [n] or [n, K].
    x: [n, ...] floats.
    y: labels, see `standard_loss`.
    first: [m] integers, the index of each pair's x.
    second: [m] integers, the index of its x'.
    lam: [m], in [0, 1].
    weight: [m], gamma, in [0, 1].
    log_partition: h of one example's logits.

  Returns:
    [m], in nats.

  Raises:
    TypeError: as `standard_loss`.
    ValueError: as `standard_loss`, or if the last four are not all [m].

  Example:
    >>> x, y, pair = jnp.array([[0.0], [2.0]]), jnp.array([0, 1]), ([0], [1])
    >>> logit_fn = lambda x: x[:, 0]
    >>> dat = jaxmix.theory.pair_losses(logit_fn, x, y, *pair, [0.5], [1.0])
    >>> print(dat.round(4))  # log(1 + e), at 1, with the label 0
    [1.3133]
  """
  x, y, _ = likelihood.check_data(logit_fn, x, y, log_partition)
  given = {"first": first, "second": second, "lam": lam, "weight": weight}
  listed = {name: arguments.listed(value) for name, value in given.items()}
  shape = jnp.shape(listed["first"])
  if len(shape) != 1:
    raise ValueError(f"first must be [m], got shape {shape}.")
  first, second = (
    arguments.shaped(name, listed[name], shape, "[m]", int)
    for name in ("first", "second")
  )
  lam, weight = (
    arguments.shaped(name, listed[name], shape, "[m]", x.dtype)
    for name in ("lam", "weight")
  )
  one = _pair_loss(logit_fn, x, y, log_partition)
  return jax.vmap(one)(first, second, lam, weight)


def dat_gap(
  key: chex.PRNGKey,
  logit_fn: LogitFn,
  x: chex.Array,
  y: chex.Array,
  *,
  policy: policies.MixingPolicy,
  num_pairs: int,
  log_partition: LogPartition = likelihood.log_partition,
  pairs_at_once: int = 65_536,
) -> DatGap:
  """Theorem 1: the losses of a scheme and of its DAT equivalent on one sample.

  Draws num_pairs pairs uniformly from all n^2, a symmetric law, then lam once
  under the policy and once, independently, under `jaxmix.as_dat` of it. The two
  means converge to each other in probability as num_pairs grows; their
  difference is a mean of independent terms of mean 0, so that it falls as
  num_pairs^(-1/2).

  Args:
    key: PRNG key of pairs and of both lam.
    logit_fn: maps [n, ...] to logits [n] or [n, K].
    x: [n, ...] floats.
    y: labels, see `standard_loss`.
    policy: any policy of `jaxmix.policies`.
    num_pairs: n of the theorem, >= 1.
    log_partition: h of one example's logits.
    pairs_at_once: in a block, >= 1; the memory grows with it.

  Returns:
    The two losses.

  Raises:
    TypeError: as `standard_loss`.
    ValueError: as `standard_loss`, or if num_pairs < 1.

  Example:
    >>> x, y = jnp.eye(2), jnp.array([0, 1])
    >>> policy, logit_fn = jaxmix.policies.untied(3.0, 1.0), lambda x: 2.0 * x
    >>> key, draws = jax.random.key(0), {"policy": policy, "num_pairs": 10_000}
    >>> gap = jaxmix.theory.dat_gap(key, logit_fn, x, y, **draws)
    >>> bool(abs(gap.untied - gap.dat) < 0.01)
    True
  """
  x, y, (n, *_) = likelihood.check_data(logit_fn, x, y, log_partition)
  checks.count("num_pairs", num_pairs)
  checks.count("pairs_at_once", pairs_at_once)
  key_pairs, key_untied, key_dat = jax.random.split(key, 3)
  first, second = jax.random.randint(key_pairs, (2, num_pairs), 0, n)
  loss = _pair_loss(logit_fn, x, y, log_partition)

  def mean_under(key, policy):
    drawn = policy.sample(key, (num_pairs,))
    lam, weight = (value.astype(x.dtype) for value in drawn)
    found = jax.lax.map(
      lambda pair: loss(*pair),
      (first, second, lam, weight),
      batch_size=min(pairs_at_once, num_pairs),
    )
    return jnp.mean(found)

  return DatGap(
    untied=mean_under(key_untied, policy),
    dat=mean_under(key_dat, as_dat(policy)),
  )


def loss_range(
  logit_fn: LogitFn,
  x: chex.Array,
  y: chex.Array,
  *,
  weight_fn: Curve = jnp.ones_like,
  num_points: int = 65,
  log_partition: LogPartition = likelihood.log_partition,
  evaluations_at_once: int = 16_384,
) -> chex.Array:
  """delta of Lemmas 2 and 3: how far a pair's loss moves with lam, at most.

  max over pairs of sup_lam l - inf_lam l, on a grid of lam that holds 0 and 1:
  from below, and exact where l is monotone in lam. It is finite wherever
  logits are continuous. A loss that is infinite somewhere, such as -log of a
  probability 0, has delta = inf, and the lemmas say nothing of it.

  Args:
    logit_fn: maps [n, ...] to logits [n] or [n, K].
    x: [n, ...] floats.
    y: labels, see `standard_loss`.
    weight_fn: gamma, elementwise; the default, 1, is DAT's.
    num_points: of the grid, >= 2.
    log_partition: h of one example's logits.
    evaluations_at_once: in a block, >= 1.

  Returns:
    Scalar, in nats.

  Raises:
    TypeError: as `standard_loss`.
    ValueError: as `standard_loss`, or if num_points < 2.

  Example:
    >>> x, y = jnp.array([[0.0], [2.0]]), jnp.array([0, 1])
    >>> found = jaxmix.theory.loss_range(lambda x: x[:, 0], x, y)
    >>> round(float(found), 4)  # the label 0 on the way from 0 to 2
    1.4338
  """
  x, y, (n, *_) = likelihood.check_data(logit_fn, x, y, log_partition)
  checks.count("num_points", num_points, 2)
  checks.count("evaluations_at_once", evaluations_at_once)
  loss = _pair_loss(logit_fn, x, y, log_partition)
  lam = jnp.linspace(0.0, 1.0, num_points, dtype=x.dtype)
  weight = jnp.asarray(weight_fn(lam)).astype(x.dtype)

  def spread(pair):
    values = jax.vmap(lambda lam, weight: loss(*pair, lam, weight))(lam, weight)
    return jnp.max(values) - jnp.min(values)

  pairs = tuple(index.reshape(-1) for index in jnp.indices((n, n)))
  at_once = max(1, evaluations_at_once // num_points)
  return jnp.max(jax.lax.map(spread, pairs, batch_size=min(at_once, n * n)))


def concentration(
  loss_range: chex.Numeric, num_pairs: chex.Numeric, *, prob: chex.Numeric
) -> chex.Array:
  """Lemmas 2 and 3: how far a sampled loss is from its mean over lam.

  eps = delta sqrt(log(2 / prob) / (2 n)), which |L - L_E| exceeds with
  probability at most prob, whatever the n pairs: McDiarmid's inequality, where
  another lam_k moves L by delta / n at most. (The proof bounds one side by 2
  exp(-2 n eps^2 / delta^2), which both sides together have.)

  Args:
    loss_range: delta, see `loss_range`, >= 0.
    num_pairs: n, > 0.
    prob: of a larger deviation, in (0, 1].

  Returns:
    eps, a scalar, or shaped like num_pairs.

  Raises:
    ValueError: if a number is out of range.

  Example:
    >>> eps = jaxmix.theory.concentration(2.0, 200, prob=0.05)
    >>> round(float(eps), 4)  # 2 sqrt(log(40) / 400)
    0.1921
  """
  checks.scalar("loss_range", loss_range, low=0.0)
  checks.scalar("prob", prob, low=0.0, high=1.0, open_low=True)
  if jnp.ndim(arguments.listed(num_pairs)) == 0:
    checks.scalar("num_pairs", num_pairs, low=0.0, open_low=True)
  num_pairs = jnp.asarray(num_pairs, float)
  prob = jnp.asarray(prob, float)
  scale = jnp.asarray(loss_range, float)
  return scale * jnp.sqrt(0.5 * jnp.log(2.0 / prob) / num_pairs)


def _pair_loss(logit_fn, x, y, log_partition):
  """l_UMix of one pair, by its indices."""
  logits_of = likelihood.single(logit_fn)

  def loss(i, j, lam, weight):
    logits = logits_of(lam * x[i] + (1.0 - lam) * x[j])
    own = likelihood.label_dot(logits, y[i])
    other = likelihood.label_dot(logits, y[j])
    weight = weight.astype(logits.dtype)
    return log_partition(logits) - weight * own - (1.0 - weight) * other

  return loss
