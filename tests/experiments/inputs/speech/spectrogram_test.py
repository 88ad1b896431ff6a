"""Spectrograms against SciPy's, and what normalising them may not do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from experiments.inputs.speech import spectrogram


@pytest.fixture(scope="module")
def waves():
  """Noise of three loudnesses, a tone that ends early, and one click."""
  random = np.random.default_rng(0)
  noise = random.normal(size=(3, 16_000)) * [[3.0], [300.0], [9_000.0]]
  short = 8_000 * np.sin(0.3 * np.arange(16_000)) * (np.arange(16_000) < 5_000)
  click = 20_000.0 * (np.arange(16_000) == 0)
  values = np.clip(np.rint([*noise, short, click]), -(2**15), 2**15 - 1)
  return values.astype(np.int16)


def scipys(waves):
  window = signal.get_window("hamming", 320)
  _, _, found = signal.stft(
    waves / 2.0**15,
    window=window,
    nperseg=320,
    noverlap=160,
    boundary="zeros",
    padded=False,
  )
  assert found.shape[1:] == (161, 101)
  return np.log1p(np.abs(found[:, :160]) * window.sum())


@pytest.mark.parametrize("run", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_log_spectrograms_are_scipys(waves, run):
  found = run(spectrogram.log_spectrogram)(waves)
  expected = scipys(waves)
  assert found.shape == (5, 160, 101) and expected.max() > 3.0
  np.testing.assert_allclose(found, expected, atol=1e-4)


def test_each_clip_is_normalized_by_its_own_numbers(waves):
  found = np.array(spectrogram.normalized(waves))
  assert found.shape == (5, 160, 101, 1) and found.dtype == np.float32
  expected = scipys(waves)
  mean = expected.mean((1, 2), keepdims=True)
  std = expected.std((1, 2), keepdims=True)
  np.testing.assert_allclose(
    found[..., 0], (expected - mean) / std, atol=1e-3, rtol=1e-3
  )
  alone = spectrogram.normalized(waves[1:2])
  np.testing.assert_allclose(alone[0], found[1], atol=1e-5)


def test_a_tone_is_at_its_frequency_while_it_lasts():
  times = np.arange(16_000) / 16_000
  wave = np.where(times >= 0.5, 8_000 * np.sin(2 * np.pi * 2_000 * times), 0)
  found = spectrogram.normalized(wave.astype(np.int16)[None])[0, ..., 0]
  assert int(jnp.argmax(found[:, 75])) == 2_000 // 50
  assert float(found[40, 75]) > 3.0 and float(found[40, 25]) < 0.5


def test_silence_is_zeros_and_the_least_sound_is_not():
  waves = np.zeros((3, 16_000), np.int16)
  waves[1, 8_000] = 1
  waves[2] = -5  # constant: its ends are an edge
  found = np.array(spectrogram.normalized(waves))
  assert np.isfinite(found).all() and not found[0].any()
  np.testing.assert_allclose(found[1:].std((1, 2, 3)), 1.0, rtol=1e-3)


def test_is_computed_in_float32_and_then_cast(waves):
  half = spectrogram.normalized(waves, jnp.bfloat16)
  assert half.dtype == jnp.bfloat16
  np.testing.assert_array_equal(
    half, spectrogram.normalized(waves).astype(jnp.bfloat16)
  )


def test_scale_is_one_value_and_refuses_attacks():
  to_float, bounds = spectrogram.SPECTROGRAM
  assert bounds is None and to_float is spectrogram.normalized
