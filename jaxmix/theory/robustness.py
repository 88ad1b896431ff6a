"""Why mixup makes robust: section 3.2 of Zhang et al. (ICLR 2021).

For a logistic loss and a network positively homogeneous in its input (linear,
or ReLU without biases), Mixup's quadratic approximation is at least the second-
order approximation of an adversarial loss, whose radius grows with how well
gradients line up with the examples.

Three things the paper leaves to the reader, all needed: x must be centred (the
proof drops E[r]); all training examples must be classified right (Theta); and
the square of the radius in the ReLU case must not carry a further d, which the
paper prints under eq. (6).
"""

from __future__ import annotations

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxmix import attacks, checks, policies
from jaxmix.holding import differentiate
from jaxmix.theory import arguments, directions, expansion, likelihood
from jaxmix.theory.likelihood import LogitFn, LogPartition
from jaxmix.theory.moments import as_policy, shift_moments


class MixupRadius(NamedTuple):
  """The radii of Theorems 3.1 and 3.3, in units of x per sqrt(d).

  Attributes:
    per_example: eps_i = R_i c_x E_D~[1 - lam], [n].
    uniform: eps_mix, the smallest of them.
  """

  per_example: chex.Array
  uniform: chex.Array


class RobustnessBound(NamedTuple):
  """The three sides of Theorems 3.1 and 3.3, scalars in nats.

  Attributes:
    mixup: the quadratic Mixup loss, the largest of the three.
    per_example: mean adversarial loss at radii eps_i sqrt(d).
    uniform: mean adversarial loss at eps_mix sqrt(d), the smallest.
  """

  mixup: chex.Array
  per_example: chex.Array
  uniform: chex.Array


class RobustnessAssumptions(NamedTuple):
  """How the assumptions of Theorems 3.1 and 3.3 fare.

  Attributes:
    right: whether every example is classified right (theta in Theta).
    off_centre: |mean of x|, which the proof takes for 0.
    inhomogeneity: max_i |f(x_i) - df(x_i) x_i|, likewise.
  """

  right: chex.Array
  off_centre: chex.Array
  inhomogeneity: chex.Array


def quadratic_adversarial_loss(
  logit_fn: LogitFn,
  x: chex.Array,
  y: chex.Array,
  radius: chex.Numeric | chex.Array,
  *,
  norm: str = "l2",
  log_partition: LogPartition = likelihood.log_partition,
) -> chex.Array:
  """Second-order approximation of the loss under the worst l2 or l_inf steps.

  The mean of l~_adv(eta_i, (x_i, y_i)), where l~_adv(eta, (x, y)) =
  l + eta |h'(f) - y| |df| + eta^2 / 2 h''(f) |df|^2, eqs. (5) and (6) of Zhang
  et al. with eta = eps sqrt(d): the maximum over |delta| <= eta of the loss's
  Taylor polynomial, where the network itself is linear around x. (Under eq.
  (6) the paper prints a further factor d beside eta^2, and in A.2.1 |theta| for
  its square.) Where df is zero, a dead ReLU's, |df| has the subgradient 0.

  The lemma is for the logistic h; it holds as it stands for every convex one.
  For steps of |delta|_inf <= eta, as FGSM's, |df| is the dual norm, the sum of
  absolute values. |df|_1 <= sqrt(d) |df|_2, so that a bound for l2 steps of eps
  sqrt(d) is one for l_inf steps of eps (Remark 3.1).

  Args:
    logit_fn: maps [n, ...] to binary logits [n].
    x: [n, ...] floats.
    y: [n], 0 or 1; any numbers under another h.
    radius: eta >= 0, a scalar or one for each example, [n], in units of x. In
      l2, of one example's whole input, eps sqrt(d); in l_inf eps.
    norm: "l2" or "linf".
    log_partition: h of a logit, convex.

  Returns:
    Scalar, in nats.

  Raises:
    TypeError: as `standard_loss`.
    ValueError: if logits are not [n], radius is neither a scalar nor [n], or
      the norm is unknown.

  Example:
    >>> logit_fn = lambda x: x @ jnp.array([3.0, 4.0])
    >>> x, y = jnp.zeros((1, 2)), jnp.array([1])
    >>> loss = jaxmix.theory.quadratic_adversarial_loss(logit_fn, x, y, 0.2)
    >>> round(float(loss), 4)  # log 2 + 1/2 + 1/8
    1.3181
  """
  x, y, n = _check_binary(logit_fn, x, y, log_partition)
  checks.choice("norm", norm, attacks.NORMS)
  radius = arguments.listed(radius)
  if jnp.shape(radius) not in ((), (n,)):
    raise ValueError(
      f"radius must be a scalar or [n] = ({n},), got shape {jnp.shape(radius)}."
    )
  sizes = arguments.known(radius)
  if sizes is not None and not (sizes >= 0).all():
    raise ValueError(f"radius must be at least 0, got {sizes.min()}.")
  loss = likelihood.loss_of_one(logit_fn, log_partition)
  logits_of = likelihood.single(logit_fn)

  def one(point, label, eta):
    logits, gradient = jax.value_and_grad(logits_of)(point)
    eta = eta.astype(logits.dtype)
    gradient = gradient.astype(logits.dtype)
    if norm == "l2":
      steepness = directions.length(gradient)
    else:
      steepness = jnp.sum(jnp.abs(gradient))
    residual = jnp.abs(likelihood.residual(logits, label, log_partition))
    # Eq. (6)'s further d is a misprint, see above.
    curvature = likelihood.curvature(logits, log_partition)
    # The worst step is along df, towards the side that the residual is on.
    move = eta * steepness
    return loss(point, label) + residual * move + 0.5 * curvature * move**2

  eta = jnp.broadcast_to(jnp.asarray(radius), (n,))
  return jnp.mean(jax.vmap(one)(x, y, eta))


