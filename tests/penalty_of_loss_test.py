"""MixupE's penalty is of the loss that is trained, whichever it is."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special

import jaxmix
from jaxmix import losses, penalties

RNG = np.random.default_rng(0)
B, D, K = 5, 3, 4
X = jnp.asarray(RNG.normal(size=(B, D)), jnp.float32)
Y = jnp.asarray(RNG.integers(0, K, B), jnp.int32)
SEVERAL = jnp.asarray(RNG.integers(0, 2, (B, K)), jnp.float32)
W = jnp.asarray(RNG.normal(size=(D, K)), jnp.float32)
LAM = jnp.array([0.9, 0.5, 1.0, 0.25, 0.7])
PLAN = jaxmix.MixPlan(LAM, LAM, jnp.array([1, 2, 0, 4, 3]), mean_shift=0.25)
APPLY = lambda x: x @ W + 0.5
F = np.asarray(X, np.float64) @ np.asarray(W, np.float64) + 0.5
ONE_HOT = np.eye(K)[np.asarray(Y)]


def penalty_of(loss_fn, labels=Y, apply_fn=APPLY, **options):
  call = functools.partial(
    jaxmix.mixupe_loss, apply_fn, X, labels, PLAN, eta=1.0, loss_fn=loss_fn
  )
  _, aux = jax.jit(lambda: call(**options))()
  return float(aux.penalty)


def mean_size(residual, along=F):
  """R of residuals g(f) - y, in NumPy."""
  return 0.25 * np.abs((residual * along).sum(axis=-1)).mean()


def several(logits, labels):
  return losses.logistic(logits, labels).sum(axis=-1)


SIGMOID = scipy.special.expit(F) - np.asarray(SEVERAL)
SOFTMAX = scipy.special.softmax(F, axis=1) - ONE_HOT
SMOOTH = scipy.special.softmax(F, axis=1) - (0.9 * ONE_HOT + 0.1 / K)
CLASSES = np.array([1.0, 0.5, 3.0, 0.0], np.float32)
smoothed = functools.partial(losses.softmax_cross_entropy, label_smoothing=0.1)
weighted = lambda f, y: (
  jnp.asarray(CLASSES)[y] * losses.softmax_cross_entropy(f, y)
)
with_optax = optax.softmax_cross_entropy_with_integer_labels
CASES = {
  "softmax": (losses.softmax_cross_entropy, Y, SOFTMAX),
  "optax": (with_optax, Y, SOFTMAX),
  "jitted": (jax.jit(losses.softmax_cross_entropy), Y, SOFTMAX),
  "smoothed": (smoothed, Y, SMOOTH),
  "dense, smoothed": (smoothed, jnp.asarray(ONE_HOT, jnp.float32), SMOOTH),
  "weighted": (weighted, Y, np.asarray(CLASSES)[Y][:, None] * SOFTMAX),
  "several labels": (several, SEVERAL, SIGMOID),
  "several, mean": (lambda f, y: several(f, y) / K, SEVERAL, SIGMOID / K),
  "temperature": (
    lambda f, y: losses.softmax_cross_entropy(f / 2.0, y),
    Y,
    (scipy.special.softmax(F / 2.0, axis=1) - ONE_HOT) / 2.0,
  ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_residual_is_the_losss_own(name):
  loss_fn, labels, residual = CASES[name]
  np.testing.assert_allclose(
    penalty_of(loss_fn, labels), mean_size(residual), rtol=1e-5
  )
  away = np.asarray(X, np.float64) @ np.asarray(W, np.float64)
  np.testing.assert_allclose(
    penalty_of(loss_fn, labels, penalty="exact"),
    mean_size(residual, -away),
    rtol=1e-5,
  )


def test_several_labels_do_not_have_softmaxs():
  assert abs(mean_size(SIGMOID) / mean_size(SOFTMAX) - 1.0) > 0.05
  softmax = scipy.special.softmax(F, axis=1) - np.asarray(SEVERAL)
  assert abs(mean_size(SIGMOID) / mean_size(softmax) - 1.0) > 0.05


@pytest.mark.parametrize("name", ["smoothed", "several labels"])
def test_every_way_to_the_penalty_takes_the_loss(name):
  loss_fn, labels, _ = CASES[name]
  want = penalty_of(loss_fn, labels)
  assert want > 0.1
  for clean_pass in ("separate", "split"):
    options = {"clean_pass": clean_pass}
    if clean_pass == "split":
      options["apply_fn"] = lambda x, parts=None: APPLY(x)
    got = penalty_of(loss_fn, labels, **options)
    np.testing.assert_allclose(got, want, rtol=1e-5)
  (_, aux), _ = jaxmix.mixupe_value_and_grad(
    lambda w, x: x @ w + 0.5, W, X, labels, PLAN, eta=1.0, loss_fn=loss_fn
  )
  np.testing.assert_allclose(aux.penalty, want, rtol=1e-5)


def test_at_mixed_points_the_labels_are_mixed():
  got = penalty_of(smoothed, penalty_at="mixed")
  partner = np.asarray(PLAN.partner)
  lam = np.asarray(LAM)[:, None]
  f = (lam * F + (1 - lam) * F[partner]).astype(np.float64)
  label = lam * ONE_HOT + (1 - lam) * ONE_HOT[partner]
  residual = scipy.special.softmax(f, axis=1) - 0.9 * label - 0.1 / K
  np.testing.assert_allclose(got, mean_size(residual, f), rtol=1e-5)


def test_smoothed_labels_are_at_rest_at_their_own_minimum():
  """There every residual is zero, where the unsmoothed label's is not."""
  best = np.log(0.9 * ONE_HOT + 0.1 / K).astype(np.float32)
  at = lambda x: jnp.asarray(best)
  options = dict(apply_fn=at, clean_pass="separate")
  assert abs(penalty_of(smoothed, **options)) < 1e-6
  assert penalty_of(losses.softmax_cross_entropy, **options) > 0.05


