"""Tests of jaxmix.models.preact_resnet; sizes and costs: registry_test."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from jaxmix import models
from jaxmix.models.preact_resnet import PreActBlock, PreActResNet


def random(shape, seed=0):
  return jnp.asarray(
    np.random.default_rng(seed).normal(size=shape), jnp.float32
  )


def randomized(spec):
  """Variables of these shapes; scales and variances around 1."""
  rng = np.random.default_rng(0)

  def draw(path, leaf):
    if path[-1].key in ("scale", "var"):
      return rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
    fan = np.sqrt(np.prod(leaf.shape[:-1])) if leaf.ndim > 1 else 5.0
    return (rng.normal(size=leaf.shape) / fan).astype(np.float32)

  return jax.tree_util.tree_map_with_path(draw, spec)


def wide(tree):
  return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


def conv(v, name, x, stride=1):
  """By SciPy's correlations, an image at a time."""
  kernel = v["params"][name]["kernel"]
  maps = [
    [
      sum(
        signal.correlate2d(one[..., c], kernel[..., c, k], mode="same")
        for c in range(x.shape[-1])
      )
      for k in range(kernel.shape[-1])
    ]
    for one in x
  ]
  return np.moveaxis(np.array(maps), 1, -1)[:, ::stride, ::stride]


def norm_relu(v, name, x):
  params, stats = v["params"][name], v["batch_stats"][name]
  normal = (x - stats["mean"]) / np.sqrt(stats["var"] + 1e-5)
  return np.maximum(normal * params["scale"] + params["bias"], 0.0)


def reference_block(v, block, x, stride):
  """He et al. (2016b), figure 4 (e), with a shortcut of what is activated."""
  y = norm_relu(v, "norm1", x)
  if "conv_shortcut" in v["params"]:
    x = conv(v, "conv_shortcut", y, stride)
  if block == "basic":
    y = conv(v, "conv1", y, stride)
    return x + conv(v, "conv2", norm_relu(v, "norm2", y))
  y = norm_relu(v, "norm2", conv(v, "conv1", y))
  y = norm_relu(v, "norm3", conv(v, "conv2", y, stride))
  return x + conv(v, "conv3", y)


@pytest.mark.parametrize(
  ("block", "channels", "stride", "projected"),
  [
    ("bottleneck", 12, 1, False),
    ("bottleneck", 12, 2, True),
    ("basic", 3, 1, False),
    ("basic", 3, 2, True),
    ("basic", 5, 1, True),
  ],
)
def test_block_is_the_reference(block, channels, stride, projected):
  x = random((2, 6, 5, channels))
  module = PreActBlock(
    width=3, stride=stride, block=block, dtype=jnp.float32, axis_name=None
  )
  init = lambda x: module.init(jax.random.key(0), x, False, None)
  v = randomized(jax.eval_shape(init, x))
  assert ("conv_shortcut" in v["params"]) == projected
  got = jax.jit(lambda v, x: module.apply(v, x, False, None))(v, x)
  expected = reference_block(wide(v), block, wide(x), stride)
  assert np.std(expected) > 0.1
  np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
  ("options", "stem"),
  [({}, 4), ({"stem_width": 2, "stem_stride": 2, "final_norm": True}, 2)],
  ids=["preact", "wide"],
)
def test_network_is_a_stem_blocks_the_mean_and_a_head(options, stem):
  model = PreActResNet(3, stage_sizes=(1, 2), width=4, **options)
  x = random((2, 12, 9, 3))
  v = randomized(jax.eval_shape(model.init, jax.random.key(0), x))
  assert v["params"]["conv_stem"]["kernel"].shape == (3, 3, 3, stem)
  got = jax.jit(model.apply)(v, x)
  v = wide(v)
  y = conv(v, "conv_stem", wide(x), options.get("stem_stride", 1))
  for name, stride in (
    ("stage1_block1", 1),
    ("stage2_block1", 2),
    ("stage2_block2", 1),
  ):
    block = {collection: v[collection][name] for collection in v}
    y = reference_block(block, "basic", y, stride)
  if options:
    y = norm_relu(v, "norm_final", y)
  head = v["params"]["head"]
  expected = y.mean(axis=(1, 2)) @ head["kernel"] + head["bias"]
  np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_places_are_called_in_order_with_their_features():
  model = models.create("wrn_16_8", 3, width=4, stem_width=2)
  seen = []

  def tap(place, x, parts):
    seen.append((model.stages[place], x.shape[1:]))
    return x, parts

  jax.eval_shape(
    lambda x: model.init(jax.random.key(0), x, tap=tap), random((1, 8, 7, 1))
  )
  assert seen == [
    ("input", (8, 7, 1)),
    ("stem", (8, 7, 2)),
    ("stage1", (8, 7, 4)),
    ("stage2", (4, 4, 8)),
    ("stage3", (2, 2, 16)),
    ("readout", (16,)),
  ]


def test_wrong_options():
  for options, message in (
    ({"block": "wide"}, "block must be one of .*'basic'.*got 'wide'"),
    ({"remat": True}, "remat must be one of .*'blocks'.*got True"),
  ):
    with pytest.raises(ValueError, match=message):
      jax.eval_shape(
        PreActResNet(2, **options).init, jax.random.key(0), jnp.ones((1,) * 4)
      )
