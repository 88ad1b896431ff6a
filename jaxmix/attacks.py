"""Gradient attacks, to measure robustness: FGSM and PGD (l_inf and l_2).

Both maximise the loss of a fixed network around each input. Run the network in
evaluation mode: an `apply_fn` that couples examples (batch norm in training
mode) would let one example's attack move another's.
"""

from __future__ import annotations

from collections.abc import Callable
import math

import chex
import jax
import jax.numpy as jnp

from jaxmix import checks, losses, meshes
from jaxmix.losses import LossFn

Bounds = tuple[chex.Numeric | chex.Array, chex.Numeric | chex.Array]
NORMS = ("linf", "l2")


def fgsm(
  apply_fn: Callable[[chex.Array], chex.Array],
  inputs: chex.Array,
  labels: chex.Array,
  *,
  epsilon: chex.Numeric,
  loss_fn: LossFn | None = None,
  bounds: Bounds | None = None,
) -> chex.Array:
  """Fast gradient sign method: x + epsilon * sign(dl/dx).

  Goodfellow et al., 2015, https://arxiv.org/abs/1412.6572.

  Args:
    apply_fn: maps inputs [B, ...] to logits.
    inputs: [B, ...] floats.
    labels: whatever `loss_fn` takes beside logits.
    epsilon: radius in the inputs' own units (after normalisation, if they are
      normalised), >= 0; may be traced.
    loss_fn: (logits, labels) -> [B]. None is softmax cross-entropy; for integer
      labels in the form log((1 - p) / p), p that of the label: its gradient has
      the same direction, also where p rounds to 1.
    bounds: (low, high) of valid inputs, scalars or broadcastable; None:
      unbounded.

  Returns:
    Attacked inputs, shape and dtype kept.

  Raises:
    TypeError: if inputs are not floating point.
    ValueError: if batch sizes differ or epsilon is a number < 0.

  Example:
    >>> x, y = jnp.array([[1.0, 0.0]]), jnp.array([0])
    >>> jaxmix.fgsm(lambda x: x, x, y, epsilon=0.25).tolist()  # logits = x
    [[0.75, 0.25]]
  """
  inputs = checks.floating("inputs", inputs)
  checks.batch_size(inputs=inputs, labels=labels)
  epsilon = checks.scalar("epsilon", epsilon, low=0.0)
  gradient = _gradient(apply_fn, inputs, labels, loss_fn)
  # sign(0) is 0: inputs that the loss does not see stay.
  step = jnp.asarray(epsilon, gradient.dtype) * jnp.sign(gradient)
  return _clip(inputs + step, bounds)


