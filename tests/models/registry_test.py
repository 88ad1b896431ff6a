"""Tests of jaxmix.models and its registry: names, options, sizes, costs."""

import jax
import jax.numpy as jnp
import pytest

from benchmarks import operations
from jaxmix import models

NAMES = (
  "coatnet0",
  "coatnet0_tiny",
  "coatnet1",
  "coatnet2",
  "coatnet3",
  "gin",
  "lenet",
  "mlp",
  "preact_resnet101",
  "preact_resnet18",
  "preact_resnet34",
  "preact_resnet50",
  "resnet18_cifar",
  "resnet20",
  "resnet50",
  "resnet50_tiny",
  "resnet8",
  "vgg11",
  "vgg13",
  "vit_b16",
  "vit_b16_tiny",
  "wrn_16_8",
  "wrn_28_10",
)
LARGER_COATNETS = ("coatnet1", "coatnet2", "coatnet3")
# The code of smaller ones, which take long to trace.
DEEPER = (
  *("preact_resnet34", "preact_resnet50", "preact_resnet101"),
  *("resnet18_cifar", "wrn_28_10"),
)
SIZE_OPTIONS = {
  "ResNet": {"stage_sizes", "width"},
  "VisionTransformer": {
    "patch_size",
    "hidden_size",
    "depth",
    "num_heads",
    "mlp_dim",
  },
  "CoAtNet": {"stage_sizes", "widths", "head_dim"},
}


def images(size, batch=1, dtype=jnp.float32):
  return jax.ShapeDtypeStruct((batch, size, size, 3), dtype)


def graphs(batch=1):
  count = jax.ShapeDtypeStruct((batch,), jnp.int32)
  nodes = jax.ShapeDtypeStruct((batch, 28), jnp.int16)
  edges = jax.ShapeDtypeStruct((batch, 66, 2), jnp.int16)
  return models.Graphs(nodes, edges, count, count, num_labels=7)


def shapes(model, x):
  return jax.eval_shape(model.init, jax.random.key(0), x)


def count(tree):
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


def macs_per_image(model, size):
  v = shapes(model, images(size))
  of_batch = lambda batch: operations.multiply_adds(
    jax.make_jaxpr(model.apply)(v, images(size, batch))
  )
  # What a batch of two adds: CoAtNet's biases are laid out once a batch.
  return of_batch(2) - of_batch(1)


def test_names():
  assert models.names() == NAMES


@pytest.mark.parametrize(
  ("name", "size", "num_classes", "params", "stats", "cost"),
  [
    # 4.1 G at the stride on the 3 x 3; on the 1 x 1 it would be 3.9 G.
    ("resnet50", 224, 1000, 25_557_032, 53_120, 4_089_184_256),
    ("vit_b16", 224, 1000, 86_567_656, 0, 17_563_828_224),
    # Table 4 of the CoAtNet paper: 25, 42, 75 and 168 M; 4.2, 8.4, 15.7 and
    # 34.7 G.
    ("coatnet0", 224, 1000, 25_036_884, 13_696, 4_141_888_512),
    ("coatnet1", 224, 1000, 42_225_840, 24_064, 8_238_879_744),
    ("coatnet2", 224, 1000, 74_701_384, 32_256, 15_553_671_168),
    ("coatnet3", 224, 1000, 167_003_512, 48_384, 34_487_863_296),
    # 0.27 M in table 6 of the ResNet paper; worked by hand.
    ("resnet20", 32, 10, 272_474, 1_568, 40_813_184),
    ("resnet8", 32, 10, 78_042, 672, 12_501_632),
    # Of github.com/kuangliu/pytorch-cifar: no norm after the last block, which
    # has 1,024 parameters in PreActResNet-18.
    ("resnet18_cifar", 32, 10, 11_173_962, 9_600, 555_422_720),
    ("preact_resnet18", 32, 10, 11_171_146, 6_784, 555_422_720),
    ("preact_resnet34", 32, 10, 21_279_306, 14_208, 1_159_402_496),
    ("preact_resnet50", 32, 10, 23_509_066, 41_344, 1_297_829_888),
    ("preact_resnet101", 32, 10, 42_501_194, 93_568, 2_509_983_744),
    # 36.5 M and 5.2 G, 11.0 M in the Wide ResNet paper; no biases under norms.
    ("wrn_28_10", 32, 10, 36_479_194, 17_952, 5_243_328_768),
    ("wrn_16_8", 32, 10, 10_961_370, 7_200, 1_548_145_664),
    ("mlp", 8, 10, 42_506, 0, 42_240),
    # Of 32 x 32: 28, 14, 10, 5 a side; worked by hand.
    ("lenet", 32, 10, 522_550, 0, 2_686_000),
    # 9,231,114 and 9,416,010 where convolutions have biases under the norm.
    ("vgg11", 32, 10, 9_231_114 - 2_752, 5_504, 152_769_536),
    ("vgg13", 32, 10, 9_416_010 - 2_944, 5_888, 228_267_008),
  ],
)
def test_sizes_and_costs(name, size, num_classes, params, stats, cost):
  model = models.create(name, num_classes)
  v = shapes(model, images(size))
  assert count(v["params"]) == params
  assert count(v.get("batch_stats", {})) == stats
  assert macs_per_image(model, size) == cost


