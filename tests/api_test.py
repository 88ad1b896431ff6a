"""Walks the public API: signatures, docstrings, imports."""

import ast
import inspect
import pathlib
import re
import subprocess
import sys

import pytest

import jaxmix
from jaxmix import (
  attacks,
  beta,
  hidden,
  losses,
  pairing,
  penalties,
  policies,
  theory,
)

ROOT = pathlib.Path(jaxmix.__file__).parent.parent
MODULES = (
  *(jaxmix, attacks, beta, hidden, losses),
  *(pairing, penalties, policies, theory),
)


def public_functions():
  """Public functions defined in jaxmix, by qualified name."""
  found = {}
  for module in MODULES:
    for name, value in vars(module).items():
      if name.startswith("_") or not inspect.isfunction(value):
        continue
      if value.__module__.startswith("jaxmix."):
        found[f"{value.__module__}.{name}"] = value
  return found


def public_classes():
  found = {}
  for module in MODULES:
    for name, value in vars(module).items():
      if name.startswith("_") or not inspect.isclass(value):
        continue
      if value.__module__.startswith("jaxmix."):
        found[f"{value.__module__}.{name}"] = value
  return found


FUNCTIONS, CLASSES = public_functions(), public_classes()
# Options that read as data, and may be positional.
POSITIONAL = {
  "jaxmix.citing.cite": {"what"},
  "jaxmix.pictures.show": {"labels"},
  "jaxmix.directional.exact_directional_penalty": {"input_mean"},
  "jaxmix.directional.taylor_penalty": {"input_mean"},
  "jaxmix.penalties.exact": {"input_mean"},
  "jaxmix.penalties.taylor": {"order"},
  "jaxmix.penalties.release": {"threshold"},
  "jaxmix.policies.mixup": {"beta"},
  "jaxmix.policies.scaled": {"low", "high"},
  "jaxmix.policies.erm": {"mean_shift"},
  "jaxmix.pairing.between": {"mask"},
  "jaxmix.pairing.permutation": {"mask"},
  "jaxmix.pairing.roll": {"mask"},
  "jaxmix.pairing.flip": {"mask"},
  "jaxmix.beta.sample_logit": {"shape"},
  "jaxmix.beta.nodes": {"num_nodes"},
  "jaxmix.theory.robustness.mixup_radius": {"y"},
}
# One-paragraph functions, whose text is their whole contract.
BRIEF = {
  "jaxmix.beta.mean",
  "jaxmix.losses.expand",
  "jaxmix.penalties.approximate",
  "jaxmix.pairing.permutation",
  "jaxmix.pairing.roll",
  "jaxmix.pairing.flip",
}
# Classes that users make themselves; the others are what functions return.
CONSTRUCTED = {
  "jaxmix.boxes.CutMixPlan",
  "jaxmix.losses.MixedTargets",
  "jaxmix.masks.MaskPlan",
  "jaxmix.mixing.MixPlan",
  "jaxmix.mixture.MixturePlan",
  "jaxmix.pairing.Partners",
  "jaxmix.policies.MixingPolicy",
}
SOURCES = ("jaxmix", "experiments", "benchmarks")
SECTIONS = ("Args:", "Attributes:", "Returns:", "Raises:", "Example:")


def example_of(doc):
  """The lines of a docstring's last section, which must be its example."""
  assert "\nExample:\n" in doc, "no example"
  lines = doc.split("\nExample:\n")[1].splitlines()
  assert all(line.startswith("  ") for line in lines), "not the last section"
  return [line.strip() for line in lines]


def ragged_lines(doc):
  """Lines of a docstring that stand where none should, or end too early."""
  found, section = [], ""
  lines = doc.splitlines()
  for line, after in zip(lines, [*lines[1:], ""], strict=True):
    if line in SECTIONS:
      section = line
    elif line and not line.startswith(" "):
      section = ""
    code = not section and line.startswith("    ")
    if line in SECTIONS or section == "Example:" or code:
      continue
    # Entries are `name: what` or `SomeError, OtherError: when`; the rest of an
    # entry is indented further.
    if section in ("Args:", "Attributes:", "Raises:"):
      entry = re.match(r"  [\w*.]+(, \w+)*: \S", line)
      if re.match(r"  \S", line) and not entry:
        found.append(line)
    # A sentence that goes on, though the next line's first word had room.
    width = lambda text: len(text) - len(text.lstrip())
    if line and after.strip() and width(after) - width(line) in (0, 2):
      room = 50 - len(line) - len(after.split()[0])
      if room > 0 and line[-1] not in ".,:;":
        found.append(line)
  return found


def docstrings(path):
  """Every docstring of a source file, by the name it belongs to."""
  kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
  tree = ast.parse(path.read_text())
  nodes = [node for node in ast.walk(tree) if isinstance(node, kinds)]
  named = [
    (getattr(node, "name", ""), ast.get_docstring(node)) for node in nodes
  ]
  return [(name, doc) for name, doc in named if doc]


