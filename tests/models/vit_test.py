"""Tests of jaxmix.models.vit; sizes and costs are in registry_test."""

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmix.models.vit import VisionTransformer


def random(shape, seed=0):
  return jnp.asarray(
    np.random.default_rng(seed).normal(size=shape), jnp.float32
  )


def small(**options):
  options = {
    "num_classes": 5,
    "patch_size": 4,
    "hidden_size": 8,
    "depth": 2,
    "num_heads": 2,
    "mlp_dim": 12,
    **options,
  }
  return VisionTransformer(**options)


def randomized(model, x):
  """Variables of the model's shapes, none of them special."""
  rng = np.random.default_rng(0)

  def draw(path, leaf):
    std = 1.0 if path[-1].key == "position_embedding" else 0.3
    offset = 1.0 if path[-1].key == "scale" else 0.0
    return jnp.asarray(rng.normal(offset, std, leaf.shape), jnp.float32)

  spec = jax.eval_shape(model.init, jax.random.key(0), x)
  return jax.tree_util.tree_map_with_path(draw, spec)


def reference(params, image, patch_size, num_heads):
  """Equations (1) to (4) for one image, in float64."""
  params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
  image = np.asarray(image, np.float64)

  def dense(p, y):
    return y @ p["kernel"] + p["bias"]

  def norm(p, y):
    y = y - y.mean(axis=-1, keepdims=True)
    y = y / np.sqrt((y**2).mean(axis=-1, keepdims=True) + 1e-6)
    return y * p["scale"] + p["bias"]

  def attention(p, y):
    query, key, value = (
      np.split(dense(p[name], y), num_heads, axis=1)
      for name in ("query", "key", "value")
    )
    heads = []
    for q, k, v in zip(query, key, value, strict=True):
      weights = np.exp(q @ k.T / np.sqrt(q.shape[1]))
      heads.append(weights / weights.sum(axis=1, keepdims=True) @ v)
    return dense(p["out"], np.concatenate(heads, axis=1))

  def mlp(p, y):
    h = dense(p["dense1"], y)
    h = 0.5 * h * (1 + np.tanh(np.sqrt(2 / np.pi) * (h + 0.044715 * h**3)))
    return dense(p["dense2"], h)

  tokens = [params["cls"].ravel()]
  for i in range(0, image.shape[0], patch_size):
    for j in range(0, image.shape[1], patch_size):
      patch = image[i : i + patch_size, j : j + patch_size]
      kernel = params["embedding"]["kernel"]
      tokens.append(
        np.tensordot(patch, kernel, 3) + params["embedding"]["bias"]
      )
  y = np.stack(tokens) + params["position_embedding"][0]
  for name in sorted(name for name in params if name.startswith("block")):
    p = params[name]
    y = y + attention(p["attention"], norm(p["norm_attention"], y))
    y = y + mlp(p["mlp"], norm(p["norm_mlp"], y))
  return dense(params["head"], norm(params["norm"], y[0]))


@pytest.mark.parametrize("run", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_is_the_numpy_reference(run):
  model = small()
  x = random((2, 8, 12, 3))
  v = randomized(model, x)
  expected = [reference(v["params"], image, 4, 2) for image in x]
  np.testing.assert_allclose(
    run(model.apply)(v, x), expected, rtol=1e-4, atol=1e-4
  )


def test_logits_start_at_zero():
  model = small(depth=0)
  x = random((2, 8, 8, 3))
  v = model.init(jax.random.key(0), x)
  np.testing.assert_array_equal(model.apply(v, x), np.zeros((2, 5)))
  position = v["params"]["position_embedding"]
  assert position.shape == (1, 5, 8)
  # 0.02 within four standard errors.
  tolerance = 4 / np.sqrt(2 * position.size)
  np.testing.assert_allclose(np.std(position), 0.02, rtol=tolerance)


def test_dropout_comes_after_the_position_embedding():
  model = small(depth=0, dropout=0.5, hidden_size=64)
  x = random((50, 4, 4, 3))
  v = randomized(model, x)
  _, state = model.apply(
    v,
    x,
    train=True,
    rngs={"dropout": jax.random.key(1)},
    capture_intermediates=True,
    mutable=["intermediates"],
  )
  dropped = np.asarray(state["intermediates"]["Dropout_0"]["__call__"][0])
  token = v["params"]["cls"] + v["params"]["position_embedding"][:, :1]
  kept = np.broadcast_to(2 * token, (50, 1, 64))
  mask = dropped[:, :1] != 0
  np.testing.assert_allclose(dropped[:, :1][mask], kept[mask], rtol=1e-6)
  assert abs(mask.mean() - 0.5) < 4 * np.sqrt(0.25 / mask.size)


def test_dropout_rates_of_the_blocks():
  """Every dense layer but those of q, k and v; paths from 0 to the last."""
  model = small(depth=3, dropout=0.25, drop_path=0.5)
  x = random((2, 8, 8, 3))
  rates = []

  def record(call, args, kwargs, context):
    name = type(context.module).__name__
    if name in ("Dropout", "DropPath"):
      rates.append((name, context.module.rate))
    return call(*args, **kwargs)

  with nn.intercept_methods(record):
    jax.eval_shape(model.init, jax.random.key(0), x)
  block = lambda rate: [
    ("Dropout", 0.25),  # After the attention's projection.
    ("DropPath", rate),
    ("Dropout", 0.25),  # After each dense layer of the MLP.
    ("Dropout", 0.25),
    ("DropPath", rate),
  ]
  assert rates == [("Dropout", 0.25), *block(0.0), *block(0.25), *block(0.5)]


def test_image_size_must_divide_into_patches():
  with pytest.raises(ValueError, match="patch_size 4 for images of 8 x 10"):
    small().init(jax.random.key(0), random((1, 8, 10, 3)))


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"remat": "all"}, "remat must be one of .* got 'all'"),
    ({"drop_path": 1.0}, r"drop_path must be in \[0, 1\), got 1.0"),
    ({"num_heads": 3}, "num_heads must divide the width 8, got 3"),
    ({"attention_implementation": "flash"}, "flash"),
  ],
)
def test_wrong_options(options, message):
  with pytest.raises(ValueError, match=message):
    small(**options).init(jax.random.key(0), random((1, 8, 8, 3)))
