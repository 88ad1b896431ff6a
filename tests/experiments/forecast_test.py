"""The forecast: counts and times by hand, and one real compilation."""

import functools
import importlib.util
import json
import os
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
from jax.sharding import SingleDeviceSharding
import pytest

from experiments import inputs
from experiments.configs import common, digits, imagenet_resnet50
from experiments.forecast import (
  chips,
  forecast,
  hlo,
  model,
  program,
  summary,
  table,
)
from experiments.forecast import roofline as roofline_lib
from jaxmix.mixing import MixPlan

# Gradients, statistics in a fusion's computation, and every asynchronous form.
MODULE = """
HloModule jit_train, is_scheduled=true, input_output_alias={ {0}: (0, {}) }

%fused.1 (p: f32[8,4]) -> f32[2,4] {
  %p = f32[8,4]{1,0:T(8,128)} parameter(0)
  ROOT %reduce-scatter.3 = f32[2,4]{1,0:T(2,128)S(1)} reduce-scatter(%p), dimensions={0}
}

ENTRY %main {
  %all-reduce.1 = (f32[7,7,3,8]{3,1,2,0:T(8,128)S(1)}, f32[]{:T(128)}, /*index=2*/bf16[10]{0:T(256)(128)(2,1)}) all-reduce(%a, %b, %c), to_apply=%sum, metadata={op_name="jit(f)/x = psum all-reduce(y)"}
  %psum.2 = f32[2,2,8]{2,1,0:T(2,128)S(1)} all-reduce(%fusion.37), channel_id=1
  %all-reduce-start.3 = (f32[5]{0}, s32[3]{0}) all-reduce-start(%d, %e), to_apply=%sum
  %all-reduce-done.3 = (f32[5]{0}, s32[3]{0}) all-reduce-done(%all-reduce-start.3)
  %all-gather-start.4 = (u8[2,6]{1,0}, u8[8,6]{1,0}) all-gather-start(%g), dimensions={0}
  %all-gather-done.4 = u8[8,6]{1,0} all-gather-done(%all-gather-start.4)
  %collective-permute-start.5 = (bf16[3,5]{1,0}, bf16[3,5]{1,0}, u32[]{:S(2)}, u32[]{:S(2)}) collective-permute-start(%h)
  %collective-permute-done.5 = bf16[3,5]{1,0} collective-permute-done(%collective-permute-start.5)
  %all-to-all.6 = (pred[9]{0}, pred[9]{0}) all-to-all(%i, %j)
  %all-gather-start.7 = ((f32[1]{0}, f32[2]{0}), (f32[4]{0}, f32[8]{0})) all-gather-start(%k, %l)
  %fusion.8 = f32[2,4]{1,0} fusion(%all-reduce.1), kind=kCustom, calls=%fused.1
  ROOT %tuple = (f32[2,4]{1,0}) tuple(%fusion.8)
}
"""  # noqa: E501  (the compiler's own lines)


def test_a_length_in_epochs_is_told_in_steps():
  config = digits.get_config("method=mixup,batch_size=96")
  config.epochs = 2.5
  known = [{"name": "mixup", "changes": {}}]  # nothing is left to compile
  result = forecast(config, "v5e:2x2", known=known)
  assert result["total_steps"] == 16  # of 600 examples


def test_counts_collectives_by_hand():
  assert hlo.collectives(MODULE) == {
    # 7 * 7 * 3 * 8 * 4 + 4 + 10 * 2; 2 * 2 * 8 * 4; 5 * 4 + 3 * 4.
    "all-reduce": (3, (4704 + 4 + 20) + 128 + 32),
    "all-gather": (2, 8 * 6 + (4 + 8) * 4),
    "reduce-scatter": (1, 2 * 4 * 4),
    "all-to-all": (1, 18),
    "collective-permute": (1, 3 * 5 * 2),
  }
  assert hlo.collectives("ENTRY %main {\n}") == {}


