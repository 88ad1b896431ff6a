"""Tests of jaxmix.models.coatnet; sizes and costs are in registry_test."""

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmix.models.coatnet import (
  CoAtNet,
  MBConv,
  TransformerBlock,
  relative_bias,
)


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
      x = 0.3 * rng.normal(size=leaf.shape)
    return jnp.asarray(x, jnp.float32)

  return jax.tree_util.tree_map_with_path(draw, spec)


def wide(tree):
  return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


def gelu(h):
  return 0.5 * h * (1 + np.tanh(np.sqrt(2 / np.pi) * (h + 0.044715 * h**3)))


def halve(x):
  """Maxima over 2 x 2, even sides."""
  batch, height, width, channels = x.shape
  x = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
  return x.max(axis=(2, 4))


def dense(p, x):
  return x @ p["kernel"] + p["bias"]


def layer_norm(p, x):
  x = x - x.mean(axis=-1, keepdims=True)
  x = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-6)
  return x * p["scale"] + p["bias"]


def batch_norm(v, name, x):
  p, stats = v["params"][name], v["batch_stats"][name]
  x = (x - stats["mean"]) / np.sqrt(stats["var"] + 1e-5)
  return x * p["scale"] + p["bias"]


def reference_mbconv(v, x, stride):
  p = v["params"]
  y = batch_norm(v, "norm", x)
  y = y[:, ::stride, ::stride] @ p["expand"]["kernel"][0, 0]
  y = gelu(batch_norm(v, "norm_expand", y))
  height, width = y.shape[1:3]
  padded = np.pad(y, [(0, 0), (1, 1), (1, 1), (0, 0)])
  y = sum(
    padded[:, i : i + height, j : j + width] * p["depthwise"]["kernel"][i, j, 0]
    for i in range(3)
    for j in range(3)
  )
  y = gelu(batch_norm(v, "norm_depthwise", y))
  gates = gelu(dense(p["squeeze_excite"]["squeeze"], y.mean(axis=(1, 2))))
  gates = 1 / (1 + np.exp(-dense(p["squeeze_excite"]["excite"], gates)))
  y = y * gates[:, None, None]
  y = y @ p["project"]["kernel"][0, 0] + p["project"]["bias"]
  if stride == 2:
    shortcut = p["shortcut"]
    x = halve(x) @ shortcut["kernel"][0, 0] + shortcut["bias"]
  return x + y


def reference_relative_bias(table, height, width):
  bias = np.zeros((len(table), height * width, height * width))
  for i in range(height):
    for j in range(width):
      for k in range(height):
        for m in range(width):
          bias[:, i * width + j, k * width + m] = table[
            :, k - i + height - 1, m - j + width - 1
          ]
  return bias


def reference_transformer(v, x, stride, head_dim):
  p = v["params"]
  y = layer_norm(p["norm_attention"], x)
  if stride == 2:
    x, y = dense(p["shortcut"], halve(x)), halve(y)
  batch, height, width, _ = y.shape
  bias = reference_relative_bias(p["relative_bias"], height, width)
  outputs = []
  for example in y.reshape(batch, height * width, -1):
    query, key, value = (
      np.split(dense(p["attention"][name], example), len(bias), axis=1)
      for name in ("query", "key", "value")
    )
    heads = []
    for q, k, u, b in zip(query, key, value, bias, strict=True):
      weights = np.exp(q @ k.T / np.sqrt(head_dim) + b)
      heads.append(weights / weights.sum(axis=1, keepdims=True) @ u)
    outputs.append(dense(p["attention"]["out"], np.concatenate(heads, axis=1)))
  x = x + np.stack(outputs).reshape(x.shape)
  y = layer_norm(p["norm_mlp"], x)
  return x + dense(p["mlp"]["dense2"], gelu(dense(p["mlp"]["dense1"], y)))


MBCONV = dict(
  width=4,
  expansion=3,
  se_ratio=0.25,
  drop_path=0.0,
  dtype=jnp.float32,
  axis_name=None,
)
TRANSFORMER = dict(
  width=8,
  head_dim=4,
  expansion=3,
  dropout=0.0,
  drop_path=0.0,
  dtype=jnp.float32,
  attention_implementation=None,
)


def initialized(module, x):
  init = lambda x: module.init(jax.random.key(0), x, False, None)
  return randomized(jax.eval_shape(init, x))


@pytest.mark.parametrize(("channels", "stride"), [(4, 1), (4, 2), (6, 2)])
def test_mbconv_is_the_reference(channels, stride):
  module = MBConv(stride=stride, **MBCONV)
  x = random((2, 4, 6, channels))
  v = initialized(module, x)
  # A quarter of the result's channels, not of the hidden ones.
  assert v["params"]["squeeze_excite"]["squeeze"]["kernel"].shape == (12, 1)
  got = jax.jit(lambda v, x: module.apply(v, x, False, None))(v, x)
  expected = reference_mbconv(wide(v), wide(x), stride)
  np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
