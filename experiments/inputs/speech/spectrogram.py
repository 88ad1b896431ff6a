"""Waveforms to normalized spectrograms, on the device, inside the step.

A clip travels as int16 [16000], half the bytes of its spectrogram in bfloat16
and a quarter in float32.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.inputs.scale import Scale

WINDOW = 320  # samples: 20 ms
HOP = 160
FREQUENCIES, FRAMES = 160, 101
# A spectrogram that is constant up to rounding stays near zero. One of clicks
# of the least amplitude varies by more than 1e-6.
_LEAST_STD = 1e-6


def log_spectrogram(waves: Any) -> jax.Array:
  """Returns log(1 + |S|) of clips, S their short-time Fourier transform.

  Hamming windows (periodic) of 20 ms every 10 ms, the first one centred at the
  first sample, of the wave in [-1, 1) with zeros around it. These have 161
  frequencies, 0 to 8 kHz, and the papers' spectrograms 160: what is left out
  here is 8 kHz itself, at which a recording at 16 kHz holds nothing.

  Args:
    waves: [B, 16000] int16.

  Returns:
    [B, 160, 101] float32: frequencies of 0, 50, ... 7950 Hz by frames.
  """
  waves = jnp.asarray(waves).astype(jnp.float32) / 2**15
  # A window is two hops, and a frame two neighbouring rows.
  waves = jnp.pad(waves, ((0, 0), (WINDOW // 2, WINDOW // 2)))
  rows = waves.reshape(len(waves), -1, HOP)
  frames = jnp.concatenate([rows[:, :-1], rows[:, 1:]], axis=-1)
  window = np.hamming(WINDOW + 1)[:-1].astype(np.float32)
  spectrum = jnp.fft.rfft(frames * window[None, None])[..., :FREQUENCIES]
  return jnp.swapaxes(jnp.log1p(jnp.abs(spectrum)), 1, 2)


def normalized(waves: Any, dtype: Any = jnp.float32) -> jax.Array:
  """Returns log spectrograms less their means, over their standard deviations.

  Each clip has its own two numbers, over frequencies and frames; silence, whose
  deviation is 0, is all zeros.

  Args:
    waves: [B, 16000] int16.
    dtype: of the result; in float32 until then.

  Returns:
    [B, 160, 101, 1].
  """
  values = log_spectrogram(waves)
  mean = jnp.mean(values, axis=(1, 2), keepdims=True)
  std = jnp.std(values, axis=(1, 2), keepdims=True)
  values = (values - mean) / jnp.maximum(std, _LEAST_STD)
  return values[..., None].astype(dtype)


# Attacks are refused: what they would move is the raw wave, and no paper says
# by how much a sound may change and be the same.
SPECTROGRAM = Scale(normalized, None)
