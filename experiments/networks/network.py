"""What a network owes the steps: the `Network` contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax


class Network(NamedTuple):
  """A network as functions of its parameters and its state.

  Attributes:
    init: key -> (params, state); state is what a training pass changes beside
      the gradient (batch norm's running averages), {} where there is none.
    apply: (params, state, inputs, *, train=False, key=None, parts=None,
      tap=None, mask=None) -> (outputs, state). `key` draws what is dropped;
      `parts` are the sizes of the batches that the batch is a concatenation of,
      each with its own statistics; `tap` mixes at a layer, see `jaxmix.hidden`;
      `mask`, given only where a training batch has one, is bool [B], False
      where a row only pads it.
    decays: params -> tree of bools, which of them weight decay acts on; raises
      ValueError naming a parameter that it does not know.
    stages: names of the places where inputs may be mixed, "input" first.
  """

  init: Callable[[jax.Array], tuple[Any, Any]]
  apply: Callable[..., tuple[Any, Any]]
  decays: Callable[[Any], Any]
  stages: tuple[str, ...]
