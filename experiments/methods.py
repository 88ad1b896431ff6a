"""Methods: how a batch is mixed, and the gradient that a step takes.

One table, METHODS: a new method is one entry. Most are a policy of how much to
mix, handed to `mixing`, which knows pairings, MixupE's enhancement and all that
methods share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict, config_dict
import numpy as np

from experiments import registry
from experiments.inputs.dataset import Batch
from experiments.tasks import Task
import jaxmix

FREE: frozenset[str] = frozenset()
VALUES = ("alpha", "beta", "eta")
PAIRINGS = ("permutation", "roll", "flip", "ring", "between")

# alpha, beta and eta, float32 arrays: runs that differ in them alone share one
# compiled program.
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
      gradient over all replicas). apply_fn maps (params, inputs), and state,
      parts or tap, to (outputs, new state); the key is the same on all
      replicas.
    law: values -> the policy of lam; None where there is none.
  """

  draw: Callable[[Values, jax.Array, Batch], Any]
  gradient: Callable[..., tuple[Outcome, Any]]
  law: Callable[[Values], jaxmix.MixingPolicy] | None


class Entry(NamedTuple):
  """A method by name.

  Attributes:
    create: setting -> Method.
    tied: whether an alpha given without a beta means Beta(alpha, alpha).
    enhanced: whether the penalty's pass always runs, even at eta = 0.
    refused: keys that do not apply, with the only values they may have.
  """

  create: Callable[[Setting], Method]
  tied: bool = True
  enhanced: bool = False
  refused: Mapping[str, Any] = {}


def defaults() -> ConfigDict:
  """The keys that methods read. None is filled in by `resolve`."""
  config = ConfigDict()
  config.method = "mixupe"
  config.alpha = config_dict.placeholder(float)
  config.beta = config_dict.placeholder(float)
  config.eta = config_dict.placeholder(float)
  config.recipe = recipe(mixup_alpha=1.0, eta=1e-3)
  config.pairing = "permutation"
  config.per_example = True
  config.stratified = False
  config.clean_fraction = 1.0
  config.penalty = "approximate"  # exact, or taylor: orders up to penalty_order
  config.penalty_order = 2
  config.penalty_at = "clean"
  config.penalty_form = "absolute"
  config.clean_pass = "split"
  # A stage of the model, such as stage2; or random, one of all a step, or
  # random:input+stage1+stage2, one of these (manifold mixup).
  config.mix_at = "input"
  return config


def recipe(
  *,
  mixup_alpha: float,
  eta: float,
  alpha: float | None = None,
  beta: float | None = None,
) -> ConfigDict:
  """Returns each method's own (alpha, beta, eta).

  Args:
    mixup_alpha: alpha of Mixup and MixupE.
    eta: MixupE's weight of the penalty.
    alpha: of untied MixUp and DAT; None means mixup_alpha + 1, which makes both
      the equivalents of Mixup's own policy.
    beta: likewise; None means mixup_alpha.
  """
  alpha = mixup_alpha + 1.0 if alpha is None else alpha
  beta = mixup_alpha if beta is None else beta
  tied = dict(alpha=mixup_alpha, beta=mixup_alpha)
  return ConfigDict(
    {
      "erm": dict(tied, eta=0.0),
      "mixup": dict(tied, eta=0.0),
      "mixupe": dict(tied, eta=eta),
      "untied": dict(alpha=alpha, beta=beta, eta=0.0),
      "dat": dict(alpha=alpha, beta=beta, eta=0.0),
      "cutmix": dict(alpha=1.0, beta=1.0, eta=0.0),
    }
  )


def resolve(config: ConfigDict) -> None:
  """Fills in alpha, beta and eta, which are None unless given.

  From the config's recipe, where it has the method; else 1, 1 and 0.
  """
  entry = _entry(config)
  own = dict(alpha=1.0, beta=1.0, eta=0.0)
  own |= config.recipe.get(config.method, {})
  with config.unlocked():
    if config.beta is None:
      given = entry.tied and config.alpha is not None
      config.beta = float(config.alpha if given else own["beta"])
    for key in ("alpha", "eta"):
      if config[key] is None:
        config[key] = float(own[key])


def check(config: ConfigDict) -> None:
  """Raises ValueError for what no data set could make right."""
  entry = _entry(config)
  for key, options in (
    ("pairing", PAIRINGS),
    ("penalty", ("approximate", "exact", "taylor")),
    ("penalty_at", ("clean", "mixed")),
    ("penalty_form", ("absolute", "release")),
    ("clean_pass", ("joint", "split", "separate")),
  ):
    if config[key] not in options:
      raise ValueError(
        f"{key} must be one of {', '.join(options)}; got {config[key]!r}."
      )
  if config.penalty_order < 1:
    raise ValueError(
      f"penalty_order must be at least 1, got {config.penalty_order}."
    )
  if config.penalty_form == "release" and config.penalty != "approximate":
    raise ValueError(
      f"penalty_form='release' takes penalty='approximate', got "
      f"{config.penalty!r}."
    )
  for key, only in entry.refused.items():
    if config[key] != only:
      raise ValueError(
        f"{key} does not apply to method={config.method!r}; leave it at "
        f"{only!r}, got {config[key]!r}."
      )


