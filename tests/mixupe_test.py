"""MixupE: penalties, the enhanced loss, and mixupe_loss in all its forms."""

import functools
import math

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from jaxmix import (
  boxes,
  directional,
  losses,
  mixing,
  mixupe,
  pairing,
  penalties,
  policies,
  replicas,
)
from jaxmix.losses import MixedTargets
from jaxmix.mixing import MixPlan

RNG = np.random.default_rng(0)
B, D, K = 6, 3, 4
X = RNG.normal(size=(B, D)).astype(np.float32)
Y = RNG.integers(0, K, B)
W1 = RNG.normal(size=(D, 5)).astype(np.float32)
W2 = RNG.normal(size=(5, K)).astype(np.float32)
LAM = np.array([0.9, 0.5, 1.0, 0.25, 0.0, 0.7], np.float32)
PARTNER = np.array([1, 2, 0, 5, 3, 4])
SHIFT = 1.0 / 3.0


def net(params, x):
  hidden = x @ params[0]
  return jnp.tanh(hidden) @ params[1]


def numpy_net(x):
  return np.tanh(x @ W1.astype(np.float64)) @ W2.astype(np.float64)


PARAMS = (jnp.asarray(W1), jnp.asarray(W2))
APPLY = functools.partial(net, PARAMS)


def plan_of(mask=None, shift=SHIFT):
  return MixPlan(
    lam=jnp.asarray(LAM),
    weight=jnp.asarray(LAM),
    partner=jnp.asarray(PARTNER),
    mean_shift=shift,
    mask=None if mask is None else jnp.asarray(mask),
  )


# The penalty, eq. (2) and eq. (1).


def test_penalty_by_hand():
  # softmax (1/4, 3/4): (1 - 1/4) f0 - 3/4 f1 = -3/4 log 3.
  logits = jnp.array([[0.0, np.log(3.0)]], jnp.float32)
  qbar = directional.directional_penalty(logits, jnp.array([0]))
  np.testing.assert_allclose(qbar, [-0.75 * np.log(3.0)], rtol=1e-6)
  qbar = directional.directional_penalty(logits, jnp.array([1]))
  np.testing.assert_allclose(qbar, [0.25 * np.log(3.0)], rtol=1e-6)


def test_sigmoid_penalty_by_hand():
  # sigmoid(log 3) = 3/4.
  logits = jnp.full(2, np.log(3.0), jnp.float32)
  qbar = directional.directional_penalty(logits, jnp.array([1, 0]))
  np.testing.assert_allclose(
    qbar, [0.25 * np.log(3.0), -0.75 * np.log(3.0)], rtol=1e-6
  )


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_penalty_against_numpy(dtype):
  logits = jnp.asarray(RNG.normal(size=(B, K)), dtype)
  f = np.asarray(logits, np.float64)
  dense = RNG.dirichlet(np.ones(K), B).astype(np.float32)
  other = RNG.integers(0, K, B)
  blend = LAM[:, None] * np.eye(K)[Y] + (1 - LAM[:, None]) * np.eye(K)[other]
  mixed = MixedTargets(jnp.asarray(Y), jnp.asarray(other), jnp.asarray(LAM))
  for labels, y in (
    (jnp.asarray(Y), np.eye(K)[Y]),
    (jnp.asarray(dense), dense),
    (mixed, blend),
    (mixed.dense(K), blend),
  ):
    qbar = directional.directional_penalty(logits, labels)
    assert qbar.dtype == jnp.float32 and qbar.shape == (B,)
    expected = ((y - scipy.special.softmax(f, axis=1)) * f).sum(1)
    np.testing.assert_allclose(qbar, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(5,), (5, 3)])
