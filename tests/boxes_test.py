"""CutMix: boxes by hand, pasted pixels counted, weights equal to areas."""

import functools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmix import boxes, pairing, policies
from jaxmix.boxes import CutMixPlan

RUNS = pytest.mark.parametrize(
  "run", [lambda f: f, jax.jit], ids=["eager", "jit"]
)


def hand_plan():
  kept = jnp.array([0.75, 1.0, 0.0])
  return CutMixPlan(
    lam=kept,
    weight=kept,
    partner=jnp.array([1, 0, 0]),
    # (top, bottom, left, right), ends excluded: a corner, none, everything.
    box=jnp.array([[0, 1, 2, 4], [1, 1, 0, 4], [0, 2, 0, 4]]),
    size=(2, 4),
  )


@RUNS
def test_pastes_by_hand(run):
  images = jnp.array([1.0, 2.0, 3.0])[:, None, None] * jnp.ones((3, 2, 4))
  mixed = run(hand_plan().mix)(images)
  np.testing.assert_array_equal(
    mixed,
    [
      [[1, 1, 2, 2], [1, 1, 1, 1]],
      [[2, 2, 2, 2], [2, 2, 2, 2]],
      [[1, 1, 1, 1], [1, 1, 1, 1]],
    ],
  )


@RUNS
def test_targets_by_hand(run):
  targets = run(hand_plan().targets)(jnp.array([7, 8, 9]))
  np.testing.assert_array_equal(targets.first, [7, 8, 9])
  np.testing.assert_array_equal(targets.second, [8, 7, 7])
  np.testing.assert_array_equal(targets.weight, [0.75, 1.0, 0.0])


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.uint8, jnp.int32, bool])
def test_keeps_any_dtype_and_further_axes(dtype):
  images = jnp.arange(48).reshape(3, 2, 4, 2).astype(dtype)
  mixed = hand_plan().mix({"image": images})["image"]
  assert mixed.dtype == dtype and mixed.shape == images.shape
  expected = np.array(images)
  expected[0, 0, 2:4] = expected[1, 0, 2:4]
  expected[2] = np.array(images)[0]
  np.testing.assert_array_equal(mixed, expected)


def test_partners_of_another_dtype_are_cast():
  images = jnp.zeros((3, 2, 4), jnp.bfloat16)
  mixed = hand_plan().mix(images, partners=jnp.ones((3, 2, 4), jnp.float32))
  assert mixed.dtype == jnp.bfloat16


def reference_paste(images, plan):
  """Loops over pixels."""
  out, partner = np.array(images), np.asarray(plan.partner)
  for i, (top, bottom, left, right) in enumerate(np.asarray(plan.box)):
    for row in range(top, bottom):
      for column in range(left, right):
        out[i, row, column] = images[partner[i], row, column]
  return out


@functools.cache
def drawn(shape=(64, 7, 5), alpha=1.0, seed=0):
  return boxes.draw_cutmix(jax.random.key(seed), shape, alpha=alpha)


@pytest.mark.parametrize("shape", [(64, 7, 5), (9, 8, 8)])
def test_pastes_like_numpy(shape):
  plan = drawn(shape)
  images = np.random.default_rng(0).normal(size=(*shape, 2)).astype(np.float32)
  np.testing.assert_array_equal(
    plan.mix(jnp.asarray(images)), reference_paste(images, plan)
  )


@pytest.mark.parametrize("alpha", [0.05, 1.0, 4.0])
def test_weight_is_the_area_kept(alpha):
  plan = drawn(alpha=alpha)
  own = plan.mix(jnp.zeros((64, 7, 5)), partners=jnp.ones((64, 7, 5)))
  kept = 1.0 - np.asarray(own).sum((1, 2)) / 35.0
  np.testing.assert_allclose(plan.weight, kept, atol=1e-6)
  np.testing.assert_array_equal(plan.weight, plan.lam)
  assert plan.lam.dtype == plan.weight.dtype == jnp.float32


def test_boxes_lie_in_the_image():
  plan = drawn(alpha=0.3)
  top, bottom, left, right = np.asarray(plan.box).T
  assert plan.box.dtype == jnp.int32 and plan.size == (7, 5)
  assert np.all((0 <= top) & (top <= bottom) & (bottom <= 7))
  assert np.all((0 <= left) & (left <= right) & (right <= 5))
  # Width 4 means sides of at least 0.8, height 5 before clipping.
  assert np.any((right - left == 4) & (bottom - top < 5))


