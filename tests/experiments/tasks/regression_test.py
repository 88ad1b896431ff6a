"""Regression: its loss by hand, tables of numbers, and methods upon it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import tasks, train
from experiments.configs import common, digits, tabular
from experiments.inputs import dataset, memory
from experiments.sweep import grid, table, training
import jaxmix

FLOAT = jax.ShapeDtypeStruct((), np.float32)
SPEC = dataset.Spec(
  jax.ShapeDtypeStruct((2,), np.float32), 0, 4, 4, None, label=FLOAT, unit=4.0
)


def create():
  config = tabular.get_config("task=regression,method=mixup")
  return tasks.create(common.resolve(config), SPEC)


def test_loss_and_measures_by_hand():
  task = create()
  outputs, labels = jnp.array([[1.0], [3.0], [9.0]]), jnp.array([2.0, 0.0, 0.0])
  np.testing.assert_allclose(task.loss_fn(outputs, labels), [0.5, 4.5, 40.5])
  mask = jnp.array([True, True, False])
  batch = {"inputs": outputs, "label": labels, "mask": mask}
  means = task.means(task.sums(lambda inputs: inputs, batch), 2.0)
  # Distances 1 and 3, of which a unit is 4.
  assert means["loss"] == pytest.approx(2.5)
  assert means["rmse"] == pytest.approx(4.0 * np.sqrt(5.0))
  assert means["mae"] == pytest.approx(8.0)
  assert task.num_outputs == 1


def test_mixed_losses_have_the_gradient_of_mixed_labels():
  """They differ by lam (1 - lam) (y - y')^2 / 2, which is no function of f."""
  task = create()
  y, other, lam = jnp.array([1.0]), jnp.array([-2.0]), jnp.array([0.25])
  targets = jaxmix.MixedTargets(y, other, lam)
  of_losses = lambda f: jaxmix.mixed_loss(task.loss_fn, f, targets)[0]
  of_labels = lambda f: task.loss_fn(f, lam * y + (1.0 - lam) * other)[0]
  for f in (jnp.array([[0.5]]), jnp.array([[-3.0]])):
    apart = of_losses(f) - of_labels(f)
    np.testing.assert_allclose(apart, 0.25 * 0.75 * 9.0 / 2.0, rtol=1e-6)
    np.testing.assert_allclose(
      jax.grad(of_losses)(f), jax.grad(of_labels)(f), rtol=1e-6
    )


def test_the_penalty_by_hand():
  """qbar = (y - f) f, the residual of h(f) = f^2 / 2."""
  task = create()
  plan = jaxmix.MixPlan(
    jnp.ones(2), jnp.ones(2), jnp.array([1, 0]), mean_shift=0.5
  )
  x, y = jnp.array([[1.0], [2.0]]), jnp.array([3.0, 0.5])
  _, aux = jaxmix.mixupe_loss(
    lambda x: 2.0 * x, x, y, plan, eta=1.0, loss_fn=task.loss_fn
  )
  # f = 2, 4: |(3 - 2) 2| and |(0.5 - 4) 4|, half their mean.
  np.testing.assert_allclose(aux.penalty, 0.25 * (2.0 + 14.0), rtol=1e-6)


@pytest.fixture
def folder(tmp_path):
  """y = 10 + 5 a - 3 b, in a table of 80 rows."""
  rng = np.random.default_rng(1)
  rows = rng.normal(size=(80, 2))
  lines = ["a,b,y"]
  lines += [f"{a:.5f},{b:.5f},{10 + 5 * a - 3 * b:.5f}" for a, b in rows]
  (tmp_path / "plane.csv").write_text("\n".join(lines))
  return tmp_path


def config_of(folder, text=""):
  config = tabular.get_config(
    f"dataset=csv:plane.csv,target=y,task=regression,epochs=40.0{text}"
  )
  config.data_dir = str(folder)
  config.model_options.features = (16,)
  config.batch_size = config.eval_batch_size = 16
  config.learning_rate, config.eval_every_epochs = 0.02, 40.0
  config.polyak_rate = 0.0
  return config


def test_tables_of_numbers_are_in_one_unit_whatever_the_split(folder):
  loaded = []
  for seed in (0, 1):
    config = common.resolve(config_of(folder, f",seed={seed},method=erm"))
    arrays, spec = memory.load(config)
    parts = arrays.train_labels, arrays.eval_labels, arrays.test_labels
    whole = np.concatenate(parts)
    assert [len(part) for part in parts] == [48, 16, 16]
    assert whole.dtype == np.float32 and spec.label == FLOAT
    np.testing.assert_allclose([whole.mean(), whole.std()], [0, 1], atol=1e-6)
    assert abs(arrays.test_labels.mean()) < 0.2  # of all ranks, in every part
    loaded.append((spec, arrays.test_labels))
  assert loaded[0][0] == loaded[1][0] and 4.0 < loaded[0][0].unit < 8.0
  assert not np.array_equal(loaded[0][1], loaded[1][1])


def test_methods_are_trained_and_chosen_by_rmse(folder, tmp_path):
  grids = [
    "method=mixup;alpha=0.5;pairing=by_label;pairing_bandwidth=0.5;seed=0..1",
    "method=mixupe;alpha=0.5;eta=0.1;seed=0..1",
  ]
  base = config_of(folder)
  found = training.run(grid.points(grids, base), base, tmp_path / "runs")
  assert len(found) == 4
  _, spec = memory.load(common.resolve(base))
  for result in found:
    assert (
      0.0 < result["test"]["mae"] < result["test"]["rmse"] < 0.7 * spec.unit
    )
  told = table.markdown(found)
  assert "| validation RMSE | test RMSE |" in told
  assert f"{np.mean([r['test']['rmse'] for r in found[:2]]):.2f}" in told


def test_it_trains_alone_and_says_its_error(folder, tmp_path):
  config = config_of(folder, ",method=erm")
  result = train.train_and_evaluate(config, tmp_path / "alone")
  assert result["rmse"] < 3.0 and result["loss"] < 0.2


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("label_smoothing=0.1", "label_smoothing does not apply to task='regr"),
    ("loss=logistic", "loss does not apply to task='regr"),
    ("temperature_scaling=True", "temperature_scaling does not apply"),
    ("fgsm_epsilon=0.1", "fgsm_epsilon does not apply"),
  ],
)
def test_what_is_of_classes_is_refused(text, message):
  with pytest.raises(ValueError, match=message):
    common.resolve(tabular.get_config(f"task=regression,{text}"))


def test_classes_are_no_numbers(folder):
  config = digits.get_config(
    "task=regression,fgsm_epsilon=0.0,method=erm,batch_size=96"
  )
  with pytest.raises(
    ValueError, match="needs labels that are numbers, .*int32"
  ):
    train.build(common.resolve(config))
  text = (folder / "plane.csv").read_text()
  (folder / "plane.csv").write_text(text + "\n1,2,much")
  with pytest.raises(
    ValueError, match="line 82: .*'y' must be a finite number .* got 'much'"
  ):
    memory.load(common.resolve(config_of(folder)))
  (folder / "plane.csv").write_text("a,b,y\n" + "1,2,3\n" * 9)
  with pytest.raises(ValueError, match="'y' must have two values or more"):
    memory.load(common.resolve(config_of(folder)))
