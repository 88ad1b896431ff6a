"""WAV files as clips of one second, 16 kHz, int16; whatever their format."""

from __future__ import annotations

import io
import math
import pathlib
import struct
from typing import NamedTuple
import warnings

import numpy as np

RATE = 16_000  # samples a second, and a clip
# What microphones and studios have; the filter of a rate far from 16 kHz has a
# size of its own order.
RATES = (1_000, 768_000)


class Clip(NamedTuple):
  """A clip, and what it was.

  Attributes:
    samples: [16000] int16.
    rate: of the file, in samples a second.
    length: of the file at 16 kHz: less than 16000, and zeros were added at the
      end; more, and it was cut there.
  """

  samples: np.ndarray
  rate: int
  length: int


def read(path: pathlib.Path) -> Clip:
  """Reads the first second of a file.

  Integers of 1 to 64 bits and floats in [-1, 1] (what is beyond is clipped)
  become int16, channels are averaged, and other rates resampled by a polyphase
  filter. int16 at 16 kHz stays as it is, bit for bit.

  Args:
    path: of the file.

  Raises:
    OSError: if it cannot be opened.
    ValueError: if it is not a whole WAV file, or holds what is no sound;
      without the path.
  """
  from scipy import signal
  from scipy.io import wavfile

  raw = _whole(path.read_bytes())
  try:
    with warnings.catch_warnings():
      # Of chunks beside the sound; that this is whole was checked.
      warnings.simplefilter("ignore", wavfile.WavFileWarning)
      rate, values = wavfile.read(io.BytesIO(raw))
  except Exception as error:  # scipy raises what it happens to stumble over
    raise ValueError(f"cannot be read: {_line(error)}") from error
  if not len(values):
    raise ValueError("holds no samples")
  if not RATES[0] <= rate <= RATES[1]:
    raise ValueError(f"has {rate} samples a second; known are {_range()}")
  length = -(-len(values) * RATE // rate)
  # A tenth more than needed, for the filter.
  values = values[: rate + rate // 10]
  if not np.isfinite(values).all():
    raise ValueError("holds samples that are NaN or infinite")
  floats = _as_int16(values)
  if floats.ndim > 1:
    floats = floats.mean(axis=1)
  if rate != RATE:
    common = math.gcd(rate, RATE)
    floats = signal.resample_poly(floats, RATE // common, rate // common)
  samples = np.zeros(RATE, np.int16)
  floats = np.clip(np.rint(floats[:RATE]), -(2**15), 2**15 - 1)
  samples[: len(floats)] = floats
  return Clip(samples, rate, length)


def _whole(raw: bytes) -> bytes:
  """Returns a file as far as its sound, which must not be cut short.

  Scipy reads what is cut as a shorter file, and trips over a header that is
  wrong about the file's whole size (recorders that stream write 0) or what
  stands behind the sound.
  """
  if not raw:
    raise ValueError("is empty")
  kind = raw[:4]
  if kind not in (b"RIFF", b"RIFX", b"RF64") or raw[8:12] != b"WAVE":
    raise ValueError("is no WAV file, or its header is damaged")
  order, at = ">" if kind == b"RIFX" else "<", 12
  while at + 8 <= len(raw):
    (size,) = struct.unpack_from(f"{order}I", raw, at + 4)
    if raw[at : at + 4] == b"data":
      left = len(raw) - at - 8
      if kind == b"RF64":  # which has both sizes elsewhere
        return raw
      if size > left:
        raise ValueError(
          f"is cut short: {size} bytes of sound expected, got {left}"
        )
      end = at + 8 + size
      return kind + struct.pack(f"{order}I", end - 8) + raw[8:end]
    at += 8 + size + size % 2
  raise ValueError("is cut short, before its sound")


def _as_int16(values: np.ndarray) -> np.ndarray:
  """Float64 on the scale of int16."""
  floats = values.astype(np.float64)
  if values.dtype == np.uint8:
    return (floats - 2**7) * 2**8
  if values.dtype.kind == "f":
    return floats * 2**15
  # 24 bits come as the upper ones of 32.
  return floats / 2.0 ** (8 * values.dtype.itemsize - 16)


def _line(error: Exception) -> str:
  return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _range() -> str:
  return f"{RATES[0]:,} to {RATES[1]:,}"
