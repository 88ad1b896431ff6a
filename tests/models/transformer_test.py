"""Tests of jaxmix.models.transformer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmix
from jaxmix.models import transformer
from jaxmix.models.transformer import (
  Dropout,
  DropPath,
  FeedForward,
  SelfAttention,
  drop_path_rates,
)


def random(shape, seed=0, std=1.0):
  x = np.random.default_rng(seed).normal(0.0, std, shape)
  return jnp.asarray(x, jnp.float32)


def randomized(variables, std=0.4):
  leaves, treedef = jax.tree.flatten(variables)
  leaves = [random(leaf.shape, i, std) for i, leaf in enumerate(leaves)]
  return jax.tree.unflatten(treedef, leaves)


def numpy_attention(params, x, num_heads, bias):
  """One head and one example at a time, in float64."""
  params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
  dense = lambda y, name: y @ params[name]["kernel"] + params[name]["bias"]
  x = np.asarray(x, np.float64)
  out = []
  for example in x:
    query, key, value = (dense(example, n) for n in ("query", "key", "value"))
    head_dim = query.shape[1] // num_heads
    heads = []
    for head in range(num_heads):
      part = slice(head * head_dim, (head + 1) * head_dim)
      logits = query[:, part] @ key[:, part].T / np.sqrt(head_dim)
      weights = np.exp(logits + (0 if bias is None else bias[head]))
      weights /= weights.sum(axis=1, keepdims=True)
      heads.append(weights @ value[:, part])
    out.append(dense(np.concatenate(heads, axis=1), "out"))
  return np.stack(out)


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("implementation", [None, "xla"])
def test_attention_is_the_numpy_reference(with_bias, implementation):
  x = random((2, 5, 6))
  bias = random((4, 5, 5), seed=1) if with_bias else None
  attention = SelfAttention(8, 4, jnp.float32, implementation=implementation)
  v = randomized(attention.init(jax.random.key(0), x))
  expected = numpy_attention(v["params"], x, 4, bias)
  got = jax.jit(attention.apply)(v, x, bias)
  np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("length", [4, 5])
def test_what_the_flash_kernel_is_given_has_the_plain_result_and_gradient(
  length, with_bias, monkeypatch
):
  plain = jax.nn.dot_product_attention
  lengths = []

  def kernel(query, *args, implementation, **kwargs):
    # What JAX demands of those whose gradient is taken, on a GPU alone.
    assert query.shape[1] % 2 == 0
    assert implementation == "cudnn"
    lengths.append(query.shape[1])
    return plain(query, *args, implementation="xla", **kwargs)

  x = random((2, length, 6))
  bias = random((4, length, length), seed=1) if with_bias else None
  attention = SelfAttention(8, 4, jnp.float32, implementation="xla")
  v = randomized(attention.init(jax.random.key(0), x))

  def loss(v, x, bias, module):
    y = module.apply(v, x, bias)
    return jnp.sum(
      y * jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)
    )

  argnums = (0, 1, 2) if with_bias else (0, 1)
  expected = jax.value_and_grad(loss, argnums)(v, x, bias, attention)
  monkeypatch.setattr(jax.nn, "dot_product_attention", kernel)
  flash = attention.clone(implementation="cudnn")
  got = jax.value_and_grad(loss, argnums)(v, x, bias, flash)
  assert lengths == [length + length % 2]
  for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.fixture
def chosen(monkeypatch):
  """Which implementations JAX was asked for; it computes with XLA's."""
  plain, asked = jax.nn.dot_product_attention, []

  def kernel(*args, implementation, **kwargs):
    asked.append(implementation)
    return plain(*args, implementation="xla")

  monkeypatch.setattr(jax.nn, "dot_product_attention", kernel)
  return asked


@pytest.mark.parametrize(
  ("tokens", "head_dim", "dtype", "has_cudnn", "expected"),
  [
    (128, 8, jnp.bfloat16, True, "cudnn"),
    (128, 8, jnp.float16, True, "cudnn"),
    (128, 8, jnp.bfloat16, False, "xla"),
    (127, 8, jnp.bfloat16, True, "xla"),
    (128, 4, jnp.bfloat16, True, "xla"),
    (128, 136, jnp.bfloat16, True, "xla"),
    (128, 8, jnp.float32, True, "xla"),
  ],
)
def test_auto_is_cudnn_where_it_is_faster(
  tokens, head_dim, dtype, has_cudnn, expected, chosen, monkeypatch
):
  monkeypatch.setattr(transformer, "_has_cudnn", lambda: has_cudnn)
  attention = SelfAttention(head_dim, 1, dtype, implementation="auto")
  x = jax.ShapeDtypeStruct((1, tokens, head_dim), dtype)
  jax.eval_shape(attention.init, jax.random.key(0), x)
  assert chosen == [expected]


def test_a_machine_without_a_gpu_has_no_cudnn():
  assert not transformer._has_cudnn()


