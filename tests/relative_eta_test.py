"""eta relative to the loss: its formula, its gradient, and no collapse."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn import datasets

import jaxmix
from jaxmix import penalties

RELATIVE = {"eta_scale": "relative"}
X = jnp.array([[0.5, -1.0], [2.0, 0.25], [-1.5, 1.0], [0.25, 0.75]])
Y = jnp.array([0, 1, 1, 2])
W = jnp.array([[0.5, -0.25, 1.0], [0.75, 0.5, -1.0]])
PLAN = jaxmix.MixPlan(
  lam=jnp.array([0.75, 0.5, 1.0, 0.25]),
  weight=jnp.array([0.75, 0.5, 1.0, 0.25]),
  partner=jnp.array([1, 2, 3, 0]),
  mean_shift=0.5,
)


def model(w, x):
  return x @ w


def test_the_formula_by_hand():
  # L = 3, R = 4: eta_t = 2 * 12 / 25 = 0.96, kappa = 3 / (3 + 3.84).
  def enhanced(loss, penalty):
    return jaxmix.enhance_loss(loss, penalty, eta=2.0, **RELATIVE)

  value, slopes = jax.value_and_grad(enhanced, (0, 1))(3.0, 4.0)
  kappa = 3.0 / 6.84
  np.testing.assert_allclose(value, 3.0, rtol=1e-6)
  np.testing.assert_allclose(slopes, (kappa, 0.96 * kappa), rtol=1e-6)
  # The same kappa, as its docstring says it.
  np.testing.assert_allclose(kappa, 1.0 / (1.0 + 2.0 * 16.0 / 25.0))


@pytest.mark.parametrize(
  ("loss", "penalty", "weight"),
  [
    (1.0, 1.0, 1.0),  # the largest, eta / 2
    (1e-30, 2e-30, 0.8),  # squares of these are 0 in float32
    (1e30, 2e30, 0.8),  # and of these, infinite
    (2.0, 0.0, 0.0),
    (0.0, 2.0, 0.0),
    (0.0, 0.0, 0.0),
    (-3.0, 4.0, 0.96),  # losses and penalties may be negative
    (3.0, -4.0, 0.96),
    (1.0, 1e4, 2e-4),  # eta L / R
  ],
)
def test_weights_of_every_size_and_sign(loss, penalty, weight):
  def enhanced(penalty):
    return jaxmix.enhance_loss(loss, penalty, eta=2.0, **RELATIVE)

  total = abs(loss + weight * penalty)
  kappa = abs(loss) / total if total else 1.0
  slope = jax.grad(enhanced)(penalty)
  np.testing.assert_allclose(slope, kappa * weight, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("penalty", ["approximate", "exact", "taylor"])
@pytest.mark.parametrize("rescale", [True, False], ids=["kappa", "plain"])
def test_gradient_is_that_of_the_frozen_weights(penalty, rescale):
  """Central differences of kappa (L + eta_t R), kappa and eta_t held."""
  options = dict(eta=1.7, penalty=penalty, rescale=rescale, **RELATIVE)

  def loss(w):
    return jaxmix.mixupe_loss(
      functools.partial(model, w), X, Y, PLAN, **options
    )

  (value, aux), grads = jax.value_and_grad(loss, has_aux=True)(W)
  L, R = float(aux.mixup_loss), float(aux.penalty)
  assert R > 0.05
  eta_t = 1.7 * L * R / (L * L + R * R)
  kappa = L / (L + eta_t * R) if rescale else 1.0
  np.testing.assert_allclose(aux.eta, eta_t, rtol=1e-5)
  np.testing.assert_allclose(aux.scale, kappa, rtol=1e-5)
  np.testing.assert_allclose(value, kappa * (L + eta_t * R), rtol=1e-5)

  def frozen(w):
    _, aux = loss(w)
    return kappa * (float(aux.mixup_loss) + eta_t * float(aux.penalty))

  step = 1e-2
  for at in np.ndindex(W.shape):
    moved = frozen(W.at[at].add(step)) - frozen(W.at[at].add(-step))
    np.testing.assert_allclose(
      grads[at], moved / (2.0 * step), rtol=5e-3, atol=5e-4
    )


@pytest.mark.parametrize("penalty", ["approximate", "exact"])
def test_the_gradient_pass_by_pass_is_the_same(penalty):
  options = dict(eta=1.7, penalty=penalty, **RELATIVE)

  def loss(w):
    return jaxmix.mixupe_loss(
      functools.partial(model, w),
      *(X, Y, PLAN),
      clean_pass="separate",
      **options,
    )

  (expected, aux), slopes = jax.value_and_grad(loss, has_aux=True)(W)
  (value, own), grads = jaxmix.mixupe_value_and_grad(
    model, W, X, Y, PLAN, **options
  )
  np.testing.assert_allclose(value, expected, rtol=1e-6)
  np.testing.assert_allclose(own.eta, aux.eta, rtol=1e-6)
  np.testing.assert_allclose(grads, slopes, rtol=1e-5)
  _, absolute = jaxmix.mixupe_value_and_grad(model, W, X, Y, PLAN, eta=1.7)
  assert np.abs(absolute - grads).max() > 1e-3


@pytest.mark.parametrize("by", ["loss", "passes"])
def test_replicas_have_the_whole_batchs_weight(by):
  """Pairs within halves, of which one is mostly padding."""
  x = jnp.concatenate([X, -2.0 * X])
  y = jnp.concatenate([Y, Y])
  half = lambda mask: PLAN.replace(mask=jnp.array(mask))
  masks = [[True] * 4, [False, True, True, False]]
  lam = jnp.concatenate([PLAN.lam] * 2)
  partner = jnp.concatenate([PLAN.partner, 4 + PLAN.partner])
  whole = jaxmix.MixPlan(lam, lam, partner, 0.5, jnp.array(sum(masks, [])))
  options = dict(eta=1.7, **RELATIVE)

  def gradient(w, x, y, plan, axis_name):
    if by == "passes":
      (_, aux), grads = jaxmix.mixupe_value_and_grad(
        model, w, x, y, plan, axis_name=axis_name, **options
      )
      return aux.eta, grads

    def loss(w):
      return jaxmix.mixupe_loss(
        functools.partial(model, w), x, y, plan, axis_name=axis_name, **options
      )

    (_, aux), grads = jax.value_and_grad(loss, has_aux=True)(w)
    return aux.eta, jax.lax.pmean(grads, axis_name) if axis_name else grads

  weight, expected = gradient(W, x, y, whole, None)
  plans = jax.tree.map(lambda *one: jnp.stack(one), *map(half, masks))
  weights, grads = jax.vmap(
    lambda x, y, plan: gradient(W, x, y, plan, "replica"),
    axis_name="replica",
  )(x.reshape(2, 4, 2), y.reshape(2, 4), plans)
  np.testing.assert_allclose(weights, [weight] * 2, rtol=1e-5)
  for own in grads:
    np.testing.assert_allclose(own, expected, rtol=1e-4, atol=1e-6)


def test_an_unknown_scale_is_refused():
  with pytest.raises(ValueError, match="eta_scale must be one of"):
    jaxmix.enhance_loss(1.0, 1.0, eta=1.0, eta_scale="loss")


@pytest.mark.parametrize("penalty", [penalties.release(), "approximate"])
def test_at_logits_of_zero_the_penalty_pulls_at_nothing(penalty):
  """There R = 0, and its slope is not: it must have no weight."""

  def gradient(eta):
    return jaxmix.mixupe_value_and_grad(
      model, 1e-6 * W, X, Y, PLAN, eta=eta, penalty=penalty, **RELATIVE
    )[1]

  np.testing.assert_allclose(gradient(100.0), gradient(0.0), atol=2e-4)
  pulled = jaxmix.mixupe_value_and_grad(
    model, 1e-6 * W, X, Y, PLAN, eta=100.0, penalty=penalty, rescale=False
  )[1]
  assert np.abs(pulled).max() > 1.0


def test_no_eta_collapses_a_network():
  """A small MLP on iris, at values of eta over two orders of magnitude."""
  iris = datasets.load_iris()
  x = jnp.asarray((iris.data - iris.data.mean(0)) / iris.data.std(0))
  x, y = x.astype(jnp.float32), jnp.asarray(iris.target)
  network = jaxmix.models.create("mlp", 3, features=(16,))
  optimizer = optax.adam(1e-2)
  policy = jaxmix.policies.mixup(1.0)

  def train(eta, own):
    """Mean loss at the end, and the logits' mean size, by a form of eta_t."""
    params = network.init(jax.random.key(0), x)

    def step(carry, key):
      params, state = carry
      plan = jaxmix.draw(key, len(x), policy=policy)

      def loss(params):
        apply = functools.partial(network.apply, params)
        if own:
          return jaxmix.mixupe_loss(apply, x, y, plan, eta=eta, **RELATIVE)[0]
        _, aux = jaxmix.mixupe_loss(apply, x, y, plan, eta=0.0)
        weight = jax.lax.stop_gradient(eta * aux.mixup_loss / aux.penalty)
        return aux.mixup_loss + weight * aux.penalty

      grads = jax.grad(loss)(params)
      updates, state = optimizer.update(grads, state, params)
      return (optax.apply_updates(params, updates), state), None

    keys = jax.random.split(jax.random.key(1), 200)
    (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), keys)
    return jaxmix.losses.softmax_cross_entropy(network.apply(params, x), y)

  etas = jnp.array([0.3, 1.0, 3.0])
  with jax.numpy_dtype_promotion("standard"):  # optax's Adam counts in integers
    ours, quotient = (
      jax.jit(jax.vmap(functools.partial(train, own=own)))(etas).mean(-1)
      for own in (True, False)
    )
  assert np.all(ours < 0.45), ours
  # And the plain quotient does: the test can tell.
  assert np.all(quotient[1:] > 0.7), quotient
