"""What mixup adds to the loss of a generalised linear model.

Zhang et al., 2021, https://arxiv.org/abs/2010.04819, Lemmas 3.3 and 3.4. Both
need the law of lam once the mixed label is traded for y_i (their eq. 9),

  D~ = a / (a + b) Beta(a + 1, b) + b / (a + b) Beta(b + 1, a),

whose moments are all functions of q = a b / ((a + b) (a + b + 1)) < 1/4:

  E[1 - lam] = 2 q,  E[(1 - lam)^2] = q,  Var(lam) = q (1 - 4 q).

The lemmas are for Mixup alone, so these functions take its two concentrations,
not a policy as `regularizers` does.
"""

from __future__ import annotations

from collections.abc import Callable

import chex
import jax.numpy as jnp

from jaxmix import checks

_FORMS = ("corrected", "printed")


def glm_regularizer(
  theta: chex.Array,
  x: chex.Array,
  second_derivative: Callable[[chex.Array], chex.Array],
  *,
  alpha: chex.Numeric,
  beta: chex.Numeric | None = None,
  form: str = "corrected",
) -> chex.Array:
  """Mixup's regulariser of a generalised linear model, to second order.

  For the loss A(theta . x) - y theta . x on centred data, with m = E_D~[lam],
  Sigma = (1/n) sum_i x_i x_i^T and u_i = theta . x_i, the corrected form is

    1/(2n) sum_i A''(u_i) {Var_D~(lam) u_i^2
                           + E_D~[(1 - lam)^2] theta^T Sigma theta} / m^2,

  the second-order part of (mixup loss at theta / m) - (plain loss at theta):
  the mean and the variance of theta . (lam x_i + (1 - lam) x_r) / m given x_i
  are u_i and the braces over m^2. It is exact where A is quadratic.

  Lemma 3.3 prints, in eq. (7),

    1/(2n) sum_i A''(u_i) E_D~[(1 - lam)^2 / lam^2] theta^T Sigma theta,

  which differs in three ways. It divides the data by the random lam, though
  only a constant factor can be absorbed by theta, and that makes it infinite
  unless both concentrations exceed 1. It leaves out the variance of lam
  (the proof, which divides by m, leaves it out as well). Its D~ has the weight
  alpha / (alpha + beta) twice; form="printed" uses the right weights.

  Args:
    theta: [p] coefficients.
    x: [n, p] floats; their mean is subtracted, as the lemma wants centred data.
      An intercept c is kept by passing u -> A''(u + c).
    second_derivative: A'', elementwise on [n]: s (1 - s) with s = sigmoid(u)
      for logistic regression, 1 for linear regression.
    alpha: Beta concentration of lam, > 0; may be traced.
    beta: concentration of 1 - lam, > 0; None means alpha.
    form: "corrected", or "printed" for eq. (7).

  Returns:
    The regulariser, a scalar in the dtype of x; inf in the printed form where
    its expectation is.

  Raises:
    TypeError: if x is not floating point.
    ValueError: if shapes disagree, the form is unknown, or a concentration is
      a number <= 0.

  Example:
    >>> theta, x = jnp.array([1.0]), jnp.array([[-1.0], [1.0]])
    >>> one = jnp.ones_like  # A'' of linear regression
    >>> added = jaxmix.theory.glm_regularizer(theta, x, one, alpha=1.0)
    >>> round(float(added), 4)  # (1/18 + 1/6) / (2/3)^2 / 2
    0.25
  """
  x = checks.floating("x", x)
  checks.choice("form", form, _FORMS)
  a, b = _concentrations(alpha, beta, x.dtype)
  u = _predictions(theta, x)
  curvature = second_derivative(u)
  if jnp.shape(curvature) != u.shape:
    raise ValueError(
      f"second_derivative must be elementwise, [n] to [n]: got shape "
      f"{jnp.shape(curvature)} for {u.shape}."
    )
  # theta^T Sigma theta, without the [p, p] Sigma.
  spread = jnp.mean(u * u)
  if form == "printed":
    return 0.5 * _product(_ratio_moment(a, b), jnp.mean(curvature) * spread)
  q, mean, variance = _moments(a, b)
  # Over m^2, the constant that theta absorbs; Lemma 3.3 divides by lam^2.
  inner = (variance * u * u + q * spread) / mean**2
  return 0.5 * jnp.mean(curvature * inner)