@pytest.mark.parametrize("implementation", ["auto", "cudnn"])
def test_forward_mode_goes_through_xla(implementation, chosen, monkeypatch):
  monkeypatch.setattr(transformer, "_has_cudnn", lambda: True)
  attention = SelfAttention(8, 1, jnp.bfloat16, implementation=implementation)
  x = jnp.ones((2, 128, 8), jnp.bfloat16)
  v = attention.init(jax.random.key(0), x)
  # Jitted and traced before: inside, it is traced anew.
  apply = jax.jit(lambda x: attention.apply(v, x).mean(1))
  apply(x)
  assert chosen == ["cudnn", "cudnn"]
  del chosen[:]
  jax.eval_shape(
    lambda x: jaxmix.exact_directional_penalty(apply, x, jnp.array([0, 1])), x
  )
  assert chosen and set(chosen) == {"xla"}


def test_bfloat16_attention_keeps_the_bias_in_float32():
  # 60 and 60.1 are one number in bfloat16; the second key gets e^0.1 as much.
  x = jnp.zeros((1, 2, 2), jnp.bfloat16)
  attention = SelfAttention(2, 1, jnp.bfloat16)
  v = attention.init(jax.random.key(0), x)
  v["params"]["value"]["kernel"] = jnp.eye(2)
  v["params"]["out"]["kernel"] = 64.0 * jnp.eye(2)
  bias = jnp.broadcast_to(jnp.array([60.0, 60.1]), (1, 2, 2))
  x = jnp.array([[[0.0, 0.0], [1.0, 0.0]]], jnp.bfloat16)
  v["params"]["query"]["kernel"] = jnp.zeros((2, 2))
  y = attention.apply(v, x, bias)
  assert y.dtype == jnp.bfloat16
  expected = 64 / (1 + np.exp(-0.1))  # 33.6; 32 without the difference.
  np.testing.assert_allclose(float(y[0, 0, 0]), expected, rtol=0.005)


def test_heads_must_divide_the_width():
  with pytest.raises(ValueError, match="must divide the width 6, got 4"):
    SelfAttention(6, 4, jnp.float32).init(jax.random.key(0), random((1, 2, 6)))


def test_unknown_implementation():
  attention = SelfAttention(6, 2, jnp.float32, implementation="flash")
  with pytest.raises(ValueError, match="flash"):
    attention.init(jax.random.key(0), random((1, 2, 6)))


def test_feed_forward_by_hand():
  layer = FeedForward(hidden=3, dtype=jnp.float32)
  x = random((2, 4, 5))
  v = randomized(layer.init(jax.random.key(0), x, False))
  dense1, dense2 = v["params"]["dense1"], v["params"]["dense2"]
  h = np.asarray(x) @ np.asarray(dense1["kernel"]) + np.asarray(dense1["bias"])
  h = 0.5 * h * (1 + np.tanh(np.sqrt(2 / np.pi) * (h + 0.044715 * h**3)))
  expected = h @ np.asarray(dense2["kernel"]) + np.asarray(dense2["bias"])
  assert dense1["kernel"].shape == (5, 3)
  np.testing.assert_allclose(
    layer.apply(v, x, False), expected, rtol=1e-4, atol=1e-5
  )


