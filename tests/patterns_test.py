"""ResizeMix, FMix and GridMix against NumPy, their laws, and their errors."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmix
from jaxmix import pairing, patterns, policies

DRAWS = {
  "resizemix": jaxmix.draw_resizemix,
  "fmix": jaxmix.draw_fmix,
  "gridmix": functools.partial(jaxmix.draw_gridmix, cells=(2, 3)),
}
EACH = pytest.mark.parametrize("name", DRAWS)


def drawn(name, key, shape, **options):
  """Jitted: of a pattern's many operations none is compiled by itself."""
  return jax.jit(lambda key: DRAWS[name](key, shape, **options))(key)


def constant(lam, weight=None):
  weight = lam if weight is None else weight
  return policies.MixingPolicy(
    lambda key, shape: (jnp.full(shape, lam), jnp.full(shape, weight)),
    mean_shift=2.0 * lam * (1.0 - lam),
  )


def nearest(image, height, width):
  """torch's interpolate, mode nearest: source = floor(place * in / out)."""
  rows = np.arange(height) * image.shape[0] // max(height, 1)
  columns = np.arange(width) * image.shape[1] // max(width, 1)
  return image[rows][:, columns]


def test_resizemix_pastes_the_whole_partner_smaller(key):
  """Of the same boxes, what openmixup makes of the batch."""
  images = np.random.default_rng(0).normal(size=(32, 7, 9, 2))
  images = images.astype(np.float32)
  plan = jax.jit(jaxmix.draw_resizemix, static_argnums=1)(key, images.shape)
  expected, partner = images.copy(), np.asarray(plan.partner)
  sizes = set()
  for i, own in enumerate(np.asarray(plan.masks)):
    rows, columns = (np.flatnonzero(~own.all(axis)) for axis in (1, 0))
    if not rows.size:
      continue
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    assert not own[box].any()  # a box, all of it
    smaller = nearest(images[partner[i]], rows.size, columns.size)
    expected[i][box] = smaller
    sizes.add(smaller.shape)
  assert len(sizes) > 5
  np.testing.assert_array_equal(plan.mix(images), expected)
  kept = np.asarray(plan.masks).mean((1, 2))
  np.testing.assert_allclose(plan.weight, kept, atol=1e-6)


def test_resizemixs_sides_are_uniform():
  """tau of the unclipped boxes, within 4.5 standard errors; none beyond."""
  n, low, high = 4_000, 0.1, 0.8
  lam, weight = policies.scaled(low, high).sample(jax.random.key(1), (n,))
  np.testing.assert_array_equal(lam, weight)
  tau = np.sqrt(1.0 - np.asarray(lam, np.float64))
  assert low - 1e-6 < tau.min() < 0.11 and 0.79 < tau.max() < high + 1e-6
  for power in (1, 2, 4):
    want = (high ** (power + 1) - low ** (power + 1)) / (power + 1)
    want /= high - low
    error = (tau**power).std() / math.sqrt(n)
    assert abs((tau**power).mean() - want) < 4.5 * error
  shift = 2.0 * lam * (1.0 - lam)
  error = float(shift.std()) / math.sqrt(n)
  own = policies.scaled(low, high)
  assert abs(float(shift.mean()) - own.mean_shift) < 4.5 * error
  nodes, _, prob = own.quadrature(8)
  np.testing.assert_allclose(prob @ (2 * nodes * (1 - nodes)), own.mean_shift)
  one = policies.scaled(0.1, 0.8, per_example=False)
  assert len(np.unique(one.sample(jax.random.key(0), (5,))[0])) == 1


