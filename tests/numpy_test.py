"""The public API, walked with NumPy arrays and with Python lists.

Every function is called with each argument that it has, found by its name: a
new function whose arguments are called as others' are is walked as well, and
one with a name of its own asks for a value here.
"""

from collections.abc import Callable
import inspect
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmix
from jaxmix import pairing, policies
from tests import api_test

# Those that compute with what they are given.
FUNCTIONS = {
  name: function
  for name, function in api_test.FUNCTIONS.items()
  if name.split(".")[1] not in ("audit", "citing", "pictures")
}
KEY = jax.random.key(0)
X = np.array([[1.0, 0.5], [-1.0, 2.0], [0.25, -1.5], [2.0, 1.0]], np.float32)
Y = np.array([0, 1, 1, 0], np.int32)
MASK = np.array([True, True, True, False])
LAM = np.array([0.75, 0.5, 1.0, 0.25], np.float32)
PARTNER = np.array([1, 0, 3, 2], np.int32)
IMAGES = np.arange(4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)
BOX = np.array([[0, 2, 1, 4], [0, 0, 0, 0], [1, 5, 0, 6], [2, 3, 2, 3]])
WEIGHTS = np.array([[1.0, -0.5], [0.25, 2.0]], np.float32)
COVARIANCE = np.array([[2.0, 0.5], [0.5, 1.0]], np.float32)
VECTOR = np.array([0.5, -0.25], np.float32)
POLICY = policies.mixup(0.7)


class Made(NamedTuple):
  """A value of an argument that is made of arrays of the kind asked for."""

  maker: Callable[[Callable[[Any], Any]], Any]


def plan(arrays):
  lam, partner, mask = arrays((LAM, PARTNER, MASK))
  return jaxmix.MixPlan(lam, lam, partner, mean_shift=0.25, mask=mask)


def pasting(arrays):
  lam, partner, box = arrays((LAM, PARTNER, BOX.astype(np.int32)))
  return jaxmix.CutMixPlan(lam, lam, partner, box, size=(5, 6))


def masking(arrays):
  lam, partner, masks = arrays((LAM, PARTNER, IMAGES / np.float32(120.0)))
  return jaxmix.MaskPlan(lam, lam, partner, masks)


def mixed(arrays):
  first, second, weight = arrays((Y, Y[::-1].copy(), LAM))
  return jaxmix.MixedTargets(first, second, weight)


def tapped(x, tap):
  return 2.0 * tap(0, x, None)[0]


# Arguments by their names.
VALUES = {
  "alpha": np.float32(0.7),
  "apply_fn": lambda x: x @ jnp.asarray(WEIGHTS),
  "axis_name": None,
  "batch_size": 4,
  "beta": np.float32(1.5),
  "cells": (2, 3),
  "bounds": (np.float32(-2.0), np.array([[1.5, 2.0]], np.float32)),
  "complexity": np.float32(0.25),
  "count": 1,
  "covariance": COVARIANCE,
  "decay": np.float32(2.0),
  "curvature": jnp.ones_like,
  "density": jnp.square,
  "dim": 3,
  "direction": X[::-1].copy(),
  "epsilon": np.float32(0.25),
  "eta": np.float32(0.5),
  "features": X,
  "first": PARTNER,
  "fn": jnp.sin,
  "gamma": np.float32(0.5),
  "hidden": X,
  "high": np.float32(0.75),
  "ignore_label": None,
  "image_shape": (4, 5, 6),
  "images": IMAGES,
  "index": PARTNER,
  "input_mean": VECTOR[None],
  "inputs": X,
  "j": 2,
  "key": KEY,
  "bandwidth": 1.0,
  "labels": Y,
  "lam": np.float32(0.75),
  "logit_fn": lambda x: x @ jnp.asarray(WEIGHTS),
  "logits": X,
  "loss": np.float32(2.0),
  "loss_range": np.float32(2.0),
  "low": np.float32(0.25),
  "loss_fn": jaxmix.losses.softmax_cross_entropy,
  "mask": MASK,
  "masks": IMAGES / np.float32(120.0),
  "mean": VECTOR,
  "mean_shift": np.float32(0.25),
  "moments": np.array([1.0, 0.5, 0.25], np.float32),
  "n": 8,
  "ndim": 3,
  "norm_bound": np.float32(2.0),
  "num_classes": 3,
  "num_layers": 2,
  "num_pairs": 8,
  "order": 2,
  "other": VECTOR[::-1].copy(),
  "pairing": pairing.permutation,
  "params": WEIGHTS,
  "partners": (X[::-1].copy(), Y),
  "penalty": np.float32(3.0),
  "place": 0,
  "plan": Made(plan),
  "policy": POLICY,
  "prob": np.float32(0.75),
  "radius": np.float32(0.5),
  "rank": 2,
  "residual": (np.float32(0.25), np.float32(0.5)),
  "rho": np.float32(0.25),
  "second": np.array([2, 2, 0, 1], np.int32),
  "second_derivative": jnp.ones_like,
  "shape": (4,),
  "shift": LAM,
  "smallest_norm": np.float32(0.5),
  "statistic": {"mean": VECTOR},
  "step_size": np.float32(0.1),
  "tau": np.float32(0.5),
  "targets": Made(mixed),
  "theta": VECTOR,
  "threshold": np.float32(0.5),
  "weight": LAM,
  "weight_fn": jnp.square,
  "x": X,
  "y": Y,
}


