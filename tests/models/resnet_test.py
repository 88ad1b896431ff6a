"""Tests of jaxmix.models.resnet; sizes and costs are in registry_test."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmix.models.resnet import ResidualBlock, ResNet


def random(shape, seed=0):
  return jnp.asarray(
    np.random.default_rng(seed).normal(size=shape), jnp.float32
  )


def randomized(spec):
  """Variables of these shapes; scales and variances around 1."""
  rng = np.random.default_rng(0)

  def draw(path, leaf):
    name = path[-1].key
    if name == "kernel":
      x = rng.normal(size=leaf.shape) / np.sqrt(np.prod(leaf.shape[:-1]))
    elif name in ("scale", "var"):
      x = rng.uniform(0.5, 1.5, leaf.shape)
    else:
      x = 0.2 * rng.normal(size=leaf.shape)
    return jnp.asarray(x, jnp.float32)

  return jax.tree_util.tree_map_with_path(draw, spec)


def wide(tree):
  return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


def reference_conv(v, name, x, stride=1):
  """A sum over the kernel's taps of shifted, zero-padded inputs, float64."""
  kernel = v["params"][name]["kernel"]
  size = kernel.shape[0]
  x = np.pad(x, [(0, 0), *[(size // 2,) * 2] * 2, (0, 0)])
  height, width = (n - size + 1 for n in x.shape[1:3])
  return sum(
    x[:, i : i + height : stride, j : j + width : stride] @ kernel[i, j]
    for i in range(size)
    for j in range(size)
  )


def reference_norm(v, name, x):
  params, stats = v["params"][name], v["batch_stats"][name]
  normal = (x - stats["mean"]) / np.sqrt(stats["var"] + 1e-5)
  return normal * params["scale"] + params["bias"]


def reference_block(v, block, x, stride):
  relu = lambda y: np.maximum(y, 0)
  strides = {"bottleneck": (1, stride, 1), "basic": (stride, 1)}[block]
  y = x
  for index, step in enumerate(strides, start=1):
    y = reference_conv(v, f"conv{index}", y, step)
    y = reference_norm(v, f"norm{index}", y)
    y = relu(y) if index < len(strides) else y
  if "conv_shortcut" in v["params"]:
    x = reference_conv(v, "conv_shortcut", x, stride)
    x = reference_norm(v, "norm_shortcut", x)
  return relu(x + y)


@pytest.mark.parametrize(
  ("block", "channels", "stride", "projected"),
  [
    ("bottleneck", 12, 1, False),
    ("bottleneck", 6, 1, True),
    ("bottleneck", 12, 2, True),
    ("basic", 3, 1, False),
    ("basic", 3, 2, True),
    ("basic", 5, 1, True),
  ],
)
def test_block_is_the_reference(block, channels, stride, projected):
  x = random((2, 6, 4, channels))
  module = ResidualBlock(
    width=3, stride=stride, block=block, dtype=jnp.float32, axis_name=None
  )
  init = lambda x: module.init(jax.random.key(0), x, False, None)
  v = randomized(jax.eval_shape(init, x))
  assert ("conv_shortcut" in v["params"]) == projected
  got = jax.jit(lambda v, x: module.apply(v, x, False, None))(v, x)
  expected = reference_block(wide(v), block, wide(x), stride)
  np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stem", ["imagenet", "small"])
def test_network_is_the_reference(stem):
  model = ResNet(
    num_classes=3, stage_sizes=(1, 2), width=4, block="basic", stem=stem
  )
  x = random((2, 16, 12, 3))
  v = randomized(jax.eval_shape(model.init, jax.random.key(0), x))
  got = jax.jit(model.apply)(v, x)

  v, y = wide(v), wide(x)
  y = reference_conv(v, "conv_stem", y, 2 if stem == "imagenet" else 1)
  assert v["params"]["conv_stem"]["kernel"].shape[0] == (
    7 if stem == "imagenet" else 3
  )
  y = np.maximum(reference_norm(v, "norm_stem", y), 0)
  if stem == "imagenet":  # Maxima over 3 x 3 around every other point.
    y = np.pad(y, [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=-np.inf)
    height, width = (n - 2 for n in y.shape[1:3])
    y = np.max(
      [
        y[:, i : i + height : 2, j : j + width : 2]
        for i in range(3)
        for j in range(3)
      ],
      axis=0,
    )
  for name, stride in (
    ("stage1_block1", 1),
    ("stage2_block1", 2),
    ("stage2_block2", 1),
  ):
    block = {collection: v[collection][name] for collection in v}
    y = reference_block(block, "basic", y, stride)
  head = v["params"]["head"]
  expected = y.mean(axis=(1, 2)) @ head["kernel"] + head["bias"]
  np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("block", ["bottleneck", "basic"])
def test_branches_are_silent_at_the_start(block):
  channels = 12 if block == "bottleneck" else 3
  x = random((2, 4, 4, channels))
  module = ResidualBlock(
    width=3, stride=1, block=block, dtype=jnp.float32, axis_name=None
  )
  v = module.init(jax.random.key(0), x, False, None)
  y, _ = module.apply(v, x, True, None, mutable=["batch_stats"])
  np.testing.assert_array_equal(y, jnp.maximum(x, 0))
  last = "norm3" if block == "bottleneck" else "norm2"
  for name, params in v["params"].items():
    if name.startswith("norm"):
      expected = np.full_like(params["scale"], name != last)
      np.testing.assert_array_equal(params["scale"], expected)


def test_initial_scales():
  # He's fan-out variance 2 / (9 * 64), and the head's 0.01^2.
  model = ResNet(
    num_classes=1000, stage_sizes=(1,), block="basic", stem="small"
  )
  params = model.init(jax.random.key(0), jnp.ones((1, 4, 4, 3)))["params"]
  stem = params["conv_stem"]["kernel"]
  assert stem.shape == (3, 3, 3, 64)
  # A standard deviation's relative standard error is 1 / sqrt(2 n): 4 of them.
  for kernel, std in (
    (stem, np.sqrt(2 / (9 * 64))),
    (params["head"]["kernel"], 0.01),
  ):
    tolerance = 4 / np.sqrt(2 * kernel.size)
    np.testing.assert_allclose(np.std(kernel), std, rtol=tolerance)


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"block": "wide"}, "block must be one of .*'basic'.*got 'wide'"),
    ({"stem": "big"}, "stem must be one of .*'small'.*got 'big'"),
    ({"remat": True}, "remat must be one of .*'blocks'.*got True"),
  ],
)
def test_wrong_options(options, message):
  with pytest.raises(ValueError, match=message):
    ResNet(num_classes=2, **options).init(
      jax.random.key(0), jnp.ones((1, 8, 8, 3))
    )