def two_layer_regularizer(
  theta: chex.Array,
  hidden: chex.Array,
  *,
  alpha: chex.Numeric,
  beta: chex.Numeric | None = None,
  form: str = "corrected",
) -> chex.Array:
  """Mixup's regulariser when the hidden layer of two is mixed, squared loss.

  For f(x) = theta . h(x) + bias and the loss (y - f)^2 (twice the quadratic
  `glm_regularizer`, so no 1/2), Sigma being the centred covariance of the
  hidden features:

    {E_D~[(1 - lam)^2] + Var_D~(lam)} / E_D~[lam]^2 * theta^T Sigma theta,

  exactly the part that depends on theta of (mixup loss at theta / E_D~[lam]) -
  (plain loss at theta), the bias absorbing the shift. Lemma 3.4, eq. (8),
  prints the factor E_D~[(1 - lam)^2 / lam^2]; see `glm_regularizer`.

  Args:
    theta: [p] coefficients of the last layer.
    hidden: [n, p] hidden features of the data, floats.
    alpha: Beta concentration of lam, > 0; may be traced.
    beta: concentration of 1 - lam, > 0; None means alpha.
    form: "corrected", or "printed" for eq. (8).

  Returns:
    The regulariser, a scalar in the dtype of `hidden`; inf in the printed form
    unless both concentrations exceed 1.

  Raises:
    TypeError: if hidden is not floating point.
    ValueError: if shapes disagree, the form is unknown, or a concentration is
      a number <= 0.

  Example:
    >>> theta, hidden = jnp.array([1.0]), jnp.array([[-1.0], [1.0]])
    >>> added = jaxmix.theory.two_layer_regularizer(theta, hidden, alpha=1.0)
    >>> round(float(added), 4)  # (1/6 + 1/18) / (2/3)^2
    0.5
  """
  hidden = checks.floating("hidden", hidden)
  checks.choice("form", form, _FORMS)
  a, b = _concentrations(alpha, beta, hidden.dtype)
  u = _predictions(theta, hidden)
  spread = jnp.mean(u * u)
  if form == "printed":
    return _product(_ratio_moment(a, b), spread)
  q, mean, variance = _moments(a, b)
  return (q + variance) / mean**2 * spread


def _concentrations(alpha, beta, dtype):
  beta = alpha if beta is None else beta
  checks.concentration("alpha", alpha)
  checks.concentration("beta", beta)
  return jnp.asarray(alpha, dtype), jnp.asarray(beta, dtype)


def _predictions(theta, x):
  theta = jnp.asarray(theta)
  if x.ndim != 2 or jnp.shape(theta) != x.shape[1:]:
    raise ValueError(
      f"theta must be [p] and the data [n, p], got shapes {jnp.shape(theta)} "
      f"and {x.shape}."
    )
  return (x - jnp.mean(x, axis=0, keepdims=True)) @ theta


def _moments(a, b):
  """E[(1 - lam)^2], E[lam] and Var(lam) under D~."""
  # Two ratios below 1: a product a b could over- or underflow.
  q = (a / (a + b)) * (b / (a + b + 1.0))
  return q, 1.0 - 2.0 * q, q * (1.0 - 4.0 * q)


def _ratio_moment(a, b):
  """E[(1 - lam)^2 / lam^2] under D~, infinite unless a > 1 and b > 1."""
  finite = (a > 1.0) & (b > 1.0)
  # Two wheres: 1 / (a - 1) at a = 1 makes even an unused gradient nan.
  below_a, below_b = (jnp.where(finite, c - 1.0, 1.0) for c in (a, b))
  value = b * (b + 1.0) / below_a + a * (a + 1.0) / below_b
  return jnp.where(finite, value / (a + b), jnp.inf)


def _product(factor, spread):
  """factor * spread, zero where the spread is, though the factor be inf."""
  return jnp.where(spread > 0.0, factor * spread, jnp.zeros_like(spread))
