"""Mixup's loss over all pairs, and its expansion around no mixing at all.

Lemma 3.1 of Zhang et al. (ICLR 2021, https://arxiv.org/abs/2010.04819) and
Theorem 1 of MixupE (UAI 2023). With D~ the law of lam under the policy's DAT
equivalent (`jaxmix.as_dat`), a = 1 - lam and r an example drawn from x,

  L_mix = mean_i E_D~ E_r psi_ir(a),   psi_ir(a) = l(f(x_i + a (r - x_i)), y_i),

and the expansions are Taylor polynomials of psi at a = 0. They hold for every
policy of `jaxmix.policies`, since each has a DAT equivalent; one made by hand
needs a `quadrature`. Losses are l = h(f) - y f, see `likelihood`.

All functions take logit_fn, x [n, ...] and y, arrays of JAX's or NumPy's, or
lists. They call logit_fn on one example at a time, so it must treat examples
apart: batch norm in evaluation mode, no dropout. Where another is seen it is
refused: always, if it marks its statistics by `jaxmix.hold`, as `jaxmix.models`
do, else outside jit, where values are known. They run under jit and vmap, in
the precision of x and of logit_fn, and may be differentiated with respect to
what logit_fn closes over.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxmix import checks, policies
from jaxmix.taylor import derivatives
from jaxmix.theory import likelihood
from jaxmix.theory.likelihood import LogitFn, LogPartition
from jaxmix.theory.moments import NODES, as_policy, quadrature, shift_moments


class Regularizers(NamedTuple):
  """R1, R2 and R3 of Lemma 3.1, scalars.

  Attributes:
    r1: first order: the residual along the gradient.
    r2: second order: the loss's curvature along the gradient.
    r3: second order: the residual along the network's curvature.
  """

  r1: chex.Array
  r2: chex.Array
  r3: chex.Array


def standard_loss(
  logit_fn: LogitFn,
  x: chex.Array,
  y: chex.Array,
  *,
  log_partition: LogPartition = likelihood.log_partition,
) -> chex.Array:
  """The loss without mixing, mean_i [h(f(x_i)) - y_i f(x_i)].

  Args:
    logit_fn: maps [n, ...] to logits [n] (logistic) or [n, K] (softmax).
    x: [n, ...] floats.
    y: [n]: 0 or 1 (any number, for other h), integer classes beside [n, K]; or
      weights shaped like the logits.
    log_partition: h of one example's logits, see `likelihood`.

  Returns:
    Scalar, in nats.

  Raises:
    TypeError: if x is not floating point, or y makes no sense.
    ValueError: if shapes do not fit, a known label is out of range, or logit_fn
      is seen to couple examples, such as by batch norm in training mode.

  Example:
    >>> x, y = jnp.array([[1.0], [-1.0]]), jnp.array([1, 0])
    >>> loss = jaxmix.theory.standard_loss(lambda x: 2.0 * x[:, 0], x, y)
    >>> round(float(loss), 4)  # log(1 + exp(-2))
    0.1269
  """
  x, y, _ = likelihood.check_data(logit_fn, x, y, log_partition)
  loss = likelihood.loss_of_one(logit_fn, log_partition)
  return jnp.mean(jax.vmap(loss)(x, y))


def mixup_loss(
  logit_fn: LogitFn,
  x: chex.Array,
  y: chex.Array,
  *,
  alpha: chex.Numeric | None = None,
  beta: chex.Numeric | None = None,
  policy: policies.MixingPolicy | None = None,
  log_partition: LogPartition = likelihood.log_partition,
  num_nodes: int = NODES,
  evaluations_at_once: int = 16_384,
) -> chex.Array:
  """Mixup's expected loss, eq. (1) of Zhang et al.: all n^2 pairs, no sampling.

  (1/n^2) sum_ij E_lam[h(f(x_ij)) - (gamma y_i + (1 - gamma) y_j) f(x_ij)] at
  x_ij = lam x_i + (1 - lam) x_j, gamma the policy's label weight. The
  expectation is a Gauss-Jacobi sum: exact for polynomials of degree up to 2
  num_nodes - 2 in lam, geometrically accurate for smooth networks; across the
  kinks of ReLU the error falls with the square of num_nodes.

  Costs n^2 num_nodes evaluations. Pairs go through in blocks, and are computed
  again on the way back, so memory does not grow with n^2.

  Args:
    logit_fn: maps [n, ...] to logits [n] or [n, K].
    x: [n, ...] floats.
    y: labels, see `standard_loss`.
    alpha: concentration of Mixup's Beta law; or give a policy.
    beta: its second concentration; None means alpha.
    policy: any policy of `jaxmix.policies`, instead of alpha.
    log_partition: h of one example's logits.
    num_nodes: of the quadrature, >= 1; 64 bring a trained tanh network to
      1e-10, where 32 leave 1e-7.
    evaluations_at_once: in a block, >= 1; its memory is that of one pass of
      logit_fn over so many inputs.

  Returns:
    Scalar, in nats.

  Raises:
    TypeError: as `standard_loss`.
    ValueError: as `standard_loss`, or unless one of alpha and policy is given.

  Example:
    >>> x = y = jnp.array([-1.0, 1.0])
    >>> square = dict(log_partition=lambda f: 0.5 * f**2)  # least squares
    >>> loss = jaxmix.theory.mixup_loss(lambda x: x, x, y, alpha=1.0, **square)
    >>> round(float(loss), 4)  # half the pairs -1/2, half -E[(2 lam - 1)^2] / 2
    -0.3333
  """
  x, y, _ = likelihood.check_data(logit_fn, x, y, log_partition)
  checks.count("num_nodes", num_nodes)
  checks.count("evaluations_at_once", evaluations_at_once)
  lam, weight, prob = quadrature(as_policy(alpha, beta, policy), num_nodes)
  # Where alpha is known, found in float64 and rounded once.
  lam, weight, prob = (
    jnp.asarray(v).astype(x.dtype) for v in (lam, weight, prob)
  )
  logits_of = likelihood.single(logit_fn)

  def pair(i, j):
    def at_node(lam, weight):
      logits = logits_of(lam * x[i] + (1.0 - lam) * x[j])
      own = likelihood.label_dot(logits, y[i])
      other = likelihood.label_dot(logits, y[j])
      weight = weight.astype(logits.dtype)
      return log_partition(logits) - weight * own - (1.0 - weight) * other

    values = jax.vmap(at_node)(lam, weight)
    return jnp.sum(prob.astype(values.dtype) * values)

  # A pair takes all nodes at once.
  return _mean_over_pairs(pair, len(x), evaluations_at_once // len(prob))


def regularizers(
  logit_fn: LogitFn,
  x: chex.Array,
  y: chex.Array,
  *,
  alpha: chex.Numeric | None = None,
  beta: chex.Numeric | None = None,
  policy: policies.MixingPolicy | None = None,
  log_partition: LogPartition = likelihood.log_partition,
  examples_at_once: int = 256,
) -> Regularizers:
  """R1, R2, R3 of Lemma 3.1 of Zhang et al., for any number of classes.

  With m_j = E_D~[(1 - lam)^j] and r drawn from x,
    R1 = m_1 mean_i (h'(f_i) - y_i) df_i E_r[r - x_i]
    R2 = m_2/2 mean_i E_r h''(f_i)[df_i (r - x_i), df_i (r - x_i)]
    R3 = m_2/2 mean_i (h'(f_i) - y_i) E_r d2f_i[r - x_i, r - x_i].
  E_r (r - x_i)(r - x_i)' is the covariance of x, the same for every i, plus
  the square of xbar - x_i. So instead of all n^2 pairs, each example takes
  min(n, d) + 1 directions, by forward mode over forward mode, and the result is
  exact.

  Args:
    logit_fn: maps [n, ...] to logits [n] or [n, K].
    x: [n, ...] floats.
    y: labels, see `standard_loss`.
    alpha: concentration of Mixup's Beta law; or give a policy.
    beta: its second concentration; None means alpha.
    policy: any policy of `jaxmix.policies`, instead of alpha.
    log_partition: h of one example's logits.
    examples_at_once: passes of the network side by side, each for one example
      and one direction, >= 1; the memory grows with it.

  Returns:
    The three scalars, in nats.

  Raises:
    TypeError: as `standard_loss`.
    ValueError: as `mixup_loss`.

  Example:
    >>> x = y = jnp.array([-1.0, 1.0])
    >>> square = dict(log_partition=lambda f: 0.5 * f**2)  # least squares
    >>> logit_fn = lambda x: x
    >>> found = jaxmix.theory.regularizers(logit_fn, x, y, alpha=1.0, **square)
    >>> bool(found.r1 == 0), round(float(found.r2), 4)  # (4 + 0) / 24
    (True, 0.1667)
  """
  x, y, (n, *_) = likelihood.check_data(logit_fn, x, y, log_partition)
  checks.count("examples_at_once", examples_at_once)
  policy = as_policy(alpha, beta, policy)
  logits_of = likelihood.single(logit_fn)
  mean = jnp.mean(x, axis=0)
  spread = covariance_factor(x)
  # So many directions of an example side by side: they share its own pass.
  count = len(spread)
  at_once = min(count + 1, examples_at_once)
  # Directions of length 0 fill the last block, and add nothing.
  spread = jnp.pad(
    spread, [(0, -(count + 1) % at_once)] + [(0, 0)] * (x.ndim - 1)
  )

  along = functools.partial(directional_terms, logits_of, log_partition)

  def one(example):
    point, label = example
    # Towards the mean first, whose first order is R1's.
    directions = jnp.concatenate([(mean - point)[None], spread])
    terms = jax.lax.map(
      lambda direction: along(point, label, direction),
      directions,
      batch_size=at_once,
    )
    return jnp.append(terms[0, 0], jnp.sum(terms[:, 1:], axis=0))

  # Each example again on the way back, rather than all that it computed kept.
  terms = jax.lax.map(
    jax.checkpoint(one),
    (x, y),
    batch_size=min(max(1, examples_at_once // at_once), n),
  )
  r1, r2, r3 = jnp.mean(terms, axis=0)
  _, first, second = (
    jnp.asarray(m).astype(r1.dtype) for m in shift_moments(policy, 2)
  )
  return Regularizers(first * r1, 0.5 * second * r2, 0.5 * second * r3)


def quadratic_mixup_loss(
  logit_fn: LogitFn,
  x: chex.Array,
  y: chex.Array,
  *,
  alpha: chex.Numeric | None = None,
  beta: chex.Numeric | None = None,
  policy: policies.MixingPolicy | None = None,
  log_partition: LogPartition = likelihood.log_partition,
  examples_at_once: int = 256,
) -> chex.Array:
  """The quadratic approximation, eq. (3): standard loss + R1 + R2 + R3.

  Args:
    logit_fn: maps [n, ...] to logits [n] or [n, K].
    x: [n, ...] floats.
    y: labels, see `standard_loss`.
    alpha: concentration of Mixup's Beta law; or give a policy.
    beta: its second concentration; None means alpha.
    policy: any policy of `jaxmix.policies`, instead of alpha.
    log_partition: h of one example's logits.
    examples_at_once: see `regularizers`.

  Returns:
    Scalar, in nats.

  Raises:
    TypeError: as `standard_loss`.
    ValueError: as `mixup_loss`.

  Example:
    >>> x = y = jnp.array([-1.0, 1.0])
    >>> options = dict(alpha=1.0, log_partition=lambda f: 0.5 * f**2)
    >>> loss = jaxmix.theory.quadratic_mixup_loss(lambda x: x, x, y, **options)
    >>> round(float(loss), 4)  # -1/2 + 1/6, exact for least squares
    -0.3333
  """
  terms = regularizers(
    logit_fn,
    x,
    y,
    alpha=alpha,
    beta=beta,
    policy=policy,
    log_partition=log_partition,
    examples_at_once=examples_at_once,
  )
  standard = standard_loss(logit_fn, x, y, log_partition=log_partition)
  return standard + terms.r1 + terms.r2 + terms.r3


def taylor_mixup_loss(
  logit_fn: LogitFn,
  x: chex.Array,
  y: chex.Array,
  *,
  alpha: chex.Numeric | None = None,
  beta: chex.Numeric | None = None,
  policy: policies.MixingPolicy | None = None,
  order: int = 2,
  log_partition: LogPartition = likelihood.log_partition,
  pairs_at_once: int = 4_096,
) -> chex.Array:
  """The expansion of order J, MixupE's Theorem 1 without its remainder.

  mean_ij sum_{j <= J} E_D~[(1 - lam)^j] / j! psi_ij^(j)(0). The theorem leaves
  powers of a inside its Delta_i, and prints no expectation over the partner;
  this is the Taylor polynomial of the whole, equal to it up to o(a^J), and for
  J = 2 to `quadratic_mixup_loss`. It converges to `mixup_loss` as J grows where
  every psi is analytic on a disc that holds [0, 1]: smooth networks of moderate
  logits. At ReLU's kinks the derivatives say nothing of the other side, and it
  converges to something else.

  Costs n^2 passes of J derivatives, see `taylor.derivatives`.

  Args:
    logit_fn: maps [n, ...] to logits [n] or [n, K].
    x: [n, ...] floats.
    y: labels, see `standard_loss`.
    alpha: concentration of Mixup's Beta law; or give a policy.
    beta: its second concentration; None means alpha.
    policy: any policy of `jaxmix.policies`, instead of alpha.
    order: J >= 0.
    log_partition: h of one example's logits.
    pairs_at_once: in a block, >= 1; its memory is that of `order` derivatives
      over so many inputs.

  Returns:
    Scalar, in nats.

  Raises:
    TypeError: as `standard_loss`.
    ValueError: as `mixup_loss`, or if order < 0.

  Example:
    >>> x = y = jnp.array([-1.0, 1.0])
    >>> square = dict(alpha=1.0, log_partition=lambda f: 0.5 * f**2)
    >>> taylor = jaxmix.theory.taylor_mixup_loss
    >>> loss = lambda j: taylor(lambda x: x, x, y, order=j, **square)
    >>> [round(float(loss(order)), 4) for order in (0, 1, 2)]
    [-0.5, -0.5, -0.3333]
  """
  x, y, (n, *_) = likelihood.check_data(logit_fn, x, y, log_partition)
  checks.count("order", order, 0)
  checks.count("pairs_at_once", pairs_at_once)
  moments = shift_moments(as_policy(alpha, beta, policy), order)
  loss = likelihood.loss_of_one(logit_fn, log_partition)

  def pair(i, j):
    # Each partner by itself: from order 3 on the covariance of x, which spares
    # `regularizers` the pairs, does not tell all.
    psi = derivatives(lambda point: loss(point, y[i]), x[i], x[j] - x[i], order)
    total = jnp.zeros_like(psi[0])
    factorial = 1.0
    for k, derivative in enumerate(psi):
      factorial *= max(k, 1)
      total += derivative * jnp.asarray(moments[k] / factorial).astype(
        total.dtype
      )
    return total

  return _mean_over_pairs(pair, n, pairs_at_once)


def directional_terms(
  logits_of: LogitFn,
  log_partition: LogPartition,
  point: chex.Array,
  label: chex.Array,
  direction: chex.Array,
) -> chex.Array:
  """First order of one example's loss, and the two parts of the second.

  Args:
    logits_of: maps one example to its logits, see `likelihood.single`.
    log_partition: h of them.
    point: one example.
    label: its label.
    direction: shaped like it.

  Returns:
    [3]: (h' - y) df v, h''[df v, df v] and (h' - y) d2f[v, v].
  """
  # Forward over forward: d2f along one direction, and no d x d Hessian.
  logits, first, second = derivatives(logits_of, point, direction, 2)
  # y f is linear: h's curvature is the loss's.
  loss = lambda f: likelihood.loss_of_logits(f, label, log_partition)
  _, slope, curvature = derivatives(loss, logits, first, 2)
  _, bend = jax.jvp(loss, (logits,), (second,))
  return jnp.stack([slope, curvature, bend])


def covariance_factor(x: chex.Array) -> chex.Array:
  """[min(n, d), ...] directions whose squares add up to the covariance.

  Args:
    x: [n, ...] floats.

  Returns:
    The directions.
  """
  n, shape = len(x), x.shape[1:]
  centred = (x - jnp.mean(x, axis=0, keepdims=True)).reshape(n, -1)
  # R'R = X'X, so that R's min(n, d) rows do for n.
  if n > centred.shape[1]:
    # The decomposition knows no half precision.
    wide = centred.astype(np.promote_types(centred.dtype, np.float32))
    centred = jnp.linalg.qr(wide, mode="r").astype(centred.dtype)
  return (centred / n**0.5).reshape(-1, *shape)


def _mean_over_pairs(value, n: int, at_once: int) -> chex.Array:
  """Mean of value(i, j) over all pairs, some of them at once."""
  if at_once < 1:
    at_once = 1
  # Memory is then one block's: the way back computes pairs again.
  value = jax.checkpoint(value)

  def row(i):
    terms = jax.lax.map(
      lambda j: value(i, j), jnp.arange(n), batch_size=min(n, at_once)
    )
    return jnp.mean(terms)

  # Short rows go several at once. The mean of rows' means also loses less in
  # float32 than one sum of n^2 terms.
  rows_at_once = max(1, min(n, at_once // n))
  return jnp.mean(jax.lax.map(row, jnp.arange(n), batch_size=rows_at_once))