def test_feed_forward_drops_hidden_and_output():
  layer = FeedForward(hidden=4, dtype=jnp.float32, dropout=0.5)
  x = jnp.ones((1, 2000, 1))
  v = layer.init(jax.random.key(0), x, False)
  v["params"] = {
    "dense1": {"kernel": jnp.full((1, 4), 10.0), "bias": jnp.zeros(4)},
    "dense2": {"kernel": jnp.full((4, 1), 0.1), "bias": jnp.zeros(1)},
  }
  # gelu(10) = 10 four times, each kept as 20 or 0; a tenth of their sum is kept
  # doubled or 0: 0 with probability 1/2 + 1/2 * 1/16, else 4 to 16.
  y = layer.apply(v, x, True, rngs={"dropout": jax.random.key(1)})
  y = np.ravel(y)
  assert set(np.round(np.unique(y), 3)) == {0.0, 4.0, 8.0, 12.0, 16.0}
  zeros = 0.5 + 0.5 / 16
  error = np.sqrt(zeros * (1 - zeros) / len(y))
  assert abs(np.mean(y == 0) - zeros) < 4 * error
  np.testing.assert_allclose(layer.apply(v, x, False), 4 * np.ones_like(x))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_dropout_keeps_or_scales_each_element(impl, dtype):
  rate, n = 0.1, 40_000
  x = jnp.full((n // 8, 8), 2.0, dtype)
  key = jax.random.key(3, impl=impl)
  y = Dropout(rate).apply({}, x, True, rngs={"dropout": key})
  assert y.dtype == dtype
  y = np.asarray(y, np.float32)
  dropped = y == 0
  # 6554 of 65536 draws: the nearest to 0.1, and the scale goes with it.
  share = 6554 / 65536
  expected = jnp.asarray(2.0 / (1 - share), dtype)
  np.testing.assert_allclose(y[~dropped], np.float32(expected), rtol=1e-7)
  error = np.sqrt(share * (1 - share) / n)
  assert abs(dropped.mean() - share) < 4 * error
  # Elements of an example fall alone: the shares of rows are binomial.
  spread = np.var(dropped.mean(axis=1)) / (share * (1 - share) / 8)
  assert abs(spread - 1) < 4 * np.sqrt(2 / (n / 8))
  again = Dropout(rate).apply({}, x, True, rngs={"dropout": key})
  np.testing.assert_array_equal(np.asarray(again, np.float32), y)


def test_dropout_at_its_ends():
  x = jnp.arange(6.0).reshape(2, 3)
  rngs = {"dropout": jax.random.key(0)}
  for rate, train, expected in [
    *((0.0, True, x), (0.5, False, x), (1.0, False, x)),
    *((1.0, True, 0 * x), (1e-6, True, x)),
  ]:
    y = Dropout(rate).apply({}, x, train, rngs=rngs)
    np.testing.assert_array_equal(y, expected)
  for rate in (-0.1, 1.1):
    with pytest.raises(ValueError, match=r"dropout must be in \[0, 1\], got"):
      Dropout(rate).apply({}, x, True, rngs=rngs)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_drop_path_drops_whole_examples(dtype):
  rate, n = 0.2, 4000
  x = jnp.arange(1.0, 7.0, dtype=dtype).reshape(1, 2, 3)
  x = jnp.broadcast_to(x, (n, 2, 3))
  layer = DropPath(rate)
  y = layer.apply({}, x, True, rngs={"dropout": jax.random.key(0)})
  assert y.dtype == dtype
  dropped = np.all(np.asarray(y, np.float32) == 0, axis=(1, 2))
  np.testing.assert_allclose(
    np.asarray(y, np.float32)[~dropped],
    np.asarray(x, np.float32)[~dropped] / 0.8,
    rtol=1e-6 if dtype == jnp.float32 else 2**-7,
  )
  # Four standard errors of a proportion.
  assert abs(dropped.mean() - rate) < 4 * np.sqrt(rate * (1 - rate) / n)


@pytest.mark.parametrize("layer", [Dropout, DropPath])
@pytest.mark.parametrize("rate", [0.1, 0.45, 0.7])
@pytest.mark.parametrize(
  ("dtype", "rtol"), [(jnp.bfloat16, 5e-4), (jnp.float16, 1e-4)]
)
def test_what_is_kept_has_the_mean_of_what_was_there(layer, rate, dtype, rtol):
  """Forward and backward: values are rounded to the dtype, the scale is not."""
  x = np.random.default_rng(0).uniform(1.0, 2.0, (2000, 20))
  x = jnp.asarray(x, dtype)
  apply = lambda x: layer(rate).apply(
    {}, x, True, rngs={"dropout": jax.random.key(0)}
  )
  y, pull = jax.vjp(apply, x)
  (back,) = pull(x)
  assert y.dtype == back.dtype == dtype
  if layer is Dropout:
    rate = round(rate * 2**16) / 2**16
  x, y, back = (np.asarray(z, np.float64) for z in (x, y, back))
  scaled = x.astype(np.float32) * np.float32(1 / (1 - rate))
  nearest = np.asarray(jnp.asarray(scaled, dtype), np.float64)
  kept = y != 0.0
  assert 0.0 < kept.mean() < 1.0
  for found in (y, back):
    np.testing.assert_array_equal(found[kept], nearest[kept])
    np.testing.assert_allclose(
      found[kept].mean() / x[kept].mean(), 1 / (1 - rate), rtol=rtol
    )


def test_drop_path_at_its_ends():
  x, rngs = jnp.arange(6.0).reshape(2, 3), {"dropout": jax.random.key(0)}
  apply = lambda x: DropPath(1.0).apply({}, x, True, rngs=rngs)
  np.testing.assert_array_equal(apply(x), 0 * x)
  slope = jax.grad(lambda x: jnp.sum(apply(x)))(x)
  np.testing.assert_array_equal(slope, 0 * x)
  for rate in (-0.1, 1.1, float("nan")):
    with pytest.raises(ValueError, match=r"drop_path must be in \[0, 1\], got"):
      DropPath(rate).apply({}, x, True, rngs=rngs)


def test_drop_path_is_the_identity_in_evaluation_and_at_rate_0():
  x = random((4, 3))
  np.testing.assert_array_equal(DropPath(0.5).apply({}, x, False), x)
  np.testing.assert_array_equal(DropPath(0.0).apply({}, x, True), x)


def test_drop_path_rates():
  np.testing.assert_allclose(drop_path_rates(0.3, 4), [0, 0.1, 0.2, 0.3])
  assert drop_path_rates(0.3, 1) == (0.0,)
  assert drop_path_rates(0.0, 2) == (0.0, 0.0)


@pytest.mark.parametrize("final", [-0.1, 1.0])
def test_drop_path_out_of_range(final):
  with pytest.raises(ValueError, match=rf"in \[0, 1\), got {final}"):
    drop_path_rates(final, 4)