def pgd(
  key: chex.PRNGKey,
  apply_fn: Callable[[chex.Array], chex.Array],
  inputs: chex.Array,
  labels: chex.Array,
  *,
  epsilon: chex.Numeric,
  norm: str = "linf",
  steps: int = 10,
  step_size: chex.Numeric | None = None,
  random_start: bool = True,
  unroll: bool = False,
  loss_fn: LossFn | None = None,
  bounds: Bounds | None = None,
) -> chex.Array:
  """Projected gradient ascent within the l_inf or l_2 ball of radius epsilon.

  Madry et al., 2018, https://arxiv.org/abs/1706.06083. Steps follow the
  gradient's sign (linf) or its direction (l2), and are projected onto the ball,
  then onto the bounds. One ascent may end on a lesser maximum (some percent of
  the loss, even in two dimensions): take the worst of several random starts.
  Call it under `jit`: eagerly it compiles its loop at every call.

  Args:
    key: PRNG key of the random start. With random_start=False nothing is drawn
      and any key will do.
    apply_fn: maps inputs [B, ...] to logits.
    inputs: [B, ...] floats.
    labels: whatever `loss_fn` takes beside logits.
    epsilon: radius in the inputs' own units, >= 0; may be traced. In l2, of one
      example's whole input.
    norm: "linf" or "l2".
    steps: number of gradient steps, >= 1.
    step_size: length of one; None means 2.5 epsilon / steps.
    random_start: start from a uniform draw in the ball, not from the input.
    unroll: write the steps out instead of looping: longer to compile; on CPUs,
      where XLA's convolutions are slow in loops, several times faster.
    loss_fn: (logits, labels) -> [B]. None is softmax cross-entropy; for integer
      labels in the form log((1 - p) / p), p that of the label: its gradient has
      the same direction, also where p rounds to 1.
    bounds: (low, high) of valid inputs, scalars or broadcastable; None:
      unbounded.

  Returns:
    Attacked inputs, shape and dtype kept.

  Raises:
    TypeError: if inputs are not floating point.
    ValueError: if batch sizes differ, the norm is unknown, or a number is out
      of range.

  Example:
    >>> key, x, y = jax.random.key(0), jnp.array([[0.75, 0.75]]), jnp.array([0])
    >>> ball = dict(epsilon=0.5, bounds=(0.0, 1.0))
    >>> jaxmix.pgd(key, lambda x: x, x, y, **ball).tolist()  # in its corner
    [[0.25, 1.0]]
  """
  inputs = checks.floating("inputs", inputs)
  checks.batch_size(inputs=inputs, labels=labels)
  checks.choice("norm", norm, NORMS)
  epsilon = checks.scalar("epsilon", epsilon, low=0.0)
  if steps < 1:
    raise ValueError(f"steps must be at least 1, got {steps}.")
  # Madry et al.'s: reaches the border from any start, and may move along it.
  if step_size is None:
    step_size = 2.5 * epsilon / steps
  step_size = checks.scalar("step_size", step_size, low=0.0)
  # Steps may be too small for the inputs' own dtype.
  exact = jnp.float64 if inputs.dtype == jnp.float64 else jnp.float32
  clean = inputs.astype(exact)
  epsilon, step_size = (
    jnp.asarray(epsilon, exact),
    jnp.asarray(step_size, exact),
  )

  def project(delta):
    if norm == "linf":
      delta = jnp.clip(delta, -epsilon, epsilon)
    else:
      length = _l2_norm(delta)
      delta = delta * jnp.minimum(1.0, epsilon / jnp.maximum(length, 1e-12))
    # The bounds last: they hold the clean input, so delta only shrinks.
    return _clip(clean + delta, bounds) - clean

  def ascend(_, delta):
    point = (clean + delta).astype(inputs.dtype)
    gradient = _gradient(apply_fn, point, labels, loss_fn)
    gradient = gradient.astype(exact)
    if norm == "linf":
      direction = jnp.sign(gradient)
    else:
      # Scaled first: the square of a confident network's gradient underflows.
      axes = tuple(range(1, gradient.ndim))
      largest = jnp.max(jnp.abs(gradient), axis=axes, keepdims=True)
      gradient = gradient / jnp.where(largest > 0.0, largest, 1.0)
      direction = gradient / jnp.maximum(_l2_norm(gradient), 1e-12)
    return project(delta + step_size * direction)

  delta = jnp.zeros_like(clean)
  if random_start:
    delta = project(_random_in_ball(key, clean, epsilon, norm))
  delta = jax.lax.fori_loop(0, steps, ascend, delta, unroll=unroll or None)
  # Once more: clean + (bound - clean) may round to beyond the bound.
  return _clip((clean + delta).astype(inputs.dtype), bounds)


def _gradient(apply_fn, inputs, labels, loss_fn):
  loss_fn = _log_odds if loss_fn is None else loss_fn
  return jax.grad(lambda x: jnp.sum(loss_fn(apply_fn(x), labels)))(inputs)


def _log_odds(logits, labels):
  """log((1 - p) / p), which rises with the cross-entropy -log p.

  A step follows the gradient's direction alone, and d log-odds / dx is dl/dx
  over 1 - p. The cross-entropy's own gradient, p - 1 on the label's logit and
  p_k on the others', loses the label's where p rounds to 1 (in float32 from a
  margin of 17 nats), and vanishes from one of 104.
  """
  logits, labels = jnp.asarray(logits), jnp.asarray(labels)
  classes = jnp.issubdtype(labels.dtype, jnp.integer)
  if not classes or labels.shape != logits.shape[:-1] or logits.shape[-1] < 2:
    # Which checks shapes and dtypes, too.
    return losses.softmax_cross_entropy(logits, labels)
  if logits.dtype != jnp.float64:
    logits = logits.astype(jnp.float32)
  checks.label_range("labels", labels, logits.shape[-1])
  labels = meshes.like(labels, logits)
  own = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
  others = jnp.where(own, -jnp.inf, logits)
  return jax.nn.logsumexp(others, axis=-1) - jnp.sum(
    jnp.where(own, logits, 0.0), axis=-1
  )


def _clip(x, bounds):
  if bounds is None:
    return x
  low, high = (jnp.asarray(bound, x.dtype) for bound in bounds)
  return jnp.clip(x, low, high)


def _l2_norm(delta):
  axes = tuple(range(1, delta.ndim))
  return jnp.sqrt(jnp.sum(jnp.square(delta), axis=axes, keepdims=True))


def _random_in_ball(key, like, epsilon, norm):
  key_direction, key_radius = jax.random.split(checks.key(key))
  shape, dtype = like.shape, like.dtype
  if norm == "linf":
    return epsilon * jax.random.uniform(key_direction, shape, dtype, -1.0, 1.0)
  direction = jax.random.normal(key_direction, shape, dtype)
  direction = direction / jnp.maximum(_l2_norm(direction), 1e-12)
  dimension = max(1, math.prod(shape[1:]))
  radius_shape = shape[:1] + (1,) * (len(shape) - 1)
  # Volume grows as radius^dimension: its root is uniform in the ball.
  radius = jax.random.uniform(key_radius, radius_shape, dtype)
  return epsilon * radius ** (1.0 / dimension) * direction