def is_enhanced(config: ConfigDict) -> bool:
  """Whether the penalty's pass runs: always for mixupe, even at eta = 0."""
  return _entry(config).enhanced or config.eta != 0.0


def values(config: ConfigDict) -> dict[str, np.floating[Any]]:
  """Returns a resolved config's alpha, beta and eta as its programs take them.

  As arrays of float32, whose gamma and log-odds are computed on the device.
  """
  return {key: np.float32(config[key]) for key in VALUES}


def create(
  config: ConfigDict,
  task: Task,
  axis_name: str,
  stages: Sequence[str] = ("input",),
) -> Method:
  """Returns a resolved config's method.

  Args:
    config: resolved.
    task: whose loss is mixed.
    axis_name: the mapped axis of the replicas.
    stages: the network's.

  Raises:
    ValueError: if the penalty is asked for under a loss that has none, or the
      network has no stage of mix_at's name.
  """
  enhanced = is_enhanced(config)
  if enhanced and task.link is None:
    raise ValueError(
      f"eta: MixupE's penalty needs a loss h(f) - y f of the outputs f, which "
      f"task={config.task!r} does not have; train with eta=0 and a method "
      f"other than mixupe, got eta={config.eta}, method={config.method!r}."
    )
  blind = config.copy_and_resolve_references()
  with blind.unlocked():
    blind.update({key: None for key in VALUES})
  setting = Setting(blind, task, axis_name, enhanced, _places(config, stages))
  return _entry(config).create(setting)


def _places(config: ConfigDict, stages: Sequence[str]) -> tuple[int, ...]:
  """The places that mix_at names."""
  name, colon, several = config.mix_at.partition(":")
  names = [config.mix_at]
  if name == "random":
    names = several.split("+") if colon else list(stages)
  unknown = [name for name in names if name not in stages]
  if unknown:
    raise ValueError(
      f"mix_at must be a stage of model={config.model!r}, one of "
      f"{', '.join(stages)}; or random, or random:STAGE+STAGE; got "
      f"{unknown[0]!r} in {config.mix_at!r}."
    )
  return tuple(stages.index(name) for name in names)


def compiled_from(config: ConfigDict) -> dict[str, Any]:
  """Returns what of a resolved config a method's programs are compiled from."""
  # The recipe was for `resolve`.
  own = {k: config[k] for k in defaults() if k not in (*VALUES, "recipe")}
  return own | {"enhanced": is_enhanced(config)}


def mixing(
  policy: Callable[..., jaxmix.MixingPolicy],
  *,
  mixes: bool = True,
  law: Callable[..., jaxmix.MixingPolicy] | None = None,
) -> Callable[[Setting], Method]:
  """Returns the `create` of a method that a policy makes.

  Args:
    policy: (alpha, beta, per_example=, stratified=) -> policy.
    mixes: False leaves out the arithmetic of a policy whose lam is 1.
    law: what the theory's terms integrate over; None is the policy.
  """

  def build(setting):
    config = setting.config
    options = dict(per_example=config.per_example, stratified=config.stratified)

    def draw(values, key, batch):
      size = len(jax.tree.leaves(batch["inputs"])[0])
      return jaxmix.draw(
        key,
        size,
        policy=policy(values["alpha"], values["beta"], **options),
        pairing=make_pairing(setting, batch),
      )

    def own_law(values):
      return (law or policy)(values["alpha"], values["beta"], **options)

    gradient = functools.partial(mixed_gradient, setting, own_law, mixes)
    return Method(draw, gradient, own_law)

  return build


def cutmix(setting: Setting) -> Method:
  """CutMix, whose boxes have no law of lam: they are clipped."""

  def draw(values, key, batch):
    return jaxmix.draw_cutmix(
      key,
      batch["inputs"].shape,
      alpha=values["alpha"],
      pairing=make_pairing(setting, batch),
    )

  gradient = functools.partial(mixed_gradient, setting, None, True)
  return Method(draw, gradient, None)


def make_pairing(setting: Setting, batch: Batch) -> jaxmix.pairing.Pairing:
  """Returns the pairing that the config names."""
  name = setting.config.pairing
  if name == "ring":
    return jaxmix.pairing.ring(setting.axis_name)
  if name == "between":
    partner = batch["partner"]
    return jaxmix.pairing.between((partner["inputs"], partner["label"]))
  return getattr(jaxmix.pairing, name)


