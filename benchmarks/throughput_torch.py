"""PyTorch's side of `benchmarks.throughput`: timm's model and Mixup.

What a step does, as jaxmix's does: normalises uint8 pixels, mixes, forward and
backward in bfloat16 under autocast, clips if the recipe does, SGD or AdamW in
its fused form, weight decay on the same parameters, an exponential average of
parameters and statistics. The model and its loss are compiled, in
channels_last. Left out: the running accuracy and the norm of the gradient,
which jaxmix's step also reports.
"""

from __future__ import annotations

import contextlib
import itertools
import pathlib
import time
from typing import Any

from ml_collections import ConfigDict
import numpy as np
import torch

from benchmarks import peers, timing
from benchmarks.throughput_row import BATCHES, PROFILED_STEPS, Spec, timed

_NUM_CLASSES = 1000
_MEAN = (123.675, 116.28, 103.53)
_STD = (58.395, 57.12, 57.375)
# Beside the two of the recipes, models of about the tiny siblings' size.
_MODELS: dict[str, tuple[str, dict[str, Any]]] = {
  "resnet50": ("resnet50", {}),
  "vit_b16": ("vit_base_patch16_224", {}),
  "resnet50_tiny": (
    "resnet50",
    {"layers": (1, 1, 1, 1), "channels": (8, 16, 32, 64)},
  ),
  "vit_b16_tiny": (
    "vit_base_patch16_224",
    {
      "patch_size": 8,
      "embed_dim": 32,
      "depth": 2,
      "num_heads": 2,
      "mlp_ratio": 2.0,
    },
  ),
}


def measure(
  spec: Spec, config: ConfigDict, profile: str | None
) -> dict[str, Any]:
  """Compiles, warms up, times and perhaps traces the training step."""
  device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
  on_gpu = device.type == "cuda"
  torch.manual_seed(0)
  np.random.seed(0)
  torch.backends.cudnn.benchmark = True
  torch.set_float32_matmul_precision("high")
  step = _step(spec, config, device)
  losses = []

  def dispatch():
    losses[:] = [step()]
    if not on_gpu:
      return None
    end = torch.cuda.Event()
    end.record()
    return end

  def wait(end):
    if end is not None:
      end.synchronize()

  def run(count):
    return timing.pipelined(dispatch, wait, count, ahead=3)

  begun = time.perf_counter()
  wait(dispatch())
  first = time.perf_counter() - begun
  run(spec.warmup)
  rounds = [run(spec.steps) for _ in range(2)]
  if profile is not None:
    folder = pathlib.Path(profile)
    folder.mkdir(parents=True, exist_ok=True)
    with torch.profiler.profile() as trace:
      run(PROFILED_STEPS)
    name = f"{spec.model}_{spec.method}_{spec.batch}.trace.json.gz"
    trace.export_chrome_trace(str(folder / name))
  return {
    "device": torch.cuda.get_device_name() if on_gpu else "cpu",
    "device_count": 1,
    "platform_version": f"CUDA {torch.version.cuda}" if on_gpu else "cpu",
    "dtype": config.dtype,
    "trace_s": None,
    # The compiler works when the first step is taken.
    "compile_s": None if spec.torch_compile == "off" else first,
    "first_step_s": first,
    **timed(spec, rounds),
    "loss": float(losses[0]),
    "flops": None,
    "xla_flops": None,
    "peak_bytes": torch.cuda.max_memory_allocated() if on_gpu else None,
    "program_bytes": None,
  }


def _step(spec, config, device):
  """Returns a function that takes one step and returns its loss."""
  timm = peers.load("timm")
  mixing = peers.load("timm.data.mixup")
  losses = peers.load("timm.loss")
  name, options = _MODELS[spec.model]
  if name.startswith("vit"):
    rate = config.model_options.get("dropout", 0.0)
    options = options | {
      "img_size": spec.size,
      "proj_drop_rate": rate,
      "pos_drop_rate": rate,
    }
  model = timm.create_model(name, num_classes=_NUM_CLASSES, **options)
  model = model.to(device, memory_format=torch.channels_last).train()
  mix = mixing.Mixup(
    mixup_alpha=config.alpha,
    mode="elem" if config.per_example else "batch",
    label_smoothing=config.label_smoothing,
    num_classes=_NUM_CLASSES,
  )
  criterion = losses.SoftTargetCrossEntropy()

  def loss_fn(images, targets):
    return criterion(model(images), targets)

  if spec.torch_compile != "off":
    loss_fn = torch.compile(loss_fn, mode=spec.torch_compile)
  # Not on a CPU in float32, the tiny recipes' dtype.
  low = config.dtype == "bfloat16"
  precision = (
    torch.autocast(device.type, torch.bfloat16)
    if low
    else contextlib.nullcontext()
  )
  parameters = list(model.parameters())
  optimizer = _optimizer(config, parameters)
  live = [*parameters, *(b for b in model.buffers() if b.is_floating_point())]
  average = [tensor.detach().clone() for tensor in live]
  mean = torch.tensor(_MEAN, device=device).view(1, 3, 1, 1)
  std = torch.tensor(_STD, device=device).view(1, 3, 1, 1)
  batches = itertools.cycle(_batches(spec, device))
  taken, warmup = itertools.count(1), max(config.warmup_steps, 1)

  def step():
    pixels, labels = next(batches)
    images, targets = mix(pixels.float().sub_(mean).div_(std), labels)
    with precision:
      loss = loss_fn(images, targets)
    loss.backward()
    if config.grad_clip:
      torch.nn.utils.clip_grad_norm_(parameters, config.grad_clip)
    rate = config.learning_rate * min(1.0, next(taken) / warmup)
    for group in optimizer.param_groups:
      group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    with torch.no_grad():
      torch._foreach_lerp_(average, live, 1.0 - config.polyak_rate)
    return loss.detach()

  return step


def _optimizer(config, parameters):
  """The recipe's, fused; its decay acts on kernels alone."""
  kernels = [p for p in parameters if p.ndim in (2, 4)]
  others = [p for p in parameters if p.ndim not in (2, 4)]
  groups = [
    {"params": kernels, "weight_decay": config.weight_decay},
    {"params": others, "weight_decay": 0.0},
  ]
  if config.optimizer == "sgd":
    return torch.optim.SGD(
      groups, lr=config.learning_rate, momentum=config.momentum, fused=True
    )
  return torch.optim.AdamW(
    groups,
    lr=config.learning_rate,
    betas=(config.b1, config.b2),
    fused=True,
  )


def _batches(spec, device):
  """Random pixels and labels, on the device."""
  shape = (spec.batch, 3, spec.size, spec.size)
  return [
    (
      torch.randint(0, 256, shape, dtype=torch.uint8, device=device).to(
        memory_format=torch.channels_last
      ),
      torch.randint(0, _NUM_CLASSES, (spec.batch,), device=device),
    )
    for _ in range(BATCHES)
  ]
