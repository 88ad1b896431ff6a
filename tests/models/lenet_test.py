"""Tests of jaxmix.models.lenet."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from jaxmix.models.lenet import LeNet


def random(shape, seed=0):
  return jnp.asarray(
    np.random.default_rng(seed).normal(size=shape), jnp.float32
  )


def shapes(model, *image):
  x = jax.ShapeDtypeStruct((2, *image), jnp.float32)
  return jax.eval_shape(model.init, jax.random.key(0), x)["params"]


def count(tree):
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


def reference(params, x):
  """One image [H, W, C], by SciPy's correlations."""
  for name in ("conv1", "conv2"):
    kernel, bias = (np.array(params[name][k]) for k in ("kernel", "bias"))
    maps = [
      bias[k]
      + sum(
        signal.correlate2d(x[..., c], kernel[..., c, k], mode="valid")
        for c in range(x.shape[-1])
      )
      for k in range(len(bias))
    ]
    x = np.maximum(np.stack(maps, -1), 0.0)
    rows, columns = x.shape[0] // 2, x.shape[1] // 2
    x = x[: 2 * rows, : 2 * columns]
    x = x.reshape(rows, 2, columns, 2, -1).max((1, 3))
  x = x.ravel()
  for name in ("dense1", "head"):
    x = x @ np.array(params[name]["kernel"]) + np.array(params[name]["bias"])
    x = np.maximum(x, 0.0) if name == "dense1" else x
  return x


@pytest.mark.parametrize("run", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_is_convolutions_pooling_and_dense_layers(run):
  model = LeNet(3, widths=(2, 3), features=(4,))
  x = random((2, 19, 17, 2))
  v = model.init(jax.random.key(0), x)
  v = jax.tree.map(lambda leaf: leaf + 0.1 * random(leaf.shape, 1), v)
  logits = run(model.apply)(v, x)
  expected = [reference(v["params"], np.array(image)) for image in x]
  assert np.std(expected) > 0.05
  np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-4)


def test_published_sizes():
  # LeNet-5, and the form that Caffe trains on MNIST.
  five = LeNet(10, widths=(6, 16), features=(120, 84))
  assert count(shapes(five, 32, 32, 1)) == 61_706
  caffe = LeNet(10, widths=(20, 50), features=(500,))
  assert count(shapes(caffe, 28, 28, 1)) == 431_080


def test_spectrograms_of_160_and_161_frequencies_have_one_size():
  for height in (160, 161):
    found = shapes(LeNet(30), height, 101, 1)
    assert found["dense1"]["kernel"].shape == (37 * 22 * 20, 1000)
    assert count(found) == 16_321_570


def test_too_small_images_are_named():
  x = jnp.ones((1, 16, 16, 1))
  model = LeNet(2, widths=(1, 1), features=())
  assert model.init_with_output(jax.random.key(0), x)[0].shape == (1, 2)
  with pytest.raises(ValueError, match="at least 16 x 16 .*, got 15 x 16"):
    model.init(jax.random.key(0), x[:, :15])


def test_places_are_called_in_order_with_their_features():
  model = LeNet(3, widths=(2, 3), features=(5, 4))
  seen = []

  def tap(place, x, parts):
    seen.append((model.stages[place], x.shape[1:]))
    return x, parts

  x = random((1, 16, 16, 1))
  model.init(jax.random.key(0), x, tap=tap)
  assert seen == [
    ("input", (16, 16, 1)),
    ("conv1", (6, 6, 2)),
    ("conv2", (1, 1, 3)),
    ("dense1", (5,)),
    ("readout", (4,)),
  ]
