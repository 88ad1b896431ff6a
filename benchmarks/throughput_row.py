"""One row of `benchmarks.throughput`: what to measure, in which process.

  python -m benchmarks.throughput_row SPEC.json RESULT.json

is what `benchmarks.throughput` runs for every row. A process of its own keeps
one row's memory out of the next one's peak, and its failures to itself.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import pathlib
import sys
import traceback
from typing import Any

from ml_collections import ConfigDict
import numpy as np

from experiments.configs import common

MODELS = tuple(
  f"{name}{suffix}"
  for suffix in ("", "_tiny")
  for name in ("resnet50", "vit_b16", "coatnet0")
)
# What timm has, too.
TORCH_MODELS = ("resnet50", "vit_b16", "resnet50_tiny", "vit_b16_tiny")
# Method: (title, what the config says).
METHODS = {
  "mixup": ("Mixup", "method=mixup"),
  "erm": ("ERM", "method=erm"),
  "mixupe_joint": ("MixupE, joint", "method=mixupe,clean_pass=joint"),
  "mixupe_split": ("MixupE, split", "method=mixupe,clean_pass=split"),
  "mixupe_separate": ("MixupE, separate", "method=mixupe,clean_pass=separate"),
  "mixupe_quarter": ("MixupE, 1/4 clean", "method=mixupe,clean_fraction=0.25"),
  "mixupe_mixed": ("MixupE, at mixed points", "method=mixupe,penalty_at=mixed"),
  "mixupe_exact": (
    "MixupE, exact",
    "method=mixupe,penalty=exact,clean_pass=separate",
  ),
  "torch_mixup": ("PyTorch, Mixup", "method=mixup,per_example=False"),
  "torch_mixup_elem": ("PyTorch, Mixup by example", "method=mixup"),
}


# Distinct batches on the device, taken in turn.
BATCHES = 3
PROFILED_STEPS = 4


@dataclasses.dataclass(frozen=True)
class Spec:
  """What one row measures.

  Attributes:
    model: one of MODELS.
    method: one of METHODS.
    batch: over all devices.
    size: side of the images, pixels.
    settings: key=value items changing the recipe's config.
    devices: how many of the local devices; 0 is all.
    steps: measured, in each of the two rounds.
    warmup: steps before the first round.
    torch_compile: torch.compile's mode, or "off"; "" in jaxmix's rows.
  """

  model: str
  method: str
  batch: int
  size: int
  settings: tuple[str, ...] = ()
  devices: int = 0
  steps: int = 32
  warmup: int = 5
  torch_compile: str = ""

  @property
  def is_torch(self) -> bool:
    """Whether PyTorch is to be measured."""
    return self.method.startswith("torch_")

  @property
  def title(self) -> str:
    """How the table calls it."""
    return ", ".join([self.model, METHODS[self.method][0], *self.settings])


def configure(spec: Spec) -> ConfigDict:
  """The recipe's own config, resolved, with what the row changes.

  Raises:
    ValueError: for an unknown key or a wrong value, as in any config.
  """
  name = spec.model.removesuffix("_tiny")
  recipe = importlib.import_module(f"experiments.configs.imagenet_{name}")
  items = [
    *(["smoke"] if name != spec.model else []),
    METHODS[spec.method][1],
    f"batch_size={spec.batch}",
    f"image_size={spec.size}",
    *spec.settings,
  ]
  return common.resolve(recipe.get_config(",".join(items)))


def measure(spec: Spec, profile: str | None = None) -> dict[str, Any]:
  """Measures a row; a failure is returned as {"error": why}."""
  # By name, so that neither library is imported for the other's rows.
  side = "torch" if spec.is_torch else "jax"
  try:
    module = importlib.import_module(f"benchmarks.throughput_{side}")
    measured = module.measure(spec, configure(spec), profile)
  except Exception as error:  # whatever it is, the other rows go on
    traceback.print_exc()
    return {"error": _reason(error)}
  if not np.isfinite(measured["loss"]):
    measured["error"] = f"the loss is {measured['loss']}"
    measured["loss"] = None
  return measured


def timed(spec: Spec, rounds: list[np.ndarray]) -> dict[str, Any]:
  """The figures that both sides take from the steps' times.

  Args:
    spec: of the row.
    rounds: seconds of each step, [steps] a round.
  """
  together = np.concatenate(rounds)
  low, middle, high = np.quantile(together, [0.25, 0.5, 0.75])
  return {
    "step_ms": 1e3 * float(middle),
    "images_per_s": spec.batch / float(middle),
    "mean_images_per_s": spec.batch / float(np.mean(together)),
    "rounds_images_per_s": [
      spec.batch / float(np.median(seconds)) for seconds in rounds
    ],
    # The middle half of all steps, over the median.
    "spread": float((high - low) / middle),
  }


def _reason(error: Exception) -> str:
  if isinstance(error, ModuleNotFoundError):
    return f"{error.name} is not installed"
  text = " ".join(str(error).split())
  if "RESOURCE_EXHAUSTED" in text or "OutOfMemory" in type(error).__name__:
    return f"out of memory: {text[:200]}"
  return f"{type(error).__name__}: {text[:200]}"


def main(argv: list[str]) -> None:
  """Measures the row that a JSON file describes; writes another."""
  request = json.loads(pathlib.Path(argv[0]).read_text())
  request["spec"]["settings"] = tuple(request["spec"]["settings"])
  measured = measure(Spec(**request["spec"]), request["profile"])
  pathlib.Path(argv[1]).write_text(json.dumps(measured))


if __name__ == "__main__":
  main(sys.argv[1:])