@pytest.mark.parametrize(
  ("shape", "size"),
  [
    ("f32[]", 4),
    ("bf16[3,5]{1,0:T(8,128)(2,1)}", 30),
    ("(f32[2], (s8[3], pred[1,1]))", 12),
    ("s4[3]", 2),
    ("f8e4m3fn[7]", 7),
    ("f32[0,4]", 0),
    ("()", 0),
  ],
)
def test_bytes_of_shapes(shape, size):
  assert hlo.shape_bytes(shape) == size


def test_unknown_type_is_an_error():
  with pytest.raises(ValueError, match="Unknown type 'q7'"):
    hlo.shape_bytes("q7[4]")


STEP = """
HloModule jit_train, is_scheduled=true

%fused.1 (p: f32[8,4]) -> f32[8,4] {
  %p = f32[8,4]{1,0:T(8,128)} parameter(0)
  ROOT %negate.1 = f32[8,4]{1,0:T(8,128)} negate(%p)
}

%region_0.3_spmd (q: (s32[], f32[4])) -> (s32[], f32[4]) {
  %q = (s32[]{:T(128)}, f32[4]{0:T(128)}) parameter(0)
  %get-tuple-element.9 = f32[4]{0:T(128)} get-tuple-element(%q), index=1
  ROOT %sine.2 = f32[4]{0:T(128)} sine(%get-tuple-element.9)
}

%region_1.4 (q.1: (s32[], f32[4])) -> pred[] {
  ROOT %compare.2 = pred[] compare(%q.1, %q.1), direction=LT
}

ENTRY %main.10_spmd (a: f32[8,4], b: bf16[3,130]) -> f32[8,4] {
  %a = f32[8,4]{1,0:T(8,128)} parameter(0), metadata={op_name="a"}
  %b = bf16[3,130]{0,1:T(8,128)(2,1)} parameter(1)
%s
}
"""


@pytest.mark.parametrize(
  ("line", "traffic"),
  [
    # Tiles of 8 x 128 on the two axes: 8 x 128 floats in and out.
    ("%c = f32[8,4]{1,0:T(8,128)} fusion(%a), calls=%fused.1", (8192, 0)),
    # The other order: 130 rows to 136, 3 columns to 128.
    ("%c = f32[]{:T(128)} reduce(%b, %b), to_apply=%sum", (4 + 2 * 34816, 0)),
    # The result stays on the chip.
    ("%c = f32[8,4]{1,0:T(8,128)S(1)} exp(%a)", (4096, 4096)),
    # Not tiled, with types among the operands; one result of two on the chip.
    (
      "%c = (f32[5]{0:S(1)}, /*index=1*/f32[7]{0}) custom-call(f32[8,4]{1,0"
      ':T(8,128)} %a), custom_call_target="f(x)"',
      (28 + 4096, 20),
    ),
    # A prefetch of three rows of one tile, and of everything.
    (
      "%c = ((f32[8,4]{1,0:T(8,128)}), f32[3,4]{1,0:T(4,128)S(1)}, s32[]{:S(2)}"
      ") slice-start(%a), slice={[0:3], [0:4]}\n"
      "%d = f32[3,4]{1,0:T(4,128)S(1)} slice-done(%c)",
      (2048, 2048),
    ),
    (
      "%c = (f32[8,4]{1,0:T(8,128)S(1)}, f32[8,4]{1,0:T(8,128)}, u32[]{:S(2)})"
      " copy-start(%a)",
      (4096, 4096),
    ),
    # Out of the chip.
    (
      "%c = f32[8,4]{1,0:T(8,128)S(1)} tanh(%a)\n"
      "%d = (f32[8,4]{1,0:T(8,128)}, f32[8,4]{1,0:T(8,128)S(1)}, u32[]{:S(2)})"
      " copy-start(%c)",
      (8192, 8192),
    ),
    # Two elements of 32, and where they are.
    ("%c = f32[2]{0} gather(%a, s32[1]{0} %i), slice_sizes={1,2}", (16, 0)),
    ("%c = f32[4]{0} slice(%a), slice={[0:1], [0:4]}", (32, 0)),
    # Both kinds of asynchronous collective.
    (
      "%c = (f32[8,4]{1,0:T(8,128)}, f32[16,4]{1,0:T(8,128)}) all-gather-start"
      "(%a), dimensions={0}",
      (8192 + 4096, 0),
    ),
    ("%c = f32[8,4]{1,0:T(8,128)} all-reduce-start(%a)", (8192, 0)),
    # A loop's body once, whatever calls it; its condition has no arrays.
    (
      "%c = (s32[], f32[4]) while(%a), condition=%region_1.4, "
      "body=%region_0.3_spmd\n"
      "%d = (s32[], f32[4]) while(%c), condition=%region_1.4, "
      "body=%region_0.3_spmd",
      (1024, 0),
    ),
    # Names for what is there.
    ("%c = f32[32]{0} bitcast(%a)\n%d = (f32[32]{0}) tuple(%c)", (0, 0)),
  ],
)
def test_memory_traffic_by_hand(line, traffic):
  lines = "\n".join(f"  {each}" for each in line.split("\n"))
  assert hlo.traffic(STEP.replace("%s\n", f"{lines}\n")) == traffic