def mixed_gradient(
  setting: Setting,
  law: Callable[[Values], jaxmix.MixingPolicy] | None,
  mixes: bool,
  values: Values,
  key: jax.Array,
  apply_fn: Callable[..., Any],
  params: Any,
  batch: Batch,
  plan: Any,
) -> tuple[Outcome, Any]:
  """The gradient of the mixed loss, enhanced where the config says so.

  Of several places a step draws one, the same on all replicas: each is a branch
  of the program. The loss itself is put together from its parts, as a pmean of
  it would have to wait for that of L and R, which the scale holds.
  """
  config, task, axis_name, enhanced, places = setting
  inputs, labels = batch["inputs"], batch["label"]

  def plain(params, place):
    if place:
      tap = jaxmix.hidden.at(plan, place)
      outputs, state = apply_fn(params, inputs, tap=tap)
    else:
      outputs, state = apply_fn(params, plan.mix(inputs) if mixes else inputs)
    loss = jnp.mean(
      jaxmix.mixed_loss(task.loss_fn, outputs, plan.targets(labels))
    )
    total = jax.lax.pmean(jax.lax.stop_gradient(loss), axis_name)
    return loss, jaxmix.MixupEAux(
      total, jnp.zeros_like(total), jnp.ones_like(total), outputs, state
    )

  def averaged(loss):
    (_, aux), grads = jax.value_and_grad(loss, has_aux=True)(params)
    return aux, jax.lax.pmean(grads, axis_name)

  def enhance(place):
    options = dict(
      eta=values["eta"],
      loss_fn=task.loss_fn,
      clean_fraction=config.clean_fraction,
      penalty=make_penalty(config, law and law(values)),
      mix_at=place,
      link=task.link,
      axis_name=axis_name,
      has_aux=True,
    )
    if config.clean_pass == "separate" and config.penalty_at == "clean":
      (_, aux), grads = jaxmix.mixupe_value_and_grad(
        apply_fn, params, inputs, labels, plan, **options
      )
      return aux, grads
    return averaged(
      lambda params: jaxmix.mixupe_loss(
        functools.partial(apply_fn, params),
        inputs,
        labels,
        plan,
        penalty_at=config.penalty_at,
        clean_pass=config.clean_pass,
        **options,
      )
    )

  def at(place):
    return enhance(place) if enhanced else averaged(lambda p: plain(p, place))

  branches = [functools.partial(at, place) for place in places]
  if len(branches) == 1:
    aux, grads = branches[0]()
  else:
    # Replicas fold their number into the same key: no number is so high.
    key_place = jax.random.fold_in(key, 2**32 - 1)
    drawn = jax.random.randint(key_place, (), 0, len(branches))
    aux, grads = jax.lax.switch(drawn, branches)
  metrics = {
    "loss": aux.scale * (aux.mixup_loss + values["eta"] * aux.penalty),
    "mixup_loss": aux.mixup_loss,
    "penalty": aux.penalty,
    "scale": aux.scale,
  }
  for name, hit in task.hits.items():
    hits = jaxmix.mixed_loss(hit, aux.logits, plan.targets(labels))
    metrics[name] = jax.lax.pmean(jnp.mean(hits), axis_name)
  return Outcome(aux.aux, metrics), grads


def make_penalty(
  config: ConfigDict, law: jaxmix.MixingPolicy | None
) -> jaxmix.Penalty:
  """Returns the penalty that a config's keys describe.

  Args:
    config: resolved.
    law: of lam; None takes a Taylor penalty's moments from the plans drawn.
  """
  if config.penalty_form == "release":
    return jaxmix.penalties.release()
  if config.penalty != "taylor":
    return jaxmix.penalties.Penalty.of(config.penalty)
  moments = None
  if law is not None:
    exact = jaxmix.theory.shift_moments(law, config.penalty_order)
    moments = jnp.asarray(exact, jnp.float32)
  return jaxmix.penalties.taylor(config.penalty_order, moments=moments)


def _erm(alpha, beta, **options) -> jaxmix.MixingPolicy:
  # MixupE's table 7: ERM with the penalty takes mixup's factor.
  mixup = jaxmix.policies.mixup(alpha, beta, **options)
  return jaxmix.policies.erm(mixup.mean_shift)


_MIXUP = mixing(jaxmix.policies.mixup)
METHODS: dict[str, Entry] = {
  # The theory's terms are those that Mixup would have.
  "erm": Entry(
    mixing(_erm, mixes=False, law=jaxmix.policies.mixup),
    refused={"mix_at": "input"},
  ),
  "mixup": Entry(_MIXUP),
  "mixupe": Entry(_MIXUP, enhanced=True),
  "untied": Entry(mixing(jaxmix.policies.untied), tied=False),
  "dat": Entry(mixing(jaxmix.policies.dat), tied=False),
  "cutmix": Entry(
    cutmix,
    refused={
      "per_example": True,
      "stratified": False,
      "monitor": "",
      "mix_at": "input",
    },
  ),
}


def _entry(config: ConfigDict) -> Entry:
  return registry.find("method", config.method, METHODS)
