"""Gradients added up from parts of a batch: those of the whole."""

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import inputs, methods, steps, tasks
from experiments.configs import common, digits
from experiments.inputs import images
from experiments.methods import Setting, mixing
from experiments.networks import network
import jaxmix
from jaxmix.models.norm import BatchNorm

REPLICAS = 2


def make_config(**changes):
  config = digits.get_config()
  config.update({"model": "mlp", "batch_size": 16, "fgsm_epsilon": 0.0})
  config.update({"optimizer": "sgd", "warmup_steps": 0, "total_steps": 4})
  config.model_options.features = (6,)
  config.update(changes)
  return common.resolve(config)


def replicas_of(config, start=0):
  batch = next(inputs.create(config).train(start_step=start))
  divided = lambda x: x.reshape(REPLICAS, -1, *x.shape[1:])
  return jax.tree.map(divided, batch)


def trained(config, count=1, state=None):
  """(state, metrics) after some steps on two replicas."""
  own = steps.create(config, inputs.create(config).spec)
  train = jax.jit(
    jax.vmap(own.train, (None, 0, None, None), axis_name=steps.AXIS)
  )
  if state is None:
    state = jax.jit(own.init)(jax.random.key(0))
  first = int(state.step)
  for k in range(first, first + count):
    batch = replicas_of(config, k)
    found = train(state, batch, jax.random.key(1), methods.values(config))
    state, metrics = jax.tree.map(lambda x: x[0], found)
  return state, metrics


class Small(NamedTuple):
  """A network without state, as methods call it: see `steps.Apply`."""

  state: Any = ()

  def __call__(self, params, inputs, state=None, parts=None, mask=None):
    del state, parts, mask
    first, second = params
    return jnp.tanh(inputs @ first) @ second, ()

  def part(self, number, state):
    del number, state
    return self


def gradient_of(config):
  """(metrics, gradient) on two replicas of eight examples."""
  task = tasks.create(config, images.DIGITS)
  enhanced = methods.is_enhanced(config)
  setting = Setting(config, task, steps.AXIS, enhanced, (0,))
  losses = {"regmixup": mixing.regmixup_loss}
  loss = losses.get(config.method, mixing.mixed_loss)
  random = np.random.default_rng(0)
  normal = lambda *shape: jnp.asarray(random.normal(size=shape), jnp.float32)
  params, x = (normal(5, 6), normal(6, 10)), normal(REPLICAS, 8, 5)
  labels = jnp.asarray(random.integers(0, 10, (REPLICAS, 8)), jnp.int32)
  lam = jnp.asarray(random.uniform(size=(REPLICAS, 8)), jnp.float32)
  values = methods.values(config)
  values.pop("moments", None)  # of pasting methods nobody knows them
  partner = jnp.stack([jnp.roll(jnp.arange(8), 3), jnp.arange(8)[::-1]])

  def one(x, labels, lam, partner):
    plan = jaxmix.MixPlan(lam, lam, partner, jnp.float32(0.3))
    outcome, grads = mixing.mixed_gradient(
      *(setting, loss, values, jax.random.key(0), Small()),
      *(params, {"inputs": x, "label": labels}, plan),
    )
    return outcome.metrics, grads

  found = jax.jit(jax.vmap(one, axis_name=steps.AXIS))(x, labels, lam, partner)
  # The same on both.
  jax.tree.map(lambda leaf: np.testing.assert_array_equal(*leaf), found)
  return jax.tree.map(lambda leaf: leaf[0], found)


def assert_close(one, other, **tolerance):
  tolerance = {"rtol": 2e-5, "atol": 2e-6} | tolerance
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, **tolerance), one, other
  )


@pytest.mark.parametrize(
  "changes",
  [
    {"method": "mixup", "accumulate_steps": 4},
    {"method": "mixupe", "eta": 0.5, "clean_fraction": 0.5},
    {"method": "mixupe", "eta": 2.0, "eta_scale": "relative"},
    {"method": "mixupe", "eta": 0.5, "penalty_at": "mixed"},
    {"method": "mixupe", "eta": 0.5, "penalty": "taylor"},
    {"method": "regmixup", "eta": 0.5},
  ],
  ids=["mixup", "fraction", "relative", "mixed", "taylor", "regmixup"],
)
def test_parts_have_the_large_batchs_gradient(changes):
  """And what is told, kappa too."""
  changes = {"accumulate_steps": 2} | changes
  told_parts, parts = gradient_of(make_config(**changes))
  told, whole = gradient_of(make_config(**changes | {"accumulate_steps": 1}))
  assert_close(parts, whole)
  assert_close(told_parts, told)
  assert all(float(abs(leaf).max()) > 0.01 for leaf in whole)
  if changes["method"] == "mixupe":
    assert abs(float(told["scale"]) - 1.0) > 1e-3


class Net(nn.Module):
  num_outputs: int

  @nn.compact
  def __call__(self, x, train=False, parts=None):
    x = x.reshape(x.shape[0], -1)
    x = BatchNorm(not train, momentum=0.5, axis_name=steps.AXIS)(x, parts=parts)
    return nn.Dense(self.num_outputs)(x)


def test_batch_norm_moves_once_a_part_by_its_own_statistics():
  """Every second example of both replicas, one half after the other."""
  config = digits.get_config("method=erm,accumulate_steps=2,batch_size=16")
  config.update({"model": f"{__name__}:Net", "fgsm_epsilon": 0.0})
  config = common.resolve(config)
  state, _ = trained(config)
  spec = inputs.create(config).spec
  inputs_of = replicas_of(config)["inputs"]
  x = spec.scale.to_float(inputs_of, jnp.float32).reshape(REPLICAS, 8, -1)
  mean, var = np.zeros(64), np.ones(64)
  for number in (0, 1):
    part = np.asarray(x[:, number::2], np.float64).reshape(8, -1)
    mean = 0.5 * mean + 0.5 * part.mean(0)
    var = 0.5 * var + 0.5 * part.var(0)
  (found,) = state.batch_stats.values()
  np.testing.assert_allclose(found["mean"], mean, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(found["var"], var, rtol=1e-4, atol=1e-5)


def test_parts_draw_dropout_of_their_own():
  keys = []

  def apply(params, state, inputs, *, train, key):
    del params, inputs, train
    keys.append(jax.random.key_data(key).tolist())
    return None, state

  net = network.Network(*(None,) * len(network.Network._fields))
  net = net._replace(apply=apply)
  own = steps.Apply(net, {}, jax.random.key(3))
  for call in (own, own.part(0, {}), own.part(1, {})):
    call(None, None)
    call(None, None, state={})
  assert len(set(map(tuple, keys))) == 6


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"accumulate_steps": 3}, "accumulate_steps must divide the 8 examples of"),
    (
      {"accumulate_steps": 4, "clean_fraction": 0.25, "eta": 1.0},
      "accumulate_steps must divide the 2 examples .* clean_fraction=0.25",
    ),
  ],
)
def test_parts_of_unequal_size_are_refused(changes, message):
  with pytest.raises(ValueError, match=message):
    gradient_of(make_config(method="mixupe", **changes))


def test_layers_that_are_mixed_are_refused():
  with pytest.raises(ValueError, match="accumulate_steps must be 1 where lay"):
    make_config(method="mixup", accumulate_steps=2, mix_at="random")
