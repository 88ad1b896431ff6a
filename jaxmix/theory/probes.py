"""R1, R2 and R3 of Lemma 3.1 at the cost of a few passes: Hutchinson's trace.

`expansion.regularizers` takes min(n, d) + 1 directions an example, which is
exact and, for images, thousands of passes. R1 needs the one towards the mean
alone. R2 and R3 are traces of a quadratic form with the covariance of x, and a
random combination of its factors, with signs +-1, has them for its mean.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxmix import checks, policies
from jaxmix.theory import expansion, likelihood
from jaxmix.theory.directions import root
from jaxmix.theory.likelihood import LogitFn, LogPartition
from jaxmix.theory.moments import as_policy, shift_moments


class ProbedRegularizers(NamedTuple):
  """Estimates of R1, R2 and R3, and what they may be off by.

  Attributes:
    value: `Regularizers`; r1 is exact.
    error: `Regularizers` of standard errors of the probes; 0 for r1.
  """

  value: expansion.Regularizers
  error: expansion.Regularizers


def probed_regularizers(
  key: chex.PRNGKey,
  logit_fn: LogitFn,
  x: chex.Array,
  y: chex.Array,
  *,
  alpha: chex.Numeric | None = None,
  beta: chex.Numeric | None = None,
  policy: policies.MixingPolicy | None = None,
  log_partition: LogPartition = likelihood.log_partition,
  num_probes: int = 2,
  examples_at_once: int = 256,
) -> ProbedRegularizers:
  """R1, R2, R3 of Lemma 3.1, the second order by random directions.

  Each example has its own probes v = sum_k s_k v_k, s_k = +-1, over the factors
  v_k of the covariance, sum_k v_k v_k' = Sigma, so that E[v v'] = Sigma. R2 and
  R3 are unbiased, R1 is exact. It costs 3 + 2 num_probes passes of the network
  an example (a value, and two derivatives along each direction), where
  `regularizers` costs 3 + 2 min(n, d).

  Args:
    key: PRNG key of the signs.
    logit_fn: maps [n, ...] to logits [n] or [n, K].
    x: [n, ...] floats.
    y: labels, see `standard_loss`.
    alpha: concentration of Mixup's Beta law; or give a policy.
    beta: its second concentration; None means alpha.
    policy: any policy of `jaxmix.policies`, instead of alpha.
    log_partition: h of one example's logits.
    num_probes: an example, >= 2: the error is estimated from their spread.
    examples_at_once: in a block, >= 1; the memory grows with it.

  Returns:
    The estimates and their standard errors, in nats.

  Raises:
    TypeError: as `standard_loss`.
    ValueError: as `mixup_loss`, or if num_probes < 2.

  Example:
    >>> key, x, y = jax.random.key(0), jnp.array([[-1.0], [1.0]]), [0, 1]
    >>> of = jaxmix.theory.probed_regularizers
    >>> found = of(key, lambda x: 2.0 * x[:, 0], x, y, alpha=1.0)
    >>> round(float(found.value.r2), 4), float(found.error.r2)  # 2/3 g (1 - g)
    (0.07, 0.0)
  """
  x, y, (n, *_) = likelihood.check_data(logit_fn, x, y, log_partition)
  checks.count("num_probes", num_probes, 2)
  checks.count("examples_at_once", examples_at_once)
  policy = as_policy(alpha, beta, policy)
  logits_of = likelihood.single(logit_fn)
  along = functools.partial(
    expansion.directional_terms, logits_of, log_partition
  )
  mean = jnp.mean(x, axis=0)
  spread = expansion.covariance_factor(x)
  flat = spread.reshape(len(spread), -1)

  def one(example):
    key, point, label = example
    signs = jax.random.rademacher(key, (num_probes, len(flat)), flat.dtype)
    probes = (signs @ flat).reshape(-1, *point.shape)
    directions = jnp.concatenate([(mean - point)[None], probes])
    terms = jax.vmap(lambda direction: along(point, label, direction))(
      directions
    )
    drawn = terms[1:, 1:]
    total = terms[0, 1:] + jnp.mean(drawn, axis=0)
    return terms[0, 0], total, jnp.var(drawn, axis=0, ddof=1) / num_probes

  keys = jax.random.split(key, n)
  slope, second, variance = jax.lax.map(
    one, (keys, x, y), batch_size=min(examples_at_once, n)
  )
  _, first, square = (
    jnp.asarray(m).astype(slope.dtype) for m in shift_moments(policy, 2)
  )
  r2, r3 = 0.5 * square * jnp.mean(second, axis=0)
  error = 0.5 * square * root(jnp.sum(variance, axis=0)) / n
  return ProbedRegularizers(
    value=expansion.Regularizers(first * jnp.mean(slope), r2, r3),
    error=expansion.Regularizers(jnp.zeros_like(r2), *error),
  )
