"""Many small networks of one program, each trained in a way of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from experiments.figures import networks
import jaxmix

BATCH = 100


class Setting(NamedTuple):
  """What is asked of the networks.

  Attributes:
    outputs: 1 for a logit of digits from five on, or 10.
    biases: whether layers have them.
  """

  outputs: int
  biases: bool

  def logit_fn(
    self, params: networks.Params
  ) -> Callable[[chex.Array], chex.Array]:
    """Maps x [n, d] to logits [n], of ten outputs [n, 10]."""
    outputs = lambda x: networks.outputs(params, x)
    return outputs if self.outputs > 1 else lambda x: outputs(x)[:, 0]

  @property
  def loss_fn(self) -> Callable[[chex.Array, chex.Array], chex.Array]:
    """Maps its logits and labels to losses [n]."""
    if self.outputs == 1:
      return jaxmix.losses.logistic
    return jaxmix.losses.softmax_cross_entropy


class Draws(NamedTuple):
  """All that is random in the training of many networks, but the start.

  Attributes:
    learning_rate: [networks].
    decay: of all weights, [networks].
    steps: [networks].
    alpha: of Mixup's law, [networks].
    mixed: whether by Mixup, [networks].
    index: the steps' examples, [networks, most, BATCH].
    partner: likewise, positions in the batch.
    lam: likewise; 1 of networks that do not mix.
  """

  learning_rate: chex.Array
  decay: chex.Array
  steps: chex.Array
  alpha: chex.Array
  mixed: chex.Array
  index: chex.Array
  partner: chex.Array
  lam: chex.Array


def draws(rng: np.random.Generator, count: int, n: int, most: int) -> Draws:
  """Draws `count` networks of either method, ERM first.

  Args:
    rng: NumPy's generator. (A law whose alpha differs from network to network
      takes the library's sampler, inside a program, minutes to compile.)
    count: networks a method.
    n: examples.
    most: steps that a network may take.
  """
  uniform = lambda low, high: (
    low * (high / low) ** rng.uniform(size=2 * count)
  ).astype(np.float32)
  alpha = uniform(0.2, 5.0)
  mixed = np.arange(2 * count) >= count
  shape = (2 * count, most, BATCH)
  lam = rng.beta(alpha[:, None, None], alpha[:, None, None], shape)
  positions = np.broadcast_to(np.arange(BATCH, dtype=np.int32), shape)
  return Draws(
    learning_rate=uniform(0.02, 0.2),
    decay=uniform(1e-4, 3e-2),
    steps=uniform(most / 4.0, most),
    alpha=alpha,
    mixed=mixed,
    index=rng.integers(0, n, shape, np.int32),
    partner=rng.permuted(positions, axis=-1),
    lam=np.where(mixed[:, None, None], lam, 1.0).astype(np.float32),
  )


def trained(
  key: chex.PRNGKey,
  drawn: Draws,
  *,
  setting: Setting,
  hidden: tuple[int, ...],
  train: tuple[chex.Array, chex.Array],
) -> networks.Params:
  """One network, in float32.

  Args:
    key: PRNG key of the start.
    drawn: without the axis of the networks.
    setting: its head.
    hidden: widths of the hidden layers.
    train: pictures [n, d] and labels.

  Returns:
    Its parameters.
  """
  x, y = train
  widths = (x.shape[1], *hidden, setting.outputs)
  params = networks.init(key, widths, biases=setting.biases)
  params = jax.tree.map(lambda leaf: leaf.astype(x.dtype), params)

  def loss(params, index, partner, lam):
    plan = jaxmix.MixPlan(lam=lam, weight=lam, partner=partner)
    outputs = setting.logit_fn(params)(plan.mix(x[index]))
    targets = plan.targets(y[index])
    return jnp.mean(jaxmix.mixed_loss(setting.loss_fn, outputs, targets))

  def step(carry, batch):
    count, *batch = batch
    # Networks of one program end at steps of their own.
    going = (count < drawn.steps).astype(x.dtype)
    gradient = jax.grad(loss)(carry[0], *batch)
    move = lambda v, g, p: 0.9 * v - drawn.learning_rate * (g + drawn.decay * p)
    velocity = jax.tree.map(move, carry[1], gradient, carry[0])
    new = jax.tree.map(lambda p, v: p + going * v, carry[0], velocity)
    return (new, velocity), None

  start = params, jax.tree.map(jnp.zeros_like, params)
  count = jnp.arange(len(drawn.lam))
  batches = count, drawn.index, drawn.partner, drawn.lam
  return jax.lax.scan(step, start, batches)[0][0]
