"""The theory's monitor: its numbers, and that replicas change nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import inputs, parallel, steps
from experiments.configs import common, digits
from experiments.train import train_and_evaluate
from experiments.workdir import metrics
from jaxmix import models, policies, theory

EXACT = {
  "theory_r1",
  "theory_r2",
  "theory_r3",
  "theory_radius",
  "theory_mean_radius",
  "theory_min_coefficient",
  "theory_negative_coefficients",
}
ERRORS = {"theory_r2_error", "theory_r3_error"}
NAMES = EXACT - {"theory_min_coefficient"} | ERRORS


def make_config(arg="method=mixup", **changes):
  config = digits.get_config(arg)
  config.model = "mlp"
  config.model_options = {"features": (8,)}
  config.monitor = "theory"
  config.monitor_examples = 11
  config.batch_size = config.eval_batch_size = 64
  config.update(changes)
  return common.resolve(config)


@pytest.fixture(scope="module")
def watched():
  """A mapped program's values after initialisation, and what they are of."""
  config = make_config()
  dataset = inputs.create(config)
  mapped = parallel.create("pmap", steps.create(config, dataset.spec))
  state = mapped.init(jax.random.key(0))
  batch = next(dataset.evaluate())
  return config, dataset, state, mapped.monitor(state, mapped.place_one(batch))


@pytest.fixture(scope="module")
def data(watched):
  """What the theory's functions take, of the same examples."""
  config, dataset, state, _ = watched
  batch = next(dataset.evaluate())
  images = np.asarray(dataset.spec.scale.to_float(batch["inputs"][:11]))
  centre = images.mean(axis=0, keepdims=True)
  model = models.create("mlp", 10, **config.model_options)
  apply = lambda z: model.apply({"params": state.params}, z + centre)
  return apply, jnp.asarray(images - centre, jnp.float32), batch["label"][:11]


def check(values, terms, data, alpha):
  radius = theory.mixup_radius(*data, alpha=alpha)
  alpha = theory.direction_coefficients(*data)
  expected = {
    "theory_r1": terms.r1,
    "theory_r2": terms.r2,
    "theory_r3": terms.r3,
    "theory_radius": radius.uniform,
    "theory_mean_radius": radius.per_example.mean(),
    "theory_negative_coefficients": (alpha < 0).mean(),
  }
  if "theory_min_coefficient" in values:
    expected["theory_min_coefficient"] = alpha.min()
  for name, value in expected.items():
    np.testing.assert_allclose(
      values[name], value, rtol=1e-3, atol=1e-6, err_msg=name
    )
  assert values["theory_r2"] > 0.0  # a square, whatever the network


def test_the_values_are_the_theorys(watched, data):
  config, dataset, state, values = watched
  assert values.keys() == NAMES
  found = theory.probed_regularizers(
    jax.random.key(0), *data, alpha=config.alpha
  )
  check(values, found.value, data, config.alpha)
  error = values["theory_r2_error"]
  np.testing.assert_allclose(error, found.error.r2, rtol=1e-3)
  # A ReLU network does not bend: there is no R3, nor an error of it.
  assert error > 0.0 == values["theory_r3_error"] == found.error.r3


def test_without_probes_they_are_exact(watched, data):
  config, dataset, state, values = watched
  config = make_config(monitor_probes=0)
  own = steps.create(config, dataset.spec)
  batch = jax.tree.map(lambda x: x[None], next(dataset.evaluate()))
  run = jax.jit(jax.vmap(own.monitor, (None, 0), axis_name=steps.AXIS))
  exact = jax.tree.map(lambda x: x[0], run(state, batch))
  assert exact.keys() == EXACT
  terms = theory.regularizers(*data, alpha=config.alpha)
  check(exact, terms, data, config.alpha)
  off = abs(values["theory_r2"] - exact["theory_r2"])
  assert 0.0 < off < 5.0 * values["theory_r2_error"]