def test_transformer_block_is_the_reference(stride):
  module = TransformerBlock(stride=stride, **TRANSFORMER)
  x = random((2, 4, 6, 8 if stride == 1 else 5))
  v = initialized(module, x)
  got = jax.jit(lambda v, x: module.apply(v, x, False, None))(v, x)
  expected = reference_transformer(wide(v), wide(x), stride, head_dim=4)
  np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_network_is_the_reference():
  model = CoAtNet(
    num_classes=3,
    stage_sizes=(2, 1, 2, 1, 1),
    widths=(3, 4, 6, 8, 8),
    head_dim=4,
    expansion=2,
  )
  x = random((2, 32, 64, 3))
  v = randomized(jax.eval_shape(model.init, jax.random.key(0), x))
  got = jax.jit(model.apply)(v, x)

  v, y = wide(v), wide(x)
  p = v["params"]

  def stem_conv(x, name, stride):
    # "SAME" pads an even side of stride 2 only at the end.
    padding = (0, 1) if stride == 2 else (1, 1)
    height, width = x.shape[1:3]
    x = np.pad(x, [(0, 0), padding, padding, (0, 0)])
    return sum(
      x[:, i : i + height : stride, j : j + width : stride]
      @ p[name]["kernel"][i, j]
      for i in range(3)
      for j in range(3)
    )

  y = gelu(batch_norm(v, "stem_norm1", stem_conv(y, "stem_conv1", 2)))
  y = stem_conv(y, "stem_conv2", 1) + p["stem_conv2"]["bias"]
  for stage in range(1, 5):
    for index in range(1, 3 if stage == 2 else 2):
      name, stride = f"stage{stage}_block{index}", 2 if index == 1 else 1
      block = {key: v[key][name] for key in v if name in v[key]}
      if stage < 3:
        y = reference_mbconv(block, y, stride)
      else:
        y = reference_transformer(block, y, stride, head_dim=4)
  assert y.shape == (2, 1, 2, 8)
  features = layer_norm(p["norm"], y.mean(axis=(1, 2)))
  expected = dense(p["head"], np.tanh(dense(p["head_hidden"], features)))
  np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("run", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_relative_bias_by_hand(run):
  # Rows of the table are offsets -1, 0, 1 in i, columns -2 to 2 in j: the entry
  # 10 (di + 1) + (dj + 2) names its offset.
  table = 10.0 * jnp.arange(3.0)[:, None] + jnp.arange(5.0)[None]
  table = jnp.stack([table, 100.0 + table])
  bias = run(lambda table: relative_bias(table, 2, 3))(table)
  expected = [
    # Keys (0,0), (0,1), (0,2), (1,0), (1,1), (1,2); queries in the same order.
    [12, 13, 14, 22, 23, 24],
    [11, 12, 13, 21, 22, 23],
    [10, 11, 12, 20, 21, 22],
    [2, 3, 4, 12, 13, 14],
    [1, 2, 3, 11, 12, 13],
    [0, 1, 2, 10, 11, 12],
  ]
  np.testing.assert_array_equal(bias[0], expected)
  np.testing.assert_array_equal(bias[1], 100.0 + np.array(expected))


def test_relative_bias_copies_and_its_gradient_counts_pairs():
  table = random((2, 5, 7))
  np.testing.assert_array_equal(
    relative_bias(table, 3, 4), reference_relative_bias(table, 3, 4)
  )
  grad = jax.grad(lambda table: jnp.sum(relative_bias(table, 3, 4)))(table)
  rows, columns = 3 - abs(np.arange(-2, 3)), 4 - abs(np.arange(-3, 4))
  np.testing.assert_array_equal(grad[0], np.outer(rows, columns))


def test_odd_sides_round_up():
  for module in (
    MBConv(stride=2, **MBCONV),
    TransformerBlock(stride=2, **TRANSFORMER),
  ):
    call = lambda x, module=module: module.init_with_output(
      jax.random.key(0), x, False, None
    )[0]
    y = jax.eval_shape(call, random((1, 5, 7, 6)))
    assert y.shape[1:3] == (3, 4)


def tiny(**options):
  options = {
    "num_classes": 3,
    "stage_sizes": (1, 1, 2, 1, 1),
    "widths": (4, 4, 4, 8, 8),
    "head_dim": 4,
    **options,
  }
  return CoAtNet(**options)


def test_dropout_rates():
  """Paths drop at rate * l / 5 in block l = 0 .. 4; dropout in S3 and S4."""
  rates = []

  def record(call, args, kwargs, context):
    name = type(context.module).__name__
    if name in ("Dropout", "DropPath"):
      rates.append((name, context.module.rate))
    return call(*args, **kwargs)

  model = tiny(dropout=0.25, drop_path=0.625)
  with nn.intercept_methods(record):
    jax.eval_shape(model.init, jax.random.key(0), random((1, 32, 32, 3)))
  transformer = lambda rate: [
    ("Dropout", 0.25),
    ("DropPath", rate),
    ("Dropout", 0.25),
    ("Dropout", 0.25),
    ("DropPath", rate),
  ]
  assert rates == [
    *[("DropPath", rate) for rate in (0.0, 0.125, 0.25)],
    *transformer(0.375),
    *transformer(0.5),
  ]


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"stage_sizes": (2, 2)}, r"stage_sizes must have 5 .*got \(2, 2\)"),
    ({"widths": (4,) * 6}, "widths must have 5 entries, S0 to S4, got"),
    ({"head_dim": 3}, "head_dim must divide the width 8, got 3"),
    ({"drop_path": -0.1}, r"drop_path must be in \[0, 1\), got -0.1"),
    ({"remat": "s1"}, "remat must be one of .* got 's1'"),
  ],
)
def test_wrong_options(options, message):
  model = tiny(**options)
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(model.init, jax.random.key(0), random((1, 32, 32, 3)))
