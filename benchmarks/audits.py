"""Audits the mixup of public packages, each as its documentation calls it.

  python -m benchmarks.audits [--only=PART] [--out=FILE.json]
  python -m benchmarks.audits --seeds=1000 [--only=PART] [--out=FILE.json]

Of timm, torchvision, keras, kornia, openmixup and the package mixup those are
audited that are installed; torch for the CPU does. Prints docs/audit.md's
table; --out keeps the rows that are there and not made anew.

With --seeds each function, and ours, is audited so many times, with small
draws and seeds of its own, and what is told beyond its known faults is counted:
false alarms. It goes round in parts, and on from where --out ends.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
import importlib
import importlib.metadata
import json
import os
import pathlib
import time
import warnings

os.environ.setdefault("KERAS_BACKEND", "jax")

import numpy as np  # noqa: E402

from benchmarks import peers  # noqa: E402
import jaxmix  # noqa: E402


def timm_batch(mode="batch", **options):
  def fn(seed, images, labels, alpha=1.0):
    mixup = peers.load("timm.data.mixup").Mixup
    return mixup(alpha, mode=mode, num_classes=10, **options)(images, labels)

  return fn


def timm_cutmix(seed, images, labels):
  mixup = peers.load("timm.data.mixup").Mixup
  return mixup(0.0, 1.0, num_classes=10)(images, labels)


def torchvision_mixup(seed, images, labels, alpha=1.0):
  v2 = peers.load("torchvision.transforms.v2")
  return v2.MixUp(alpha=alpha, num_classes=10)(images, labels)


def torchvision_cutmix(seed, images, labels):
  v2 = peers.load("torchvision.transforms.v2")
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


def openmixup(name):
  def run(images, labels, alpha):
    return peers.openmixup(name)(images, labels, alpha=alpha)

  if name == "mixup":
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
  "openmixup, mixup": ("openmixup", openmixup("mixup"), {}),
  "openmixup, cutmix": ("openmixup", openmixup("cutmix"), {}),
  "mixup, VanillaMixUp": ("mixup", package("VanillaMixUp", True), {}),
  "mixup, CutMix": ("mixup", package("CutMix", False), {}),
}

# Ours, each by the law that it is meant to have.
OWN: dict[str, tuple[str, Callable, dict]] = {
  "jaxmix, mixup": ("jaxmix", jaxmix.mixup, {"kind": "jax"}),
  "jaxmix, untied_mixup": (
    "jaxmix",
    jaxmix.untied_mixup,
    {"kind": "jax", "policy": jaxmix.policies.untied(1.7, 0.8)},
  ),
  "jaxmix, dat": (
    "jaxmix",
    jaxmix.dat,
    {"kind": "jax", "policy": jaxmix.policies.dat(1.7, 0.8)},
  ),
  "jaxmix, cutmix": (
    "jaxmix",
    # One without a keyword alpha: areas have no law to compare with.
    lambda key, images, labels: jaxmix.cutmix(key, images, labels),
    {"kind": "jax"},
  ),
}
# Seeds of one audit end before the next one's begin.
APART = 10_000
PART = 20
KNOWN = pathlib.Path(__file__).parents[1] / (
  "experiments/results/benchmarks/audits.json"
)


def installed(distribution: str) -> str:
  """Returns its version; of what is not installed says so, and returns ""."""
  try:
    return importlib.metadata.version(distribution)
  except importlib.metadata.PackageNotFoundError:
    if distribution == "jaxmix":  # a checkout
      return jaxmix.__version__
    print(f"{distribution} is not installed.")
    return ""


def audited(only: str) -> Iterator[dict]:
  """Audits what is installed and has `only` in its name; a row a function."""
  for name, (distribution, fn, options) in PEERS.items():
    if only not in name:
      continue
    version = installed(distribution)
    if not version:
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


def alarms(fn: Callable, options: dict, seeds: range, known: set[str]) -> list:
  """What audits with these seeds tell beyond what is known, with the seed."""
  one = {} if "policy" in options else {"alpha": 1.0}
  found = []
  for seed in seeds:
    report = jaxmix.audit(
      fn,
      **{"kind": "torch", **one, **options},
      draws=256,
      seed=APART * seed,
    )
    found += [
      [APART * seed, f.check, f.detail]
      for f in report.faults
      if f.check not in known
    ]
  return found


def repeated(only: str, seeds: int, found: dict[str, dict]) -> Iterator[str]:
  """Audits all in turns, up to so many seeds each; the name of each part."""
  faults = {
    row["name"]: {c for c, (s, *_) in row["findings"].items() if s == "fault"}
    for row in json.loads(KNOWN.read_text())
  }
  every = {name: entry for name, entry in (OWN | PEERS).items() if only in name}
  for end in range(PART, seeds + PART, PART):
    for name, (distribution, fn, options) in every.items():
      row = found.setdefault(
        name, {"name": name, "seeds": 0, "cpu_s": 0.0, "alarms": []}
      )
      if row["seeds"] >= min(end, seeds):
        continue
      version = installed(distribution)
      if not version:
        continue
      fn.__name__ = name if distribution != "jaxmix" else fn.__name__
      known = faults.get(name, set())
      start = time.process_time()
      new = range(row["seeds"], min(end, seeds))
      row["alarms"] += alarms(fn, options, new, known)
      row |= {"version": version, "seeds": new.stop, "known": sorted(known)}
      row["cpu_s"] = round(row["cpu_s"] + time.process_time() - start, 1)
      yield name


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
  parser.add_argument("--seeds", type=int, default=0)
  options = parser.parse_args()
  warnings.simplefilter("ignore")
  found: dict[str, dict] = {}
  if options.out and options.out.exists():
    found = {row["name"]: row for row in json.loads(options.out.read_text())}

  def keep() -> None:
    if options.out:
      rows = [found[name] for name in OWN | PEERS if name in found]
      options.out.write_text(json.dumps(rows, indent=1) + "\n")

  if options.seeds:
    for name in repeated(options.only, options.seeds, found):
      keep()
      row = found[name]
      told = f"{row['seeds']} seeds, {row['cpu_s']} s, alarms {row['alarms']}"
      print(f"{name}: {told}", flush=True)
    return
  for row in audited(options.only):
    found[row["name"]] = row
    keep()
  print(table(list(found.values())))


if __name__ == "__main__":
  main()
