"""The small binary classifiers of the figures, as plain functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import chex
import jax
import jax.numpy as jnp
import optax

Params = Any
Loss = Callable[[Params], chex.Array]


def init(
  key: chex.PRNGKey, widths: Sequence[int], *, biases: bool
) -> list[dict[str, chex.Array]]:
  """Gaussian weights of variance 2 / fan-in (1 / fan-in at the head).

  Args:
    key: PRNG key.
    widths: of the input, the hidden layers and the outputs; without hidden
      layers the model is linear.
    biases: whether layers have them, 0 at first. Without, ReLU networks are
      positively homogeneous in their input.

  Returns:
    The parameters.
  """
  params = []
  layers = list(zip(widths[:-1], widths[1:], strict=True))
  for i, (fan_in, fan_out) in enumerate(layers):
    variance = (1.0 if i == len(layers) - 1 else 2.0) / fan_in
    noise = jax.random.normal(jax.random.fold_in(key, i), (fan_in, fan_out))
    layer = {"kernel": variance**0.5 * noise}
    if biases:
      layer["bias"] = jnp.zeros(fan_out, noise.dtype)
    params.append(layer)
  return params


def logits(
  params: Params,
  x: chex.Array,
  *,
  activation: Callable[[chex.Array], chex.Array] = jax.nn.relu,
) -> chex.Array:
  """Maps x [n, d] to logits [n]."""
  return outputs(params, x, activation=activation)[:, 0]


def outputs(
  params: Params,
  x: chex.Array,
  *,
  activation: Callable[[chex.Array], chex.Array] = jax.nn.relu,
) -> chex.Array:
  """Maps x [n, d] to as many outputs [n, K] as the last layer has."""
  for i, layer in enumerate(params):
    x = x @ layer["kernel"]
    if "bias" in layer:
      x = x + layer["bias"][None]
    if i < len(params) - 1:
      x = activation(x)
  return x


def descend(
  loss: Loss,
  params: Params,
  *,
  steps: int,
  learning_rate: float,
  momentum: float = 0.9,
) -> Params:
  """Full-batch gradient descent with momentum.

  Args:
    loss: of the parameters.
    params: to start from.
    steps: how many.
    learning_rate: of all steps.
    momentum: of the gradients' running sum.

  Returns:
    The parameters before the first and after every step: leaves [steps + 1,
    ...].
  """
  optimizer = optax.sgd(learning_rate, momentum=momentum)

  def step(carry, _):
    params, state = carry
    updates, state = optimizer.update(jax.grad(loss)(params), state)
    return (optax.apply_updates(params, updates), state), params

  start = (params, optimizer.init(params))
  (last, _), path = jax.lax.scan(step, start, None, length=steps)
  return jax.tree.map(
    lambda leaf, end: jnp.concatenate([leaf, end[None]]), path, last
  )


def mean_logistic(outputs: chex.Array, labels: chex.Array) -> chex.Array:
  """Mean logistic loss of logits [n] beside labels [n] in [0, 1], in nats."""
  return jnp.mean(optax.sigmoid_binary_cross_entropy(outputs, labels))
