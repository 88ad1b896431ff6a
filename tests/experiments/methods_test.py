"""Methods by name: RegMixup's loss by hand, pairings, and all in one sweep."""

import functools
import subprocess
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import methods, steps, tasks
from experiments.configs import common, digits
from experiments.inputs import dataset
from experiments.methods import Setting, mixing
from experiments.sweep import results
import jaxmix
from jaxmix.models.norm import BatchNorm
from tests import quick

X = jnp.array([[0.5, -1.0], [2.0, 0.25], [-1.5, 1.0], [0.25, 0.75]])
Y = jnp.array([0, 1, 1, 0])
W = jnp.array([[0.5, -0.25], [0.75, 0.5]])
LAM = jnp.array([0.75, 0.5, 1.0, 0.25])
PARTNER = jnp.array([1, 2, 3, 0])
PLAN = jaxmix.MixPlan(LAM, LAM, PARTNER, mean_shift=jnp.float32(0.5))
SPEC = dataset.Spec(jax.ShapeDtypeStruct((2,), np.float32), 2, 4, 4, scale=None)


def setting_of(**changes):
  config = digits.get_config()
  config.update({"method": "regmixup", "fgsm_epsilon": 0.0, **changes})
  config = common.resolve(config)
  task = tasks.create(config, SPEC._replace(scale=_NO_BOUNDS))
  return Setting(config, task, steps.AXIS, False, (0,))


class _Scale:
  bounds = None


_NO_BOUNDS = _Scale()


def gradient(setting, apply_fn, params, batch, plan, eta):
  """(state, metrics), gradient of one replica."""
  call = functools.partial(
    mixing.mixed_gradient,
    *(setting, mixing.regmixup_loss, {"eta": jnp.float32(eta)}),
    jax.random.key(0),
    apply_fn,
    params,
  )
  one = jax.vmap(call, axis_name=setting.axis_name)
  outcome, grads = one(*jax.tree.map(lambda x: x[None], (batch, plan)))
  return jax.tree.map(lambda x: x[0], (tuple(outcome), grads))


def linear(w, x, state=None, parts=None, mask=None):
  del state, parts, mask
  return x @ w, {}


def cross_entropy(w, x, y):
  logits = np.asarray(x, np.float64) @ np.asarray(w, np.float64)
  shifted = np.log(np.exp(logits).sum(-1))
  return shifted - logits[np.arange(len(y)), np.asarray(y)]


@pytest.mark.parametrize("clean_pass", ["split", "joint", "separate"])
@pytest.mark.parametrize(
  "mask", [None, [True, True, False, True]], ids=["all", "masked"]
)
def test_regmixup_by_hand(clean_pass, mask):
  """Clean loss + eta mixed loss, in NumPy, and its gradient by differences."""
  setting = setting_of(clean_pass=clean_pass)
  batch, plan = {"inputs": X, "label": Y}, PLAN
  if mask is not None:
    batch["mask"] = jnp.array(mask)
    plan = PLAN.replace(mask=batch["mask"])
  real = np.array(mask or [True] * 4)
  mixed_x = LAM[:, None] * X + (1.0 - LAM[:, None]) * X[PARTNER]

  def expected(w):
    mixed = LAM * cross_entropy(w, mixed_x, Y)
    mixed += (1.0 - LAM) * cross_entropy(w, mixed_x, Y[PARTNER])
    return cross_entropy(w, X, Y)[real].mean(), np.asarray(mixed)[real].mean()

  (_, metrics), grads = gradient(setting, linear, W, batch, plan, 2.5)
  clean, mixed = expected(W)
  np.testing.assert_allclose(metrics["clean_loss"], clean, rtol=1e-5)
  np.testing.assert_allclose(metrics["mixup_loss"], mixed, rtol=1e-5)
  np.testing.assert_allclose(metrics["loss"], clean + 2.5 * mixed, rtol=1e-5)
  total = lambda w: np.dot(expected(w), [1.0, 2.5])
  for at in np.ndindex(W.shape):
    slope = (total(W.at[at].add(1e-2)) - total(W.at[at].add(-1e-2))) / 2e-2
    np.testing.assert_allclose(grads[at], slope, rtol=1e-3, atol=1e-3)


def test_regmixups_parts_keep_their_own_statistics():
  """By split, batch norm sees the mixed and the clean examples apart."""

  class Net(nn.Module):
    @nn.compact
    def __call__(self, x, parts=None):
      x = BatchNorm(False, axis_name=steps.AXIS)(x, parts=parts)
      return nn.Dense(2)(x)

  x = X.at[:, 0].multiply(10.0)  # mixing shrinks its variance
  net, losses = Net(), {}
  variables = jax.vmap(
    lambda x: net.init(jax.random.key(0), x), axis_name=steps.AXIS
  )(x[None])
  variables = jax.tree.map(lambda leaf: leaf[0], variables)

  def apply_fn(params, inputs, state=None, parts=None, mask=None):
    del mask
    held = variables["batch_stats"] if state is None else state
    outputs, updated = net.apply(
      {"params": params, "batch_stats": held},
      inputs,
      parts=parts,
      mutable=["batch_stats"],
    )
    return outputs, updated["batch_stats"]

  for clean_pass in ("split", "joint", "separate"):
    setting = setting_of(clean_pass=clean_pass)
    batch = {"inputs": x, "label": Y}
    (_, metrics), grads = gradient(
      setting, apply_fn, variables["params"], batch, PLAN, 1.0
    )
    losses[clean_pass] = (float(metrics["clean_loss"]), grads)
  assert losses["split"][0] == pytest.approx(losses["separate"][0], rel=1e-5)
  assert losses["split"][0] != pytest.approx(losses["joint"][0], rel=1e-3)
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5),
    losses["split"][1],
    losses["separate"][1],
  )