def test_traffic_needs_an_entry():
  with pytest.raises(ValueError, match="no ENTRY"):
    hlo.traffic("HloModule empty")


def test_bytes_sent_on_a_ring_of_four():
  each = {kind: hlo.Collectives(1, 100) for kind in hlo.KINDS}
  assert {kind: hlo.sent({kind: each[kind]}, 4) for kind in hlo.KINDS} == {
    "all-reduce": 150.0,
    "all-gather": 75.0,
    "reduce-scatter": 300.0,
    "all-to-all": 75.0,
    "collective-permute": 100.0,
  }
  assert hlo.sent({"all-reduce": hlo.Collectives(2, 100)}, 1) == 0.0


def make_chip(**changes):
  chip = chips.Chip("toy", 100.0, 2000, 50.0, 10.0, 1, 2, {})
  return chip._replace(**changes)


def make_compiled(**changes):
  values = dict(
    fits=True,
    argument_bytes=100,
    donated_bytes=60,
    temporary_bytes=800,
    peak_bytes=950,
    flops=400.0,
    bytes_accessed=170.0,
    traffic=hlo.Traffic(memory=150, on_chip=90),
    collectives={"all-reduce": hlo.Collectives(3, 40)},
    text="",
    seconds=1.0,
  )
  return program.Compiled(**values | changes)


def make_config(arg=None, **changes):
  config = imagenet_resnet50.get_config(arg)
  config.update(changes)
  return common.resolve(config)


@pytest.mark.parametrize(
  ("costs", "times", "bound"),
  [
    ((400.0, 150.0, 20.0), (4.0, 3.0, 2.0), "compute"),
    ((400.0, 250.0, 20.0), (4.0, 5.0, 2.0), "memory"),
    ((400.0, 150.0, 60.0), (4.0, 3.0, 6.0), "interconnect"),
  ],
)
def test_roofline_by_hand(costs, times, bound):
  flops, accessed, sent = costs
  found = roofline_lib.roofline(
    make_chip(), flops=flops, memory_bytes=accessed, bytes_sent=sent
  )
  assert (tuple(found), found.step, found.bound) == (times, max(times), bound)


