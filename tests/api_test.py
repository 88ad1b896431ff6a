"""Walks the public API: signatures, docstrings, imports."""

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
  "jaxmix.directional.exact_directional_penalty": {"input_mean"},
  "jaxmix.directional.taylor_penalty": {"input_mean"},
  "jaxmix.penalties.exact": {"input_mean"},
  "jaxmix.penalties.taylor": {"order"},
  "jaxmix.penalties.release": {"threshold"},
  "jaxmix.policies.mixup": {"beta"},
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