def draw(key):
  return jaxmix.draw(key, 4, policy=POLICY)


# Where a name means something else.
binary = lambda x: x @ jnp.asarray(VECTOR)
OWN = {
  "jaxmix.attacks.pgd": {"steps": 2},
  "jaxmix.hidden.run": {
    "apply_fn": tapped,
    "tap": Made(lambda arrays: jaxmix.hidden.at(plan(arrays), 0)),
  },
  "jaxmix.losses.logistic": {"logits": X[:, 0], "labels": Y},
  "jaxmix.losses.negative_cosine": {"targets": X[::-1].copy()},
  "jaxmix.masks.mask_plan": {"partners": PARTNER},
  "jaxmix.mixture.draw_mixture": {
    "draws": Made(lambda arrays: [draw, draw]),
    "weights": np.array([0.25, 0.5], np.float32),
  },
  "jaxmix.mixupe.mixupe_loss": {"penalty": "exact"},
  "jaxmix.mixupe.mixupe_value_and_grad": {
    "apply_fn": lambda params, x: x @ params,
    "penalty": "taylor",
  },
  "jaxmix.policies.shift_power": {"lam": LAM},
  "jaxmix.theory.complexity.retentiveness": {"max_radius": np.float32(3.0)},
  "jaxmix.theory.directions.direction_coefficients": {"input_mean": VECTOR},
  "jaxmix.theory.directions.direction_signs": {"input_mean": VECTOR},
  "jaxmix.theory.dat.pair_losses": {"lam": LAM},
  "jaxmix.theory.optimal.mixup_optimal": {
    "points": X[::-1].copy(),
    "y": np.eye(3, dtype=np.float32)[Y],
  },
  "jaxmix.theory.radius.constant_radius": {"curvature": np.float32(0.25)},
  "jaxmix.theory.radius.radius_constants": {"logit_fn": binary},
  "jaxmix.theory.robustness.quadratic_adversarial_loss": {"logit_fn": binary},
  "jaxmix.theory.robustness.robustness_assumptions": {"logit_fn": binary},
  "jaxmix.theory.robustness.robustness_bound": {"logit_fn": binary},
}
# Of arguments that exclude each other, the second.
EXCLUDED = {"policy": ("alpha", "beta")}


def arguments(name, function, arrays):
  """Positional and keyword arguments of a call with all that has a value."""
  given, named = [], {}
  own = OWN.get(name, {})
  parameters = inspect.signature(function).parameters
  for parameter in parameters.values():
    required = parameter.default is parameter.empty
    excluded = EXCLUDED.get(parameter.name, ())
    if not required and any(other in parameters for other in excluded):
      continue
    if parameter.name not in own and parameter.name not in VALUES:
      assert not required, f"{name}: no value for {parameter.name}"
      continue
    value = own.get(parameter.name, VALUES.get(parameter.name))
    if isinstance(value, Made):
      value = value.maker(JAX if arrays is LISTS else arrays)
    elif not callable(value):
      value = arrays(value)
    if parameter.kind is parameter.KEYWORD_ONLY:
      named[parameter.name] = value
    else:
      given.append(value)
  return given, named