def test_the_walk_finds_the_api():
  names = {name.rsplit(".", 1)[1] for name in FUNCTIONS}
  assert names >= {
    "mix_batch",
    "hold",
    "mixup",
    "untied_mixup",
    "dat",
    "cutmix",
    "draw",
    "draw_cutmix",
    "mixupe_loss",
    "mixupe_value_and_grad",
    "enhance_loss",
    "directional_penalty",
    "exact_directional_penalty",
    "fgsm",
    "pgd",
    "as_dat",
    "mixed_loss",
    "label_embeddings",
    "negative_cosine",
    "ring",
    "between",
    "audit",
    "show",
    "cite",
  }


@pytest.mark.parametrize("name", FUNCTIONS)
def test_key_comes_first(name):
  parameters = list(inspect.signature(FUNCTIONS[name]).parameters)
  assert "rng" not in parameters
  if "key" in parameters:
    assert parameters[0] == "key"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_defaults_are_keyword_only(name):
  positional = {
    p.name
    for p in inspect.signature(FUNCTIONS[name]).parameters.values()
    if p.default is not p.empty and p.kind is not p.KEYWORD_ONLY
  }
  assert positional == POSITIONAL.get(name, set())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signatures_are_typed(name):
  signature = inspect.signature(FUNCTIONS[name])
  untyped = [
    p.name for p in signature.parameters.values() if p.annotation is p.empty
  ]
  assert not untyped
  assert signature.return_annotation is not signature.empty


@pytest.mark.parametrize("name", FUNCTIONS)
def test_docstrings_are_contracts(name):
  doc = inspect.getdoc(FUNCTIONS[name])
  assert doc, "no docstring"
  first = doc.splitlines()[0]
  assert first.endswith((".", ":")) and len(first) < 80
  if name in BRIEF:
    return
  assert "\nArgs:\n" in doc and "\nReturns:\n" in doc
  section = doc.split("\nArgs:\n")[1].split("\nReturns:\n")[0]
  documented = re.findall(r"^  (\w+):", section, flags=re.MULTILINE)
  assert documented == list(inspect.signature(FUNCTIONS[name]).parameters)


@pytest.mark.parametrize("name", CLASSES)
def test_classes_are_documented(name):
  cls = CLASSES[name]
  doc = inspect.getdoc(cls)
  assert doc and not doc.startswith(f"{cls.__name__}(")  # the generated one
  for field in getattr(cls, "__dataclass_fields__", {}):
    assert f"{field}:" in doc or cls.__name__ in ("Between", "Ring")
  for method, value in vars(cls).items():
    if inspect.isfunction(value) and not method.startswith("_"):
      generated = method in ("replace", "to_state_dict", "from_state_dict")
      assert generated or inspect.getdoc(value), method


@pytest.mark.parametrize("name", FUNCTIONS)
def test_docstrings_end_with_an_example(name):
  doc = inspect.getdoc(FUNCTIONS[name])
  lines = example_of(doc)
  code = [line for line in lines if line.startswith((">>>", "..."))]
  assert 1 <= len(code) <= 5 and len(code) < len(lines)


def test_classes_that_users_make_end_with_an_example():
  assert CONSTRUCTED <= CLASSES.keys()
  for name in CONSTRUCTED:
    assert example_of(inspect.getdoc(CLASSES[name]))


@pytest.mark.parametrize(
  "path",
  sorted(p for d in SOURCES for p in (ROOT / d).rglob("*.py")),
  ids=lambda path: str(path.relative_to(ROOT)),
)
def test_docstrings_keep_their_indentation(path):
  found = [(name, ragged_lines(doc)) for name, doc in docstrings(path)]
  found = [(name, lines) for name, lines in found if lines]
  assert not found


def test_lost_indentation_is_seen():
  entry = "  key: PRNG key of every replica, that is to say one for"
  doc = f"Sums.\n\nArgs:\n{entry}\n  {{}}each.\n  x: floats."
  assert ragged_lines(doc.format("")) == ["  each."]
  assert not ragged_lines(doc.format("  "))
  assert ragged_lines("Sums what is\nnot\nmasked.") == ["Sums what is", "not"]


def test_version():
  assert re.fullmatch(r"\d+\.\d+\.\d+", jaxmix.__version__)


def test_import_is_light():
  code = (
    "import sys, jaxmix\n"
    "heavy = ('tensorflow', 'tensorflow_datasets', 'matplotlib', 'torch',"
    " 'experiments', 'ml_collections', 'hypothesis', 'pytest')\n"
    "print([name for name in heavy if name in sys.modules])\n"
  )
  out = subprocess.run(
    [sys.executable, "-c", code],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  assert out.stdout.strip() == "[]"