def test_boxes_have_the_law_of_the_paper():
  """Sides floor(H sqrt(1 - lam)), centre uniform over pixels, then clipped."""
  n, height, width = 4_000, 6, 9
  plan = boxes.draw_cutmix(jax.random.key(2), (n, height, width), alpha=1.0)
  rng = np.random.default_rng(0)
  side = np.sqrt(1.0 - rng.uniform(size=400_000))

  def span(length):
    cut = (side * length).astype(int)
    start = rng.integers(0, length, side.size) - cut // 2
    return np.clip(start, 0, length), np.clip(start + cut, 0, length)

  (top, bottom), (left, right) = span(height), span(width)
  kept = 1.0 - (bottom - top) * (right - left) / (height * width)
  for got, want in [
    (plan.weight, kept),
    (plan.box[:, 0], top),
    (plan.box[:, 1], bottom),
    (plan.box[:, 2], left),
    (plan.box[:, 3], right),
    (plan.weight == 1.0, kept == 1.0),
  ]:
    # 4.5 standard errors of the plan's mean.
    error = want.std() * np.sqrt(1 / n + 1 / side.size)
    assert abs(np.mean(np.asarray(got)) - want.mean()) < 4.5 * error


def test_mean_shift_is_the_unclipped_laws():
  assert drawn().mean_shift == pytest.approx(1.0 / 3.0)


def constant(lam, weight):
  return policies.MixingPolicy(
    lambda key, shape: (jnp.full(shape, lam), jnp.full(shape, weight)),
    mean_shift=1.0 - lam,
  )


def test_a_policy_sets_the_size_of_boxes(key):
  """lam = 3/4 cuts half of each side, less where the border clips it."""
  plan = boxes.draw_cutmix(key, (64, 8, 12), policy=constant(0.75, 0.75))
  top, bottom, left, right = np.asarray(plan.box).T
  assert max(bottom - top) == 4 and max(right - left) == 6
  assert len(np.unique(top)) > 3 and len(np.unique(left)) > 3
  np.testing.assert_allclose(
    plan.weight, 1.0 - (bottom - top) * (right - left) / 96.0, rtol=1e-6
  )
  assert plan.mean_shift == 0.25


def test_a_policys_two_concentrations_are_drawn_from(key):
  keep, cut = (
    boxes.draw_cutmix(key, (256, 32, 32), policy=policies.mixup(a, b))
    for a, b in ((9.0, 1.0), (1.0, 9.0))
  )
  # E[lam] is 0.9 and 0.1, of which clipping keeps 0.92 and some 0.4.
  assert keep.weight.mean() > 0.9 and cut.weight.mean() < 0.55
  assert keep.mean_shift == cut.mean_shift == pytest.approx(18 / 110)


@RUNS
def test_one_lam_a_batch_is_one_box_a_batch(run, key):
  policy = policies.mixup(1.0, per_example=False)
  mask = jnp.array([True, True, True, False, True])
  draw = lambda key: boxes.draw_cutmix(
    key, (5, 9, 9), policy=policy, mask=mask, pairing=pairing.roll
  )
  plans = run(jax.vmap(draw))(jax.random.split(key, 6))
  box = np.asarray(plans.box)
  np.testing.assert_array_equal(box, np.broadcast_to(box[:, :1], box.shape))
  assert len(np.unique(box[:, 0], axis=0)) > 3  # but not one for all
  assert plans.partner.shape == (6, 5)


def test_an_equivalent_of_one_lam_a_batch_has_one_centre(key):
  policy = policies.as_dat(policies.mixup(1.0, per_example=False))
  plan = boxes.draw_cutmix(key, (16, 90, 90), policy=policy)
  assert 1 < len(np.unique(np.asarray(plan.box), axis=0)) <= 2
  np.testing.assert_array_equal(plan.weight, 1.0)


def test_strata_are_kept(key):
  """Of two strata of lam the upper one pastes less than half, at any key."""

  def upper(stratified):
    policy = policies.mixup(1.0, stratified=stratified)
    draw = lambda key: boxes.draw_cutmix(key, (2, 16, 16), policy=policy)
    return jax.vmap(draw)(jax.random.split(key, 64)).lam.max(axis=1)

  assert upper(True).min() >= 0.5 > upper(False).min()


