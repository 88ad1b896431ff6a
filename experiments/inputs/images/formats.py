"""The formats of small image data sets' official files; none is a pickle."""

from __future__ import annotations

from collections.abc import Callable
import io
import math
import pathlib

import numpy as np

from experiments.inputs.images import official

Examples = tuple[np.ndarray, np.ndarray]


def read_idx(path: pathlib.Path) -> np.ndarray:
  """Reads a gzipped idx file of uint8, the format of MNIST's files.

  Raises:
    ValueError: if it is something else, or cut short.
  """
  return idx(official.unpack(path), path)


def idx(values: bytes, path: pathlib.Path) -> np.ndarray:
  """Returns the array of an idx file of uint8.

  Args:
    values: what is in it.
    path: to it, for the error.

  Raises:
    ValueError: if it is something else, or cut short.
  """
  if values[:3] != b"\x00\x00\x08":
    raise ValueError(f"{path} is not an idx file of bytes.")
  rank = values[3]
  shape = np.frombuffer(values, ">i4", rank, 4)
  found = np.frombuffer(values, np.uint8, offset=4 + 4 * rank)
  if found.size != math.prod(shape.tolist()):
    raise ValueError(
      f"{path} is damaged: expected {shape.tolist()} bytes, got {found.size}; "
      "download it again."
    )
  return found.reshape(shape)


def mnist(paths: list[pathlib.Path], contents: list[bytes]) -> Examples:
  """Images and labels, an idx file each, to [N, 28, 28, 1] and [N]."""
  images, labels = map(idx, contents, paths)
  return images[..., None], labels


def cifar(labels: int) -> Callable[..., Examples]:
  """Returns the reader of CIFAR's binary files.

  An image is its labels, a byte each, and the planes of red, green and blue.

  Args:
    labels: bytes of labels, of which the last counts: CIFAR-100 has the coarse
      one before.
  """

  def read(paths: list[pathlib.Path], contents: list[bytes]) -> Examples:
    del paths
    rows = np.frombuffer(contents[0], np.uint8).reshape(-1, labels + 3 * 32**2)
    images = rows[:, labels:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), rows[:, labels - 1]

  return read


def svhn(paths: list[pathlib.Path], contents: list[bytes]) -> Examples:
  """MATLAB's file of X [32, 32, 3, N] and y, 1 .. 10, where 10 is the digit 0.

  Raises:
    ValueError: if it is none, or holds something else.
  """
  from scipy import io as matlab

  try:
    found = matlab.loadmat(io.BytesIO(contents[0]), variable_names=("X", "y"))
    images, labels = found["X"], found["y"].ravel()
    if images.ndim != 4 or images.shape[-1] != len(labels):
      raise ValueError(f"X of {images.shape} and y of {labels.shape}")
  except Exception as error:  # whatever SciPy makes of other bytes
    raise ValueError(
      f"{paths[0]} is no MATLAB file of SVHN's cropped digits ({error})."
    ) from None
  images = np.ascontiguousarray(images.transpose(3, 0, 1, 2))
  return images, labels % 10


def stl10(paths: list[pathlib.Path], contents: list[bytes]) -> Examples:
  """Planes in MATLAB's order, columns first, and labels 1 .. 10."""
  del paths
  planes = np.frombuffer(contents[0], np.uint8).reshape(-1, 3, 96, 96)
  labels = np.frombuffer(contents[1], np.uint8)
  images = np.ascontiguousarray(planes.transpose(0, 3, 2, 1))
  # A label of 0 is none: it becomes 255, and is refused as out of range.
  return images, labels - np.uint8(1)
