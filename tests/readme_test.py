"""What the README and the pages it leads to say runs, and is so.

Every command of the README, of docs/train.md and of docs/explore.md, at small
sizes; the README's code; and the tables that stand in pages.
"""

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.forecast import summary

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
TRAIN = (ROOT / "docs" / "train.md").read_text()
EXPLORE = (ROOT / "docs" / "explore.md").read_text()
PERFORMANCE = (ROOT / "docs" / "performance.md").read_text()


def blocks(language, text):
  return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands(text):
  lines = [x for block in blocks("bash", text) for x in block.splitlines()]
  return [re.sub(r"\s+#.*", "", line).strip() for line in lines if line]


def test_the_python_runs_and_its_loss_falls():
  loop, plain = blocks("python", README)
  images = jax.random.normal(jax.random.key(0), (32, 6))
  labels = jnp.argmax(images[:, :3], axis=1)
  names = {
    "apply": lambda params, x: x @ params,
    "params": jnp.zeros((6, 3)),
    "images": images,
    "labels": labels,
    "key": jax.random.key(1),
  }
  with jax.numpy_dtype_promotion("standard"):
    exec(loop, names)
    params = names["params"]
    opt_state = names["optimizer"].init(params)
    losses = []
    for k in range(200):
      key = jax.random.fold_in(names["key"], k)
      params, opt_state, loss = names["step"](
        params, opt_state, key, images, labels
      )
      losses.append(float(loss))
  assert losses[0] == pytest.approx(np.log(3), rel=1e-5)
  assert np.mean(losses[-20:]) < 0.9 * losses[0]
  exec(plain, names)
  assert names["mixed"].shape == images.shape
  assert float(names["loss"]) == pytest.approx(np.log(3), rel=1e-5)


def test_no_command_is_left_untested():
  start = lambda text: [command.split(" --")[0] for command in commands(text)]
  run = "python -m experiments.main"
  assert start(README) == ["make train", "make test", run]
  assert start(TRAIN) == [
    run,
    "python -m experiments.inputs.prepare",
    run,
    run,
    "python -m experiments.report DIR",
  ]
  assert start(EXPLORE) == ["python -m experiments.sweep"]
  # The recipe's line is one, wherever it stands.
  assert commands(README)[2] == commands(TRAIN)[3]


