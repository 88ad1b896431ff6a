"""Tests of benchmarks.attention at a tiny size, where there is no cuDNN."""

import json
import math

import jax
import pytest

from benchmarks import attention
from jaxmix.models import transformer


@pytest.fixture(scope="module", autouse=True)
def usual_promotion():
  # JAX multiplies float32 by bfloat16 in the gradient of its attention.
  with jax.numpy_dtype_promotion("standard"):
    yield


@pytest.fixture(scope="module")
def result(tmp_path_factory):
  out = tmp_path_factory.mktemp("attention") / "result.json"
  returned = attention.main(
    ["--tokens=3,4", "--batch=2", "--rounds=1", f"--out={out}"]
  )
  assert json.loads(out.read_text()) == returned
  return returned


def test_every_layer_and_number_of_tokens_has_a_row(result):
  rows = [(row["layer"], row["tokens"]) for row in result["rows"]]
  layers = [layer for layer, *_ in attention.LAYERS]
  assert rows == [(layer, tokens) for tokens in (3, 4) for layer in layers]
  for row in result["rows"]:
    assert 0.0 < row["xla_ms"] < math.inf
    # Of bfloat16's 8 bits.
    assert 0.0 < row["xla_difference"] < 0.02


def test_what_is_missing_is_said(result):
  assert all("cuDNN" in row["cudnn_error"] for row in result["rows"])
  assert "cuDNN is not detected" in attention.table(result["rows"])


def test_a_wrong_result_shows(monkeypatch):
  def wrong(query, key, value, bias):
    return attention._plain(2 * query, key, value, bias)

  monkeypatch.setattr(transformer, "flash_attention", wrong)
  for row in attention.measure(4, 2, 1):
    assert row["cudnn_difference"] > 0.1
    assert "cuDNN is" not in attention.table([row])


def test_tokens_must_be_numbers(capsys):
  with pytest.raises(SystemExit):
    attention.main(["--tokens=few"])
  assert "--tokens must be integers, got 'few'." in capsys.readouterr().err
