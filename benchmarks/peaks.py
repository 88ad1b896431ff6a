"""The bfloat16 peak of GPUs: dense matrix products, operations a second.

NVIDIA's data sheets, which give twice the dense rate ("with sparsity"):
  H200: https://www.nvidia.com/en-us/data-center/h200 (SXM 1,979 TFLOPS, NVL
    1,671).
  H100: https://www.nvidia.com/en-us/data-center/h100 (SXM 1,979, NVL 1,671).
  A100: https://www.nvidia.com/en-us/data-center/a100 (312 dense, all forms).
Other forms of the H100 share its name but not its rate, and are left out.
"""

from __future__ import annotations

# Parts of a device's name, the more specific first.
_PEAKS = {
  "H200 NVL": 835e12,
  "NVIDIA H200": 989e12,
  "H100 NVL": 835e12,
  "H100 80GB HBM3": 989e12,
  "NVIDIA A100": 312e12,
}


def of(device_kind: str) -> float | None:
  """The peak of a device, by JAX's or PyTorch's name; None if not known."""
  for part, peak in _PEAKS.items():
    if part in device_kind:
      return peak
  return None
