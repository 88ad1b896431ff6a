"""What a method owes the steps: the `Method` contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from experiments.tasks import Task
import jaxmix

# alpha, beta and eta, and a Taylor penalty's moments, as float32 arrays: runs
# that differ in them alone share one compiled program.
Values = Mapping[str, Any]


class Setting(NamedTuple):
  """What a method is made for.

  Attributes:
    config: resolved, but for alpha, beta and eta, which are None: what is built
      may not depend on them.
    task: whose loss is mixed.
    axis_name: the mapped axis of the replicas.
    enhanced: whether MixupE's penalty is taken.
    places: where the model is mixed, numbers of its stages; a step draws one of
      several.
  """

  config: ConfigDict
  task: Task
  axis_name: str
  enhanced: bool
  places: tuple[int, ...]


class Outcome(NamedTuple):
  """What a batch came to.

  Attributes:
    state: the network's, after its passes.
    metrics: of the training line, means over all replicas.
  """

  state: Any
  metrics: dict[str, jax.Array]


class Method(NamedTuple):
  """How batches are mixed, and what is minimised.

  Attributes:
    draw: (values, key, batch) -> plan, of this replica's batch, whose inputs
      are floats.
    gradient: (values, key, apply_fn, params, batch, plan) -> (`Outcome`,
      gradient over all replicas). apply_fn, `experiments.steps.Apply`, maps
      (params, inputs), and state, parts, tap or mask, to (outputs, new state);
      the key is the same on all replicas.
    shares: whether `draw` is given shared_key=, too, which is the first
      replica's key on all of them.
  """

  draw: Callable[..., Any]
  gradient: Callable[..., tuple[Outcome, Any]]
  shares: bool = False


def concentrations(config: ConfigDict) -> None:
  """Raises ValueError unless alpha and beta are Beta concentrations."""
  for key in ("alpha", "beta"):
    # Above, float32 has no moments of the law, and lam is 1/2 to all digits.
    if not 0.0 < config[key] <= 1e10:
      raise ValueError(
        f"{key} must lie in (0, 1e10], got {config[key]}; for no mixing at all "
        "use method=erm."
      )


class Entry(NamedTuple):
  """A method by name.

  Attributes:
    create: setting -> Method.
    law: (alpha, beta, per_example=, stratified=) -> the policy that the
      theory's terms and a Taylor penalty's moments integrate over; None where
      lam has no law.
    check: raises ValueError for a resolved config's alpha and beta.
    tied: whether an alpha given without a beta means Beta(alpha, alpha).
    symmetric: whether Beta(alpha, alpha) is all it can draw from.
    enhanced: whether the penalty's pass always runs, even at eta = 0.
    penalized: whether eta is the weight of MixupE's penalty; False: it is what
      the method says, and there is no penalty.
    refused: keys that do not apply, with the only values they may have.
    part: whether method=mixture may draw its plans.
  """

  create: Callable[[Setting], Method]
  law: Callable[..., jaxmix.MixingPolicy] | None = None
  check: Callable[[ConfigDict], None] = concentrations
  tied: bool = True
  symmetric: bool = False
  enhanced: bool = False
  penalized: bool = True
  refused: Mapping[str, Any] = {}
  part: bool = True
