"""Audits the mixup of public packages, each as its documentation calls it.

  python -m benchmarks.audits [--only=PART] [--out=FILE.json]

Of timm, torchvision, keras, kornia and the package mixup those are audited that
are installed; torch for the CPU does. Prints docs/audit.md's table; --out keeps
the rows that are there and not made anew.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
import importlib
import importlib.metadata
import json
import os
import pathlib
import warnings

os.environ.setdefault("KERAS_BACKEND", "jax")

import numpy as np  # noqa: E402

import jaxmix  # noqa: E402


def timm_batch(mode="batch", **options):
  def fn(seed, images, labels, alpha=1.0):
    mixup = importlib.import_module("timm.data.mixup").Mixup
    return mixup(alpha, mode=mode, num_classes=10, **options)(images, labels)

  return fn


def timm_cutmix(seed, images, labels):
  mixup = importlib.import_module("timm.data.mixup").Mixup
  return mixup(0.0, 1.0, num_classes=10)(images, labels)


def torchvision_mixup(seed, images, labels, alpha=1.0):
  v2 = importlib.import_module("torchvision.transforms.v2")
  return v2.MixUp(alpha=alpha, num_classes=10)(images, labels)


def torchvision_cutmix(seed, images, labels):
  v2 = importlib.import_module("torchvision.transforms.v2")
  return v2.CutMix(num_classes=10)(images, labels)


def keras_layer(name, **options):
  def run(seed, images, labels, given):
    layer = getattr(importlib.import_module("keras").layers, name)
    layer = layer(
      **given, **options, seed=seed % 2**31, dtype=images.dtype.name
    )
    rows = np.eye(10, dtype=np.float32)[labels]
    mixed = layer({"images": images, "labels": rows})
    return mixed["images"], mixed["labels"]

  if name == "MixUp":
    return lambda seed, images, labels, alpha=1.0: run(
      seed, images, labels, {"alpha": alpha}
    )
  return lambda seed, images, labels: run(seed, images, labels, {})


def kornia_mixup(seed, images, labels):
  mix = importlib.import_module("kornia.augmentation").RandomMixUpV2
  return tuple(mix(data_keys=["input", "class"])(images, labels))


def kornia_cutmix(correct):
  def fn(seed, images, labels):
    mix = importlib.import_module("kornia.augmentation").RandomCutMixV2
    mix = mix(data_keys=["input", "class"], use_correct_lambda=correct)
    images, packed = mix(images, labels)
    if not correct:
      return images, packed
    # There the third number is the image's own share, and not its partner's.
    first, second, kept = packed[0].unbind(-1)
    return images, (first, second, kept)

  return fn


def package(name, takes_alpha):
  def run(images, labels, alpha):
    functional = importlib.import_module("torch").nn.functional
    method = getattr(importlib.import_module("mixup.methods"), name)
    return method(alpha)(
      images, functional.one_hot(labels, 10).to(images.dtype)
    )

  if takes_alpha:
    return lambda seed, images, labels, alpha=1.0: run(images, labels, alpha)
  return lambda seed, images, labels: run(images, labels, 1.0)


# What is audited -> (distribution, function, options of the audit).
PEERS: dict[str, tuple[str, Callable, dict]] = {
  "timm, Mixup": ("timm", timm_batch(), {}),
  "timm, Mixup(mode='elem', label_smoothing=0)": (
    "timm",
    timm_batch("elem", label_smoothing=0.0),
    {},
  ),
  "timm, Mixup(0, cutmix_alpha=1)": ("timm", timm_cutmix, {}),
  "torchvision, v2.MixUp": ("torchvision", torchvision_mixup, {}),
  "torchvision, v2.CutMix": ("torchvision", torchvision_cutmix, {}),
  "keras, MixUp": ("keras", keras_layer("MixUp"), {"kind": "numpy"}),
  "keras, CutMix": ("keras", keras_layer("CutMix"), {"kind": "numpy"}),
  "kornia, RandomMixUpV2": ("kornia", kornia_mixup, {"alpha": 1.0}),
  "kornia, RandomCutMixV2": ("kornia", kornia_cutmix(False), {}),
  "kornia, RandomCutMixV2(use_correct_lambda=True)": (
    "kornia",
    kornia_cutmix(True),
    {},
  ),
  "mixup, VanillaMixUp": ("mixup", package("VanillaMixUp", True), {}),
  "mixup, CutMix": ("mixup", package("CutMix", False), {}),
}


def audited(only: str) -> Iterator[dict]:
  """Audits what is installed and has `only` in its name; a row a function."""
  for name, (distribution, fn, options) in PEERS.items():
    if only not in name:
      continue
    try:
      version = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
      print(f"{distribution} is not installed.")
      continue
    fn.__name__ = name
    report = jaxmix.audit(fn, **{"kind": "torch", "draws": 1024, **options})
    print(f"\n{report}\n", flush=True)
    yield {
      "name": name,
      "version": version,
      "findings": {
        f.check: [f.status, f.detail, f.smallest] for f in report.findings
      },
      "variants": list(report.variants),
    }


def table(found: list[dict]) -> str:
  """The rows as Markdown: faults by name, with their details below."""
  lines = ["| function | version | faults | variants |", "|---|---|---|---|"]
  for row in found:
    faults = [c for c, (s, *_) in row["findings"].items() if s == "fault"]
    lines.append(
      f"| {row['name']} | {row['version']} | {', '.join(faults) or 'none'} | "
      f"{', '.join(row['variants']) or '–'} |"
    )
  return "\n".join(lines)


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument("--out", type=pathlib.Path)
  parser.add_argument("--only", default="", help="part of a name")
  options = parser.parse_args()
  warnings.simplefilter("ignore")
  found: dict[str, dict] = {}
  if options.out and options.out.exists():
    found = {row["name"]: row for row in json.loads(options.out.read_text())}
  for row in audited(options.only):
    found[row["name"]] = row
    if options.out:
      rows = [found[name] for name in PEERS if name in found]
      options.out.write_text(json.dumps(rows, indent=1) + "\n")
  print(table(list(found.values())))


if __name__ == "__main__":
  main()
