"""Operations of a traced function, counted in its jaxpr.

XLA's own count leaves out what it hands to libraries: on a GPU most of a
network's products and convolutions. This one counts those alone, before any
compiler sees them, so that it is the same on every device.
"""

from __future__ import annotations

from collections.abc import Iterator
import math
from typing import Any


def multiply_adds(jaxpr: Any) -> int:
  """Multiply-adds of the products and convolutions.

  Padding is included; zeros between elements (the gradient of a strided
  convolution) are not, so that either gradient of a layer counts as much as the
  layer. A scan counts as often as it runs, a while loop once, a cond as its
  dearest branch. Inside shard_map the count is one device's. A fused attention
  kernel hides its products.

  Args:
    jaxpr: as `jax.make_jaxpr` returns it.
  """
  total = 0
  for equation in jaxpr.eqns:
    out = equation.outvars[0].aval if equation.outvars else None
    name = equation.primitive.name
    if name == "dot_general":
      (contracted, _), _ = equation.params["dimension_numbers"]
      shape = equation.invars[0].aval.shape
      total += out.size * math.prod(shape[axis] for axis in contracted)
    elif name == "conv_general_dilated":
      kernel = equation.invars[1].aval
      axis = equation.params["dimension_numbers"].rhs_spec[0]
      products = out.size * kernel.size // kernel.shape[axis]
      total += products // math.prod(equation.params["lhs_dilation"])
    elif name == "cond":
      total += max(map(multiply_adds, equation.params["branches"]))
    else:
      repeats = equation.params["length"] if name == "scan" else 1
      total += repeats * sum(map(multiply_adds, _inner(equation.params)))
  return total


def _inner(params: dict[str, Any]) -> Iterator[Any]:
  """The jaxprs among an equation's parameters, closed or not."""
  for value in params.values():
    for item in value if isinstance(value, tuple | list) else (value,):
      if hasattr(item, "eqns"):
        yield item
