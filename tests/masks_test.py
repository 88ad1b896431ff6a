"""Plans of any mask: pixels by hand, means, and CutMix as one of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmix
from jaxmix import boxes, pairing

RUNS = pytest.mark.parametrize(
  "run", [lambda f: f, jax.jit], ids=["eager", "jit"]
)
MASKS = jnp.array([[[0.75, 0.0], [0.5, 1.0]], [[1.0] * 2] * 2, [[0.0] * 2] * 2])
PARTNER = jnp.array([1, 0, 0])
IMAGES = jnp.array([8.0, 16.0, 32.0])[:, None, None] * jnp.ones((3, 2, 2))


@RUNS
def test_mixes_by_hand(run):
  plan = jaxmix.mask_plan(MASKS, PARTNER)
  expected = [[[10, 16], [12, 8]], [[16] * 2] * 2, [[8] * 2] * 2]
  np.testing.assert_array_equal(run(plan.mix)(IMAGES), expected)
  np.testing.assert_allclose(plan.lam, [0.5625, 1.0, 0.0])
  assert plan.weight is plan.lam and plan.lam.dtype == jnp.float32
  targets = run(plan.targets)(jnp.array([3, 4, 5]))
  np.testing.assert_array_equal(targets.second, [4, 3, 3])
  np.testing.assert_allclose(targets.weight, plan.lam)


def test_channels_and_trees_are_masked_alike():
  images = np.random.default_rng(0).normal(size=(3, 2, 2, 4))
  images = images.astype(np.float32)
  own = np.asarray(MASKS)[..., None]
  expected = own * images + (1.0 - own) * images[np.asarray(PARTNER)]
  last = jaxmix.mask_plan(MASKS, PARTNER)
  mixed = last.mix({"x": images, "depth": images[..., 0]})
  np.testing.assert_allclose(mixed["x"], expected, rtol=1e-6)
  np.testing.assert_allclose(mixed["depth"], expected[..., 0], rtol=1e-6)
  first = jaxmix.mask_plan(MASKS, PARTNER, channel_axis=1)
  moved = first.mix(np.moveaxis(images, -1, 1))
  np.testing.assert_allclose(np.moveaxis(moved, 1, -1), expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.int32, bool, jnp.bfloat16])
def test_boolean_masks_choose_whatever_the_dtype(dtype):
  kept = MASKS > 0.5
  images = jnp.arange(12).reshape(3, 2, 2).astype(dtype)
  mixed = jaxmix.mask_plan(kept, PARTNER).mix(images)
  expected = np.where(kept, images, np.asarray(images)[np.asarray(PARTNER)])
  assert mixed.dtype == dtype
  np.testing.assert_array_equal(mixed, expected)


def test_a_pixel_of_no_weight_does_not_count():
  """Though it is infinite: where a mask is 0, and where it is 1."""
  images = jnp.array([[[jnp.inf, 1.0]], [[2.0, jnp.inf]]])
  plan = jaxmix.mask_plan(jnp.array([[[0.0, 1.0]]] * 2), jnp.array([1, 0]))
  np.testing.assert_array_equal(
    plan.mix(images), [[[2.0, 1.0]], [[jnp.inf, jnp.inf]]]
  )


def test_blends_are_wider_than_the_images():
  """3/4 of 256 and 1/4 of 255 is 255.75, of which bfloat16 keeps 256."""
  images = jnp.array([[[256.0]], [[255.0]]], jnp.bfloat16)
  plan = jaxmix.mask_plan(jnp.full((2, 1, 1), 0.7501), jnp.array([1, 0]))
  mixed = plan.mix(images)
  assert mixed.dtype == jnp.bfloat16
  np.testing.assert_array_equal(mixed.astype(jnp.float32)[0], [[256.0]])


def test_cutmix_is_the_plan_of_its_boxes(key):
  draw = jax.jit(lambda key: boxes.draw_cutmix(key, (6, 5, 7), alpha=1.0))
  plan = draw(key)
  kept = ~boxes.inside(plan.box, plan.size)
  images = jax.random.normal(key, (6, 5, 7, 3))
  same = jaxmix.mask_plan(kept, plan.partner)
  assert 0.1 < float(same.lam.mean()) < 0.9
  np.testing.assert_array_equal(same.mix(images), plan.mix(images))
  np.testing.assert_allclose(same.weight, plan.weight, atol=1e-6)


@RUNS
def test_rows_and_columns_of_the_partner_are_looked_up(run):
  kept = jnp.zeros((2, 2, 3), bool)
  plan = jaxmix.mask_plan(kept, jnp.array([1, 0])).replace(
    rows=jnp.array([[1, 0], [0, 0]]), columns=jnp.array([[2, 1, 0], [1, 1, 1]])
  )
  images = jnp.arange(24.0).reshape(2, 2, 3, 2)
  mixed = run(plan.mix)(images)
  np.testing.assert_array_equal(mixed[0], images[1, ::-1, ::-1])
  np.testing.assert_array_equal(mixed[1], images[0, [[0], [0]], [[1, 1, 1]]])


def test_gradients_reach_images_and_masks(key):
  """Of sum(mixed * c): the mask's shares of c, and x_i - x_partner times c."""
  images = jax.random.normal(key, (3, 2, 2))
  cotangent = jax.random.normal(jax.random.key(1), (3, 2, 2))
  half = jnp.clip(MASKS, 0.25, 0.75)  # inside, where it is differentiable

  def total(images, own):
    mixed = jaxmix.mask_plan(own, PARTNER).mix(images)
    return jnp.sum(mixed * cotangent)

  for run in (lambda f: f, jax.jit):
    to_images, to_masks = run(jax.grad(total, (0, 1)))(images, half)
    expected = np.array(half * cotangent)
    np.add.at(
      expected, np.asarray(PARTNER), np.asarray((1.0 - half) * cotangent)
    )
    np.testing.assert_allclose(to_images, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
      to_masks, (images - images[PARTNER]) * cotangent, rtol=1e-5, atol=1e-6
    )