def test_a_label_that_its_policy_keeps_whole_stays_whole(key):
  dat = boxes.draw_cutmix(key, (64, 9, 9), policy=policies.dat(3.0, 1.0))
  np.testing.assert_array_equal(dat.weight, 1.0)
  assert 0.5 < dat.lam.mean() < 0.99 and dat.mean_shift == 0.25
  untied = boxes.draw_cutmix(key, (64, 9, 9), policy=constant(0.75, 0.5))
  np.testing.assert_array_equal(untied.weight, 0.5)
  assert untied.lam.min() < 0.9


def test_a_policy_is_not_given_beside_alpha(key):
  with pytest.raises(ValueError, match="alpha must be None beside a policy"):
    boxes.draw_cutmix(key, (2, 4, 4), alpha=1.0, policy=policies.mixup(1.0))
  np.testing.assert_array_equal(
    boxes.draw_cutmix(key, (2, 4, 4)).box,
    boxes.draw_cutmix(key, (2, 4, 4), policy=policies.mixup(1.0)).box,
  )


@RUNS
@pytest.mark.parametrize("axis", [1, -3])
def test_channels_first_pastes_what_channels_last_does(run, axis, key):
  images = jax.random.normal(key, (4, 7, 6, 3))
  tree = {"a mask": jnp.arange(168).reshape(4, 7, 6), "image": images}
  labels = jnp.arange(4)
  want, targets = boxes.cutmix(key, tree, labels)
  first = tree | {"image": jnp.moveaxis(images, -1, 1)}
  cut = lambda tree: boxes.cutmix(key, tree, labels, channel_axis=axis)
  got, same = run(cut)(first)
  assert not np.array_equal(got["image"], first["image"])
  np.testing.assert_array_equal(
    np.moveaxis(np.asarray(got["image"]), 1, -1), want["image"]
  )
  np.testing.assert_array_equal(got["a mask"], want["a mask"])
  np.testing.assert_array_equal(same.weight, targets.weight)


@pytest.mark.parametrize(
  "shape", [(2, 3, 8, 8), (2, 1, 28, 28), (2, 3, 4, 4), (2, 4, 32, 64)]
)
def test_a_shape_that_looks_channels_first_is_asked_about(shape, key):
  message = rf"image_shape must be \(B, H, W, C\), got .*, {shape[1]}, .*=1 if"
  with pytest.raises(ValueError, match=message):
    boxes.draw_cutmix(key, shape)
  with pytest.raises(ValueError, match=message):
    boxes.cutmix(key, jnp.zeros(shape), jnp.zeros(2, int))
  assert boxes.draw_cutmix(key, shape, channel_axis=1).size == shape[2:]
  assert boxes.draw_cutmix(key, shape, channel_axis=-1).size == shape[1:3]


@pytest.mark.parametrize(
  "shape", [(2, 8, 8, 3), (2, 3, 3, 3), (2, 7, 7, 64), (2, 4, 4, 4), (2, 3, 9)]
)
def test_other_shapes_are_not(shape, key):
  assert boxes.draw_cutmix(key, shape).size == shape[1:3]


def test_channel_axis_errors(key):
  with pytest.raises(ValueError, match=r"channel_axis must be 1.*got 2"):
    boxes.draw_cutmix(key, (2, 8, 8, 3), channel_axis=2)
  plan = boxes.draw_cutmix(key, (2, 3, 8, 8), channel_axis=1)
  with pytest.raises(ValueError, match=r"inputs must be \[2, C, 8, 8, ...\]"):
    plan.mix(jnp.zeros((2, 8, 8, 3)))
  last = boxes.draw_cutmix(key, (2, 8, 8))
  with pytest.raises(ValueError, match=r"got \(2, 3, 8, 8\); .*channel_axis=1"):
    last.mix(jnp.zeros((2, 3, 8, 8)))


def test_cutmix_is_draw_and_mix(key):
  images = jax.random.normal(key, (4, 6, 6, 1))
  labels = jnp.arange(4)
  plan = boxes.draw_cutmix(key, images.shape, alpha=0.5, pairing=pairing.flip)
  mixed, targets = boxes.cutmix(
    key, images, labels, alpha=0.5, pairing=pairing.flip
  )
  np.testing.assert_array_equal(mixed, plan.mix(images))
  np.testing.assert_array_equal(targets.weight, plan.weight)
  np.testing.assert_array_equal(targets.second, [3, 2, 1, 0])


def test_padding_never_leaks(key):
  mask = jnp.array([True, False, True, False])
  images = jnp.where(mask, 1.0, jnp.nan)[:, None, None] * jnp.ones((4, 6, 6))
  mixed, _ = boxes.cutmix(key, images, jnp.arange(4), alpha=0.3, mask=mask)
  assert bool(jnp.all(jnp.isfinite(mixed) == mask[:, None, None]))


