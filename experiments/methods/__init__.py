"""Methods: how a batch is mixed, and the gradient that a step takes.

One table, METHODS: a new method is one entry. Most are a policy of how much to
mix, handed to `mixing.by_policy`, which knows pairings, MixupE's enhancement
and all that methods share.
"""

from __future__ import annotations

from collections.abc import Sequence
import functools
from typing import Any

from ml_collections import ConfigDict
import numpy as np

from experiments import domains, registry
from experiments.methods import masks, mixing, mixture
from experiments.methods.method import Entry as Entry
from experiments.methods.method import Method as Method
from experiments.methods.method import Outcome as Outcome
from experiments.methods.method import Setting as Setting
from experiments.methods.method import Values as Values
from experiments.methods.mixture import ended as ended
from experiments.methods.mixture import last_mixed_step as last_mixed_step
from experiments.tasks import Task
from jaxmix import mixupe, policies, theory

FREE: frozenset[str] = frozenset()
VALUES = ("alpha", "beta", "eta")
PAIRINGS = (
  *("permutation", "roll", "flip", "ring", "between"),
  *("optimal", "by_label"),
)

_MIXUP = mixing.by_policy(policies.mixup), policies.mixup
# Masks differ between replicas, and are of the input's size.
_PASTED = {"share_lam": False, "monitor": "", "mix_at": "input"}
METHODS: dict[str, Entry] = {
  # The theory's terms are those that Mixup would have.
  "erm": Entry(
    mixing.by_policy(
      mixing.erm, functools.partial(mixing.mixed_loss, mixes=False)
    ),
    policies.mixup,
    refused={"mix_at": "input"},
    part=False,
  ),
  "mixup": Entry(*_MIXUP),
  "mixupe": Entry(*_MIXUP, enhanced=True, part=False),
  "untied": Entry(
    mixing.by_policy(policies.untied), policies.untied, tied=False
  ),
  "dat": Entry(mixing.by_policy(policies.dat), policies.dat, tied=False),
  # eta is the weight of the mixed loss beside the clean one.
  "regmixup": Entry(
    mixing.by_policy(policies.mixup, mixing.regmixup_loss),
    policies.mixup,
    penalized=False,
    refused={
      "penalty": "approximate",
      "penalty_at": "clean",
      "penalty_form": "absolute",
      "eta_scale": "absolute",
      "clean_fraction": 1.0,
      # What would be left is 1 + eta times the clean loss.
      "mix_off_after": None,
    },
    part=False,
  ),
  "cutmix": Entry(
    masks.by_draw(masks.cutmix),
    symmetric=True,
    refused={**_PASTED, "stratified": False},
  ),
  "resizemix": Entry(
    masks.by_draw(masks.resizemix),
    check=masks.no_concentrations,
    refused={**_PASTED, "stratified": False},
  ),
  "fmix": Entry(masks.by_draw(masks.fmix), refused=_PASTED),
  "gridmix": Entry(masks.by_draw(masks.gridmix), refused=_PASTED),
  # Of the methods here, which are looked up when it is made.
  "mixture": Entry(
    lambda setting: mixture.create(setting, METHODS),
    check=mixture.check_point,
    refused={"monitor": "", "mix_at": "input"},
    part=False,
  ),
}


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
  pasting = ("cutmix", "resizemix", "fmix", "gridmix", "mixture")
  return ConfigDict(
    {
      "erm": dict(tied, eta=0.0),
      "mixup": dict(tied, eta=0.0),
      "mixupe": dict(tied, eta=eta),
      "untied": dict(alpha=alpha, beta=beta, eta=0.0),
      "dat": dict(alpha=alpha, beta=beta, eta=0.0),
      "regmixup": dict(alpha=10.0, beta=10.0, eta=1.0),
      **{name: dict(alpha=1.0, beta=1.0, eta=0.0) for name in pasting},
    }
  )


# A method of a user's own says what its alpha and beta may be, by Entry.check.
_POINT = {
  "alpha": domains.number(1.0),
  "beta": domains.number(1.0),
  "eta": domains.number(0.0, "[0, 1e6]"),
}
KEYS = {
  "method": domains.entry("mixupe", METHODS),
  # None: `resolve` fills it in.
  **{name: domains.optional(key, float) for name, key in _POINT.items()},
  "recipe": domains.mapping(
    recipe(mixup_alpha=1.0, eta=1e-3),
    lambda name: domains.mapping({}, _POINT.get, "alpha, beta and eta"),
    "a mapping of methods to their alpha, beta and eta",
  ),
  "pairing": domains.choice("permutation", PAIRINGS),
  # optimal: examples that are matched at once (k-mixup's k).
  "pairing_block": domains.integer(16, 1, 4096),
  # by_label: how far labels lie apart, in their unit (C-Mixup's sigma).
  "pairing_bandwidth": domains.number(1.0, "(0, inf)"),
  # False: one lam a replica, so that results depend on how many there are; with
  # share_lam one lam for all of them, as papers have it.
  "per_example": domains.boolean(True),
  "share_lam": domains.boolean(False),
  "stratified": domains.boolean(False),
  "clean_fraction": domains.number(1.0, "(0, 1]"),
  # taylor: orders up to penalty_order.
  "penalty": domains.choice("approximate", ("approximate", "exact", "taylor")),
  "penalty_order": domains.integer(2, 1, 16),
  "penalty_at": domains.choice("clean", mixupe.PENALTY_AT),
  # relative: eta |L R| / (L^2 + R^2), see `jaxmix.enhance_loss`.
  "eta_scale": domains.choice("absolute", mixupe.ETA_SCALES),
  "penalty_form": domains.choice("absolute", ("absolute", "release")),
  "clean_pass": domains.choice("split", mixupe.CLEAN_PASSES),
  # A stage of the model, such as stage2; or random, one of all a step, or
  # random:input+stage1+stage2, one of these (manifold mixup).
  "mix_at": domains.text("input"),
  # Passes that a batch's gradient is added up from.
  "accumulate_steps": domains.integer(1, 1, 2**20),
  **masks.KEYS,
  **mixture.KEYS,
}