def test_one_chip_of_two_cores_by_hand():
  """Two devices a chip: twice a device's program, eight replicas."""
  config = make_config(batch_size=64, total_steps=1800)
  chip = make_chip(devices=2)
  row = roofline_lib.per_chip(config, make_compiled(), chip, chips=4)
  assert row["replicas"] == 8
  assert row["examples_per_chip"] == 16
  assert (row["argument_bytes"], row["temporary_bytes"]) == (200, 1600)
  assert (row["peak_bytes"], row["donated_bytes"]) == (1900, 120)
  assert row["memory_traffic_bytes"] == 300
  assert row["on_chip_traffic_bytes"] == 180
  assert row["bytes_accessed"] == 340
  assert row["collectives"] == {"all-reduce": {"count": 3, "bytes": 80}}
  # 2 * 7 / 8 * 40 bytes a device.
  assert row["bytes_sent"] == 140.0
  assert row["seconds"] == {
    "compute": 8.0,
    "memory": 6.0,
    "interconnect": 14.0,
    "step": 14.0,
  }
  assert row["bound"] == "interconnect"
  assert row["images_per_second"] == 64 / 14
  assert row["hours"] == 14 * 1800 / 3600


def test_advice_names_what_would_fit():
  big = make_compiled(fits=False, temporary_bytes=2400, peak_bytes=2500)
  config = make_config("method=mixupe,clean_pass=split", batch_size=64)
  tips = roofline_lib.advice(config, big, make_chip(), 8)
  assert [tip.split(" (")[0] for tip in tips] == [
    "model_options.remat=blocks",
    "clean_pass=separate",
    "clean_fraction=0.25",
    "batch_size=48",  # 64 * (2000 - 100) / 2400 = 50.7
    "more chips than 8, at the same batch_size",
  ]
  config = make_config("method=mixupe", batch_size=64)
  tips = roofline_lib.advice(config, big, make_chip(), 8)
  assert tips[1].startswith("clean_fraction=0.25")
  config = make_config("method=mixup,model_options.remat=blocks", batch_size=64)
  tips = roofline_lib.advice(config, big, make_chip(), 8)
  assert tips[0].startswith("batch_size=48")
  row = roofline_lib.per_chip(config, big, make_chip(), 8)
  assert (row["fits"], row["advice"]) == (False, tips)
  assert "hours" not in row


def test_table_shows_what_does_not_fit():
  config = make_config("method=mixupe", batch_size=64)
  small, big = (
    roofline_lib.per_chip(config, compiled, make_chip(), 8)
    for compiled in (
      make_compiled(),
      make_compiled(fits=False, temporary_bytes=2400, peak_bytes=2500),
    )
  )
  text = table.markdown(
    {
      "note": "A model.",
      "topology": "toy:2x4",
      "chips": 8,
      "model": "resnet50",
      "batch_size": 64,
      "total_steps": 100,
      "parallel": "pmap",
      "rows": [{"name": "small"} | small, {"name": "big"} | big],
    }
  )
  cells = {
    line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:4]]
    for line in text.splitlines()
    if line.startswith("|")
  }
  assert cells["fits"] == ["yes", "NO"]
  assert cells["all-reduce"] == ["3 (0.00 MB)", "-"]
  assert cells["bound by"] == ["interconnect", "-"]
  assert cells["peak, GB (of the chip's)"] == ["0.00 (48%)", "0.00 (125%)"]
  assert "A model." in text
  assert "big does not fit. Any of:\n  - model_options.remat=blocks" in text


def test_summary_by_hand():
  def row(name, milliseconds):
    seconds = {"step": milliseconds / 1e3}
    return {"name": name, "fits": True, "seconds": seconds, "hours": 1.26}

  tight = {"name": "Mixup", "fits": False}
  results = [
    {
      "model": "a",
      "topology": "v5e:4x8",
      "chips": 32,
      "rows": [
        row("Mixup", 50.0),
        row("MixupE", 82.6),
        {"name": "MixupE, exact", "fits": False},
      ],
    },
    {
      "model": "b",
      "topology": "v3:4x4",
      "chips": 16,
      "rows": [tight, row("MixupE, clean 1/2", 70.4)],
    },
    {"model": "c", "topology": "v3:4x4", "chips": 16, "rows": [row("ring", 9)]},
  ]
  header, _, first, second = summary.markdown(results).splitlines()
  # A lower bound, and said to be one.
  assert header.startswith(
    "| model | chips | Mixup, ms at best | hours at best"
  )
  assert first == (
    "| a | v5e:4x8 (32) | 50 | 1.3 | 1.65 |  |  | does not fit |  |"
  )
  assert second == ("| b | v3:4x4 (16) | does not fit |  |  | 70 ms |  |  |  |")