def test_sigmoid_penalty_against_numpy(shape):
  f = RNG.normal(size=shape).astype(np.float32)
  y = RNG.integers(0, 2, shape)
  qbar = directional.directional_penalty(
    jnp.asarray(f), jnp.asarray(y), link="sigmoid"
  )
  terms = (y - scipy.special.expit(f)) * f
  expected = terms if len(shape) == 1 else terms.sum(1)
  np.testing.assert_allclose(qbar, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mean", ["zero", "scalar", "features"])
def test_exact_penalty_against_finite_differences(mean):
  xbar = {
    "zero": 0.0,
    "scalar": 0.7,
    "features": RNG.normal(size=(1, D)).astype(np.float32),
  }[mean]
  x, step = X.astype(np.float64), 1e-6
  move = xbar - x
  slope = (numpy_net(x + step * move) - numpy_net(x - step * move)) / (2 * step)
  residual = scipy.special.softmax(numpy_net(x), axis=1) - np.eye(K)[Y]
  q = directional.exact_directional_penalty(
    APPLY, jnp.asarray(X), jnp.asarray(Y), xbar
  )
  np.testing.assert_allclose(q, (residual * slope).sum(1), rtol=1e-3, atol=1e-4)


def test_exact_penalty_of_binary_logits_against_finite_differences():
  w = RNG.normal(size=D)
  f = lambda x: np.tanh(x @ w)
  y, x = Y % 2, X.astype(np.float64)
  slope = (f(x - 1e-6 * x) - f(x + 1e-6 * x)) / 2e-6
  expected = (scipy.special.expit(f(x)) - y) * slope
  q = directional.exact_directional_penalty(
    lambda x: jnp.tanh(x @ jnp.asarray(w, jnp.float32)), jnp.asarray(X), y
  )
  np.testing.assert_allclose(q, expected, rtol=1e-3, atol=1e-4)


def test_exact_is_approximate_on_a_homogeneous_net_with_centred_inputs():
  relu = lambda x: jax.nn.relu(x @ PARAMS[0]) @ PARAMS[1]
  x, y = jnp.asarray(X), jnp.asarray(Y)
  np.testing.assert_allclose(
    directional.exact_directional_penalty(relu, x, y),
    directional.directional_penalty(relu(x), y),
    rtol=1e-4,
    atol=1e-5,
  )
  moved = directional.exact_directional_penalty(relu, x, y, 0.5)
  assert not np.allclose(moved, directional.directional_penalty(relu(x), y))


@pytest.mark.parametrize("means", [(0.25, 2.0), "arrays"])
def test_exact_penalty_of_a_pytree(means):
  x = {"a": jnp.asarray(X), "b": jnp.asarray(X[::-1].copy())}
  if means == "arrays":
    means = (
      np.full((1, D), 0.25, np.float32),
      np.full((1, D), 2.0, np.float32),
    )
  mean = {"a": means[0], "b": means[1]}
  wide = jnp.concatenate([x["a"], x["b"]], axis=1)
  flat_mean = np.concatenate([np.full((1, D), 0.25), np.full((1, D), 2.0)], 1)
  w = jnp.asarray(RNG.normal(size=(2 * D, K)), jnp.float32)
  split = lambda t: jnp.tanh(jnp.concatenate([t["a"], t["b"]], axis=1) @ w)
  np.testing.assert_allclose(
    directional.exact_directional_penalty(split, x, jnp.asarray(Y), mean),
    directional.exact_directional_penalty(
      lambda z: jnp.tanh(z @ w), wide, jnp.asarray(Y), flat_mean
    ),
    rtol=1e-4,
    atol=1e-5,
  )


def test_exact_penalty_in_bfloat16():
  apply = lambda x: net(jax.tree.map(lambda p: p.astype(x.dtype), PARAMS), x)
  low = directional.exact_directional_penalty(
    apply, jnp.asarray(X, jnp.bfloat16), jnp.asarray(Y)
  )
  high = directional.exact_directional_penalty(
    APPLY, jnp.asarray(X), jnp.asarray(Y)
  )
  assert low.dtype == jnp.float32
  np.testing.assert_allclose(low, high, atol=0.1)


# kappa (L + eta R), eq. (5).


@pytest.mark.parametrize("eta", [0.0, 1e-3, 1.0, 30.0])
@pytest.mark.parametrize("mean, r", [(2.0, 0.5), (2.0, -0.03), (0.3, 7.0)])
def test_enhance_keeps_the_value_and_scales_the_gradient(mean, r, eta):
  value, slopes = jax.value_and_grad(mixupe.enhance_loss, argnums=(0, 1))(
    mean, r, eta
  )
  np.testing.assert_allclose(value, mean, rtol=1e-6)
  kappa = mean / (mean + eta * r)
  np.testing.assert_allclose(slopes, [kappa, kappa * eta], rtol=1e-5)


@pytest.mark.parametrize("mean, r", [(1.0, -4.0), (-1.0, 0.5), (-1.0, 4.0)])
def test_enhance_has_the_sign_of_the_sum(mean, r):
  value = mixupe.enhance_loss(jnp.float32(mean), jnp.float32(r), 0.5)
  np.testing.assert_allclose(
    value, abs(mean) * np.sign(mean + 0.5 * r), rtol=1e-6
  )


@pytest.mark.parametrize("mean, r", [(1.0, -1.0), (0.0, 0.0), (0.0, 2.0)])
def test_enhance_is_safe_at_zero(mean, r):
  run = jax.jit(jax.value_and_grad(mixupe.enhance_loss, argnums=(0, 1)))
  value, slopes = run(mean, r, 1.0)
  np.testing.assert_array_equal(value, 0.0)
  assert np.all(np.isfinite(slopes))


def test_enhance_sweeps_over_eta():
  etas = jnp.array([0.0, 1.0, 3.0])
  slope = jax.grad(lambda r, eta: mixupe.enhance_loss(2.0, r, eta))
  got = jax.vmap(slope, in_axes=(None, 0))(1.0, etas)
  np.testing.assert_allclose(got, [0.0, 2.0 / 3.0, 6.0 / 5.0], rtol=1e-6)


def test_enhance_errors():
  with pytest.raises(ValueError, match="loss must be a scalar.*mean first"):
    mixupe.enhance_loss(jnp.ones(2), jnp.float32(1.0), 1.0)
  with pytest.raises(ValueError, match="penalty must be a scalar"):
    jax.jit(mixupe.enhance_loss)(1.0, jnp.ones(2), 1.0)
  for eta in (np.inf, np.nan):
    with pytest.raises(ValueError, match="eta must lie in"):
      mixupe.enhance_loss(1.0, 1.0, eta)
  with pytest.raises(TypeError, match="eta must be a real number"):
    mixupe.enhance_loss(1.0, 1.0, None)
  with pytest.raises(ValueError, match="eta must be a scalar.*vmap over eta"):
    mixupe.enhance_loss(1.0, 1.0, jnp.ones(2))


# mixupe_loss against NumPy.


def numpy_parts(
  *,
  fraction=1.0,
  mask=None,
  at="clean",
  penalty="approximate",
  xbar=0.0,
  form="absolute",
  threshold=1.0,
):
  """L and R written from the paper, in float64."""
  x, lam = X.astype(np.float64), LAM.astype(np.float64)[:, None]
  one = np.eye(K)[Y]
  mixed, y = (
    lam * x + (1 - lam) * x[PARTNER],
    lam * one + (1 - lam) * one[PARTNER],
  )
  real = np.ones(B, bool) if mask is None else np.asarray(mask)
  log_p = scipy.special.log_softmax(numpy_net(mixed), axis=1)
  loss = -(y * log_p).sum(1)[real].mean()
  points, labels = (x, one) if at == "clean" else (mixed, y)
  f = numpy_net(points)
  residual = labels - scipy.special.softmax(f, axis=1)
  if penalty == "exact":
    move = 1e-6 * (xbar - points)
    slope = (numpy_net(points + move) - numpy_net(points - move)) / 2e-6
    q = -(residual * slope).sum(1)
  else:
    q = (residual * f).sum(1)
  terms = np.abs(q) if form == "absolute" else np.where(q < threshold, -q, 0)
  m = math.ceil(fraction * B)
  terms = terms[:m][real[:m]]
  return loss, SHIFT * (terms.mean() if terms.size else 0.0)


MASK = [True, True, False, True, False, True]
OPTIONS = [
  {},
  {"fraction": 0.5},
  {"fraction": 0.3},
  {"mask": MASK},
  {"mask": MASK, "fraction": 0.5},
  {"mask": [False, False, False, True, True, True], "fraction": 0.5},
  {"at": "mixed"},
  {"at": "mixed", "fraction": 0.5, "mask": MASK},
  {"penalty": "exact"},
  {"penalty": "exact", "xbar": 0.4, "fraction": 0.5},
  {"penalty": "exact", "at": "mixed", "xbar": 0.4},
  {"form": "release"},
  {"form": "release", "threshold": 0.1},
  {"form": "release", "at": "mixed", "mask": MASK},
]


def keywords(options):
  """`mixupe_loss`'s own words for `numpy_parts`'s."""
  words = {"fraction": "clean_fraction", "at": "penalty_at"}
  found = {words[k]: v for k, v in options.items() if k in words}
  if options.get("penalty") == "exact":
    found["penalty"] = penalties.exact(options.get("xbar", 0.0))
  elif options.get("form") == "release":
    found["penalty"] = penalties.release(options.get("threshold", 1.0))
  return found


@pytest.mark.parametrize("clean_pass", ["joint", "separate", "split"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_loss_against_numpy(options, clean_pass):
  if options.get("at") == "mixed" and clean_pass != "joint":
    return  # there is no clean pass
  mean, r = numpy_parts(**options)
  kwargs = keywords(options)
  apply = (lambda x, parts: APPLY(x)) if clean_pass == "split" else APPLY
  loss, aux = jax.jit(
    lambda x, y: mixupe.mixupe_loss(
      apply,
      x,
      y,
      plan_of(options.get("mask")),
      eta=0.7,
      clean_pass=clean_pass,
      **kwargs,
    )
  )(X, Y)
  np.testing.assert_allclose(aux.mixup_loss, mean, rtol=1e-5)
  np.testing.assert_allclose(aux.penalty, r, rtol=1e-3, atol=1e-5)
  np.testing.assert_allclose(aux.scale, mean / abs(mean + 0.7 * r), rtol=1e-3)
  np.testing.assert_allclose(loss, mean * np.sign(mean + 0.7 * r), rtol=1e-5)
  lam = LAM[:, None].astype(np.float64)
  mixed = lam * X + (1 - lam) * X[PARTNER]
  np.testing.assert_allclose(aux.logits, numpy_net(mixed), rtol=1e-4, atol=1e-5)


def gradient(apply=net, plan=None, eta=0.7, **options):
  def run(params):
    return mixupe.mixupe_loss(
      lambda x, **kw: apply(params, x, **kw),
      jnp.asarray(X),
      jnp.asarray(Y),
      plan_of() if plan is None else plan,
      eta=eta,
      **options,
    )[0]

  return jax.jit(jax.grad(run))(PARAMS)


def check_close(got, want, rtol=2e-4, atol=1e-5):
  for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
    np.testing.assert_allclose(x, y, rtol=rtol, atol=atol)


@pytest.mark.parametrize("penalty", ["approximate", "exact"])
def test_gradient_is_kappa_times_the_gradient_of_the_sum(penalty):
  plan, x, y, eta = plan_of(), jnp.asarray(X), jnp.asarray(Y), 0.7

  def parts(params):
    mixed, targets = plan.mix(x), plan.targets(y).dense(K)
    loss = jnp.mean(losses.softmax_cross_entropy(net(params, mixed), targets))
    if penalty == "exact":
      q = directional.exact_directional_penalty(lambda x: net(params, x), x, y)
    else:
      q = directional.directional_penalty(net(params, x), y)
    return loss, SHIFT * jnp.mean(jnp.abs(q))

  both = jax.jit(lambda params: (parts(params), jax.jacrev(parts)(params)))
  (mean, r), slopes = both(PARAMS)
  kappa = mean / (mean + eta * r)
  want = jax.tree.map(lambda a, b: kappa * (a + eta * b), *slopes)
  check_close(gradient(penalty=penalty), want)


@pytest.mark.parametrize("penalty", ["approximate", "exact"])
@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_passes_agree_without_batch_norm(penalty, fraction):
  options = {"penalty": penalty, "clean_fraction": fraction}
  joint = gradient(clean_pass="joint", **options)
  separate = gradient(clean_pass="separate", **options)
  split = gradient(
    lambda params, x, parts: net(params, x), clean_pass="split", **options
  )
  check_close(separate, joint)
  check_close(split, joint)


def test_separate_passes_draw_the_same_unless_state_tells_them_apart():
  """Dropout by one key: the same masks twice; joint draws for 2 B examples."""
  plan = plan_of().replace(lam=jnp.ones(B), weight=jnp.ones(B))
  drawn = []

  def dropped(x, state=None):
    key = jax.random.key(0)
    if state is not None:
      key = jax.random.fold_in(key, state)
    kept = jax.random.bernoulli(key, 0.5, (len(x), K))
    drawn.append(np.asarray(kept))
    return jnp.where(kept, 2.0 * APPLY(x), 0.0), 1

  def loss(apply_fn, has_aux, clean_pass):
    options = dict(eta=0.5, has_aux=has_aux, clean_pass=clean_pass)
    return mixupe.mixupe_loss(apply_fn, X, Y, plan, **options)[1].penalty

  alone = lambda x: dropped(x)[0]
  shared, joint = (loss(alone, False, name) for name in ("separate", "joint"))
  np.testing.assert_array_equal(drawn[0], drawn[1])
  assert drawn[2].shape == (2 * B, K) and shared != joint > 0.0
  assert loss(dropped, True, "separate") != shared > 0.0
  np.testing.assert_array_equal(drawn[3], drawn[0])
  assert np.any(drawn[4] != drawn[0])


def test_eta_zero_is_mixup():
  plan = plan_of()

  def mixup(params):
    logits = net(params, plan.mix(jnp.asarray(X)))
    targets = plan.targets(jnp.asarray(Y))
    return jnp.mean(
      losses.mixed_loss(losses.softmax_cross_entropy, logits, targets)
    )

  check_close(gradient(eta=0.0), jax.grad(mixup)(PARAMS))


def test_one_pass_of_mixed_then_clean_examples():
  seen = []

  def apply(x, parts):
    seen.append((x, parts))
    return APPLY(x)

  plan = plan_of()
  mixupe.mixupe_loss(
    apply, X, Y, plan, eta=1.0, clean_pass="split", clean_fraction=0.5
  )
  ((both, parts),) = seen
  assert parts == (6, 3)
  np.testing.assert_array_equal(both[:6], plan.mix(X))
  np.testing.assert_array_equal(both[6:], X[:3])


@pytest.mark.parametrize("penalty", ["approximate", "exact"])
def test_separate_passes_mixed_first_then_clean_with_the_state(penalty):
  seen = []

  def apply(x, state=0):
    seen.append((x.shape, state))
    return APPLY(x), state + 1

  _, aux = mixupe.mixupe_loss(
    apply,
    X,
    Y,
    plan_of(),
    eta=1.0,
    clean_pass="separate",
    clean_fraction=0.5,
    penalty=penalty,
    has_aux=True,
  )
  assert [shape for shape, _ in seen] == [(6, D), (3, D)]
  assert seen[0][1] == 0 and int(seen[1][1]) == 1
  assert int(aux.aux) == 2


@pytest.mark.parametrize("penalty", ["approximate", "exact"])
@pytest.mark.parametrize("options", [{}, {"penalty_at": "mixed"}], ids=str)
def test_one_pass_returns_its_aux(penalty, options):
  _, aux = mixupe.mixupe_loss(
    lambda x: (APPLY(x), x.shape[0]),
    X,
    Y,
    plan_of(),
    eta=1.0,
    penalty=penalty,
    has_aux=True,
    **options,
  )
  assert int(aux.aux) == (6 if options else 12)


def test_penalty_at_mixed_needs_no_clean_pass():
  calls = []
  apply = lambda x: calls.append(x.shape) or APPLY(x)
  mixupe.mixupe_loss(apply, X, Y, plan_of(), eta=1.0, penalty_at="mixed")
  assert calls == [(B, D)]


@pytest.mark.parametrize(
  "size, fraction, count",
  [(6, 1.0, 6), (6, 0.5, 3), (6, 0.34, 3), (6, 0.01, 1), (100, 0.07, 7)]
  + [(20, 0.55, 11), (4096, 0.25, 1024), (1, 0.1, 1)],
)
def test_clean_fraction_takes_the_ceiling(size, fraction, count):
  lam = jnp.ones(size)
  plan = MixPlan(lam, lam, jnp.zeros(size, int), mean_shift=SHIFT)
  shapes = []

  def apply(x):
    shapes.append(x.shape[0])
    return x @ jnp.ones((1, 2))

  jax.eval_shape(
    lambda x, y: mixupe.mixupe_loss(
      apply, x, y, plan, eta=1.0, clean_fraction=fraction
    ),
    jnp.ones((size, 1)),
    jnp.zeros(size, int),
  )
  assert shapes == [size + count]


def test_clean_fraction_is_unbiased():
  x, y = jnp.asarray(X), jnp.asarray(Y)

  @jax.jit
  @jax.vmap
  def penalty(key):
    order = jax.random.permutation(key, B)
    plan = plan_of().replace(lam=jnp.ones(B))
    options = {"eta": 1.0, "clean_fraction": 0.5}
    return mixupe.mixupe_loss(APPLY, x[order], y[order], plan, **options)[1][1]

  drawn = np.asarray(penalty(jax.random.split(jax.random.key(0), 2_000)))
  _, full = numpy_parts()
  # 4.5 standard errors.
  assert abs(drawn.mean() - full) < 4.5 * drawn.std() / np.sqrt(2_000)


def test_padding_is_never_counted():
  x = np.where(np.array(MASK)[:, None], X, 1e6).astype(np.float32)
  plan = plan_of(MASK).replace(lam=jnp.ones(B), weight=jnp.ones(B))
  run = lambda x: mixupe.mixupe_loss(APPLY, x, Y, plan, eta=1.0)[1]
  for got, want in zip(run(x)[:3], run(X)[:3], strict=True):
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_no_real_examples_is_finite():
  value, slope = jax.value_and_grad(
    lambda p: mixupe.mixupe_loss(
      lambda x: net(p, x), X, Y, plan_of([False] * B), eta=1.0
    )[0]
  )(PARAMS)
  assert value == 0.0
  assert all(np.all(leaf == 0.0) for leaf in jax.tree.leaves(slope))


def test_cutmix_plans_work(key):
  images = jax.random.normal(key, (4, 5, 5))
  plan = boxes.draw_cutmix(key, images.shape)
  w = jax.random.normal(key, (25, 3))
  apply = lambda x: x.reshape(-1, 25) @ w
  labels = jnp.array([0, 1, 2, 1])
  loss, aux = mixupe.mixupe_loss(apply, images, labels, plan, eta=1.0)
  mixed = losses.mixed_loss(
    losses.softmax_cross_entropy, apply(plan.mix(images)), plan.targets(labels)
  )
  np.testing.assert_allclose(loss, jnp.mean(mixed), rtol=1e-5)
  qbar = directional.directional_penalty(apply(images), labels)
  np.testing.assert_allclose(
    aux.penalty, jnp.mean(jnp.abs(qbar)) / 3.0, rtol=1e-5
  )


def test_logistic_loss_takes_the_sigmoid():
  apply = lambda x: jnp.tanh(x @ PARAMS[0])[:, 0]
  y = jnp.asarray(Y % 2)
  _, aux = mixupe.mixupe_loss(
    apply, X, y, plan_of(), eta=1.0, loss_fn=losses.logistic
  )
  f = np.asarray(apply(jnp.asarray(X)), np.float64)
  expected = SHIFT * np.abs((Y % 2 - scipy.special.expit(f)) * f).mean()
  np.testing.assert_allclose(aux.penalty, expected, rtol=1e-5)


def test_dense_labels_equal_integer_ones():
  for options in ({}, {"penalty_at": "mixed"}):
    integer, dense = (
      mixupe.mixupe_loss(APPLY, X, y, plan_of(), eta=1.0, **options)[1]
      for y in (Y, np.eye(K, dtype=np.float32)[Y])
    )
    np.testing.assert_allclose(integer.penalty, dense.penalty, rtol=1e-5)
    np.testing.assert_allclose(integer.mixup_loss, dense.mixup_loss, rtol=1e-5)


def test_pytree_inputs():
  x = {"a": jnp.asarray(X[:, :2]), "b": jnp.asarray(X[:, 2:])}
  apply = lambda t: APPLY(jnp.concatenate([t["a"], t["b"]], axis=1))
  for penalty in ("approximate", "exact"):
    tree = mixupe.mixupe_loss(apply, x, Y, plan_of(), eta=1.0, penalty=penalty)[
      1
    ]
    flat = mixupe.mixupe_loss(APPLY, X, Y, plan_of(), eta=1.0, penalty=penalty)[
      1
    ]
    np.testing.assert_allclose(tree.penalty, flat.penalty, rtol=1e-5)


def test_bfloat16_models_have_float32_losses():
  low = jax.tree.map(lambda p: p.astype(jnp.bfloat16), PARAMS)
  loss, aux = mixupe.mixupe_loss(
    lambda x: net(low, x), jnp.asarray(X, jnp.bfloat16), Y, plan_of(), eta=1.0
  )
  assert loss.dtype == aux.penalty.dtype == aux.scale.dtype == jnp.float32
  np.testing.assert_allclose(loss, numpy_parts()[0], rtol=0.05)


def test_a_bfloat16_loss_fn_is_averaged_in_float32():
  half = lambda f, y: losses.softmax_cross_entropy(f, y).astype(jnp.bfloat16)
  loss, _ = mixupe.mixupe_loss(
    APPLY, X, Y, plan_of(MASK), eta=1.0, loss_fn=half
  )
  assert loss.dtype == jnp.float32
  np.testing.assert_allclose(loss, numpy_parts(mask=MASK)[0], rtol=0.01)


def test_a_negative_loss_keeps_its_gradient_downhill():
  # Negative cosine: L < 0, R > 0, and L + eta R < 0.
  embeddings = losses.label_embeddings(jax.random.key(0), K, K)
  loss_fn = lambda f, y: losses.negative_cosine(f, embeddings[y])
  f = embeddings[jnp.asarray(Y)] + 0.1
  plan = plan_of().replace(lam=jnp.ones(B), weight=jnp.ones(B))
  loss, aux = mixupe.mixupe_loss(
    *(lambda x: x, f, Y, plan),
    eta=1e-3,
    loss_fn=loss_fn,
    penalty=penalties.exact(0.5),
  )
  assert aux.penalty > 0.01
  np.testing.assert_allclose(loss, aux.mixup_loss, rtol=1e-5)
  assert aux.scale > 0.0 and loss < 0.0


def test_sweeps_over_alpha_and_eta(key):
  alphas, etas = jnp.array([0.2, 1.0]), jnp.array([0.0, 1.0])

  def run(alpha, eta):
    plan = mixing.draw(key, B, policy=policies.mixup(alpha))
    return mixupe.mixupe_loss(
      APPLY, jnp.asarray(X), jnp.asarray(Y), plan, eta=eta
    )

  loss, aux = jax.jit(jax.vmap(run))(alphas, etas)
  for i, (alpha, eta) in enumerate([(0.2, 0.0), (1.0, 1.0)]):
    want, want_aux = run(alpha, eta)
    np.testing.assert_allclose(loss[i], want, rtol=1e-5)
    np.testing.assert_allclose(aux.penalty[i], want_aux.penalty, rtol=1e-5)
    np.testing.assert_allclose(aux.scale[i], want_aux.scale, rtol=1e-5)


def test_does_not_retrace(key):
  traces = []

  @jax.jit
  def step(params, key, eta):
    traces.append(1)
    plan = mixing.draw(key, B, policy=policies.mixup(1.0))
    return jax.grad(
      lambda p: mixupe.mixupe_loss(lambda x: net(p, x), X, Y, plan, eta=eta)[0]
    )(params)

  step(step(PARAMS, key, 0.1), jax.random.key(2), 1.0)
  assert len(traces) == 1


# Replicas: vmap with an axis name; the devices are in parallel_parity_test.py.


def test_mean_share_by_hand():
  values = jnp.array([[1.0, 2.0], [3.0, 50.0]])
  mask = jnp.array([[True, True], [True, False]])
  share = jax.vmap(lambda v, m: replicas.mean_share(v, m, "r"), axis_name="r")(
    values, mask
  )
  # Three real examples over two replicas: counts average to 1.5.
  np.testing.assert_allclose(share, [2.0, 2.0])
  np.testing.assert_allclose(jnp.mean(share), 2.0)
  assert replicas.mean_share(values[0], None, "r") == 1.5


# Errors, at trace time too.

PLAN = plan_of()
BAD_CALLS = [
  ({"x": X[:4]}, ValueError, "axes must agree.*'x': 4, 'labels': 6, 'plan': 6"),
  ({"labels": Y[:4]}, ValueError, "'labels': 4"),
  ({"x": np.zeros((B, D), np.int32)}, TypeError, "x must be floating point"),
  ({"labels": Y == 0}, TypeError, "labels must be integer classes"),
  ({"clean_fraction": 0.0}, ValueError, r"clean_fraction must lie in \(0, 1\]"),
  ({"clean_fraction": 1.1}, ValueError, r"clean_fraction must lie in \(0, 1\]"),
  ({"clean_fraction": -1}, ValueError, r"clean_fraction must lie in \(0, 1\]"),
  (
    {"penalty": "first"},
    ValueError,
    r"penalty must be one of \('approximate', 'exact', 'taylor', 'release'\)"
    ".*got 'first'",
  ),
  (
    {"penalty": penalties.exact},
    ValueError,
    "penalty must be .*made by one of these functions.*got <function",
  ),
  ({"penalty_at": "x"}, ValueError, "penalty_at must be one of .*got 'x'"),
  ({"clean_pass": "two"}, ValueError, "clean_pass must be one of.*got 'two'"),
  ({"link": "tanh"}, ValueError, "link must be one of .*got 'tanh'"),
  ({"plan": plan_of(shift=None)}, ValueError, "plan.mean_shift is None"),
  ({"axis_name": "r"}, ValueError, "axis_name='r' is not bound here"),
  ({"eta": np.nan}, ValueError, "eta must lie in"),
  ({"eta": None}, TypeError, "eta must be a real number"),
  ({"eta": jnp.ones(2)}, ValueError, "eta must be a scalar"),
  (
    {"loss_fn": lambda f, y: jnp.mean(f)},
    ValueError,
    "loss_fn must return one loss an example",
  ),
  (
    {"loss_fn": lambda f, y: f},
    ValueError,
    r"loss_fn must return \[B\] = \[6\] losses, got \(6, 4\)",
  ),
]


@pytest.mark.parametrize("options, error, message", BAD_CALLS)
def test_errors(options, error, message):
  base = {"x": X, "labels": Y, "plan": PLAN, "eta": 1.0}
  base.update(options)

  def run(x, labels):
    rest = {k: v for k, v in base.items() if k not in ("x", "labels")}
    return mixupe.mixupe_loss(APPLY, x, labels, **rest)[0]

  for call in (run, jax.jit(run)):
    with pytest.raises(error, match=message):
      call(base["x"], base["labels"])


def test_clean_fraction_cannot_be_traced():
  run = lambda rho: mixupe.mixupe_loss(
    APPLY, X, Y, PLAN, eta=1.0, clean_fraction=rho
  )
  with pytest.raises(TypeError, match="clean_fraction must be a Python number"):
    jax.jit(run)(0.5)


def test_penalty_errors():
  f = jnp.zeros((3, K))
  cases = [
    ((f, jnp.zeros(2, int)), {}, ValueError, r"labels must be \[B\] = \(3,\)"),
    ((f, jnp.zeros((3, 5))), {}, ValueError, "must have the logits' shape"),
    ((f, jnp.zeros(3, bool)), {}, TypeError, "labels must be integer classes"),
    ((f, jnp.zeros(3, int)), {"link": "exp"}, ValueError, "link must be one"),
    ((f[0], jnp.zeros(4)), {"link": "softmax"}, ValueError, "logits must be"),
    ((f[None], jnp.zeros(1, int)), {}, ValueError, "logits must be .B, K."),
    (
      (f, jnp.zeros((3, 1), int)),
      {"link": "sigmoid"},
      ValueError,
      r"labels must have the logits' shape \(3, 4\), got \(3, 1\)",
    ),
  ]
  for args, options, error, message in cases:
    for run in (lambda f: f, jax.jit):
      with pytest.raises(error, match=message):
        run(functools.partial(directional.directional_penalty, **options))(
          *args
        )
  for run in (lambda f: f, jax.jit):
    exact = run(lambda x, y: directional.exact_directional_penalty(APPLY, x, y))
    with pytest.raises(TypeError, match="x must be floating point"):
      exact(jnp.zeros((3, D), int), jnp.zeros(3, int))
    with pytest.raises(ValueError, match=r"labels must be \[B\] = \(3,\)"):
      exact(jnp.zeros((3, D)), jnp.zeros(2, int))


@functools.partial(jax.jit, static_argnums=(0, 1))
def any_loss(clean_pass, penalty, key, x, y, alpha, eta, mask):
  plan = mixing.draw(
    key,
    x.shape[0],
    policy=policies.mixup(alpha),
    pairing=pairing.roll,
    mask=mask,
  )
  apply = lambda x, parts=None: APPLY(x)
  options = {"clean_pass": clean_pass, "penalty": penalty}
  return mixupe.mixupe_loss(apply, x, y, plan, eta=eta, **options)


@hypothesis.settings(max_examples=15, deadline=None, derandomize=True)
@hypothesis.given(
  kind=st.sampled_from([("joint", "approximate"), ("separate", "exact")]),
  size=st.sampled_from([1, 3]),
  seed=st.integers(0, 2**31 - 1),
  alpha=st.sampled_from([0.01, 0.4, 2.0]),
  eta=st.sampled_from([0.0, 1e-3, 1.0, 50.0]),
  real=st.lists(st.booleans(), min_size=3, max_size=3),
)
def test_properties(kind, size, seed, alpha, eta, real):
  rng = np.random.default_rng(seed)
  x = rng.normal(size=(size, D)).astype(np.float32)
  y = rng.integers(0, K, size)
  mask = np.array(real[:size])
  alpha, eta = np.float32(alpha), np.float32(eta)
  loss, aux = any_loss(*kind, jax.random.key(seed), x, y, alpha, eta, mask)
  # The value is L whatever eta is; R >= 0, so kappa is in (0, 1].
  np.testing.assert_allclose(loss, aux.mixup_loss, rtol=1e-5, atol=1e-7)
  assert aux.penalty >= 0.0 and 0.0 < aux.scale <= 1.0 + 1e-6
  assert mask.any() or (loss == 0.0 and aux.penalty == 0.0)


def test_classes_under_the_sigmoid_are_one_against_the_rest():
  """Integer labels [B] beside logits [B, K] are the one-hot rows."""
  logits = jnp.array([[0.3, -1.0, 2.0], [1.5, 0.0, -0.5]])
  labels = jnp.array([2, 0])
  one_hot = jax.nn.one_hot(labels, 3)
  own = directional.directional_penalty(logits, labels, link="sigmoid")
  np.testing.assert_allclose(
    own,
    directional.directional_penalty(logits, one_hot, link="sigmoid"),
    rtol=1e-6,
  )
  whole = directional.directional_penalty(
    logits, one_hot.astype(jnp.int32), link="sigmoid"
  )
  np.testing.assert_allclose(own, whole, rtol=1e-6)


def test_a_penaltys_size_is_given_the_losss_own_derivatives():
  """q_i itself at order 1, qbar_i at order 0: the signs differ."""
  seen = {}
  for order in (0, 1, 2):
    own = mixupe.Penalty(order, size=lambda term: term)
    logits = jnp.array([[0.5, -1.0], [2.0, 1.0]])
    moved = [0.3 * logits] * max(order, 1) if order else [logits]
    seen[order] = own.terms(logits, moved, jnp.array([0, 1]), None)
  dot = directional.directional_penalty(
    jnp.array([[0.5, -1.0], [2.0, 1.0]]), jnp.array([0, 1])
  )
  np.testing.assert_allclose(seen[0][0], dot, rtol=1e-6)
  np.testing.assert_allclose(seen[1][0], -0.3 * dot, rtol=1e-6)
  np.testing.assert_allclose(seen[2][0], seen[1][0], rtol=1e-5)
  assert np.all(np.abs(dot) > 0.1)