def test_padded_examples_keep_their_pixels():
  mask = jnp.array([True, False, True])
  partners = pairing.roll(jax.random.key(0), 3, mask)
  quarter = jnp.full((3, 2, 2), 0.25)
  plan = jaxmix.mask_plan(quarter, partners, mask=mask)
  mixed = plan.mix(IMAGES)
  np.testing.assert_array_equal(mixed[1], IMAGES[1])
  np.testing.assert_allclose(mixed[0], 0.25 * 8.0 + 0.75 * 32.0)
  np.testing.assert_array_equal(plan.mask, mask)
  # Nor is a label shared with a partner that is none.
  alone = pairing.Partners(PARTNER, valid=jnp.array([True, False, True]))
  plan = jaxmix.mask_plan(quarter, alone)
  np.testing.assert_allclose(plan.weight, [0.25, 1.0, 0.25])
  np.testing.assert_array_equal(plan.mix(IMAGES)[1], IMAGES[1])


def test_a_second_batch_is_masked_in(key):
  others = (IMAGES + 1.0, jnp.array([5, 6, 7]))
  partners = pairing.between(others)(key, 3, None)
  plan = jaxmix.mask_plan(jnp.zeros((3, 2, 2), bool), partners)
  np.testing.assert_array_equal(plan.mix(IMAGES), others[0][partners.index])
  second = plan.targets(jnp.array([0, 1, 2])).second
  np.testing.assert_array_equal(second, others[1][partners.index])


def test_mixupe_takes_the_plan(key):
  plan = jaxmix.mask_plan(MASKS, PARTNER, mean_shift=0.25)
  model = lambda x: x.reshape(x.shape[0], 4)
  images, labels = jax.random.normal(key, (3, 2, 2)), jnp.array([0, 1, 2])

  @jax.jit
  def terms():
    loss_fn = jaxmix.losses.softmax_cross_entropy
    logits, targets = model(plan.mix(images)), plan.targets(labels)
    loss, aux = jaxmix.mixupe_loss(model, images, labels, plan, eta=1.0)
    size = abs(jaxmix.directional_penalty(model(images), labels))
    mixed = jaxmix.mixed_loss(loss_fn, logits, targets)
    return loss, mixed.mean(), aux.penalty, 0.25 * size.mean()

  loss, mixed, penalty, expected = terms()
  np.testing.assert_allclose(loss, mixed, rtol=1e-6)
  np.testing.assert_allclose(penalty, expected, rtol=1e-6)
  assert float(penalty) > 0.0
  unlawful = jaxmix.mask_plan(MASKS, PARTNER)
  with pytest.raises(ValueError, match="plan.mean_shift is None"):
    jaxmix.mixupe_loss(model, images, labels, unlawful, eta=1.0)


@pytest.mark.parametrize(
  ("call", "error", "message"),
  [
    (lambda: jaxmix.mask_plan(MASKS[0], PARTNER), ValueError, r"\[B, H, W\]"),
    (
      lambda: jaxmix.mask_plan(jnp.ones((3, 2, 2), jnp.uint8), PARTNER),
      TypeError,
      "masks must be floats in .0, 1., or bool, got uint8",
    ),
    (
      lambda: jaxmix.mask_plan(MASKS, jnp.ones(3)),
      TypeError,
      "partners must be integers, positions in the batch, got float32",
    ),
    (
      lambda: jaxmix.mask_plan(MASKS, jnp.array([0, 1])),
      ValueError,
      "masks.*3.*partners.*2",
    ),
    (
      lambda: jaxmix.mask_plan(MASKS, PARTNER, channel_axis=3),
      ValueError,
      "channel_axis must be 1, for .*got 3",
    ),
    (
      lambda: jaxmix.mask_plan(MASKS, PARTNER).mix(jnp.ones((3, 4, 2))),
      ValueError,
      r"inputs must be \[3, 2, 2, ...\] for this plan's masks, got \(3, 4, 2\)",
    ),
    (
      lambda: jaxmix.mask_plan(MASKS, PARTNER).mix(jnp.ones((3, 2, 2), int)),
      TypeError,
      "inputs must be floating point to be mixed, got int32",
    ),
  ],
)
def test_errors(call, error, message):
  with pytest.raises(error, match=message):
    call()
