"""Which parameters decay, and what a module of one's own is given."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import networks
from experiments.configs import common
from experiments.inputs.dataset import Spec
from experiments.inputs.scale import pixels
from experiments.networks import linen
from jaxmix.models.norm import BatchNorm

SPEC = Spec(
  jax.ShapeDtypeStruct((4, 4, 1), np.uint8), 3, 8, 8, pixels([127.5], [63.75])
)


class Plain(nn.Module):
  """Takes neither dtype nor axis_name, parts nor tap."""

  num_outputs: int
  width: int = 2

  @nn.compact
  def __call__(self, x, train=False):
    x = nn.Dense(self.width)(x.reshape(len(x), -1))
    return nn.Dense(self.num_outputs)(x)


class Normed(nn.Module):
  """Has batch statistics, but takes no parts."""

  num_outputs: int
  dtype: jnp.dtype = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, x, train=False):
    x = nn.BatchNorm(not train, axis_name=self.axis_name, dtype=self.dtype)(x)
    return nn.Dense(self.num_outputs, dtype=self.dtype)(x.reshape(len(x), -1))


def number():
  return 1


def create(model, axis_name=None, dtype=None, **options):
  config = common.base()
  config.model = model
  config.model_options.update(options)
  return networks.create(config, SPEC, 3, axis_name=axis_name, dtype=dtype)


def test_rows_that_pad_a_training_batch_are_refused_where_they_would_count():
  """Batch statistics would hold them; without any, each row is alone."""
  images, mask = jnp.ones((2, 4, 4, 1)), jnp.array([True, False])
  options = dict(train=True, key=jax.random.key(1), mask=mask)
  plain = create(f"{__name__}:Plain")
  params, state = plain.init(jax.random.key(0))
  assert plain.apply(params, state, images, **options)[0].shape == (2, 3)
  normed = create(f"{__name__}:Normed")
  params, state = normed.init(jax.random.key(0))
  with pytest.raises(ValueError, match="Normed' has batch .* takes no `mask`"):
    normed.apply(params, state, images, **options)


def test_a_plain_module_runs():
  network = create(f"{__name__}:Plain", width=5)
  params, state = network.init(jax.random.key(0))
  assert params["Dense_0"]["kernel"].shape == (16, 5) and state == {}
  x = jnp.ones((2, 4, 4, 1))
  outputs, state = network.apply(
    params, state, x, train=True, key=jax.random.key(1), parts=(1, 1)
  )
  assert outputs.shape == (2, 3) and state == {}
  assert network.stages == ("input",)


def test_dtype_and_axis_are_given_where_taken():
  network = create(f"{__name__}:Normed", axis_name="batch", dtype="bfloat16")
  params, state = network.init(jax.random.key(0))
  assert params["Dense_0"]["kernel"].dtype == jnp.float32
  x = jnp.arange(64.0, dtype=jnp.bfloat16).reshape(4, 1, 4, 4, 1)

  def run(x):
    return network.apply(params, state, x, train=True, key=jax.random.key(0))

  outputs, moved = jax.vmap(run, axis_name="batch")(x)
  assert outputs.dtype == jnp.bfloat16
  # The statistics are of all four replicas.
  mean = moved["BatchNorm_0"]["mean"]
  np.testing.assert_allclose(mean, np.full((4, 1), 0.01 * 31.5), rtol=1e-2)


def test_parts_for_statistics_that_know_none_are_refused():
  network = create(f"{__name__}:Normed")
  params, state = network.init(jax.random.key(0))
  with pytest.raises(ValueError, match="takes no `parts`.*clean_pass"):
    network.apply(
      params,
      state,
      jnp.ones((2, 4, 4, 1)),
      train=True,
      key=jax.random.key(1),
      parts=(1, 1),
    )


def test_what_is_no_module_is_refused():
  with pytest.raises(TypeError):
    create(f"{__name__}:number")


@pytest.mark.parametrize("name", ["resnet50_tiny", "vit_b16_tiny", "mlp"])
def test_our_own_models_parameters_are_all_known(name):
  size = 16
  spec = SPEC._replace(inputs=jax.ShapeDtypeStruct((size, size, 3), np.uint8))
  spec = spec._replace(scale=pixels([1.0] * 3, [1.0] * 3))
  config = common.base()
  config.model = name
  network = networks.create(config, spec, 3, axis_name=None)
  params, _ = jax.eval_shape(network.init, jax.random.key(0))
  decayed = network.decays(params)
  paths = jax.tree_util.tree_leaves_with_path(decayed)
  for path, acts in paths:
    assert acts == (path[-1].key == "kernel")
  assert 0 < sum(acts for _, acts in paths) < len(paths)


def test_a_parameter_that_is_not_known_is_named():
  params = {"block": {"gate": jnp.ones(())}, "kernel": jnp.ones(())}
  with pytest.raises(ValueError, match=r"\['block'\]\['gate'\] is not known"):
    linen.decays(params)
  known = linen.decays(
    params, decayed=frozenset({"kernel"}), undecayed=frozenset({"gate"})
  )
  assert known == {"block": {"gate": False}, "kernel": True}


class Held(nn.Module):
  """Normalises by statistics that are held."""

  num_outputs: int

  @nn.compact
  def __call__(self, x, train=False, parts=None):
    x = x.reshape(len(x), -1)
    x = BatchNorm(not train)(nn.Dense(4)(x), parts=parts)
    return nn.Dense(self.num_outputs)(x)


def test_statistics_that_move_along_a_penalty_are_refused():
  def check(model):
    config = common.base()
    config.model, config.penalty = model, "exact"
    network = networks.create(config, SPEC, 3, axis_name=None)
    networks.check_held(config, SPEC, network, "batch")

  check(f"{__name__}:Held")
  check(f"{__name__}:Plain")  # none to move
  with pytest.raises(ValueError, match="penalty='exact' .*jaxmix.hold"):
    check(f"{__name__}:Normed")
