"""Tests of benchmarks.operations: counts worked by hand."""

import jax
from jax import lax
import jax.numpy as jnp
import pytest

from benchmarks.operations import multiply_adds


def spec(*shape):
  return jax.ShapeDtypeStruct(shape, jnp.float32)


def count(fun, *shapes):
  return multiply_adds(jax.make_jaxpr(fun)(*(spec(*s) for s in shapes)))


def conv(x, kernel, stride=1, groups=1):
  return lax.conv_general_dilated(
    x,
    kernel,
    (stride, stride),
    "SAME",
    feature_group_count=groups,
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )


def test_products():
  assert count(jnp.dot, (3, 4), (4, 5)) == 3 * 4 * 5
  product = lambda x, y: jnp.einsum("bij,bjk->bik", x, y)
  assert count(product, (2, 3, 4), (2, 4, 5)) == 2 * 3 * 4 * 5


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [1, 6])
def test_each_gradient_of_a_convolution_costs_what_it_does(stride, groups):
  shapes = (2, 8, 8, 6), (3, 3, 6 // groups, 6)
  forward = lambda x, k: conv(x, k, stride, groups)
  cost = (2 * (8 // stride) ** 2 * 6) * (9 * 6 // groups)
  assert count(forward, *shapes) == cost
  loss = lambda x, k: jnp.sum(forward(x, k) ** 2)
  assert count(jax.grad(loss, argnums=0), *shapes) == 2 * cost
  assert count(jax.grad(loss, argnums=1), *shapes) == 2 * cost
  assert count(jax.grad(loss, argnums=(0, 1)), *shapes) == 3 * cost


def test_inner_programs():
  square = lambda x: x @ x
  once = 4**3
  assert count(jax.jit(square), (4, 4)) == once
  twice = lambda x: square(jax.checkpoint(square)(x))
  assert count(twice, (4, 4)) == 2 * once
  five = lambda x: lax.scan(lambda c, _: (square(c), None), x, length=5)[0]
  assert count(five, (4, 4)) == 5 * once
  either = lambda x: lax.cond(x[0, 0] > 0, lambda y: y @ y @ y, square, x)
  assert count(either, (4, 4)) == 2 * once


def test_of_one_device():
  mesh = jax.make_mesh(
    (8,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,)
  )
  p = jax.sharding.PartitionSpec
  mapped = jax.shard_map(
    jnp.dot, mesh=mesh, in_specs=(p("batch"), p()), out_specs=p("batch")
  )
  assert count(mapped, (16, 4), (4, 5)) == 2 * 4 * 5