def mixup_radius(
  logit_fn: LogitFn,
  x: chex.Array,
  y: chex.Array | None = None,
  *,
  alpha: chex.Numeric | None = None,
  beta: chex.Numeric | None = None,
  policy: policies.MixingPolicy | None = None,
  smallest_norm: chex.Numeric | None = None,
  log_partition: LogPartition = likelihood.log_partition,
) -> MixupRadius:
  """(eps_i, eps_mix): the attacks that training by Mixup guards against.

  eps_i = R_i c_x E_D~[1 - lam], eps_mix = min_i eps_i (Theorems 3.1 and 3.3 of
  Zhang et al.), c_x = min_i |x_i| / sqrt(d). An attack of l2 length eps sqrt(d)
  is meant.

  For K classes (ours; y is then needed) R_i is `loss_cosines`, or 0 where that
  is negative. Where none is, as for a homogeneous network (bias-free ReLU) that
  is right on every example, R1 >= mean_i eps_i sqrt(d) |dl(x_i)|, the first-
  order half of the theorem. One example that is wrong can undo it: R1 counts
  its negative cosine. The second-order half has no such extension.

  Args:
    logit_fn: maps [n, ...] to logits [n] or [n, K].
    x: [n, ...] floats, centred.
    y: labels, needed (and used) beside [n, K] logits only.
    alpha: concentration of Mixup's Beta law; or give a policy.
    beta: its second concentration; None means alpha.
    policy: any policy of `jaxmix.policies`, instead of alpha.
    smallest_norm: c_x sqrt(d), a lower bound on |x_i|; None takes the smallest.
    log_partition: h of one example's logits; of K logits the radius depends on
      it.

  Returns:
    The radii.

  Raises:
    TypeError: as `standard_loss`.
    ValueError: as `mixup_loss`, or if y is missing beside [n, K] logits.

  Example:
    >>> logit_fn = lambda x: x @ jnp.array([3.0, 4.0])
    >>> x = jnp.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> radius = jaxmix.theory.mixup_radius(logit_fn, x, alpha=1.0)
    >>> print(np.asarray(radius.per_example * 2**0.5).round(4))  # R_i |x_i| / 3
    [0.2    0.2    0.2667 0.2667]
  """
  x, y, (n, *classes) = likelihood.check_data(logit_fn, x, y, log_partition)
  policy = as_policy(alpha, beta, policy)
  if not classes:
    aligned = directions.cosines(logit_fn, x)
  elif y is None:
    raise ValueError("y is needed for the radius of a network of K logits.")
  else:
    outwards = directions.loss_cosines(
      logit_fn, x, y, log_partition=log_partition
    )
    aligned = jnp.maximum(outwards, 0.0)
  flat = x.reshape(n, -1)
  if smallest_norm is None:
    smallest_norm = jnp.min(jax.vmap(directions.length)(flat))
  else:
    smallest_norm = checks.scalar("smallest_norm", smallest_norm, low=0.0)
  # shift_moments, not policy.mean_shift, which `erm` lets its caller choose.
  per_example = (
    aligned
    * jnp.asarray(smallest_norm / flat.shape[1] ** 0.5).astype(aligned.dtype)
    * jnp.asarray(shift_moments(policy, 1)[1]).astype(aligned.dtype)
  )
  return MixupRadius(per_example, jnp.min(per_example))