def test_of_many_classes_the_share_alone_is_told(watched):
  _, dataset, _, _ = watched
  spec = dataset.spec._replace(num_classes=101)
  batch = jax.tree.map(lambda x: x[None], next(dataset.evaluate()))
  coefficients = {"theory_min_coefficient", "theory_negative_coefficients"}
  for probes, names in ((2, NAMES), (0, EXACT - coefficients)):
    own = steps.create(make_config(monitor_probes=probes), spec)
    state = jax.eval_shape(own.init, jax.random.key(0))
    run = jax.vmap(own.monitor, (None, 0), axis_name=steps.AXIS)
    assert jax.eval_shape(run, state, batch).keys() == names


def test_one_replica_gives_the_same(watched):
  config, dataset, state, values = watched
  own = steps.create(config, dataset.spec)
  batch = jax.tree.map(lambda x: x[None], next(dataset.evaluate()))
  alone = jax.jit(jax.vmap(own.monitor, (None, 0), axis_name=steps.AXIS))
  for name, value in alone(state, batch).items():
    np.testing.assert_allclose(
      value[0], values[name], rtol=1e-3, atol=1e-6, err_msg=name
    )


def test_padding_is_passed_over(watched):
  config, dataset, state, values = watched
  mapped = parallel.create("pmap", steps.create(config, dataset.spec))
  batch = next(dataset.evaluate())
  rows = np.r_[:5, -3:0, 5 : len(batch["mask"]) - 3]  # three rows moved forward
  moved = jax.tree.map(lambda x: x[rows], batch)
  moved["mask"] = np.ones_like(moved["mask"])
  moved["mask"][5:8] = False
  again = mapped.monitor(state, mapped.place_one(moved))
  np.testing.assert_allclose(again["theory_r2"], values["theory_r2"], rtol=1e-4)


@pytest.mark.parametrize(
  "method, policy",
  [
    ("erm", policies.mixup(1.0)),  # what Mixup would do to it
    ("dat", policies.dat(2.0, 1.0)),
  ],
)
def test_the_law_is_the_methods(watched, method, policy):
  config, dataset, state, _ = watched
  config = make_config(
    f"method={method}", alpha=1.0 + (method == "dat"), beta=1.0
  )
  mapped = parallel.create("pmap", steps.create(config, dataset.spec))
  batch = mapped.place_one(next(dataset.evaluate()))
  found = mapped.monitor(state, batch)
  plain = make_config(alpha=0.2, beta=0.2)
  other = parallel.create("pmap", steps.create(plain, dataset.spec))
  base = other.monitor(state, batch)
  for name, j in (("theory_r1", 1), ("theory_r2", 2)):
    moments = [
      theory.shift_moments(p, 2)[j] for p in (policy, policies.mixup(0.2))
    ]
    np.testing.assert_allclose(
      found[name] / base[name], moments[0] / moments[1], rtol=1e-3
    )


def test_a_runs_evaluation_lines_hold_it(tmp_path):
  config = make_config(
    total_steps=4, eval_every=2, checkpoint_every=2, log_every=2, warmup_steps=0
  )
  last = train_and_evaluate(config, tmp_path)
  lines = metrics.evaluations(tmp_path)
  assert [line["step"] for line in lines] == [2, 4]
  for line in lines:
    assert NAMES < line.keys()
    assert all(np.isfinite(line[name]) for name in NAMES)
  assert last["theory_r1"] == lines[-1]["theory_r1"]
  assert lines[0]["theory_r2"] != lines[1]["theory_r2"]
  off = make_config(total_steps=2, eval_every=2, warmup_steps=0, monitor="")
  assert not NAMES & train_and_evaluate(off, tmp_path / "off").keys()


def test_errors():
  with pytest.raises(
    ValueError, match="monitor must be one of '', theory, got"
  ):
    make_config(monitor="everything")
  with pytest.raises(ValueError, match="monitor_examples must be an integer"):
    make_config(monitor_examples=0)
  with pytest.raises(ValueError, match="monitor_probes must be at least 2, wh"):
    make_config(monitor_probes=1)
  with pytest.raises(ValueError, match="does not apply to method='cutmix'"):
    make_config("method=cutmix")
