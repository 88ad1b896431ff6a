"""How gradients lie: towards the data's mean, or along the example itself.

A cosine with a vector that is zero (a dead ReLU's gradient, an example at the
mean) is 0, and so is its gradient.
"""

from __future__ import annotations

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxmix import checks
from jaxmix.holding import differentiate
from jaxmix.theory import arguments, likelihood
from jaxmix.theory.likelihood import LogitFn, LogPartition

# Gradients of so many logits are in memory at once.
_CLASSES = 16


class LogitFactors(NamedTuple):
  """|f_k(x_i)| = |df_k(x_i)| |x_i| R_ik of a homogeneous network.

  Attributes:
    logit: |f_k(x_i)|, [n] or [n, K].
    slope: |df_k(x_i)|, likewise.
    norm: |x_i|, [n].
    cosine: R_ik, as `cosines`.
  """

  logit: chex.Array
  slope: chex.Array
  norm: chex.Array
  cosine: chex.Array


def direction_coefficients(
  logit_fn: LogitFn,
  x: chex.Array,
  y: chex.Array,
  *,
  input_mean: chex.Array | None = None,
  log_partition: LogPartition = likelihood.log_partition,
  examples_at_once: int = 256,
) -> chex.Array:
  """alpha_{k,i} of MixupE's eq. (3): where negative, Mixup sharpens f_k at x_i.

  alpha_{k,i} = (g(f(x_i)) - y_i)_k cos(df_k(x_i), xbar - x_i), the sign and
  share of class k in q_i = sum_k alpha_{k,i} |df_k(x_i)| |xbar - x_i|.

  Args:
    logit_fn: maps [n, ...] to logits [n] or [n, K].
    x: [n, ...] floats.
    y: labels, see `standard_loss`.
    input_mean: xbar, shaped like one example; None means the mean of x.
    log_partition: h of one example's logits, whose h' is then g.
    examples_at_once: in a block, >= 1; the memory grows with it.

  Returns:
    [n] or [n, K], as the logits; 0 where a gradient or xbar - x_i is zero.

  Raises:
    TypeError: as `standard_loss`.
    ValueError: as `standard_loss`.

  Example:
    >>> logit_fn, y = lambda x: x[:, 0] - x[:, 1], jnp.array([1, 0])
    >>> found = jaxmix.theory.direction_coefficients(logit_fn, jnp.eye(2), y)
    >>> print(np.asarray(found).round(4))  # 1 - sigmoid(1), cosines 1
    [0.2689 0.2689]
  """
  x, y, logits_of, input_mean = _towards(
    logit_fn, x, y, input_mean, log_partition, examples_at_once
  )

  def one(example):
    point, label = example
    logits = logits_of(point)
    pull = likelihood.residual(logits, label, log_partition)
    towards = input_mean - point
    return pull * _cosines_of_gradients(logits_of, point, towards)

  return jax.lax.map(one, (x, y), batch_size=min(examples_at_once, len(x)))


def direction_signs(
  logit_fn: LogitFn,
  x: chex.Array,
  y: chex.Array,
  *,
  input_mean: chex.Array | None = None,
  log_partition: LogPartition = likelihood.log_partition,
  examples_at_once: int = 256,
) -> chex.Array:
  """The signs of alpha_{k,i}, for one forward-mode pass whatever K is.

  alpha_{k,i} has the sign of (g(f(x_i)) - y_i)_k df_k(x_i) (xbar - x_i), and
  one derivative along xbar - x_i has all classes' at once; only the lengths of
  df_k, which `direction_coefficients` divides by, cost a backward pass a class.

  Args:
    logit_fn: maps [n, ...] to logits [n] or [n, K].
    x: [n, ...] floats.
    y: labels, see `standard_loss`.
    input_mean: xbar, shaped like one example; None means the mean of x.
    log_partition: h of one example's logits, whose h' is then g.
    examples_at_once: in a block, >= 1; the memory grows with it.

  Returns:
    [n] or [n, K], as the logits: -1, 0 or 1.

  Raises:
    TypeError: as `standard_loss`.
    ValueError: as `standard_loss`.

  Example:
    >>> logit_fn, y = lambda x: x[:, 0] - x[:, 1], jnp.array([1, 1])
    >>> found = jaxmix.theory.direction_signs(logit_fn, jnp.eye(2), y)
    >>> print(np.asarray(found))  # right at the first, wrong at the second
    [ 1. -1.]
  """
  x, y, logits_of, input_mean = _towards(
    logit_fn, x, y, input_mean, log_partition, examples_at_once
  )

  def one(example):
    point, label = example
    logits, moved = differentiate(
      lambda: jax.jvp(logits_of, (point,), (input_mean - point,))
    )
    pull = likelihood.residual(logits, label, log_partition)
    # Of each factor by itself: their product may underflow.
    return jnp.sign(pull) * jnp.sign(moved)

  return jax.lax.map(one, (x, y), batch_size=min(examples_at_once, len(x)))


