"""Loading of timm, torchvision and openmixup beside a CPU build of PyTorch."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import re
import sys
import types
from typing import Any
from unittest import mock

# Registrations of operators last as long as their Library.
_LIBRARIES: list[Any] = []


def load(name: str) -> Any:
  """Imports a module that may import torchvision.

  PyPI's torchvision for Linux is built for CUDA: beside a CPU build of PyTorch
  its compiled operators (nms and its kin) are missing, and importing it fails,
  which takes timm along. Mixing is Python there and needs none of them, so
  stand-ins that can be declared but not called are registered where missing.

  Args:
    name: a module of timm or torchvision.

  Returns:
    The module.

  Raises:
    ImportError: if it, PyTorch, or something else it needs is not installed.
  """
  import torch

  while True:
    try:
      return importlib.import_module(name)
    except RuntimeError as error:
      missing = re.fullmatch(
        r"operator torchvision::(\w+) does not exist", str(error)
      )
      if missing is None:
        raise
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define(f"{missing[1]}(Tensor x) -> Tensor")
    _LIBRARIES.append(library)
    for module in list(sys.modules):
      if module.partition(".")[0] in ("timm", "torchvision"):
        del sys.modules[module]


@functools.cache
def openmixup(name: str) -> Any:
  """Returns one of openmixup's mixing functions, read from its file alone.

  Its package imports the compiled operators of mmcv 1, which are built for
  PyTorch 1; its mixing functions need PyTorch alone, but for one of its own
  that shuffles over GPUs and is not called here. They move indices and masks
  to a GPU: where there is none they stay where they are.

  Args:
    name: of the function and of its file in openmixup/models/augments.

  Raises:
    ImportError: if openmixup or PyTorch is not installed.
  """
  import torch

  try:
    files = importlib.metadata.distribution("openmixup")
  except importlib.metadata.PackageNotFoundError as error:
    raise ImportError("openmixup is not installed.") from error
  path = files.locate_file(f"openmixup/models/augments/{name}.py")
  spec = importlib.util.spec_from_file_location(f"openmixup_{name}", str(path))
  assert spec is not None and spec.loader is not None
  module = importlib.util.module_from_spec(spec)
  helpers = types.ModuleType("openmixup.models.utils")
  for helper in ("batch_shuffle_ddp", "to_2tuple"):
    setattr(helpers, helper, None)
  stand_ins = {
    name: types.ModuleType(name) for name in ("openmixup", "openmixup.models")
  } | {"openmixup.models.utils": helpers}
  with mock.patch.dict(sys.modules, stand_ins):
    spec.loader.exec_module(module)
  mix = getattr(module, name)

  @functools.wraps(mix)
  def call(*args: Any, **options: Any) -> Any:
    if torch.cuda.is_available():
      return mix(*args, **options)
    with mock.patch.object(torch.Tensor, "cuda", lambda self: self):
      return mix(*args, **options)

  return call
