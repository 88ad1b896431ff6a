"""The loops of docs/own_loop.md run, and each learns digits."""

import pathlib
import re

import jax
import pytest

TEXT = (pathlib.Path(__file__).parents[1] / "docs" / "own_loop.md").read_text()
FIRST, *SECTIONS = re.split(r"^## ", TEXT, flags=re.MULTILINE)
NEEDS = {"Equinox": "equinox", "Haiku": "haiku"}


def code(section):
  (block,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
  return block


BLOCKS = {section.splitlines()[0]: code(section) for section in SECTIONS}
LAST = "Gradient accumulation, and an average of the weights"


@pytest.fixture(scope="module")
def page():
  """What the page's first block defines."""
  names = {}
  exec(code(FIRST), names)
  return names


def test_the_page_has_the_five_and_each_is_short():
  assert list(BLOCKS) == [
    *("Flax linen", "Flax nnx", "Equinox", "Haiku", "Bare JAX"),
    LAST,
  ]
  for title, block in BLOCKS.items():
    assert len(block.splitlines()) <= 40, title
    assert max(map(len, block.splitlines())) <= 80, title


@pytest.mark.parametrize("title", BLOCKS)
def test_learns_digits_to_under_three_percent(page, title):
  pytest.importorskip(NEEDS.get(title, "jax"))
  names = dict(page)
  with (
    jax.numpy_dtype_promotion("standard"),
    jax.numpy_rank_promotion("allow"),
  ):
    if title == LAST:  # it goes on from the block before
      exec(BLOCKS["Bare JAX"].partition("params, stats, _ = fit")[0], names)
    exec(BLOCKS[title], names)
  assert 0 < names["result"] < 0.03