def make(*words):
  """What make says; under `make test` it must not join that make."""
  outside = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
  done = subprocess.run(
    ["make", "--no-print-directory", *words],
    cwd=ROOT,
    env=outside,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  return done.stdout


def dry_run(target):
  return make("--dry-run", target)


def test_make_train_is_the_digits_comparison():
  """The sweep itself runs in tests/experiments/train_test.py, at small size."""
  job = dry_run("train").replace("\\\n", "").split("-m experiments.main")[1]
  assert shlex.split(job) == [
    "--config=experiments/configs/digits.py:compare",
    "--workdir=runs/digits",
  ]


def test_make_test_lints_type_checks_and_tests():
  for tool in ("ruff check", "ruff format --check", "mypy", "pytest"):
    assert tool in dry_run("test")


@pytest.mark.parametrize("works", [True, False])
def test_what_uv_does_not_install_pip_does(tmp_path, works):
  """Of the same, in the words that both know."""
  told = {}
  for name, status in {"uv": not works, "pip": False}.items():
    told[name] = tmp_path / f"{name}.txt"
    tool = tmp_path / "bin" / name
    tool.parent.mkdir(exist_ok=True)
    tool.write_text(f'#!/bin/sh\necho "$@" >> {told[name]}\nexit {status:d}\n')
    tool.chmod(0o755)
  (tmp_path / "python.stamp").touch()
  stamp = tmp_path / "test.stamp"
  make(f"VENV={tmp_path}", stamp)
  assert stamp.exists()
  every = "-q -c constraints.txt -e .[train,tfds,test,launch,docs]"
  compiler = f"--no-deps --upgrade --target={tmp_path}/tpu libtpu"
  for name in ("uv",) if works else ("uv", "pip"):
    lines = told[name].read_text().splitlines()
    found = [
      line.replace(f"--python {tmp_path}/bin/python ", "") for line in lines
    ]
    start = {"uv": "pip install", "pip": "install"}[name]
    assert found == [
      f"{start} {every}",
      f"{start} -q -c constraints.txt {compiler}",
    ]
  assert told["pip"].exists() != works


def test_make_release_check_takes_the_wheel_and_not_the_checkout():
  lines = dry_run("release-check").replace("\\\n", "")
  for tool in ("-m build", "twine check", "mypy --strict", "pyright", "pytest"):
    assert tool in lines
  assert "grep -v '^jaxmix/'" in lines


def run(command, *extra):
  words = [sys.executable, *shlex.split(command)[1:], *extra]
  done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr[-3000:]
  return done


def test_the_imagenet_commands_from_a_folder_to_a_report(tmp_path):
  """Class folders of JPEGs -> tfds -> a run of each command -> a report."""
  pytest.importorskip("tensorflow_datasets")
  image = pytest.importorskip("PIL.Image")
  generator = np.random.default_rng(0)
  for label in ("cat", "dog"):
    (tmp_path / "jpegs" / label).mkdir(parents=True)
    for k in range(20):
      pixels = generator.integers(0, 256, (80, 96, 3)).astype(np.uint8)
      image.fromarray(pixels).save(tmp_path / "jpegs" / label / f"{k}.jpg")
  _, prepare, smoke, full, report = commands(TRAIN)

  def local(command, workdir):
    for word, path in (
      ("JPEGS", "jpegs"),
      ("DATA", "data"),
      ("REPORT", "report"),
      ("DIR", workdir),
    ):
      command = re.sub(rf"\b{word}\b", str(tmp_path / path), command)
    return command

  run(local(prepare, ""))
  small = [
    "--config.total_steps=2",
    "--config.warmup_steps=1",
    "--config.log_every=2",
    "--config.eval_every=2",
    "--config.checkpoint_every=2",
  ]
  run(local(smoke, "runs/smoke"), *small)
  tiny = [
    "--config.model=resnet50_tiny",
    "--config.dtype=float32",
    "--config.batch_size=16",
    "--config.eval_batch_size=16",
    "--config.image_size=32",
    "--config.resize_size=36",
  ]
  run(local(full, "runs/full"), *small, *tiny)
  done = run(local(report, "runs"))
  assert (tmp_path / "report" / "curves.png").exists()
  assert "smoke" in done.stdout and "full" in done.stdout


def test_a_sweep_over_a_table_of_ones_own(tmp_path):
  generator = np.random.default_rng(0)
  rows = generator.normal(size=(60, 3))
  lines = ["width,height,colour,kind"]
  for a, b, c in rows:
    colour, kind = ("red", "blue")[int(c > 0)], ("fox", "owl")[int(a + b > 0)]
    lines.append(f"{a:.3f},{b:.3f},{colour},{kind}")
  (tmp_path / "mine.csv").write_text("\n".join(lines))
  (command,) = commands(EXPLORE)
  command = command.replace("TABLE", str(tmp_path / "mine.csv"))
  command = command.replace("COLUMN", "kind").replace(
    "DIR", str(tmp_path / "d")
  )
  run(command, "--config.epochs=2", "--config.eval_every_epochs=2")
  table = (tmp_path / "d" / "table.md").read_text().splitlines()
  assert len(table) == 2 + 1 + 2 * 2 and table[0].startswith("| method | ")
  lines = (tmp_path / "d" / "results.jsonl").read_text().splitlines()
  assert len(lines) == 5 * 5 and '"test"' in lines[0]


def test_the_table_is_the_committed_result():
  table = (ROOT / "experiments/results/digits/table.md").read_text()
  rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
  shown = [line for line in TRAIN.splitlines() if line.startswith("| ")]
  squeeze = lambda line: [cell.strip() for cell in line.split("|")[1:-1]]
  shown = [squeeze(line) for line in shown]
  for row in map(squeeze, rows):
    if set("".join(row)) <= set("-: "):
      continue
    assert [row[0], *row[2:]] in shown, row


def test_the_forecasts_are_the_committed_results():
  files = sorted((ROOT / "experiments/results/forecast").glob("*_*.json"))
  results = [json.loads(file.read_text()) for file in files]
  assert results
  lines = PERFORMANCE.splitlines()
  for line in summary.markdown(results).splitlines():
    assert line in lines, line


def test_links_lead_somewhere():
  for target in re.findall(r"\]\(([^)h][^)]*)\)", README):
    path, _, heading = target.partition("#")
    assert (ROOT / path).exists(), target
    if heading:
      found = re.findall(r"^#+ (.*)$", (ROOT / path).read_text(), re.MULTILINE)
      assert heading in [line.lower().replace(" ", "-") for line in found]
