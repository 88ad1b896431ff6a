"""The Mixup-optimal classifier: by hand, by sampling, and where it is wrong."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmix import theory

pytestmark = pytest.mark.usefixtures("float64")

LINE = np.array([[0.0], [1.0], [2.0]])
CLASSES = np.eye(2)[[0, 1, 0]]
# Its points, and one far away.
POINTS = np.array([[0.0], [1.0], [2.0], [6.0]])


@functools.cache
def compiled(self_pairs):
  # One program for all laws.
  return jax.jit(
    lambda radius, alpha, beta: theory.mixup_optimal(
      LINE,
      CLASSES,
      POINTS,
      radius=radius,
      alpha=alpha,
      beta=beta,
      self_pairs=self_pairs,
    )
  )


def on_the_line(*, radius, alpha, beta=None, self_pairs=True):
  beta = alpha if beta is None else beta
  return jax.device_get(compiled(self_pairs)(radius, alpha, beta))


def test_three_points_by_hand():
  """lam is uniform, so that D~ = Beta(2, 1), whose law at t is t^2.

  Within 1/4 of 1, of nine pairs: (1, 1) always; (0, 2) and (2, 0) for lam in
  [3/8, 5/8], 1/4 each; (1, 0) and (1, 2) for lam >= 3/4, 7/16 each; (0, 1) and
  (2, 1) for lam <= 1/4, 1/16 each.
  """
  found = on_the_line(radius=0.25, alpha=1.0)
  first, second = 2 / 4 + 2 / 16, 1 + 2 * 7 / 16
  total = first + second
  np.testing.assert_allclose(found.mass[1], total / 9)
  np.testing.assert_allclose(found.prob[1], [first / total, second / total])
  apart = on_the_line(radius=0.25, alpha=1.0, self_pairs=False)
  np.testing.assert_allclose(apart.mass[1], (total - 1) / 6)
  np.testing.assert_allclose(apart.prob[1, 0], first / (total - 1))


def test_sampled_labels_have_its_mean(rng):
  """Mixed labels near a point, in the plane, under an asymmetric law."""
  n, draws, radius, law = 5, 400_000, 0.4, (0.7, 1.8)
  x, y = rng.normal(size=(n, 2)), np.eye(3)[np.arange(n) % 3]
  points = np.array([x[0], [0.1, 0.2]])
  found = theory.mixup_optimal(
    x, y.tolist(), points, radius=radius, alpha=law[0], beta=law[1]
  )
  i, j = rng.integers(0, n, (2, draws))
  lam = rng.beta(*law, (draws, 1))
  mixed = lam * x[i] + (1.0 - lam) * x[j]
  label = lam * y[i] + (1.0 - lam) * y[j]
  for point, prob, mass in zip(points, *found, strict=True):
    within = np.linalg.norm(mixed - point, axis=1) <= radius
    error = np.sqrt(mass * (1 - mass) / draws)
    assert abs(np.mean(within) - mass) < 4 * error and mass > 50 * error
    spread = np.std(label[within], axis=0) / np.sqrt(np.sum(within))
    off = abs(np.mean(label[within], axis=0) - np.asarray(prob))
    assert np.all(off < 4 * spread + 1e-12) and np.any(spread > 0.0)


def test_the_line_is_where_it_fails():
  """Strong mixing outvotes the middle's own label; a small radius undoes it."""
  answer = lambda **law: np.argmax(on_the_line(**law).prob[:3], axis=1).tolist()
  right = [0, 1, 0]
  assert answer(radius=0.1, alpha=1.0) == right
  assert answer(radius=0.1, alpha=128.0) == [0, 0, 0]
  assert answer(radius=1e-3, alpha=128.0) == right
  assert answer(radius=0.0, alpha=128.0) == right
  # As the law nears lam = 1/2: 2/9 of the pairs say 0, and 1/9 says 1.
  limit = on_the_line(radius=0.1, alpha=1e5).prob[1]
  np.testing.assert_allclose(limit, [2 / 3, 1 / 3], atol=1e-9)


@pytest.mark.parametrize(
  "alpha, fails", [(0.5, False), (1.0, False), (1.5, True)]
)
def test_without_self_pairs_it_fails_for_alpha_above_one(alpha, fails):
  """At alpha = 1 D~ has density 2 at lam = 1, and 1 at 1/2: 2 to 1."""
  found = on_the_line(radius=1e-4, alpha=alpha, self_pairs=False).prob[1]
  assert (found[0] > 0.5) == fails
  if alpha == 1.0:
    np.testing.assert_allclose(found, [1 / 3, 2 / 3], atol=1e-4)


def test_without_collisions_every_label_is_kept(rng):
  """In general position no mixed example comes near a third one."""
  x, y = rng.normal(size=(6, 5)), np.eye(2)[np.arange(6) % 2]
  found = theory.mixup_optimal(x, y, x, radius=0.02, alpha=32.0)
  np.testing.assert_array_equal(np.argmax(found.prob, axis=1), np.arange(6) % 2)
  np.testing.assert_allclose(jnp.sum(found.prob, axis=1), 1.0)


def test_far_from_all_there_is_nothing_and_with_all_the_shares():
  far = on_the_line(radius=1.0, alpha=1.0)
  assert far.mass[3] == 0.0 and np.all(far.prob[3] == 0.0)
  whole = on_the_line(radius=7.0, alpha=0.2, beta=2.0)
  np.testing.assert_allclose(whole.prob, np.tile([2 / 3, 1 / 3], (4, 1)))
  np.testing.assert_allclose(whole.mass, 1.0)


def test_errors():
  law = {"radius": 0.1, "alpha": 1.0}
  with pytest.raises(ValueError, match=r"points must be \[m, p\] with p = 1"):
    theory.mixup_optimal(LINE, CLASSES, np.ones((1, 2)), **law)
  with pytest.raises(ValueError, match="of integer classes, jax.nn.one_hot"):
    theory.mixup_optimal(LINE, np.array([0, 1, 0]), LINE, **law)
  with pytest.raises(ValueError, match="radius must"):
    theory.mixup_optimal(LINE, CLASSES, LINE, radius=-1.0, alpha=1.0)
  with pytest.raises(ValueError, match="self_pairs=False needs two"):
    theory.mixup_optimal(LINE[:1], CLASSES[:1], LINE, **law, self_pairs=False)
