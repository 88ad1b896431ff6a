"""WAV files of any format are one second of int16 at 16 kHz."""

import io
import struct
import wave

import numpy as np
import pytest
from scipy.io import wavfile

from experiments.inputs.speech import wav


def tone(hertz, length=16_000, rate=16_000):
  times = np.arange(length) / rate
  return np.round(8_000 * np.sin(2 * np.pi * hertz * times)).astype(np.int16)


def written(path, rate, values):
  wavfile.write(path, rate, values)
  return path


def riff(sound, *, tag=1, channels=1, rate=16_000, bits=16, size=None):
  """A WAV file of one's own, whatever its header says."""
  align = channels * bits // 8
  head = struct.pack("<HHIIHH", tag, channels, rate, rate * align, align, bits)
  body = b"WAVEfmt " + struct.pack("<I", len(head)) + head
  body += b"data" + struct.pack("<I", len(sound) if size is None else size)
  body += sound
  return b"RIFF" + struct.pack("<I", len(body)) + body


def test_int16_at_16_khz_stays_bit_for_bit(tmp_path):
  values = np.random.default_rng(0).integers(-(2**15), 2**15, 16_000, np.int16)
  clip = wav.read(written(tmp_path / "a.wav", 16_000, values))
  np.testing.assert_array_equal(clip.samples, values)
  assert clip.samples.dtype == np.int16 and clip[1:] == (16_000, 16_000)