def test_chip_table_is_sane():
  peaks = {name: chip.peak_flops for name, chip in chips.CHIPS.items()}
  assert sorted(peaks, key=peaks.__getitem__) == [
    *("v3", "v5e", "v4", "v5p", "v6e")
  ]
  for chip in chips.CHIPS.values():
    # Operations a byte at which memory stops binding; ICI is slower than HBM.
    assert 60 < chip.peak_flops / chip.hbm_bandwidth < 600
    assert 0.2 < chip.hbm_bandwidth / chip.ici_bandwidth / 5 < 1.2
    assert 16 * chips.GIB <= chip.hbm_bytes <= 96 * chips.GIB
    assert chip.devices == (2 if chip.name == "v3" else 1)
    assert chip.dimensions == (3 if chip.name in ("v4", "v5p") else 2)


def test_parses_topologies():
  assert chips.parse("v5e:4x8") == (chips.CHIPS["v5e"], 32)
  assert chips.parse("v4:2x4x4") == (chips.CHIPS["v4"], 32)


@pytest.mark.parametrize("name", ["v9:2x2", "v3-32", "v5e", "v5e:", "v5e:4xa"])
def test_unknown_topology_lists_the_known(name):
  with pytest.raises(ValueError, match=r"v5e:4x8 is 32 chips") as caught:
    chips.parse(name)
  assert all(chip in str(caught.value) for chip in chips.CHIPS)
  assert name in str(caught.value)


@pytest.mark.parametrize("name", ["v5e:2x2x2", "v4:4x8"])
def test_wrong_dimensions_say_how_many(name):
  with pytest.raises(ValueError, match="form [23] dimensions, such as v"):
    chips.parse(name)