@pytest.mark.parametrize("order", [2, 3])
def test_taylor_terms_of_a_known_loss_are_those_of_its_closed_form(order):
  own = lambda f, y: losses.softmax_cross_entropy(f, y)
  moments = jnp.array([1.0, 0.25, 0.125, 0.1])[: order + 1]
  penalty = penalties.taylor(order, moments=moments)
  known, found = (
    penalty_of(loss_fn, penalty=penalty)
    for loss_fn in (losses.softmax_cross_entropy, own)
  )
  first = penalty_of(own, penalty="exact")
  assert known > 1.02 * first > 0.0
  np.testing.assert_allclose(found, known, rtol=1e-5)


@pytest.mark.parametrize("penalty", ["approximate", "exact"])
def test_the_gradient_is_that_of_the_closed_form(penalty):
  def grads(loss_fn, link=None):
    def loss(w):
      apply_fn = lambda x: jnp.tanh(x @ w)
      return jaxmix.mixupe_loss(
        apply_fn,
        X,
        SEVERAL,
        PLAN,
        eta=1.0,
        loss_fn=loss_fn,
        link=link,
        penalty=penalty,
        rescale=False,
      )[0]

    return jax.grad(loss)(W)

  own, closed = grads(several), grads(several, "sigmoid")
  np.testing.assert_allclose(own, closed, rtol=1e-4, atol=1e-6)
  assert np.abs(own - grads(several, "softmax")).max() > 0.01


@pytest.mark.parametrize("name", ["smoothed", "weighted", "several labels"])
def test_a_loss_for_a_link_gives_its_terms(name):
  loss_fn, labels, residual = CASES[name]
  qbar = -(residual * F).sum(axis=1)
  q = -(residual * (F - 0.5)).sum(axis=1)
  f = APPLY(X)
  got = jaxmix.directional_penalty(f, labels, link=loss_fn)
  np.testing.assert_allclose(got, qbar, rtol=1e-4, atol=1e-6)
  got = jaxmix.exact_directional_penalty(APPLY, X, labels, link=loss_fn)
  np.testing.assert_allclose(got, q, rtol=1e-4, atol=1e-6)
  got = jaxmix.taylor_penalty(APPLY, X, labels, order=2, link=loss_fn)
  np.testing.assert_allclose(got[0], q, rtol=1e-4, atol=1e-6)
  with pytest.raises(ValueError, match="negative_cosine does not"):
    jaxmix.directional_penalty(f, Y, link=cosine)


def test_a_link_that_is_named_overrules_the_loss():
  got = penalty_of(smoothed, link="softmax")
  np.testing.assert_allclose(got, mean_size(SOFTMAX), rtol=1e-5)


def test_binary_logits_need_no_link():
  labels = (Y % 2).astype(jnp.float32)
  apply_fn = lambda x: APPLY(x)[:, 0]
  f = F[:, 0]
  residual = scipy.special.expit(f) - np.asarray(labels)
  want = 0.25 * np.abs(residual * f).mean()
  wrapped = lambda f, y: losses.logistic(f, y)
  for loss_fn in (losses.logistic, wrapped, optax.sigmoid_binary_cross_entropy):
    got = penalty_of(loss_fn, labels, apply_fn)
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_a_loss_of_many_pixels_adds_them_up():
  masks = jnp.asarray(RNG.integers(0, K, (B, 2)), jnp.int32)
  apply_fn = lambda x: jnp.stack([APPLY(x), -APPLY(x)], axis=1)
  by_pixel = lambda f, y: losses.softmax_cross_entropy(f, y).mean(axis=-1)
  f = np.stack([F, -F], axis=1)
  residual = scipy.special.softmax(f, axis=-1) - np.eye(K)[np.asarray(masks)]
  want = 0.25 * np.abs((residual * f).sum(axis=(1, 2)) / 2.0).mean()
  np.testing.assert_allclose(
    penalty_of(by_pixel, masks, apply_fn), want, rtol=1e-5
  )


