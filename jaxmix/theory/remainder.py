"""What Theorem 1 of MixupE (UAI 2023) leaves out: its remainder.

psi_ij(a) = l(f(x_i + a (x_j - x_i)), y_i) is the loss on the way to a partner,
and a = 1 - lam. The theorem writes its difference from a polynomial as a^J
psi(a) with psi(a) -> 0; for a network of one derivative more it is O(a^{J+1}).
"""

from __future__ import annotations

import math

import chex
import jax
import jax.numpy as jnp

from jaxmix import checks
from jaxmix.taylor import derivatives
from jaxmix.theory import arguments, likelihood
from jaxmix.theory.likelihood import LogitFn, LogPartition

_FORMS = ("taylor", "composed")


def taylor_remainder(
  logit_fn: LogitFn,
  x: chex.Array,
  y: chex.Array,
  shift: chex.Array,
  *,
  order: int,
  form: str = "taylor",
  log_partition: LogPartition = likelihood.log_partition,
  pairs_at_once: int = 4_096,
) -> chex.Array:
  """mean_ij |psi_ij(a) - its polynomial of order J at a|, for every a.

  The theorem's h(f_i + a Delta_i) is expanded in Delta_i, whose own expansion
  has powers of a: form "composed". "taylor" is the polynomial of psi as a
  whole, that of `taylor_mixup_loss`. Both fall as a^{J+1} for f of J + 1
  derivatives, and faster than a^J for J, as a -> 0. That says nothing of a
  fixed a: lam is drawn from a law, E_D~[a^J psi(a)] need not be small, and
  where the network has kinks or its series a radius of convergence it is not.

  Args:
    logit_fn: maps [n, ...] to logits [n] or [n, K].
    x: [n, ...] floats; in float32 rounding hides the remainder from some 1e-6.
    y: labels, see `standard_loss`.
    shift: [m] values of a = 1 - lam, in [0, 1].
    order: J >= 1.
    form: "taylor" or "composed".
    log_partition: h of one example's logits.
    pairs_at_once: in a block, >= 1; the memory grows with it.

  Returns:
    [m], in nats.

  Raises:
    TypeError: as `standard_loss`.
    ValueError: as `standard_loss`, if order < 1, shift is not [m] or the form
      is unknown.

  Example:
    >>> x, y = jnp.array([[0.0], [1.0]]), jnp.array([0, 1])
    >>> logit_fn = lambda x: jnp.tanh(x[:, 0])
    >>> at = {"shift": [0.1, 0.2], "order": 1}
    >>> left = jaxmix.theory.taylor_remainder(logit_fn, x, y, **at)
    >>> round(float(left[1] / left[0]), 1)  # 2^{J+1}
    3.8
  """
  x, y, (n, *_) = likelihood.check_data(logit_fn, x, y, log_partition)
  checks.count("order", order)
  checks.count("pairs_at_once", pairs_at_once)
  checks.choice("form", form, _FORMS)
  shift = arguments.listed(shift)
  if jnp.ndim(shift) != 1:
    raise ValueError(f"shift must be [m], got shape {jnp.shape(shift)}.")
  shift = jnp.asarray(shift, x.dtype)
  logits_of = likelihood.single(logit_fn)
  factorials = [math.factorial(j) for j in range(order + 1)]

  def pair(index):
    i, j = index
    direction = x[j] - x[i]
    loss = lambda logits: likelihood.loss_of_logits(logits, y[i], log_partition)
    if form == "taylor":
      psi = derivatives(
        lambda point: loss(logits_of(point)), x[i], direction, order
      )
    else:
      f = derivatives(logits_of, x[i], direction, order)

    def left(a):
      exact = loss(logits_of(x[i] + a * direction))
      if form == "taylor":
        terms = psi
        powers = [a**j for j in range(order + 1)]
      else:
        # a Delta_i, without its own remainder; powers of a are inside it.
        moved = sum(
          a**j / factorials[j] * f[j].astype(a.dtype)
          for j in range(1, order + 1)
        )
        terms = derivatives(loss, f[0], moved.astype(f[0].dtype), order)
        powers = [1.0] * (order + 1)
      near = sum(
        power / factorial * term.astype(a.dtype)
        for power, factorial, term in zip(
          powers, factorials, terms, strict=True
        )
      )
      return jnp.abs(exact.astype(a.dtype) - near)

    return jax.vmap(left)(shift)

  pairs = tuple(index.reshape(-1) for index in jnp.indices((n, n)))
  found = jax.lax.map(pair, pairs, batch_size=min(pairs_at_once, n * n))
  return jnp.mean(found, axis=0)