def test_invalid_partners_leave_the_image_whole(key):
  images, labels = jnp.zeros((4, 6, 6)), jnp.zeros(4, int)
  theirs = jnp.array([True, False, False, True])
  mixed, targets = boxes.cutmix(
    key,
    images,
    labels,
    alpha=0.3,
    pairing=pairing.between((jnp.ones((4, 6, 6)), labels), theirs),
  )
  np.testing.assert_array_equal(mixed[1:3], 0.0)
  np.testing.assert_array_equal(targets.weight[1:3], 1.0)
  np.testing.assert_allclose(
    1.0 - np.mean(mixed, axis=(1, 2)), targets.weight, atol=1e-6
  )


@functools.partial(jax.jit, static_argnums=3)
def jitted_cutmix(key, images, labels, pair, alpha, mask):
  return boxes.cutmix(key, images, labels, alpha=alpha, pairing=pair, mask=mask)


@hypothesis.settings(max_examples=20, deadline=None, derandomize=True)
@hypothesis.given(
  shape=st.sampled_from([(1, 3, 3), (3, 4, 7)]),
  seed=st.integers(0, 2**31 - 1),
  alpha=st.sampled_from([0.01, 0.5, 3.0]),
  real=st.lists(st.booleans(), min_size=3, max_size=3),
)
def test_properties(shape, seed, alpha, real):
  rng = np.random.default_rng(seed)
  labels = np.arange(shape[0])
  # The image's pixels carry its own index.
  images = np.broadcast_to(labels[:, None, None], shape).astype(np.uint8)
  mask = rng.permutation(np.array(real[: shape[0]]))
  mixed, targets = jitted_cutmix(
    jax.random.key(seed),
    images,
    labels,
    pairing.permutation,
    np.float32(alpha),
    mask,
  )
  mixed, second = np.asarray(mixed), np.asarray(targets.second)
  assert mixed.dtype == np.uint8
  for i in range(shape[0]):
    assert np.isin(mixed[i], [i, second[i]]).all()
    assert mask[second[i]] == mask[i]
    if second[i] != i:
      share = (mixed[i] == i).mean()
      np.testing.assert_allclose(targets.weight[i], share, atol=1e-6)


def test_traced_alpha_and_no_retrace(key):
  traces = []

  @jax.jit
  def run(key, alpha):
    traces.append(1)
    return boxes.draw_cutmix(key, (3, 4, 4), alpha=alpha)

  first, other = run(key, 0.5), run(key, 2.0)
  assert len(traces) == 1
  expected = boxes.draw_cutmix(key, (3, 4, 4), alpha=0.5)
  np.testing.assert_array_equal(first.box, expected.box)
  assert first.mean_shift != other.mean_shift


def test_errors(key):
  images, labels = jnp.zeros((4, 6, 6, 1)), jnp.zeros(4, int)
  cases = [
    ((images, labels[:2]), {}, ValueError, "'images': 4, 'labels': 2"),
    ((images[:, 0, 0], labels), {}, ValueError, r"must be .B, H, W.*\(4, 1\)"),
    ((images, labels), {"alpha": 0.0}, ValueError, "alpha must lie in"),
    (
      ({"a": images, "b": images[:, :3]}, labels),
      {},
      ValueError,
      r"inputs must be \[4, 6, 6, ...\].*got \(4, 3, 6, 1\)",
    ),
    ((images, labels == 0), {}, TypeError, "labels must be integer classes"),
    (
      (images, labels),
      {"mask": jnp.ones(3, bool)},
      ValueError,
      r"mask must have shape \(4,\)",
    ),
    ((images, labels), {"mask": jnp.ones(4)}, TypeError, "must be boolean"),
  ]
  for args, options, error, message in cases:
    with pytest.raises(error, match=message):
      boxes.cutmix(key, *args, **options)
    with pytest.raises(error, match=message):
      jax.jit(lambda key, args, o=options: boxes.cutmix(key, *args, **o))(
        key, args
      )
  with pytest.raises(ValueError, match=r"must be \(B, H, W, ...\), got \(4,\)"):
    boxes.draw_cutmix(key, (4,))
  with pytest.raises(ValueError, match="batch_size must be at least 1"):
    boxes.draw_cutmix(key, (0, 4, 4))