def settled(out, arrays):
  """What a call came to, as a tree of arrays."""
  if isinstance(out, policies.MixingPolicy):
    return out.sample(KEY, (4,)), out.mean_shift, out.quadrature(4)
  if isinstance(out, jaxmix.Penalty):
    return out.size(jnp.asarray(LAM)), np.array(out.input_mean)
  if isinstance(out, jaxmix.hidden.At):
    return out(0, X, None)[0]
  if callable(out) and not isinstance(out, jax.Array):
    pairs = "batch_size" in inspect.signature(out).parameters
    return out(KEY, 4, arrays(MASK)) if pairs else out(arrays(LAM))
  return out


def each(leaf_fn):
  """Maps the arrays of a value, and numbers of NumPy's."""
  is_array = lambda leaf: isinstance(leaf, (np.ndarray, np.generic))
  return lambda tree: jax.tree.map(
    lambda leaf: leaf_fn(leaf) if is_array(leaf) else leaf, tree
  )


WIDE = {"f": np.float64, "i": np.int64, "b": np.bool_}
JAX = each(jnp.asarray)
KINDS = {
  "32 bits": each(lambda leaf: leaf),
  # What NumPy makes of numbers by itself.
  "64 bits": each(lambda leaf: leaf.astype(WIDE[leaf.dtype.kind])),
}


def around(arrays):
  """`pairing.ring`, which takes replicas: one of them."""
  ring = pairing.ring("replica")
  mix = lambda x: jaxmix.mixup(
    KEY, x, arrays(Y), mask=arrays(MASK), pairing=ring
  )
  return jax.vmap(mix, axis_name="replica")(X[None])


METHODS = {
  "jaxmix.pairing.ring": around,
  "MixPlan.mix": lambda a: plan(a).mix({"x": a(X)}, partners={"x": a(X * 2)}),
  "MixPlan.mix, own": lambda a: plan(a).mix(a(X)),
  "MixPlan.targets": lambda a: plan(a).targets({"y": a(Y), "p": a(X)}),
  "CutMixPlan.mix": lambda a: pasting(a).mix(a(IMAGES)),
  "MaskPlan.mix": lambda a: masking(a).mix(a(IMAGES)),
  "CutMixPlan.targets": lambda a: pasting(a).targets(a(Y)),
  "MixedTargets.dense": lambda a: mixed(a).dense(2),
}


def call_of(name):
  """The call under a name, of the maker of its arrays."""
  if name in METHODS:
    return METHODS[name]
  function = FUNCTIONS[name]

  def call(arrays):
    given, named = arguments(name, function, arrays)
    return settled(function(*given, **named), arrays)

  return call


WALKED = [*METHODS, *(name for name in FUNCTIONS if name not in METHODS)]