EMBEDDINGS = losses.label_embeddings(jax.random.key(0), K, K)
cosine = lambda f, y: losses.negative_cosine(f, EMBEDDINGS[y])


@pytest.mark.parametrize("loss_fn", [cosine, jax.jit(cosine)])
def test_the_cosine_has_an_exact_penalty_alone(loss_fn):
  penalty_of(loss_fn, penalty="exact")  # and a jitted loss is traced
  with pytest.raises(
    ValueError, match="negative_cosine does not: R would be 0"
  ):
    penalty_of(loss_fn)
  # By central differences, along f(x) moved towards the mean input 0.
  step = 1e-3
  there = [
    np.asarray(cosine(APPLY((1.0 - sign * step) * X), Y)) for sign in (1, -1)
  ]
  want = 0.25 * np.abs(there[0] - there[1]).mean() / (2.0 * step)
  assert want > 0.01
  np.testing.assert_allclose(
    penalty_of(loss_fn, penalty="exact"), want, rtol=2e-3
  )


def test_masked_classes_cost_nothing():
  """A logit of -inf, whose slope is 0, beside a loss of one's own."""
  mask = jnp.array([0.0, 0.0, 0.0, -jnp.inf])
  labels = Y % 3
  masked = lambda x: APPLY(x) + mask[None]
  own = lambda f, y: losses.softmax_cross_entropy(f, y)
  got = penalty_of(own, labels, masked)
  want = penalty_of(losses.softmax_cross_entropy, labels, masked)
  assert np.isfinite(got) and got > 0.01
  np.testing.assert_allclose(got, want, rtol=1e-5)


# The versions of the authors' release.


def release_reference(version, threshold):
  """R of the release, worked in NumPy."""
  threshold = 0.0 if threshold is None else threshold
  q = -(SOFTMAX * (F - 0.5)).sum(axis=1)  # df(x)(0 - x) of APPLY
  qbar = -(SOFTMAX * F).sum(axis=1)
  return (
    0.25
    * {
      1: np.where(q < threshold, q, 0.0),
      2: np.abs(q),
      3: np.where(qbar < threshold, -qbar, 0.0),
      4: -qbar,
    }[version].mean()
  )


def test_release_thresholds_by_hand():
  terms = jnp.array([-2.0, 0.5, 3.0])
  for version, size in (
    (1, [-2.0, 0.0, 0.0]),
    (2, [2.0, 0.5, 3.0]),
    (3, [2.0, -0.5, 0.0]),
    (4, [2.0, -0.5, -3.0]),
  ):
    penalty = penalties.release(version=version)
    np.testing.assert_array_equal(penalty.size(terms), size)
    assert penalty.order == (1 if version < 3 else 0)


@pytest.mark.parametrize(
  ("version", "threshold"), [(1, 0.5), (2, None), (3, 0.1), (4, None)]
)
def test_release_versions_against_numpy(version, threshold):
  penalty = penalties.release(threshold, version=version)
  got = penalty_of(losses.softmax_cross_entropy, penalty=penalty)
  want = release_reference(version, threshold)
  assert abs(want) > 1e-3
  np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize("loss_fn", [losses.softmax_cross_entropy, with_optax])
@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_release_versions_but_the_third_detach_the_residual(version, loss_fn):
  def share(w, held):
    """R where the residual's own weights may be held."""
    f, tangent = x @ w + 0.5, -x @ w
    g = jax.nn.softmax(x @ held + 0.5) - jax.nn.one_hot(Y, K)
    along = tangent if version < 3 else -f
    term = (g * along).sum(axis=1)
    size = {1: lambda t: jnp.where(t < 0.5, t, 0.0), 2: jnp.abs}
    size |= {3: lambda t: jnp.where(t < 0.5, -t, 0.0), 4: jnp.negative}
    return 0.25 * size[version](term).mean()

  x = X
  threshold = 0.5 if version in (1, 3) else None
  penalty = penalties.release(threshold, version=version)

  def ours(w):
    _, aux = jaxmix.mixupe_loss(
      lambda x: x @ w + 0.5,
      X,
      Y,
      PLAN,
      eta=1.0,
      penalty=penalty,
      loss_fn=loss_fn,
    )
    return aux.penalty

  held = jax.grad(share)(W, W)
  through = jax.grad(lambda w: share(w, w))(W)
  assert np.abs(held - through).max() > 0.01
  want = through if version == 3 else held
  np.testing.assert_allclose(jax.grad(ours)(W), want, rtol=1e-4, atol=1e-6)


def test_release_errors():
  with pytest.raises(
    ValueError, match=r"version must be one of .1, 2, 3, 4.*5"
  ):
    penalties.release(version=5)
  with pytest.raises(ValueError, match="threshold must be None for version=4"):
    penalties.release(1.0, version=4)
