"""Every notebook under colabs/ runs top to bottom and is stored clean."""

import pathlib
import re

import nbformat
import pytest

from tests import quick

ROOT = pathlib.Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "colabs").glob("*.ipynb"))

# Of these, steps take longer than their compilation: they are compiled fully.
TRAIN_LONG = {"quickstart"}

each_notebook = pytest.mark.parametrize(
  "path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS]
)


def test_there_are_notebooks():
  assert ROOT / "colabs" / "quickstart.ipynb" in NOTEBOOKS


@each_notebook
def test_is_valid_and_stored_without_outputs(path):
  notebook = nbformat.read(path, as_version=4)
  nbformat.validate(notebook)
  code = [cell for cell in notebook.cells if cell.cell_type == "code"]
  assert code
  for cell in code:
    assert cell.outputs == []
    assert cell.execution_count is None


@each_notebook
def test_opens_in_colab_and_ends_with_exercises(path):
  first, *_, last = nbformat.read(path, as_version=4).cells
  badge, _, title = first.source.splitlines()[:3]
  assert re.fullmatch(r"\[!\[Open in Colab\]\(\S+\)\]\(\S+\)", badge)
  assert title.startswith("# ")
  assert re.search("^## Exercises\n\n1\\. |Try it yourself", last.source, re.M)


@each_notebook
def test_first_code_cell_installs_jaxmix_only_where_missing(path):
  notebook = nbformat.read(path, as_version=4)
  first = next(cell for cell in notebook.cells if cell.cell_type == "code")
  before, install = first.source.split("%pip install")
  assert before.rstrip().endswith('find_spec("jaxmix") is None:')
  assert install.split() == ["-q", "-e", '"..[colab]"']


@each_notebook
def test_runs_top_to_bottom(path, monkeypatch):
  nbclient = pytest.importorskip("nbclient")
  # The kernel is a user's, with the library from here: of the tests' settings
  # only those that compile quickly, and one device.
  flags = "" if path.stem in TRAIN_LONG else quick.FLAGS
  monkeypatch.setenv("XLA_FLAGS", flags)
  # One thread: several wait for each other at small operations, the more where
  # another worker has the core.
  monkeypatch.setenv("PJRT_NPROC", "1")
  monkeypatch.setenv("PYTHONPATH", str(ROOT))
  # Whatever reaches for the network ends the test.
  monkeypatch.setenv("PIP_NO_INDEX", "1")
  notebook = nbformat.read(path, as_version=4)
  nbclient.NotebookClient(
    notebook,
    timeout=1800,  # of a cell, where others compute as well
    kernel_name="python3",
    resources={"metadata": {"path": str(ROOT / "colabs")}},
  ).execute()  # raises on the first cell that fails