def cosines(
  logit_fn: LogitFn, x: chex.Array, *, examples_at_once: int = 256
) -> chex.Array:
  """R_i = |cos(df(x_i), x_i)| of Theorems 3.1 and 3.3 of Zhang et al. (2021).

  Args:
    logit_fn: maps [n, ...] to logits [n] or [n, K].
    x: [n, ...] floats, centred (Lemma 3.1 moves towards the mean, the theorems
      take it for the origin).
    examples_at_once: in a block, >= 1; the memory grows with it.

  Returns:
    [n] or [n, K], as the logits, in [0, 1]; 0 where a gradient or x_i is zero.

  Raises:
    TypeError: if x is not floating point.
    ValueError: if the logits are neither [n] nor [n, K].

  Example:
    >>> logit_fn = lambda x: x @ jnp.array([3.0, 4.0])
    >>> print(np.asarray(jaxmix.theory.cosines(logit_fn, jnp.eye(2))).round(4))
    [0.6 0.8]
  """
  x, _, (n, *_) = likelihood.check_data(logit_fn, x)
  checks.count("examples_at_once", examples_at_once)
  logits_of = likelihood.single(logit_fn)
  one = lambda point: jnp.abs(_cosines_of_gradients(logits_of, point, point))
  return jax.lax.map(one, x, batch_size=min(examples_at_once, n))


def loss_cosines(
  logit_fn: LogitFn,
  x: chex.Array,
  y: chex.Array,
  *,
  log_partition: LogPartition = likelihood.log_partition,
  examples_at_once: int = 256,
) -> chex.Array:
  """cos(dl(x_i), -x_i): how far the loss falls outwards, any number of classes.

  dl(x_i) = (g(f_i) - y_i)' df(x_i). For a binary example classified right
  by a homogeneous network (theta in the Theta of Zhang et al.) it is R_i; it is
  negative where the loss rises outwards. Hard labels, integers or one-hot, have
  theirs at any margin, where dl itself rounds to zero.

  Args:
    logit_fn: maps [n, ...] to logits [n] or [n, K].
    x: [n, ...] floats, centred.
    y: labels, see `standard_loss`.
    log_partition: h of one example's logits, whose h' is then g.
    examples_at_once: in a block, >= 1; the memory grows with it.

  Returns:
    [n], in [-1, 1]; 0 where the gradient or x_i is zero.

  Raises:
    TypeError: as `standard_loss`.
    ValueError: as `standard_loss`.

  Example:
    >>> logit_fn, y = lambda x: x @ jnp.array([3.0, 4.0]), jnp.array([1, 0])
    >>> found = jaxmix.theory.loss_cosines(logit_fn, jnp.eye(2), y)
    >>> print(np.asarray(found).round(4))  # the second classified wrong
    [ 0.6 -0.8]
  """
  x, y, (n, *_) = likelihood.check_data(logit_fn, x, y, log_partition)
  checks.count("examples_at_once", examples_at_once)
  logits_of = likelihood.single(logit_fn)

  def one(example):
    point, label = example
    logits, pull_back = jax.vjp(logits_of, point)
    # Of dl the direction alone is asked for: its length underflows first.
    pull = likelihood.residual_direction(logits, label, log_partition)
    (gradient,) = pull_back(pull)
    return _cosine(gradient, -point)

  return jax.lax.map(one, (x, y), batch_size=min(examples_at_once, n))


