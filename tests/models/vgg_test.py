"""Tests of jaxmix.models.vgg."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from jaxmix import models
from jaxmix.models import vgg
from jaxmix.models.vgg import VGG


def random(shape, seed=0):
  return jnp.asarray(
    np.random.default_rng(seed).normal(size=shape), jnp.float32
  )


def count(name, num_classes, side, **options):
  model = models.create(name, num_classes, **options)
  x = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
  v = jax.eval_shape(model.init, jax.random.key(0), x)
  return sum(leaf.size for leaf in jax.tree.leaves(v["params"]))


@pytest.mark.parametrize(
  ("name", "published", "biases"),
  [
    # torchvision's vgg11_bn and vgg13_bn, whose convolutions have biases, one a
    # channel, that batch norm takes away again.
    ("vgg11", 132_868_840, 64 + 128 + 2 * 256 + 4 * 512),
    ("vgg13", 133_053_736, 2 * (64 + 128 + 256 + 2 * 512)),
  ],
)
def test_published_sizes_for_imagenet(name, published, biases):
  form = {"pool_size": 7, "features": (4096, 4096)}
  assert count(name, 1000, 224, **form) == published - biases
  # Whatever the images' size.
  assert count(name, 1000, 64, **form) == published - biases


def reference(v, x, stage_sizes):
  """One image [H, W, C] in evaluation, by SciPy's correlations."""
  for stage, size in enumerate(stage_sizes):
    for index in range(size):
      name = f"stage{stage + 1}_block{index + 1}"
      params, stats = v["params"][name], v["batch_stats"][name]["norm"]
      kernel = np.array(params["conv"]["kernel"])
      maps = [
        sum(
          signal.correlate2d(x[..., c], kernel[..., c, k], mode="same")
          for c in range(x.shape[-1])
        )
        for k in range(kernel.shape[-1])
      ]
      x = np.stack(maps, -1) - np.array(stats["mean"])
      x = x / np.sqrt(np.array(stats["var"]) + 1e-5)
      x = x * np.array(params["norm"]["scale"])
      x = np.maximum(x + np.array(params["norm"]["bias"]), 0.0)
    rows, columns = x.shape[0] // 2, x.shape[1] // 2
    x = x[: 2 * rows, : 2 * columns]
    x = x.reshape(rows, 2, columns, 2, -1).max((1, 3))
  x = x.mean((0, 1))
  head = v["params"]["head"]
  return x @ np.array(head["kernel"]) + np.array(head["bias"])


@pytest.mark.parametrize("run", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_is_convolutions_norms_pooling_and_a_head(run):
  sizes = (1, 2)
  model = VGG(3, stage_sizes=sizes, width=2)
  x = random((2, 9, 6, 2))
  v = model.init(jax.random.key(0), x)
  v = jax.tree.map(lambda leaf: leaf + 0.2 * jnp.abs(random(leaf.shape)), v)
  expected = [reference(v, np.array(image), sizes) for image in x]
  assert np.std(expected) > 0.05
  np.testing.assert_allclose(run(model.apply)(v, x), expected, rtol=1e-3)


def test_widths_double_and_stay_at_eight_times_the_first():
  model = VGG(3, stage_sizes=(1,) * 6, width=2)
  x = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
  v = jax.eval_shape(model.init, jax.random.key(0), x)
  widths = [
    v["params"][f"stage{k}_block1"]["conv"]["kernel"].shape[-1]
    for k in range(1, 7)
  ]
  assert widths == [2, 4, 8, 16, 16, 16]


def test_adaptive_pooling_by_hand():
  # Rows 0-2, 2-4 of five; columns 0-1, 1-2 of three.
  x = jnp.arange(15.0).reshape(1, 5, 3, 1)
  found = vgg.adaptive_pool(x, 2)
  np.testing.assert_allclose(found[0, ..., 0], [[3.5, 4.5], [9.5, 10.5]])
  # Less than there are cells: they repeat.
  small = vgg.adaptive_pool(jnp.array([[[[2.0], [4.0]]]]), 4)
  np.testing.assert_allclose(small[0, ..., 0], [[2.0, 2.0, 4.0, 4.0]] * 4)
  one = vgg.adaptive_pool(x.astype(jnp.bfloat16), 1)
  assert one.shape == (1, 1, 1, 1) and one.dtype == jnp.float32
  np.testing.assert_allclose(one, 7.0)


def test_too_small_images_are_named():
  model = models.create("vgg11", 3, width=1)
  shape = jax.ShapeDtypeStruct((1, 32, 31, 1), jnp.float32)
  with pytest.raises(ValueError, match="at least 32 x 32 .*, got 32 x 31"):
    jax.eval_shape(model.init, jax.random.key(0), shape)


def test_places_are_called_in_order_with_their_features():
  model = VGG(3, stage_sizes=(1, 1), width=2, features=(6, 5), pool_size=2)
  seen = []

  def tap(place, x, parts):
    seen.append((model.stages[place], x.shape[1:]))
    return x, parts

  jax.eval_shape(
    lambda x: model.init(jax.random.key(0), x, tap=tap), random((1, 8, 9, 1))
  )
  assert seen == [
    ("input", (8, 9, 1)),
    ("stage1", (4, 4, 2)),
    ("stage2", (2, 2, 4)),
    ("dense1", (6,)),
    ("readout", (5,)),
  ]
