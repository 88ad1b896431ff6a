"""The losses of the theory: l = h(f) - y f, eq. (2) of Zhang et al. (2021).

h is the log-partition function: log(1 + exp f) gives the logistic loss,
logsumexp softmax cross-entropy, f^2 / 2 least squares (less y^2 / 2). Functions
here act on one example: f is a scalar or [K].

Where the model is sure of a label, h(f) and y f nearly cancel, and in float32
nothing is left from a margin of some 15 nats on, not even the direction of the
residual g(f) - y. So under the two default h a hard label's loss is log(1 +
exp(-margin)), and its residual one factor times softmax over the other classes
less the one-hot.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxmix import checks
from jaxmix.theory import arguments

LogitFn = Callable[[chex.Array], chex.Array]
LogPartition = Callable[[chex.Array], chex.Array]


def log_partition(logits: chex.Array) -> chex.Array:
  """log(1 + exp f) of a scalar, logsumexp of a vector.

  Args:
    logits: f, a scalar or [K].

  Returns:
    Scalar.

  Example:
    >>> log_partition = jaxmix.theory.likelihood.log_partition
    >>> round(float(log_partition(jnp.zeros(()))), 4)  # log 2
    0.6931
    >>> round(float(log_partition(jnp.zeros(4))), 4)  # log 4
    1.3863
  """
  if logits.ndim == 0:
    return jax.nn.softplus(logits)
  return jax.nn.logsumexp(logits)


def label_dot(logits: chex.Array, label: chex.Array) -> chex.Array:
  """y f of one example: y a number beside a scalar, else a class or [K].

  Args:
    logits: f, a scalar or [K].
    label: y, a number beside a scalar f; an integer class or [K] weights
      beside [K].

  Returns:
    Scalar.

  Example:
    >>> logits, half = jnp.array([1.0, 3.0]), jnp.array([0.5, 0.5])
    >>> label_dot = jaxmix.theory.likelihood.label_dot
    >>> float(label_dot(logits, 1)), float(label_dot(logits, half))
    (3.0, 2.0)
  """
  # No one-hot: this runs for each of n^2 pairs.
  if logits.ndim == 1 and jnp.ndim(label) == 0:
    return jnp.take(logits, label, axis=0)
  return jnp.sum(jnp.asarray(label).astype(logits.dtype) * logits)


def loss_of_logits(
  logits: chex.Array,
  label: chex.Array,
  log_partition: LogPartition = log_partition,
) -> chex.Array:
  """l = h(f) - y f, for hard labels without cancellation.

  Args:
    logits: f, a scalar or [K].
    label: y, see `label_dot`.
    log_partition: h.

  Returns:
    Scalar.

  Example:
    >>> loss = jaxmix.theory.likelihood.loss_of_logits
    >>> print(loss(jnp.array([30.0, 0.0]), 0))  # log(1 + exp(-30)), not 0
    9.357623e-14
  """
  label = jnp.asarray(label)
  if log_partition is not _DEFAULT:
    return log_partition(logits) - label_dot(logits, label)
  if logits.ndim == 0:
    y = label.astype(logits.dtype)
    # softplus(f) - f = softplus(-f).
    return (1.0 - y) * jax.nn.softplus(logits) + y * jax.nn.softplus(-logits)
  chosen, hard = _hard(label, len(logits))
  others = jax.nn.logsumexp(jnp.where(chosen, -jnp.inf, logits))
  near = jax.nn.softplus(others - label_dot(logits, label))
  if label.ndim == 0:
    return near
  plain = log_partition(logits) - label_dot(logits, label)
  return jnp.where(hard, near, plain)


def residual(
  logits: chex.Array,
  label: chex.Array,
  log_partition: LogPartition = log_partition,
) -> chex.Array:
  """h'(f) - y, under the default h each entry to the precision of its own size.

  Args:
    logits: f, a scalar or [K].
    label: y, see `label_dot`.
    log_partition: h.

  Returns:
    Like the logits.

  Example:
    >>> residual = jaxmix.theory.likelihood.residual
    >>> print(residual(jnp.array([30.0, 0.0]), 0))
    [-9.357623e-14  9.357623e-14]
  """
  return jax.grad(loss_of_logits)(logits, label, log_partition)


def residual_direction(
  logits: chex.Array,
  label: chex.Array,
  log_partition: LogPartition = log_partition,
) -> chex.Array:
  """The residual up to a positive factor, at any margin.

  For a hard label softmax with the label's logit at -inf, less the one-hot (or
  1 - 2 y beside a scalar), which does not underflow where the residual does.
  Under another h it is the residual itself.

  Args:
    logits: f, a scalar or [K].
    label: y, see `label_dot`.
    log_partition: h.

  Returns:
    Like the logits.

  Example:
    >>> direction = jaxmix.theory.likelihood.residual_direction
    >>> print(direction(jnp.array([900.0, 0.0, 0.0]), 0))
    [-1.   0.5  0.5]
  """
  label = jnp.asarray(label)
  plain = residual(logits, label, log_partition)
  if log_partition is not _DEFAULT:
    return plain
  if logits.ndim == 0:
    y = label.astype(logits.dtype)
    return jnp.where((y == 0.0) | (y == 1.0), 1.0 - 2.0 * y, plain)
  chosen, hard = _hard(label, len(logits))
  others = jax.nn.softmax(jnp.where(chosen, -jnp.inf, logits))
  return jnp.where(hard, others - chosen.astype(logits.dtype), plain)


def curvature(
  logits: chex.Array, log_partition: LogPartition = log_partition
) -> chex.Array:
  """h''(f) of a scalar f, to the precision of its own size.

  Args:
    logits: f, a scalar.
    log_partition: h.

  Returns:
    Scalar.

  Example:
    >>> found = jaxmix.theory.likelihood.curvature(jnp.array(30.0))
    >>> f"{float(found):.3g}"  # exp(-30), not (1 - 1) 1
    '9.36e-14'
  """
  if log_partition is _DEFAULT:
    # Not prob (1 - prob), which rounds to 0 where the model is sure.
    return jax.nn.sigmoid(logits) * jax.nn.sigmoid(-logits)
  return jax.grad(jax.grad(log_partition))(logits)


def single(logit_fn: LogitFn) -> LogitFn:
  """logit_fn of one example, in float32 or wider: [...] to a scalar or [K].

  Args:
    logit_fn: maps [n, ...] to [n] or [n, K].

  Returns:
    The function of one example.

  Example:
    >>> one = jaxmix.theory.likelihood.single(lambda x: x.astype(jnp.bfloat16))
    >>> one(jnp.zeros(3))
    Array([0., 0., 0.], dtype=float32)
  """

  def one(x):
    # A batch of one, which vmap makes a batch again.
    logits = logit_fn(x[None])[0]
    return logits.astype(np.promote_types(logits.dtype, np.float32))

  return one


def loss_of_one(
  logit_fn: LogitFn, log_partition: LogPartition = log_partition
) -> Callable[[chex.Array, chex.Array], chex.Array]:
  """l(x_i, y_i) = h(f(x_i)) - y_i f(x_i) of one example.

  Args:
    logit_fn: maps [n, ...] to [n] or [n, K].
    log_partition: h of one example's logits.

  Returns:
    The function of one example and its label.

  Example:
    >>> logit_fn = lambda x: x @ jnp.ones((3, 4))
    >>> loss = jaxmix.theory.likelihood.loss_of_one(logit_fn)
    >>> round(float(loss(jnp.ones(3), 2)), 4)  # log 4
    1.3863
  """
  logits_of = single(logit_fn)

  def loss(point, label):
    return loss_of_logits(logits_of(point), label, log_partition)

  return loss


def check_data(
  logit_fn: LogitFn,
  x: chex.Array,
  y: chex.Array | None = None,
  log_partition: LogPartition = log_partition,
) -> tuple[chex.Array, Any, tuple[int, ...]]:
  """Returns (x, y, the logits' shape), after checking them.

  Values are checked where they are known, outside jit: the range of labels, and
  whether logit_fn couples examples, see `arguments.apart`.

  Args:
    logit_fn: maps [n, ...] to [n] or [n, K].
    x: [n, ...] floats.
    y: [n] labels, [n, K] weights, or None.
    log_partition: h, which says what labels may be.

  Returns:
    x and y as arrays (y may be None), and (n,) or (n, K).

  Raises:
    TypeError: if x is not floating point, or y is neither integers nor floats,
      or float classes beside [n, K] logits.
    ValueError: if shapes do not fit, there is no example, a label is out of
      range, or logit_fn does not treat examples apart.

  Example:
    >>> x, y = jnp.zeros((5, 3)), [0, 1, 0, 1, 0]
    >>> check_data = jaxmix.theory.likelihood.check_data
    >>> check_data(lambda x: x[:, :2], x, y)[2]
    (5, 2)
  """
  x = arguments.listed(x)
  checks.floating("x", x)
  n = checks.batch_size(x=x)
  if 0 in jnp.shape(x):
    raise ValueError(
      f"x must hold at least one example, got shape {jnp.shape(x)}."
    )
  x = jnp.asarray(x)
  shape = jax.eval_shape(logit_fn, x).shape
  if len(shape) not in (1, 2) or shape[0] != n or shape[1:] == (1,):
    raise ValueError(
      f"logit_fn must map x [n, ...] to logits [n] or [n, K] with n = {n} and "
      f"K >= 2, got shape {shape}; for K = 1, return logits[:, 0]."
    )
  arguments.apart(logit_fn, x)
  if y is not None:
    y = arguments.listed(y)
    _check_labels(y, shape, log_partition)
    y = jnp.asarray(y)
  return x, y, shape


def _check_labels(y, shape, log_partition):
  checks.label_array("y", y)
  if jnp.shape(y) not in (shape[:1], shape):
    raise ValueError(
      f"y must be [n] = ({shape[0]},), or shaped like the logits, {shape}; got "
      f"{jnp.shape(y)}."
    )
  integers = jnp.issubdtype(jnp.result_type(y), jnp.integer)
  classes = len(shape) == 2 and jnp.ndim(y) == 1
  if classes and not integers:
    raise TypeError(
      f"y must be integer classes beside logits {shape}, got "
      f"{jnp.result_type(y)}; convert with y.astype(int)."
    )
  values = arguments.known(y)
  # Another h has labels of its own kind.
  if values is None or (log_partition is not _DEFAULT and not classes):
    return
  high = shape[1] - 1 if classes else 1
  wrong = ~((values >= 0) & (values <= high))
  if wrong.any():
    hint = "; map -1 and 1 to 0 and 1, (y + 1) / 2" if high == 1 else ""
    raise ValueError(
      f"y must lie in [0, {high}] beside logits {shape}, got "
      f"{values[wrong].flat[0]}{hint}."
    )


def _hard(label, num_classes):
  """(which class is the label, none if it is soft; whether it is hard)."""
  if label.ndim == 0:
    classes = np.arange(num_classes, dtype=np.int32)
    return classes == label.astype(jnp.int32), True
  ones, others = (
    jnp.sum(which.astype(jnp.int32))
    for which in (label == 1, (label != 0) & (label != 1))
  )
  hard = (ones == 1) & (others == 0)
  return (label == 1) & hard, hard


# Arguments of the same name hide the function.
_DEFAULT = log_partition
