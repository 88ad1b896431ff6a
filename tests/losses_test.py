"""Losses and mixed targets: by hand, against NumPy, target-linearity."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special

from jaxmix import attacks, directional, losses, mixing
from jaxmix.losses import MixedTargets

FLOATS = [jnp.float32, jnp.bfloat16, jnp.float16]


def rows(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def mixed_integers():
  return MixedTargets(
    first=jnp.array([0, 2, 1]),
    second=jnp.array([1, 2, 0]),
    weight=jnp.array([0.75, 0.5, 1.0]),
  )


def test_dense_by_hand():
  np.testing.assert_array_equal(
    mixed_integers().dense(3),
    [[0.75, 0.25, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]],
  )


def test_dense_of_dense_labels_by_hand():
  targets = MixedTargets(
    first=jnp.array([[0.5, 0.5]], jnp.bfloat16),
    second=jnp.array([[0.0, 1.0]], jnp.bfloat16),
    weight=jnp.array([0.25]),
  )
  for dense in (targets.dense(), targets.dense(2), jax.jit(targets.dense)()):
    assert dense.dtype == jnp.float32
    np.testing.assert_array_equal(dense, [[0.125, 0.875]])


@pytest.mark.parametrize("dtype", [jnp.int32, jnp.uint8, jnp.int16])
def test_dense_of_any_integer(dtype):
  targets = MixedTargets(
    jnp.array([1], dtype), jnp.array([0], dtype), jnp.array([0.3])
  )
  np.testing.assert_allclose(targets.dense(2), [[0.7, 0.3]], rtol=1e-6)


def test_dense_errors():
  with pytest.raises(ValueError, match="num_classes is needed"):
    mixed_integers().dense()
  targets = MixedTargets(jnp.ones((1, 4)), jnp.ones((1, 4)), jnp.ones(1))
  with pytest.raises(ValueError, match="num_classes=3, but labels have 4"):
    targets.dense(3)
  with pytest.raises(ValueError, match="num_classes=3, but labels have 4"):
    jax.jit(lambda t: t.dense(3))(targets)


def test_mixed_loss_by_hand():
  squared = lambda f, y: jnp.square(f - y.astype(jnp.float32))
  targets = MixedTargets(
    jnp.array([0, 1]), jnp.array([4, 1]), jnp.array([0.75, 0.2])
  )
  mixed = losses.mixed_loss(squared, jnp.array([2.0, 3.0]), targets)
  np.testing.assert_allclose(mixed, [0.75 * 4 + 0.25 * 4, 4.0], rtol=1e-6)


def test_mixed_loss_keeps_further_axes():
  each = lambda f, y: f * y.astype(jnp.float32)[:, None]
  targets = MixedTargets(
    jnp.array([1, 2]), jnp.array([3, 4]), jnp.array([0.5, 0.0])
  )
  mixed = losses.mixed_loss(each, jnp.ones((2, 5)), targets)
  np.testing.assert_array_equal(mixed, [[2.0] * 5, [4.0] * 5])


def both_ways(loss_fn, logits, targets, dense):
  """Values and gradients of the mixed and the dense form."""

  def run(fn):
    value, pull = jax.vjp(fn, logits)
    return value, pull(jnp.ones_like(value))[0]

  mixed = run(lambda f: losses.mixed_loss(loss_fn, f, targets))
  return mixed, run(lambda f: loss_fn(f, dense))


def test_cross_entropy_is_target_linear():
  targets = mixed_integers()
  mixed, dense = both_ways(
    losses.softmax_cross_entropy,
    jnp.asarray(rows(3, 4)),
    targets,
    targets.dense(4),
  )
  for got, want in zip(mixed, dense, strict=True):
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_smoothed_cross_entropy_is_target_linear():
  targets = mixed_integers()
  mixed, dense = both_ways(
    lambda f, y: losses.softmax_cross_entropy(f, y, label_smoothing=0.1),
    jnp.asarray(rows(3, 4)),
    targets,
    targets.dense(4),
  )
  for got, want in zip(mixed, dense, strict=True):
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_logistic_is_target_linear():
  targets = MixedTargets(
    jnp.array([0, 1, 1]), jnp.array([1, 1, 0]), jnp.array([0.7, 0.1, 0.4])
  )
  w, first, second = map(
    np.asarray, (targets.weight, targets.first, targets.second)
  )
  dense = jnp.asarray(w * first + (1 - w) * second, jnp.float32)
  mixed, dense = both_ways(
    losses.logistic, jnp.asarray(rows(3)), targets, dense
  )
  for got, want in zip(mixed, dense, strict=True):
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_negative_cosine_is_target_linear():
  embeddings = losses.label_embeddings(jax.random.key(0), 4, 6)
  targets = mixed_integers()
  mixed, dense = both_ways(
    lambda f, y: losses.negative_cosine(
      f, embeddings[y] if y.ndim == 1 else y @ embeddings
    ),
    jnp.asarray(rows(3, 6)),
    targets,
    targets.dense(4),
  )
  for got, want in zip(mixed, dense, strict=True):
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_mixed_loss_refuses_reduced_losses():
  mean = lambda f, y: jnp.mean(losses.softmax_cross_entropy(f, y))
  call = lambda f: losses.mixed_loss(mean, f, mixed_integers())
  for run in (call, jax.jit(call)):
    with pytest.raises(ValueError, match=r"one loss an example, \[3, ...\]"):
      run(jnp.ones((3, 4)))
  flat = lambda f, y: f.ravel()
  with pytest.raises(ValueError, match=r"got shape \(12,\); drop its mean"):
    losses.mixed_loss(flat, jnp.ones((3, 4)), mixed_integers())


def test_cross_entropy_by_hand():
  logits = jnp.log(jnp.array([[0.5, 0.25, 0.25]]))
  loss = losses.softmax_cross_entropy(logits, jnp.array([1]))
  np.testing.assert_allclose(loss, [np.log(4.0)], rtol=1e-6)


@pytest.mark.parametrize("dtype", FLOATS)
def test_cross_entropy_against_numpy(dtype):
  logits = jnp.asarray(rows(4, 5) * 3, dtype)
  f = np.asarray(logits, np.float64)
  soft = scipy.special.softmax(rows(4, 5, seed=1), axis=1)
  integers = np.array([0, 4, 2, 2])
  log_p = scipy.special.log_softmax(f, axis=1)
  for labels, dense in ((integers, np.eye(5)[integers]), (soft, soft)):
    loss = losses.softmax_cross_entropy(logits, jnp.asarray(labels))
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, -(dense * log_p).sum(1), rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_label_smoothing_against_numpy(smoothing):
  logits, labels = rows(4, 5), np.array([0, 4, 2, 2])
  dense = (1.0 - smoothing) * np.eye(5)[labels] + smoothing / 5
  log_p = scipy.special.log_softmax(logits.astype(np.float64), axis=1)
  run = lambda s: losses.softmax_cross_entropy(
    jnp.asarray(logits), jnp.asarray(labels), label_smoothing=s
  )
  for loss in (run(smoothing), jax.jit(run)(smoothing)):
    np.testing.assert_allclose(loss, -(dense * log_p).sum(1), rtol=2e-6)


def test_cross_entropy_of_uniform_logits_with_smoothing_by_hand():
  loss = losses.softmax_cross_entropy(
    jnp.zeros((1, 4)), jnp.array([3]), label_smoothing=0.3
  )
  np.testing.assert_allclose(loss, [np.log(4.0)], rtol=1e-6)


def test_cross_entropy_errors():
  logits = jnp.zeros((2, 3))
  cases = [
    (jnp.zeros(3, int), {}, ValueError, "integer labels must have.*got .3,."),
    (jnp.zeros((2, 3), int), {}, ValueError, "integer labels must have"),
    (jnp.zeros((2, 4)), {}, ValueError, "dense labels must have.*got .2, 4."),
    (jnp.zeros(2, bool), {}, TypeError, "integer classes or .* got bool"),
    (jnp.zeros(2, int), -0.1, ValueError, r"must lie in \[0, 1\], got -0.1"),
    (jnp.zeros(2, int), 1.5, ValueError, r"must lie in \[0, 1\], got 1.5"),
    (jnp.zeros(2, int), True, TypeError, "label_smoothing must be a real"),
  ]
  for labels, smoothing, error, message in cases:
    options = {} if smoothing == {} else {"label_smoothing": smoothing}
    call = lambda f, y, options=options: losses.softmax_cross_entropy(
      f, y, **options
    )
    for run in (call, jax.jit(call)):
      with pytest.raises(error, match=message):
        run(logits, labels)


def test_logistic_by_hand():
  # p = 3/4 at f = log 3.
  f = jnp.full(2, np.log(3.0), jnp.float32)
  loss = losses.logistic(f, jnp.array([1, 0]))
  np.testing.assert_allclose(loss, [np.log(4 / 3), np.log(4.0)], rtol=1e-6)


@pytest.mark.parametrize("shape", [(5,), (3, 2)])
@pytest.mark.parametrize("dtype", FLOATS)
def test_logistic_against_numpy(shape, dtype):
  logits = jnp.asarray(rows(*shape) * 20, dtype)
  f = np.asarray(logits, np.float64)
  y = np.random.default_rng(1).uniform(size=shape).astype(np.float32)
  loss = losses.logistic(logits, jnp.asarray(y))
  assert loss.dtype == jnp.float32
  np.testing.assert_allclose(loss, np.logaddexp(0, f) - y * f, rtol=1e-5)


def test_logistic_errors():
  with pytest.raises(ValueError, match=r"logits' shape \(2,\), got \(3,\)"):
    losses.logistic(jnp.zeros(2), jnp.zeros(3))
  with pytest.raises(TypeError, match="labels must be integer classes"):
    losses.logistic(jnp.zeros(2), jnp.zeros(2, bool))


def test_negative_cosine_by_hand():
  loss = losses.negative_cosine(
    jnp.array([[3.0, 4.0], [0.0, -2.0]]), jnp.array([[1.0, 0.0], [0.0, 0.5]])
  )
  np.testing.assert_allclose(loss, [-0.6, 0.5], rtol=1e-6)


@pytest.mark.parametrize("dtype", FLOATS)
def test_negative_cosine_against_numpy(dtype):
  features, targets = jnp.asarray(rows(4, 7), dtype), rows(4, 7, seed=1)
  f = np.asarray(features, np.float64)
  loss = losses.negative_cosine(features, jnp.asarray(targets))
  assert loss.dtype == jnp.float32
  expected = -(f * targets).sum(1) / np.linalg.norm(f, axis=1)
  np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_negative_cosine_gradient_against_numpy():
  f, y = rows(3, 4), rows(3, 4, seed=1)
  slope = jax.grad(
    lambda f: jnp.sum(losses.negative_cosine(f, jnp.asarray(y)))
  )(jnp.asarray(f))
  norm = np.linalg.norm(f, axis=1, keepdims=True)
  v = f / norm
  expected = -(y - v * (v * y).sum(1, keepdims=True)) / norm
  np.testing.assert_allclose(slope, expected, rtol=1e-4, atol=1e-5)


def test_negative_cosine_of_a_zero_row():
  f = jnp.array([[0.0, 0.0], [3.0, 4.0]])
  y = jnp.array([[1.0, 0.0], [1.0, 0.0]])
  loss, slope = jax.jit(
    lambda f: (
      losses.negative_cosine(f, y),
      jax.grad(lambda f: jnp.sum(losses.negative_cosine(f, y)))(f),
    )
  )(f)
  np.testing.assert_allclose(loss, [0.0, -0.6], rtol=1e-6)
  # d(-f0 / |f|) at (3, 4): (-(1 - 0.36), 0.6 * 0.8) / 5.
  np.testing.assert_allclose(slope, [[0, 0], [-0.128, 0.096]], rtol=1e-5)


def test_negative_cosine_errors():
  with pytest.raises(ValueError, match=r"embeddings\[labels\]"):
    losses.negative_cosine(jnp.zeros((2, 3)), jnp.zeros(2))


@pytest.mark.parametrize("orthonormal", [False, True])
def test_label_embeddings_are_unit_vectors(key, orthonormal):
  rows = losses.label_embeddings(key, 6, 10, orthonormal=orthonormal)
  assert rows.shape == (6, 10) and rows.dtype == jnp.float32
  np.testing.assert_allclose(jnp.linalg.norm(rows, axis=1), 1.0, rtol=1e-5)
  gram = np.asarray(rows @ rows.T) - np.eye(6)
  assert (np.abs(gram).max() < 1e-5) == orthonormal
  again = losses.label_embeddings(key, 6, 10, orthonormal=orthonormal)
  np.testing.assert_array_equal(rows, again)
  other = losses.label_embeddings(
    jax.random.key(9), 6, 10, orthonormal=orthonormal
  )
  assert np.abs(rows - other).max() > 0.1


def test_label_embeddings_are_isotropic(key):
  rows = np.asarray(losses.label_embeddings(key, 4_000, 3))
  # E v = 0, E v v^T = I / 3; entries of v v^T have a standard error < 0.005.
  np.testing.assert_allclose(rows.mean(0), 0.0, atol=5 * 0.0092)
  np.testing.assert_allclose(rows.T @ rows / 4_000, np.eye(3) / 3, atol=0.025)


@pytest.mark.parametrize("orthonormal", [False, True])
def test_label_embeddings_stay_float32_in_x64(orthonormal):
  with jax.enable_x64():
    rows = losses.label_embeddings(
      jax.random.key(0), 2, 3, orthonormal=orthonormal
    )
  assert rows.dtype == jnp.float32


def test_label_embeddings_errors(key):
  with pytest.raises(ValueError, match="dim=3 and num_classes=4"):
    losses.label_embeddings(key, 4, 3, orthonormal=True)


def test_losses_are_optaxs(key):
  logits, labels = jnp.asarray(rows(4, 5)), jnp.array([0, 4, 2, 2])
  np.testing.assert_array_equal(
    losses.softmax_cross_entropy(logits, labels),
    optax.softmax_cross_entropy_with_integer_labels(logits, labels),
  )


def test_losses_do_not_retrace():
  traces = []

  @jax.jit
  def loss(logits, targets):
    traces.append(1)
    return losses.mixed_loss(losses.softmax_cross_entropy, logits, targets)

  for _ in range(2):
    loss(jnp.ones((3, 4)), mixed_integers())
  assert len(traces) == 1


def test_integer_labels_of_a_wrong_rank_are_refused():
  """Columns and one-hot rows would become [B, 1, K] and [B, K, K]."""
  logits = jnp.zeros((2, 3))
  column, rows = jnp.zeros((2, 1), int), jnp.eye(3, dtype=int)[:2]
  drop, to_floats = r"labels\[..., 0\]", r"labels.astype\(jnp.float32\)"
  for labels, hint in (
    (column, drop),
    (rows, to_floats),
    (jnp.zeros((2, 5), int), to_floats),  # tokens
    (jnp.zeros((2, 4, 4, 1), int), drop),  # masks with a channel
  ):
    targets = MixedTargets(labels, labels, jnp.ones(2))
    for run in (targets.dense, jax.jit(targets.dense, static_argnums=0)):
      with pytest.raises(ValueError, match=rf"or masks .*{hint}"):
        run(3)
  for labels, hint in ((column, drop), (rows, to_floats)):
    for loss in (losses.softmax_cross_entropy, directional.directional_penalty):
      with pytest.raises(ValueError, match=rf"integer labels must.*{hint}"):
        loss(logits, labels)
  # Class ids as floats, of as many examples as classes.
  ids = jnp.array([0.0, 2.0, 1.0])
  with pytest.raises(ValueError, match=r"must be \[B, 3\].*jnp.int32"):
    MixedTargets(ids, ids, jnp.ones(3)).dense(3)


def test_the_hint_for_booleans_follows_their_rank():
  for shape, dtype in (((3,), "int32"), ((3, 4), "float32")):
    with pytest.raises(TypeError, match=rf"labels.astype\(jnp.{dtype}\)"):
      losses.softmax_cross_entropy(jnp.zeros((3, 4)), jnp.zeros(shape, bool))


@pytest.mark.parametrize("width", [1, 3])
def test_masks_stay_right(width):
  """[B, H, W] integers, also where the last axis is 1 or K."""
  first, second = np.random.default_rng(0).integers(0, 3, (2, 2, 4, width))
  weight = np.array([0.75, 0.25], np.float32)
  targets = MixedTargets(*map(jnp.asarray, (first, second, weight)))
  w = weight[:, None, None, None]
  dense = w * np.eye(3)[first] + (1.0 - w) * np.eye(3)[second]
  np.testing.assert_allclose(targets.dense(3), dense, rtol=1e-6)
  logits = rows(2, 4, width, 3)
  log_p = scipy.special.log_softmax(logits.astype(np.float64), axis=-1)
  np.testing.assert_allclose(
    losses.mixed_loss(losses.softmax_cross_entropy, logits, targets),
    -(dense * log_p).sum(-1),
    rtol=1e-5,
  )


LOGITS = jnp.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])


def everywhere(first):
  """All that looks labels up, beside a second example that is in order."""
  dtype = first.dtype
  targets = MixedTargets(first, jnp.array([1, 1], dtype), jnp.full(2, 0.5))
  dense, cross_entropy = targets.dense(3), losses.softmax_cross_entropy
  penalty = directional.directional_penalty
  return {
    "paired": losses.mixed_loss(cross_entropy, LOGITS, targets),
    "dense": dense.sum(1),
    "of dense": cross_entropy(LOGITS, dense),
    "smoothed": cross_entropy(LOGITS, first, label_smoothing=0.1),
    "logistic": losses.logistic(LOGITS[:, 0], first),
    "penalty": penalty(LOGITS, targets),
    "sigmoid": penalty(LOGITS, first, link="sigmoid"),
    "binary": penalty(LOGITS[:, 0], first),
    "taylor": directional.taylor_penalty(
      lambda x: x, LOGITS, targets, order=2
    ).sum(0),
  }


@pytest.mark.parametrize(
  "label, dtype",
  [(-1, jnp.int32), (3, jnp.int32), (255, jnp.uint8), (-1, jnp.int8)],
)
def test_a_label_that_is_no_class_is_nan(label, dtype):
  """Alike in all losses and penalties; where it is known it is an error."""
  labels = jnp.array([label, 1], dtype)
  for name, value in jax.jit(everywhere)(labels).items():
    assert np.isnan(value).tolist() == [True, False], name
  cross_entropy = losses.softmax_cross_entropy
  targets = MixedTargets(labels, labels, jnp.ones(2))
  for call, classes in (
    (lambda: cross_entropy(LOGITS, labels), 3),
    (lambda: cross_entropy(LOGITS, np.asarray(labels)), 3),
    (lambda: jax.jit(cross_entropy)(LOGITS, labels) / targets.dense(3)[0], 3),
    (lambda: directional.directional_penalty(LOGITS, labels), 3),
    (lambda: losses.logistic(LOGITS[:, 0], labels), 2),
    (lambda: attacks.fgsm(lambda x: x, LOGITS, labels, epsilon=0.1), 3),
  ):
    message = rf"labels must lie in \[0, {classes}\), got {label};"
    with pytest.raises(ValueError, match=message):
      call()


def test_paired_and_dense_agree_where_a_bad_label_has_no_weight():
  @jax.jit
  def both(second):
    targets = MixedTargets(jnp.array([1, 1]), second, jnp.array([1.0, 0.5]))
    cross_entropy = losses.softmax_cross_entropy
    return (
      losses.mixed_loss(cross_entropy, LOGITS, targets),
      cross_entropy(LOGITS, targets.dense(3)),
    )

  for loss in both(jnp.array([-1, 0])):
    np.testing.assert_allclose(loss, [1.4076059, 1.9076059], rtol=1e-6)


@pytest.mark.parametrize("ignored", [-1, 255, 1])
def test_the_share_of_an_ignored_label_drops_out(ignored):
  first, second = jnp.array([ignored, 2, 2]), jnp.array([2, ignored, ignored])
  targets = MixedTargets(first, second, jnp.array([0.75, 0.75, 1.0]))
  logits, keep = jnp.tile(LOGITS[:1], (3, 1)), np.array([0.25, 0.75, 1.0])
  dense = targets.dense(3, ignore_label=ignored)
  np.testing.assert_array_equal(dense, keep[:, None] * np.eye(3)[2])

  def loss(logits, labels):
    return losses.softmax_cross_entropy(logits, labels, ignore_label=ignored)

  for value in (
    losses.mixed_loss(loss, logits, targets),
    jax.jit(lambda t: losses.mixed_loss(loss, logits, t))(targets),
    losses.softmax_cross_entropy(logits, dense),
  ):
    np.testing.assert_allclose(value, keep * 0.4076059, rtol=1e-6)
  smoothed = losses.softmax_cross_entropy(
    logits, first, label_smoothing=0.1, ignore_label=ignored
  )
  assert smoothed[0] == 0.0 and smoothed[1] > 0.4
  with pytest.raises(ValueError, match="needs integer labels, got float32"):
    loss(logits, dense)
  with pytest.raises(ValueError, match="labels must lie in"):
    targets.replace(first=jnp.array([7, 0, 0])).dense(3, ignore_label=ignored)


MASKED = jnp.array([[-jnp.inf, 0.0, 1.0]])


def test_what_has_no_weight_costs_nothing():
  """A class masked by -inf, at weight 0; gradients as of the classes left."""
  label, other = jnp.array([1]), jnp.array([0])
  one_hot = jnp.array([[0.0, 1.0, 0.0]])
  cross_entropy = losses.softmax_cross_entropy
  whole = MixedTargets(label, other, jnp.array([1.0]))
  swapped = MixedTargets(other, label, jnp.array([0.0]))
  residual = [[0.0, -0.7310586, 0.7310586]]

  def smoothed(share):
    return lambda f: cross_entropy(f, one_hot, label_smoothing=share)

  for loss in (
    lambda f: cross_entropy(f, label),
    lambda f: cross_entropy(f, one_hot),
    lambda f: losses.mixed_loss(cross_entropy, f, whole),
    lambda f: losses.mixed_loss(cross_entropy, f, swapped),
    lambda f: cross_entropy(f, whole.dense(3)),
    lambda f: jax.jit(lambda share: smoothed(share)(f))(0.0),
  ):
    value, pull = jax.vjp(loss, MASKED)
    np.testing.assert_allclose(value, [1.3132616], rtol=1e-6)
    np.testing.assert_allclose(pull(jnp.ones(1))[0], residual, rtol=1e-6)
  # Where the masked class does have weight, the loss is infinite.
  assert cross_entropy(MASKED, other)[0] == np.inf
  half = whole.replace(weight=jnp.array([0.5]))
  assert losses.mixed_loss(cross_entropy, MASKED, half)[0] == np.inf


def test_logistic_at_infinite_logits():
  f, y = jnp.array([-jnp.inf, jnp.inf, -jnp.inf]), jnp.array([0, 1, 1])
  np.testing.assert_array_equal(losses.logistic(f, y), [0.0, 0.0, np.inf])
  slope = jax.grad(lambda f: jnp.sum(losses.logistic(f, y[:2])))(f[:2])
  np.testing.assert_array_equal(slope, [0.0, 0.0])


def test_dat_over_two_data_sets_with_class_masks():
  """Each example's logits hold its own data set's classes alone."""
  owns = jnp.array([[True, True, False, False], [False, False, True, True]])
  logits = jnp.where(owns, jnp.array([0.0, 1.0, 0.0, 1.0]), -jnp.inf)
  plan = mixing.MixPlan(jnp.full(2, 0.7), jnp.ones(2), jnp.array([1, 0]))
  targets = plan.targets(jnp.array([1, 3]))
  loss = losses.mixed_loss(losses.softmax_cross_entropy, logits, targets)
  np.testing.assert_allclose(loss, [0.3132617, 0.3132617], rtol=1e-6)


@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
def test_penalties_of_masked_classes(link):
  """As without the class, in value and gradient."""

  def run(f, labels):
    penalty = lambda f: directional.directional_penalty(f, labels, link=link)
    value, pull = jax.vjp(penalty, f)
    return value, pull(jnp.ones(1))[0]

  one_hot = jnp.array([[0.0, 1.0, 0.0]])
  whole = MixedTargets(jnp.array([1]), jnp.array([0]), jnp.array([1.0]))
  for labels in (jnp.array([1]), one_hot, whole):
    value, slope = run(MASKED, labels)
    expected, rest = run(MASKED[:, 1:], one_hot[:, 1:])
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(slope[:, 1:], rest, rtol=1e-6)
    assert slope[0, 0] == 0.0


def test_taylor_terms_of_masked_classes():
  x, one_hot = jnp.array([[0.3, 0.5, 1.0]]), jnp.array([[0.0, 1.0, 0.0]])
  keep = jnp.array([[False, True, True]])
  masked = lambda x: jnp.where(keep, x * x, -jnp.inf)
  square = lambda x: x * x
  np.testing.assert_allclose(
    directional.taylor_penalty(masked, x, one_hot, order=3),
    directional.taylor_penalty(square, x[:, 1:], one_hot[:, 1:], order=3),
    rtol=1e-5,
  )


def test_a_weight_of_zero_keeps_its_gradient():
  """The loss's derivative in the weight is own - other there, too."""
  targets = MixedTargets(jnp.array([0]), jnp.array([2]), jnp.array([0.0]))
  slope = jax.grad(
    lambda w: losses.mixed_loss(
      losses.softmax_cross_entropy, LOGITS[:1], targets.replace(weight=w)
    )[0]
  )(targets.weight)
  np.testing.assert_allclose(slope, [2.0], rtol=1e-6)
