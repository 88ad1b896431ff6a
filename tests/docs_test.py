"""docs/theory.md: its code runs, its names and links exist."""

import json
import pathlib
import re

import jax
import jax.numpy as jnp
import pytest

import jaxmix
from jaxmix import policies, theory

DOCS = pathlib.Path(__file__).parents[1] / "docs"
TEXT = (DOCS / "theory.md").read_text()


def test_the_code_runs():
  (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
  names = {}
  with (
    jax.numpy_dtype_promotion("standard"),
    jax.numpy_rank_promotion("allow"),
  ):
    exec(code, names)
    given = theory.robustness_assumptions(
      names["logit_fn"], names["x"], names["y"]
    )
  assert given.right and jnp.abs(given.off_centre) < 1e-5


def test_every_function_named_exists_and_every_function_is_named():
  words = set(re.findall(r"`([a-z_]+)(?:\(|`)", TEXT))
  known = {n for n in dir(theory) if not n.startswith("_") and n.islower()}
  functions = {n for n in known if callable(getattr(theory, n))}
  silent = {"derivatives", "gaussian_curvature", "standard_loss"}
  assert functions - silent <= words | {"beta_moment"}
  elsewhere = {"monitor_examples", "n"} | {
    w for w in words if w.startswith("theory_")
  }
  for word in words - elsewhere:
    assert hasattr(theory, word) or hasattr(jaxmix, word), word
  assert hasattr(policies, "untied")


@pytest.mark.parametrize("link", re.findall(r"\]\((\.\.?/[^)]+)\)", TEXT))
def test_links_and_captions(link):
  target = (DOCS / link).resolve()
  assert target.exists()
  if target.suffix == ".png":
    result = json.loads(target.with_suffix(".json").read_text())
    assert isinstance(result["seen"], bool) and result["caption"]
