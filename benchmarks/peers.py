"""Loading of timm and torchvision, also beside a CPU build of PyTorch."""

from __future__ import annotations

import importlib
import re
import sys
from typing import Any

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