def resolve(config: ConfigDict) -> None:
  """Fills in alpha, beta and eta, which are None unless given.

  From the config's recipe, where it has the method; else 1, 1 and 0.

  Raises:
    ValueError: if one is out of range.
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
  entry.check(config)
  for part, own, _ in _parts(config):
    part.check(own)


def check(config: ConfigDict) -> None:
  """Raises ValueError for what no data set could make right."""
  entry = _entry(config)
  if config.stratified and not config.per_example:
    raise ValueError(
      "stratified=True needs per_example=True: one lam a batch has no strata."
    )
  if config.share_lam and config.per_example:
    raise ValueError(
      "share_lam=True needs per_example=False: it is one lam for the examples "
      "of all replicas."
    )
  if config.penalty_form == "release" and config.penalty != "approximate":
    raise ValueError(
      f"penalty_form='release' takes penalty='approximate', got "
      f"{config.penalty!r}."
    )
  if config.mix_off_after is not None and config.penalty == "taylor":
    raise ValueError(
      "mix_off_after does not apply to penalty='taylor', whose moments are "
      f"those of the method's law at every step; got {config.mix_off_after}."
    )
  if config.accumulate_steps > 1 and config.mix_at != "input":
    raise ValueError(
      "accumulate_steps must be 1 where layers are mixed, as partners are in "
      f"other parts of the batch: mix_at={config.mix_at!r}; got "
      f"{config.accumulate_steps}."
    )
  _check_refused(config, entry)
  for part, own, _ in _parts(config):
    _check_refused(own, part)


def _check_refused(config: ConfigDict, entry: Entry) -> None:
  if entry.symmetric and config.beta not in (None, config.alpha):
    raise ValueError(
      f"beta does not apply to method={config.method!r}, which draws from "
      f"Beta(alpha, alpha); got beta={config.beta}, alpha={config.alpha}."
    )
  for key, only in entry.refused.items():
    if config[key] != only:
      raise ValueError(
        f"{key} does not apply to method={config.method!r}; leave it at "
        f"{only!r}, got {config[key]!r}."
      )


def _parts(config: ConfigDict) -> list[tuple[Entry, ConfigDict, float]]:
  """The methods that method=mixture mixes, each with its config."""
  if config.method != "mixture":
    return []
  return list(mixture.parts(config, METHODS))


def bound(config: ConfigDict) -> str:
  """Says why total_steps may not grow, "" if it may: see `configs.common`."""
  after = config.mix_off_after
  if after is None or after >= 1.0:
    return ""
  return (
    f"mix_off_after={after} is a share of the whole run; give the step, "
    f"{last_mixed_step(config)}"
  )


def mixes(config: ConfigDict) -> bool:
  """Whether training lines are of mixed examples, labels weighted likewise."""
  return config.method != "erm"


def is_enhanced(config: ConfigDict) -> bool:
  """Whether the penalty's pass runs: always for mixupe, even at eta = 0."""
  entry = _entry(config)
  return entry.enhanced or (entry.penalized and config.eta != 0.0)


def differentiates(config: ConfigDict) -> bool:
  """Whether the penalty is a derivative of the network's."""
  return is_enhanced(config) and config.penalty != "approximate"


def values(config: ConfigDict) -> dict[str, Any]:
  """Returns a resolved config's alpha, beta and eta as its programs take them.

  And, where its penalty asks for them, the moments E[(1 - lam)^j]: they take a
  quadrature, which no step should repeat.
  """
  found: dict[str, Any] = {key: np.float32(config[key]) for key in VALUES}
  own = law(config) if config.penalty == "taylor" else None
  if own is not None:
    moments = theory.shift_moments(own, config.penalty_order)
    found["moments"] = np.asarray(moments, np.float32)
  return found


def law(config: ConfigDict) -> policies.MixingPolicy | None:
  """Returns a resolved config's law of lam, or None where there is none."""
  own = _entry(config).law
  return own and own(
    config.alpha,
    config.beta,
    per_example=config.per_example,
    stratified=config.stratified,
  )


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
  own = {k: config[k] for k in KEYS if k not in (*VALUES, "recipe")}
  mixed = config.method == "mixture"
  own["mixture"] = config.mixture.to_dict() if mixed else None
  return own | {"enhanced": is_enhanced(config)}


def _entry(config: ConfigDict) -> Entry:
  return registry.find("method", config.method, METHODS)