def test_missing_libtpu_says_how_to_install_it(monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(ImportError, match=r"pip install -e '\.\[tpu\]'"):
    chips.devices("v5e:2x2")


def test_batch_that_does_not_divide_names_sizes_that_work():
  config = imagenet_resnet50.get_config("smoke")
  with pytest.raises(ValueError, match="32 replicas; .*: 32"):
    forecast(config, "v3:4x4")


def test_unknown_comparison_and_data_set():
  config = imagenet_resnet50.get_config("smoke")
  with pytest.raises(ValueError, match="compare must be one of method"):
    forecast(config, "v5e:2x2", compare="model")
  config.dataset = "my_images"
  with pytest.raises(ValueError, match="--num_classes"):
    forecast(config, "v5e:2x2")
  described = inputs.describe(config, num_classes=7)
  assert (described.inputs.shape, described.num_classes) == ((64, 64, 3), 7)


def test_exhausted_memory_is_read_from_both_refusals():
  whole = (
    "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in "
    "memory space hbm. Used 23.50G of 15.75G hbm. Exceeded hbm capacity by "
    "7.75G."
  )
  assert program._exhausted(whole, 1000) == round(23.5 * 2**30) - 1000
  alone = (
    "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required "
    "for HLO temporaries (56.77G) exceeds available HBM (15.75G)."
  )
  assert program._exhausted(alone, 1000) == round(56.77 * 2**30)
  with pytest.raises(RuntimeError, match="does not compile: INTERNAL"):
    program._exhausted("INTERNAL: something else", 1000)


needs_libtpu = pytest.mark.skipif(
  importlib.util.find_spec("libtpu") is None,
  reason="libtpu, the TPU compiler, is not installed (the extra tpu)",
)


@needs_libtpu
def test_impossible_layout_passes_on_libtpus_reason():
  with pytest.raises(ValueError, match="not divisible"):
    chips.devices("v5e:3x5")


def four(chip):
  layout = "2x2x1" if chip.dimensions == 3 else "2x2"
  return chips.devices(f"{chip.name}:{layout}")


@needs_libtpu
def test_devices_of_every_chip():
  for chip in chips.CHIPS.values():
    assert len(four(chip)) == 4 * chip.devices


@needs_libtpu
@pytest.mark.parametrize("name", chips.CHIPS)
def test_memory_is_what_the_compiler_has(name):
  """Which keeps at most a sixteenth of it from programs."""
  chip = chips.CHIPS[name]
  huge = jax.ShapeDtypeStruct(
    (2**28, 128), "float32", sharding=SingleDeviceSharding(four(chip)[0])
  )
  with pytest.raises(jax.errors.JaxRuntimeError) as caught:
    jax.jit(lambda x: 2 * x).lower(huge).compile()
  found = re.search(r"available HBM \(([\d.]+)G\)", str(caught.value))
  available = float(found[1]) * 2**30 * chip.devices
  assert 15 / 16 * chip.hbm_bytes < available < chip.hbm_bytes


def make_tiny(arg):
  config = digits.get_config(f"smoke,method=mixupe,{arg}")
  config.model_options.stage_sizes = (1,)
  return config


@functools.cache
def tiny_by_both():
  """A tiny sibling by pmap and by shard_map, and what was reported of it."""
  reported = []
  result = forecast(
    make_tiny("batch_size=32"),
    "v5e:2x2",
    compare="parallel",
    report=lambda result, row, text: reported.append(
      (result["rows"][-1]["name"], row["name"], "ENTRY" in text)
    ),
  )
  return result, reported


@needs_libtpu
def test_compiles_a_tiny_sibling_by_pmap_and_by_shard_map():
  """The state donated, one reduction of gradients, the rest statistics."""
  result, reported = tiny_by_both()
  assert reported == [
    ("pmap", "pmap", True),
    ("shard_map", "shard_map", True),
  ]
  json.dumps(result)
  assert "does not fit" not in table.markdown(result)
  pmap, shard_map = result["rows"]
  for key in (
    *("flops", "bytes_accessed", "memory_traffic_bytes"),
    *("collectives", "peak_bytes"),
  ):
    assert pmap[key] == shard_map[key], key
  assert pmap["fits"] and pmap["replicas"] == 4
  # Three layers of statistics forwards and backwards, L and R, and one for all
  # gradients and metrics.
  assert pmap["collectives"].keys() == {"all-reduce"}
  assert pmap["collectives"]["all-reduce"]["count"] <= 8
  # The state: all but the key and the batch, 8 * (8 * 8 + 4) bytes if it were
  # not padded to tiles.
  kept = pmap["argument_bytes"] - pmap["donated_bytes"]
  assert 0 < kept < 16_384 < pmap["donated_bytes"]
  assert 0 < pmap["temporary_bytes"] < pmap["peak_bytes"] < pmap["hbm_bytes"]
  assert pmap["flops"] > 0 < pmap["bytes_accessed"]
  # What it reads once and writes once, at least, and not more than the
  # compiler counts with what stays on the chip.
  assert pmap["memory_traffic_bytes"] >= pmap["donated_bytes"]
  assert pmap["memory_traffic_bytes"] <= pmap["bytes_accessed"]


def clean_and_mixed(kernel, pixels, lam, partner):
  """A ResNet's first convolution, on mixed images and then on clean ones."""

  def loss(kernel, images):
    maps = jax.lax.conv_general_dilated(
      images,
      kernel.astype(images.dtype),
      window_strides=(2, 2),
      padding="SAME",
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return jnp.sum(jax.nn.relu(maps).astype(jnp.float32) ** 2)

  images = (pixels / jnp.float32(255) - 0.5).astype(jnp.bfloat16)
  mixed = jax.grad(loss)(kernel, MixPlan(lam, lam, partner).mix(images))
  mixed, images = jax.lax.optimization_barrier((mixed, images))
  return mixed + jax.grad(loss)(kernel, images)


@needs_libtpu
def test_mixing_leaves_images_in_their_layout():
  """Gathered, they would be copied three times: pixels, mixed and clean."""
  shape = (128, 64, 64, 3)
  chip = SingleDeviceSharding(four(chips.CHIPS["v5e"])[0])
  arguments = (
    jax.ShapeDtypeStruct(sides, dtype, sharding=chip)
    for sides, dtype in (
      ((7, 7, 3, 64), jnp.float32),
      (shape, jnp.uint8),
      ((128,), jnp.float32),
      ((128,), jnp.int32),
    )
  )
  text = jax.jit(clean_and_mixed).lower(*arguments).compile().as_text()
  entry = text[text.index("\nENTRY") :]
  assert "u8[128,64,64,3]{0," in entry  # they come with the batch innermost
  copied = re.findall(r"= (\S+\[128,64,64,3\]\S*) (?:copy|transpose)\(", entry)
  assert not copied


@needs_libtpu
def test_processes_compile_the_same():
  reported = []
  result = forecast(
    make_tiny("batch_size=32"),
    "v5e:2x2",
    compare="parallel",
    jobs=2,
    report=lambda result, row, text: reported.append(
      (row["name"], "ENTRY" in text)
    ),
  )
  assert sorted(reported) == [("pmap", True), ("shard_map", True)]
  untimed = [
    [
      {key: value for key, value in row.items() if key != "compile_seconds"}
      for row in made["rows"]
    ]
    for made in (result, tiny_by_both()[0])
  ]
  assert untimed[0] == untimed[1]


class Fatal:
  """Ends the process that receives it."""

  def __reduce__(self):
    return os._exit, (1,)


def test_a_process_that_dies_says_why_it_may_have():
  with pytest.raises(RuntimeError, match="as it does where memory runs out"):
    list(model._in_processes({"a": (Fatal(),)}, 1))


def test_a_mistake_reaches_the_caller_from_a_process():
  with pytest.raises(ValueError, match="v5e:4x8 is 32 chips"):
    list(model._in_processes({"a": (None, None, "v9:2x2")}, 1))


@needs_libtpu
def test_goes_on_after_the_rows_it_knows():
  """And the ring's cost is one permutation of the images, one of the labels."""
  config = make_tiny("batch_size=32")
  known = [
    {"name": "permutation", "changes": {"pairing": "permutation"}, "here": 1},
    {"name": "ring", "changes": {"pairing": "flip"}},
  ]
  result = forecast(config, "v5e:2x2", compare="pairing", known=known)
  first, ring = result["rows"]
  assert first == known[0]
  assert ring["changes"] == {"pairing": "ring"}
  permuted = ring["collectives"]["collective-permute"]
  # 8 float32 images of 8 x 8 x 1 and 8 int32 labels.
  assert permuted == {"count": 2, "bytes": 8 * (64 + 1) * 4}


@needs_libtpu
def test_compiles_what_does_not_fit():
  config = make_tiny("batch_size=16000000")
  result = forecast(config, "v5e:2x2")
  (row,) = result["rows"]
  assert not row["fits"]
  assert row["peak_bytes"] > row["hbm_bytes"]
  # 4,000,000 images of 8 x 8 x 1 and their labels.
  assert row["argument_bytes"] > 4_000_000 * (64 + 4)
  assert "mixupe does not fit" in table.markdown(result)


def test_command_line_ends_with_the_message():
  done = subprocess.run(
    [
      sys.executable,
      "-m",
      "experiments.forecast",
      "--config=experiments/configs/digits.py",
      "--topology=v9:2x2",
    ],
    capture_output=True,
    text=True,
  )
  assert done.returncode != 0
  assert "v5e:4x8 is 32 chips" in done.stderr
  assert "Traceback" not in done.stderr