@pytest.mark.parametrize("size", [(6, 8), (5, 7), (7, 4)])
def test_fmixs_images_are_the_filtered_noise(size):
  """The paper's section 4 in NumPy: noise / frequency^decay, transformed."""
  rng = np.random.default_rng(0)
  noise = rng.normal(size=(2, 3, size[0], size[1] // 2 + 1))
  fy, fx = np.fft.fftfreq(size[0])[:, None], np.fft.rfftfreq(size[1])[None]
  frequency = np.maximum(np.sqrt(fx**2 + fy**2), 1.0 / max(size))
  spectrum = (noise[0] + 1j * noise[1]) / frequency**3
  expected = np.fft.irfftn(spectrum, size, axes=(1, 2))
  found = patterns.low_frequency(jnp.asarray(noise, jnp.float32), size, 3.0)
  scale = np.abs(expected).max()
  np.testing.assert_allclose(found / scale, expected / scale, atol=1e-5)


def test_fmix_keeps_the_highest_pixels_in_the_share_drawn():
  """10 or 11 of 35 pixels at lam 0.3, each half the time; higher lam, more."""
  n = 400
  draw = jax.jit(
    lambda lam: jaxmix.draw_fmix(
      jax.random.key(3), (n, 5, 7), policy=constant(lam)
    )
  )
  low, high = draw(0.3), draw(0.7)
  counts = np.asarray(low.masks.sum((1, 2)))
  assert set(counts) == {10, 11}
  # 4.5 standard errors of a fair coin's mean.
  assert abs((counts == 11).mean() - 0.5) < 4.5 * 0.5 / math.sqrt(n)
  assert not np.any(low.masks & ~high.masks)
  np.testing.assert_allclose(low.lam, counts / 35.0, rtol=1e-6)
  for lam in (0.0, 1.0):
    np.testing.assert_array_equal(draw(lam).masks, bool(lam))


def test_fmixs_shapes_are_smoother_at_a_higher_decay():
  draw = jax.jit(
    lambda decay: jaxmix.draw_fmix(
      jax.random.key(0), (64, 16, 16), policy=constant(0.5), decay=decay
    )
  )
  kept = draw(1.0).masks, draw(3.0).masks
  rough, smooth = (np.mean(one[:, 1:] != one[:, :-1]) for one in kept)
  assert rough > 1.5 * smooth > 0.0


def reference_grid(size, cells, lam):
  """openmixup's holes, one after another, over the whole image."""
  height, width = size
  side = math.ceil(width / cells)
  hole = min(max(int(side * math.sqrt(1.0 - lam)), 1), side - 1)
  kept = np.ones(size, bool)
  for i in range(cells + 1):
    for j in range(math.ceil(height / side) + 1):
      x, y = min(side * i, width), min(side * j, height)
      kept[y : min(y + hole, height), x : min(x + hole, width)] = False
  return kept


@pytest.mark.parametrize("size", [(12, 12), (9, 13)])
@pytest.mark.parametrize("cells", [2, 4, 6])
def test_gridmix_repeats_openmixups_holes(size, cells):
  draw = jax.jit(
    jax.vmap(
      lambda lam: jaxmix.draw_gridmix(
        *(jax.random.key(0), (1, *size)),
        policy=constant(lam),
        cells=(cells, cells),
      )
    )
  )
  # Whose roots times a side are no integers that rounding could miss.
  lam = np.array([0.0, 0.05, 0.31, 0.52, 0.77, 0.93, 0.999], np.float32)
  plans = draw(lam)
  for one, kept in zip(lam, plans.masks, strict=True):
    np.testing.assert_array_equal(kept[0], reference_grid(size, cells, one))
  assert np.all((plans.lam > 0.0) & (plans.lam < 1.0))
  np.testing.assert_array_equal(plans.weight, plans.lam)


def test_gridmixs_numbers_of_cells_are_even(key):
  """Two or three squares in a row of twelve, half the time each."""
  n = 400
  policy = constant(0.99)
  plan = drawn("gridmix", key, (n, 12, 12), policy=policy)
  holes = np.asarray((~plan.masks[:, 0]).sum(-1))
  assert set(holes) == {2, 3}
  assert abs((holes == 3).mean() - 0.5) < 4.5 * 0.5 / math.sqrt(n)


@EACH
def test_plans_say_what_they_mix(name, key):
  """Weights are the pixels kept, padded rows stay, every example has a mask."""
  mask = jnp.array([True, False, True, True, True])
  valid = jnp.array([True, True, False, True, True])

  def pairs(key, size, mask):
    return pairing.roll(key, size, mask)._replace(valid=valid)

  plan = drawn(name, key, (5, 12, 12), mask=mask, pairing=pairs)
  np.testing.assert_array_equal(plan.mask, mask)
  np.testing.assert_array_equal(plan.partner, [2, 1, 3, 4, 0])
  assert plan.masks[2].all() and plan.weight[2] == 1.0
  kept = np.asarray(plan.masks, np.float64).mean((1, 2))
  np.testing.assert_allclose(plan.lam, kept, atol=1e-6)
  assert 0.0 < kept.min() < 0.95
  np.testing.assert_array_equal(plan.weight, plan.lam)
  assert plan.lam.dtype == jnp.float32 and plan.mean_shift > 0.2
  assert len(np.unique(np.asarray(plan.masks).reshape(5, -1), axis=0)) >= 3


@EACH
def test_one_lam_a_batch_is_one_mask_a_batch(name, key):
  policy = policies.mixup(1.0, per_example=False)
  draws = lambda key: DRAWS[name](key, (4, 12, 12), policy=policy).masks
  own = np.asarray(jax.jit(jax.vmap(draws))(jax.random.split(key, 3)))
  np.testing.assert_array_equal(own, np.broadcast_to(own[:, :1], own.shape))
  assert len(np.unique(own[:, 0].reshape(3, -1), axis=0)) >= 2


@EACH
def test_a_label_that_its_policy_keeps_whole_stays_whole(name, key):
  plan = drawn(name, key, (4, 12, 12), policy=policies.dat(1.0, 1.0))
  np.testing.assert_array_equal(plan.weight, 1.0)
  assert float(plan.lam.min()) < 1.0


@pytest.mark.parametrize("mix", [jaxmix.resizemix, jaxmix.fmix, jaxmix.gridmix])
def test_at_once_is_draw_and_mix(mix, key):
  images = jax.random.normal(key, (4, 3, 16, 16))
  draw = getattr(jaxmix, f"draw_{mix.__name__}")

  @jax.jit
  def both(key):
    mixed, targets = mix(key, images, jnp.arange(4), channel_axis=1)
    plan = draw(key, images.shape, channel_axis=1)
    return mixed, targets, plan

  mixed, targets, plan = both(key)
  np.testing.assert_array_equal(mixed, plan.mix(images))
  np.testing.assert_array_equal(targets.weight, plan.weight)
  assert np.any(np.asarray(mixed) != np.asarray(images))
  # Whole pixels: the channels of one come from one image.
  own = np.asarray(mixed == images)
  np.testing.assert_array_equal(own.all(1), own.any(1))


@pytest.mark.parametrize(
  ("call", "message"),
  [
    (lambda key: jaxmix.draw_fmix(key, (4, 8)), "image_shape must be"),
    (
      lambda key: jaxmix.draw_gridmix(key, (4, 3, 8, 8)),
      "which looks like .B, C, H, W.; pass channel_axis=1",
    ),
    (
      lambda key: jaxmix.draw_fmix(key, (4, 8, 8), alpha=0.0),
      "alpha must lie in",
    ),
    (
      lambda key: jaxmix.draw_fmix(
        key, (4, 8, 8), alpha=1.0, policy=constant(0.5)
      ),
      "alpha must be None beside a policy",
    ),
    (
      lambda key: jaxmix.draw_fmix(key, (4, 8, 8), decay=0.0),
      "decay must lie in .0, inf., got 0.0",
    ),
    (
      lambda key: jaxmix.draw_gridmix(key, (4, 8, 8), cells=(2, 5)),
      r"cells must be two rising integers in \[1, 4\], .*got \(2, 5\)",
    ),
    (
      lambda key: jaxmix.draw_gridmix(key, (4, 8, 8), cells=(3, 2)),
      r"cells must be two rising .*got \(3, 2\)",
    ),
    (lambda key: policies.scaled(0.5, 1.5), r"high must lie in \[0, 1\]"),
    (lambda key: policies.scaled(0.5, 0.25), "low must be at most high = 0.25"),
  ],
)
def test_errors(call, message, key):
  with pytest.raises(ValueError, match=message):
    call(key)