def robustness_bound(
  logit_fn: LogitFn,
  x: chex.Array,
  y: chex.Array,
  *,
  alpha: chex.Numeric | None = None,
  beta: chex.Numeric | None = None,
  policy: policies.MixingPolicy | None = None,
  smallest_norm: chex.Numeric | None = None,
  norm: str = "l2",
  log_partition: LogPartition = likelihood.log_partition,
) -> RobustnessBound:
  """The three sides of Theorems 3.1 (linear) and 3.3 (ReLU, max pooling).

  mixup >= per_example >= uniform, for every policy of `jaxmix.policies` and
  every convex h, wherever the assumptions hold (`robustness_assumptions`); each
  of them is needed. With norm="linf" the attacks are of eps in every coordinate
  (Remark 3.1), which is weaker.

  Args:
    logit_fn: maps [n, ...] to binary logits [n].
    x: [n, ...] floats, centred.
    y: [n], 0 or 1; any numbers under another h.
    alpha: concentration of Mixup's Beta law; or give a policy.
    beta: its second concentration; None means alpha.
    policy: any policy of `jaxmix.policies`, instead of alpha.
    smallest_norm: c_x sqrt(d), a lower bound on |x_i|; None takes the smallest.
    norm: of the attacks, "l2" or "linf".
    log_partition: h of a logit, convex.

  Returns:
    The sides.

  Raises:
    TypeError: as `standard_loss`.
    ValueError: as `mixup_loss`, or if logits are not [n].

  Example:
    >>> x = jnp.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> logit_fn, y = lambda x: x @ jnp.array([3.0, 4.0]), jnp.array([1, 0] * 2)
    >>> sides = jaxmix.theory.robustness_bound(logit_fn, x, y, alpha=1.0)
    >>> bool(sides.mixup > sides.per_example > sides.uniform)
    True
  """
  x, y, n = _check_binary(logit_fn, x, y, log_partition)
  checks.choice("norm", norm, attacks.NORMS)
  policy = as_policy(alpha, beta, policy)
  radius = mixup_radius(logit_fn, x, policy=policy, smallest_norm=smallest_norm)
  # The d of one example's whole input.
  root = (x.size // n) ** 0.5 if norm == "l2" else 1.0
  attacked = lambda eps: quadratic_adversarial_loss(
    logit_fn, x, y, eps * root, norm=norm, log_partition=log_partition
  )
  return RobustnessBound(
    mixup=expansion.quadratic_mixup_loss(
      logit_fn, x, y, policy=policy, log_partition=log_partition
    ),
    per_example=attacked(radius.per_example),
    uniform=attacked(radius.uniform),
  )


def robustness_assumptions(
  logit_fn: LogitFn,
  x: chex.Array,
  y: chex.Array,
  *,
  log_partition: LogPartition = likelihood.log_partition,
) -> RobustnessAssumptions:
  """What Theorems 3.1 and 3.3 ask of the data and of the network.

  Of theta the proof uses (h'(f_i) - y_i) f_i <= 0, which is the paper's Theta
  under the logistic h; under another that is what `right` says. For least
  squares it asks 0 <= f_i / y_i <= 1.

  Args:
    logit_fn: maps [n, ...] to binary logits [n].
    x: [n, ...] floats.
    y: [n], 0 or 1; any numbers under another h.
    log_partition: h of a logit.

  Returns:
    The assumptions: True, 0 and 0 (up to rounding) where the theorems apply.

  Raises:
    TypeError: as `standard_loss`.
    ValueError: as `standard_loss`, or if logits are not [n].

  Example:
    >>> x, y = jnp.array([[1.0], [-1.0]]), jnp.array([1, 0])
    >>> logit_fn = lambda x: x[:, 0] + 0.5  # a bias: not homogeneous
    >>> found = jaxmix.theory.robustness_assumptions(logit_fn, x, y)
    >>> bool(found.right), float(found.off_centre), float(found.inhomogeneity)
    (True, 0.0, 0.5)
  """
  x, y, _ = _check_binary(logit_fn, x, y, log_partition)
  logits_of = likelihood.single(logit_fn)
  # Euler: df(x) x = f(x) for a homogeneous f; one jvp, and no gradient.
  logits, along_itself = jax.vmap(
    lambda point: differentiate(lambda: jax.jvp(logits_of, (point,), (point,)))
  )(x)
  pull = jax.vmap(
    lambda f, label: likelihood.residual_direction(f, label, log_partition)
  )(logits, y)
  return RobustnessAssumptions(
    # The paper's Theta lets a logit be exactly 0.
    right=jnp.all(pull * logits <= 0.0),
    off_centre=directions.length(jnp.mean(x, axis=0)),
    inhomogeneity=jnp.max(jnp.abs(logits - along_itself)),
  )


def _check_binary(
  logit_fn, x, y, log_partition
) -> tuple[chex.Array, chex.Array, int]:
  x, y, (n, *classes) = likelihood.check_data(logit_fn, x, y, log_partition)
  if classes:
    raise ValueError(
      f"The theorem is for binary logits [n] = ({n},), got shape "
      f"{(n, *classes)}."
    )
  labels = arguments.known(y)
  if labels is None or log_partition is not likelihood.log_partition:
    return x, y, n
  if not ((labels == 0) | (labels == 1)).all():
    raise ValueError(
      f"y must be 0 or 1 in the theorem, got {labels[labels % 1 != 0][0]}."
    )
  return x, y, n