def test_regmixups_eta_is_no_penaltys():
  config = digits.get_config("method=regmixup,eta=0.5,alpha=2.0")
  config = common.resolve(config)
  assert config.eta == 0.5 and not methods.is_enhanced(config)
  own = common.resolve(digits.get_config("method=regmixup"))
  assert (own.alpha, own.beta, own.eta) == (10.0, 10.0, 1.0)


@pytest.mark.parametrize(
  "argument",
  [
    "penalty=exact",
    "penalty_at=mixed",
    "eta_scale=relative",
    "clean_fraction=0.5",
  ],
)
def test_regmixup_refuses_what_is_the_penaltys(argument):
  key = argument.partition("=")[0]
  config = digits.get_config(f"method=regmixup,{argument}")
  with pytest.raises(ValueError, match=f"{key} does not apply to method='reg"):
    common.resolve(config)


@pytest.mark.parametrize(
  ("changes", "expected"),
  [
    # All in one block of their own: everyone is matched with themselves.
    ({"pairing": "optimal", "pairing_block": 4}, [0, 1, 2, 3]),
    # Labels 0, 1, 1, 0 far apart in units of the bandwidth.
    ({"pairing": "by_label", "pairing_bandwidth": 0.01}, None),
  ],
  ids=["optimal", "by_label"],
)
def test_pairings_by_what_examples_hold(changes, expected):
  setting = setting_of(method="mixup", **changes)
  pairing = mixing.make_pairing(setting, {"inputs": X, "label": Y})
  for seed in range(3):
    index = pairing(jax.random.key(seed), 4, None).index
    if expected is None:
      np.testing.assert_array_equal(Y[index], Y)
    else:
      np.testing.assert_array_equal(index, expected)


# One setting of each method of the league, by the keys that make it.
LEAGUE = {
  "erm": "method=erm",
  "label smoothing": "method=erm;label_smoothing=0.1",
  "weight decay": "method=erm;weight_decay=0.001",
  "mixup": "method=mixup;alpha=0.5",
  "approximate": "method=mixupe;alpha=0.5;eta=0.5",
  "exact": "method=mixupe;alpha=0.5;eta=0.5;penalty=exact",
  "mixed points": "method=mixupe;alpha=0.5;eta=0.5;penalty_at=mixed",
  "order 2": "method=mixupe;alpha=0.5;eta=0.5;penalty=taylor",
  "relative": "method=mixupe;alpha=0.5;eta=0.5;eta_scale=relative",
  "penalty alone": "method=erm;alpha=0.5;eta=0.5",
  "untied": "method=untied;alpha=1.5;beta=0.5",
  "dat": "method=dat;alpha=1.5;beta=0.5",
  "regmixup": "method=regmixup;alpha=0.5;eta=0.5",
  "manifold": "method=mixup;alpha=0.5;mix_at=random",
  "k-mixup": "method=mixup;alpha=0.5;pairing=optimal;pairing_block=4",
  "by label": "method=mixup;alpha=0.5;pairing=by_label",
}


def test_every_method_trains_side_by_side_on_a_table(tmp_path):
  """By the command, two seeds each; no two methods come out the same."""
  rng = np.random.default_rng(0)
  values = rng.normal(size=(60, 3))
  classes = (values[:, 0] + 0.5 * values[:, 1] > 0).astype(int)
  lines = ["a,b,c,kind"]
  lines += [
    f"{a:.4f},{b:.4f},{c:.4f},{'no' if k else 'yes'}"
    for (a, b, c), k in zip(values, classes, strict=True)
  ]
  (tmp_path / "table.csv").write_text("\n".join(lines))
  config = (
    f"experiments/configs/tabular.py:dataset=csv:{tmp_path / 'table.csv'},"
    "target=kind,epochs=4.0,eval_every_epochs=4.0,model_options.features=(6,),"
    "batch_size=12,eval_batch_size=12,polyak_rate=0.0"
  )
  subprocess.run(
    [
      *(sys.executable, "-m", "experiments.sweep", f"--config={config}"),
      *(f"--grid={text};seed=0..1" for text in LEAGUE.values()),
      f"--workdir={tmp_path / 'runs'}",
    ],
    env=quick.environment(),
    check=True,
    capture_output=True,
  )
  found = results.read(tmp_path / "runs" / "results.jsonl")
  assert len(found) == 2 * len(LEAGUE)
  assert not any("diverged_at" in result for result in found)
  for seed in (0, 1):
    own = [r["test"]["loss"] for r in found if r["seed"] == seed]
    assert len(set(np.round(own, 5))) == len(LEAGUE), own
