"""Where the real files are, where there are any."""

import os
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[4]


@pytest.fixture(scope="session")
def shared():
  folder = pathlib.Path(
    os.environ.get("JAXMIX_SHARED_DATA", ROOT.parent / "shared" / "data")
  )
  if not (folder / "uci").is_dir():
    pytest.skip(f"no tables at {folder}/uci: set JAXMIX_SHARED_DATA")
  return folder