def logit_factors(
  logit_fn: LogitFn, x: chex.Array, *, examples_at_once: int = 256
) -> LogitFactors:
  """The factors of a logit's size, |f| = |df| |x| R (Zhang et al., B.1).

  The identity holds for networks with f = df x, such as bias-free ReLU. From it
  the paper expects R_i to grow once all examples are right, as |f| does then;
  which of |df| and R_i grows is not said by it, and can be seen here.

  Args:
    logit_fn: maps [n, ...] to logits [n] or [n, K].
    x: [n, ...] floats, centred.
    examples_at_once: in a block, >= 1; the memory grows with it.

  Returns:
    The factors.

  Raises:
    TypeError: if x is not floating point.
    ValueError: if the logits are neither [n] nor [n, K].

  Example:
    >>> logit_fn = lambda x: x @ jnp.array([3.0, 4.0])
    >>> found = jaxmix.theory.logit_factors(logit_fn, 2.0 * jnp.eye(2))
    >>> print(*(np.asarray(factor).round(2) for factor in found))
    [6. 8.] [5. 5.] [2. 2.] [0.6 0.8]
  """
  x, _, (n, *_) = likelihood.check_data(logit_fn, x)
  checks.count("examples_at_once", examples_at_once)
  logits_of = likelihood.single(logit_fn)

  def one(point):
    logits, pull_back = jax.vjp(logits_of, point)

    def factors(cotangent):
      (gradient,) = pull_back(cotangent)
      return length(gradient), jnp.abs(_cosine(gradient, point))

    if logits.ndim == 0:
      slope, cosine = factors(jnp.ones_like(logits))
    else:
      classes = jnp.eye(len(logits), dtype=logits.dtype)
      at_once = min(len(logits), _CLASSES)
      slope, cosine = jax.lax.map(factors, classes, batch_size=at_once)
    return LogitFactors(jnp.abs(logits), slope, length(point), cosine)

  return jax.lax.map(one, x, batch_size=min(examples_at_once, n))


def length(vector: chex.Array) -> chex.Array:
  """|v| over all axes, with the subgradient 0 at v = 0, where jnp's is nan.

  Args:
    vector: any shape, floats.

  Returns:
    Scalar.

  Example:
    >>> length = jaxmix.theory.directions.length
    >>> print(length(jnp.array([3.0, 4.0])), jax.grad(length)(jnp.zeros(2)))
    5.0 [0. 0.]
  """
  return root(jnp.sum(jnp.square(vector)).astype(vector.dtype))


def root(square: chex.Array) -> chex.Array:
  """sqrt, with the subgradient 0 at 0, where jnp's slope is inf.

  Args:
    square: any shape, floats >= 0.

  Returns:
    Shaped like it.

  Example:
    >>> root = jaxmix.theory.directions.root
    >>> print(root(jnp.array(4.0)), jax.grad(root)(0.0))
    2.0 0.0
  """
  # Two wheres: the square root's slope at 0 is inf even if not chosen.
  safe = jnp.where(square > 0.0, square, 1.0)
  return jnp.where(square > 0.0, jnp.sqrt(safe), 0.0)


def _towards(
  logit_fn: LogitFn,
  x: chex.Array,
  y: chex.Array,
  input_mean: chex.Array | None,
  log_partition: LogPartition,
  examples_at_once: int,
) -> tuple[chex.Array, chex.Array, LogitFn, chex.Array]:
  """(x, y, logits of one example, xbar), checked."""
  x, y, _ = likelihood.check_data(logit_fn, x, y, log_partition)
  checks.count("examples_at_once", examples_at_once)
  if input_mean is None:
    input_mean = jnp.mean(x, axis=0)
  else:
    example = x.shape[1:]
    input_mean = arguments.shaped(
      "input_mean", input_mean, example, "one example's shape", x.dtype
    )
  return x, y, likelihood.single(logit_fn), input_mean


def _cosines_of_gradients(
  logits_of: LogitFn, point: chex.Array, direction: chex.Array
) -> chex.Array:
  """cos(df_k(point), direction) for every logit, some classes at once."""
  # One forward pass; then a backward pass a class, however large d is.
  logits, pull_back = jax.vjp(logits_of, point)
  one = lambda cotangent: _cosine(pull_back(cotangent)[0], direction)
  if logits.ndim == 0:
    return one(jnp.ones_like(logits))
  classes = jnp.eye(len(logits), dtype=logits.dtype)
  return jax.lax.map(one, classes, batch_size=min(len(logits), _CLASSES))


def _cosine(gradient: chex.Array, direction: chex.Array) -> chex.Array:
  gradient = gradient.reshape(-1)
  direction = direction.reshape(-1).astype(gradient.dtype)
  both = length(gradient) * length(direction)
  # Two wheres: 0 / 0 is nan in the gradient even where it is not chosen.
  safe = jnp.where(both > 0.0, both, 1.0)
  return jnp.where(both > 0.0, gradient @ direction / safe, 0.0)