def assert_same(found, expected):
  found, expected = jax.tree.leaves(found), jax.tree.leaves(expected)
  assert len(found) == len(expected) > 0 or not expected
  for one, other in zip(found, expected, strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("error")  # a 64-bit dtype that JAX does not have
@pytest.mark.parametrize("name", WALKED)
@pytest.mark.parametrize("kind", KINDS)
def test_numpy_arrays_give_what_jax_arrays_give(name, kind):
  call = call_of(name)
  expected = call(JAX)
  assert_same(call(KINDS[kind]), expected)
  # Where looked up by what is traced, NumPy arrays need a conversion first.
  traced = jax.jit(lambda: jax.tree.map(jnp.asarray, call(KINDS[kind])))
  assert_same(traced(), expected)


# Not in the attributes of plans, which are arrays.
LISTS = each(lambda leaf: leaf.tolist())
# These take whatever arithmetic takes.
UNCHECKED = {
  "jaxmix.holding.hold",
  "jaxmix.pairing.ring",
  "jaxmix.policies.shift_power",
  "jaxmix.taylor.derivatives",
}


@pytest.mark.parametrize("name", sorted(FUNCTIONS.keys() - UNCHECKED))
def test_lists_give_the_same_or_an_error_that_names_the_argument(name):
  call = call_of(name)
  try:
    found = call(LISTS)
  except (TypeError, ValueError) as error:
    names = [*inspect.signature(FUNCTIONS[name]).parameters, "partner"]
    assert any(str(error).startswith(one) for one in names), error
  else:
    assert_same(found, call(JAX))


PLAN = plan(JAX)
# Where integers, or another framework's tensors, come in: the argument's name,
# and a call of it.
DOORS = {
  "mixup": ("inputs", lambda x: jaxmix.mixup(KEY, x, Y)),
  "mix_batch": ("inputs", lambda x: jaxmix.mix_batch(KEY, x, Y, policy=POLICY)),
  "plan.mix": ("inputs", PLAN.mix),
  "mixupe_loss": (
    "x",
    lambda x: jaxmix.mixupe_loss(lambda x: x, x, Y, PLAN, eta=1.0),
  ),
}
UNMIXED = {
  "fgsm": ("inputs", lambda x: jaxmix.fgsm(lambda x: x, x, Y, epsilon=0.1)),
  "exact": (
    "x",
    lambda x: jaxmix.exact_directional_penalty(lambda x: x, x, Y),
  ),
  "theory": ("x", lambda x: jaxmix.theory.cosines(lambda x: x[:, 0], x)),
}


@pytest.mark.parametrize("door", DOORS)
def test_integers_are_not_mixed_and_the_error_says_what_is(door):
  name, call = DOORS[door]
  instead = "plan.targets.*jaxmix.cutmix.*embeddings"
  columns = X.astype(np.int32)
  with pytest.raises(TypeError, match=f"^{name} must be .*int32; .*{instead}"):
    call(columns)
  with pytest.raises(TypeError) as error:
    call({"a": X, "b": (X, columns)})
  assert f"got int32 in {name}['b'][1]; " in str(error.value)
  assert "255" not in str(error.value)  # class ids are no pixels
  with pytest.raises(TypeError, match=f"got bool; .*{instead}"):
    call(X > 0.0)
  pixels = np.ones((4, 3, 3, 1), np.uint8)
  with pytest.raises(TypeError) as error:
    call(pixels)
  assert f"convert pixels first, e.g. {name}.astype(" in str(error.value)
  assert "/ 255." in str(error.value) and "plan.targets" in str(error.value)


@pytest.mark.parametrize("door", UNMIXED)
def test_integers_elsewhere_are_to_be_converted(door):
  name, call = UNMIXED[door]
  with pytest.raises(TypeError) as error:
    call(X.astype(np.int32))
  assert f"convert it first, {name}.astype(jnp.float32)." in str(error.value)
  assert "cutmix" not in str(error.value)


LABELS = {
  "labels": ("labels", lambda y: jaxmix.mixup(KEY, X, y)),
  "mask": ("mask", lambda y: jaxmix.mixup(KEY, X, Y, mask=y)),
  "loss": ("labels", lambda y: jaxmix.losses.softmax_cross_entropy(X, y)),
  "penalty": ("labels", lambda y: jaxmix.directional_penalty(X, y)),
  "images": ("images", lambda x: jaxmix.cutmix(KEY, x, Y)),
}


@pytest.mark.parametrize("door", [*DOORS, *UNMIXED, *LABELS])
def test_tensorflows_tensors_are_named_with_their_remedy(door):
  tf = pytest.importorskip("tensorflow")
  name, call = (DOORS | UNMIXED | LABELS)[door]
  value = {"labels": Y, "loss": Y, "penalty": Y, "mask": MASK}.get(door, X)
  remedy = rf"^{name} must be .*got tensorflow\..*{name}\.numpy\(\)\.$"
  with pytest.raises(TypeError, match=remedy):
    call(tf.constant(value))


def test_torchs_tensors_are_named_with_their_remedy():
  torch = pytest.importorskip("torch")
  with pytest.raises(TypeError, match=r"got torch\..*\.cpu\(\)\.numpy\(\)\.$"):
    jaxmix.mixup(KEY, torch.tensor(X), Y)


def test_what_else_is_no_array_is_named():
  pandas = pytest.importorskip("pandas")
  for value, message in (
    (pandas.DataFrame(X), r"got pandas.DataFrame; .*inputs.to_numpy\(\)"),
    (np.array([["a"]] * 4), "got one of NumPy's of dtype <U1"),
    (X.astype(object), "got one of NumPy's of dtype object"),
    ("float32", "got builtins.str"),
    ([[1.0, 2.0], [3.0]], "inputs must be an array, got a list whose rows"),
  ):
    with pytest.raises((TypeError, ValueError), match=message):
      jaxmix.mixup(KEY, value, Y)
