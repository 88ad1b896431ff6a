"""What every function of the theory takes, and what it refuses by name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmix
from jaxmix import models, theory

N, D, K = 5, 3, 4
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, D)).astype(np.float32)
HIDDEN = RNG.normal(size=(D, 6)).astype(np.float32)
HEAD = RNG.normal(size=(6, K)).astype(np.float32)
BITS, CLASSES = np.array([0, 1, 1, 0, 1]), np.array([0, 3, 1, 1, 2])
SQUARE = {"log_partition": lambda f: 0.5 * jnp.sum(f**2)}


def binary(x):
  return many(x)[:, 0]


def many(x):
  return jnp.tanh(x @ jnp.asarray(HIDDEN, x.dtype)) @ jnp.asarray(HEAD, x.dtype)


# Every function of logit_fn, x and y, and those for binary labels alone.
LAW = {"alpha": 0.7}
FUNCTIONS = {
  "standard_loss": theory.standard_loss,
  "mixup_loss": lambda *args: theory.mixup_loss(*args, **LAW),
  "regularizers": lambda *args: theory.regularizers(*args, **LAW),
  "quadratic": lambda *args: theory.quadratic_mixup_loss(*args, **LAW),
  "taylor": lambda *args: theory.taylor_mixup_loss(*args, **LAW, order=3),
  "coefficients": theory.direction_coefficients,
  "signs": theory.direction_signs,
  "loss_cosines": theory.loss_cosines,
  "radius": lambda *args: theory.mixup_radius(*args, **LAW),
}
BINARY = {
  "adversarial": lambda *args: theory.quadratic_adversarial_loss(*args, 0.1),
  "bound": lambda *args: theory.robustness_bound(*args, **LAW),
  "assumptions": theory.robustness_assumptions,
}
ALL = FUNCTIONS | BINARY


@pytest.mark.parametrize("name", ALL)
def test_numpy_and_lists_are_what_arrays_are(name):
  fn, y = ALL[name], BITS
  expected = fn(binary, jnp.asarray(X), jnp.asarray(y))
  assert any(np.any(np.asarray(leaf)) for leaf in jax.tree.leaves(expected))
  for x, labels in ((X, y), (X, y.tolist()), (X.tolist(), tuple(y.tolist()))):
    jax.tree.map(np.testing.assert_array_equal, fn(binary, x, labels), expected)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
  "x, y, error, message",
  [
    (
      X[:0],
      BITS[:0],
      ValueError,
      r"x must hold at least one example.*\(0, 3\)",
    ),
    (
      X,
      2 * BITS - 1,
      ValueError,
      r"y must lie in \[0, 1\].*got -1; map -1 and",
    ),
    (X, 2 * BITS, ValueError, r"y must lie in \[0, 1\].*got 2"),
    (X, BITS * np.nan, ValueError, r"y must lie in \[0, 1\].*got nan"),
    (X, BITS[:-1], ValueError, r"y must be \[n\] = \(5,\)"),
    (X > 0, BITS, TypeError, "x must be floating point"),
    (X, BITS == 1, TypeError, "y must be integer classes or floating"),
  ],
)
def test_bad_data_are_named(name, x, y, error, message):
  with pytest.raises(error, match=message):
    ALL[name](binary, x, y)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("y", [CLASSES - 1, CLASSES + 1])
def test_classes_out_of_range_are_named(name, y):
  with pytest.raises(ValueError, match=r"y must lie in \[0, 3\] beside logits"):
    FUNCTIONS[name](many, X, y)


@pytest.mark.parametrize("name", ALL)
def test_one_column_of_logits_is_refused(name):
  for y in (BITS, BITS[:, None].astype(np.float32)):
    with pytest.raises(ValueError, match=r"K = 1, return logits\[:, 0\]"):
      ALL[name](lambda x: many(x)[:, :1], X, y)


@pytest.mark.parametrize("name", BINARY)
def test_the_robustness_theorems_have_hard_labels(name):
  with pytest.raises(ValueError, match=r"y must be 0 or 1 .*got 0\.5"):
    BINARY[name](binary, X, 0.5 * BITS)


def test_other_losses_have_labels_of_their_own():
  y = 3.0 * X[:, 0]  # least squares
  assert theory.standard_loss(binary, X, y, **SQUARE) != 0.0
  assert theory.mixup_loss(binary, X, y, **LAW, **SQUARE) != 0.0


def test_half_precision_and_more_examples_than_dimensions():
  x = jnp.asarray(X, jnp.bfloat16)
  found = theory.regularizers(binary, x, BITS, **LAW)
  expected = theory.regularizers(binary, X, BITS, **LAW)
  assert min(map(abs, expected)) > 1e-3
  np.testing.assert_allclose(found, expected, rtol=0.1, atol=0.01)


KEY = jax.random.key(0)
BATCH_NORM = {
  "jaxmix's": None,
  "a plain one": lambda x: many((x - x.mean(0)[None]) / x.std(0)[None]),
  "dropout": lambda x: many(
    jnp.where(jax.random.bernoulli(KEY, 0.5, x.shape), 2.0 * x, 0.0 * x)
  ),
  "a mean of logits": lambda x: many(x) - many(x).mean(0)[None],
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("norm", BATCH_NORM)
def test_statistics_of_the_batch_are_refused(name, norm):
  apply = BATCH_NORM[norm]
  if apply is None:
    apply = lambda x: many(x - jaxmix.hold(x.mean(0))[None])
  with pytest.raises(ValueError, match="logit_fn .*batch norm in evaluation"):
    FUNCTIONS[name](apply, X, CLASSES)


def test_the_projects_batch_norm_is_refused_under_jit_too():
  model = models.create("resnet8", K, width=4)
  x = jnp.asarray(RNG.normal(size=(4, 8, 8, 1)), jnp.float32)
  variables = model.init(jax.random.key(0), x)

  def loss(x, train):
    run = lambda x: model.apply(variables, x, train, mutable=["batch_stats"])[0]
    return theory.standard_loss(run, x, CLASSES[:4])

  jax.eval_shape(lambda x: loss(x, False), x)  # in evaluation mode
  with pytest.raises(ValueError, match=r"of its batch \(jaxmix.hold\)"):
    jax.eval_shape(lambda x: loss(x, True), x)


EYE = np.eye(D, dtype=np.float32)
CURVE = theory.gaussian_curvature(jnp.square)


@pytest.mark.parametrize(
  "call",
  [
    lambda x: theory.rademacher_linear(KEY, x),
    lambda x: theory.rademacher_ellipsoid(KEY, x, EYE),
    lambda x: theory.rademacher_mixup_class(
      KEY, x, EYE, gamma=1.0, curvature=CURVE
    ),
    lambda x: theory.kimura_linear_gap(x, 0.5),
    lambda x: theory.kimura_network_gap(x, 0.5, num_layers=2),
    lambda x: theory.bregman_scaling(x, [0.1, 0.2, 0.3], 0.5),
    lambda x: theory.glm_regularizer([1.0, 2.0, 0.5], x, jnp.square, alpha=1.0),
  ],
)
def test_matrices(call):
  expected = call(jnp.asarray(X))
  assert all(np.any(np.asarray(leaf)) for leaf in jax.tree.leaves(expected))
  for x in (X, X.tolist()):
    jax.tree.map(np.testing.assert_array_equal, call(x), expected)
  for bad in (X[:0], X[0], X[None]):
    with pytest.raises(ValueError, match=r"x must be \[n, p\] with n and p at"):
      call(bad)
  with pytest.raises(TypeError, match="x must be floating point"):
    call(X > 0)


def test_vectors_may_be_lists():
  mean = [0.1, 0.2, 0.3]
  of = lambda mean: theory.kimura_network_gap(X, 0.5, num_layers=1, mean=mean)
  np.testing.assert_array_equal(of(mean), of(jnp.array(mean)))
  bound = lambda c, mean: theory.two_layer_bound(1.0, c, mean, n=8)
  np.testing.assert_array_equal(
    bound(EYE.tolist(), mean), bound(jnp.asarray(EYE), jnp.array(mean))
  )
  towards = lambda mean: theory.direction_coefficients(
    binary, X, BITS, input_mean=mean
  )
  np.testing.assert_array_equal(towards(mean), towards(jnp.array(mean)))
  with pytest.raises(ValueError, match=r"input_mean must be .*\(3,\), got"):
    towards([0.1, 0.2])
  with pytest.raises(ValueError, match=r"mean must be \[d\] = \(3,\), got"):
    of([0.1])


@pytest.mark.parametrize(
  "name, call",
  [
    ("num_draws", lambda v: theory.rademacher_linear(KEY, X, num_draws=v)),
    ("num_layers", lambda v: theory.kimura_network_gap(X, 0.5, num_layers=v)),
    ("num_nodes", lambda v: theory.gaussian_curvature(jnp.square, num_nodes=v)),
    ("num_points", lambda v: theory.retentiveness(CURVE, 1.0, num_points=v)),
    ("j", lambda v: theory.beta_moment(1.0, 1.0, v)),
    ("order", lambda v: theory.shift_moments(jaxmix.policies.erm(), v)),
    *(
      (option, lambda v, o=option, f=fn: f(binary, X, BITS, **LAW, **{o: v}))
      for option, fn in (
        ("num_nodes", theory.mixup_loss),
        ("evaluations_at_once", theory.mixup_loss),
        ("examples_at_once", theory.regularizers),
        ("order", theory.taylor_mixup_loss),
        ("pairs_at_once", theory.taylor_mixup_loss),
      )
    ),
    (
      "examples_at_once",
      lambda v: theory.cosines(binary, X, examples_at_once=v),
    ),
  ],
)
def test_counts(name, call):
  with pytest.raises(
    ValueError, match=f"{name} must be at least [012], got -1"
  ):
    call(-1)
  for bad in (1.5, True, "2"):
    with pytest.raises(TypeError, match=f"{name} must be an integer"):
      call(bad)


def test_ranges_of_the_robustness_theorems():
  good = {"tau": 0.5, "curvature": 0.1}
  with pytest.raises(ValueError, match=r"residual .* k1 <= k2, got \(0.9, 0.1"):
    theory.constant_radius(0.5, **good, residual=(0.9, 0.1))
  assert jax.jit(theory.constant_radius)(0.5, **good, residual=(0.1, 0.9)) > 0.0
  with pytest.raises(ValueError, match="radius must be at least 0, got -1.0"):
    theory.quadratic_adversarial_loss(
      binary, X, BITS, [1.0, 0.0, -1.0, 0.0, 1.0]
    )


ZERO = np.zeros((4, D), np.float32)


@pytest.mark.parametrize(
  "call, at",
  [
    (lambda x: theory.kimura_linear_gap(x, 0.5), ZERO),
    (lambda x: theory.kimura_network_gap(x, 0.5, num_layers=1), ZERO),
    # One example at the mean, and a mean at the origin.
    (lambda x: theory.kimura_network_gap(x, 0.5, num_layers=1), X - X.mean(0)),
    (lambda x: theory.rademacher_linear(KEY, x, num_draws=4), ZERO),
    (lambda x: theory.rademacher_linear(KEY, x, num_draws=4), EYE),
    (lambda x: theory.rademacher_ellipsoid(KEY, x, EYE, num_draws=4), ZERO),
    (lambda g: theory.two_layer_bound(g, EYE, np.ones(D), n=4), np.float32(0)),
    (lambda m: theory.two_layer_bound(0.0, EYE, m, n=4), np.zeros(D)),
    (lambda r: theory.rademacher_bound(0.0, r, 2, 8), np.float32(0.3)),
    (lambda r: theory.rademacher_bound(0.0, r, 2, 8, sharp=True), 0.3),
    (
      lambda p: theory.constant_radius(
        p, tau=0.5, curvature=0.0, residual=(0.1, 0.9)
      ),
      0.3,
    ),
  ],
)
def test_gradients_where_a_root_is_of_zero(call, at):
  at = jnp.asarray(at, jnp.float32)
  for slope in jax.tree.leaves(jax.jacrev(call)(at)):
    assert np.all(np.isfinite(slope))
