"""The graph isomorphism network, mixed at its read-out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import functools
from typing import Any

import chex
from flax import linen as nn
import jax
import jax.numpy as jnp

from jaxmix import checks
from jaxmix.models import graphs as graphs_lib
from jaxmix.models import interface
from jaxmix.models.graphs import Graphs, Rows
from jaxmix.models.norm import BatchNorm


class GIN(nn.Module):
  """GIN (Xu et al., 2019, https://arxiv.org/abs/1810.00826), a head on it.

  h_v <- MLP((1 + epsilon) h_v + sum of h_u over v's neighbours u), eq. (4.1);
  the MLP is two dense layers, batch norm and ReLU behind each. As there, the
  num_layers = 5 count the input: four such updates. The sums of every layer's
  h_v over a graph's nodes, the input's too, are the read-out, eq. (4.2).

  The paper adds a linear classifier's scores of each layer; here the read-out
  is operated on by a non-linear MLP, as in MixupE
  (https://arxiv.org/abs/2212.13381, section 3.4), which mixes read-outs: nodes
  of different graphs do not correspond, so that inputs cannot be mixed.

  Attributes:
    num_classes: K.
    num_layers: 5 are the input and four updates.
    hidden_size: width of the layers.
    head_features: widths of the head's hidden layers; () is linear.
    learn_epsilon: False is GIN-0, epsilon = 0.
    readout_scale: sums are divided by it. 1 is the paper's; near the mean
      number of nodes it keeps the head's inputs near 1. Sums of dozens of nodes
      let Adam at 0.01 drive the head's ReLUs to a constant output.
    dropout: share of the head's last inputs that are dropped in training.
    dtype: compute dtype; parameters, sums, the head and logits are float32.
    axis_name: mapped axis to take batch statistics over, or None. All replicas
      then compute in the same of the batches' `rooms`.
  """

  num_classes: int
  num_layers: int = 5
  hidden_size: int = 64
  head_features: Sequence[int] = (64,)
  learn_epsilon: bool = False
  readout_scale: float = 1.0
  dropout: float = 0.0
  dtype: Any = jnp.float32
  axis_name: str | None = None
  # Places at which features can be mixed; the input only says that it is not.
  stages = ("input", "readout")
  undecayed = ("epsilon",)

  @nn.compact
  def __call__(
    self,
    x: Graphs,
    train: bool = False,
    parts: Sequence[int] | None = None,
    tap: interface.Tap | None = None,
    mask: chex.Array | None = None,
  ) -> chex.Array:
    """Computes logits.

    Args:
      x: B graphs.
      train: whether batch norm uses and moves batch statistics, those of the
        real nodes, and dropout drops.
      parts: sizes of the pieces of the batch, see `BatchNorm`. Several pieces
        are not packed into rooms.
      tap: called as x, parts = tap(1, x, parts) on the read-outs.
      mask: bool [B], False for graphs that only pad the batch: they are read as
        graphs without nodes, which leave no statistic behind.

    Returns:
      [B, K] float32 logits.

    Raises:
      TypeError: if x is no `Graphs` of integers, `parts` is not static, `mask`
        is not boolean, or `tap` is for the input.
      ValueError: if shapes do not fit, or a size is out of range.
    """
    graphs_lib.check(x)
    tapped = interface.named(tap, self.stages)
    parts = interface.static_parts(parts, x.size)
    checks.mask_array(mask, x.size)
    if 0 in getattr(tap, "places", ()):
      raise TypeError(
        "graphs cannot be mixed at the input, place 0: their nodes do not "
        "correspond; mix at place 1, the read-out."
      )
    if self.num_layers < 1:
      raise ValueError(f"num_layers must be at least 1, got {self.num_layers}.")
    if not self.readout_scale > 0.0:
      raise ValueError(
        f"readout_scale must be positive, got {self.readout_scale}."
      )
    if mask is not None:
      x = graphs_lib.only(x, mask)
    y = self._encode(x, train, parts) / self.readout_scale
    y, *_ = tapped("readout", y, parts, mask)
    for index, width in enumerate(self.head_features):
      y = nn.Dense(
        width,
        kernel_init=nn.initializers.he_normal(),
        name=f"head_dense{index + 1}",
      )(y)
      y = nn.relu(y)
    y = nn.Dropout(self.dropout, deterministic=not train)(y)
    return nn.Dense(self.num_classes, name="head")(y)

  def _encode(self, x: Graphs, train: bool, parts) -> chex.Array:
    """Read-outs [B, F + (num_layers - 1) C], in the smallest room that fits."""
    encoder = _Encoder(
      self.num_layers - 1,
      self.hidden_size,
      self.learn_epsilon,
      self.dtype,
      self.axis_name,
      name="encoder",
    )

    def whole(encoder, x):
      # Every graph has as many rows, so that pieces of graphs are of rows.
      n = x.nodes.shape[1]
      sizes = None if parts is None else tuple(n * size for size in parts)
      rows = graphs_lib.padded(x, self.dtype)
      return encoder(rows, x.size, train=train, parts=sizes)

    def in_room(encoder, x, room):
      rows = graphs_lib.packed(x, room, self.dtype)
      return encoder(rows, x.size, train=train)

    sizes = graphs_lib.rooms(x)
    if not sizes or self.is_initializing() or (parts and len(parts) > 1):
      return whole(encoder, x)
    level = graphs_lib.smallest(x, sizes)
    if train and self.axis_name is not None:
      # Batch norm's collectives wait for all: they must be the same ones.
      level = jax.lax.pmax(level, self.axis_name)
    branches: list[Callable[..., chex.Array]] = [
      functools.partial(in_room, room=room) for room in sizes
    ]
    # What one branch keeps for its gradient the others fill with zeros. Only
    # the smallest, which is taken most often, does; larger ones compute again.
    first, *larger = [*branches, whole]
    return nn.switch(level, [first, *map(nn.remat, larger)], encoder, x)


class _Encoder(nn.Module):
  """The updates, and the sums of every layer."""

  num_updates: int
  hidden_size: int
  learn_epsilon: bool
  dtype: Any
  axis_name: str | None

  @nn.compact
  def __call__(self, rows: Rows, size: int, *, train: bool, parts=None):
    h = rows.features
    sums = [graphs_lib.totals(h, rows, size)]
    for index in range(self.num_updates):
      update = _Update(
        self.hidden_size,
        self.learn_epsilon,
        self.dtype,
        self.axis_name,
        name=f"update{index + 1}",
      )
      h = update(h, rows, train=train, parts=parts)
      sums.append(graphs_lib.totals(h, rows, size))
    return jnp.concatenate(sums, axis=-1)


class _Update(nn.Module):
  """A node's own features and its neighbours', through two dense layers."""

  hidden_size: int
  learn_epsilon: bool
  dtype: Any
  axis_name: str | None

  @nn.compact
  def __call__(self, h: chex.Array, rows: Rows, *, train: bool, parts=None):
    own = h
    if self.learn_epsilon:
      epsilon = self.param("epsilon", nn.initializers.zeros, ())
      own = (1.0 + epsilon).astype(h.dtype) * h
    h = own + graphs_lib.neighbours(h, rows)
    for layer in (1, 2):
      dense = nn.Dense(
        self.hidden_size,
        use_bias=False,  # the norm would subtract it
        kernel_init=nn.initializers.he_normal(),
        dtype=self.dtype,
        name=f"dense{layer}",
      )
      norm = BatchNorm(
        not train,
        axis_name=self.axis_name,
        dtype=self.dtype,
        name=f"norm{layer}",
      )
      h = nn.relu(norm(dense(h), parts=parts, mask=rows.real))
    return h
