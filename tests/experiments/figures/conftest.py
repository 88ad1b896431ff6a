"""Figures in a few seconds, in the precision that their programs run in."""

import contextlib

import jax
import pytest

from experiments.figures import drawing


@contextlib.contextmanager
def as_programs_run():
  with jax.enable_x64(), jax.numpy_dtype_promotion("standard"):
    yield


@pytest.fixture(autouse=True)
def double_precision():
  with as_programs_run():
    yield


@pytest.fixture(scope="module")
def smoke(request, tmp_path_factory):
  """The numbers of the module's FIGURE, which has been drawn to a file."""
  figure = request.module.FIGURE
  with as_programs_run():
    result = figure.compute(smoke=True)
    target = tmp_path_factory.mktemp("figure") / "figure.png"
    drawing.save(figure.draw(result), result["caption"], target)
  assert target.read_bytes().startswith(b"\x89PNG")
  assert isinstance(result["seen"], bool)
  return result