def test_the_size_of_gin():
  """Four updates of 64 and 64, the first of 7 labels; 263 sums, 64, 2."""
  v = shapes(models.create("gin", 2), graphs())
  updates = 7 * 64 + 7 * 64 * 64 + 8 * 2 * 64
  assert count(v["params"]) == updates + 264 * 64 + 65 * 2
  assert count(v["batch_stats"]) == 8 * 2 * 64


# The larger ones are the smaller ones' code, and take long to trace.
@pytest.mark.parametrize(
  "name", [name for name in NAMES if name not in LARGER_COATNETS + DEEPER]
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("train", [False, True])
def test_every_model_is_called_alike(name, dtype, train):
  model = models.create(name, 7, dtype=dtype, axis_name="batch")
  x = graphs(batch=4) if name == "gin" else images(32, batch=4)
  v = shapes(model, x)
  assert {leaf.dtype for leaf in jax.tree.leaves(v)} == {jnp.dtype("float32")}
  # Wide inputs and outputs, and the compute dtype between them.
  jaxpr, (logits, after) = jax.make_jaxpr(
    lambda v, x, key: model.apply(
      v,
      x,
      train=train,
      parts=(3, 1),
      rngs={"dropout": key},
      mutable=["batch_stats"],
    ),
    axis_env=[("batch", 8)],
    return_shape=True,
  )(v, x, jax.random.key(0))
  assert logits.shape == (4, 7)
  assert logits.dtype == jnp.float32
  assert jax.tree.structure(after) == jax.tree.structure(
    {key: v[key] for key in ("batch_stats",) if key in v}
  )
  products = [
    equation.invars[0].aval.dtype
    for equation in jaxpr.jaxpr.eqns
    if equation.primitive.name in ("conv_general_dilated", "dot_general")
    and max(variable.aval.size for variable in equation.invars) > 7 * 4 * 4
  ]
  assert products[0] == jnp.dtype(dtype)
  assert products[-1] == jnp.float32  # The head.


@pytest.mark.parametrize("name", ["resnet50", "vit_b16", "coatnet0"])
def test_tiny_models_differ_only_in_size(name):
  big, tiny = models.create(name, 10), models.create(f"{name}_tiny", 10)
  assert type(big) is type(tiny)
  options = {key for key in vars(big) if not key.startswith("_")}
  differ = {key for key in options if getattr(big, key) != getattr(tiny, key)}
  assert differ <= SIZE_OPTIONS[type(big).__name__]
  # The same kinds of parameters: every code path of the big one is taken.
  kinds = lambda model: {
    jax.tree_util.keystr(path[1:])
    for path, _ in jax.tree_util.tree_leaves_with_path(
      shapes(model, images(64))["params"]
    )
    if len(path) > 2
  }
  assert kinds(big) == kinds(tiny)
  assert count(shapes(tiny, images(64))["params"]) < 150_000


@pytest.mark.parametrize("name", LARGER_COATNETS)
def test_larger_coatnets_differ_only_in_size(name):
  small, large = models.create("coatnet0", 10), models.create(name, 10)
  options = {key for key in vars(small) if not key.startswith("_")}
  differ = {
    key for key in options if getattr(small, key) != getattr(large, key)
  }
  assert "stage_sizes" in differ
  assert differ <= SIZE_OPTIONS["CoAtNet"]


def test_options_replace_the_named_models():
  model = models.create("resnet50_tiny", 3, width=4, axis_name="batch")
  assert (model.num_classes, model.width, model.axis_name) == (3, 4, "batch")
  assert model.stage_sizes == (1, 1, 1, 1)
  assert models.create("mlp", 3, dtype="bfloat16").dtype == jnp.bfloat16


def test_unknown_name():
  with pytest.raises(ValueError, match="coatnet0, .*wrn_28_10; got 'vgg'"):
    models.create("vgg", 10)


def test_unknown_option():
  with pytest.raises(
    TypeError,
    match="vit_b16 does not know the option block, width. It knows .*depth,",
  ):
    models.create("vit_b16", 10, width=3, block="basic", depth=2)


@pytest.mark.parametrize("option", ["name", "parent"])
def test_linens_own_fields_are_no_options(option):
  # name is taken by the model's name already.
  with pytest.raises(TypeError):
    models.create("mlp", 10, **{option: None})


def test_num_classes():
  with pytest.raises(ValueError, match="num_classes must be positive, got 0"):
    models.create("mlp", 0)
