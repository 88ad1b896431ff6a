"""Tests of benchmarks.input at a tiny size: what is measured, no times."""

import importlib.util
import json
import pathlib

import numpy as np
import pytest

from benchmarks import input as input_benchmark
from benchmarks import input_contenders

IMAGES = 12
# Each is a process with TensorFlow or PyTorch; the last has all our choices.
TIMED = ("pillow", "small_bilinear")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
  image = pytest.importorskip("PIL.Image")
  pytest.importorskip("tensorflow")
  folder = tmp_path_factory.mktemp("images")
  for k in range(IMAGES):
    values = np.random.default_rng(k).integers(0, 256, (40, 48, 3), np.uint8)
    image.fromarray(values).save(folder / f"label{k % 3}_{k}.jpg")
  return folder


@pytest.fixture(scope="module")
def result(images, tmp_path_factory):
  out = tmp_path_factory.mktemp("out") / "input.json"
  returned = input_benchmark.main(
    [
      f"--images={images}",
      "--pattern=(?P<label>label.)_.*",
      *(
        "--repeat=2",
        "--batch=4",
        "--size=16",
        "--shorter_side=24",
        "--seconds=0.1",
      ),
      f"--contenders={','.join(TIMED)}",
      *("--rounds=1", "--batches=40", f"--out={out}"),
    ]
  )
  assert json.loads(out.read_text()) == returned
  return returned


def test_all_that_is_installed_has_a_rate(result):
  assert result["data"]["images"] == IMAGES
  stored = result["data"]["stored_megabytes"]
  assert 0 < stored["small"] < stored["data"]
  names = [row["name"] for row in result["rows"]]
  assert names == ["jaxmix", *TIMED, *input_benchmark.STAGES]
  for row in result["rows"]:
    if row["name"] == "pillow" and importlib.util.find_spec("torch") is None:
      assert row == {"name": "pillow", "rounds": []}
    else:
      assert row["images_per_second_per_core"] > 0


def test_an_unknown_contender_is_named(capsys):
  with pytest.raises(SystemExit):
    input_benchmark.main(["--images=images", "--contenders=pillow,turbo"])
  assert "'turbo' is none of jaxmix, bilinear" in capsys.readouterr().err


def test_stages_add_up_to_the_whole(result):
  rates = {row["name"]: row for row in result["rows"]}
  whole = 1e3 / rates["jaxmix"]["images_per_second_per_core"]
  assert sum(result["stages"].values()) == pytest.approx(whole)
  assert list(result["stages"]) == [*input_benchmark.STAGES, "batch"]


def test_memory_is_read_along_the_way(result):
  memory = result["memory"]
  assert memory["batches"] == list(range(2, 41, 2))
  assert len(memory["resident_megabytes"]) == 20
  assert memory["peak_megabytes"] >= memory["resident_megabytes"][0] > 10


def test_the_table_names_every_contender_and_stage(result):
  text = input_benchmark.table(result)
  timed = {"jaxmix", *TIMED, *input_benchmark.STAGES}
  for name, title in input_benchmark.CONTENDERS.items():
    assert (f"| {title} " in text) == (name in timed)
  for name in result["stages"]:
    assert f"| {name}" in text
  assert "Memory over 40 batches" in text


def test_windows_follow_the_law_of_the_crop():
  """Mean area, and bounds, of 2,000 draws on an image where all fit."""
  generator = np.random.default_rng(0)
  drawn = np.array(
    [input_contenders._window(400, 400, generator) for _ in range(2000)]
  )
  y, x, h, w = drawn.T
  assert (y >= 0).all() and (y + h <= 400).all()
  assert (x >= 0).all() and (x + w <= 400).all()
  share = h * w / 400**2
  assert 0.07 < share.min() and share.max() <= 1.0
  # Attempts that do not fit are the large ones: below the uniform law's 0.54.
  assert 0.44 < share.mean() < 0.54


@pytest.mark.parametrize("library", ["pillow", "opencv"])
def test_other_libraries_crop_to_the_size(images, library):
  pytest.importorskip({"pillow": "PIL", "opencv": "cv2"}[library])
  encoded = pathlib.Path(sorted(images.iterdir())[0]).read_bytes()
  crop = {
    "pillow": input_contenders._pillow,
    "opencv": input_contenders._opencv,
  }[library]
  image = crop(encoded, 16, np.random.default_rng(0))
  assert image.shape == (16, 16, 3) and image.dtype == np.uint8
