"""Mixing policies: how much of each example, and of its label, is kept.

A policy draws (lam, weight): lam weighs the example's own input, weight =
gamma(lam) its own label. Mixup ties the two (gamma(lam) = lam); untied MixUp
lets them differ; DAT, directional adversarial training, keeps the label whole
(gamma = 1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxmix import beta as beta_law
from jaxmix import checks
from jaxmix import quadrature as quadratures

Sampler = Callable[
  [chex.PRNGKey, tuple[int, ...]], tuple[chex.Array, chex.Array]
]
Quadrature = Callable[[int], tuple[chex.Array, chex.Array, chex.Array]]


class MixingPolicy(NamedTuple):
  """A law of (lam, weight).

  Attributes:
    sample: maps (key, shape) to float32 arrays (lam, weight) of that shape,
      both in [0, 1]: the weight of the example itself and of its own label.
    mean_shift: E[1 - lam] under the policy's DAT equivalent (`as_dat`), the
      factor E[a_lambda] of MixupE's eq. (4).
    quadrature: maps a number of nodes to arrays (lam, weight, prob), prob
      summing to one, over which expected losses are sums; over symmetric pairs,
      that is: for untied MixUp, weighted or not, they are the nodes of its DAT
      equivalent, where integrands are smooth. None on policies made by hand
      without it, which `jaxmix.theory` cannot take.
    per_example: False where one lam is drawn for the whole shape: CutMix then
      draws one box for it, too.

  Example:
    >>> halves = lambda key, shape: (jnp.full(shape, 0.5), jnp.full(shape, 0.5))
    >>> policy = jaxmix.MixingPolicy(halves, mean_shift=0.5)
    >>> plan = jaxmix.draw(jax.random.key(0), 2, policy=policy)
    >>> plan.lam.tolist(), plan.mean_shift
    ([0.5, 0.5], 0.5)
  """

  sample: Sampler
  mean_shift: chex.Numeric
  quadrature: Quadrature | None = None
  per_example: bool = True


def _logit_sampler(
  alpha: chex.Numeric,
  beta: chex.Numeric,
  per_example: bool,
  stratified: bool,
) -> Callable[[chex.PRNGKey, tuple[int, ...]], chex.Array]:
  """Draws logit(lam) of Beta(alpha, beta) as the shared options say."""
  if not isinstance(per_example, (bool, np.bool_)):
    raise ValueError(
      f"per_example must be True or False, got {per_example!r}; for one lam on "
      "all replicas: policies.shared(key, policy) of one with False."
    )
  if stratified and not per_example:
    raise ValueError(
      "stratified=True needs per_example=True: one draw has no strata."
    )
  draw = beta_law.stratified_logit if stratified else beta_law.sample_logit

  def sample(key, shape):
    drawn = draw(key, alpha, beta, shape if per_example else ())
    return jnp.broadcast_to(drawn, shape)

  return sample


def _whole_label_nodes(alpha, beta) -> Quadrature:
  """Nodes of lam ~ Beta(alpha, beta) with the label kept whole."""

  def quadrature(num_nodes):
    lam, prob = beta_law.nodes(alpha, beta, num_nodes)
    return lam, _numbers(lam).ones_like(lam), prob

  return quadrature


def _numbers(array) -> Any:
  """NumPy beside NumPy: known nodes stay in float64, whatever JAX allows."""
  return np if isinstance(array, np.ndarray) else jnp


def mixup(
  alpha: chex.Numeric,
  beta: chex.Numeric | None = None,
  *,
  per_example: bool = True,
  stratified: bool = False,
) -> MixingPolicy:
  """Mixup: lam ~ Beta(alpha, beta), and weight = lam.

  Zhang et al., 2018, https://arxiv.org/abs/1710.09412. With D~ = a/(a+b)
  Beta(a+1, b) + b/(a+b) Beta(b+1, a), the DAT equivalent, mean_shift = E_D~[1 -
  lam] = 2ab / ((a+b)(a+b+1)); alpha / (2 alpha + 1) in the symmetric case.

  Args:
    alpha: concentration, > 0; may be traced.
    beta: second concentration; None means alpha.
    per_example: False draws a single lam for the whole shape, as the authors'
      released code does: one a replica, where replicas have keys of their own,
      so that results depend on how many there are; `shared` draws one for all.
    stratified: one draw per equal-probability bucket, see
      `beta.stratified_logit`.

  Returns:
    The policy.

  Raises:
    ValueError: if a concentration is a number <= 0, or stratified without
      per_example.

  Example:
    >>> policy = jaxmix.policies.mixup(0.5)
    >>> lam, weight = policy.sample(jax.random.key(0), (4,))
    >>> lam.shape, bool(jnp.all(weight == lam)), policy.mean_shift
    ((4,), True, 0.25)
  """
  alpha = checks.concentration("alpha", alpha)
  beta = alpha if beta is None else checks.concentration("beta", beta)
  logit = _logit_sampler(alpha, beta, per_example, stratified)

  def sample(key, shape):
    # Only here are the logit's digits given up: lam may be exactly 0 or 1.
    lam = jax.nn.sigmoid(logit(key, shape))
    return lam, lam

  def quadrature(num_nodes):
    lam, prob = beta_law.nodes(alpha, beta, num_nodes)
    return lam, lam, prob

  # In closed form, and so without quadrature where alpha is traced.
  total = alpha + beta
  mean_shift = 2.0 * alpha * beta / (total * (total + 1.0))
  return MixingPolicy(sample, mean_shift, quadrature, per_example)


def untied(
  alpha: chex.Numeric,
  beta: chex.Numeric,
  *,
  per_example: bool = True,
  stratified: bool = False,
) -> MixingPolicy:
  """Untied MixUp U(Beta(alpha, beta)), equivalent to DAT with the same law.

  With p the density of Beta(alpha, beta), lam has density (p(lam) + p(1 - lam))
  / 2 and weight = p(lam) / (p(lam) + p(1 - lam)) = sigmoid((alpha - beta)
  logit(lam)) ("MixUp as Directional Adversarial Training", 2020, eq. (5)).
  `untied(a + 1, a)` equals `mixup(a)` in law.

  Args:
    alpha: concentration of the kept example, > 0; may be traced.
    beta: concentration of the partner, > 0; may be traced.
    per_example: False draws a single lam for the whole shape, see `mixup`.
    stratified: one draw of Beta(alpha, beta) per equal-probability bucket.

  Returns:
    The policy, with mean_shift = beta / (alpha + beta).

  Raises:
    ValueError: as `mixup`.

  Example:
    >>> policy = jaxmix.policies.untied(3.0, 1.0)
    >>> lam, weight = policy.sample(jax.random.key(0), (4,))
    >>> odds = lam / (1 - lam)
    >>> bool(jnp.allclose(weight, odds**2 / (1 + odds**2))), policy.mean_shift
    (True, 0.25)
  """
  alpha = checks.concentration("alpha", alpha)
  beta = checks.concentration("beta", beta)
  draw_logit = _logit_sampler(alpha, beta, per_example, stratified)

  def sample(key, shape):
    key_lam, key_flip = jax.random.split(key)
    flips = jax.random.bernoulli(key_flip, 0.5, shape if per_example else ())
    logit = draw_logit(key_lam, shape)
    # A change of sign, where 1 - lam would round a small lam away.
    logit = jnp.where(flips, -logit, logit)
    # From the logit, not from lam: at lam = 0 or 1 and alpha = beta the product
    # would be 0 * inf.
    weight = jax.nn.sigmoid((alpha - beta) * logit)
    return jax.nn.sigmoid(logit), weight

  # The equivalent's nodes: this law's own weight goes like a power at the ends,
  # lam^(alpha - beta), and Gauss-Jacobi wants polynomials.
  nodes = _whole_label_nodes(alpha, beta)
  return MixingPolicy(sample, beta / (alpha + beta), nodes, per_example)


def dat(
  alpha: chex.Numeric,
  beta: chex.Numeric,
  *,
  per_example: bool = True,
  stratified: bool = False,
) -> MixingPolicy:
  """Directional adversarial training: lam ~ Beta(alpha, beta), the label kept.

  "MixUp as Directional Adversarial Training", 2020, section 3: the input moves
  towards its partner, the label does not.

  Args:
    alpha: concentration of the kept example, > 0; may be traced.
    beta: concentration of the partner, > 0; may be traced.
    per_example: False draws a single lam for the whole shape, see `mixup`.
    stratified: one draw per equal-probability bucket.

  Returns:
    The policy, with weight = 1 and mean_shift = beta / (alpha + beta).

  Raises:
    ValueError: as `mixup`.

  Example:
    >>> policy = jaxmix.policies.dat(3.0, 1.0)
    >>> lam, weight = policy.sample(jax.random.key(0), (4,))
    >>> weight.tolist(), policy.mean_shift
    ([1.0, 1.0, 1.0, 1.0], 0.25)
  """
  alpha = checks.concentration("alpha", alpha)
  beta = checks.concentration("beta", beta)
  logit = _logit_sampler(alpha, beta, per_example, stratified)

  def sample(key, shape):
    lam = jax.nn.sigmoid(logit(key, shape))
    return lam, jnp.ones_like(lam)

  nodes = _whole_label_nodes(alpha, beta)
  return MixingPolicy(sample, beta / (alpha + beta), nodes, per_example)


def weighted(
  alpha: chex.Numeric,
  beta: chex.Numeric,
  weight_fn: Callable[[chex.Array], chex.Array],
  *,
  per_example: bool = True,
  stratified: bool = False,
  num_nodes: int = 512,
) -> MixingPolicy:
  """Untied MixUp with any weighting function: weight = weight_fn(lam).

  The general scheme of "MixUp as Directional Adversarial Training", 2020,
  section 3.2. mean_shift = E[gamma(lam) (1 - lam) + (1 - gamma(lam)) lam], and
  all that `jaxmix.theory` computes, by quadrature in logit(lam): to 1e-5 for
  every gamma that is smooth between 0 and 1, powers of lam and 1 - lam
  included, at any concentration. Where gamma jumps the error is up to half the
  law's mass between two nodes, some 1e-3 at the default.

  Args:
    alpha: concentration of lam, > 0; may be traced.
    beta: concentration of 1 - lam, > 0; may be traced.
    weight_fn: gamma, an elementwise function from [0, 1] to [0, 1] of float32
      arrays.
    per_example: False draws a single lam for the whole shape, see `mixup`.
    stratified: one draw per equal-probability bucket.
    num_nodes: of the quadrature, >= 64; gamma is evaluated at so many.

  Returns:
    The policy.

  Raises:
    ValueError: as `mixup`, if num_nodes < 64, or if `weight_fn` changes the
      shape of its argument.

  Example:
    >>> steep = lambda lam: lam**2 * (3 - 2 * lam)  # mixup's is lam
    >>> policy = jaxmix.policies.weighted(1.0, 1.0, steep)
    >>> round(float(policy.mean_shift), 4)  # mixup(1.0)'s is 1/3
    0.3
  """
  alpha = checks.concentration("alpha", alpha)
  beta = checks.concentration("beta", beta)
  logit = _logit_sampler(alpha, beta, per_example, stratified)

  def gamma(lam):
    weight = jnp.asarray(weight_fn(lam), jnp.float32)
    if weight.shape != lam.shape:
      raise ValueError(
        "weight_fn must map an array to one of the same shape, got "
        f"{lam.shape} -> {weight.shape}."
      )
    return weight

  def sample(key, shape):
    lam = jax.nn.sigmoid(logit(key, shape))
    return lam, gamma(lam)

  if num_nodes < 64:
    raise ValueError(f"num_nodes must be at least 64, got {num_nodes}.")
  # Once, when the policy is made: it does not depend on the draw.
  lam, prob = quadratures.spread(alpha, beta, num_nodes)
  kept = quadratures.known(gamma(jnp.asarray(lam, jnp.float32)))
  if not isinstance(kept, np.ndarray):
    lam, prob = jnp.asarray(lam, jnp.float32), jnp.asarray(prob, jnp.float32)
  shift = _numbers(kept).sum(prob * shift_power(lam, kept, 1))

  def quadrature(num_nodes):
    # The equivalent's nodes, as for `untied`: gamma is no polynomial.
    xp = _numbers(kept)
    both = xp.concatenate([lam, 1.0 - lam])
    shares = xp.concatenate([prob * kept, prob * (1.0 - kept)])
    few, share = quadratures.compress(both, shares, num_nodes)
    return few, xp.ones_like(few), share

  return MixingPolicy(sample, shift, quadrature, per_example)


def scaled(
  low: chex.Numeric = 0.1,
  high: chex.Numeric = 0.8,
  *,
  per_example: bool = True,
) -> MixingPolicy:
  """ResizeMix's: lam = weight = 1 - tau^2, tau ~ U(low, high).

  Qin et al., 2020, https://arxiv.org/abs/2012.11101: tau is the side of the
  pasted image by the image's, and tau^2 its area.

  Args:
    low: smallest side, in [0, high]; may be traced.
    high: largest side, in [low, 1]; may be traced.
    per_example: False draws a single lam for the whole shape, see `mixup`.

  Returns:
    The policy, with mean_shift = 2 E[tau^2 - tau^4].

  Raises:
    ValueError: if a side is a number outside [0, 1], or low > high.

  Example:
    >>> policy = jaxmix.policies.scaled(0.5, 0.5)
    >>> lam, weight = policy.sample(jax.random.key(0), (2,))
    >>> lam.tolist(), policy.mean_shift  # 2 * (0.25 - 0.0625)
    ([0.75, 0.75], 0.375)
  """
  low = checks.scalar("low", low, low=0.0, high=1.0)
  high = checks.scalar("high", high, low=0.0, high=1.0)
  if isinstance(low, float) and isinstance(high, float) and low > high:
    raise ValueError(f"low must be at most high = {high}, got {low}.")

  def sample(key, shape):
    tau = jax.random.uniform(key, shape if per_example else (), jnp.float32)
    # Between the two by products: low + (high - low) tau may round beyond.
    tau = (1.0 - tau) * low + tau * high
    lam = jnp.broadcast_to(1.0 - tau * tau, shape)
    return lam, lam

  def quadrature(num_nodes):
    node, prob = np.polynomial.legendre.leggauss(num_nodes)
    lam = 1.0 - (low + (high - low) * (node + 1.0) / 2.0) ** 2
    return lam, lam, prob / 2.0

  def moment(j):
    """E[tau^j], without dividing by high - low, which may be 0."""
    return sum(low**k * high ** (j - k) for k in range(j + 1)) / (j + 1)

  mean_shift = 2.0 * (moment(2) - moment(4))
  return MixingPolicy(sample, mean_shift, quadrature, per_example)


def shared(key: chex.PRNGKey, policy: MixingPolicy) -> MixingPolicy:
  """The policy that draws by this key, whatever key it is called with.

  For one lam a batch where replicas divide the batch, the papers' form: each
  replica draws its plan by a key of its own, for pairs of its own, and all draw
  lam by the key that they share. What is drawn then does not depend on how many
  replicas there are.

  Args:
    key: PRNG key, the same on all replicas and another in every step.
    policy: one made with per_example=False. Of any other, examples of different
      replicas at the same position would share lam.

  Returns:
    The policy, of the same law.

  Example:
    >>> one = jaxmix.policies.mixup(1.0, per_example=False)
    >>> policy = jaxmix.policies.shared(jax.random.key(7), one)
    >>> keys = jax.random.split(jax.random.key(0), 2)  # two replicas'
    >>> plans = [jaxmix.draw(key, 4, policy=policy) for key in keys]
    >>> bool((plans[0].lam == plans[1].lam).all())
    True
  """

  def sample(own_key, shape):
    del own_key
    return policy.sample(key, shape)

  return policy._replace(sample=sample)


def shift_power(lam: Any, weight: Any, j: int) -> Any:
  """E[(1 - lam)^j] under the DAT equivalent of a draw (lam, weight).

  The example is kept with probability weight, else swapped with its partner,
  see `as_dat`.

  Args:
    lam: weights of the examples, any shape.
    weight: of their labels, shaped like lam.
    j: power, >= 0.

  Returns:
    Shaped like lam.

  Example:
    >>> jaxmix.policies.shift_power(0.75, 0.5, 2)  # (0.25^2 + 0.75^2) / 2
    0.3125
  """
  return weight * (1.0 - lam) ** j + (1.0 - weight) * lam**j


def erm(mean_shift: chex.Numeric = 0.0) -> MixingPolicy:
  """Empirical risk minimisation: lam = weight = 1, nothing is mixed.

  Args:
    mean_shift: the factor that scales MixupE's penalty. MixupE's table 7 adds
      the penalty to ERM; that row takes `mixup(alpha).mean_shift`.

  Returns:
    The policy.

  Example:
    >>> policy = jaxmix.policies.erm(jaxmix.policies.mixup(0.5).mean_shift)
    >>> lam, weight = policy.sample(jax.random.key(0), (3,))
    >>> lam.tolist(), weight.tolist(), policy.mean_shift
    ([1.0, 1.0, 1.0], [1.0, 1.0, 1.0], 0.25)
  """

  def sample(key, shape):
    del key
    lam = jnp.ones(shape, jnp.float32)
    return lam, lam

  def quadrature(num_nodes):
    del num_nodes  # one is enough: nothing is mixed
    one = np.ones(1)
    return one, one, one

  mean_shift = checks.scalar("mean_shift", mean_shift, low=0.0)
  return MixingPolicy(sample, mean_shift, quadrature)


def as_dat(policy: MixingPolicy) -> MixingPolicy:
  """The DAT equivalent of any policy, as a sampler (the paper's map Du).

  Draws (lam, gamma) and keeps (x, x', lam) with probability gamma, otherwise
  swaps to (x', x, 1 - lam): the label then goes whole to the example kept. By
  target-linearity the expected loss over symmetric pairs is the same (Lemma 5
  of "MixUp as Directional Adversarial Training", 2020). The swap is carried out
  on lam alone, which over symmetric pairs is the same law.

  For `mixup(a, b)` the resulting law of lam is D~ = a/(a+b) Beta(a+1, b) +
  b/(a+b) Beta(b+1, a), under which Lemma 3.1 of Zhang et al. (2021) and Theorem
  1 of MixupE take expectations.

  The swaps are independent, so a policy with one lam a batch becomes one of two
  values, lam and 1 - lam.

  Args:
    policy: any policy.

  Returns:
    A policy with weight 1 and the same mean_shift.

  Example:
    >>> policy = jaxmix.as_dat(jaxmix.policies.mixup(1.0))  # lam ~ Beta(2, 1)
    >>> lam, weight, prob = policy.quadrature(8)
    >>> round(float(prob @ lam), 6), bool((weight == 1).all())
    (0.666667, True)
  """

  def sample(key, shape):
    key_policy, key_keep = jax.random.split(key)
    lam, weight = policy.sample(key_policy, shape)
    # Strictly below, as draws are in [0, 1): weight 0 never keeps, 1 always.
    keeps = jax.random.uniform(key_keep, shape, jnp.float32) < weight
    return jnp.where(keeps, lam, 1.0 - lam), jnp.ones_like(lam)

  def quadrature(num_nodes):
    assert policy.quadrature is not None
    lam, weight, prob = policy.quadrature(num_nodes)
    # Both outcomes of the swap, so twice the nodes and no randomness.
    xp = _numbers(weight)
    lam = xp.concatenate([lam, 1.0 - lam])
    prob = xp.concatenate([prob * weight, prob * (1.0 - weight)])
    return lam, xp.ones_like(lam), prob

  return policy._replace(
    sample=sample, quadrature=quadrature if policy.quadrature else None
  )
