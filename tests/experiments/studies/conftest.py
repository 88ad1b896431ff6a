"""Where studies find real data."""

import os
import pathlib

import pytest

SHARED = pathlib.Path(
  os.environ.get(
    "JAXMIX_SHARED_DATA", pathlib.Path(__file__).parents[4] / "shared" / "data"
  )
)


@pytest.fixture
def shared():
  """(folder of a data set) -> the folder above it, or this test is skipped."""

  def look(name):
    if not (SHARED / name).is_dir():
      pytest.skip(f"no {name}: set JAXMIX_SHARED_DATA to its parent")
    return str(SHARED)

  return look
