"""The parts that ViT and CoAtNet share: attention, MLP, stochastic depth."""

from typing import Any, Literal

import chex
from flax import linen as nn
import jax
import jax.numpy as jnp

from jaxmix import holding

Implementation = Literal["auto", "xla", "cudnn"] | None

# On an H200 cuDNN's attention takes 1.8 times XLA's time at 49 tokens, 0.7
# times at 196 with CoAtNet's bias and 0.4 times at ViT-B/16's 197.
_CUDNN_TOKENS = 128


def layer_norm(x: chex.Array, name: str) -> chex.Array:
  """Applies a LayerNorm of this name; call it inside a compact method.

  Args:
    x: [..., C] floats.
    name: of the submodule, whose scale and bias are float32 [C].

  Returns:
    Normalised over C in float32, and cast back to x's dtype. (linen's own
    dtype option needs implicit promotion, an error where promotion is strict.)
  """
  y = nn.LayerNorm(dtype=jnp.float32, name=name)(x.astype(jnp.float32))
  return y.astype(x.dtype)


class SelfAttention(nn.Module):
  """Multi-head self-attention (Vaswani et al., 2017, arXiv:1706.03762).

  softmax(q k^T / sqrt(head_dim) + bias) v per head, then a projection. The
  softmax is float32 whatever the dtype.

  Attributes:
    features: width of q, k, v and of the result.
    num_heads: must divide `features`.
    dtype: compute dtype.
    implementation: `jax.nn.dot_product_attention`'s, None, "xla" or "cudnn"; or
      "auto", which is "cudnn" in half precision on NVIDIA GPUs (Ampere or
      newer) from 128 tokens on, and "xla" elsewhere. cuDNN's kernel has no
      forward mode: jaxmix's own derivatives, such as the exact penalty's, go
      through XLA's; for a `jax.jvp` of your own choose "xla".
    kernel_init: initializer of the four kernels.
  """

  features: int
  num_heads: int
  dtype: Any
  implementation: Implementation = None
  kernel_init: nn.initializers.Initializer = nn.initializers.xavier_uniform()

  @nn.compact
  def __call__(
    self, x: chex.Array, bias: chex.Array | None = None
  ) -> chex.Array:
    """Attends.

    Args:
      x: [B, T, D] tokens, D arbitrary.
      bias: [num_heads, T, T], added to the logits, or None.

    Returns:
      [B, T, features].

    Raises:
      ValueError: if `num_heads` does not divide `features`.
    """
    if self.features % self.num_heads:
      raise ValueError(
        f"num_heads must divide the width {self.features}, got"
        f" {self.num_heads}."
      )
    shape = (*x.shape[:2], self.num_heads, self.features // self.num_heads)

    def dense(y: chex.Array, name: str) -> chex.Array:
      return nn.Dense(
        self.features,
        dtype=self.dtype,
        kernel_init=self.kernel_init,
        name=name,
      )(y)

    query, key, value = (
      dense(x, name).reshape(shape) for name in ("query", "key", "value")
    )
    if bias is not None:
      bias = bias[None]
    # Inside, JAX promotes bfloat16 logits to float32 implicitly, an error under
    # strict promotion, which is the caller's choice for the caller's code.
    with jax.numpy_dtype_promotion("standard"):
      implementation = _implementation(self.implementation, query)
      if implementation == "cudnn":
        out = flash_attention(query, key, value, bias)
      else:
        out = jax.nn.dot_product_attention(
          query, key, value, bias, implementation=implementation
        )
    return dense(out.reshape(*x.shape[:2], self.features), "out")


def _implementation(
  asked: Implementation, query: chex.Array
) -> Literal["xla", "cudnn"] | None:
  if asked != "auto" and asked != "cudnn":
    return asked
  if holding.differentiating():
    return "xla"
  fits = (
    query.dtype in (jnp.bfloat16, jnp.float16)
    and query.shape[1] >= _CUDNN_TOKENS
    and query.shape[-1] % 8 == 0
    and query.shape[-1] <= 128
  )
  return "cudnn" if asked == "cudnn" or (fits and _has_cudnn()) else "xla"


def _has_cudnn() -> bool:
  if jax.default_backend() != "gpu":
    return False
  # "9.0" of an NVIDIA GPU, "gfx90a" of another.
  major = str(jax.local_devices()[0].compute_capability).split(".")[0]
  return major.isdigit() and int(major) >= 8


def flash_attention(query, key, value, bias):
  """cuDNN's attention within its limits; the arguments are JAX's.

  It wants one dtype (XLA adds a float32 bias to float32 logits, which loses
  nothing), and JAX refuses to train at an odd number of tokens, such as ViT's
  197: one more is added, which no other sees, and whose own result is left out.
  """
  length = query.shape[1]
  bias = None if bias is None else bias.astype(query.dtype)
  lengths = None
  if length % 2:
    query, key, value = (
      jnp.pad(x, ((0, 0), (0, 1), (0, 0), (0, 0))) for x in (query, key, value)
    )
    if bias is not None:
      bias = jnp.pad(bias, ((0, 0), (0, 0), (0, 1), (0, 1)))
    lengths = jnp.full(query.shape[:1], length, jnp.int32)
  out = jax.nn.dot_product_attention(
    query,
    key,
    value,
    bias,
    query_seq_lengths=lengths,
    key_value_seq_lengths=lengths,
    implementation="cudnn",
  )
  return out[:, :length]


class Dropout(nn.Module):
  """Dropout (Srivastava et al., 2014), from 16 random bits an element.

  linen's draws 32; on a TPU the bits of a hardware generator pass through
  memory, where half as many take half the time. The rate is rounded to a
  multiple of 1 / 65536, and the scale 1 / (1 - rate) is that of the rounded
  one, so that the mean is x.

  Attributes:
    rate: probability of dropping, in [0, 1].
  """

  rate: float

  @nn.compact
  def __call__(self, x: chex.Array, train: bool) -> chex.Array:
    """Returns an array like x; draws from "dropout" if train and rate > 0.

    Raises:
      ValueError: if the rate is out of range.
    """
    if not 0.0 <= self.rate <= 1.0:
      raise ValueError(f"dropout must be in [0, 1], got {self.rate}.")
    dropped = round(self.rate * 2**16)
    if not train or dropped == 0:
      return x
    if dropped == 2**16:
      return jnp.zeros_like(x)
    bits = jax.random.bits(self.make_rng("dropout"), x.shape, jnp.uint16)
    return _kept(bits >= dropped, x, dropped / 2**16)


def _kept(keep: chex.Array, x: chex.Array, rate: float) -> chex.Array:
  """x / (1 - rate) where kept, else 0: of mean x."""
  # Scaled in float32 and cast after: the scale itself, in bfloat16's 8 bits,
  # would be off by up to 0.2 %, and so would every mean.
  wide = x.dtype if jnp.finfo(x.dtype).bits > 32 else jnp.float32
  scaled = x.astype(wide) * (1.0 / (1.0 - rate))
  return jnp.where(keep, scaled.astype(x.dtype), jnp.zeros_like(x))


class FeedForward(nn.Module):
  """Dense, GELU (tanh form), Dense back to the input's width.

  Attributes:
    hidden: width between the two.
    dtype: compute dtype.
    dropout: rate after each of the two.
    kernel_init: initializer of the kernels.
    bias_init: initializer of the biases.
  """

  hidden: int
  dtype: Any
  dropout: float = 0.0
  kernel_init: nn.initializers.Initializer = nn.initializers.xavier_uniform()
  bias_init: nn.initializers.Initializer = nn.initializers.zeros

  @nn.compact
  def __call__(self, x: chex.Array, train: bool) -> chex.Array:
    """Maps [..., D] to [..., D]; draws from "dropout" if train."""

    def dense(y: chex.Array, width: int, name: str) -> chex.Array:
      layer = nn.Dense(
        width,
        dtype=self.dtype,
        kernel_init=self.kernel_init,
        bias_init=self.bias_init,
        name=name,
      )
      return layer(y)

    drop = Dropout(self.dropout)
    y = drop(nn.gelu(dense(x, self.hidden, "dense1")), train)
    return drop(dense(y, x.shape[-1], "dense2"), train)


class DropPath(nn.Module):
  """Stochastic depth (Huang et al., 2016, https://arxiv.org/abs/1603.09382).

  Drops a residual branch for whole examples: x times Bernoulli(1 - rate) /
  (1 - rate), one draw per example. Dividing in training, instead of multiplying
  in evaluation as the paper does, has the same mean and leaves evaluation
  alone.

  Attributes:
    rate: probability of dropping, in [0, 1].
  """

  rate: float

  @nn.compact
  def __call__(self, x: chex.Array, train: bool) -> chex.Array:
    """Returns [B, ...] like x; draws from "dropout" if train and rate > 0.

    Raises:
      ValueError: if the rate is out of range.
    """
    if not 0.0 <= self.rate <= 1.0:
      raise ValueError(f"drop_path must be in [0, 1], got {self.rate}.")
    if not train or self.rate == 0.0:
      return x
    if self.rate == 1.0:
      return jnp.zeros_like(x)
    keep = jax.random.bernoulli(
      self.make_rng("dropout"),
      1.0 - self.rate,
      (x.shape[0],) + (1,) * (x.ndim - 1),
    )
    return _kept(keep, x, self.rate)


def drop_path_rates(final: float, depth: int) -> tuple[float, ...]:
  """Rates growing linearly from 0 to `final` (Huang et al., section 3).

  The paper's rule, final * l / depth for l = 1..depth, already drops in the
  first block; starting at 0, as is usual since, keeps the first block whole.

  Args:
    final: rate of the last block, in [0, 1).
    depth: number of blocks.

  Returns:
    `depth` rates; (0,) for one block.

  Raises:
    ValueError: if `final` is outside [0, 1).
  """
  if not 0.0 <= final < 1.0:
    raise ValueError(f"drop_path must be in [0, 1), got {final}.")
  return tuple(final * index / max(depth - 1, 1) for index in range(depth))