@pytest.mark.parametrize("bits", [8, 16, 24, 32, "float", "double", "stereo"])
def test_every_format_holds_the_same_sound(tmp_path, bits):
  # On a grid that all of the formats have.
  sound = tone(300) // 256 * 256
  path = tmp_path / "a.wav"
  wide = sound.astype(np.int32)
  if bits == 24:
    with wave.open(str(path), "wb") as file:
      file.setparams((1, 3, 16_000, 0, "NONE", ""))
      raw = (wide * 256).astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3]
      file.writeframes(raw.tobytes())
  else:
    values = {
      8: (wide // 256 + 128).astype(np.uint8),
      16: sound,
      32: wide * 2**16,
      "float": (wide / 2**15).astype(np.float32),
      "double": wide / 2**15,
      # Their mean is the sound.
      "stereo": np.stack([wide + 100, wide - 100], 1).astype(np.int16),
    }[bits]
    wavfile.write(path, 16_000, values)
  np.testing.assert_array_equal(wav.read(path).samples, sound)


def test_floats_beyond_one_are_clipped(tmp_path):
  values = np.array([2.0, -2.0, 1.0, -1.0, 0.5], np.float32)
  clip = wav.read(written(tmp_path / "a.wav", 16_000, values))
  assert clip.samples[:5].tolist() == [32767, -32768, 32767, -32768, 16384]


@pytest.mark.parametrize(("length", "kept"), [(5, 5), (40_000, 16_000)])
def test_clips_get_zeros_at_their_end_or_lose_it(tmp_path, length, kept):
  values = np.arange(1, length + 1).astype(np.int16)
  clip = wav.read(written(tmp_path / "a.wav", 16_000, values))
  np.testing.assert_array_equal(clip.samples[:kept], values[:kept])
  assert not clip.samples[kept:].any() and clip.length == length


@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 48_000])
def test_other_rates_are_resampled(tmp_path, rate):
  for length in (rate, 3 * rate):  # the end of a longer one changes nothing
    values = tone(300, length, rate)
    clip = wav.read(written(tmp_path / "a.wav", rate, values))
    assert (clip.rate, clip.length) == (rate, 16_000 * length // rate)
    inside = slice(200, -200)  # the filter sees silence beyond a file's ends
    np.testing.assert_allclose(clip.samples[inside], tone(300)[inside], atol=80)


def test_what_a_lower_rate_cannot_hold_is_filtered_out(tmp_path):
  values = tone(9_000, 48_000, 48_000)
  clip = wav.read(written(tmp_path / "a.wav", 48_000, values))
  # Without a filter it would be an alias of 7 kHz, as loud.
  assert np.abs(clip.samples[200:-200]).max() < 1_500


def test_silence_is_a_clip(tmp_path):
  values = np.zeros(16_000, np.int16)
  clip = wav.read(written(tmp_path / "a.wav", 16_000, values))
  assert not clip.samples.any() and clip.length == 16_000


def test_chunks_beside_the_sound_are_skipped_without_a_word(tmp_path):
  raw = riff(b"\1\0\2\0")
  extra = b"LIST\3\0\0\0abc\0" + b"odd \2\0\0\0xy"
  path = tmp_path / "a.wav"
  for behind in (b"", b"id3 \4\0\0\0abcd", b"gar", b"bage of more bytes"):
    path.write_bytes(raw[:12] + extra + raw[12:] + behind)
    assert wav.read(path).samples[:3].tolist() == [1, 2, 0]


@pytest.mark.parametrize("size", [0, 2**32 - 1, 7])
def test_a_wrong_size_of_the_whole_file_is_no_matter(tmp_path, size):
  raw = riff(b"\1\0\2\0")
  path = tmp_path / "a.wav"
  path.write_bytes(raw[:4] + struct.pack("<I", size) + raw[8:])
  assert wav.read(path).samples[:3].tolist() == [1, 2, 0]


def test_big_endian_files_are_read(tmp_path):
  head = struct.pack(">HHIIHH", 1, 1, 16_000, 32_000, 2, 16)
  body = b"WAVEfmt " + struct.pack(">I", 16) + head
  body += b"data" + struct.pack(">I", 4) + struct.pack(">hh", 1, -2)
  path = tmp_path / "a.wav"
  path.write_bytes(b"RIFX" + struct.pack(">I", len(body)) + body)
  assert wav.read(path).samples[:3].tolist() == [1, -2, 0]


def whole():
  file = io.BytesIO()
  wavfile.write(file, 16_000, tone(300))
  return file.getvalue()


@pytest.mark.parametrize(
  ("raw", "message"),
  [
    (b"", "is empty"),
    (b"not a sound at all", "is no WAV file"),
    (b"RIFF\0\0\0\0AVI LIST", "is no WAV file"),
    (whole()[:-1], "cut short: 32000 bytes of sound expected, got 31999"),
    (whole()[:1000], "cut short: 32000 bytes"),
    (whole()[:44], "cut short: 32000 bytes of sound expected, got 0"),
    (whole()[:30], "cut short, before its sound"),
    (riff(b""), "holds no samples"),
    (riff(b"\1\0", size=2**32 - 1), "cut short"),
    (riff(bytes(8), rate=0), "cannot be read|has 0 samples"),
    (riff(bytes(8), rate=2**30), "samples a second; known are 1,000"),
    (riff(bytes(8), tag=7, bits=8), "cannot be read: .*MULAW"),
    (riff(bytes(8), channels=0), "cannot be read"),
    (riff(np.float32([0, np.nan]).tobytes(), tag=3, bits=32), "NaN"),
    (riff(np.float32([0, np.inf]).tobytes(), tag=3, bits=32), "infinite"),
  ],
)
def test_what_is_no_sound_is_named(tmp_path, raw, message):
  path = tmp_path / "a.wav"
  path.write_bytes(raw)
  with pytest.raises(ValueError, match=message):
    wav.read(path)


def test_a_file_cut_anywhere_is_refused(tmp_path):
  raw = riff(bytes(range(20)), channels=2)
  path = tmp_path / "a.wav"
  for length in range(len(raw)):
    path.write_bytes(raw[:length])
    with pytest.raises(ValueError, match="empty|no WAV|cut short"):
      wav.read(path)
  path.write_bytes(raw)
  assert wav.read(path).length == 5
