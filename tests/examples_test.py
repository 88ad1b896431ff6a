"""Runs the examples: every docstring's of the library, and the docs' pages'."""

import doctest
import importlib
import pathlib
import pkgutil
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmix

# What a reader of a docstring is taken to have imported.
NAMES = {"jax": jax, "jaxmix": jaxmix, "jnp": jnp, "np": np, "optax": optax}


def docstrings_with_examples():
  """Every docstring with a `>>>`, of modules, functions, classes, methods."""
  finder = doctest.DocTestFinder(exclude_empty=True)
  names = [jaxmix.__name__] + [
    module.name for module in pkgutil.walk_packages(jaxmix.__path__, "jaxmix.")
  ]
  return {
    found.name: found
    for name in names
    for found in finder.find(importlib.import_module(name), extraglobs=NAMES)
    if found.examples
  }


def page_with_examples(name, heading="##"):
  """The sections of a page, each for a session of its own."""
  path = pathlib.Path(__file__).parents[1] / "docs" / name
  text = path.read_text()
  setup = "".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[:1])
  names = dict(NAMES)
  exec(setup, names)
  sections = re.split(rf"^{heading} ", text, flags=re.MULTILINE)[1:]
  found = {}
  for section in sections:
    title = f"{name}: {section.splitlines()[0]}"
    assert title not in found
    code = "".join(re.findall(r"```pycon\n(.*?)```", section, re.DOTALL))
    if code:
      found[title] = doctest.DocTestParser().get_doctest(
        code, names, title, str(path), 0
      )
  return found


EXAMPLES = (
  docstrings_with_examples()
  | page_with_examples("examples.md")
  | page_with_examples("audit.md", "##?")
  | page_with_examples("how_do_i.md", "###")
)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_prints_what_it_says(name):
  assert EXAMPLES[name].examples
  report = []
  runner = doctest.DocTestRunner(verbose=False)
  # The names a module happens to import are not the reader's.
  if ".md" not in name:
    EXAMPLES[name].globs = dict(NAMES)
  runner.run(EXAMPLES[name], out=report.append)
  assert not runner.failures, "".join(report)


def test_the_walk_finds_functions_classes_and_subpackages():
  assert EXAMPLES.keys() >= {
    "jaxmix.policies.untied",
    "jaxmix.losses.MixedTargets",
    "jaxmix.theory.moments.beta_moment",
  }


def test_a_wrong_number_is_caught():
  (test,) = doctest.DocTestFinder().find(wrong, "wrong", globs={})
  runner = doctest.DocTestRunner(verbose=False)
  runner.run(test, out=lambda text: None)
  assert (runner.failures, runner.tries) == (1, 2)


def wrong():
  """Is not so.

  Example:
    >>> two = 2
    >>> two + two
    5
  """
